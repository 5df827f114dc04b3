package cloudfoundry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// operationTimeout is how long somebody else's operation is waited for. One's own is a job, see ccv3.Client.Job.
const operationTimeout = 30 * time.Minute

// instanceRun is the serviceRun of a service instance.
type instanceRun struct{ serviceRun }

func (r *instanceRun) path(guid string) string { return "/v3/service_instances/" + guid }

// look finds the instance by its name, with all that Git declares of it.
func (r *instanceRun) look(ctx context.Context) (found, error) {
	return r.d.lookForInstance(ctx, r.step.Ref, r.data.space, r.step.Desired)
}

func (d *Driver) lookForInstance(ctx context.Context, ref manifest.Ref, space string, desired manifest.Set) (found, error) {
	all := &readings{places: []place{{path: ref.Space(), space: space}}}
	if err := d.readInstances(ctx, all, url.Values{"names": {ccv3.Filter(ref.Name())}}, []string{space}); err != nil {
		return found{}, err
	}
	all.instances = slices.DeleteFunc(all.instances, func(i ccv3.ServiceInstance) bool {
		return i.Relationships.Space.GUID() != space || !strings.EqualFold(i.Name, ref.Name())
	})
	if len(all.instances) == 0 {
		return found{}, nil
	}
	if err := d.readServices(ctx, all, desired); err != nil {
		return found{}, err
	}
	now := found{guid: all.instances[0].GUID, op: all.instances[0].LastOperation, seals: all.services.sealer.of(all.instances[0].Resource)}
	if established(now.op) {
		now.live = newPicture(all, desired).instance(all.instances[0], ref)
	}
	return now, nil
}

// create makes the instance and shares it. An instance of this name that failed to come into being stands in the way
// only where the controller does not replace it by itself.
func (r *instanceRun) create(ctx context.Context) error {
	spec := r.want.Spec
	body := map[string]any{"type": spec["type"], "name": r.step.Ref.Name(), "relationships": map[string]any{"space": ccv3.To(r.data.space)}}
	for _, key := range []string{"tags", "credentials", "syslog_drain_url", "route_service_url"} {
		if v := spec[key]; v != nil {
			body[key] = v
		}
	}
	m := metadataOf(spec)
	mark(m, spec)
	body["metadata"] = m
	if spec["type"] == managed {
		if err := r.d.sealer().seal(&m, r.want); err != nil {
			return err
		}
		if p, ok := r.want.Inputs[parametersInput]; ok {
			body["parameters"] = p
		}
		plan, err := r.plan(ctx)
		if err != nil {
			return err
		}
		body["relationships"].(map[string]any)["service_plan"] = ccv3.To(plan.GUID)
	}
	err := r.request(ctx, http.MethodPost, "/v3/service_instances", body)
	if err != nil && strings.Contains(err.Error(), "name is taken") {
		if now, lookErr := r.look(ctx); lookErr == nil && failedToCreate(now.op) {
			return errors.Join(err, r.request(ctx, http.MethodDelete, r.path(now.guid), nil))
		}
	}
	if spaces, _ := spec["share_to"].(map[string]any); err == nil && len(spaces) > 0 {
		now, err := r.look(ctx)
		if err != nil {
			return err
		}
		return r.share(ctx, now.guid, slices.Sorted(maps.Keys(spaces)))
	}
	return err
}

// plan finds the declared plan, or says what there is instead.
func (r *instanceRun) plan(ctx context.Context) (ccv3.ServicePlan, error) {
	offering, _ := r.want.Spec["service_offering"].(string)
	name, _ := r.want.Spec["service_plan"].(string)
	plans, _, err := ccv3.List[ccv3.ServicePlan](ctx, r.d.client, "/v3/service_plans", url.Values{
		"service_offering_names": {ccv3.Filter(offering)}, "space_guids": {r.data.space},
	})
	if err != nil {
		return ccv3.ServicePlan{}, err
	}
	var names []string
	for _, p := range plans {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	e := &platform.Error{
		Class: platform.Missing, Ref: r.step.Ref, Doing: "looking for the service plan", Origin: r.want.FieldOrigin("/service_plan"),
		Message: fmt.Sprintf("the service offering %s has no plan %s in %s, or the user cannot see it", offering, name, r.step.Ref.Space()),
		Hint:    didYouMean(name, names, fmt.Sprintf("`cf marketplace -e %s` lists the plans", offering)),
	}
	if len(plans) == 0 {
		e.Origin = r.want.FieldOrigin("/service_offering")
		e.Message = fmt.Sprintf("there is no service offering %s in %s, or the user cannot see it", offering, r.step.Ref.Space())
		e.Hint = "`cf marketplace` lists what there is; service access is given by the operators (cf enable-service-access)"
	}
	return ccv3.ServicePlan{}, e
}

// update puts all that one request can carry into one. The version of the instance cannot change together with the plan,
// and shares are requests of their own.
func (r *instanceRun) update(ctx context.Context, now found, changes []diff.Change) (done bool, err error) {
	patch := map[string]any{}
	var version any
	var share, unshare []string
	for _, c := range changes {
		keys := manifest.SplitPointer(c.Path)
		switch keys[0] {
		case "type", "service_offering": // made by somebody since the plan
			return false, &platform.Error{
				Class: platform.Invalid, Ref: r.step.Ref, Origin: r.want.FieldOrigin(c.Path), Doing: "updating it",
				Message: fmt.Sprintf("there is one of another kind by now (%v instead of %v)", c.Was, c.Value), Hint: "plan again",
			}
		case "service_plan":
			plan, err := r.plan(ctx)
			if err != nil {
				return false, err
			}
			patch["relationships"] = map[string]any{"service_plan": ccv3.To(plan.GUID)}
		case "maintenance_info":
			version = r.want.Spec["maintenance_info"]
		case "credentials", "tags", "syslog_drain_url", "route_service_url":
			patch[keys[0]] = r.want.Spec[keys[0]] // as a whole
		case parametersInput:
			patch["parameters"] = r.want.Inputs[parametersInput]
		case "share_to":
			s, u := sharing(c, keys)
			share, unshare = append(share, s...), append(unshare, u...)
		}
	}
	m, changed := described(r.want, changes)
	if patch["parameters"] != nil {
		changed = true
		if err := r.d.sealer().seal(&m, r.want); err != nil {
			return false, err
		}
	}
	if changed {
		patch["metadata"] = m
	}
	again := version != nil && patch["relationships"] != nil // a new plan has a version of its own
	if version != nil && !again {
		patch["maintenance_info"] = version
	}
	if len(patch) > 0 {
		r.say("updating")
		if err := r.patch(ctx, now.guid, patch); err != nil {
			return false, err
		}
	}
	if len(share) > 0 {
		if err := r.share(ctx, now.guid, share); err != nil {
			return false, err
		}
	}
	return !again, r.unshare(ctx, now.guid, unshare)
}

// patch makes the change, having noted on the apps that see it only after a restart that one is due: so that a run that is
// killed in between leaves no app behind that goes on with what was before. The apps' own steps restart them.
func (r *instanceRun) patch(ctx context.Context, guid string, patch map[string]any) error {
	var told []string
	if patch["credentials"] != nil || patch["tags"] != nil {
		for _, app := range slices.Sorted(maps.Keys(r.data.tell)) {
			if err := r.note(ctx, app, pendingRestart+" "+newToken()); err != nil {
				return err
			}
			told = append(told, app)
		}
	}
	err := r.request(ctx, http.MethodPatch, r.path(guid), patch)
	if err != nil && ctx.Err() == nil && !ccv3.MayHaveHappened(err) {
		for _, app := range told {
			err = errors.Join(err, r.note(ctx, app, ""))
		}
	}
	return err
}

// note writes the pending annotation of an app, or removes it. An app that is gone needs none.
func (r *instanceRun) note(ctx context.Context, app, text string) error {
	m := ccv3.Metadata{Annotations: map[string]*string{pendingAnnotation: nil}}
	if text != "" {
		m.Annotations[pendingAnnotation] = &text
	}
	err := r.request(ctx, http.MethodPatch, "/v3/apps/"+app, map[string]any{"metadata": m})
	if ccv3.IsNotFound(err) {
		return nil
	}
	return err
}

// remove deletes the instance. The platform would take bindings, of other spaces too, along with it; what is in use is
// therefore not deleted. Keys go with it: there is nothing left that they could open.
func (r *instanceRun) remove(ctx context.Context, now found) error {
	if err := r.unused(ctx, now.guid); err != nil {
		return err
	}
	return r.request(ctx, http.MethodDelete, r.path(now.guid), nil)
}

func (r *instanceRun) unused(ctx context.Context, guid string) error {
	query := url.Values{"service_instance_guids": {guid}}
	routes, _, err := ccv3.List[ccv3.RouteBinding](ctx, r.d.client, "/v3/service_route_bindings", query)
	if err != nil {
		return err
	}
	query.Set("type", "app")
	query.Set("include", "app")
	apps, included, err := ccv3.List[ccv3.Binding](ctx, r.d.client, "/v3/service_credential_bindings", query)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(apps))
	for _, app := range included.Apps {
		names = append(names, app.Name)
	}
	slices.Sort(names)
	what := fmt.Sprintf("%d routes", len(routes))
	switch {
	case len(apps) > 0:
		what = "the apps " + strings.Join(names, ", ")
		if len(apps) == 1 {
			what = "the app " + strings.Join(names, ", ")
		}
	case len(routes) == 1:
		what = "a route"
	case len(routes) == 0:
		return nil
	}
	return &platform.Error{
		Class: platform.Invalid, Ref: r.step.Ref, Doing: "deleting it", Message: "it is in use still: bound to " + what,
		Hint: fmt.Sprintf("unbind it first (`cf service %s` shows by whom it is used), or declare it", r.step.Ref.Name()),
	}
}
