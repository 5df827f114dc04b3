package manifest

import (
	"fmt"
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
	names := map[string]bool{}
	eachPlaceholder(files, path, opts, func(keys []string) { names[keys[0]] = true })
	for name := range opts.Vars {
		delete(names, name)
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// KeptVariables gives every variable that the manifests at path mention, and that opts does not set, a text that may stand
// wherever a text may: in a name, a host, a domain, a label. restore puts the variables back into what was written of them.
func KeptVariables(files fs.FS, path string, opts Options) (vars map[string]any, restore func(string) string) {
	set, _ := gather(opts.Vars, opts.VarsFiles)
	vars = map[string]any{}
	var back []string
	eachPlaceholder(files, path, opts, func(keys []string) {
		if set[keys[0]] != nil || slices.Contains(keys, "") {
			return
		}
		at := vars
		for _, k := range keys[:len(keys)-1] {
			next, ok := at[k].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[k] = next
			}
			at = next
		}
		last := keys[len(keys)-1]
		if at[last] != nil {
			return
		}
		token := fmt.Sprintf("qzv%d.vzq", len(back)) // with a dot, because a route that is one variable needs a domain
		at[last] = token
		back = append(back, token, "(("+strings.Join(keys, ".")+"))")
	})
	return vars, strings.NewReplacer(back...).Replace
}

// eachPlaceholder visits the ((variables)) of the manifests at path: of ((db.password)) it is [db password].
func eachPlaceholder(files fs.FS, path string, opts Options, visit func(keys []string)) {
	l := loader{files: files, opts: opts}
	seen := map[*yaml.Node]bool{} // what aliases share is looked at once
	var look func(n *yaml.Node)
	look = func(n *yaml.Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, m := range placeholder.FindAllStringSubmatch(n.Value, -1) {
			visit(strings.Split(strings.TrimPrefix(m[1], "!"), "."))
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
	for _, p := range opts.Patches {
		docs, _ := parseYAML(p.Name, p.Data)
		for _, doc := range docs {
			look(doc)
		}
	}
}
