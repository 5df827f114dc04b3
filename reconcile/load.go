package reconcile

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/source"
)

// Load reads the manifests of a target out of a snapshot. All problems come at once. The error says why the values of variables
// could not be had, which is nobody's mistake in a manifest.
func Load(ctx context.Context, t *Target, snap *source.Snapshot) (manifest.Set, manifest.Problems, error) {
	opts := t.Options
	root := path.Clean(t.Path)
	if t.Path == "" {
		root = "."
	}
	var inTree []manifest.VarsFile
	var missing manifest.Problems
	read := func(what, key, name string) []byte {
		data, err := fs.ReadFile(snap.Files, name)
		if err != nil {
			missing = append(missing, manifest.Problem{
				Origin: manifest.Origin{File: name}, Severity: manifest.SeverityError, Rule: strings.ReplaceAll(what, " ", "-") + "-missing",
				Message: "the " + what + " cannot be read from " + t.Source.String() + ": " + err.Error(),
				Hint:    key + " are paths from the root of the source",
			})
		}
		return data
	}
	for _, name := range t.VarsIn {
		name = path.Clean(name)
		inTree = append(inTree, manifest.VarsFile{Name: name, Data: read("vars file", "vars_files", name)})
	}
	var patches []manifest.PatchFile
	for _, name := range t.Patches {
		name = path.Clean(name)
		patches = append(patches, manifest.PatchFile{Name: name, Data: read("patch file", "patches", name)})
	}
	if len(missing) > 0 {
		return manifest.Set{}, missing, nil
	}
	opts.Patches = slices.Concat(patches, opts.Patches)
	given := slices.Clone(opts.VarsFiles)
	for _, files := range [][]manifest.VarsFile{inTree, given} {
		for i := 0; i < len(files) && t.Open != nil; i++ {
			opened, err := t.Open(ctx, files[i])
			if err != nil {
				return manifest.Set{}, nil, err
			}
			files[i] = opened
		}
	}
	opts.VarsFiles = slices.Concat(inTree, given)
	if t.Values != nil {
		values, err := t.Values(ctx, snap.Files, manifest.VariablesIn(snap.Files, root, opts))
		if err != nil {
			return manifest.Set{}, nil, err
		}
		opts.VarsFiles = slices.Concat(inTree, values, given)
	}
	set, problems := manifest.Load(snap.Files, root, opts)
	return set, problems, nil
}
