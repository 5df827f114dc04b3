package manifest

import (
	"fmt"
	"strings"
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
