package cloudfoundry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// A service instance is a step of its own with everything that is said of it, its shares too; so is a service key, and a
// route binding. Bindings of apps belong to the step of the app.

// serviceData is the Step.Data of such a step: live state as the plan saw it.
type serviceData struct {
	space    string // guid
	guid     string // of the instance, key or route binding; "" when there is none
	instance string // guid of the instance that is bound; "" when it has to be created
	route    string // guid of the route that is bound; "" when it has to be created
	live     *manifest.Object
	seals    map[string]diff.Sealed

	// tell are the running apps that see the change of the instance only once they restart, by guid.
	tell map[string]manifest.Ref
}

func isService(k manifest.Kind) bool {
	return k == manifest.KindServiceInstance || k == manifest.KindServiceKey || k == manifest.KindServiceRouteBinding
}

// finishService gives a step what it needs to know of desired and live state.
func (p *planner) finishService(s *platform.Step) {
	live := p.in.Live
	s.Desired = only(p.in.Desired, s.Ref)
	data := &serviceData{
		space: live.IDs[manifest.Ref{Kind: manifest.KindSpace, Path: s.Ref.Space()}],
		guid:  live.IDs[s.Ref], live: live.Live.Get(s.Ref), seals: live.Seals[s.Ref], tell: map[string]manifest.Ref{},
	}
	if o := p.object(s.Ref); o != nil && s.Ref.Kind != manifest.KindServiceInstance {
		data.instance = live.IDs[s.Ref.Child(manifest.KindServiceInstance, instanceName(o))]
		if url, ok := o.Spec["route"].(string); ok {
			data.route = live.IDs[s.Ref.Child(manifest.KindRoute, url)]
		}
	}
	if slices.ContainsFunc(s.Changes, visibleToApps) {
		for _, app := range p.running(s.Ref) {
			data.tell[live.IDs[app]] = app
		}
	}
	s.Data = data
}

// visibleToApps reports whether apps are given in their environment (VCAP_SERVICES) what c changes. They are given it
// when they start.
func visibleToApps(c diff.Change) bool {
	if c.Ref.Kind != manifest.KindServiceInstance {
		return false
	}
	keys := manifest.SplitPointer(c.Path)
	return len(keys) > 0 && (keys[0] == "credentials" || keys[0] == "tags")
}

// running lists the declared apps that run bound to an instance, and are to go on so.
func (p *planner) running(instance manifest.Ref) []manifest.Ref {
	var apps []manifest.Ref
	for _, b := range p.in.Live.Live.Of(manifest.KindServiceBinding) {
		app := bindingApp(b.Ref, b)
		live, declared := p.in.Live.Live.Get(app), p.in.Desired.Get(app)
		if b.Ref.Child(manifest.KindServiceInstance, instanceName(b)) == instance && declared != nil && live != nil &&
			live.Spec["state"] == "STARTED" && declared.Spec["state"] != "STOPPED" {
			apps = append(apps, app)
		}
	}
	return apps
}

// tell puts the change of an instance into the steps of the apps that have to restart to see it.
func (p *planner) tell(c diff.Change) {
	if c.Impact == diff.ImpactImpossible || !visibleToApps(c) {
		return
	}
	c.Impact, c.Reason = diff.ImpactRestart, "running instances see it when they start again"
	for _, app := range p.running(c.Ref) {
		p.add(app, c)
	}
}

// judgeService says what a change of a service instance, a key or a route binding costs.
func (p *planner) judgeService(c diff.Change) (diff.Impact, string) {
	keys := manifest.SplitPointer(c.Path)
	if len(keys) > 0 && keys[0] == "metadata" {
		return diff.ImpactNone, ""
	}
	switch c.Ref.Kind {
	case manifest.KindServiceKey:
		switch {
		case c.Op == diff.Remove:
			return diff.ImpactInPlace, "deletes the key: who uses its credentials is locked out"
		case len(keys) > 0:
			return diff.ImpactRecreate, "a key takes parameters only when it is made: it gets new credentials, and who uses the ones before is locked out"
		}
		return diff.ImpactInPlace, "creates the key"
	case manifest.KindServiceRouteBinding:
		switch {
		case c.Op == diff.Remove:
			return diff.ImpactInPlace, "requests to the route no longer pass through the service"
		case len(keys) > 0:
			return diff.ImpactRecreate, "a binding takes parameters only when it is made: for a moment, requests do not pass through the service"
		}
		return diff.ImpactInPlace, "requests to the route pass through the service from then on"
	}
	if len(keys) == 0 {
		if c.Op == diff.Remove {
			return diff.ImpactInPlace, "deletes the service instance with the data in it"
		}
		return diff.ImpactInPlace, "creates the service instance"
	}
	live := p.in.Live.Live.Get(c.Ref)
	switch keys[0] {
	case "type", "service_offering":
		if c.Was == nil { // the type changes
			return diff.ImpactInPlace, ""
		}
		what := map[string]string{"type": "type", "service_offering": "offering"}[keys[0]]
		return diff.ImpactImpossible, fmt.Sprintf("the %s of a service instance cannot change; declare the new one under another name, move the data and the bindings, "+
			"and then delete this one (cf delete-service %s)", what, c.Ref.Name())
	case "service_plan":
		if live != nil && live.Inputs["fixed_plan"] == true {
			return diff.ImpactImpossible, fmt.Sprintf("an instance of the plan %v cannot change its plan, says its service broker; declare the new one under another name, "+
				"move the data and the bindings, and then delete this one (cf delete-service %s)", c.Was, c.Ref.Name())
		}
		return diff.ImpactInPlace, "what it means for those who use the instance, its service broker decides"
	case "maintenance_info":
		return diff.ImpactInPlace, "what it means for those who use the instance, its service broker decides"
	case "share_to":
		if c.Op == diff.Remove {
			return diff.ImpactInPlace, "is refused while apps there are bound"
		}
	}
	return diff.ImpactInPlace, ""
}

// serviceRequires adds to what a step requires what its objects alone do not tell.
func (p *planner) serviceRequires(s *platform.Step) []string {
	var ids []string
	need := func(of *platform.Step) {
		if of != nil && of != s {
			ids = append(ids, of.ID)
		}
	}
	for _, o := range s.Desired.Objects() {
		switch o.Ref.Kind {
		case manifest.KindServiceBinding:
			need(p.steps[p.owner(o)])
		case manifest.KindServiceRouteBinding:
			for _, ref := range o.Requires {
				if ref.Kind == manifest.KindRoute {
					need(p.creates(ref))
				}
			}
		}
	}
	for _, c := range s.Changes {
		switch {
		case s.Ref.Kind != manifest.KindApp:
		case visibleToApps(c): // who sees a change only after a restart restarts when it is done
			need(p.steps[c.Ref])
		case c.Ref.Kind == manifest.KindRoute && c.Op == diff.Add && c.Path == "":
			for _, gate := range p.gates(c.Ref) { // nobody shall reach the app past the route service
				need(p.steps[gate])
			}
		}
	}
	for _, c := range s.Changes {
		for _, other := range p.steps {
			if makesRoom(other, c) {
				need(other)
			}
		}
	}
	return ids
}

// makesRoom reports whether a step takes away what stands in the way of c: the bindings and keys of an instance that goes,
// the apps that go with it, the route binding that a route has so far.
func makesRoom(s *platform.Step, c diff.Change) bool {
	if c.Path != "" {
		return false
	}
	return slices.ContainsFunc(s.Changes, func(gone diff.Change) bool {
		if gone.Op != diff.Remove || gone.Path != "" || gone.Ref.Space() != c.Ref.Space() {
			return false
		}
		was, _ := gone.Was.(map[string]any)
		switch {
		case c.Ref.Kind == manifest.KindServiceInstance && c.Op == diff.Remove:
			// The bindings of an app that goes too are not read: whether it has one to the instance is not known.
			return gone.Ref.Kind == manifest.KindApp ||
				gone.Ref.Kind != manifest.KindServiceInstance && was["service_instance"] == c.Ref.Name()
		case c.Ref.Kind == manifest.KindServiceRouteBinding && c.Op == diff.Add:
			now, _ := c.Value.(map[string]any)
			return gone.Ref.Kind == c.Ref.Kind && was["route"] == now["route"]
		}
		return false
	})
}

// gates are the declared bindings of a route to route services. A new route that has one is made first, then bound, and
// only then mapped to an app.
func (p *planner) gates(route manifest.Ref) []manifest.Ref {
	var gates []manifest.Ref
	for _, o := range p.in.Desired.Of(manifest.KindServiceRouteBinding) {
		if slices.Contains(o.Requires, route) {
			gates = append(gates, o.Ref)
		}
	}
	return gates
}

// owner is the declared service instance that a binding leads to: of its own space, or one that another space shares.
func (p *planner) owner(binding *manifest.Object) manifest.Ref {
	ref := binding.Ref.Child(manifest.KindServiceInstance, instanceName(binding))
	if p.in.Desired.Get(ref) != nil {
		return ref
	}
	for _, o := range p.in.Desired.Of(manifest.KindServiceInstance) {
		spaces, _ := o.Spec["share_to"].(map[string]any)
		if _, shared := spaces[ref.Space()]; shared && strings.EqualFold(o.Ref.Name(), ref.Name()) {
			return o.Ref
		}
	}
	return ref
}

// creates is the step that makes a route, nil where it exists: its own, or that of an app that it leads to.
func (p *planner) creates(route manifest.Ref) *platform.Step {
	if p.in.Live.Live.Get(route) != nil {
		return nil
	}
	if own := p.steps[route]; own != nil {
		return own
	}
	var first *platform.Step
	for _, s := range p.steps {
		if concerns(s, route) && (first == nil || cmp.Compare(s.ID, first.ID) < 0) {
			first = s
		}
	}
	return first
}
