package cloudfoundry

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

const defaultParallel = 4

// Apply carries out the steps of a plan that Plan of this driver made. See appRun for what happens to an app, and
// for what makes it safe to be killed anywhere.
func (d *Driver) Apply(ctx context.Context, plan platform.Plan, opts platform.ApplyOptions) (platform.Outcome, error) {
	if err := acyclic(plan.Steps); err != nil {
		return platform.Outcome{}, err
	}
	if opts.Report == nil {
		opts.Report = func(platform.Event) {}
	}
	// Refused credentials are nobody's fault in particular: the run ends, the other steps stay as they are.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	results := make([]platform.StepResult, len(plan.Steps))
	q := newQueue(plan.Steps)
	running, ended := 0, make(chan int)
	for {
		for running < cmp.Or(max(opts.Parallel, 0), defaultParallel) {
			i, missing, ok := q.next()
			if !ok {
				break
			}
			running++
			go func() {
				results[i] = d.applyStep(ctx, &plan.Steps[i], missing, opts)
				ended <- i
			}()
		}
		if running == 0 {
			break
		}
		i := <-ended
		running--
		q.end(i, results[i].Phase == platform.Succeeded)
		var e *platform.Error
		if errors.As(results[i].Err, &e) && e.Class == platform.Unauthorized {
			stop(e)
		}
	}
	var refused *platform.Error
	if errors.As(context.Cause(ctx), &refused) {
		return platform.Outcome{Steps: results}, refused
	}
	return platform.Outcome{Steps: results}, nil
}

// applyStep runs one step and says how it went.
func (d *Driver) applyStep(ctx context.Context, s *platform.Step, missing string, opts platform.ApplyOptions) platform.StepResult {
	began := time.Now()
	result := platform.StepResult{Step: s.ID, Ref: s.Ref}
	say := func(phase platform.Phase, text string) {
		opts.Report(platform.Event{Time: time.Now(), Step: s.ID, Ref: s.Ref, Phase: phase, Text: text})
	}
	end := func(phase platform.Phase, text string) platform.StepResult {
		result.Phase, result.Duration = phase, time.Since(began)
		say(phase, text)
		return result
	}
	switch {
	case ctx.Err() != nil:
		return end(platform.Abandoned, "told to stop before it began")
	case missing != "":
		return end(platform.Skipped, "it needs "+missing)
	}
	say(platform.Started, "")
	progress := func(text string) { say(platform.Progress, text) }
	working, warnings := ccv3.CollectWarnings(ctx)
	var err error
	switch data := s.Data.(type) {
	case *appData:
		run := newAppRun(d, s, data, opts, progress)
		err = run.run(working)
		result.RolledBack, result.Quarantine = run.rolledBack, run.quarantine
	case *routeData:
		err = newRouteRun(d, s, data).run(working)
	case *serviceData:
		err = d.applyService(working, s, data, progress)
	default:
		err = impossible(s)
	}
	for _, w := range warnings.All() {
		progress("the platform warns: " + w)
	}
	var paused *pausedError
	switch {
	case err == nil:
		return end(platform.Succeeded, "")
	case errors.As(err, &paused):
		return end(platform.Paused, paused.Error())
	case ctx.Err() != nil && stopped(ctx, err):
		return end(platform.Abandoned, "told to stop; the next run goes on from here")
	}
	result.Err = err
	return end(platform.Failed, err.Error())
}

// stopped reports whether err is due to the end of ctx, or to trouble in the moment that was left to finish a request.
func stopped(ctx context.Context, err error) bool {
	var e *platform.Error
	return errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)) || errors.As(err, &e) && e.Retryable()
}

// impossible is the error of a step that the API cannot carry out, or nil.
func impossible(s *platform.Step) error {
	for _, p := range problems(s) {
		return &platform.Error{Class: platform.Invalid, Ref: s.Ref, Origin: p.Origin, Doing: "looking at the plan", Message: p.Message, Hint: p.Hint}
	}
	return nil
}

// pace is how often something is asked for while waiting: soon at first, then less and less often.
type pace struct{ next, longest time.Duration }

// newPace begins with the interval at which something may have changed, and slows down to what the API can bear.
func newPace() pace { return pace{next: 500 * time.Millisecond, longest: 5 * time.Second} }

// wait sleeps until it is time to ask again.
func (p *pace) wait(ctx context.Context) error {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(p.next*3/2, p.longest)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// grace is how long a request that changes something may still run after the run was told to stop.
const grace = 10 * time.Second

// finishing gives a context for one request that changes something: it outlives the end of ctx by a moment, so
// that the answer, which says what happened, is still read.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(context.Canceled)
		case <-lasting.Done():
		}
	})
	return lasting, func() {
		unhook()
		cancel(nil)
	}
}
