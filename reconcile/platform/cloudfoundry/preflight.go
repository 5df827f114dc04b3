package cloudfoundry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

var _ platform.Preflighter = (*Driver)(nil)

// Preflight finds out what would make the plan fail: stacks, buildpacks, domains, services and plans that do not exist,
// features that are switched off, routes of other spaces, quotas (of the plan as a whole, and while apps roll), and the
// role that the user lacks.
//
// It asks only about what the plan changes, with one request per kind. What the user may not read is passed over. A problem
// that is not a warning is certain, whatever the order in which steps are applied: what depends on the order, or on a
// default that the API does not tell, is left to the attempt.
func (d *Driver) Preflight(ctx context.Context, in platform.PlanInput, plan platform.Plan) ([]platform.Problem, error) {
	c := &checks{driver: d, live: in.Live, asks: asksOf(in, plan)}
	if err := c.run(ctx); err != nil {
		return nil, explain(manifest.Ref{}, "looking whether the plan can be applied", err)
	}
	problems := make([]platform.Problem, len(c.found))
	for i, f := range c.found {
		if f.object == nil {
			problems[i] = platform.Problem{Message: f.message, Hint: f.hint, Warning: f.warning}
			continue
		}
		problems[i] = platform.Problem{
			Step: f.step, Origin: f.object.FieldOrigin(f.pointer), Message: f.message, Hint: f.hint, Warning: f.warning,
		}
		if f.object.Ref.String() != f.step {
			problems[i].Message = f.object.Ref.String() + ": " + f.message
		}
	}
	return problems, nil
}

// ask is a question about one name: what is asked about stands in the object at the pointer.
type ask struct {
	step    string // of the plan, "" when there is none
	object  *manifest.Object
	pointer string
	name    string
}

// origin is where that stands. Some findings are about the plan as a whole.
func (a ask) origin() manifest.Origin {
	if a.object == nil {
		return manifest.Origin{}
	}
	return a.object.FieldOrigin(a.pointer)
}

// finding is an answer that somebody has to hear.
type finding struct {
	ask
	rule          string
	message, hint string
	warning       bool
}

// checks answer the questions. The same ones serve a plan and Validate.
type checks struct {
	driver *Driver
	live   platform.Observation
	asks
	where         map[string]place // by "ORG/SPACE"
	limits        []*limit
	created, paid []ask // managed service instances of plans that exist, and those that cost something

	mu         sync.Mutex
	found      []finding
	remembered bool // an answer rests on something that was read some time ago
}

// run looks everything up at once, quotas last: what fails anyway takes nothing of them. A problem is believed only
// when all that it rests on has just been read.
func (c *checks) run(ctx context.Context) error {
	if c.empty() {
		return nil
	}
	places, err := c.driver.knownPlaces(ctx, c.spaces())
	if err != nil {
		return err
	}
	c.where = places
	for range 2 {
		c.found, c.created, c.paid, c.remembered = nil, nil, nil, false
		group, ctx := errgroup.WithContext(ctx)
		for _, check := range []func(context.Context) error{c.checkStacks, c.checkBuildpacks, c.checkFlags, c.checkRoutes, c.checkServices, c.checkRoles} {
			group.Go(func() error { return check(ctx) })
		}
		group.Go(func() error { return c.readQuotas(ctx) })
		if err := group.Wait(); err != nil {
			return err
		}
		c.checkQuotas()
		if len(c.found) == 0 || !c.remembered {
			break
		}
		c.driver.memory.forget()
	}
	slices.SortStableFunc(c.found, func(a, b finding) int {
		return cmp.Or(cmpOrigin(a.origin(), b.origin()), cmp.Compare(a.step, b.step), cmp.Compare(a.message, b.message))
	})
	return nil
}

func (c *checks) add(f finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = append(c.found, f)
}

// unknown says that a name does not exist, and which one is meant most likely.
func (c *checks) unknown(a ask, rule, message, name string, known []string) {
	c.add(finding{ask: a, rule: rule, message: message, hint: nearestOrAll(name, known)})
}

func nearestOrAll(name string, known []string) string {
	known = unique(known)
	switch near := manifest.Nearest(name, known); {
	case near != "":
		return fmt.Sprintf("did you mean %s?", near)
	case 0 < len(known) && len(known) <= 12:
		return "there are " + strings.Join(known, ", ")
	}
	return ""
}

// offer is something that apps name: a stack, a buildpack.
type offer struct {
	ccv3.Resource
	Name  string  `json:"name"`
	Stack *string `json:"stack"`
}

func (c *checks) checkStacks(ctx context.Context) error {
	if len(c.stacks) == 0 {
		return nil
	}
	all, ok, err := listed[offer](ctx, c, "/v3/stacks")
	if err != nil || !ok {
		return err
	}
	names := offered(all)
	for _, a := range c.stacks {
		if !containsFold(names, a.name) {
			c.unknown(a, "unknown-stack", "there is no stack "+a.name, a.name, names)
		}
	}
	return nil
}

func (c *checks) checkBuildpacks(ctx context.Context) error {
	if len(c.buildpacks) == 0 {
		return nil
	}
	all, ok, err := listed[offer](ctx, c, "/v3/buildpacks")
	if err != nil || !ok {
		return err
	}
	names := offered(all)
	for _, a := range c.buildpacks {
		if !containsFold(names, a.name) {
			c.unknown(a, "unknown-buildpack", "there is no buildpack "+a.name, a.name, names)
		}
	}
	return nil
}

func offered(all []offer) []string {
	names := make([]string, len(all))
	for i, o := range all {
		names[i] = o.Name
	}
	return names
}

func containsFold(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// flag is a feature flag of the foundation.
type flag struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// ID makes a list of flags readable: they have a name in place of a guid.
func (f flag) ID() string { return f.Name }

// switchedOff says what cannot be done while a feature is switched off.
var switchedOff = map[string]string{
	"diego_docker":              "this foundation does not allow docker images",
	"diego_cnb":                 "this foundation does not allow cloud native buildpacks",
	"app_bits_upload":           "this foundation does not accept the files of apps",
	"app_scaling":               "this foundation does not allow to scale a process",
	"route_creation":            "this foundation does not allow to create routes",
	"task_creation":             "this foundation does not allow to run tasks, which is what a command before or after a rollout is",
	"hash_based_routing":        "this foundation does not know the load balancing hash",
	"service_instance_creation": "this foundation does not allow to create service instances",
	"service_instance_sharing":  "this foundation does not allow to share service instances",
}

// skippable are the flags that do not bind administrators in what Fettle does (lib and app/controllers of the
// Cloud Controller; a route of a manifest is bound by route_creation whoever applies it).
var skippable = []string{"app_bits_upload", "app_scaling", "task_creation", "service_instance_creation"}

func (c *checks) checkFlags(ctx context.Context) error {
	if len(c.flags) == 0 {
		return nil
	}
	all, ok, err := listed[flag](ctx, c, "/v3/feature_flags")
	if err != nil || !ok {
		return err
	}
	enabled := map[string]bool{}
	for _, f := range all {
		enabled[f.Name] = f.Enabled
	}
	who, err := c.driver.client.Identity(ctx)
	if err != nil {
		return err
	}
	for _, a := range c.flags {
		on, known := enabled[a.name]
		if on || !known || slices.Contains(skippable, a.name) && (len(who.Scopes) == 0 || isAdmin(who)) {
			continue
		}
		c.add(finding{ask: a, rule: "feature-disabled", message: switchedOff[a.name], hint: fmt.Sprintf("operators allow it with the feature flag %s (cf enable-feature-flag %s)", a.name, a.name)})
	}
	return nil
}

func isAdmin(who ccv3.Identity) bool { return slices.Contains(who.Scopes, "cloud_controller.admin") }

type role struct {
	ccv3.Resource
	Type          string             `json:"type"`
	Relationships ccv3.Relationships `json:"relationships"`
}

// checkRoles tells a user who sees the space and may not write to it. The token says who is an administrator; where it
// does not, only those are warned who do have a role.
func (c *checks) checkRoles(ctx context.Context) error {
	for _, a := range c.places {
		if c.where[a.name].suspended {
			c.add(finding{ask: a, rule: "org-suspended", message: "the organization is suspended", hint: "ask the platform's operators", warning: true})
		}
	}
	who, err := c.driver.client.Identity(ctx)
	if err != nil || isAdmin(who) || len(c.roles) == 0 {
		return err
	}
	mine, _, err := ccv3.ListBy[role](ctx, c.driver.client, "/v3/roles", nil, "user_guids", []string{who.GUID})
	if unreadable(err) {
		return nil
	} else if err != nil {
		return err
	}
	for _, a := range c.roles {
		p := c.where[a.name]
		var here []string
		for _, r := range mine {
			if r.Relationships.Space.GUID() == p.space || r.Relationships.Organization.GUID() == p.org {
				here = append(here, r.Type)
			}
		}
		if slices.Contains(here, "space_developer") || len(here) == 0 {
			continue // a client without roles may have a scope that we do not know
		}
		hint := "grant space_developer"
		if len(who.Scopes) == 0 {
			hint += ", unless this user is an administrator"
		}
		c.add(finding{
			ask: a, rule: "role-missing", warning: len(who.Scopes) == 0, hint: hint,
			message: fmt.Sprintf("%s has only the roles %s in %s, which do not allow to apply", who.Name, strings.Join(unique(here), ", "), a.name),
		})
	}
	return nil
}

// unreadable reports whether the user may not ask, which is no reason to stop.
func unreadable(err error) bool { return ccv3.IsForbidden(err) || ccv3.IsNotFound(err) }

// listed reads a whole list that changes seldom, or remembers it. It is not ok when the user may not read it.
func listed[T interface{ ID() string }](ctx context.Context, c *checks, path string) (all []T, ok bool, err error) {
	all, old, err := recall(c.driver, path, func() ([]T, error) {
		all, _, err := ccv3.List[T](ctx, c.driver.client, path, nil)
		return all, err
	})
	c.mu.Lock()
	c.remembered = c.remembered || old
	c.mu.Unlock()
	if unreadable(err) {
		return nil, false, nil
	}
	return all, err == nil, err
}

// memory keeps, for a few minutes, what a foundation offers to everybody and changes seldom. What it says is good enough
// to let a plan pass, and is read again before a plan is refused.
type memory struct {
	mu    sync.Mutex
	known map[string]place // by "ORG/SPACE"
	facts map[string]fact
}

type fact struct {
	value any
	until time.Time
}

const memorable = 5 * time.Minute

func (m *memory) places(all []place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string]place{}
	}
	for _, p := range all {
		m.known[p.path] = p
	}
}

func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.facts = nil
}

// recall gives what was read before, or reads it.
func recall[T any](d *Driver, key string, read func() (T, error)) (value T, old bool, err error) {
	m := &d.memory
	m.mu.Lock()
	f, ok := m.facts[key]
	m.mu.Unlock()
	if ok && time.Now().Before(f.until) {
		return f.value.(T), true, nil
	}
	if value, err = read(); err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.facts == nil {
			m.facts = map[string]fact{}
		}
		m.facts[key] = fact{value, time.Now().Add(memorable)}
	}
	return value, false, err
}

// knownPlaces are the spaces as the last observation saw them.
func (d *Driver) knownPlaces(ctx context.Context, paths []string) (map[string]place, error) {
	found := map[string]place{}
	d.memory.mu.Lock()
	for _, path := range paths {
		if p, ok := d.memory.known[path]; ok {
			found[path] = p
		}
	}
	d.memory.mu.Unlock()
	if len(found) == len(paths) {
		return found, nil
	}
	all, err := d.places(ctx, paths)
	for _, p := range all {
		found[p.path] = p
	}
	return found, err
}
