package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Severity of a Problem.
type Severity string

// A manifest with an error is not applied; a warning is shown and does not stop anything.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one mistake in what a person wrote, with the place and the way out.
type Problem struct {
	Origin   Origin   `json:"origin"`
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`              // stable identifier: "unknown-field", "duplicate-key", …
	Ref      *Ref     `json:"ref,omitempty"`     // the resource concerned, where it is known
	Pointer  string   `json:"pointer,omitempty"` // JSON pointer into the YAML document
	Message  string   `json:"message"`           // what is wrong and what was expected; never a secret value
	Hint     string   `json:"hint,omitempty"`    // what to do next, e.g. the nearest known name
	Excerpt  string   `json:"excerpt,omitempty"` // the source line and a caret line, ready to print
}

// Error makes a Problem usable as an error: "file:line:column: message (hint)".
func (p Problem) Error() string {
	var b strings.Builder
	if at := p.Origin.String(); at != "" {
		fmt.Fprintf(&b, "%s: ", at)
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		fmt.Fprintf(&b, " (%s)", p.Hint)
	}
	return b.String()
}

// Problems is what validation finds, in file order. As an error it lists all of them.
type Problems []Problem

// Error lists every problem on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err is ps as an error if any problem is an error, else nil. Warnings alone are no error.
func (ps Problems) Err() error {
	for _, p := range ps {
		if p.Severity == SeverityError {
			return ps
		}
	}
	return nil
}

// Text is the problem as a person reads it on a terminal: what and where, the source line with a caret under
// the place, and what to do.
//
//	error: manifest.yml:4:13: expected a size with a unit (B, K, M, G or T), such as 512M, got "64"
//	      memory: "64"
//	              ^
//	  → write 64M if megabytes are meant
func (p Problem) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", cmp.Or(p.Severity, SeverityError))
	if at := p.Origin.String(); at != "" {
		fmt.Fprintf(&b, "%s: ", at)
	}
	b.WriteString(p.Message)
	if p.Excerpt != "" {
		b.WriteString("\n  " + strings.ReplaceAll(p.Excerpt, "\n", "\n  "))
	}
	if p.Hint != "" {
		b.WriteString("\n  → " + p.Hint)
	}
	return b.String()
}

// Text is every problem's Text, with an empty line between them.
func (ps Problems) Text() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Text()
	}
	return strings.Join(texts, "\n\n")
}

// Errors counts the problems that are errors; the rest are warnings.
func (ps Problems) Errors() int {
	var n int
	for _, p := range ps {
		if p.Severity == SeverityError {
			n++
		}
	}
	return n
}

// maxProblems is how many problems are told at once. Nobody reads more, and a file of nothing but mistakes must
// not take the memory of a million explanations.
const maxProblems = 1000

// atMost cuts off what is beyond maxProblems, and says so.
func (ps Problems) atMost() Problems {
	if len(ps) <= maxProblems {
		return ps
	}
	severity := SeverityWarning
	if ps[maxProblems:].Err() != nil {
		severity = SeverityError
	}
	return append(ps[:maxProblems:maxProblems], Problem{
		Severity: severity, Rule: "more-problems", Message: fmt.Sprintf("and more problems than these %d", maxProblems),
		Hint: "mend these first",
	})
}

// WithExcerpts fills in the source lines of the problems in file that have none yet. Whatever looks secret in
// a line is masked.
func (ps Problems) WithExcerpts(file string, data []byte) Problems {
	var lines [][]byte
	for i, p := range ps {
		if p.Origin.File != file || p.Origin.Line == 0 || p.Excerpt != "" {
			continue
		}
		if lines == nil {
			lines = bytes.Split(data, []byte("\n"))
		}
		// A line beyond all measure is no help to look at, and would be searched for secrets for every problem in it.
		if p.Origin.Line <= len(lines) && len(lines[p.Origin.Line-1]) <= 2000 && len(data) > 0 {
			ps[i].Excerpt = excerpt(string(lines[p.Origin.Line-1]), p.Origin.Column)
		}
	}
	return ps
}

// excerpt is the line, without what is too far right or left to matter, and a caret below the column. Columns
// count characters.
func excerpt(line string, column int) string {
	const before, width = 60, 100
	line = strings.ToValidUTF8(strings.TrimRight(MaskLine(line), "\r"), "�")
	line = strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029') {
			return '�' // nothing that could move a terminal's cursor, or cannot be seen
		}
		return r
	}, line)
	runes := []rune(line)
	at := min(max(column-1, 0), len(runes))
	lead := ""
	if at > before {
		lead, runes, at = "…", runes[at-before:], before
	}
	if len(runes) > width {
		runes = append(runes[:width:width], '…')
	}
	caret := []rune(lead + string(runes[:at]))
	for i, r := range caret {
		if r != '\t' { // a tab stays a tab, so that the caret stands below its place at any tab width
			caret[i] = ' '
		}
	}
	return lead + string(runes) + "\n" + string(caret) + "^"
}

// once keeps of the problems of a rule that say the same of one file only the first, which then says how many more places
// there are: a value that is missing is given once, however often it is used.
func (ps Problems) once(rule string) Problems {
	type same struct{ file, message string }
	first, more := map[same]int{}, map[int]int{}
	var kept Problems
	for _, p := range ps {
		if p.Rule == rule {
			at := same{p.Origin.File, p.Message}
			if i, seen := first[at]; seen {
				more[i]++
				continue
			}
			first[at] = len(kept)
		}
		kept = append(kept, p)
	}
	for i, n := range more {
		kept[i].Message += fmt.Sprintf("; it is needed in %d more place%s", n, plural(n, "", "s"))
	}
	return kept
}

// sorted orders problems by position and drops repetitions.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Origin.File, b.Origin.File), cmp.Compare(a.Origin.Line, b.Origin.Line), cmp.Compare(a.Origin.Column, b.Origin.Column))
	})
	return slices.CompactFunc(ps, func(a, b Problem) bool {
		return a.Origin == b.Origin && a.Rule == b.Rule && a.Message == b.Message
	})
}
