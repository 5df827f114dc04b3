package reconcile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Pruning says what a target may delete. Whatever it says, only what Fettle has made or taken over is deleted, as the
// resources themselves tell, and only where the kind is pruned. It speaks for whole spaces: of two targets that share a
// space, neither may prune what the other declares.
type Pruning struct {
	// Kinds are pruned in every space that the target declares something in, besides those that meta.prune of a
	// manifest of version 2 names.
	Kinds []manifest.Kind
	// Limit is how much one run may delete; beyond it, it deletes nothing. The zero Limit is DefaultPruneLimit.
	Limit PruneLimit
	// Confirm names what may be deleted though a guard would stop it: an app with traffic, a service instance, a
	// space, or more than the limit.
	Confirm []manifest.Ref
}

// PruneLimit is a number of resources, or a share of those that live.
type PruneLimit struct {
	Count   int
	Percent int // of what lives of the kind in the spaces of the target; 0: Count counts
}

// DefaultPruneLimit is more than a person usually takes out of Git in one go, and less than a folder that went missing.
var DefaultPruneLimit = PruneLimit{Count: 10}

// ParsePruneLimit reads "10" or "25%".
func ParsePruneLimit(text string) (PruneLimit, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || percent && n > 100 {
		return PruneLimit{}, fmt.Errorf("%q is no limit: write how many resources one run may delete (10), or which share of those that live (25%%)", text)
	}
	if percent {
		return PruneLimit{Percent: n}, nil
	}
	return PruneLimit{Count: n}, nil
}

// String gives the form that ParsePruneLimit reads.
func (l PruneLimit) String() string {
	if l.Percent > 0 {
		return strconv.Itoa(l.Percent) + "%"
	}
	return strconv.Itoa(l.Count)
}

// mark adds to desired what the target prunes.
func (p Pruning) mark(desired *manifest.Set) {
	for _, space := range desired.Spaces() {
		for _, kind := range p.Kinds {
			if _, already := desired.Pruned(space, kind); !already {
				desired.MarkPrune(manifest.Prune{Space: space, Kind: kind})
			}
		}
	}
}

// deletion is a step that deletes a resource.
type deletion struct {
	step   string
	change diff.Change
}

// guard finds the deletions that are not carried out. Each is a problem of its step, so that it is seen before anything
// is applied, and the rest of the plan goes on. Unbinding an app is no deletion in this sense: it is a part of the app.
func guard(run *Run) []platform.Problem {
	limit := run.Target.Prune.Limit
	if limit == (PruneLimit{}) {
		limit = DefaultPruneLimit
	}
	var found []platform.Problem
	var counted []deletion
	for _, s := range run.Plan.Steps {
		for _, c := range s.Changes {
			if c.Op != diff.Remove || c.Path != "" || c.Ref.Kind == manifest.KindServiceBinding || slices.Contains(run.Target.Prune.Confirm, c.Ref) {
				continue
			}
			if why := refusal(run, c.Ref); why != "" {
				found = append(found, refused(s.ID, c, why))
			} else {
				counted = append(counted, deletion{s.ID, c})
			}
		}
	}
	for _, d := range counted {
		if n, allowed := limit.exceeded(run, d.change.Ref.Kind, counted); n > allowed {
			found = append(found, refused(d.step, d.change, fmt.Sprintf("this run would delete %d resources, and %d (the limit of %s) is the most that it may", n, allowed, limit)))
		}
	}
	return found
}

func refused(step string, c diff.Change, why string) platform.Problem {
	return platform.Problem{
		Step: step, Origin: c.Origin, Message: "not deleted: " + why,
		Hint: fmt.Sprintf("if it is meant to go, name it: --confirm-prune %q, or prune: confirm: of the target; else declare it", c.Ref.String()),
	}
}

// refusal is why ref is not deleted unless it is named, "" if it may be.
func refusal(run *Run, ref manifest.Ref) string {
	in := func(set manifest.Set) bool {
		return slices.ContainsFunc(set.Of(manifest.KindApp), func(o *manifest.Object) bool { return o.Ref.Space() == ref.Space() })
	}
	if in(run.Live.Live) && !in(run.Desired) {
		return fmt.Sprintf("no manifest declares any app in space %s any more, which looks like a folder that went missing", ref.Space())
	}
	switch ref.Kind {
	case manifest.KindOrg, manifest.KindSpace:
		return fmt.Sprintf("a %s goes with all that lives in it", ref.Kind)
	case manifest.KindServiceInstance:
		return "with a service instance its data goes"
	case manifest.KindApp:
		if o := run.Live.Live.Get(ref); o != nil && o.Spec["state"] == "STARTED" && o.Spec["routed"] == true {
			return "the app is started and has routes, so it may have traffic"
		}
	}
	return ""
}

// exceeded says how many deletions count against the limit for a resource of the kind, and how many may be.
func (l PruneLimit) exceeded(run *Run, kind manifest.Kind, all []deletion) (n, allowed int) {
	if l.Percent == 0 {
		return len(all), l.Count
	}
	for _, d := range all {
		if d.change.Ref.Kind == kind {
			n++
		}
	}
	return n, len(run.Live.Live.Of(kind)) * l.Percent / 100
}
