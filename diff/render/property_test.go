package render_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"pgregory.net/rapid"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
)

// anyText is text as people, editors and attackers write it.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "x", "+ added", "- gone", "\n+ a\n- b\n~ c", "  + deeper", "| + | row |", "</details>", "a → b", "\x1b[31m", "\u202e", "\xff", "<failure>", "]]>",
			"true", "12", strings.Repeat("long words ", 40), strings.Repeat("x", 500), strings.Repeat("many\nlines\n", 60), "```", "漢字漢字", "\u009b2J",
		}),
		rapid.String(),
	)
}

func anyValue(t *rapid.T, depth int) any {
	switch rapid.IntRange(0, 5+depth).Draw(t, "kind") {
	case 0:
		return rapid.Int64().Draw(t, "number")
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2, 3, 4, 5:
		return anyText().Draw(t, "text")
	case 6:
		return []any{anyText().Draw(t, "first"), anyText().Draw(t, "second")}
	default:
		m := tree{}
		for range rapid.IntRange(0, 3).Draw(t, "size") {
			m[anyText().Draw(t, "key")] = anyValue(t, depth-1)
		}
		return m
	}
}

// anyInput has changes, unobserved fields and unmanaged resources of every sort.
func anyInput(t *rapid.T) render.Input {
	in := render.Input{Title: "Plan"}
	anyRef := func() manifest.Ref {
		kind := rapid.SampledFrom([]manifest.Kind{manifest.KindApp, manifest.KindRoute, manifest.KindServiceBinding}).Draw(t, "kind")
		return manifest.Ref{Kind: kind, Path: "acme/dev/" + anyText().Draw(t, "name")}
	}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 12).Draw(t, "resources") {
		r := anyRef()
		whole := rapid.IntRange(0, 3).Draw(t, "whole") == 0
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			c := diff.Change{
				Ref: r, Op: rapid.SampledFrom([]diff.Op{diff.Add, diff.Update, diff.Remove}).Draw(t, "op"),
				Impact: rapid.SampledFrom(diff.Impacts()).Draw(t, "impact"), Reason: anyText().Draw(t, "reason"),
				Origin: manifest.Origin{File: anyText().Draw(t, "file"), Line: rapid.IntRange(0, 3).Draw(t, "line")},
			}
			if !whole {
				c.Path = manifest.Pointer(rapid.SampledFrom([]string{"environment_variables", "processes"}).Draw(t, "collection"), anyText().Draw(t, "key"))
			} else if c.Op == diff.Update {
				c.Op = diff.Add
			}
			if seen[r.String()+c.Path] || whole && seen[r.String()] || !whole && seen[r.String()+" whole"] {
				continue
			}
			seen[r.String()+c.Path], seen[r.String()] = true, true
			seen[r.String()+" whole"] = seen[r.String()+" whole"] || whole
			value := func(label string) any {
				if whole {
					return tree{"environment_variables": tree{label: anyValue(t, 2)}}
				}
				return anyValue(t, 2)
			}
			if c.Op != diff.Add {
				c.Was = value("was")
			}
			if c.Op != diff.Remove {
				c.Value = value("value")
			}
			in.Changes.List = append(in.Changes.List, c)
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "unobserved") {
		in.Changes.Unobserved = append(in.Changes.Unobserved, diff.Unobserved{Ref: anyRef(), Path: manifest.Pointer(strconv.Itoa(i)), Why: anyText().Draw(t, "why")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "unmanaged") {
		in.Changes.Unmanaged = append(in.Changes.Unmanaged, anyRef())
	}
	anyRule := func() diff.IgnoreRule {
		return diff.IgnoreRule{
			Name: anyText().Draw(t, "rule name"), Path: "/" + anyText().Draw(t, "rule path"), Owner: anyText().Draw(t, "owner"), Reason: anyText().Draw(t, "rule reason"),
			Origin: manifest.Origin{File: anyText().Draw(t, "rule file")},
		}
	}
	// Some of the changes are tolerated, and some were.
	in.Changes.List = slices.DeleteFunc(in.Changes.List, func(c diff.Change) bool {
		switch rapid.IntRange(0, 5).Draw(t, "ruled") {
		case 0:
			in.Changes.Ignored = append(in.Changes.Ignored, diff.Ignored{Change: c, Rule: anyRule()})
			return true
		case 1:
			in.Changes.Expired = append(in.Changes.Expired, diff.Ignored{Change: c, Rule: anyRule()})
		}
		return false
	})
	if rapid.Bool().Draw(t, "idle") {
		in.Changes.Idle = []diff.IdleRule{{Rule: anyRule(), Why: anyText().Draw(t, "idle why")}}
	}
	return in
}

var (
	textChange     = regexp.MustCompile(`(?m)^(  [-+~] |[-+] )`)
	markdownChange = regexp.MustCompile(`(?m)^\| [-+~] \| `)
	textBeside     = regexp.MustCompile(`(?m)^(  [=?] |    (app|route|service_binding) )`)
	markdownBeside = regexp.MustCompile(`(?m)^- <code>`)
	markdownMore   = regexp.MustCompile(`(?m)^… and ([0-9]+) more`)
)

type sarifResult struct {
	RuleID       string
	Suppressions []any
}

// beside counts what an output lists beside the changes: what is ignored, unreadable and unmanaged.
func beside(t testing.TB, format, output string) int {
	t.Helper()
	var doc struct {
		Ignored, Unobserved, Unmanaged []any
		Runs                           []struct{ Results []sarifResult }
	}
	switch format {
	case "text":
		return len(textBeside.FindAllString(output, -1))
	case "markdown":
		return len(markdownBeside.FindAllString(output, -1))
	case "junit":
		return strings.Count(output, "<skipped ")
	}
	if err := json.Unmarshal([]byte(output), &doc); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	n := len(doc.Ignored) + len(doc.Unobserved) + len(doc.Unmanaged)
	for _, run := range doc.Runs {
		for _, r := range run.Results {
			if len(r.Suppressions) > 0 || r.RuleID == "unreadable" || r.RuleID == "unmanaged" {
				n++
			}
		}
	}
	return n
}

// count finds the changes in an output by the means of whoever reads that format.
func count(t testing.TB, format, output string) int {
	t.Helper()
	parse := func(v any) {
		if err := json.Unmarshal([]byte(output), v); err != nil {
			t.Fatalf("%s: %v\n%s", format, err, output)
		}
	}
	switch format {
	case "text":
		return len(textChange.FindAllString(output, -1))
	case "markdown":
		n := len(markdownChange.FindAllString(output, -1))
		if m := markdownMore.FindStringSubmatch(output); m != nil {
			rest, _ := strconv.Atoi(m[1])
			n += rest
		}
		return n
	case "json":
		var doc struct{ Changes []any }
		parse(&doc)
		return len(doc.Changes)
	case "v3":
		var doc struct{ Diff []any }
		parse(&doc)
		return len(doc.Diff)
	case "junit":
		var doc struct {
			Suites []struct {
				Cases []struct {
					Failure *struct{} `xml:"failure"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal([]byte(output), &doc); err != nil {
			t.Fatalf("junit: %v\n%s", err, output)
		}
		n := 0
		for _, s := range doc.Suites {
			for _, c := range s.Cases {
				if c.Failure != nil {
					n++
				}
			}
		}
		return n
	case "sarif":
		var doc struct {
			Runs []struct{ Results []sarifResult }
		}
		parse(&doc)
		return len(slices.DeleteFunc(doc.Runs[0].Results, func(r sarifResult) bool {
			return len(r.Suppressions) > 0 || r.RuleID == "unreadable" || r.RuleID == "unmanaged" || r.RuleID == "expired"
		}))
	}
	t.Fatalf("how to count %s?", format)
	return 0
}

// Whatever the manifests hold, each renderer shows each change once, and nothing that a terminal would obey.
func TestRenderersNeitherLoseNorInvent(t *testing.T) {
	schema := diffSchema(t)
	rapid.Check(t, func(rt *rapid.T) {
		in := anyInput(rt)
		opts := render.Options{Width: rapid.SampledFrom([]int{0, 1, 60, 200}).Draw(rt, "width"), Unmanaged: rapid.Bool().Draw(rt, "unmanaged"), Ignored: rapid.Bool().Draw(rt, "ignored")}
		for _, format := range render.Formats() {
			out := draw(t, format, in, opts)
			if got := count(t, format, out); got != len(in.Changes.List) {
				rt.Fatalf("%s shows %d of %d changes\n%s", format, got, len(in.Changes.List), out)
			}
			if got, want := beside(t, format, out), expected(format, in, opts); got != want {
				rt.Fatalf("%s lists %d of the %d beside the changes\n%s", format, got, want, out)
			}
			if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }); i >= 0 {
				rt.Fatalf("%s has %q", format, out[max(0, i-20):min(len(out), i+20)])
			}
			if format == "json" {
				var v any
				if err := json.Unmarshal([]byte(out), &v); err != nil {
					rt.Fatal(err)
				}
				if err := schema.Validate(v); err != nil {
					rt.Fatalf("%#v\n%s", err, out)
				}
			}
			shuffled := in
			shuffled.Changes.List = slices.Clone(in.Changes.List)
			rand.Shuffle(len(shuffled.Changes.List), func(i, j int) {
				l := shuffled.Changes.List
				l[i], l[j] = l[j], l[i]
			})
			if draw(t, format, shuffled, opts) != out {
				rt.Fatalf("%s depends on the order of its input", format)
			}
		}
	})
}

// expected is how many an output has to list beside the changes.
func expected(format string, in render.Input, opts render.Options) int {
	n := len(in.Changes.Unobserved)
	if format == "v3" {
		n = 0
	}
	if opts.Ignored || format == "json" {
		n += len(in.Changes.Ignored)
	}
	if opts.Unmanaged || format == "json" {
		n += len(in.Changes.Unmanaged)
	}
	return n
}

// The golden documents are what people write their programs against.
func TestGoldenJSONIsAsDocumented(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if doc["summary"] == nil {
			continue // a validation, or the object of the V3 API
		}
		checked++
		if err := diffSchema(t).Validate(any(doc)); err != nil {
			t.Errorf("%s: %#v", file, err)
		}
	}
	if checked < 3 {
		t.Errorf("only %d documents were checked", checked)
	}
}

func diffSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "schemas", "diff.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.Draft = jsonschema.Draft2020
	if err := compiler.AddResource("diff.schema.json", bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return compiler.MustCompile("diff.schema.json")
}

// Secrets sit in every place where a value can be. None of them is in any output.
func TestSecretsNeverShow(t *testing.T) {
	n := 0
	secret := func() string { n++; return fmt.Sprintf("s3cr3t%04d", n) }
	env := func() tree {
		return tree{"MARKED": secret(), "MARKED_LINES": "first\n" + secret() + "\nlast", "API_TOKEN": secret(), "CALLBACK": "https://jo:" + secret() + "@example.com/", "PLAIN": "shown"}
	}
	marks := map[string]bool{"/environment_variables/MARKED": true, "/environment_variables/MARKED_LINES": true, "/sidecars/proxy/command": true, "/processes/worker": true, "/lifecycle/buildpacks": true}
	spec := func() tree {
		return tree{
			"environment_variables": env(),
			"sidecars":              tree{"proxy": tree{"command": secret()}},
			"processes":             tree{"worker": tree{"command": secret()}},
			"lifecycle":             tree{"buildpacks": []any{secret(), secret()}},
		}
	}
	app := func(name string, spec tree) *manifest.Object {
		return &manifest.Object{Ref: ref(manifest.KindApp, name), Spec: spec, Secrets: marks, Ownership: map[string]manifest.Ownership{"/environment_variables": manifest.Exact, "/sidecars": manifest.Exact, "/processes": manifest.Exact}}
	}
	bound := ref(manifest.KindServiceBinding, "old/db")
	in := scene{
		title:   "Plan",
		desired: []*manifest.Object{app("new", spec()), app("changed", spec()), app("emptied", tree{}), app("grown", spec())},
		live: []*manifest.Object{
			app("changed", spec()), app("emptied", spec()), app("grown", tree{}),
			{Ref: bound, Spec: tree{"name": secret(), "app": "old"}, Secrets: map[string]bool{"/name": true}},
		},
		ledger: diff.Ledger{bound: {"": true}},
	}.input(t)

	outputs := map[string]string{"marshalled": "", "printed": fmt.Sprint(in.Changes.List)}
	if b, err := json.Marshal(in.Changes); err == nil {
		outputs["marshalled"] = string(b)
	}
	for _, format := range render.Formats() {
		outputs[format] = draw(t, format, in, render.Options{})
		outputs[format+", narrow and coloured"] = draw(t, format, in, render.Options{Width: 40, Color: true, Unmanaged: true})
	}
	for name, out := range outputs {
		if i := strings.Index(out, "s3cr3t"); i >= 0 {
			t.Errorf("%s shows a secret: %s", name, out[max(0, i-60):i+10])
		}
		if name != "printed" && !strings.Contains(out, "shown") && !strings.HasPrefix(name, "sarif") && !strings.HasPrefix(name, "junit") {
			t.Errorf("%s hides what is no secret", name)
		}
	}
}

// GitHub refuses a comment of more than 65,536 characters; what does not fit is counted.
func TestMarkdownFitsIntoAComment(t *testing.T) {
	for name, in := range map[string]render.Input{"many apps": manyChanges(600, 8), "one large app": manyChanges(1, 5000), "long values": manyChanges(40, 10)} {
		if name == "long values" {
			for i := range in.Changes.List {
				in.Changes.List[i].Value = strings.Repeat("<&|`*>\n", 5000)
			}
		}
		for i := range 500 {
			in.Changes.Unobserved = append(in.Changes.Unobserved, diff.Unobserved{Ref: in.Changes.List[0].Ref, Path: manifest.Pointer(strconv.Itoa(i)), Why: strings.Repeat("<", 5000)})
			in.Changes.Unmanaged = append(in.Changes.Unmanaged, ref(manifest.KindApp, strings.Repeat("<", 5000)))
		}
		in.Title, in.Target, in.Revision = strings.Repeat("<", 9999), strings.Repeat("<", 9999), strings.Repeat("<", 9999)
		out := draw(t, "markdown", in, render.Options{Unmanaged: true})
		if len(out) > 65_536 {
			t.Errorf("%s: %d bytes", name, len(out))
		}
		if got := count(t, "markdown", out); got != len(in.Changes.List) {
			t.Errorf("%s: accounts for %d of %d changes", name, got, len(in.Changes.List))
		}
		if strings.Count(out, "<details") != strings.Count(out, "</details>") {
			t.Errorf("%s: a section is not closed", name)
		}
	}
}

func manyChanges(apps, each int) render.Input {
	var in render.Input
	for a := range apps {
		for c := range each {
			in.Changes.List = append(in.Changes.List, diff.Change{
				Ref: ref(manifest.KindApp, fmt.Sprintf("app-%03d", a)), Op: diff.Add, Path: fmt.Sprintf("/environment_variables/NAME_%04d", c), Value: "value", Impact: diff.ImpactRestart,
			})
		}
	}
	return in
}

func TestUnknownFormat(t *testing.T) {
	err := render.Write(&bytes.Buffer{}, "yaml", render.Input{}, render.Options{})
	if err == nil || !strings.Contains(err.Error(), `unknown format "yaml": use one of text, markdown, json, v3, junit, sarif`) {
		t.Errorf("unexpected: %v", err)
	}
}
