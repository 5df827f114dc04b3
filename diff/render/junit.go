package render

import (
	"encoding/xml"
	"io"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
)

type testsuites struct {
	XMLName  xml.Name    `xml:"testsuites"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Suites   []testsuite `xml:"testsuite"`

	index map[string]int // of the suites, by name
}

type testsuite struct {
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Cases    []testcase `xml:"testcase"`
}

type testcase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	File    string   `xml:"file,attr,omitempty"`
	Line    int      `xml:"line,attr,omitempty"`
	Failure *failure `xml:"failure"`
	Skipped *skipped `xml:"skipped"`
	Output  string   `xml:"system-out,omitempty"`
}

type failure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

type skipped struct {
	Message string `xml:"message,attr"`
}

// JUnit writes a test report: one suite per resource, one failed test per change and per problem of the plan, one skipped
// test per field that could not be read (and, when asked for, per ignored difference and unmanaged resource), and a single
// passed test where nothing differs.
func JUnit(w io.Writer, in Input, opts Options) error {
	report := testsuites{Name: visible(or(in.Title, "fettle diff"))}
	for _, c := range in.changes() {
		report.put(c.Ref.String(), testcase{
			Name: or(label(c.Path), "exists as declared"), File: visible(c.Origin.File), Line: c.Origin.Line,
			Failure: &failure{Message: sentence(c), Type: string(c.Op), Text: details(c)},
		})
	}
	for _, u := range in.unobserved() {
		report.put(u.Ref.String(), testcase{
			Name: or(label(u.Path), "everything"), File: visible(u.Origin.File), Line: u.Origin.Line,
			Skipped: &skipped{Message: "not readable: " + visible(u.Why)},
		})
	}
	if opts.Ignored {
		for _, i := range in.ignored() {
			report.put(i.Change.Ref.String(), testcase{
				Name: or(label(i.Change.Path), "exists as declared"), File: visible(i.Change.Origin.File), Line: i.Change.Origin.Line,
				Skipped: &skipped{Message: "ignored by rule: " + sentence(i.Change) + inBrackets(ruleNote(i.Rule))},
			})
		}
	}
	if opts.Unmanaged {
		for _, r := range in.unmanaged() {
			report.put(r.String(), testcase{Name: "is declared", Skipped: &skipped{Message: "unmanaged: it lives here and is declared nowhere"}})
		}
	}
	for _, p := range in.Problems {
		report.problem(p, or(subject(p), "the plan"))
	}
	if report.Tests == 0 {
		report.put("no differences", testcase{Name: in.verdict()})
	}
	return report.write(w)
}

// put adds a test to the suite of that name, which is made when its first test comes.
func (report *testsuites) put(suite string, c testcase) {
	name := visible(suite)
	i, ok := report.index[name]
	if !ok {
		if report.index == nil {
			report.index = map[string]int{}
		}
		i = len(report.Suites)
		report.index[name] = i
		report.Suites = append(report.Suites, testsuite{Name: name})
	}
	s := &report.Suites[i]
	c.Class = s.Name
	s.Cases = append(s.Cases, c)
	s.Tests++
	report.Tests++
	if c.Failure != nil {
		s.Failures++
		report.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
		report.Skipped++
	}
}

func (report *testsuites) write(w io.Writer) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(report); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// sentence tells a change in one line: "processes.web.instances is 1, Git declares 2".
func sentence(c diff.Change) string {
	was, value := sides(c)
	name := or(label(c.Path), visible(c.Ref.String()))
	switch {
	case c.Path == "" && c.Op == diff.Add:
		return name + " does not exist, Git declares it"
	case c.Path == "" && c.Op == diff.Remove:
		return name + " exists, Git no longer declares it"
	case c.Secret && c.Op == diff.Update:
		return name + " (secret) differs from what Git declares"
	case c.Op == diff.Add:
		return name + " is absent, Git declares " + cut(value)
	case c.Op == diff.Remove:
		return name + " is " + cut(was) + ", Git does not declare it"
	}
	return name + " is " + cut(was) + ", Git declares " + cut(value)
}

// details are what a report shows when somebody opens the change.
func details(c diff.Change) string {
	return strings.TrimSpace(visible(c.Ref.String()+" "+c.Path) + "\n" + note(c))
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// cut keeps a value short enough for a line of a report.
func cut(s string) string {
	const most = 200
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + more(len(runes)-most, "characters")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
