package cloudfoundry

import (
	"context"
	"errors"
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

// resume finds out where a killed run stopped, and waits for a deployment that is in progress: while it is, the web
// process can be neither scaled nor updated (observed).
func (r *appRun) resume(ctx context.Context) error {
	between := r.settings.Strategy == "recreate" && len(r.changesBelow("state")) > 0 // stopped, and not yet started
	if r.live == nil || !between && len(r.changesBelow("rollout")) == 0 {
		return nil
	}
	var app ccv3.App
	if err := r.get(ctx, "looking where the last run stopped", "/v3/apps/"+r.guid, &app); err != nil {
		return err
	}
	r.pending, r.started = app.Metadata.Annotation(pendingAnnotation), app.State == "STARTED"
	r.resumed = r.pending != ""
	if r.previous = droppedFrom(r.pending); r.previous != "" {
		r.recreated = true
	} else { // killed between stopping it and saying so
		r.recreated = strings.HasPrefix(r.pending, pendingRestart) && !r.started && r.settings.Strategy == "recreate"
	}
	dep, err := r.deployment(ctx, func(d *ccv3.Deployment) bool { return d.Status.Value == "ACTIVE" || r.isOurs(d) })
	switch {
	case err != nil:
		return r.fail("looking for deployments of the app", err)
	case dep != nil && dep.Status.Value == "ACTIVE":
		return r.resumeDeployment(ctx, dep)
	case dep != nil && dep.Status.Reason == "CANCELED" && r.sameCommit(dep):
		return r.rollBack(ctx, dep, &platform.Error{
			Class: platform.Rollout, Ref: r.step.Ref, Origin: r.app.Origin, Doing: "rolling out", Message: "the rollout of this commit was cancelled",
			Hint: "Git has to declare something else for the app; or apply once more",
		})
	case dep != nil:
		r.delivered, r.deployed = dep.Status.Reason == "DEPLOYED", dep
	case strings.HasPrefix(r.pending, pendingStart) && r.started && r.onlyResumes():
		if err := r.awaitStart(ctx); err != nil {
			return err
		}
		r.delivered = true
	}
	return nil
}

func (r *appRun) resumeDeployment(ctx context.Context, dep *ccv3.Deployment) error {
	r.say("waiting for the deployment that is in progress")
	ours := r.isOurs(dep)
	err := r.watch(ctx, dep)
	var e *platform.Error
	var superseded *supersededError
	switch {
	case err == nil:
		if r.delivered = ours; ours {
			r.deployed = dep
		}
		return nil
	case errors.As(err, &superseded):
		return r.makeRoom(ctx, dep)
	case !errors.As(err, &e) || e.Class != platform.Rollout:
		return err
	case r.onlyResumes() && ours:
		return r.rollBack(ctx, dep, e)
	case r.onlyResumes():
		return &platform.Error{
			Class: platform.Unavailable, Ref: r.step.Ref, Origin: r.app.Origin, Doing: "waiting for a deployment that Fettle did not start",
			Message: e.Message, Hint: fmt.Sprintf("wait for its end or cancel it (cf cancel-deployment %s)", r.step.Ref.Name()), Err: e,
		}
	}
	return r.makeRoom(ctx, dep)
}

// makeRoom cancels a deployment from which Git has moved on. The platform goes back to the droplet before; the plan was made
// of what the app had while the deployment went on, so that droplet has to come again with what follows.
func (r *appRun) makeRoom(ctx context.Context, dep *ccv3.Deployment) error {
	if err := r.cancelDeployment(ctx, dep); err != nil {
		return err
	}
	if r.isOurs(dep) && !r.wantsCode() && dep.Droplet != nil && (dep.PreviousDroplet == nil || dep.PreviousDroplet.GUID != dep.Droplet.GUID) {
		r.droplet = dep.Droplet.GUID
	}
	return nil
}

// sameCommit reports whether dep delivers the very commit that is to be applied, and nothing but its code is missing.
func (r *appRun) sameCommit(dep *ccv3.Deployment) bool {
	return dep.Revision != nil && r.opts.Revision != "" && dep.Metadata.Annotation(revisionAnnotation) == r.opts.Revision &&
		!slices.ContainsFunc(r.step.Changes, func(c diff.Change) bool {
			return !r.comesLast(c) && !(c.Ref == r.step.Ref && strings.HasPrefix(c.Path, "/package"))
		})
}

// staged deals with staging that failed: running instances are none the worse, and the configuration goes back to
// what they run with.
func (r *appRun) staged(ctx context.Context, err error) error {
	var e *platform.Error
	if !errors.As(err, &e) || e.Class != platform.Staging {
		return err
	}
	r.quarantine = true
	return r.putBack(ctx, e, r.undo)
}

// notStarted stops an app again that did not come up.
func (r *appRun) notStarted(ctx context.Context, err error) error {
	var e *platform.Error
	if !errors.As(err, &e) || e.Class != platform.Rollout {
		return err
	}
	r.quarantine = true
	r.say("stopping it again: " + e.Message)
	return r.putBack(ctx, e, func(ctx context.Context) error {
		if err := r.action(ctx, "stopping the app again", "/v3/apps/"+r.guid+"/actions/stop"); err != nil {
			return err
		}
		if r.previous != "" && r.previous != r.droplet {
			if err := r.setDroplet(ctx, r.previous); err != nil {
				return err
			}
		}
		if err := r.restore(ctx); err != nil {
			return err
		}
		if r.recreated {
			const again = "starting the app again as it was"
			if err := r.action(ctx, again, "/v3/apps/"+r.guid+"/actions/start"); err != nil {
				return err
			}
			if err := r.newVigil(again).comesUp(ctx); err != nil {
				return err
			}
		}
		return r.forget(ctx) // last: until then a run after a killed one has to know
	})
}

// rollBack takes a deployment back: the platform puts back the droplet, and nothing else (observed), so that the
// configuration is ours to put back.
func (r *appRun) rollBack(ctx context.Context, dep *ccv3.Deployment, why *platform.Error) error {
	r.quarantine = true
	r.say("rolling back: " + why.Message)
	return r.putBack(ctx, why, func(ctx context.Context) error {
		if err := r.cancelDeployment(ctx, dep); err != nil {
			return err
		}
		to := map[string]any{}
		switch {
		case r.resumed && !r.changed:
			// The configuration was changed by a run that was killed, and what was before died with it. The platform
			// remembers a part, by revisions: environment, commands and sidecars.
			revision, err := r.revisionBefore(ctx, dep)
			if err != nil {
				return err
			}
			if revision == "" {
				return r.undo(ctx)
			}
			to["revision"] = map[string]any{"guid": revision}
		case dep.Status.Reason != "DEPLOYED":
			return r.undo(ctx)
		case dep.PreviousDroplet != nil:
			// It came up, was taken for good, and fell over: only another deployment leads back.
			to["droplet"] = map[string]any{"guid": dep.PreviousDroplet.GUID}
		}
		if err := r.restore(ctx); err != nil {
			return err
		}
		if err := r.redeploy(ctx, to); err != nil {
			return err
		}
		r.resumed = false // what the killed run had changed is put back too
		return r.forget(ctx)
	})
}

// putBack runs back, and says in the error if even that failed.
func (r *appRun) putBack(ctx context.Context, why *platform.Error, back func(context.Context) error) error {
	if err := back(ctx); err != nil {
		if ctx.Err() != nil {
			return err // told to stop; the next run looks again
		}
		why.Message += "; and putting the app back failed: " + err.Error()
		return why
	}
	r.rolledBack = r.live != nil
	return why
}

// cancelDeployment ends a deployment, unless it has ended meanwhile, and waits for its end.
func (r *appRun) cancelDeployment(ctx context.Context, dep *ccv3.Deployment) error {
	const doing = "cancelling the deployment"
	if dep.Status.Value == "ACTIVE" && dep.Status.Reason != "CANCELING" {
		err := r.action(ctx, doing, "/v3/deployments/"+dep.GUID+"/actions/cancel")
		if err != nil && !ccv3.HasStatus(err, http.StatusUnprocessableEntity) { // 422: it ended just now
			return err
		}
	}
	return r.awaitEnd(ctx, doing, dep)
}

func (r *appRun) awaitEnd(ctx context.Context, doing string, dep *ccv3.Deployment) error {
	limit := r.limit()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end within %s", limit))
	defer cancel()
	for p := newPace(); dep.Status.Value == "ACTIVE"; {
		if err := p.wait(ctx); err != nil {
			return r.fail(doing, err)
		}
		if err := r.get(ctx, doing, "/v3/deployments/"+dep.GUID, dep); err != nil {
			return err
		}
	}
	return nil
}

// revisionBefore is the guid of the newest revision that is older than that of dep, "" if there is none.
func (r *appRun) revisionBefore(ctx context.Context, dep *ccv3.Deployment) (string, error) {
	if dep.Revision == nil {
		return "", nil // the app's feature revisions is off
	}
	return r.newestRevision(ctx, func(v ccv3.Revision) bool { return v.Version < dep.Revision.Version })
}

// newestRevision is the guid of the newest revision that may be taken, "" if there is none.
func (r *appRun) newestRevision(ctx context.Context, may func(ccv3.Revision) bool) (string, error) {
	all, _, err := ccv3.List[ccv3.Revision](ctx, r.d.client, "/v3/apps/"+r.guid+"/revisions", nil)
	if err != nil {
		return "", r.fail("looking for the previous revision", err)
	}
	var newest ccv3.Revision
	for _, v := range all {
		if v.Version > newest.Version && may(v) {
			newest = v
		}
	}
	return newest.GUID, nil
}

// redeploy rolls out again what ran before: a droplet, or a revision.
func (r *appRun) redeploy(ctx context.Context, to map[string]any) error {
	const doing = "rolling out what ran before"
	body := r.belonging(to)
	body["strategy"] = "rolling"
	if n := r.settings.MaxInFlight; n > 0 {
		body["options"] = map[string]any{"max_in_flight": n}
	}
	token := "back " + newToken()
	r.note(body, map[string]string{pendingAnnotation: token})
	var back ccv3.Deployment
	if err := r.once(ctx, doing, func(ctx context.Context) error {
		_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/deployments", body, &back)
		return err
	}, func(ctx context.Context) (bool, error) {
		found, err := r.deployment(ctx, func(d *ccv3.Deployment) bool { return d.Metadata.Annotation(pendingAnnotation) == token })
		if found != nil {
			back = *found
		}
		return found != nil, err
	}); err != nil {
		return err
	}
	return r.awaitEnd(ctx, doing, &back)
}

// undo puts back what this run has changed, for instances that run with what was before.
func (r *appRun) undo(ctx context.Context) error {
	if err := r.restore(ctx); err != nil {
		return err
	}
	return r.forget(ctx)
}

// restore puts back the configuration. It works from the live values that the plan saw; the same manifest that goes
// forward with declared values goes back with live ones.
func (r *appRun) restore(ctx context.Context) error {
	if r.live == nil || !r.changed {
		return nil // a new app has nothing to go back to; it stays, stopped
	}
	const doing = "putting the configuration back"
	r.say(doing)
	before := manifest.NewSet(append(r.data.set.Objects(), r.live)...)
	m := newManifestRequest(r.step.Ref)
	calls, added := r.inverse(m, before)
	r.added = added
	if !m.empty() {
		if err := r.applyManifest(ctx, doing, m); err != nil {
			return err
		}
	}
	for _, call := range calls {
		if err := call(ctx); err != nil {
			return err
		}
	}
	return nil
}

// forget takes back the notes: nothing is pending, and what is owned is what was.
func (r *appRun) forget(ctx context.Context) error {
	if r.live == nil {
		return nil
	}
	null, notes := r.added, map[string]string{}
	if r.ledger != "" {
		notes[appliedAnnotation] = encodeLedger(r.data.ledger)
	}
	if r.pending != "" && !r.resumed { // what a killed run had changed is pending still
		null = append(null, manifest.Pointer("metadata", "annotations", pendingAnnotation))
	}
	if len(notes)+len(null) == 0 {
		return nil
	}
	return r.annotate(ctx, notes, null)
}

// inverse fills m with the live values of what was changed, and gives the calls and the metadata to remove for what was
// added. What is only done after the rollout (unmapping, removing metadata) needs no inverse.
func (r *appRun) inverse(m *manifestRequest, before manifest.Set) (calls []call, null []string) {
	var env []string
	for _, c := range r.step.Changes {
		keys := manifest.SplitPointer(c.Path)
		added := c.Op == diff.Add
		switch {
		case c.Ref.Kind == manifest.KindRoute: // below
		case c.Ref.Kind == manifest.KindServiceBinding && len(keys) > 0 && keys[0] == "metadata": // nobody runs with it
		case c.Ref.Kind == manifest.KindServiceBinding && len(keys) > 0:
			calls = append(calls, func(ctx context.Context) error { return r.rebind(ctx, before.Get(c.Ref)) })
		case c.Ref.Kind == manifest.KindServiceBinding && added:
			calls = append(calls, func(ctx context.Context) error { return r.unbind(ctx, c.Ref) })
		case c.Ref.Kind == manifest.KindServiceBinding:
			calls = append(calls, func(ctx context.Context) error { return r.bind(ctx, before.Get(c.Ref)) })
		case c.Ref != r.step.Ref || len(keys) < 2:
			r.inverseWhole(c, keys, m, before)
		case keys[0] == "environment_variables" && added:
			env = append(env, keys[1])
		case keys[0] == "sidecars" && added && len(keys) == 2:
			calls = append(calls, func(ctx context.Context) error { return r.deleteSidecar(ctx, keys[1]) })
		case keys[0] == "processes" && len(keys) > 2 && keys[2] == "metadata": // it comes after the rollout
		case keys[0] == "processes" && added && len(keys) == 2:
			calls = append(calls, func(ctx context.Context) error { return r.scaleToZero(ctx, keys[1]) })
		case keys[0] == "processes" && added:
			calls = append(calls, r.unsetProcessField(m, keys)...)
		case keys[0] == "metadata" && added:
			null = append(null, c.Path)
		case keys[0] == "metadata" && c.Op == diff.Remove:
		case keys[0] == "lifecycle":
			m.change(c, before)
			if l, ok := m.app.Spec["lifecycle"].(map[string]any); ok && l["buildpacks"] == nil && l["type"] != "docker" {
				l["buildpacks"] = []any{} // detected before, so detected again
			}
		default:
			m.change(c, before)
		}
	}
	if len(env) > 0 {
		calls = append(calls, func(ctx context.Context) error { return r.unsetEnv(ctx, env) })
	}
	if mapped := r.destinationsOf(diff.Add, r.desired); len(mapped) > 0 {
		calls = append(calls, func(ctx context.Context) error { return r.unmap(ctx, mapped) })
	}
	if len(r.altered()) > 0 {
		calls = append(calls, func(ctx context.Context) error {
			if err := r.alter(ctx, before); err != nil {
				return err
			}
			return r.trim(ctx, before)
		})
	}
	return calls, null
}

// inverseWhole handles the changes of a whole field of the app.
func (r *appRun) inverseWhole(c diff.Change, keys []string, m *manifestRequest, before manifest.Set) {
	switch {
	case c.Ref != r.step.Ref || len(keys) == 0:
	case keys[0] == "routed" && c.Value == false: // no-route unmapped everything
		for _, o := range r.data.set.Of(manifest.KindRoute) {
			for key := range destinations(o) {
				m.route(o, key)
			}
		}
	case keys[0] != "routed":
		m.change(c, before)
	}
}

// unsetProcessField takes back a field of a process that had no value before. Null does nothing in a manifest, save
// for the command (observed), so the process itself is asked.
func (r *appRun) unsetProcessField(m *manifestRequest, keys []string) []call {
	if keys[2] == "command" {
		set(m.app.Spec, nil, keys...)
		return nil
	}
	if len(keys) != 4 {
		return nil // the API always has a value for the others
	}
	live, _ := manifest.Lookup(r.live.Spec, manifest.Pointer(keys[:3]...))
	check, _ := live.(map[string]any)
	data := map[string]any{"timeout": check["timeout"], "invocation_timeout": check["invocation_timeout"], "interval": check["interval"]}
	if keys[2] != "health_check" {
		delete(data, "timeout") // readiness has none
	}
	if check["type"] == "http" {
		data["endpoint"] = check["http_endpoint"]
	}
	kind, _ := check["type"].(string)
	body := map[string]any{keys[2]: map[string]any{"type": kind, "data": data}}
	return []call{func(ctx context.Context) error {
		var p ccv3.Process
		path := "/v3/apps/" + r.guid + "/processes/" + url.PathEscape(keys[1])
		if err := r.get(ctx, "looking for the process "+keys[1], path, &p); err != nil {
			return err
		}
		return r.do(ctx, "putting the health check back", http.MethodPatch, "/v3/processes/"+p.GUID, body)
	}}
}
