package cloudfoundry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
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
	return true, r.describe(ctx, r.path(now.guid), changes)
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
	return true, r.describe(ctx, r.path(now.guid), changes)
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

// bind creates a key or a route binding.
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
	if m, has := described(r.want, r.step.Changes); has {
		body["metadata"] = m
	}
	if p, ok := r.want.Inputs["parameters"]; ok {
		body["parameters"] = p
	}
	return r.request(ctx, http.MethodPost, path, body)
}

// found is what a list says of a key or a route binding.
func (r *serviceRun) found(of ccv3.Resource, op *ccv3.LastOperation) found {
	now := found{guid: of.GUID, op: op}
	if established(op) {
		now.live = &manifest.Object{Ref: r.step.Ref, Spec: map[string]any{"metadata": metadata(of)}}
		if r.want != nil {
			for _, key := range []string{"service_instance", "name", "route"} { // by which it was found
				now.live.Spec[key] = r.want.Spec[key]
			}
		}
	}
	return now
}

// describeBindings sets labels and annotations of the app's bindings, which no manifest can carry.
func (r *appRun) describeBindings(ctx context.Context) error {
	patches := map[manifest.Ref]ccv3.Metadata{}
	for _, o := range r.desired.Of(manifest.KindServiceBinding) {
		changes := r.step.Changes
		for _, c := range changes {
			if c.Ref == o.Ref && c.Path == "/name" { // made anew
				changes = []diff.Change{{Ref: o.Ref, Op: diff.Add}}
			}
		}
		if m, changed := described(o, changes); changed {
			patches[o.Ref] = m
		}
	}
	if len(patches) == 0 {
		return nil
	}
	const doing = "describing the service bindings"
	bindings, included, err := ccv3.ListBy[ccv3.Binding](ctx, r.d.client, "/v3/service_credential_bindings",
		url.Values{"type": {"app"}, "include": {"service_instance"}}, "app_guids", []string{r.guid})
	if err != nil {
		return r.fail(doing, err)
	}
	instances := byGUID(included.ServiceInstances)
	for _, b := range bindings {
		for ref, patch := range patches {
			if !strings.EqualFold(r.instance(ref), instances[b.Relationships.ServiceInstance.GUID()].Name) {
				continue
			}
			if err := r.do(ctx, doing, http.MethodPatch, "/v3/service_credential_bindings/"+b.GUID, map[string]any{"metadata": patch}); err != nil {
				return err
			}
		}
	}
	return nil
}
