package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
)

// Plain makes text that somebody else wrote safe for one line of a terminal: control characters, ends of lines and the
// invisible ones that turn the direction of text are spelled out.
func Plain(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i]) // no UTF-8
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToGraphic(r), "'"))
		}
	}
	return b.String()
}

// mapping reads a destination as people say it: "mapped", "mapped with http2 to port 9090".
func mapping(value string) string {
	var to struct {
		Port     *int   `json:"port"`
		Protocol string `json:"protocol"`
	}
	text := "mapped"
	if json.Unmarshal([]byte(value), &to) != nil {
		return Plain(value)
	}
	if to.Protocol != "" {
		text += " with " + Plain(to.Protocol)
	}
	if to.Port != nil {
		text += fmt.Sprintf(" to port %d", *to.Port)
	}
	return text
}

const longest = 80 // characters of a value; beyond, people look at the record itself

// Value is one side of a record for one line of a terminal: the canonical text with its unit, "(secret)", or "(absent)".
func Value(d history.Drift, value string) string {
	destination := d.Ref.Kind == manifest.KindRoute && strings.HasPrefix(d.Path, "/destinations/") && strings.Count(d.Path, "/") == 2
	switch {
	case value == "" && destination:
		return "not mapped"
	case destination:
		return mapping(value)
	case value == "":
		return "(absent)"
	case d.Secret:
		return diff.Hidden
	}
	value = Plain(value)
	if _, err := strconv.Atoi(value); err == nil && strings.HasSuffix(d.Path, "_in_mb") {
		value += " MB"
	}
	if runes := []rune(value); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return value
}

// Field names what a record is about, on one line: "app acme/dev/web processes.web.instances".
func Field(d history.Drift) string {
	return strings.TrimSpace(Plain(d.Ref.String()) + " " + FieldPath(d))
}

// FieldPath names the field within its resource: "processes.web.instances"; "" is the whole resource.
func FieldPath(d history.Drift) string { return field(d.Path) }

// By names who made the change: by name, else by the platform's ID, else "unknown".
func By(d history.Drift) string { return Plain(cmp.Or(d.By.Actor, d.By.ActorID, "unknown")) }

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// field draws a JSON pointer: processes.web.instances, metadata.labels."example.com/team".
func field(pointer string) string {
	keys := manifest.SplitPointer(pointer)
	for i, k := range keys {
		if !plainKey.MatchString(k) {
			keys[i] = `"` + strings.ReplaceAll(Plain(k), `"`, `\"`) + `"`
		}
	}
	return strings.Join(keys, ".")
}

// what says what is different, in words where it is a whole resource.
func (e Entry) what() (name, change string) {
	switch {
	case e.Path != "" && e.Secret && e.Declared != "" && e.Live != "":
		return field(e.Path), "(secret, changed)"
	case e.Path != "":
		return field(e.Path), Value(e.Drift, e.Declared) + " → " + Value(e.Drift, e.Live)
	}
	switch e.Op {
	case diff.Add:
		return "", "declared, but it does not exist"
	case diff.Remove:
		return "", "exists, but Git does not declare it"
	}
	return "", "differs as a whole"
}

// who names the actor, or says why nobody is named.
func (e Entry) who() (name, note string) {
	if e.By.Known() {
		return By(e.Drift), Plain(e.By.Note)
	}
	return "", Plain(e.By.Note)
}

// how an entry ended, with the time of it.
func (e Entry) how() string {
	s := string(e.Resolution)
	if e.ResolvedBy != 0 && e.Resolution == history.Healed {
		s += " by run " + strconv.FormatInt(e.ResolvedBy, 10)
	}
	return s
}

// verdict is the report in a sentence or two, for who reads no further.
func (r Report) verdict() []string {
	c := r.Counts
	var lines []string
	switch {
	case c.OutOfSync > 0:
		oldest := r.To
		for _, res := range r.OutOfSync {
			for _, e := range res.Fields {
				if e.Since().Before(oldest) {
					oldest = e.Since()
				}
			}
		}
		verb, since := "are", "the oldest for"
		if c.OutOfSync == 1 {
			verb, since = "is", "for"
		}
		lines = append(lines, fmt.Sprintf("%s of %s %s out of sync, %s %s.", count(c.OutOfSync, "field"), count(c.Resources, "resource"), verb, since, span(r.To.Sub(oldest))))
	case c.Found+len(r.Ended) == 0 && r.LastRun.IsZero():
		return []string{"Nothing is on record yet: no run has been made."}
	case c.Found+len(r.Ended) == 0:
		lines = append(lines, "Nothing drifted. Everything that could be looked at is as Git declares it.")
	default:
		lines = append(lines, "Everything is in sync again.")
	}
	if len(r.Ended) > 0 {
		var parts []string
		for _, p := range []struct {
			n    int
			what string
		}{{c.Healed, "healed"}, {c.Accepted, "accepted by a commit"}, {c.ChangedBack, "changed back by hand"}, {c.Gone, "gone"}} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
			}
		}
		s := "Found in this period: " + count(c.Found, "edit") + ". Ended in it: " + strings.Join(parts, ", ") + "."
		if c.Healed > 0 {
			s += " Healing usually took " + span(time.Duration(c.TimeToHeal)) + "."
		}
		lines = append(lines, s)
	}
	if c.FailedRuns > 0 {
		lines = append(lines, count(c.FailedRuns, "run")+" failed, see below.")
	}
	if r.LastRun.IsZero() {
		return append(lines, "No run is on record.")
	}
	return append(lines, "The last run was "+span(r.To.Sub(r.LastRun))+" before this report.")
}

// stale says when an open record was last seen, where that is more than a day ago: its target cannot be looked at, or
// nobody does.
func (r Report) stale(e Entry) string {
	if r.To.Sub(e.LastSeen) <= 24*time.Hour {
		return ""
	}
	return "last seen " + r.when(e.LastSeen)
}

// period says what time the report is about.
func (r Report) period() string {
	if r.From.IsZero() {
		return "from the beginning to " + stamp(r.To)
	}
	return stamp(r.From) + " to " + stamp(r.To)
}

func stamp(t time.Time) string { return t.Format("Mon 2 Jan 2006 15:04 MST") }

// when is a time within the report, whose heading tells the time zone.
func (r Report) when(t time.Time) string {
	if t.Year() != r.To.Year() {
		return t.Format("2 Jan 2006 15:04")
	}
	return t.Format("Mon 2 Jan 15:04")
}

// span is a duration as people say it: 40s, 6m, 2h 5m, 3d 4h.
func span(d time.Duration) string {
	day := 24 * time.Hour
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < day:
		return two(d/time.Hour, "h", d%time.Hour/time.Minute, "m")
	}
	return two(d/day, "d", d%day/time.Hour, "h")
}

func two(a time.Duration, unit string, b time.Duration, small string) string {
	if b == 0 {
		return fmt.Sprintf("%d%s", a, unit)
	}
	return fmt.Sprintf("%d%s %d%s", a, unit, b, small)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// short is a revision as people quote it.
func short(revision string) string {
	if len(revision) > 7 && strings.Trim(revision, "0123456789abcdef") == "" {
		return revision[:7]
	}
	return Plain(revision)
}
