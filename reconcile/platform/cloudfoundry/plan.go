package cloudfoundry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Plan gathers the changes into one step per app (the app, the destinations that lead to it, its service
// bindings) and one step per route that changes in its options alone. An app is the unit because it is what
// a rollout succeeds or fails with: whatever hangs on it is put back together with it.
//
// Plan makes no request. Each step carries in Step.Data the guids and the live values that applying and
// rolling back need, so that Apply works from one and the same observation.
func (d *Driver) Plan(_ context.Context, in platform.PlanInput) (platform.Plan, error) {
	p := planner{in: in, steps: map[manifest.Ref]*platform.Step{}}
	for _, c := range in.Changes.List {
		p.place(c)
	}
	refused := p.refuse()
	plan := p.finish()
	plan.Problems = append(plan.Problems, refused...)
	return plan, nil
}

// appData is the Step.Data of an app's step: live state as the plan saw it.
type appData struct {
	space  string           // guid of the space
	guid   string           // guid of the app, "" when it has to be created
	live   *manifest.Object // nil when it has to be created
	set    manifest.Set     // the live routes and bindings of the app
	ids    map[manifest.Ref]string
	ledger []string // what Fettle owned of the app before this plan
}

// routeData is the Step.Data of a route's own step.
type routeData struct {
	guid string
}

type planner struct {
	in    platform.PlanInput
	steps map[manifest.Ref]*platform.Step
}

// place puts a change into every step that it concerns: the creation of a route that two apps share
// belongs to both, so that neither waits for the other.
func (p *planner) place(c diff.Change) {
	c.Impact, c.Reason = judge(c)
	switch c.Ref.Kind {
	case manifest.KindApp:
		p.add(c.Ref, c)
	case manifest.KindServiceBinding:
		p.add(bindingApp(c.Ref, p.object(c.Ref)), c)
	case manifest.KindRoute:
		apps := p.routeApps(c)
		if len(apps) == 0 {
			p.add(c.Ref, c)
		}
		for _, app := range apps {
			p.add(app, c)
		}
	default:
		p.add(c.Ref, c)
	}
}

func (p *planner) add(ref manifest.Ref, c diff.Change) {
	if ref.Kind == manifest.KindApp && p.in.Live.Live.Get(ref) == nil && c.Impact != diff.ImpactImpossible {
		c.Impact = diff.ImpactInPlace // nobody uses an app that does not exist yet
	}
	s := p.step(ref)
	s.Changes = append(s.Changes, c)
	s.Impact = max(s.Impact, c.Impact)
}

func (p *planner) object(ref manifest.Ref) *manifest.Object {
	if o := p.in.Desired.Get(ref); o != nil {
		return o
	}
	return p.in.Live.Live.Get(ref)
}

// routeApps names the apps whose steps carry a change of a route; none when it concerns the options alone.
func (p *planner) routeApps(c diff.Change) []manifest.Ref {
	keys := manifest.SplitPointer(c.Path)
	switch {
	case len(keys) > 1 && keys[0] == "destinations":
		return []manifest.Ref{destinationApp(c.Ref, keys[1])}
	case len(keys) > 0 && keys[0] != "destinations":
		return nil
	}
	// The whole route, or all of its destinations.
	set := p.in.Desired
	if c.Op == diff.Remove {
		set = p.in.Live.Live
	}
	var apps []manifest.Ref
	if o := set.Get(c.Ref); o != nil {
		for key := range destinations(o) {
			if app := destinationApp(c.Ref, key); !slices.Contains(apps, app) {
				apps = append(apps, app)
			}
		}
	}
	slices.SortFunc(apps, manifest.Ref.Compare)
	return apps
}

func (p *planner) finish() platform.Plan {
	var plan platform.Plan
	for ref, s := range p.steps {
		switch ref.Kind {
		case manifest.KindApp:
			p.finishApp(s)
		case manifest.KindRoute:
			s.Desired = only(p.in.Desired, ref)
			s.Data = &routeData{guid: p.in.Live.IDs[ref]}
		default:
			s.Desired = only(p.in.Desired, ref)
		}
	}
	p.foldRoutes()
	for _, s := range p.steps {
		plan.Steps = append(plan.Steps, *s)
	}
	slices.SortFunc(plan.Steps, func(a, b platform.Step) int { return a.Ref.Compare(b.Ref) })
	for i := range plan.Steps {
		s := &plan.Steps[i]
		slices.SortStableFunc(s.Changes, diff.Change.Compare)
		s.Requires = p.requires(s)
		plan.Problems = append(append(plan.Problems, problems(s)...), p.missing(s)...)
	}
	return plan
}

// finishApp gives the step of an app what it needs to know of desired and live state.
func (p *planner) finishApp(s *platform.Step) {
	live := p.in.Live
	data := &appData{
		space: live.IDs[manifest.Ref{Kind: manifest.KindSpace, Path: s.Ref.Space()}],
		guid:  live.IDs[s.Ref],
		live:  live.Live.Get(s.Ref),
		ids:   map[manifest.Ref]string{},
	}
	if o := p.in.Desired.Get(s.Ref); o != nil {
		s.Desired.Put(o)
	}
	for _, o := range p.in.Desired.Objects() {
		if hangsOn(o, s.Ref) {
			s.Desired.Put(o)
		}
	}
	for _, o := range live.Live.Objects() {
		if hangsOn(o, s.Ref) {
			data.set.Put(o)
			data.ids[o.Ref] = live.IDs[o.Ref]
		}
	}
	data.ledger = owned(live.Ledger, s.Ref, data.set)
	if data.live != nil {
		for pointer := range data.live.Secrets {
			data.ledger = append(data.ledger, secretKey(pointer))
		}
	}
	s.Data = data
}

// foldRoutes moves the option changes of a route into the step of an app that changes the same route, for
// one request does both.
func (p *planner) foldRoutes() {
	for ref, s := range p.steps {
		if ref.Kind != manifest.KindRoute {
			continue
		}
		var host *platform.Step
		for _, other := range p.steps {
			if other.Ref.Kind == manifest.KindApp && concerns(other, ref) && (host == nil || other.Ref.Compare(host.Ref) < 0) {
				host = other
			}
		}
		if host != nil {
			host.Changes = append(host.Changes, s.Changes...)
			host.Impact = max(host.Impact, s.Impact)
			delete(p.steps, ref)
		}
	}
}

func concerns(s *platform.Step, ref manifest.Ref) bool {
	return slices.ContainsFunc(s.Changes, func(c diff.Change) bool { return c.Ref == ref })
}

// requires names the steps that have to succeed before s. Routes do not count: the apps that share one do
// not need each other.
func (p *planner) requires(s *platform.Step) []string {
	var ids []string
	for _, o := range s.Desired.Objects() {
		if o.Ref.Kind == manifest.KindRoute {
			continue
		}
		for _, ref := range o.Requires {
			if ref != s.Ref && p.steps[ref] != nil && !slices.Contains(ids, ref.String()) {
				ids = append(ids, ref.String())
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// missing finds the service instances that a step needs and that do not exist. The observation lists those of a
// space whenever a binding is declared there.
func (p *planner) missing(s *platform.Step) []platform.Problem {
	var found []platform.Problem
	for _, c := range s.Changes {
		o := s.Desired.Get(c.Ref)
		if c.Ref.Kind != manifest.KindServiceBinding || c.Op != diff.Add || c.Path != "" || o == nil {
			continue
		}
		instance := c.Ref.Child(manifest.KindServiceInstance, instanceName(o))
		if p.in.Live.IDs[instance] == "" && p.steps[instance] == nil {
			found = append(found, platform.Problem{
				Step: s.ID, Origin: c.Origin, Message: fmt.Sprintf("there is no service instance %s in space %s", instance.Name(), instance.Space()),
				Hint: createInstance,
			})
		}
	}
	return found
}

// createInstance is what to do about a missing service instance.
const createInstance = "create it (cf create-service or cf create-user-provided-service), or correct the name; `cf services` lists what exists"

// problems are the changes that the API cannot make, known without trying.
func problems(s *platform.Step) []platform.Problem {
	var found []platform.Problem
	for _, c := range s.Changes {
		if c.Impact == diff.ImpactImpossible {
			what, next, _ := strings.Cut(c.Reason, "; ")
			found = append(found, platform.Problem{Step: s.ID, Origin: c.Origin, Message: what, Hint: next})
		}
	}
	return found
}

// hangsOn reports whether o is a route with a destination at the app, or a binding of the app.
func hangsOn(o *manifest.Object, app manifest.Ref) bool {
	switch o.Ref.Kind {
	case manifest.KindServiceBinding:
		return bindingApp(o.Ref, o) == app
	case manifest.KindRoute:
		for key := range destinations(o) {
			if destinationApp(o.Ref, key) == app {
				return true
			}
		}
	}
	return false
}

// destinations is the map of a route's destinations, by "APP/PROCESS_TYPE".
func destinations(route *manifest.Object) map[string]any {
	m, _ := route.Spec["destinations"].(map[string]any)
	return m
}

// destinationApp is the app that a destination key names.
func destinationApp(route manifest.Ref, key string) manifest.Ref {
	app, _ := splitDestination(key)
	return route.Child(manifest.KindApp, app)
}

// splitDestination reads "APP/PROCESS_TYPE"; app names may hold a slash, process types may not.
func splitDestination(key string) (app, process string) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return key, "web"
	}
	return key[:i], key[i+1:]
}

// bindingApp is the app that a binding belongs to.
func bindingApp(ref manifest.Ref, o *manifest.Object) manifest.Ref {
	if o != nil {
		if app, ok := o.Spec["app"].(string); ok {
			return ref.Child(manifest.KindApp, app)
		}
	}
	app, _, _ := strings.Cut(ref.Name(), "/")
	return ref.Child(manifest.KindApp, app)
}

func only(set manifest.Set, ref manifest.Ref) manifest.Set {
	var s manifest.Set
	if o := set.Get(ref); o != nil {
		s.Put(o)
	}
	return s
}
