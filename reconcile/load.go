package reconcile

import (
	"io/fs"
	"path"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/source"
)

// Load reads the manifests of a target out of a snapshot. All problems come at once.
func Load(t *Target, snap *source.Snapshot) (manifest.Set, manifest.Problems) {
	opts := t.Options
	var inTree []manifest.VarsFile
	for _, name := range t.VarsIn {
		name = path.Clean(name)
		data, err := fs.ReadFile(snap.Files, name)
		if err != nil {
			return manifest.Set{}, manifest.Problems{{
				Origin: manifest.Origin{File: name}, Severity: manifest.SeverityError, Rule: "vars-file-missing",
				Message: "the vars file cannot be read from " + t.Source.String() + ": " + err.Error(),
				Hint:    "vars_files are paths from the root of the source",
			}}
		}
		inTree = append(inTree, manifest.VarsFile{Name: name, Data: data})
	}
	opts.VarsFiles = append(inTree, opts.VarsFiles...)
	root := path.Clean(t.Path)
	if t.Path == "" {
		root = "."
	}
	return manifest.Load(snap.Files, root, opts)
}
