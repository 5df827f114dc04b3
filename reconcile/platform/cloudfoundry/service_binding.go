package cloudfoundry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// keyRun is the serviceRun of a service key.
type keyRun struct{ serviceRun }

func (r *keyRun) path(guid string) string { return "/v3/service_credential_bindings/" + guid }

func (r *keyRun) look(ctx context.Context) (found, error) {
	instance, err := r.instance(ctx)
	if err != nil || instance == "" {
		return found{}, err
	}
	keys, _, err := ccv3.List[ccv3.Binding](ctx, r.d.client, "/v3/service_credential_bindings", url.Values{
		"type": {"key"}, "service_instance_guids": {instance}, "names": {ccv3.Filter(r.name())},
	})
	if err != nil || len(keys) == 0 {
		return found{}, err
	}
	return r.found(keys[0].Resource, keys[0].LastOperation), nil
}

func (r *keyRun) create(ctx context.Context) error {
	body := map[string]any{"type": "key", "name": r.name()}
	return r.bind(ctx, "/v3/service_credential_bindings", body, map[string]any{})
}

func (r *keyRun) update(ctx context.Context, now found, changes []diff.Change) (bool, error) {
	return r.renew(ctx, r, now, changes)
}

func (r *keyRun) remove(ctx context.Context, now found) error {
	return r.request(ctx, http.MethodDelete, r.path(now.guid), nil)
}

// name of the key, the last part of the Ref.
func (r *keyRun) name() string {
	return r.step.Ref.Path[strings.LastIndexByte(r.step.Ref.Path, '/')+1:]
}

// routeBindingRun is the serviceRun of a route binding.
type routeBindingRun struct{ serviceRun }

func (r *routeBindingRun) path(guid string) string { return "/v3/service_route_bindings/" + guid }

func (r *routeBindingRun) look(ctx context.Context) (found, error) {
	instance, err := r.instance(ctx)
	if err != nil || instance == "" {
		return found{}, err
	}
	route, err := r.route(ctx)
	if err != nil {
		return found{}, err
	}
	bindings, _, err := ccv3.List[ccv3.RouteBinding](ctx, r.d.client, "/v3/service_route_bindings", url.Values{
		"service_instance_guids": {instance}, "route_guids": {route},
	})
	if err != nil || len(bindings) == 0 {
		return found{}, err
	}
	return r.found(bindings[0].Resource, bindings[0].LastOperation), nil
}

func (r *routeBindingRun) create(ctx context.Context) error {
	route, err := r.route(ctx)
	if err != nil {
		return err
	}
	err = r.bind(ctx, "/v3/service_route_bindings", map[string]any{}, map[string]any{"route": ccv3.To(route)})
	if err != nil && strings.Contains(err.Error(), "may only be bound to a single service instance") {
		return &platform.Error{
			Class: platform.Invalid, Ref: r.step.Ref, Origin: r.want.Origin, Doing: "creating it", Message: "the route is bound to another service instance", Err: err,
			Hint: "unbind that one first (cf unbind-route-service), or let Fettle do it: meta.prune with service_bindings: true",
		}
	}
	return err
}

func (r *routeBindingRun) update(ctx context.Context, now found, changes []diff.Change) (bool, error) {
	return r.renew(ctx, r, now, changes)
}

func (r *routeBindingRun) remove(ctx context.Context, now found) error {
	return r.request(ctx, http.MethodDelete, r.path(now.guid), nil)
}

// route is the guid of the route, which may have been made by this very run.
func (r *routeBindingRun) route(ctx context.Context) (string, error) {
	if r.data.route != "" {
		return r.data.route, nil
	}
	name := r.step.Ref.Name()
	name = name[strings.IndexByte(name, '/')+1:]
	routes, _, err := ccv3.List[ccv3.Route](ctx, r.d.client, "/v3/routes", url.Values{"space_guids": {r.data.space}})
	if err != nil {
		return "", err
	}
	for _, route := range routes {
		if strings.EqualFold(route.URL, name) {
			r.data.route = route.GUID
			return route.GUID, nil
		}
	}
	return "", &platform.Error{
		Class: platform.Missing, Ref: r.step.Ref, Origin: r.step.Desired.Get(r.step.Ref).Origin, Doing: "looking for the route",
		Message: fmt.Sprintf("there is no route %s in %s", name, r.step.Ref.Space()), Hint: "declare it under routes:, or create it (cf create-route)",
	}
}

// instance is the guid of the service instance, which may have been made by this very run.
func (r *serviceRun) instance(ctx context.Context) (string, error) {
	if r.data.instance != "" {
		return r.data.instance, nil
	}
	name, _, _ := strings.Cut(r.step.Ref.Name(), "/")
	now, err := r.d.lookForInstance(ctx, r.step.Ref.Child(manifest.KindServiceInstance, name), r.data.space, manifest.Set{})
	r.data.instance = now.guid
	return now.guid, err
}

// renew changes labels and annotations. For anything else the binding has to be made anew, under a name that the one before
// has, so that one goes first.
func (r *serviceRun) renew(ctx context.Context, of service, now found, changes []diff.Change) (done bool, err error) {
	if slices.ContainsFunc(changes, func(c diff.Change) bool { return c.Path == "/name" || c.Path == "/"+parametersInput }) {
		r.say("deleting the binding, to make it anew")
		return false, of.remove(ctx, now)
	}
	return true, r.describe(ctx, of.path(now.guid), changes)
}

// bind creates a binding or a key.
func (r *serviceRun) bind(ctx context.Context, path string, body, relationships map[string]any) error {
	instance, err := r.instance(ctx)
	if err != nil {
		return err
	}
	if instance == "" {
		return &platform.Error{
			Class: platform.Missing, Ref: r.step.Ref, Origin: r.want.Origin, Doing: "creating it",
			Message: "there is no service instance " + instanceName(r.want), Hint: createInstance,
		}
	}
	relationships["service_instance"] = ccv3.To(instance)
	body["relationships"] = relationships
	m := metadataOf(r.want.Spec)
	mark(m, r.want.Spec)
	if err := r.d.sealer().seal(&m, r.want); err != nil {
		return err
	}
	body["metadata"] = m
	if p, ok := r.want.Inputs[parametersInput]; ok {
		body["parameters"] = p
	}
	return r.request(ctx, http.MethodPost, path, body)
}

// found is what a list says of a binding or a key.
func (r *serviceRun) found(of ccv3.Resource, op *ccv3.LastOperation) found {
	now := found{guid: of.GUID, op: op, seals: r.d.sealer().of(of)}
	if established(op) {
		ref := r.step.Ref
		if r.want != nil {
			ref = r.want.Ref // of an app's binding, in the step of the app
		}
		now.live = &manifest.Object{Ref: ref, Spec: map[string]any{"metadata": metadata(of)}}
		if r.want != nil {
			for _, key := range []string{"service_instance", "name", "route"} { // by which it was found
				now.live.Spec[key] = r.want.Spec[key]
			}
		}
	}
	return now
}
