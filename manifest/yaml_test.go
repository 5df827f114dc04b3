package manifest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

func TestAliasesAndMergeKeysAreResolved(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"alias", "a: &x {k: 1}\nb: *x", "map[a:map[k:1] b:map[k:1]]"},
		{"alias in a list", "[&x one, *x]", "[one one]"},
		{"alias as a key", "a: &x name\nb: {*x : 1}", "map[a:name b:map[name:1]]"},
		{"merge", "a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", "map[a:map[k:1 l:2] b:map[k:1 l:3]]"},
		{"own keys win, even before the merge key", "a: &x {k: 1}\nb: {k: 2, <<: *x}", "map[a:map[k:1] b:map[k:2]]"},
		{"of several the first wins", "- &x {k: 1}\n- &y {k: 2, l: 2}\n- <<: [*x, *y]", "[map[k:1] map[k:2 l:2] map[k:1 l:2]]"},
		{"merge of a merge", "a: &x {k: 1}\nb: &y {<<: *x, l: 2}\nc: {<<: *y}", "map[a:map[k:1] b:map[k:1 l:2] c:map[k:1 l:2]]"},
		{"a quoted << is a key", "{'<<': 1}", "map[<<:1]"},
		{"an anchor defined anew", "[&x 1, *x, &x 2, *x]", "[1 1 2 2]"},
		{"anchored null", "[&x , *x]", "[<nil> <nil>]"},
	} {
		docs, problems := ParseYAML("x.yml", []byte(c.text))
		if len(problems) > 0 {
			t.Errorf("%s: %v", c.name, problems)
			continue
		}
		if got := fmt.Sprint(Value(docs[0])); got != c.want {
			t.Errorf("%s: got %s, expected %s", c.name, got, c.want)
		}
	}
}

func TestSeveralDocuments(t *testing.T) {
	docs, problems := ParseYAML("x.yml", []byte("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n"))
	if len(problems) > 0 || len(docs) != 2 || docs[1].Line != 7 {
		t.Fatalf("%d documents, problems %v", len(docs), problems)
	}
}

func deepBlocks(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "\n%sa:", strings.Repeat(" ", i))
	}
	return b.String()
}

// Every way of writing no good YAML, as a person sees it.
func TestYAMLMistakes(t *testing.T) {
	var report strings.Builder
	for _, c := range []struct{ name, text string }{
		{"duplicate key", "a: 1\nb: 2\na: 3\n"},
		{"duplicate key, quoted once", "a: 1\n'a': 2\n"},
		{"duplicate key in a nested map", "x:\n  a: 1\n  a: 2\n"},
		{"two merge keys", "- &x {a: 1}\n- &y {b: 1}\n- <<: *x\n  <<: *y\n"},
		{"merging a list of texts", "a: {<<: [x]}\n"},
		{"tab in front of a key", "applications:\n\t- name: a\n"},
		{"tab after spaces", "a:\n  b: 1\n \tc: 2\n"},
		{"a second colon", "command: java -jar: x\n"},
		{"indentation", "a: 1\n b: 2\n"},
		{"not closed quote", "a: \"x\nb: 1\n"},
		{"not closed quote, some lines on", "applications:\n- name: a\n  env:\n    A: \"x\n    B: y\n- name: b\n"},
		{"not closed quote, and another one below", "- name: \"a\n  memory: 1G\n  env: {A: \"b\"}\n  stack: x\n"},
		{"not closed quote, behind a block of text", "a: |\n  it's \"\n  'x' y\nb: 'z\n"},
		{"apostrophe in single quotes", "command: 'it's'\nmemory: 1G\n"},
		{"quotes in double quotes", "env: {A: \"say \"hi\" twice\"}\n"},
		{"not closed list", "a: [1, 2\nb: 1\n"},
		{"not closed map", "a: {b: 1\n"},
		{"not closed list, and more below", "applications:\n- name: a\n  buildpacks: [x\n  env: {A: '['}\n- name: b\n  env: {B: c}\n"},
		{"a map closed as a list", "a: {b: [1, 2}\nc: 3\n"},
		{"a key too far left", "applications:\n- name: a\n memory: 1G\n"},
		{"a key in a list", "applications:\n  - name: a\n  memory: 1G\n"},
		{"a list entry in a map", "applications:\n- name: a\n  memory: 1G\n  - name: b\n"},
		{"a missing space", "applications:\n- name:a\n  memory: 1G\n"},
		{"a star", "routes:\n- route: *.example.com\n"},
		{"alias without an anchor, further down", "applications:\n- name: a\n- <<: *base\n  name: b\n"},
		{"blocks that are nested too deep", deepBlocks(500)},
		{"at sign", "a: @x\n"},
		{"percent", "a: %x\n"},
		{"backtick", "a: `x`\n"},
		{"unknown escape", `a: "C:\Users"` + "\n"},
		{"alias without an anchor", "a: *x\n"},
		{"alias into another document", "a: &x 1\n---\nb: *x\n"},
		{"alias of itself", "a: &x [*x]\n"},
		{"date", "a: 2020-01-02\n"},
		{"time", "a: 2020-01-02 03:04:05 Z\n"},
		{"infinity", "a: .inf\n"},
		{"unknown tag", "a: !ruby/object:Foo x\n"},
		{"tag that does not fit", "a: !!int x\n"},
		{"map as a key", "? {a: 1}\n: 2\n"},
		{"doubled braces of a template", "name: {{ app }}\n"},
		{"no UTF-8", "a: \xff\n"},
		{"control character", "a: \x01\n"},
		{"secret beside the mistake", "db_password: hunter2\n\tx: 1\ndb_password: hunter3\n"},
		{"secret in a duplicate key", "env:\n  API_TOKEN: abc\n  API_TOKEN: def\n"},
		{"secret in a URL", "env: {URL: 'redis://user:pw@host', X: 1, X: 2}\n"},
	} {
		_, problems := ParseYAML("manifest.yml", []byte(c.text))
		if problems.Err() == nil {
			t.Errorf("%s: no problem was found", c.name)
		}
		text := problems.Text()
		for _, secret := range []string{"hunter2", "hunter3", "abc", "def", "pw@"} {
			if strings.HasPrefix(c.name, "secret") && strings.Contains(text, secret) {
				t.Errorf("%s: the secret is shown:\n%s", c.name, text)
			}
		}
		fmt.Fprintf(&report, "── %s\n%s\n\n", c.name, text)
	}
	golden(t, "yaml.golden", report.String())
}

func TestExplicitTags(t *testing.T) {
	docs, problems := ParseYAML("x.yml", []byte("[!!str 1, !!str yes, !!int 0x10, !!float 1, !!bool on, !!null ~]"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if diff := cmp.Diff([]any{"1", "yes", int64(16), 1.0, true, nil}, Value(docs[0])); diff != "" {
		t.Error(diff)
	}
}

// bombs are documents that are small to write and large to read.
func bombs() map[string]string {
	var billion strings.Builder
	billion.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&billion, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	var merges strings.Builder
	merges.WriteString("a0: &a0 {k: v}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&merges, "a%d: &a%d {x: *a%d, y: *a%d, <<: *a%d}\n", i, i, i-1, i-1, i-1)
	}
	return map[string]string{
		"100 MB":                 strings.Repeat("- aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", 2<<20),
		"lists 10,000 deep":      strings.Repeat("[", 10_000),
		"lists closed too":       strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000),
		"maps 10,000 deep":       strings.Repeat("{a: ", 10_000),
		"maps behind quotes":     strings.Repeat("{\"}\": ", 10_000),
		"maps behind comments":   strings.Repeat("{a: # }\n", 10_000),
		"block lists deep":       strings.Repeat("- ", 10_000) + "x",
		"ten to the thirty":      billion.String(),
		"merges of merges":       merges.String(),
		"indented 2,000 deep":    indented(2_000),
		"aliases of a long list": "a: &a [" + strings.Repeat("x,", 10_000) + "x]\nb: [" + strings.Repeat("*a,", 10_000) + "*a]\n",
	}
}

func indented(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// A bomb is refused without being expanded. The memory is what was allocated in all, not only what was
// held at once; how long it takes the benchmark says.
func TestBombsAreRefused(t *testing.T) {
	for name, text := range bombs() {
		data := []byte(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		docs, problems := ParseYAML("x.yml", data)
		runtime.ReadMemStats(&after)
		if problems.Err() == nil || len(docs) > 0 {
			t.Errorf("%s: it was read", name)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 64 {
			t.Errorf("%s: it took %d MB", name, used)
		}
	}
}

// A file of nothing but mistakes is answered with as many as anybody reads, in one piece.
func TestTheNumberOfProblemsIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"values":         "applications: [" + strings.Repeat("x,", maxNodes) + "x]",
		"wrong apps":     "applications: [" + strings.Repeat("x,", 5000) + "x]",
		"duplicate keys": strings.Repeat("a: 1\n", 5000),
		"unknown keys":   "applications:\n- name: a\n" + manyLines("  k%d: 1\n", 5000),
		"variables":      "applications:\n- name: a\n  env:\n" + manyLines("    K%d: ((x))\n", 5000),
		"env names":      "applications:\n- name: a\n  env:\n" + manyLines("    VCAP_%d: x\n", 5000),
	} {
		_, problems := load(t, text)
		if problems.Err() == nil || len(problems) > maxProblems+1 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
		last := problems[len(problems)-1]
		if len(problems) > 1 && last.Rule != "more-problems" {
			t.Errorf("%s: the last of %d problems is %v", name, len(problems), last)
		}
	}
}

func manyLines(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func BenchmarkBombs(b *testing.B) {
	for name, text := range bombs() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			data := []byte(text)
			for b.Loop() {
				ParseYAML("x.yml", data)
			}
		})
	}
}

// What ParseYAML returns can be walked without care: no aliases, no cycles, plain scalars.
func FuzzParseYAML(f *testing.F) {
	for _, e := range exchanges(f) {
		f.Add([]byte(e.Manifest))
	}
	for _, s := range []string{"a: &x [*x]", "{<<: [&a {b: 1}, *a]}", "? - a\n: b", "!!binary aGk=", "--- |\n x\n--- >\n y", "a: !!str\nb: &c !!null", "\xef\xbb\xbfa: 1", "a: 12:30\nb: 0b1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		docs, problems := ParseYAML("x.yml", data)
		for _, p := range problems {
			if p.Message == "" || p.Rule == "" || p.Text() == "" {
				t.Fatalf("an empty problem: %#v", p)
			}
		}
		nodes := 0
		var walk func(n *yaml.Node)
		walk = func(n *yaml.Node) {
			if nodes++; nodes > 200_000 { // legal, only long to walk
				return
			}
			switch n.Kind {
			case yaml.ScalarNode:
				switch n.Tag {
				case tagNull, tagBool, tagInt, tagFloat, tagStr:
				default:
					t.Fatalf("a scalar with the tag %q", n.Tag)
				}
			case yaml.MappingNode, yaml.SequenceNode:
			default:
				t.Fatalf("a node of kind %v", n.Kind)
			}
			for _, c := range n.Content {
				walk(c)
			}
		}
		for _, doc := range docs {
			walk(doc)
		}
	})
}
