package cloudfoundry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Hooks are tasks around a rollout: before-rollout runs on the new droplet, with the new configuration, before any new
// instance takes traffic; after-rollout runs when all of them are well. Where nothing is rolled out, nothing runs.
//
// A task bears the token of the change that it belongs to (pendingAnnotation), so that the run after a killed one finds it
// and waits for it: no migration runs twice for one change.

const (
	hookAnnotation     = manifest.MetadataPrefix + "hook"
	beforeRollout      = "before-rollout"
	afterRollout       = "after-rollout"
	defaultHookTimeout = 10 * time.Minute
)

// before runs the task that has to succeed before new instances come up. If it does not, everything is as it was.
func (r *appRun) before(ctx context.Context) error {
	if r.settings.BeforeRollout == "" || r.delivered || !r.rollsOut() {
		return nil
	}
	err := r.hook(ctx, beforeRollout, r.settings.BeforeRollout, r.droplet)
	var e *platform.Error
	if !errors.As(err, &e) || e.Retryable() {
		return err
	}
	r.quarantine = e.Class == platform.Rollout
	return r.putBack(ctx, e, r.unroll)
}

// unroll puts back the configuration of an app whose instances have not seen it yet.
func (r *appRun) unroll(ctx context.Context) error {
	if !r.resumed || r.changed {
		return r.undo(ctx)
	}
	// A killed run changed it, and what was before died with it; the newest revision is what the instances run with.
	revision, err := r.newestRevision(ctx, func(ccv3.Revision) bool { return true })
	if err != nil || revision == "" || !r.started {
		return err
	}
	if err := r.redeploy(ctx, map[string]any{"revision": map[string]any{"guid": revision}}); err != nil {
		return err
	}
	r.resumed = false
	return r.forget(ctx)
}

// after runs the task that has the last word about a rollout.
func (r *appRun) after(ctx context.Context) error {
	if r.settings.AfterRollout == "" || !r.wantsStarted() || r.pending == "" {
		return nil
	}
	if err := r.hook(ctx, afterRollout, r.settings.AfterRollout, ""); err != nil {
		return r.takeBack(ctx, err)
	}
	return nil
}

// hook runs a task with a droplet, or the current one, and waits for its end.
func (r *appRun) hook(ctx context.Context, name, command, droplet string) error {
	doing := "running the task " + name
	mark := name + " " + tokenOf(r.pending)
	var task ccv3.Task
	look := func(ctx context.Context) (bool, error) {
		all, _, err := ccv3.List[ccv3.Task](ctx, r.d.client, "/v3/apps/"+r.guid+"/tasks", url.Values{"names": {ccv3.Filter(name)}})
		for _, t := range all {
			if t.Metadata.Annotation(hookAnnotation) == mark {
				task = t
				return true, err
			}
		}
		return false, err
	}
	found := false
	if r.resumed {
		var err error
		if found, err = look(ctx); err != nil {
			return r.fail("looking for the task "+name, err)
		}
	}
	if !found {
		r.say(doing)
		body := map[string]any{"name": name, "command": command}
		if droplet != "" {
			body["droplet_guid"] = droplet
		}
		for _, size := range []string{"memory_in_mb", "disk_in_mb"} {
			if mb, ok := r.webField(size); ok {
				body[size] = mb
			}
		}
		r.note(body, map[string]string{hookAnnotation: mark})
		err := r.once(ctx, doing, func(ctx context.Context) error {
			_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/apps/"+r.guid+"/tasks", body, &task)
			return err
		}, look)
		if err != nil {
			return r.hookRefused(name, err)
		}
	}
	began := r.d.client.Now()
	if found {
		began = task.CreatedAt
	}
	return r.awaitTask(ctx, name, &task, began)
}

// hookRefused says whose rights a task needs. It is no fault of the declaration.
func (r *appRun) hookRefused(name string, err error) error {
	var e *platform.Error
	if errors.As(err, &e) {
		e.Origin = orElse(r.settings.Origin(name), r.app.Origin)
		if e.Class == platform.Forbidden && !ccv3.Is(err, "CF-FeatureDisabled") {
			e.Hint = "tasks take the role space developer in the space"
		}
	}
	return err
}

func (r *appRun) awaitTask(ctx context.Context, name string, task *ccv3.Task, began time.Time) error {
	doing := "running the task " + name
	limit := cmp.Or(r.settings.HookTimeout, defaultHookTimeout)
	failed := func(why string) error {
		return r.addTail(ctx, &platform.Error{
			Class: platform.Rollout, Ref: r.step.Ref, Origin: orElse(r.settings.Origin(name), r.app.Origin), Doing: doing, Message: why,
			Hint: fmt.Sprintf("its output is in the app's log: cf logs %s --recent", r.step.Ref.Name()),
		}, tail{since: task.CreatedAt, sources: []string{"APP/TASK/" + name}})
	}
	for p := newPace(); ; {
		spent := r.d.client.Now().Sub(began)
		switch {
		case task.State == "SUCCEEDED":
			return nil
		case task.State == "FAILED":
			why := "it failed"
			if reason := task.Result.FailureReason; reason != nil && *reason != "" {
				why = "it failed: " + *reason
			}
			return failed(why)
		case spent >= limit:
			if err := r.action(ctx, "cancelling the task "+name, "/v3/tasks/"+task.GUID+"/actions/cancel"); err != nil && !ccv3.HasStatus(err, http.StatusUnprocessableEntity) {
				return err
			}
			return failed(fmt.Sprintf("it did not end within %s, and was cancelled", limit))
		}
		r.say(fmt.Sprintf("%s, %d s", doing, int(spent.Seconds())))
		p.next = min(p.next, limit-spent)
		if err := p.wait(ctx); err != nil {
			return err
		}
		if err := r.get(ctx, doing, "/v3/tasks/"+task.GUID, task); err != nil {
			return err
		}
	}
}

// webField is a number of the web process, as declared or else as it is.
func (r *appRun) webField(name string) (int64, bool) {
	for _, o := range []*manifest.Object{r.app, r.live} {
		if o == nil {
			continue
		}
		if n, ok := manifest.Lookup(o.Spec, manifest.Pointer("processes", "web", name)); ok {
			mb, ok := n.(int64)
			return mb, ok
		}
	}
	return 0, false
}
