package manifest

import (
	"io/fs"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// VariablesIn lists, sorted, the variables that the manifests at path mention: of ((db.password)) it is db. Those that
// opts.Vars sets are left out, since nothing else can set them. It is for places that give values only by name.
//
// What is wrong with the manifests is not its business: Load says it.
func VariablesIn(files fs.FS, path string, opts Options) []string {
	l := loader{files: files, opts: opts}
	names := map[string]bool{}
	seen := map[*yaml.Node]bool{} // what aliases share is looked at once
	var look func(n *yaml.Node)
	look = func(n *yaml.Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, m := range placeholder.FindAllStringSubmatch(n.Value, -1) {
			name, _, _ := strings.Cut(strings.TrimPrefix(m[1], "!"), ".")
			names[name] = true
		}
		for _, c := range n.Content {
			look(c)
		}
	}
	for _, file := range l.find(cleanPath(path)) {
		if info, err := fs.Stat(files, file); err != nil || info.Size() > MaxFileSize {
			continue
		}
		data, err := fs.ReadFile(files, file)
		if err != nil {
			continue
		}
		docs, _ := parseYAML(file, data)
		for _, doc := range docs {
			look(doc)
		}
	}
	for name := range opts.Vars {
		delete(names, name)
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}
