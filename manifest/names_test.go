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
