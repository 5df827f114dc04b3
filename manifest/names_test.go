package manifest

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestVariablesIn: a place that holds secrets is asked for what the manifests mention, and for nothing else.
func TestVariablesIn(t *testing.T) {
	files := fstest.MapFS{
		"orgs/acme/dev/shop.yml": {Data: []byte(`
# ((comment)) is none
applications:
- &app
  name: ((app.name))
  env: {((key)): "a ((!old)) and ((db.deep.password))", X: ((db)), Y: ((given)), Z: (( spaced ))}
- *app
---
applications:
- name: ((second-document))
`)},
		"orgs/acme/dev/broken.yml": {Data: []byte("a: [1\n")},
		"orgs/acme/dev/vars.yml":   {Data: []byte("x: ((not-a-manifest))\n")},
		"elsewhere.yml":            {Data: []byte("x: ((elsewhere))\n")},
	}
	got := VariablesIn(files, "", Options{Vars: map[string]any{"given": 1}, VarsFiles: []VarsFile{{Name: "orgs/acme/dev/vars.yml"}}})
	if diff := cmp.Diff([]string{"app", "db", "key", "old", "second-document"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := VariablesIn(files, "nowhere", Options{}); len(got) != 0 {
		t.Errorf("of a path that is not there: %v", got)
	}
}

// TestKeptVariables: a variable that no one gives a value survives where a number or a size has to be.
func TestKeptVariables(t *testing.T) {
	files := fstest.MapFS{"manifest.yml": {Data: []byte(`
applications:
- name: shop-((n))
  instances: ((n))
  memory: ((size.web))
  disk-quota: ((disk))M
  log-rate-limit-per-second: ((rate))
  timeout: ((wait))
  health-check-interval: ((every))
  env: {SIZE: "((size.web))", N: ((n))}
  routes: [{route: ((url))}]
`)}}
	vars, restore := KeptVariables(files, "manifest.yml", Options{})
	set, problems := Load(files, "manifest.yml", Options{Anywhere: true, Vars: vars})
	if problems.Err() != nil {
		t.Fatal(restore(problems.Text()))
	}
	text, err := MarshalV2(set.Objects())
	if err != nil {
		t.Fatal(err)
	}
	kept := fstest.MapFS{"v2.yml": {Data: []byte(restore(string(text)))}}
	values := Options{Org: "acme", Space: "dev", Vars: map[string]any{
		"n": 3, "size": map[string]any{"web": "512M"}, "disk": 100, "rate": "16K", "wait": 60, "every": 5, "url": "shop.example.com",
	}}
	want, problems := Load(files, "manifest.yml", values)
	if len(problems) > 0 {
		t.Fatal(problems.Text())
	}
	got, problems := Load(kept, "v2.yml", values)
	if len(problems) > 0 {
		t.Fatalf("%s\n%s", problems.Text(), kept["v2.yml"].Data)
	}
	specs := func(set Set) map[string]any {
		all := map[string]any{}
		for _, o := range set.Objects() {
			all[o.Ref.String()] = o.Spec
		}
		return all
	}
	if diff := cmp.Diff(specs(want), specs(got)); diff != "" {
		t.Errorf("(-v1 +v2)\n%s\n%s", diff, kept["v2.yml"].Data)
	}
}
