package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/schemas"
)

// The path from YAML to problems serves every schema, the agent's configuration too.
func TestMistakesInTheConfiguration(t *testing.T) {
	schema, err := schemas.Compile("config")
	if err != nil {
		t.Fatal(err)
	}
	var report strings.Builder
	for _, c := range []struct{ name, text string }{
		{"an empty map", "{}\n"},
		{"nothing but a text", "hello\n"},
		{"an unknown key", "foundations: {f: {api: https://api.example.com, usrname: x, password: {env: P}}}\nsources: {s: {git: x}}\ntargets: {t: {source: s, foundation: f}}\n"},
		{"a duration", "shutdown_timeout: soon\nfoundations: {f: {api: https://api.example.com}}\nsources: {s: {git: x, poll: 30}}\ntargets: {t: {source: s, foundation: f}}\n"},
		{"neither git nor dir", "foundations: {f: {api: https://api.example.com}}\nsources: {s: {branch: main}}\ntargets: {t: {source: s, foundation: f}}\n"},
		{"both git and dir", "foundations: {f: {api: https://api.example.com}}\nsources: {s: {git: x, dir: y}}\ntargets: {t: {source: s, foundation: f}}\n"},
		{"one of a pair", "foundations: {f: {api: https://api.example.com, username: x}}\nsources: {s: {git: x}}\ntargets: {t: {source: s, foundation: f}}\n"},
		{"a bad name", "foundations: {-f-: {api: https://api.example.com}}\nsources: {s: {git: x}}\ntargets: {t: {source: s, foundation: f}}\n"},
		{"a choice", "foundations: {f: {api: api.example.com}}\nsources: {s: {git: x}}\ntargets: {t: {source: s, foundation: f, mode: aply}}\n"},
		{"a secret written out", "foundations: {f: {api: https://api.example.com, username: x, password: hunter2}}\nsources: {s: {git: x, password: 4711}}\ntargets: {t: {source: s, foundation: f}}\n"},
	} {
		docs, problems := ParseYAML("fettle.yml", []byte(c.text))
		if len(problems) > 0 {
			t.Fatalf("%s: %v", c.name, problems)
		}
		problems = ValidateSchema("fettle.yml", docs[0], schema).WithExcerpts("fettle.yml", []byte(c.text))
		if problems.Err() == nil {
			t.Errorf("%s: nothing was found", c.name)
		}
		if text := problems.Text(); strings.Contains(text, "hunter2") || strings.Contains(text, "4711") {
			t.Errorf("%s: a secret is shown:\n%s", c.name, text)
		}
		fmt.Fprintf(&report, "── %s\n%s\n\n", c.name, problems.Text())
	}
	golden(t, "config.golden", report.String())
}
