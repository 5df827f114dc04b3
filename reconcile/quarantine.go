package reconcile

import (
	"context"
	"fmt"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// holdQuarantined stops the steps whose declaration is known to be bad, and lifts the quarantine of those for which
// Git declares something else by now.
func (r *Reconciler) holdQuarantined(ctx context.Context, run *Run, stopped map[string]bool) error {
	if r.History == nil {
		return nil
	}
	held, err := r.History.Quarantined(ctx, run.Target.Name)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	byRef := map[manifest.Ref]history.Quarantine{}
	for _, q := range held {
		byRef[q.Ref] = q
	}
	steps := map[manifest.Ref]bool{}
	for _, s := range run.Plan.Steps {
		steps[s.Ref] = true
	}
	for _, q := range held {
		if steps[q.Ref] {
			continue
		}
		// It is as Git declares by now (a revert, say), or Git no longer declares it.
		if err := r.History.Release(ctx, run.Target.Name, q.Ref); err != nil {
			return fmt.Errorf("history: %w", err)
		}
	}
	for _, s := range run.Plan.Steps {
		q, ok := byRef[s.Ref]
		switch {
		case ok && q.Digest == r.stepDigest(run, s):
			run.Held = append(run.Held, q)
			stopped[s.ID] = true
		case ok:
			if err := r.History.Release(ctx, run.Target.Name, s.Ref); err != nil {
				return fmt.Errorf("history: %w", err)
			}
		}
	}
	return nil
}

func (r *Reconciler) quarantine(ctx context.Context, run *Run, s platform.StepResult) error {
	for _, step := range run.Plan.Steps {
		if step.ID != s.Step {
			continue
		}
		q := history.Quarantine{
			Target: run.Target.Name, Ref: s.Ref, Digest: r.stepDigest(run, step), Revision: run.Snapshot.Revision,
			Since: r.now(), Run: run.Record.ID,
		}
		if s.Err != nil {
			q.Reason = s.Err.Error()
		}
		if err := r.History.Quarantine(ctx, q); err != nil {
			return fmt.Errorf("history: %w", err)
		}
		r.log().Error("quarantined", "target", run.Target.Name, "run", run.Record.ID, "resource", s.Ref.String(), "revision", Short(run.Snapshot.Revision))
	}
	return nil
}

// stepDigest identifies what a step declares, whatever live state looks like.
func (r *Reconciler) stepDigest(run *Run, s platform.Step) string {
	all := map[string]any{}
	for _, o := range s.Desired.Objects() {
		if declared := run.Desired.Get(o.Ref); declared != nil {
			o = declared // the step's own has live values where a rule ignores the difference
		}
		all[o.Ref.String()] = o.Spec
		if texts := o.Settings.Texts(); len(texts) > 0 { // a longer timeout, another hook: worth another try
			all["settings of "+o.Ref.String()] = texts
		}
	}
	return r.digest(all)
}

func heldText(held []history.Quarantine, paused []platform.StepResult) string {
	var all []string
	for _, q := range held {
		all = append(all, fmt.Sprintf("%s is quarantined since %s (revision %s): %s", q.Ref, q.Since.UTC().Format("2006-01-02 15:04 MST"), Short(q.Revision), q.Reason))
	}
	for _, s := range paused {
		all = append(all, fmt.Sprintf("%s: the rollout is paused and waits for a person", s.Ref))
	}
	return strings.Join(all, "; ")
}
