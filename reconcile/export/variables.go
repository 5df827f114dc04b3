package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/fettle-gitops/fettle/manifest"
)

// Variable stands in a manifest in the place of a value.
type Variable struct {
	Name   string
	Of     string // what it is, for people
	Value  any    // nil: the platform does not tell
	Secret bool   // else it only has the look of a variable, and may be shown
}

// VarsFile writes the variables as a vars file. What has no value, and without values what is secret, is left for people to
// fill in: as a comment, because a variable without a line of its own is an error, and one that is null may pass.
func (e Export) VarsFile(values bool) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# Values of the ((variables)) in the exported manifests. Keep it out of Git, or encrypt it (SOPS, age).\n")
	text := json.NewEncoder(&out) // JSON is YAML that every reader takes for the same
	text.SetEscapeHTML(false)
	for _, v := range e.Variables {
		fmt.Fprintf(&out, "\n%s\n", comment([]string{v.Of}))
		if v.Value == nil || v.Secret && !values {
			fmt.Fprintf(&out, "# %s: (fill in)\n", v.Name)
			continue
		}
		fmt.Fprintf(&out, "%s: ", v.Name)
		if err := text.Encode(v.Value); err != nil {
			return nil, fmt.Errorf("the value of the variable %s cannot be written", v.Name) // the cause could quote it
		}
	}
	return out.Bytes(), nil
}

var placeholder = regexp.MustCompile(`\(\(!?[-.\w\pL]+\)\)`)

// hide puts variables into the places of secrets.
func (w *writer) hide(o *manifest.Object) {
	for _, key := range slices.Sorted(maps.Keys(o.Spec)) {
		if key != "destinations" && key != "options" && key != "share_to" {
			o.Spec[key] = w.hidden(o, []string{key}, o.Spec[key])
		}
	}
}

// hidden is v, which stands at keys of o, with variables.
func (w *writer) hidden(o *manifest.Object, keys []string, v any) any {
	last := keys[len(keys)-1]
	secret := o.IsSecret(manifest.Pointer(keys...))
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			child := w.hidden(o, append(slices.Clone(keys), k), v[k])
			if placeholder.MatchString(k) {
				k = w.add(o.Ref, append(slices.Clone(keys), "key"), k, false)
			}
			m[k] = child
		}
		return m
	case string:
		// A buildpack is a URL because it begins like one.
		if scheme, rest, ok := strings.Cut(v, "://"); ok && keys[0] == "lifecycle" && (secret || placeholder.MatchString(v)) {
			return scheme + "://" + w.add(o.Ref, keys, rest, secret)
		}
		named := secret || len(keys) > 1 && manifest.LooksSecret(last, v)
		before, password, after, isURL := manifest.SplitPassword(v)
		switch {
		case isURL && !secret && !placeholder.MatchString(v) && !manifest.LooksSecret(last, before+after):
			return before + w.add(o.Ref, append(slices.Clone(keys), "password"), password, true) + after
		case named, isURL, placeholder.MatchString(v):
			return w.add(o.Ref, keys, v, named || isURL)
		}
	case []any:
		if secret && keys[0] == "credentials" {
			return w.add(o.Ref, keys, v, true)
		}
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = w.hidden(o, append(slices.Clone(keys), fmt.Sprint(i)), e)
		}
		return list
	default:
		if secret && v != nil {
			return w.add(o.Ref, keys, v, true)
		}
	}
	return v
}

// add makes a variable of a value, and returns the text that stands for it.
func (w *writer) add(ref manifest.Ref, keys []string, value any, secret bool) string {
	text := w.variable(ref, keys, value)
	w.export.Variables[len(w.export.Variables)-1].Secret = secret
	return text
}

// variable makes a variable named after what stands at keys of ref.
func (w *writer) variable(ref manifest.Ref, keys []string, value any) string {
	of := words(ref) + " of " + ref.Space() + ": " + strings.Join(keys, " ")
	if len(keys) > 1 {
		keys = keys[1:] // environment_variables, credentials, metadata, processes: that much is clear
	}
	parts := append([]string{w.prefix, ref.Name()}, keys...)
	name := identifier(strings.Join(parts, "_"))
	for i, free := 2, name; ; i++ {
		if !w.names[free] {
			name = free
			break
		}
		free = fmt.Sprintf("%s_%d", name, i)
	}
	w.names[name] = true
	w.export.Variables = append(w.export.Variables, Variable{Name: name, Of: of, Value: value, Secret: true})
	return "((" + name + "))"
}

// identifier makes a name that people like to read: lower case, with underscores.
func identifier(text string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && (r < '0' || r > '9') })
	if len(words) == 0 {
		return "value"
	}
	return strings.Join(words, "_")
}
