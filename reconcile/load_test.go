package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/source"
)

// TestWhichValueWins: vars files of the source, then the places of secret values, then the files that were handed over,
// then single values; and every file was opened before. A place is asked only for the names that the manifests mention.
func TestWhichValueWins(t *testing.T) {
	snap := &source.Snapshot{Files: fstest.MapFS{
		"manifest.yml": {Data: []byte("applications: [{name: shop, no-route: true, env: {A: ((a)), B: ((b)), C: ((c)), D: ((d)), E: ((e.key))}}]\n")},
		"tree.yml":     {Data: []byte("sealed\na: tree\nb: tree\nc: tree\nd: tree\n")},
	}}
	var asked []string
	target := &reconcile.Target{
		Path: "manifest.yml", VarsIn: []string{"./tree.yml"},
		Options: manifest.Options{
			Org: "acme", Space: "dev", Vars: map[string]any{"d": "given"}, VarsFiles: []manifest.VarsFile{{Name: "handed.yml", Data: []byte("sealed\nc: handed\nd: handed\n")}},
		},
		Open: func(_ context.Context, f manifest.VarsFile) (manifest.VarsFile, error) {
			plain, ok := bytes.CutPrefix(f.Data, []byte("sealed\n"))
			if !ok {
				t.Errorf("%s was opened already", f.Name)
			}
			return manifest.VarsFile{Name: f.Name, Data: plain, Secret: true}, nil
		},
		Values: func(_ context.Context, files fs.FS, names []string) ([]manifest.VarsFile, error) {
			asked = names
			if _, err := fs.Stat(files, "tree.yml"); err != nil {
				t.Error(err)
			}
			return []manifest.VarsFile{{Name: "place", Data: []byte("b: place\nc: place\nd: place\ne: {key: place}\n"), Secret: true}}, nil
		},
	}
	for range 2 { // the target is the same afterwards
		set, problems, err := reconcile.Load(t.Context(), target, snap)
		if err != nil || problems.Err() != nil {
			t.Fatal(err, problems.Text())
		}
		app := set.Of(manifest.KindApp)[0]
		for name, want := range map[string]string{"A": "tree", "B": "place", "C": "handed", "D": "given", "E": "place"} {
			pointer := "/environment_variables/" + name
			if got, _ := manifest.Lookup(app.Spec, pointer); got != want {
				t.Errorf("%s: got %v, expected %s", name, got, want)
			}
			if secret := name != "D"; app.IsSecret(pointer) != secret {
				t.Errorf("%s: secret is %v", name, !secret)
			}
		}
		if want := []string{"a", "b", "c", "e"}; !slices.Equal(asked, want) {
			t.Errorf("asked for %v, expected %v", asked, want)
		}
	}
}

// TestNoValuesNoRun: when a place cannot be reached, nothing is loaded at all.
func TestNoValuesNoRun(t *testing.T) {
	snap := &source.Snapshot{Files: fstest.MapFS{"manifest.yml": {Data: []byte("applications: [{name: shop, no-route: true}]\n")}}}
	down := errors.New("vault: no answer")
	for name, target := range map[string]*reconcile.Target{
		"a place": {Values: func(context.Context, fs.FS, []string) ([]manifest.VarsFile, error) { return nil, down }},
		"a file": {
			Open:    func(context.Context, manifest.VarsFile) (manifest.VarsFile, error) { return manifest.VarsFile{}, down },
			Options: manifest.Options{VarsFiles: []manifest.VarsFile{{Name: "x"}}},
		},
	} {
		set, problems, err := reconcile.Load(t.Context(), target, snap)
		if !errors.Is(err, down) || len(problems) != 0 || set.Len() != 0 {
			t.Errorf("%s: got %v, %v, %v", name, set, problems, err)
		}
	}
}
