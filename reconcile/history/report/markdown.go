package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown draws the report for a merge request, a wiki or a chat. Whatever somebody else wrote stands in a code
// span, where nothing is a link, a mention, an image or HTML; and there are no tables, so that it
// is readable on a phone and no value can break a row.
func Markdown(w io.Writer, r Report) error {
	var b strings.Builder
	line := func(format string, args ...any) {
		b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
	}
	heading := func(s string) { line("\n## %s\n", s) }

	line("# Drift report\n")
	what := "everything"
	if r.About != what {
		what = code(r.About)
	}
	line("%s, %s\n", what, r.period())
	for i, s := range r.verdict() {
		if i == 0 {
			s = "**" + s + "**"
		}
		line("%s", s)
	}

	if len(r.OutOfSync) > 0 {
		heading("Out of sync (declared → live)")
	}
	shown := 0
	for i, res := range r.OutOfSync {
		if shown >= mostOpen {
			line("\n… and %s more", count(len(r.OutOfSync)-i, "resource"))
			break
		}
		if i == 0 || r.OutOfSync[i-1].Target != res.Target {
			if i > 0 {
				line("")
			}
			line("### Target %s\n", code(res.Target))
		}
		line("- **%s**", code(res.Name))
		for _, e := range res.Fields {
			shown++
			line("  - %s\\", markdownChange(e))
			line("    for %s (since %s), %s", span(e.Lasted), r.when(e.Since()), markdownWho(e)+r.markdownFacts(e))
		}
	}

	if len(r.Ended) > 0 {
		heading("Ended (declared → live)")
	}
	for i, e := range r.Ended {
		if i == mostEnded {
			line("- … and %d more", len(r.Ended)-i)
			break
		}
		line("- %s %s\\", code(e.Ref.String()), markdownChange(e))
		line("  %s, **%s** after %s; edited %s", r.when(e.ResolvedAt), e.how(), span(e.Lasted), markdownWho(e))
	}

	if len(r.Actors) > 0 {
		heading("Who")
	}
	for i, a := range r.Actors {
		if i == mostOther {
			line("- … and %d more", len(r.Actors)-i)
			break
		}
		line("- %s", actorLine(a, code(a.Name)))
	}

	if len(r.Held) > 0 {
		heading("Held back until Git declares something else")
	}
	for i, h := range r.Held {
		if i == mostOther {
			line("- … and %d more", len(r.Held)-i)
			break
		}
		line("- %s (target %s, revision %s)\\", code(h.Ref.String()), code(h.Target), code(short(h.Revision)))
		line("  since %s: %s", r.when(h.Since), code(h.Reason))
	}

	if len(r.Failures) > 0 {
		heading("Failed runs")
	}
	for i, f := range r.Failures {
		if i == mostOther {
			line("- … and %d more reasons", len(r.Failures)-i)
			break
		}
		line("- target %s: %s\\", code(f.Target), r.failed(f))
		line("  %s", code(f.Error))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownChange(e Entry) string {
	name, change := e.what()
	switch {
	case name == "":
		return change // words of our own
	case e.Secret:
		return code(name) + ": " + change // likewise
	}
	return code(name) + ": " + code(Value(e.Drift, e.Declared)) + " → " + code(Value(e.Drift, e.Live))
}

func markdownWho(e Entry) string {
	name, note := e.who()
	s := "by whom is not known"
	if name != "" {
		s = "by " + code(name)
	}
	if note != "" {
		s += " (" + code(note) + ")"
	}
	return s
}

func (r Report) markdownFacts(e Entry) string {
	var s string
	if at := e.Origin.String(); at != "" {
		s += "; declared at " + code(at)
	}
	if e.Impact != "" {
		s += "; to heal it: " + code(e.Impact)
	}
	if stale := r.stale(e); stale != "" {
		s += "; " + stale
	}
	return s
}

// code is a code span (CommonMark 6.1): fenced by more backquotes than s has in a row. Plain has taken the ends of
// lines out already, which would end the paragraph and with it the span.
func code(s string) string {
	s = Plain(s)
	if strings.TrimSpace(s) == "" {
		return "` `"
	}
	run, longestRun := 0, 0
	for _, r := range s {
		if r == '`' {
			run++
			longestRun = max(longestRun, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longestRun+1)
	if s[0] == '`' || s[len(s)-1] == '`' || s[0] == ' ' && s[len(s)-1] == ' ' {
		s = " " + s + " " // one space on each side is taken off again
	}
	return fence + s + fence
}
