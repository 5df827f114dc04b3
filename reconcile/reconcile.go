package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/source"
)

// Mode says what a run does about differences.
type Mode string

// The modes of a target.
const (
	ModeApply  Mode = "apply"  // bring the platform to what Git declares
	ModeReport Mode = "report" // record drift and leave everything alone
)

// Target is a path in a source that describes part of one foundation.
type Target struct {
	Name    string
	Source  source.Source
	Path    string           // of the manifest file or folder in the snapshot; "" is the root
	Options manifest.Options // where manifests belong that do not say, and the values of their variables
	VarsIn  []string         // vars files in the snapshot, later ones win; before Options.VarsFiles
	Patches []string         // patch files in the snapshot, later ones win; before Options.Patches
	// Open decrypts a vars file, of VarsIn or of Options, and returns one that is not encrypted as it is. May be nil.
	Open func(ctx context.Context, f manifest.VarsFile) (manifest.VarsFile, error)
	// Values gives values that do not stand in a vars file, of the names that the manifests mention; they win over VarsIn,
	// and Options.VarsFiles over them. May be nil.
	Values   func(ctx context.Context, files fs.FS, names []string) ([]manifest.VarsFile, error)
	Driver   platform.Driver
	Mode     Mode
	Parallel int           // steps at a time; 0 is the driver's default
	Timeout  time.Duration // of a whole run; 0 is one hour

	RolloutTimeout time.Duration      // of one rollout; 0 is the driver's default
	Settings       *manifest.Settings // for apps whose declaration does not say it; may be nil

	Ignore []diff.IgnoreRule // differences to leave alone, beside those that the manifests name
	Prune  Pruning           // what may be deleted; the zero value adds nothing to what the manifests say
}

// Reconciler runs targets. The zero value without History works for one-shot use: nothing is remembered.
type Reconciler struct {
	History history.Store // nil: nothing is remembered
	Key     []byte        // keys the digests that stand for secrets in the history
	Log     *slog.Logger
	Now     func() time.Time
	// Report receives progress: of the run itself (Step "") and of the plan's steps. May be nil.
	Report func(target string, e platform.Event)
	// Drifted is told of drift that was found for the first time, when it is on record and before it is healed. May be nil.
	Drifted func(run *Run, opened []history.Drift)
	// Confirm is asked before a plan with at least one change is applied; nil means yes.
	Confirm func(ctx context.Context, run *Run) (bool, error)
}

// Run is one pass over a target, with everything that it found.
type Run struct {
	Record   history.Run
	Target   *Target
	Snapshot *source.Snapshot
	Problems manifest.Problems // of the manifests, warnings included
	Desired  manifest.Set
	Live     platform.Observation
	Changes  diff.Changes
	Plan     platform.Plan
	Held     []history.Quarantine // declarations that were not applied because they are quarantined
	Outcome  platform.Outcome
	Opened   []history.Drift // drift found for the first time
	Resolved []history.Drift // drift that ended in this run
	Declined bool            // Confirm said no

	applied    history.Applied
	pending    map[history.Key]bool
	drifted    map[history.Key]bool
	recovering bool // the run before this one was killed, perhaps after it had healed something
}

// Run brings t to what Git declares (or, in report mode, says how far off it is). known is the snapshot of the last
// run, or nil: an unchanged source is then not read again. The returned Run is never nil and holds what was found
// before a failure; the error is what stopped the run as a whole, while failures of single steps are in Run.Outcome
// and Run.Record.Error.
func (r *Reconciler) Run(ctx context.Context, t *Target, trigger history.Trigger, known *source.Snapshot) (*Run, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(max(t.Timeout, 0), time.Hour))
	defer cancel()

	run := &Run{Target: t, Snapshot: known, Record: history.Run{
		Target: t.Name, Trigger: trigger, Mode: string(t.Mode), StartedAt: r.now(), Result: history.Running,
	}}
	if err := r.begin(ctx, run); err != nil {
		if ctx.Err() == nil { // it is nowhere in the record, so it must be in the log
			r.log().Error("no run: the history cannot be written, and without it nothing is changed", "target", t.Name, "error", err)
		}
		return run, err
	}
	before := requests(t.Driver)
	var err error
	for _, step := range []struct {
		name string
		do   func(context.Context, *Run) error
	}{
		{"fetch", r.fetch},
		{"load", r.load},
		{"observe", r.observe},
		{"compare", r.compare},
		{"plan", r.plan},
		{"record drift", r.recordDrift},
		{"apply", r.apply},
		{"record outcome", r.recordOutcome},
	} {
		r.say(run, platform.Progress, step.name)
		if err = step.do(ctx, run); err != nil {
			err = fmt.Errorf("%s: %w", step.name, err)
			break
		}
	}
	run.Record.Requests = requests(t.Driver) - before
	return run, r.end(ctx, run, err)
}

// Compute does what Run does up to the plan, and changes and remembers nothing. It is what `fettle diff` shows.
func (r *Reconciler) Compute(ctx context.Context, t *Target) (*Run, error) {
	run := &Run{Target: t, Record: history.Run{Target: t.Name, Mode: string(t.Mode), StartedAt: r.now()}}
	before := requests(t.Driver)
	for _, do := range []func(context.Context, *Run) error{r.fetch, r.load, r.observe, r.compare, r.plan} {
		if err := do(ctx, run); err != nil {
			return run, err
		}
	}
	run.Record.Requests = requests(t.Driver) - before
	return run, nil
}

func (r *Reconciler) begin(ctx context.Context, run *Run) error {
	if r.History == nil {
		return nil
	}
	killed, err := r.History.AbandonRuns(ctx, run.Target.Name, "the process that ran it ended", run.Record.StartedAt)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	run.recovering = killed > 0
	rec, err := r.History.BeginRun(ctx, run.Record)
	if err != nil {
		// Without a memory nothing is applied: who changed what could no longer be told.
		return fmt.Errorf("history: %w", err)
	}
	run.Record = rec
	return nil
}

func (r *Reconciler) fetch(ctx context.Context, run *Run) error {
	snap, err := run.Target.Source.Snapshot(ctx, run.Snapshot)
	if err != nil {
		return err
	}
	run.Snapshot = snap
	run.Record.Revision, run.Record.Author, run.Record.Subject = snap.Revision, snap.Author, snap.Subject
	return nil
}

func (r *Reconciler) load(ctx context.Context, run *Run) error {
	var err error
	if run.Desired, run.Problems, err = Load(ctx, run.Target, run.Snapshot); err != nil {
		return err
	}
	if err := run.Problems.Err(); err != nil {
		return err
	}
	if len(run.Target.Options.Apps) == 0 { // asked for a few apps, nothing is known about the others
		run.Target.Prune.mark(&run.Desired)
	}
	if p, ok := run.Target.Driver.(platform.Preparer); ok {
		prepared, err := p.Prepare(ctx, run.Desired, run.Snapshot.Files)
		if err != nil {
			return err
		}
		run.Desired = prepared
	}
	return nil
}

func (r *Reconciler) observe(ctx context.Context, run *Run) error {
	live, err := run.Target.Driver.Observe(ctx, run.Desired)
	run.Live = live
	return err
}

func (r *Reconciler) compare(ctx context.Context, run *Run) error {
	changes, err := diff.Compare(run.Desired, run.Live.Live, run.Live.Ledger)
	if err != nil {
		return err
	}
	if changes, err = changes.WithInputs(run.Desired, run.Live.Seals); err != nil {
		return err
	}
	rules := append(diff.DeclaredRules(run.Desired), run.Target.Ignore...)
	run.Changes = changes.Ignoring(rules, run.Desired, run.Live.Live, r.now())
	run.Record.Changes = len(run.Changes.List)
	for _, e := range run.Changes.Expired {
		r.log().LogAttrs(ctx, slog.LevelWarn, "an ignore rule has expired: the difference counts again", slog.String("target", run.Target.Name),
			slog.String("resource", e.Change.Ref.String()), slog.String("field", e.Change.Path), slog.String("rule", e.Rule.String()),
			slog.String("until", e.Rule.Until.String()), slog.String("owner", e.Rule.Owner), slog.String("reason", e.Rule.Reason))
	}
	for _, idle := range run.Changes.Idle {
		r.log().LogAttrs(ctx, slog.LevelInfo, "an ignore rule without effect", slog.String("target", run.Target.Name),
			slog.String("rule", idle.Rule.String()), slog.String("why", idle.Why))
	}
	return nil
}

func (r *Reconciler) plan(ctx context.Context, run *Run) error {
	// What is ignored keeps its live value, whatever is written next to it.
	desired := run.Changes.Kept(run.Desired, run.Live.Live, run.Live.Ledger)
	in := platform.PlanInput{Desired: desired, Live: run.Live, Changes: run.Changes, Settings: run.Target.Settings}
	plan, err := run.Target.Driver.Plan(ctx, in)
	if err != nil {
		return err
	}
	if p, ok := run.Target.Driver.(platform.Preflighter); ok && len(plan.Steps) > 0 {
		found, err := p.Preflight(ctx, in, plan)
		if err != nil {
			return err
		}
		plan.Problems = append(plan.Problems, found...)
	}
	run.Plan = plan
	run.Plan.Problems = append(run.Plan.Problems, guard(run)...)
	// The driver has judged what each change costs: from here on the changes say so.
	impact := map[history.Key]diff.Change{}
	for _, s := range plan.Steps {
		for _, c := range s.Changes {
			impact[history.Key{Ref: c.Ref, Path: c.Path}] = c
		}
	}
	for i, c := range run.Changes.List {
		if judged, ok := impact[history.Key{Ref: c.Ref, Path: c.Path}]; ok {
			run.Changes.List[i].Impact, run.Changes.List[i].Reason = judged.Impact, judged.Reason
		}
	}
	return nil
}

func (r *Reconciler) apply(ctx context.Context, run *Run) error {
	if run.Target.Mode != ModeApply {
		return nil
	}
	stopped := map[string]bool{}
	if err := r.holdQuarantined(ctx, run, stopped); err != nil {
		return err
	}
	doomed := refuse(run.Plan, stopped)
	plan := without(run.Plan, stopped)
	doomed = append(doomed, skipped(run, plan, doomed)...)
	if r.Confirm != nil && len(plan.Steps) > 0 {
		yes, err := r.Confirm(ctx, run)
		if err != nil {
			return err
		}
		if !yes {
			run.Declined = true
			return nil
		}
	}
	var err error
	if len(plan.Steps) > 0 {
		run.Outcome, err = run.Target.Driver.Apply(ctx, plan, platform.ApplyOptions{
			Files: run.Snapshot.Files, Revision: run.Snapshot.Revision, Parallel: run.Target.Parallel,
			RolloutTimeout: run.Target.RolloutTimeout, Settings: run.Target.Settings,
			Report: func(e platform.Event) {
				if r.Report != nil {
					r.Report(run.Target.Name, e)
				}
			},
		})
	}
	run.Outcome.Steps = append(run.Outcome.Steps, doomed...)
	return err
}

// refuse stops the steps of which the plan itself says that they cannot succeed: trying them would leave an app half
// changed. Each is reported as failed with all of its reasons.
func refuse(plan platform.Plan, stopped map[string]bool) []platform.StepResult {
	var refused []platform.StepResult
	for _, s := range plan.Steps {
		var why []error
		for _, p := range plan.Problems {
			if p.Step == s.ID && !p.Warning {
				why = append(why, &platform.Error{Class: platform.Invalid, Ref: s.Ref, Origin: p.Origin, Doing: "not tried", Message: p.Message, Hint: p.Hint})
			}
		}
		if len(why) > 0 && !stopped[s.ID] {
			stopped[s.ID] = true
			refused = append(refused, platform.StepResult{Step: s.ID, Ref: s.Ref, Phase: platform.Failed, Err: errors.Join(why...)})
		}
	}
	return refused
}

// without leaves out the stopped steps and all that requires them, near or far.
func without(plan platform.Plan, stopped map[string]bool) platform.Plan {
	for again := true; again; {
		again = false
		for _, s := range plan.Steps {
			if !stopped[s.ID] && slices.ContainsFunc(s.Requires, func(id string) bool { return stopped[id] }) {
				stopped[s.ID], again = true, true
			}
		}
	}
	plan.Steps = slices.DeleteFunc(slices.Clone(plan.Steps), func(s platform.Step) bool { return stopped[s.ID] })
	return plan
}

// skipped are the steps that are left out because they require one that is held or doomed.
func skipped(run *Run, plan platform.Plan, doomed []platform.StepResult) []platform.StepResult {
	var all []platform.StepResult
	for _, s := range run.Plan.Steps {
		tried := slices.ContainsFunc(plan.Steps, func(t platform.Step) bool { return t.ID == s.ID })
		told := slices.ContainsFunc(doomed, func(r platform.StepResult) bool { return r.Step == s.ID })
		held := slices.ContainsFunc(run.Held, func(q history.Quarantine) bool { return q.Ref == s.Ref })
		if !tried && !told && !held {
			all = append(all, platform.StepResult{Step: s.ID, Ref: s.Ref, Phase: platform.Skipped})
		}
	}
	return all
}

// end classifies the run and writes it down, even when ctx has ended: what happened must be remembered.
func (r *Reconciler) end(ctx context.Context, run *Run, err error) error {
	run.Record.EndedAt = r.now()
	run.Record.Result, run.Record.Error = conclude(ctx, run, err)
	for _, s := range run.Outcome.Steps {
		step := history.Step{Ref: s.Ref, Phase: s.Phase, Duration: s.Duration}
		if s.Err != nil {
			step.Error = s.Err.Error()
		}
		for _, p := range run.Plan.Steps {
			if p.ID == s.Step {
				step.Changes, step.Impact = len(p.Changes), p.Impact.String()
			}
		}
		run.Record.Steps = append(run.Record.Steps, step)
	}
	if r.History != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if herr := r.History.EndRun(ctx, run.Record); herr != nil {
			err = errors.Join(err, fmt.Errorf("history: %w", herr))
		}
	}
	r.log().LogAttrs(ctx, level(run.Record.Result), "run ended", slog.String("target", run.Target.Name), slog.Int64("run", run.Record.ID),
		slog.String("result", string(run.Record.Result)), slog.String("revision", Short(run.Record.Revision)), slog.Int("changes", run.Record.Changes),
		slog.Int64("requests", run.Record.Requests), slog.Duration("took", run.Record.EndedAt.Sub(run.Record.StartedAt)), slog.String("error", run.Record.Error))
	return err
}

func conclude(ctx context.Context, run *Run, err error) (history.Result, string) {
	stepErr := run.Outcome.Err()
	abandoned := false
	for _, s := range run.Outcome.Steps {
		abandoned = abandoned || s.Phase == platform.Abandoned
	}
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) || abandoned && stepErr == nil:
		return history.Abandoned, "told to stop"
	case err != nil:
		return history.Failed, err.Error()
	case stepErr != nil:
		return history.Failed, stepErr.Error()
	case len(run.Held)+len(paused(run)) > 0:
		return history.Held, heldText(run.Held, paused(run))
	case run.Changes.Empty():
		return history.InSync, ""
	case run.Target.Mode == ModeReport || run.Declined:
		return history.Drifted, ""
	}
	return history.Changed, ""
}

// paused are the steps that wait for a person.
func paused(run *Run) []platform.StepResult {
	return slices.DeleteFunc(slices.Clone(run.Outcome.Steps), func(s platform.StepResult) bool { return s.Phase != platform.Paused })
}

func (r *Reconciler) say(run *Run, phase platform.Phase, text string) {
	if r.Report != nil {
		r.Report(run.Target.Name, platform.Event{Time: r.now(), Phase: phase, Text: text})
	}
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Reconciler) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.New(slog.DiscardHandler)
}

func level(res history.Result) slog.Level {
	if res == history.Failed {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// Short is the form of a revision that people compare: eight characters of a commit hash.
func Short(revision string) string { return revision[:min(8, len(revision))] }

func requests(d platform.Driver) int64 {
	if c, ok := d.(platform.Counter); ok {
		return c.Requests()
	}
	return 0
}
