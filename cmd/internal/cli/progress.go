package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// progress prints a line for each sign of life, on the error stream so that standard output stays clean.
type progress struct {
	env   Env
	quiet bool
	mu    sync.Mutex
	last  map[string]string
}

func (p *progress) event(_ string, e platform.Event) {
	if p.quiet || e.Step == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]string{}
	}
	text := string(e.Phase)
	if e.Phase == platform.Progress || e.Text != "" {
		text = e.Text
	}
	if e.Phase == platform.Failed {
		text = "failed" // the reason follows at the end, whole
	}
	if p.last[e.Step] == text {
		return
	}
	p.last[e.Step] = text
	fmt.Fprintf(p.env.Err, "  %s: %s\n", e.Ref, text)
}

// tellSteps says in a line each what became of the steps of a run, and why one was not begun.
func tellSteps(out io.Writer, run *reconcile.Run) {
	planned := map[string]*platform.Step{}
	for i := range run.Plan.Steps {
		planned[run.Plan.Steps[i].ID] = &run.Plan.Steps[i]
	}
	became := map[string]platform.Phase{}
	for _, r := range run.Outcome.Steps {
		became[r.Step] = r.Phase
	}
	for _, r := range run.Outcome.Steps {
		step := planned[r.Step]
		if step == nil {
			continue
		}
		line := fmt.Sprintf("  %s: %s", r.Ref, r.Phase)
		switch r.Phase {
		case platform.Succeeded:
			line = fmt.Sprintf("  %s: %s (%s)", r.Ref, plural(len(step.Changes), "change"), step.Impact)
		case platform.Skipped:
			var missing []string
			for _, id := range step.Requires {
				if became[id] != platform.Succeeded {
					missing = append(missing, fmt.Sprintf("%s (%s)", id, became[id]))
				}
			}
			if len(missing) > 0 {
				line += ", it needs " + strings.Join(missing, ", ")
			}
		}
		if r.Duration >= 50*time.Millisecond {
			line += fmt.Sprintf(", %s", r.Duration.Round(100*time.Millisecond))
		}
		fmt.Fprintln(out, line)
	}
}
