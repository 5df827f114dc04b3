package cloudfoundry

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// A manifest adds and changes, and never removes (observed). What it cannot do is done by the single calls here, all of
// which may be repeated.

type call = func(context.Context) error

// removals are the calls that take away what Git no longer declares and running instances have to be told of.
func (r *appRun) removals() []call {
	var calls []call
	var env []string
	for _, c := range r.step.Changes {
		keys := manifest.SplitPointer(c.Path)
		switch {
		case c.Ref.Kind == manifest.KindServiceBinding && c.Op == diff.Remove && len(keys) == 0:
			calls = append(calls, func(ctx context.Context) error { return r.unbind(ctx, c.Ref) })
		case c.Ref != r.step.Ref || c.Op != diff.Remove || len(keys) != 2:
		case keys[0] == "environment_variables":
			env = append(env, keys[1])
		case keys[0] == "sidecars":
			calls = append(calls, func(ctx context.Context) error { return r.deleteSidecar(ctx, keys[1]) })
		case keys[0] == "processes":
			calls = append(calls, func(ctx context.Context) error { return r.scaleToZero(ctx, keys[1]) })
		}
	}
	if len(env) > 0 {
		calls = append(calls, func(ctx context.Context) error { return r.unsetEnv(ctx, env) })
	}
	return calls
}

// unsetEnv removes variables. A manifest with null would only empty them (observed).
func (r *appRun) unsetEnv(ctx context.Context, names []string) error {
	vars := map[string]*string{}
	for _, n := range names {
		vars[n] = nil
	}
	return r.do(ctx, "removing environment variables", http.MethodPatch, "/v3/apps/"+r.guid+"/environment_variables", map[string]any{"var": vars})
}

func (r *appRun) deleteSidecar(ctx context.Context, name string) error {
	doing := "deleting the sidecar " + name
	sidecars, _, err := ccv3.List[ccv3.Sidecar](ctx, r.d.client, "/v3/apps/"+r.guid+"/sidecars", nil)
	if err != nil {
		return r.fail(doing, err)
	}
	for _, s := range sidecars {
		if s.Name == name {
			return r.do(ctx, doing, http.MethodDelete, "/v3/sidecars/"+s.GUID, nil)
		}
	}
	return nil
}

// scaleToZero is as near to deleting a process type as the API comes.
func (r *appRun) scaleToZero(ctx context.Context, process string) error {
	body := ccv3.Body{ContentType: "application/json", Data: []byte(`{"instances":0}`), Repeatable: true}
	return r.do(ctx, "scaling the process "+process+" to 0", http.MethodPost,
		"/v3/apps/"+r.guid+"/processes/"+url.PathEscape(process)+"/actions/scale", body)
}

// describe gives the processes their labels and annotations. The ledger is widened before.
func (r *appRun) describe(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(mapOf(r.app.Spec["processes"]))) {
		metadata, changed := described(r.app, r.step.Changes, "processes", name)
		if !changed {
			continue
		}
		doing := "describing the process " + name
		if r.ledger == "" {
			r.ledger = encodeLedger(append(r.owns(), r.data.ledger...))
			if err := r.annotate(ctx, map[string]string{appliedAnnotation: r.ledger}, nil); err != nil {
				return err
			}
			r.changed = true
		}
		var process ccv3.Process
		if err := r.get(ctx, doing, "/v3/apps/"+r.guid+"/processes/"+url.PathEscape(name), &process); err != nil {
			return err
		}
		if err := r.do(ctx, doing, http.MethodPatch, "/v3/processes/"+process.GUID, map[string]any{"metadata": metadata}); err != nil {
			return err
		}
	}
	return nil
}

// unbind deletes a service binding; the service instance stays.
func (r *appRun) unbind(ctx context.Context, ref manifest.Ref) error {
	name := r.instance(ref)
	doing := "unbinding the service instance " + name
	guid := r.data.ids[ref]
	if guid == "" {
		bindings, _, err := ccv3.List[ccv3.Binding](ctx, r.d.client, "/v3/service_credential_bindings", url.Values{
			"app_guids": {r.guid}, "service_instance_names": {ccv3.Filter(name)}, "type": {"app"},
		})
		if err != nil || len(bindings) == 0 {
			return r.fail(doing, err)
		}
		guid = bindings[0].GUID
	}
	delete(r.data.ids, ref)
	return r.remove(ctx, doing, "/v3/service_credential_bindings/"+guid)
}

func (r *appRun) instance(ref manifest.Ref) string {
	for _, set := range []manifest.Set{r.desired, r.data.set} {
		if o := set.Get(ref); o != nil {
			return instanceName(o)
		}
	}
	return ref.Name()
}

// destination is one mapping of a route to the app.
type destination struct {
	route manifest.Ref
	key   string
}

// unmapped are the destinations at this app that have to go.
func (r *appRun) unmapped() []destination { return r.destinationsOf(diff.Remove, r.data.set) }

// destinationsOf lists the destinations at this app that the step's changes of one kind concern; those of a
// whole route are looked up in set.
func (r *appRun) destinationsOf(op diff.Op, set manifest.Set) []destination {
	var all []destination
	for _, c := range r.step.Changes {
		keys := manifest.SplitPointer(c.Path)
		switch {
		case c.Ref.Kind != manifest.KindRoute || c.Op != op:
		case len(keys) == 2 && keys[0] == "destinations" && destinationApp(c.Ref, keys[1]) == r.step.Ref:
			all = append(all, destination{c.Ref, keys[1]})
		case len(keys) == 0 || len(keys) == 1 && keys[0] == "destinations":
			if o := set.Get(c.Ref); o != nil {
				for _, key := range slices.Sorted(maps.Keys(destinations(o))) {
					if destinationApp(c.Ref, key) == r.step.Ref {
						all = append(all, destination{c.Ref, key})
					}
				}
			}
		}
	}
	return all
}

// altered are the destinations at this app that get another port or protocol.
func (r *appRun) altered() []destination {
	var all []destination
	for _, c := range r.step.Changes {
		keys := manifest.SplitPointer(c.Path)
		if c.Ref.Kind != manifest.KindRoute || len(keys) != 3 || keys[0] != "destinations" || destinationApp(c.Ref, keys[1]) != r.step.Ref {
			continue
		}
		if d := (destination{c.Ref, keys[1]}); !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}

// detach unmaps what Git no longer declares. It comes after the rollout, because until then the way back leads
// over the old routes. The routes themselves stay.
func (r *appRun) detach(ctx context.Context) error {
	if err := r.unmap(ctx, r.unmapped()); err != nil {
		return err
	}
	return r.trim(ctx, r.desired)
}

func (r *appRun) unmap(ctx context.Context, gone []destination) error {
	for _, d := range gone {
		guid, err := r.routeGUID(ctx, "unmapping the route "+d.route.Name(), d.route)
		if err != nil || guid == "" {
			return err
		}
		_, process := splitDestination(d.key)
		if err := r.unmapFrom(ctx, guid, r.guid, process, nil); err != nil {
			return err
		}
	}
	return nil
}

// mapDestinations maps routes where a manifest cannot: to a port or a process type of its own, and where the app has
// another destination at the route already. Inserting a destination that exists is a no-op (observed).
func (r *appRun) mapDestinations(ctx context.Context) error {
	for _, d := range r.destinationsOf(diff.Add, r.desired) {
		spec := mapOf(destinations(r.desired.Get(d.route))[d.key])
		_, process := splitDestination(d.key)
		if plainDestination(d.key, spec) && !r.mapped(d.route) {
			continue // the manifest did it
		}
		doing := "mapping " + d.route.Name() + " to the process " + process
		guid, err := r.existing(ctx, doing, d.route)
		if err != nil {
			return err
		}
		if err := r.insert(ctx, doing, guid, r.guid, process, spec); err != nil {
			return err
		}
		r.changed = true
	}
	return r.alter(ctx, r.desired)
}

// mapped reports whether the route led to the app before.
func (r *appRun) mapped(route manifest.Ref) bool {
	o := r.data.set.Get(route)
	return o != nil && hangsOn(o, r.step.Ref)
}

// alter gives the altered destinations the port and the protocol that source says. Another port is another destination,
// and the one before stays until trim takes it, so that the route leads somewhere all the time.
//
// A manifest could change the protocol too, but it would replace all destinations of the route, those of other apps
// and processes included (from the controller's source, ManifestRouteUpdate).
func (r *appRun) alter(ctx context.Context, source manifest.Set) error {
	for _, d := range r.altered() {
		spec := mapOf(destinations(source.Get(d.route))[d.key])
		_, process := splitDestination(d.key)
		doing := "changing where " + d.route.Name() + " leads to"
		guid, err := r.existing(ctx, doing, d.route)
		if err != nil {
			return err
		}
		found, err := r.destinationsAt(ctx, doing, guid, r.guid, process)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(found, func(at ccv3.Destination) bool { return spec["port"] == nil || number(at.Port) == spec["port"] })
		r.changed = true
		switch {
		case at < 0:
			err = r.insert(ctx, doing, guid, r.guid, process, spec)
		case spec["protocol"] != nil && text(found[at].Protocol) != spec["protocol"]:
			err = r.do(ctx, doing, http.MethodPatch, "/v3/routes/"+guid+"/destinations/"+found[at].GUID, map[string]any{"protocol": spec["protocol"]})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trim takes away the ports that altered destinations had before.
func (r *appRun) trim(ctx context.Context, source manifest.Set) error {
	for _, d := range r.altered() {
		spec := mapOf(destinations(source.Get(d.route))[d.key])
		if spec["port"] == nil {
			continue
		}
		_, process := splitDestination(d.key)
		guid, err := r.routeGUID(ctx, "unmapping the route "+d.route.Name(), d.route)
		if err != nil || guid == "" {
			return err
		}
		if err := r.unmapFrom(ctx, guid, r.guid, process, spec["port"]); err != nil {
			return err
		}
	}
	return nil
}

// routeGUID is the guid of the route, "" if there is none in the space.
func (r *appRun) routeGUID(ctx context.Context, doing string, ref manifest.Ref) (string, error) {
	if guid := r.data.ids[ref]; guid != "" {
		return guid, nil
	}
	routes, _, err := ccv3.List[ccv3.Route](ctx, r.d.client, "/v3/routes", url.Values{"space_guids": {r.data.space}})
	if err != nil {
		return "", r.fail(doing, err)
	}
	for _, route := range routes {
		if strings.EqualFold(route.URL, ref.Name()) {
			return route.GUID, nil
		}
	}
	return "", nil
}

// existing is the guid of a route that has to be there.
func (r *appRun) existing(ctx context.Context, doing string, ref manifest.Ref) (string, error) {
	guid, err := r.routeGUID(ctx, doing, ref)
	if err != nil || guid != "" {
		return guid, err
	}
	return "", &platform.Error{
		Class: platform.Missing, Ref: ref, Doing: doing, Message: "there is no such route in the space",
		Hint: "somebody has deleted it: apply again",
	}
}
