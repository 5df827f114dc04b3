package render

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
)

// Validation is what came out of checking manifests.
type Validation struct {
	Files    []string // what was checked; those with problems need not be among them
	Problems manifest.Problems
}

// ProblemFormats are the names that Validation.Write knows.
func ProblemFormats() []string { return []string{"text", "json", "sarif", "junit", "github"} }

// Write draws in the format of the given name.
func (v Validation) Write(w io.Writer, format string, opts Options) error {
	switch format {
	case "text", "":
		return v.text(w, opts)
	case "json":
		return v.json(w)
	case "sarif":
		return v.sarif(w)
	case "junit":
		return v.junit(w)
	case "github":
		return v.github(w)
	}
	return fmt.Errorf("unknown format %q: use one of %s", format, strings.Join(ProblemFormats(), ", "))
}

// text is for a terminal: every problem with the line it stands in and a caret below the place, and a count. There is
// nothing where there is no problem.
func (v Validation) text(w io.Writer, opts Options) error {
	t := &terminal{color: opts.Color}
	for _, p := range v.Problems {
		style, severity := turning, manifest.SeverityWarning
		if isError(p) {
			style, severity = leaving, manifest.SeverityError
		}
		line := t.paint(style.Bold(true), string(severity)+":") + " " + t.paint(bold, visible(p.Message))
		if at := p.Origin.String(); at != "" {
			line = t.paint(bold, visible(at)+":") + " " + line
		}
		t.line(line)
		if source, caret, ok := strings.Cut(excerpt(p), "\n"); ok {
			t.line(source)
			t.line(strings.TrimSuffix(caret, "^") + t.paint(style.Bold(true), "^"))
		}
		if p.Hint != "" {
			t.line(t.paint(faint, "  hint: ") + visible(p.Hint))
		}
	}
	if n := len(v.Problems); n > 0 {
		count := plural(v.Problems.Errors(), "error")
		if warnings := n - v.Problems.Errors(); warnings > 0 {
			count += ", " + plural(warnings, "warning")
		}
		t.line(t.paint(bold, count))
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

func (v Validation) json(w io.Writer) error {
	problems := v.Problems
	if problems == nil {
		problems = manifest.Problems{}
	}
	return writeJSON(w, struct {
		Valid    bool              `json:"valid"`
		Problems manifest.Problems `json:"problems"`
	}{v.Problems.Err() == nil, problems})
}

// sarif has one rule for each kind of mistake that was found.
func (v Validation) sarif(w io.Writer) error {
	var ids []string
	for _, p := range v.Problems {
		ids = append(ids, p.Rule)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	rules := make([]sarifRule, len(ids))
	for i, id := range ids {
		rules[i] = sarifRule{id, sarifText{strings.ReplaceAll(id, "-", " ")}}
	}
	run := newSarifRun(rules)
	for _, p := range v.Problems {
		rule, _ := slices.BinarySearch(ids, p.Rule)
		level := "warning"
		if isError(p) {
			level = "error"
		}
		resource := subject(p)
		// A finding stays the same when lines are added above it: the message names the app and the field.
		run.put(rule, level, withHint(p), resource, p.Origin, p.Origin.File, resource, p.Message)
	}
	return run.write(w)
}

// junit has one suite per file and one failed test per error. A warning is a passed test with an output.
func (v Validation) junit(w io.Writer) error {
	report := testsuites{Name: "fettle validate"}
	for _, p := range v.Problems {
		report.problem(p, or(p.Origin.File, "manifests"))
	}
	for _, file := range v.Files {
		if _, told := report.index[visible(file)]; !told {
			report.put(file, testcase{Name: "valid", File: visible(file)})
		}
	}
	if report.Tests == 0 {
		report.put("manifests", testcase{Name: "valid"})
	}
	return report.write(w)
}

// problem adds a test to the suite of that name: a failed one, or for a warning a passed one with an output.
func (report *testsuites) problem(p manifest.Problem, suite string) {
	c := testcase{Name: visible(p.Message), File: visible(p.Origin.File), Line: p.Origin.Line}
	text := strings.TrimSpace(visible(p.Origin.String()) + "\n" + excerpt(p))
	if p.Hint != "" {
		text += "\n" + visible(p.Hint)
	}
	if isError(p) {
		c.Failure = &failure{Message: withHint(p), Type: p.Rule, Text: text}
	} else {
		c.Output = "warning: " + withHint(p)
	}
	report.put(suite, c)
}

// github writes workflow commands, which GitHub shows as annotations beside the line
// (docs.github.com, "Workflow commands for GitHub Actions").
func (v Validation) github(w io.Writer) error {
	var b strings.Builder
	for _, p := range v.Problems {
		level := "warning"
		if isError(p) {
			level = "error"
		}
		var properties []string
		if p.Origin.File != "" {
			properties = append(properties, "file="+githubProperty.Replace(p.Origin.File))
		}
		if p.Origin.Line > 0 {
			properties = append(properties, "line="+strconv.Itoa(p.Origin.Line), "col="+strconv.Itoa(p.Origin.Column))
		}
		properties = append(properties, "title="+githubProperty.Replace(p.Rule))
		fmt.Fprintf(&b, "::%s %s::%s\n", level, strings.Join(properties, ","), githubMessage.Replace(withHint(p)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// What separates the parts of a workflow command is written in percents.
var (
	githubMessage  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func isError(p manifest.Problem) bool { return p.Severity == manifest.SeverityError }

// excerpt is the source line and the caret line, each character as wide as in the source, so that the caret stays
// below its place.
func excerpt(p manifest.Problem) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || invisible(r)) {
			return '�'
		}
		return r
	}, p.Excerpt)
}

// subject is the resource that a problem of a plan is about, "" for the plan as a whole.
func subject(p manifest.Problem) string {
	if p.Ref == nil {
		return ""
	}
	return visible(p.Ref.String())
}

// withHint is a problem in one line, without its place.
func withHint(p manifest.Problem) string {
	if p.Hint == "" {
		return visible(p.Message)
	}
	return visible(p.Message) + " (" + visible(p.Hint) + ")"
}
