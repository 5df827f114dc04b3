package manifest

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

func TestParseVar(t *testing.T) {
	for _, c := range []struct {
		arg   string
		name  string
		value any
	}{
		{"host=shop", "host", "shop"},
		{"n=3", "n", int64(3)},
		{"ratio=1.5", "ratio", 1.5},
		{"on=yes", "on", true},
		{"text='3'", "text", "'3'"}, // as cf push: a text is taken as it stands, quotes included
		{"url=https://x.example.com/?a=b", "url", "https://x.example.com/?a=b"},
		{"date=2020-01-02", "date", "2020-01-02"},
		{"list=[1, two]", "list", []any{int64(1), "two"}},
		{"map={a: 1}", "map", map[string]any{"a": int64(1)}},
		{"nothing=null", "nothing", nil},
		{"odd=a: b: c", "odd", "a: b: c"},
		{"lines=one\ntwo", "lines", "one\ntwo"},
		{"at=@x", "at", "@x"},
	} {
		name, value, err := ParseVar(c.arg)
		if err != nil || name != c.name || !cmp.Equal(value, c.value) {
			t.Errorf("%s: got %s = %#v (%v), expected %s = %#v", c.arg, name, value, err, c.name, c.value)
		}
	}
	for arg, want := range map[string]string{
		"host":     `expected NAME=VALUE, got "host"`,
		"=x":       `expected NAME=VALUE, got ""`,
		"host=":    "the variable host has no value: expected host=VALUE",
		"list=[1,": "the value of the variable list is a list or a map that is not valid YAML: this is not valid YAML: the list [ … ] that opens here is not closed",
	} {
		if _, _, err := ParseVar(arg); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, expected %s", arg, err, want)
		}
	}
}

// loadVars loads a manifest with variables of every origin.
func loadVars(text string, vars map[string]any, files ...VarsFile) (Set, Problems) {
	return Load(fakeFiles(text), "manifest.yml", Options{Org: "acme", Space: "dev", Vars: vars, VarsFiles: files})
}

func TestVariables(t *testing.T) {
	const text = `
applications:
- name: ((app.name))
  instances: ((count))
  memory: ((size))M
  env: ((env))
  no-route: ((hidden))
  routes:
  - route: ((app.name)).((domain))
  services: ((services))
  metadata: {labels: {"((key))": ((!app.name))-x}}
  command: "run ((count)) ((literal)) (( not one )) (()) "
`
	set, problems := loadVars(text,
		map[string]any{"domain": "example.com", "hidden": false},
		VarsFile{Name: "a.yml", Data: []byte("app: {name: shop}\nsize: 64\ncount: 9\nkey: tier\nliteral: ((size))\n")},
		VarsFile{Name: "b.yml", Data: []byte("count: 3\nenv: {A: 010, B: yes}\nservices: [db, {name: mail}]\ndomain: overruled.example.com\n")},
	)
	if err := problems.Err(); err != nil {
		t.Fatal(problems.Text())
	}
	app := set.Get(Ref{KindApp, "acme/dev/shop"})
	for pointer, want := range map[string]any{
		"/processes/web/instances":    int64(3),
		"/processes/web/memory_in_mb": int64(64),
		"/environment_variables/A":    "8",
		"/environment_variables/B":    "true",
		"/metadata/labels/tier":       "shop-x",
		"/processes/web/command":      "run 3 ((size)) (( not one )) (()) ", // values are not interpolated again
	} {
		if got, _ := Lookup(app.Spec, pointer); got != want {
			t.Errorf("%s: got %#v, expected %#v", pointer, got, want)
		}
	}
	if set.Get(Ref{KindRoute, "acme/dev/shop.example.com"}) == nil || len(set.Of(KindServiceBinding)) != 2 {
		t.Errorf("objects: %v", set.Objects())
	}
	if at := app.FieldOrigin("/environment_variables/A").String(); at != "manifest.yml:6:8" {
		t.Errorf("a value out of a variable stands where the variable is used, got %s", at)
	}
}

func TestVariableMistakes(t *testing.T) {
	var report strings.Builder
	for _, c := range []struct {
		name, text string
		vars       map[string]any
		files      []VarsFile
	}{
		{name: "missing, all of them", text: "applications:\n- name: a\n  memory: ((size))\n  command: run ((one)) and ((two))\n  env: {X: \"x ((one))\"}\n"},
		{name: "nearly right", text: "applications:\n- name: ((app_nam))\n", vars: map[string]any{"app_name": "a"}},
		{name: "a key that is not there", text: "applications:\n- name: ((app.title))\n  command: ((app.name))\n", vars: map[string]any{"app": map[string]any{"titel": "a", "name": "b"}}},
		{name: "a path into a text", text: "applications:\n- name: ((app.name))\n", vars: map[string]any{"app": "a"}},
		{name: "a list inside of a text", text: "applications:\n- name: a-((list))\n", vars: map[string]any{"list": []any{"x"}}},
		{name: "a boolean inside of a text", text: "applications:\n- name: a-((yes))\n", vars: map[string]any{"yes": true}},
		{name: "not used", text: "applications:\n- name: a\n  command: ((comand))\n", vars: map[string]any{"comand": "x", "size": 1, "comandd": "x"}, files: []VarsFile{{Name: "vars.yml", Data: []byte("a: 1\nunused: 2\n")}}},
		{name: "vars file is a list", text: "applications: [{name: a}]", files: []VarsFile{{Name: "vars.yml", Data: []byte("- a\n")}}},
		{name: "vars file is broken", text: "applications: [{name: a}]", files: []VarsFile{{Name: "vars.yml", Data: []byte("a: [1\nb: 2\n")}}},
		{name: "secret vars file is broken", text: "applications: [{name: a}]", files: []VarsFile{{Name: "secrets.yml", Secret: true, Data: []byte("a: \"hunter2\nb: 2\n")}}},
		{name: "a secret of the wrong shape", text: "applications:\n- name: a\n  memory: ((size))\n  instances: ((many))\n  stack: ((n))\n", files: []VarsFile{{Name: "secrets.yml", Secret: true, Data: []byte("size: hunter2\nmany: hunter2\nn: 4711\n")}}},
		{name: "a secret as a name", text: "applications:\n- name: ((s))\n- name: b\n  routes: [{route: ((s)).example.com}]\n  services: [((s))]\n  env: {((s)): 1}\n", files: []VarsFile{{Name: "secrets.yml", Secret: true, Data: []byte("s: hunter2\n")}}},
		{name: "two keys become one", text: "applications:\n- name: a\n  env: {((k)): 1, X: 2}\n", vars: map[string]any{"k": "X"}},
		{name: "a map as a key", text: "applications:\n- name: a\n  env: {((k)): 1}\n", vars: map[string]any{"k": map[string]any{}}},
	} {
		_, problems := loadVars(c.text, c.vars, c.files...)
		if strings.Contains(problems.Text(), "hunter2") || strings.Contains(problems.Text(), "4711") {
			t.Errorf("%s: a secret is shown:\n%s", c.name, problems.Text())
		}
		fmt.Fprintf(&report, "── %s\n%s\n\n", c.name, problems.Text())
	}
	golden(t, "variables.golden", report.String())
}

func TestValuesOfSecretFilesStaySecret(t *testing.T) {
	set, problems := loadVars(`
applications:
- name: a
  command: run --key ((key))
  instances: ((n))
  buildpacks: [plain, "https://((user)):((key))@example.com/bp.git"]
  env:
    HARMLESS: ((map.deep.value))
    GREETING: hello
    EMPTY_PASSWORD: ""
  metadata: {annotations: {a: ((key))}}
  sidecars: [{name: s, command: ((key)), process_types: [web]}]
`, map[string]any{"user": "u"}, VarsFile{Name: "s.yml", Secret: true, Data: []byte("key: hunter2\nn: 3\nmap: {deep: {value: x}}\n")})
	if problems.Err() != nil {
		t.Fatal(problems.Text())
	}
	app := set.Get(Ref{KindApp, "acme/dev/a"})
	want := map[string]bool{
		"/processes/web/command": true, "/processes/web/instances": true, "/lifecycle/buildpacks": true,
		"/environment_variables/HARMLESS": true, "/metadata/annotations/a": true, "/sidecars/s/command": true,
	}
	if diff := cmp.Diff(want, app.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestLooksSecret(t *testing.T) {
	for _, c := range []struct {
		key    string
		value  any
		secret bool
	}{
		{"DB_PASSWORD", "x", true},
		{"password", "x", true},
		{"PASSWD", "x", true},
		{"client-secret", "x", true},
		{"API_KEY", "x", true},
		{"APIKEY", "x", true},
		{"apiKey", "x", true},
		{"GITHUB_TOKEN", "x", true},
		{"CREDENTIALS", "x", true},
		{"SSH_PRIVATE_KEY", "x", true},
		{"AWS_SECRET_ACCESS_KEY", "x", true},
		{"DB_PWD", "x", true},
		{"PWD", "/home", false},
		{"PASSPHRASE", "x", true},
		{"SENTRY_DSN", "x", true},
		{"PIN_TOKEN", int64(4711), true},
		{"LOG_LEVEL", "info", false},
		{"KEY", "x", false},
		{"KEYBOARD", "x", false},
		{"AUTHOR", "x", false},
		{"DESCRIPTION", "x", false},
		{"ENABLE_TOKEN", "true", false},
		{"USE_SECRETS", false, false},
		{"PASSWORD", "", false},
		{"PASSWORD", nil, false},
		{"URL", "https://user:pw@example.com", true},
		{"REDIS", "redis://:pw@example.com:6379/0", true},
		{"URL", "https://example.com:8080/a@b", false},
		{"URL", "https://user@example.com", false},
		{"URL", "jdbc:postgresql://example.com/db", false},
		{"CERT", "-----BEGIN CERTIFICATE-----\nMII", false},
		{"CERT", "-----BEGIN RSA PRIVATE KEY-----\nMII", true},
		{"X", "ghp_0123456789abcdefghijABCDEFGHIJ0123", true},
		{"X", "AKIAIOSFODNN7EXAMPLE", true},
		{"list", []any{"a", "https://u:p@h"}, true},
		{"list", []any{"a"}, false},
		{"map", map[string]any{"password": "x"}, true},
		{"secrets", map[string]any{"a": "x"}, true},
		{"map", map[string]any{"a": "x"}, false},
	} {
		if got := LooksSecret(c.key, c.value); got != c.secret {
			t.Errorf("%s = %v: %v", c.key, c.value, got)
		}
	}
}

func FuzzInterpolate(f *testing.F) {
	f.Add("a: ((x))\nb: x((y.z))", "x: {a: 1}\ny: {z: 2}")
	f.Add("((x)): &a ((x))\nb: *a", "x: ((x))")
	f.Add("[((!x)), '((x))((y))', \"(((x)))\"]", "x: [((y))]\ny: true")
	f.Fuzz(func(t *testing.T, text, vars string) {
		if len(text)+len(vars) > 1<<14 {
			return
		}
		docs, problems := ParseYAML("x.yml", []byte(text))
		if problems.Err() != nil {
			return
		}
		all, _ := gather(nil, []VarsFile{{Name: "vars.yml", Data: []byte(vars)}})
		for _, doc := range docs {
			in := interpolate("x.yml", doc, all)
			if in.tooMuch {
				continue
			}
			var count int
			var walk func(n *yaml.Node)
			walk = func(n *yaml.Node) {
				if count++; count > 100_000 {
					return
				}
				if n.Kind == yaml.ScalarNode && n.Tag == tagStr && !in.done[n] && placeholder.MatchString(n.Value) {
					t.Fatalf("%q was not looked at", n.Value)
				}
				for _, c := range n.Content {
					walk(c)
				}
			}
			walk(doc)
			// Without a problem no variable was left open.
			if len(in.problems) == 0 && len(in.open) > 0 {
				t.Fatal("a variable is open, and nobody said so")
			}
		}
	})
}

func TestWhereAManifestBelongs(t *testing.T) {
	app := []byte("applications: [{name: a}]")
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		path  string
		opts  Options
		want  string // the apps, or the problem
	}{
		{"options", fstest.MapFS{"manifest.yml": {Data: app}}, ".", Options{Org: "acme", Space: "dev"}, "acme/dev/a"},
		{"a folder", fstest.MapFS{"x/manifest.yml": {Data: app}}, "x", Options{Org: "acme", Space: "dev"}, "acme/dev/a"},
		{"a folder written as people do", fstest.MapFS{"x/manifest.yml": {Data: app}}, "./x/", Options{Org: "acme", Space: "dev"}, "acme/dev/a"},
		{"manifest.yaml", fstest.MapFS{"manifest.yaml": {Data: app}}, "", Options{Org: "acme", Space: "dev"}, "acme/dev/a"},
		{"keys", fstest.MapFS{"manifest.yml": {Data: []byte("org: acme\nspace: dev\napplications: [{name: a}]")}}, ".", Options{}, "acme/dev/a"},
		{"a key and an option", fstest.MapFS{"manifest.yml": {Data: []byte("space: dev\napplications: [{name: a}]")}}, ".", Options{Org: "acme"}, "acme/dev/a"},
		{"convention", fstest.MapFS{"orgs/acme/dev/x.yml": {Data: app}, "orgs/acme/prod/x.yaml": {Data: app}, "orgs/acme/README.md": {}}, ".", Options{}, "acme/dev/a acme/prod/a"},
		{"convention, one space of it", fstest.MapFS{"cf/orgs/acme/dev/x.yml": {Data: app}, "cf/orgs/acme/prod/x.yaml": {Data: app}}, "cf/orgs/acme/dev", Options{}, "acme/dev/a"},
		{"all files of a folder", fstest.MapFS{"x.yml": {Data: app}, "y.yaml": {Data: []byte("applications: [{name: b}]")}, ".hidden.yml": {}, "vars.yml": {Data: []byte("z: 1")}}, ".", Options{Org: "acme", Space: "dev", VarsFiles: []VarsFile{{Name: "./vars.yml"}}}, "acme/dev/a acme/dev/b"},
		{"several documents", fstest.MapFS{"manifest.yml": {Data: []byte("org: acme\nspace: dev\napplications: [{name: a}]\n---\norg: acme\nspace: prod\napplications: [{name: a}]")}}, ".", Options{}, "acme/dev/a acme/prod/a"},

		{"nowhere", fstest.MapFS{"manifest.yml": {Data: app}}, ".", Options{}, "manifest.yml:1:1: which org these apps belong to is said nowhere (write org: NAME at the top of the manifest, use -o and -s, or put the file into orgs/ORG/SPACE/)\n" +
			"manifest.yml:1:1: which space these apps belong to is said nowhere (write space: NAME at the top of the manifest, use -o and -s, or put the file into orgs/ORG/SPACE/)"},
		{"key against option", fstest.MapFS{"manifest.yml": {Data: []byte("org: other\napplications: [{name: a}]")}}, ".", Options{Org: "acme", Space: "dev", OrgOrigin: `target "shop-dev"`}, `manifest.yml:1:6: two orgs for the same apps: "other" by org: in manifest.yml:1:6, "acme" by target "shop-dev" (remove one of them, or make them the same)`},
		{"folder against option", fstest.MapFS{"orgs/acme/dev/x.yml": {Data: app}}, ".", Options{Org: "acme", Space: "prod", OrgOrigin: "-o/-s"}, `orgs/acme/dev/x.yml:1:1: two spaces for the same apps: "dev" by the folder orgs/acme/dev, "prod" by -o/-s (remove one of them, or make them the same)`},
		{"missing file", fstest.MapFS{"manifest.yml": {Data: app}}, "manifst.yml", Options{}, "manifst.yml: there is no file or folder manifst.yml (did you mean manifest.yml?)"},
		{"empty folder", fstest.MapFS{"x/y.txt": {}}, "x", Options{}, "x: the folder x contains no manifest (expected manifest.yml, orgs/ORG/SPACE/*.yml, or other *.yml files in it)"},
		{"a folder with manifests deeper down", fstest.MapFS{"x/deploy/manifest.yml": {Data: app}, "x/.git/manifest.yml": {Data: app}}, "x", Options{}, "x: the folder x contains no manifest (deeper down there is x/deploy/manifest.yml: name it, with -f, or with --path beside --git)"},
		{"out of the repository", fstest.MapFS{}, "../x", Options{}, "../x: the path ../x leads out of the repository"},
		{"twice in two files", fstest.MapFS{"x.yml": {Data: app}, "y.yml": {Data: []byte("applications:\n- name: A")}}, ".", Options{Org: "acme", Space: "dev"}, "y.yml:2:3: the apps a and A are the same, because names ignore case (it is first declared at x.yml:1:16)"},
		{"a slash in an org", fstest.MapFS{"manifest.yml": {Data: app}}, ".", Options{Org: "a/b", Space: "dev"}, `manifest.yml:1:1: the org name "a/b" contains a /; Cloud Foundry allows that, Fettle does not yet, because / separates the parts of its own names`},
	} {
		set, problems := Load(c.files, c.path, c.opts)
		got := problems.Error()
		if len(problems) == 0 {
			var names []string
			for _, o := range set.Of(KindApp) {
				names = append(names, o.Ref.Path)
			}
			got = strings.Join(names, " ")
		}
		if got != c.want {
			t.Errorf("%s:\ngot      %s\nexpected %s", c.name, got, c.want)
		}
	}
}
