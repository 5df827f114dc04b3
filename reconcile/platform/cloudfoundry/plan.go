package cloudfoundry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Plan gathers the changes into one step per app (the app, the destinations that lead to it, its service bindings) and
// one step per route for what is not the business of one app. An app is the unit because it is what a rollout succeeds
// or fails with: whatever hangs on it is put back together with it.
//
// Plan makes no request. Each step carries in Step.Data the guids and the live values that applying and
// rolling back need, so that Apply works from one and the same observation.
func (d *Driver) Plan(_ context.Context, in platform.PlanInput) (platform.Plan, error) {
	p := planner{in: in, steps: map[manifest.Ref]*platform.Step{}}
	for _, c := range in.Changes.List {
		p.place(c)
	}
	refused := append(p.refuse(), p.unidentifiedCode()...)
	plan := p.finish()
	plan.Problems = append(plan.Problems, refused...)
	return plan, nil
}

// appData is the Step.Data of an app's step: live state as the plan saw it.
type appData struct {
	space string           // guid of the space
	guid  string           // guid of the app, "" when it has to be created
	live  *manifest.Object // nil when it has to be created
	set   manifest.Set     // the live routes and bindings of the app
	ids   map[manifest.Ref]string
	seals diff.Seals // of the bindings
	// instances are the guids of what the bindings lead to, by the binding.
	instances map[manifest.Ref]string

	ledger []string // what Fettle owned of the app before this plan
	kept   []string // of that, what other steps of the plan remove, and take out of the ledger themselves
}

type planner struct {
	in    platform.PlanInput
	steps map[manifest.Ref]*platform.Step
}

// place puts a change into every step that it concerns: the creation of a route that two apps share
// belongs to both, so that neither waits for the other.
func (p *planner) place(c diff.Change) {
	c.Impact, c.Reason = judge(c)
	if c.Path == "" && c.Op == diff.Add && isShared(p.in.Desired.Get(c.Ref)) {
		c.Impact, c.Reason = diff.ImpactImpossible, fmt.Sprintf("no route %s is shared with space %s; "+
			"have it shared by whom it belongs to (cf share-route), or drop `shared` to have it created here", c.Ref.Name(), c.Ref.Space())
	}
	if isService(c.Ref.Kind) {
		c.Impact, c.Reason = p.judgeService(c)
		p.tell(c)
	}
	switch c.Ref.Kind {
	case manifest.KindApp:
		p.add(c.Ref, c)
	case manifest.KindServiceBinding:
		p.add(bindingApp(c.Ref, p.object(c.Ref)), c)
	case manifest.KindRoute:
		for _, ref := range p.routeSteps(c) {
			p.add(ref, c)
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

// routeSteps names the steps that carry a change of a route. What an app is mapped to is the business of the app,
// and its rollout. The route has a step of its own for its options and metadata, to be created where a manifest could
// not say all of it, and to lose a destination at an app that no manifest declares, or in exchange for another app's.
func (p *planner) routeSteps(c diff.Change) []manifest.Ref {
	keys := manifest.SplitPointer(c.Path)
	switch {
	case len(keys) > 1 && keys[0] == "destinations":
		app := destinationApp(c.Ref, keys[1])
		if c.Op == diff.Remove && len(keys) == 2 && (p.in.Desired.Get(app) == nil || p.exchanged(c.Ref, app)) {
			return []manifest.Ref{c.Ref}
		}
		return []manifest.Ref{app}
	case len(keys) > 0 || c.Op == diff.Remove:
		return []manifest.Ref{c.Ref}
	}
	var steps []manifest.Ref
	o := p.in.Desired.Get(c.Ref)
	if byItself(o) || len(p.gates(c.Ref)) > 0 {
		steps = append(steps, c.Ref)
	}
	for key := range destinations(o) {
		if app := destinationApp(c.Ref, key); !slices.Contains(steps, app) {
			steps = append(steps, app)
		}
	}
	slices.SortFunc(steps, manifest.Ref.Compare)
	return steps
}

// exchanged reports whether a route that loses an app gains another one: then it loses the one when it has the other.
func (p *planner) exchanged(route, lost manifest.Ref) bool {
	return slices.ContainsFunc(p.in.Changes.List, func(c diff.Change) bool {
		keys := manifest.SplitPointer(c.Path)
		return c.Ref == route && c.Op == diff.Add && len(keys) == 2 && keys[0] == "destinations" && destinationApp(route, keys[1]) != lost
	})
}

// byItself reports whether a new route is created before the apps, and not along with one: a manifest of an app knows
// neither metadata, nor a route that leads nowhere, nor a port or another process than web.
func byItself(o *manifest.Object) bool {
	if isShared(o) {
		return false
	}
	all := destinations(o)
	for key, d := range all {
		if !plainDestination(key, mapOf(d)) {
			return true
		}
	}
	return len(all) == 0 || len(metadataKeys("", o.Spec)) > 0
}

// isShared reports whether the route belongs to another space, which shares it.
func isShared(o *manifest.Object) bool { return o != nil && o.Inputs["shared"] == true }

func (p *planner) finish() platform.Plan {
	var plan platform.Plan
	for ref, s := range p.steps {
		switch ref.Kind {
		case manifest.KindApp:
			p.finishApp(s)
		case manifest.KindRoute:
			p.finishRoute(s)
		case manifest.KindServiceInstance, manifest.KindServiceKey, manifest.KindServiceRouteBinding:
			p.finishService(s)
		default:
			s.Desired = only(p.in.Desired, ref)
		}
	}
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
		ids:   map[manifest.Ref]string{}, instances: map[manifest.Ref]string{}, seals: live.Seals,
	}
	if o := p.in.Desired.Get(s.Ref); o != nil {
		s.Desired.Put(o)
	}
	for _, o := range p.in.Desired.Objects() {
		if hangsOn(o, s.Ref) {
			s.Desired.Put(o)
		}
		if o.Ref.Kind == manifest.KindServiceBinding && hangsOn(o, s.Ref) {
			data.instances[o.Ref] = live.IDs[o.Ref.Child(manifest.KindServiceInstance, instanceName(o))]
			if guid := live.IDs[o.Ref]; guid != "" { // perhaps a service broker is at work on it still
				data.ids[o.Ref] = guid
			}
		}
	}
	for _, o := range live.Live.Objects() {
		if hangsOn(o, s.Ref) {
			data.set.Put(o)
			data.ids[o.Ref] = live.IDs[o.Ref]
		}
	}
	data.ledger = owned(live.Ledger, s.Ref, data.set)
	for _, o := range data.set.Of(manifest.KindRoute) {
		for _, key := range p.lostBy(o.Ref) {
			if name, process := splitDestination(key); name == s.Ref.Name() && slices.Contains(data.ledger, routeKey(o.Ref.Name(), process)) {
				data.kept = append(data.kept, routeKey(o.Ref.Name(), process))
			}
		}
	}
	if data.live != nil {
		for pointer := range data.live.Secrets {
			data.ledger = append(data.ledger, secretKey(pointer))
		}
	}
	s.Data = data
}

// finishRoute gives the step of a route what it needs to know.
func (p *planner) finishRoute(s *platform.Step) {
	s.Desired = only(p.in.Desired, s.Ref)
	data := &routeData{
		guid: p.in.Live.IDs[s.Ref], space: p.in.Live.IDs[manifest.Ref{Kind: manifest.KindSpace, Path: s.Ref.Space()}],
		apps: map[manifest.Ref]string{}, disown: map[string][]string{},
	}
	for _, key := range p.lostBy(s.Ref) {
		app, process := splitDestination(key)
		ref := s.Ref.Child(manifest.KindApp, app)
		data.apps[ref] = p.in.Live.IDs[ref]
		if p.in.Desired.Get(ref) != nil && p.in.Live.Ledger.Owns(s.Ref, manifest.Pointer("destinations", key)) {
			data.disown[data.apps[ref]] = append(data.disown[data.apps[ref]], routeKey(s.Ref.Name(), process))
		}
	}
	s.Data = data
}

// lostBy lists the destinations that the route's own step takes from it, all of them if it is deleted.
func (p *planner) lostBy(route manifest.Ref) []string {
	var lost []string
	step := p.steps[route]
	if step == nil {
		return nil
	}
	for _, c := range step.Changes {
		switch keys := manifest.SplitPointer(c.Path); {
		case c.Op != diff.Remove:
		case len(keys) == 0:
			lost = slices.Sorted(maps.Keys(destinations(p.in.Live.Live.Get(route))))
		case len(keys) == 2 && keys[0] == "destinations":
			lost = append(lost, keys[1])
		}
	}
	return lost
}

// deletes reports whether the step deletes the resource that it is about.
func deletes(s *platform.Step) bool {
	return slices.ContainsFunc(s.Changes, func(c diff.Change) bool { return c.Ref == s.Ref && c.Op == diff.Remove && c.Path == "" })
}

func concerns(s *platform.Step, ref manifest.Ref) bool {
	return slices.ContainsFunc(s.Changes, func(c diff.Change) bool { return c.Ref == ref })
}

// requires names the steps that have to succeed before s. The apps that share a route do not need each other.
func (p *planner) requires(s *platform.Step) []string {
	var ids []string
	need := func(ref manifest.Ref) {
		if ref != s.Ref && p.steps[ref] != nil && !slices.Contains(ids, ref.String()) {
			ids = append(ids, ref.String())
		}
	}
	for _, o := range s.Desired.Objects() {
		if o.Ref.Kind == manifest.KindRoute {
			continue
		}
		for _, ref := range o.Requires {
			need(ref)
		}
	}
	if deletes(s) && s.Ref.Kind == manifest.KindApp {
		// With the app goes the ledger that says whose its routes are: they are deleted before.
		for _, o := range p.in.Live.Live.Of(manifest.KindRoute) {
			if other := p.steps[o.Ref]; other != nil && deletes(other) && hangsOn(o, s.Ref) {
				need(o.Ref)
			}
		}
		return ids
	}
	for _, c := range s.Changes {
		switch {
		case c.Ref.Kind != manifest.KindRoute:
		case s.Ref.Kind == manifest.KindApp && c.Op == diff.Add && c.Path == "": // created before it is mapped
			need(c.Ref)
		case s.Ref.Kind == manifest.KindRoute && c.Op == diff.Remove && (c.Path == "" || strings.HasPrefix(c.Path, "/destinations/")):
			// Until the apps have what takes its place, the route leads where it did.
			for _, other := range p.steps {
				if other.Ref.Kind == manifest.KindApp && !deletes(other) && (concerns(other, s.Ref) || hangsOn(p.in.Live.Live.Get(s.Ref), other.Ref)) {
					need(other.Ref)
				}
			}
		}
	}
	ids = append(ids, p.serviceRequires(s)...)
	ids = append(ids, p.ordered(s)...)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// missing finds the service instances that a step needs and that do not exist. The observation lists those of a
// space whenever a binding is declared there.
func (p *planner) missing(s *platform.Step) []platform.Problem {
	var found []platform.Problem
	for _, c := range s.Changes {
		o := s.Desired.Get(c.Ref)
		if o == nil || instanceName(o) == "" || c.Op != diff.Add || c.Path != "" {
			continue
		}
		instance := c.Ref.Child(manifest.KindServiceInstance, instanceName(o))
		if p.in.Live.IDs[instance] == "" && p.steps[p.owner(o)] == nil {
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
