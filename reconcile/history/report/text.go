package report

import (
	"fmt"
	"io"
	"strings"
)

// What people read of each part; beyond it stands how many more there are.
const (
	mostOpen  = 200
	mostEnded = 50
	mostOther = 20
)

// Text draws the report for a terminal or a plain mail.
func Text(w io.Writer, r Report) error {
	var b strings.Builder
	line := func(indent int, format string, args ...any) {
		b.WriteString(strings.TrimRight(strings.Repeat(" ", indent)+fmt.Sprintf(format, args...), " ") + "\n")
	}
	heading := func(s string) { line(0, "\n%s", s) }

	line(0, "Drift report: %s", Plain(r.About))
	line(0, "%s", r.period())
	line(0, "")
	for _, s := range r.verdict() {
		line(0, "%s", s)
	}

	if len(r.OutOfSync) > 0 {
		heading("OUT OF SYNC (declared → live)")
	}
	shown := 0
	for i, res := range r.OutOfSync {
		if shown >= mostOpen {
			line(2, "… and %s more", count(len(r.OutOfSync)-i, "resource"))
			break
		}
		if i == 0 || r.OutOfSync[i-1].Target != res.Target {
			line(2, "target %s", Plain(res.Target))
		}
		line(4, "%s", Plain(res.Name))
		for _, e := range res.Fields {
			shown++
			textEntry(line, r, e)
		}
	}

	if len(r.Ended) > 0 {
		heading("ENDED (declared → live)")
	}
	for i, e := range r.Ended {
		if i == mostEnded {
			line(2, "… and %d more", len(r.Ended)-i)
			break
		}
		name, change := e.what()
		line(2, "%s", strings.TrimSpace(Plain(e.Ref.String())+" "+name)+": "+change)
		line(6, "%s, %s after %s; edited %s", r.when(e.ResolvedAt), e.how(), span(e.Lasted), textWho(e))
	}

	if len(r.Actors) > 0 {
		heading("WHO")
	}
	for i, a := range r.Actors {
		if i == mostOther {
			line(2, "… and %d more", len(r.Actors)-i)
			break
		}
		line(2, "%s", actorLine(a, Plain(a.Name)))
	}

	if len(r.Held) > 0 {
		heading("HELD BACK until Git declares something else")
	}
	for i, h := range r.Held {
		if i == mostOther {
			line(2, "… and %d more", len(r.Held)-i)
			break
		}
		line(2, "%s (target %s, revision %s)", Plain(h.Ref.String()), Plain(h.Target), short(h.Revision))
		line(6, "since %s: %s", r.when(h.Since), Plain(h.Reason))
	}

	if len(r.Failures) > 0 {
		heading("FAILED RUNS")
	}
	for i, f := range r.Failures {
		if i == mostOther {
			line(2, "… and %d more reasons", len(r.Failures)-i)
			break
		}
		line(2, "target %s: %s", Plain(f.Target), r.failed(f))
		line(6, "%s", Plain(f.Error))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func textEntry(line func(int, string, ...any), r Report, e Entry) {
	name, change := e.what()
	if name != "" {
		name += ": "
	}
	line(6, "%s%s", name, change)
	line(10, "for %s (since %s), %s", span(e.Lasted), r.when(e.Since()), textWho(e))
	var facts []string
	if at := e.Origin.String(); at != "" {
		facts = append(facts, "declared at "+Plain(at))
	}
	if e.Impact != "" {
		facts = append(facts, "to heal it: "+Plain(e.Impact))
	}
	if s := r.stale(e); s != "" {
		facts = append(facts, s)
	}
	if len(facts) > 0 {
		line(10, "%s", strings.Join(facts, "; "))
	}
}

func textWho(e Entry) string {
	name, note := e.who()
	s := "by " + name
	if name == "" {
		s = "by whom is not known"
	}
	if note != "" {
		s += " (" + note + ")"
	}
	return s
}

// actorLine says how much one user caused; name is drawn already.
func actorLine(a Actor, name string) string {
	if a.Name == "" {
		name = "not known"
	}
	s := fmt.Sprintf("%s: %s of %s", name, count(a.Edits, "edit"), count(a.Resources, "resource"))
	if a.Open > 0 {
		s += fmt.Sprintf(", %d still open", a.Open)
	}
	return s
}

// failed says how often and when runs failed for one reason.
func (r Report) failed(f Failure) string {
	if f.Times == 1 {
		return fmt.Sprintf("run %d, %s", f.Run, r.when(f.Last))
	}
	return fmt.Sprintf("%d runs, from %s to %s (run %d)", f.Times, r.when(f.First), r.when(f.Last), f.Run)
}
