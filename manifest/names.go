package manifest

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// VariablesIn lists, sorted, the variables that the manifests at path mention: of ((db.password)) it is db. Those that
// opts.Vars sets are left out, since nothing else can set them. It is for places that give values only by name.
//
// What is wrong with the manifests is not its business: Load says it.
func VariablesIn(files fs.FS, path string, opts Options) []string {
	names := map[string]bool{}
	eachPlaceholder(files, path, opts, func(_, _ string, keys []string) { names[keys[0]] = true })
	for name := range opts.Vars {
		delete(names, name)
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// KeptVariables gives every variable that the manifests at path mention, and that opts does not set, a value that may stand
// where it is written: a text in a name, a host, a domain, a label; a number where only a number may be, and a size where
// only a size may be. restore puts the variables back into what was written of them.
func KeptVariables(files fs.FS, path string, opts Options) (vars map[string]any, restore func(string) string) {
	set, _ := gather(opts.Vars, opts.VarsFiles)
	vars = map[string]any{}
	shapes := map[string]shape{}
	eachPlaceholder(files, path, opts, func(key, text string, keys []string) {
		name := strings.Join(keys, ".")
		shapes[name] = max(shapes[name], shapeAt(key, text))
	})
	var back []string
	eachPlaceholder(files, path, opts, func(_, _ string, keys []string) {
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
		name := strings.Join(keys, ".")
		token := fmt.Sprintf("qzv%d.vzq", len(back)) // with a dot, because a route that is one variable needs a domain
		at[last] = token
		if shapes[name] != anyText {
			number := unlikely + len(back) // odd, so that a size in megabytes stays one
			token, at[last] = strconv.Itoa(number), number
		}
		if shapes[name] == aSize {
			token += "M"
			at[last] = token
		}
		back = append(back, token, "(("+name+"))")
	})
	return vars, strings.NewReplacer(back...).Replace
}

// unlikely is a number that nobody writes, and that is still allowed for instances.
const unlikely = 1_937_461

// shape is what may stand for a variable, from the least particular on.
type shape int

const (
	anyText shape = iota
	aNumber
	aSize
)

// shapeAt is what a text that contains a variable has to be under a key.
func shapeAt(key, text string) shape {
	whole := placeholderWhole.MatchString(text)
	switch key = strings.ReplaceAll(key, "-", "_"); {
	case slices.Contains([]string{"memory", "disk_quota", "log_rate_limit_per_second"}, key) && whole:
		return aSize
	case slices.Contains([]string{"memory", "disk_quota", "log_rate_limit_per_second"}, key), // ((n))M
		whole && (key == "instances" || key == "timeout" || strings.HasSuffix(key, "_invocation_timeout") || strings.HasSuffix(key, "_interval")):
		return aNumber
	}
	return anyText
}

// eachPlaceholder visits the ((variables)) of the manifests at path, with the text that they stand in and its key: of
// ((db.password)) it is [db password].
func eachPlaceholder(files fs.FS, path string, opts Options, visit func(key, text string, keys []string)) {
	l := loader{files: files, opts: opts}
	seen := map[*yaml.Node]bool{} // what aliases share is looked at once
	var look func(n *yaml.Node, key string)
	look = func(n *yaml.Node, key string) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, m := range placeholder.FindAllStringSubmatch(n.Value, -1) {
			visit(key, n.Value, strings.Split(strings.TrimPrefix(m[1], "!"), "."))
		}
		for i, c := range n.Content {
			under := ""
			if n.Kind == yaml.MappingNode && i%2 == 1 {
				under = n.Content[i-1].Value
			}
			look(c, under)
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
			look(doc, "")
		}
	}
	for _, p := range opts.Patches {
		docs, _ := parseYAML(p.Name, p.Data)
		for _, doc := range docs {
			look(doc, "")
		}
	}
}
