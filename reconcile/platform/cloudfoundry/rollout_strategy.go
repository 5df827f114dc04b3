package cloudfoundry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// limit is how long a rollout may go without progress.
func (r *appRun) limit() time.Duration {
	return cmp.Or(r.settings.RolloutTimeout, r.opts.RolloutTimeout, defaultRolloutTimeout)
}

// settle is how long instances have to keep running after a rollout.
func (r *appRun) settle() time.Duration {
	if s := r.settings.Settle; s != nil {
		return *s
	}
	return cmp.Or(r.d.cfg.Settle, defaultSettle)
}

// strategy is the part of a deployment's request that says how instances are replaced. The API knows rolling and
// canary; recreate never gets here (recreate).
func (r *appRun) strategy() map[string]any {
	body, options := map[string]any{"strategy": "rolling"}, map[string]any{}
	if n := r.settings.MaxInFlight; n > 0 {
		options["max_in_flight"] = n
	}
	if r.settings.Strategy == "canary" {
		body["strategy"] = "canary"
		var steps []any
		for _, percent := range r.settings.CanarySteps {
			steps = append(steps, map[string]any{"instance_weight": percent})
		}
		if len(steps) > 0 {
			options["canary"] = map[string]any{"steps": steps}
		}
	}
	if len(options) > 0 {
		body["options"] = options
	}
	return body
}

// pausedError ends the run of an app without being a failure: its canary rollout waits for a person.
type pausedError struct {
	app         string
	step, steps int
}

func (e *pausedError) Error() string {
	return fmt.Sprintf("the canary rollout is paused at step %d/%d; go on with `fettle rollout continue %s`, or take it back with `fettle rollout cancel %s`",
		e.step, e.steps, e.app, e.app)
}

// atStep deals with a deployment that pauses at one of its canary steps: if the new instances are well and the pause is
// over, it goes on. It comes back when dep is no longer at this step.
func (r *appRun) atStep(ctx context.Context, v *vigil, dep *ccv3.Deployment) error {
	step, steps := 1, 1
	if c := dep.Status.Canary; c != nil {
		step, steps = c.Steps.Current, c.Steps.Total
	}
	if !r.isOurs(dep) {
		return &platform.Error{
			Class: platform.Unavailable, Ref: r.step.Ref, Origin: r.app.Origin, Doing: "waiting for a deployment that Fettle did not start",
			Message: fmt.Sprintf("it is a canary, paused at step %d/%d", step, steps),
			Hint:    fmt.Sprintf("let it go on or take it back: `fettle rollout continue %s` or `fettle rollout cancel %s`", r.step.Ref.Name(), r.step.Ref.Name()),
		}
	}
	web := newWeb(dep)
	processes := []string{"/v3/processes/" + web}
	pause := r.settings.CanaryPause
	if r.canaryEnds(dep) { // Git says something else by now: no need to wait
		return &supersededError{}
	}
	if err := v.stays(ctx, processes, web); err != nil {
		return err
	}
	if pause != nil && *pause == manifest.Manual {
		return &pausedError{app: r.step.Ref.Name(), step: step, steps: steps}
	}
	if pause != nil {
		if err := r.pauseAt(ctx, v, dep, *pause, fmt.Sprintf("canary step %d/%d", step, steps)); err != nil {
			return err
		}
	}
	r.say(fmt.Sprintf("canary step %d/%d is healthy: going on", step, steps))
	path := "/v3/deployments/" + dep.GUID
	moved := func(ctx context.Context) (bool, error) {
		if err := r.get(ctx, "rolling out", path, dep); err != nil {
			return false, err
		}
		return dep.Status.Reason != "PAUSED" || dep.Status.Canary != nil && dep.Status.Canary.Steps.Current != step, nil
	}
	// Said twice, it would skip a step.
	err := r.once(ctx, "letting the canary rollout go on", func(ctx context.Context) error {
		_, err := r.d.client.Do(ctx, http.MethodPost, path+"/actions/continue", nil, nil)
		return err
	}, moved)
	if err != nil && !ccv3.HasStatus(err, http.StatusUnprocessableEntity) { // 422: somebody else said so just now
		return err
	}
	v.best, v.deadline = 0, time.Now().Add(v.limit)
	_, err = moved(ctx)
	return err
}

// pauseAt waits for the rest of a pause that began when the deployment came to its step, and keeps an eye on the instances.
func (r *appRun) pauseAt(ctx context.Context, v *vigil, dep *ccv3.Deployment, pause time.Duration, what string) error {
	since := dep.Status.Details.LastStatusChange
	for {
		left := pause - r.d.client.Now().Sub(since)
		if since.IsZero() || left <= 0 {
			return nil
		}
		r.say(fmt.Sprintf("%s: pausing until %s", what, since.Add(pause).UTC().Format("15:04:05 MST")))
		if err := sleepFor(ctx, min(left, watchEvery)); err != nil {
			return err
		}
		if _, err := v.look(ctx, []string{"/v3/processes/" + newWeb(dep)}); err != nil {
			return err
		}
	}
}

// watchEvery is how often the instances of a pausing canary are looked at.
const watchEvery = 15 * time.Second

// supersededError says that a canary rollout of ours has to make room for what Git declares now.
type supersededError struct{}

func (*supersededError) Error() string { return "Git declares something else by now" }

// canaryEnds reports whether a paused canary rollout is of a declaration that is no longer the one in Git.
func (r *appRun) canaryEnds(dep *ccv3.Deployment) bool {
	return r.deployed != dep && !r.onlyResumes()
}

// recreate stops the app and starts it with what is new. From the moment it is stopped, the app says of itself that it is
// being started, so that a killed run is completed by starting it; and from which droplet it comes, so that also the run
// after that knows the way back.
func (r *appRun) recreate(ctx context.Context) error {
	var err error
	if r.previous, err = r.currentDroplet(ctx); err != nil {
		return err
	}
	r.say("stopping the old instances")
	if err := r.action(ctx, "stopping", "/v3/apps/"+r.guid+"/actions/stop"); err != nil {
		return err
	}
	r.recreated = true
	pending := r.pendingFor(pendingStart, tokenOf(r.pending))
	if err := r.annotate(ctx, map[string]string{pendingAnnotation: pending}, nil); err != nil {
		return err
	}
	r.pending = pending
	return r.start(ctx)
}

// takeBack undoes a rollout that came up and proved bad later.
func (r *appRun) takeBack(ctx context.Context, err error) error {
	var e *platform.Error
	if r.deployed != nil && errors.As(err, &e) && e.Class == platform.Rollout {
		return r.rollBack(ctx, r.deployed, e)
	}
	return r.notStarted(ctx, err)
}
