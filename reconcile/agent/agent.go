// Package agent decides when targets run: at the start, when a source has moved, and on each target's schedule.
//
// One goroutine polls each source, one works each target; runs of one target can therefore never overlap, and a
// commit that arrives during a run is noticed right after it. All of them end with the context that Run was given.
//
// What it never does: change a platform (package reconcile does, through a driver), or delete anything because a source
// is empty, gone or unreachable. In each such state the last good snapshot goes on being enforced.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/source"
)

// Target is a reconcile.Target with its schedule.
type Target struct {
	*reconcile.Target
	Schedule cron.Schedule // when to look for drift between commits
	Feed     *Feed         // the source, shared by all targets that read it
}

// Agent runs targets around the clock.
type Agent struct {
	Reconciler   *reconcile.Reconciler
	Targets      []Target
	Log          *slog.Logger
	ParallelRuns int           // targets at a time; 0 is 4
	Shutdown     time.Duration // how long runs may take to reach a safe point; 0 is 30 s
	// Ended is told of every run, after it was recorded. May be nil.
	Ended func(*reconcile.Run, error)
}

// Run works until ctx ends, then lets the runs that are under way reach a safe point, for Shutdown at the most.
// It returns nil after such an orderly end.
func (a *Agent) Run(ctx context.Context) error {
	if len(a.Targets) == 0 {
		return errors.New("there is no target to run")
	}
	// Runs learn of the end through runCtx, which outlives ctx only if a step is just between two safe points.
	var owned sync.WaitGroup
	feeds := map[*Feed]bool{}
	for _, t := range a.Targets {
		if !feeds[t.Feed] {
			feeds[t.Feed] = true
			owned.Go(func() { t.Feed.poll(ctx, a.log()) })
		}
	}
	slots := make(chan struct{}, cmp.Or(max(a.ParallelRuns, 0), 4))
	for _, t := range a.Targets {
		w := &worker{agent: a, target: t, slots: slots}
		owned.Go(func() { w.work(ctx) })
	}
	done := make(chan struct{})
	go func() { owned.Wait(); close(done) }()

	<-ctx.Done()
	a.log().Info("stopping: runs that are under way end at their next safe point")
	limit := a.Shutdown
	if limit <= 0 {
		limit = 30 * time.Second
	}
	select {
	case <-done:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("runs did not end within %s; they are continued at the next start", limit)
	}
}

func (a *Agent) log() *slog.Logger {
	if a.Log != nil {
		return a.Log
	}
	return slog.New(slog.DiscardHandler)
}

// worker owns one target.
type worker struct {
	agent    *Agent
	target   Target
	slots    chan struct{}
	known    *source.Snapshot // of the last run
	failures int              // in a row, of the kind that trying again may mend
}

// Retry waits of a failed run: doubled each time, and never longer than the schedule would take.
const (
	firstRetry = 15 * time.Second
	lastRetry  = 15 * time.Minute
)

func (w *worker) work(ctx context.Context) {
	trigger := history.ByStart
	moved := w.target.Feed.subscribe()
	for {
		retry := w.run(ctx, trigger)
		if ctx.Err() != nil {
			return
		}
		due := w.nextDue(ctx)
		wake := time.NewTimer(max(0, time.Until(earlier(due, retry))))
		select {
		case <-ctx.Done():
			wake.Stop()
			return
		case <-moved:
			wake.Stop()
			trigger = history.ByCommit
		case <-wake.C:
			trigger = history.BySchedule
			if !retry.IsZero() && retry.Before(due) {
				trigger = history.ByRetry
			}
		}
	}
}

// run makes one run and says when to try again, or zero if the schedule is soon enough.
func (w *worker) run(ctx context.Context, trigger history.Trigger) time.Time {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return time.Time{}
	}
	run, err := w.agent.Reconciler.Run(ctx, w.target.Target, trigger, w.known)
	if run.Snapshot != nil {
		w.known = run.Snapshot
	}
	if w.agent.Ended != nil {
		w.agent.Ended(run, err)
	}
	if !retryable(run, err) {
		w.failures = 0
		return time.Time{}
	}
	w.failures++
	wait := min(firstRetry<<min(w.failures-1, 10), lastRetry)
	return time.Now().Add(wait)
}

// retryable reports whether anything in the run failed in a way that the same attempt may mend later.
func retryable(run *reconcile.Run, err error) bool {
	errs := []error{err}
	for _, s := range run.Outcome.Steps {
		errs = append(errs, s.Err)
	}
	for _, err := range errs {
		var r interface{ Retryable() bool }
		if errors.As(err, &r) && r.Retryable() {
			return true
		}
	}
	return false
}

// nextDue keeps the schedule across restarts: what was due while nobody ran has been made good by the run at the start.
func (w *worker) nextDue(ctx context.Context) time.Time {
	next := w.target.Schedule.Next(time.Now())
	if h := w.agent.Reconciler.History; h != nil {
		if err := h.SetNextDue(ctx, w.target.Name, next); err != nil && ctx.Err() == nil {
			w.agent.log().Error("the next due time cannot be stored", "target", w.target.Name, "error", err)
		}
	}
	return next
}

// earlier of two times; the zero time does not count.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}
