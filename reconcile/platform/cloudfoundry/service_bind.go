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

// plainBinding reports whether a manifest can make a binding with all that is said of it. Metadata it cannot carry, and with
// parameters goes their seal.
func plainBinding(o *manifest.Object) bool {
	return o.Inputs[parametersInput] == nil && len(metadataKeys("", o.Spec)) == 0
}

// bindRun is the serviceRun of an app's binding. It is a part of the app's step.
type bindRun struct {
	serviceRun
	app string // guid
}

func (r *bindRun) path(guid string) string { return "/v3/service_credential_bindings/" + guid }

func (r *bindRun) look(ctx context.Context) (found, error) {
	bindings, _, err := ccv3.List[ccv3.Binding](ctx, r.d.client, "/v3/service_credential_bindings", url.Values{
		"type": {"app"}, "app_guids": {r.app}, "service_instance_names": {ccv3.Filter(instanceName(r.want))},
	})
	if err != nil || len(bindings) == 0 {
		return found{}, err
	}
	b := bindings[0]
	now := r.found(b.Resource, b.LastOperation)
	if now.live != nil {
		now.live.Spec["app"], now.live.Spec["name"] = r.want.Spec["app"], text(b.Name)
	}
	return now, nil
}

func (r *bindRun) create(ctx context.Context) error {
	if err := r.find(ctx); err != nil {
		return err
	}
	body := map[string]any{"type": "app"}
	if name := r.want.Spec["name"]; name != nil {
		body["name"] = name
	}
	return r.bind(ctx, "/v3/service_credential_bindings", body, map[string]any{"app": ccv3.To(r.app)})
}

// find looks for the instance where the plan did not see it: it was just made, or shared by another space.
func (r *bindRun) find(ctx context.Context) error {
	if r.data.instance != "" {
		return nil
	}
	name := instanceName(r.want)
	visible, _, err := ccv3.List[ccv3.ServiceInstance](ctx, r.d.client, "/v3/service_instances", url.Values{
		"space_guids": {r.data.space}, "names": {ccv3.Filter(name)},
	})
	if err == nil && len(visible) == 0 {
		return &platform.Error{
			Class: platform.Missing, Ref: r.want.Ref, Origin: r.want.Origin, Doing: "looking for the service instance",
			Message: fmt.Sprintf("there is no service instance %s in space %s", name, r.want.Ref.Space()), Hint: createInstance,
		}
	}
	if len(visible) > 0 {
		r.data.instance = visible[0].GUID
	}
	return err
}

func (r *bindRun) update(ctx context.Context, now found, changes []diff.Change) (bool, error) {
	return r.renew(ctx, r, now, changes)
}

func (r *bindRun) remove(ctx context.Context, now found) error {
	return r.request(ctx, http.MethodDelete, r.path(now.guid), nil)
}

// bindsAlone reports whether a binding is made by a request of its own, and not by the manifest: which could not do it, or
// would not wait for the service broker that is at work on it since before.
func (r *appRun) bindsAlone(o *manifest.Object) bool {
	return !plainBinding(o) || r.data.ids[o.Ref] != ""
}

// binds are the calls that make and change bindings apart from the manifest; configures says whether instances have to be
// told of any.
func (r *appRun) binds() (calls []call, configures bool) {
	for _, o := range r.desired.Of(manifest.KindServiceBinding) {
		concerned := false
		for _, c := range r.step.Changes {
			if c.Ref != o.Ref || c.Path == "" && (c.Op == diff.Remove || !r.bindsAlone(o)) {
				continue
			}
			concerned = true
			configures = configures || !strings.HasPrefix(c.Path, "/metadata")
		}
		if concerned {
			calls = append(calls, func(ctx context.Context) error { return r.bind(ctx, o) })
		}
	}
	return calls, configures
}

// bind brings a binding to what want says.
func (r *appRun) bind(ctx context.Context, want *manifest.Object) error {
	data := &serviceData{space: r.data.space, instance: r.data.instances[want.Ref]}
	if guid := r.data.ids[want.Ref]; guid != "" {
		data.guid, data.live, data.seals = guid, r.data.set.Get(want.Ref), r.data.seals[want.Ref]
	}
	delete(r.data.ids, want.Ref) // it may be another one from now on
	one := serviceRun{caller: r.caller, say: r.say, want: want, data: data}
	return r.fail("binding the service instance "+instanceName(want), one.run(ctx, &bindRun{serviceRun: one, app: r.guid}))
}

// rebind gives a binding back the name that it had. With which parameters it was made nobody knows any more: one that was
// made with others keeps them, as its seal says.
func (r *appRun) rebind(ctx context.Context, before *manifest.Object) error {
	if want := r.desired.Get(before.Ref); want != nil && want.Inputs[parametersInput] != nil {
		return nil
	}
	return r.bind(ctx, before)
}
