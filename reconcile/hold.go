package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Hold keeps what Git declares of one resource from being applied until Git declares something else, and has it on record as
// a run of its own. It is what follows a rollback by hand: else the next run would undo it. It reports false where Git
// declares nothing that would.
func (r *Reconciler) Hold(ctx context.Context, t *Target, ref manifest.Ref, why string) (bool, error) {
	run, err := r.Compute(ctx, t)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(run.Plan.Steps, func(s platform.Step) bool { return s.Ref == ref })
	if i < 0 {
		return false, nil
	}
	step := run.Plan.Steps[i]
	record := run.Record
	record.Trigger, record.Result, record.StartedAt = history.ByHand, history.Running, r.now()
	if record, err = r.History.BeginRun(ctx, record); err != nil {
		return false, fmt.Errorf("history: %w", err)
	}
	held := history.Quarantine{
		Target: t.Name, Ref: ref, Digest: r.stepDigest(run, step), Revision: run.Snapshot.Revision, Reason: why, Since: r.now(), Run: record.ID,
	}
	if err := r.History.Quarantine(ctx, held); err != nil {
		return false, fmt.Errorf("history: %w", err)
	}
	record.EndedAt, record.Result, record.Error = r.now(), history.Held, heldText([]history.Quarantine{held}, nil)
	record.Revision, record.Author, record.Subject = run.Snapshot.Revision, run.Snapshot.Author, run.Snapshot.Subject
	if err := r.History.EndRun(ctx, record); err != nil {
		return true, fmt.Errorf("history: %w", err)
	}
	return true, nil
}
