package reconcile

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// progressPointer is the field of an app that says how far a rollout is; see the package comment.
const progressPointer = "/rollout"

// recordDrift tells drift from pending changes, finds out who made it, and writes it down before anything is
// applied: a run that is killed while healing has still told what it saw.
func (r *Reconciler) recordDrift(ctx context.Context, run *Run) error {
	if r.History == nil {
		return nil
	}
	var err error
	if run.applied, err = r.History.Applied(ctx, run.Target.Name); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	open, err := r.History.Drift(ctx, history.DriftFilter{Target: run.Target.Name, OpenOnly: true})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	var drift []diff.Change
	run.pending, run.drifted = map[history.Key]bool{}, map[history.Key]bool{}
	for _, c := range run.Changes.List {
		key := history.Key{Ref: c.Ref, Path: c.Path}
		if r.isDrift(run, c) {
			drift = append(drift, c)
			run.drifted[key] = true
		} else {
			run.pending[key] = true
		}
	}
	o := history.Observation{Target: run.Target.Name, At: run.Live.At, Revision: run.Snapshot.Revision, Run: run.Record.ID, Ended: map[history.Key]history.Resolution{}}
	by, err := r.attribute(ctx, run, drift, open)
	if err != nil {
		return err
	}
	for i, c := range drift {
		o.Found = append(o.Found, history.Drift{
			Ref: c.Ref, Path: c.Path, Op: c.Op, Declared: r.text(c, c.Value), Live: r.text(c, c.Was),
			Secret: c.Secret, Origin: c.Origin, Impact: c.Impact.String(), By: by[i],
		})
	}
	for _, u := range run.Changes.Unobserved {
		o.Unseen = append(o.Unseen, history.Key{Ref: u.Ref, Path: u.Path})
	}
	for _, d := range open {
		key := d.Key()
		switch desired := run.Desired.Get(d.Ref); {
		case run.drifted[key]:
		case run.ignores(key):
			o.Ended[key] = history.Accepted // by a rule
		case run.covered(key):
			// Git moved on, but live state has not: the record ends when a run has applied the commit.
			o.Unseen = append(o.Unseen, key)
		case desired == nil:
			o.Ended[key] = history.Gone
		case r.declaredText(desired, d) != d.Declared:
			o.Ended[key] = history.Accepted
		case run.recovering && run.Target.Mode == ModeApply, d.By.Note == undeployed:
			o.Ended[key] = history.Healed
		}
	}
	run.Opened, run.Resolved, err = r.History.Observe(ctx, o)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	for _, d := range run.Opened {
		r.log().Warn("drift", "target", d.Target, "run", run.Record.ID, "resource", d.Ref.String(), "field", d.Path, "by", d.By.Actor)
	}
	if r.Drifted != nil && len(run.Opened) > 0 {
		r.Drifted(run, run.Opened)
	}
	return nil
}

// covered reports whether a change of this run, at key or at a field above or below it, is still to be applied.
func (run *Run) covered(key history.Key) bool {
	for p := range run.pending {
		if p.Ref == key.Ref && (within(p.Path, key.Path) || within(key.Path, p.Path)) {
			return true
		}
	}
	for p := range run.drifted {
		if p.Ref == key.Ref && within(key.Path, p.Path) && p.Path != key.Path {
			return true
		}
	}
	return false
}

// ignores reports whether a rule leaves the difference at key alone.
func (run *Run) ignores(key history.Key) bool {
	return slices.ContainsFunc(run.Changes.Ignored, func(i diff.Ignored) bool {
		return i.Change.Ref == key.Ref && within(key.Path, i.Change.Path)
	})
}

// within reports whether pointer is at or below parent.
func within(pointer, parent string) bool {
	return pointer == parent || strings.HasPrefix(pointer, parent+"/")
}

// isDrift applies the rule of the package comment to one difference.
func (r *Reconciler) isDrift(run *Run, c diff.Change) bool {
	if c.Path == progressPointer {
		return false
	}
	return run.Target.Mode == ModeReport || r.heldBefore(run, c)
}

// heldBefore reports whether the platform has already been as Git declares it now at c's field: then somebody moved it since,
// and otherwise it was Git that moved.
func (r *Reconciler) heldBefore(run *Run, c diff.Change) bool {
	entries := run.applied.Entries[c.Ref]
	if c.Op == diff.Remove {
		// What Fettle applied before and Git no longer declares is a commit's doing; the rest somebody else's.
		return len(entries) > 0 && !ownsBelow(entries, c.Path)
	}
	desired := run.Desired.Get(c.Ref)
	if desired == nil || len(entries) == 0 {
		return false
	}
	matched := false
	for pointer, digest := range r.digests(desired) {
		if !within(pointer, c.Path) {
			continue
		}
		if entries[pointer] != digest {
			return false
		}
		matched = true
	}
	return matched
}

func ownsBelow(entries map[string]string, pointer string) bool {
	for p := range entries {
		if within(p, pointer) {
			return true
		}
	}
	return false
}

// undeployed is noted where a target in report mode differs because a commit waits, and nobody is to be named.
const undeployed = "Git declares it since a commit that is not on the platform yet"

// attribute asks the driver who made the changes, but only for those whose author is not known yet.
func (r *Reconciler) attribute(ctx context.Context, run *Run, drift []diff.Change, open []history.Drift) ([]platform.Attribution, error) {
	by := make([]platform.Attribution, len(drift))
	a, ok := run.Target.Driver.(platform.Attributor)
	if !ok {
		return by, nil
	}
	known := map[history.Key]history.Drift{}
	for _, d := range open {
		known[d.Key()] = d
	}
	var ask []diff.Change
	var at []int
	for i, c := range drift {
		d, ok := known[history.Key{Ref: c.Ref, Path: c.Path}]
		switch {
		case ok && d.By.Known() && d.Live == r.text(c, c.Was):
			continue
		case len(run.applied.Entries[c.Ref]) > 0 && !r.heldBefore(run, c):
			by[i].Note = undeployed
			continue
		}
		ask, at = append(ask, c), append(at, i)
	}
	if len(ask) == 0 {
		return by, nil
	}
	since, err := r.lastLook(ctx, run)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(ask, func(c diff.Change) bool {
		return slices.ContainsFunc(run.Changes.Expired, func(e diff.Ignored) bool { return e.Change.Ref == c.Ref && e.Change.Path == c.Path })
	}) {
		since = time.Time{} // the last runs have seen it, and passed over it
	}
	answers, err := a.Attribute(ctx, run.Live, ask, since)
	if err != nil {
		// Who did it is worth knowing, but not worth leaving drift unrecorded and unhealed for.
		r.log().Warn("the platform could not be asked who made the changes", "target", run.Target.Name, "error", err)
		for _, i := range at {
			by[i].Note = "unknown: the audit events could not be read"
		}
		return by, nil
	}
	for j, i := range at {
		by[i] = answers[j]
	}
	return by, nil
}

// lastLook is when the target was last seen without these differences at the latest: the start of the last run that
// got as far as looking. An edit made while that run was under way is later than its start.
func (r *Reconciler) lastLook(ctx context.Context, run *Run) (time.Time, error) {
	runs, err := r.History.Runs(ctx, history.RunFilter{Target: run.Target.Name, Limit: 50})
	if err != nil {
		return time.Time{}, fmt.Errorf("history: %w", err)
	}
	for _, past := range runs {
		switch past.Result {
		case history.InSync, history.Changed, history.Drifted:
			return past.StartedAt, nil
		}
	}
	return time.Time{}, nil
}

// recordOutcome remembers what is now as declared, which drift was healed, and what must not be tried again.
func (r *Reconciler) recordOutcome(ctx context.Context, run *Run) error {
	if r.History == nil || run.Declined {
		return nil
	}
	if run.Target.Mode != ModeApply {
		return r.recordHeld(ctx, run)
	}
	// The platform has already changed: write it down even when the run was told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()

	open := map[string]bool{} // IDs of steps that did not succeed
	for _, s := range run.Plan.Steps {
		open[s.ID] = true
	}
	for _, s := range run.Outcome.Steps {
		if s.Phase == platform.Succeeded {
			delete(open, s.Step)
		}
		if s.Quarantine {
			if err := r.quarantine(ctx, run, s); err != nil {
				return err
			}
		}
	}
	notYet := map[manifest.Ref]bool{}
	var healed []history.Key
	for _, s := range run.Plan.Steps {
		for _, c := range s.Changes {
			if open[s.ID] {
				notYet[c.Ref] = true
			} else {
				healed = append(healed, history.Key{Ref: c.Ref, Path: c.Path})
			}
		}
	}
	entries := map[manifest.Ref]map[string]string{}
	for _, o := range run.Desired.Objects() {
		if !notYet[o.Ref] {
			entries[o.Ref] = r.digests(o)
			for pointer := range entries[o.Ref] {
				if !run.ignores(history.Key{Ref: o.Ref, Path: pointer}) {
					continue
				}
				// Not applied by this run. What an earlier one applied, while no rule forbade it, still counts.
				if before, ok := run.applied.Entries[o.Ref][pointer]; ok {
					entries[o.Ref][pointer] = before
				} else {
					delete(entries[o.Ref], pointer)
				}
			}
		}
	}
	revision := ""
	if len(open) == 0 {
		revision = run.Snapshot.Revision
	}
	if err := r.History.SetApplied(ctx, run.Target.Name, revision, entries); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	var gone []manifest.Ref
	for ref := range run.applied.Entries {
		if run.Desired.Get(ref) == nil && !notYet[ref] {
			gone = append(gone, ref)
		}
	}
	if err := r.History.ForgetApplied(ctx, run.Target.Name, gone); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	resolved, err := r.History.Resolve(ctx, run.Target.Name, r.openWithin(ctx, run, healed), history.Healed, run.Record.ID, r.now())
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	run.Resolved = append(run.Resolved, resolved...)
	return nil
}

// recordHeld remembers, of a target in report mode, which declarations the platform is seen to hold.
func (r *Reconciler) recordHeld(ctx context.Context, run *Run) error {
	entries := map[manifest.Ref]map[string]string{}
	for _, o := range run.Desired.Objects() {
		held := map[string]string{}
		for pointer, digest := range r.digests(o) {
			differs := run.ignores(history.Key{Ref: o.Ref, Path: pointer}) || slices.ContainsFunc(run.Changes.List, func(c diff.Change) bool {
				return c.Ref == o.Ref && (within(pointer, c.Path) || within(c.Path, pointer))
			})
			if before, ok := run.applied.Entries[o.Ref][pointer]; differs && ok {
				held[pointer] = before
			} else if !differs {
				held[pointer] = digest
			}
		}
		entries[o.Ref] = held
	}
	if err := r.History.SetApplied(ctx, run.Target.Name, "", entries); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// openWithin widens the keys of what was applied to the open records at or below them: applying a whole
// process also heals the record of its memory.
func (r *Reconciler) openWithin(ctx context.Context, run *Run, applied []history.Key) []history.Key {
	open, err := r.History.Drift(ctx, history.DriftFilter{Target: run.Target.Name, OpenOnly: true})
	if err != nil {
		return applied
	}
	var keys []history.Key
	for _, d := range open {
		for _, k := range applied {
			if d.Ref == k.Ref && (within(d.Path, k.Path) || within(k.Path, d.Path)) {
				keys = append(keys, d.Key())
				break
			}
		}
	}
	return keys
}

// digests maps every leaf that o declares to a keyed digest of its value.
func (r *Reconciler) digests(o *manifest.Object) map[string]string {
	all := map[string]string{}
	for pointer, v := range leaves(o) {
		if pointer != progressPointer {
			all[pointer] = r.digest(v)
		}
	}
	return all
}

// leaves maps JSON pointers to the values at the ends of o's tree; an empty collection is such an end, too.
func leaves(o *manifest.Object) map[string]any {
	all := map[string]any{}
	var walk func(pointer string, v any)
	walk = func(pointer string, v any) {
		m, ok := v.(map[string]any)
		if !ok || len(m) == 0 && pointer != "" {
			all[pointer] = v
			return
		}
		for k, child := range m {
			walk(pointer+manifest.Pointer(k), child)
		}
	}
	walk("", o.Spec)
	return all
}

// digest is an HMAC, so that a short secret cannot be guessed from the history alone.
func (r *Reconciler) digest(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		// A canonical tree holds only what JSON can say.
		panic(fmt.Sprintf("reconcile: %T is no part of a canonical tree: %v", v, err)) //nolint:forbidigo // a mistake in a driver, not in data
	}
	mac := hmac.New(sha256.New, r.Key)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// text is how a value is remembered: as JSON, or as a digest where it must not be shown.
func (r *Reconciler) text(c diff.Change, v any) string {
	if v == nil && c.Op != diff.Update {
		return ""
	}
	if c.Secret {
		return "digest:" + r.digest(v)
	}
	text, err := json.Marshal(diff.Change{Value: v, Secrets: c.Secrets}.Masked().Value)
	if err != nil {
		return "digest:" + r.digest(v)
	}
	return string(text)
}

// declaredText is what Git declares now for the field of an old record, in the form in which records keep it.
func (r *Reconciler) declaredText(desired *manifest.Object, d history.Drift) string {
	value, ok := any(desired.Spec), true
	if d.Path != "" {
		value, ok = manifest.Lookup(desired.Spec, d.Path)
	}
	if !ok {
		return ""
	}
	c := diff.Change{Ref: d.Ref, Path: d.Path, Op: d.Op, Secret: d.Secret}
	for pointer, leaf := range leaves(desired) {
		keys := manifest.SplitPointer(pointer)
		if within(pointer, d.Path) && (desired.IsSecret(pointer) || manifest.LooksSecret(keys[len(keys)-1], leaf)) {
			c.Secrets = append(c.Secrets, strings.TrimPrefix(pointer, d.Path))
		}
	}
	return r.text(c, value)
}
