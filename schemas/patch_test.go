package schemas

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write manifest-patch.schema.json anew")

// The schema of patch files follows from those of manifests: go test ./schemas -update writes it.
func TestThePatchSchemaFollowsFromTheManifests(t *testing.T) {
	const file = "manifest-patch" + suffix
	var want bytes.Buffer
	w := json.NewEncoder(&want)
	w.SetEscapeHTML(false)
	w.SetIndent("", " ")
	if err := w.Encode(patchSchema(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what follows from the manifests' schemas (%v): go test ./schemas -update", file, err)
	}
}

// patchSchema is the schema of version 2 where a patch says so, and otherwise of version 1; both relaxed.
func patchSchema(t *testing.T) map[string]any {
	version := func(name string) map[string]any {
		data, err := Read("manifest-" + name)
		if err != nil {
			t.Fatal(err)
		}
		moved := strings.ReplaceAll(string(data), `"#/$defs/`, `"#/$defs/`+name+`/$defs/`)
		var root map[string]any
		if err := json.Unmarshal([]byte(moved), &root); err != nil {
			t.Fatal(err)
		}
		for _, keyword := range []string{"$schema", "$id"} {
			delete(root, keyword)
		}
		relaxer{prefix: "#/$defs/" + name + "/$defs/", entries: map[string]bool{}}.root(root)
		return root
	}
	return map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"$id":         URL("manifest-patch"),
		"title":       "Patch of a Cloud Foundry app manifest, version 1 or 2",
		"description": "What is different in one environment: maps and lists of named entries are merged, null removes, other values replace.",
		"type":        "object",
		"if":          map[string]any{"properties": map[string]any{"version": map[string]any{"const": 2}}, "required": []any{"version"}},
		"then":        map[string]any{"$ref": "#/$defs/v2"},
		"else":        map[string]any{"$ref": "#/$defs/v1"},
		"$defs":       map[string]any{"v1": version("v1"), "v2": version("v2")},
	}
}

// relaxer turns the schema of a manifest into that of its patches. Of what is required only the names of list entries
// remain, null is a value of all else, and every map may hold $patch.
type relaxer struct {
	prefix  string          // of the references to definitions
	entries map[string]bool // the definitions of list entries
}

// identities are the keys that may name an entry of a list.
var identities = []any{"name", "type", "route", "url", "app", "org"}

func (r relaxer) root(root map[string]any) {
	r.find(root)
	loosen(root)
	for name, p := range root["properties"].(map[string]any) {
		r.schema(p.(map[string]any), false, name == "meta")
	}
	for name, d := range root["$defs"].(map[string]any) {
		r.schema(d.(map[string]any), r.entries[name], !r.entries[name])
	}
}

// find notes which definitions are those of list entries.
func (r relaxer) find(node any) {
	switch n := node.(type) {
	case []any:
		for _, e := range n {
			r.find(e)
		}
	case map[string]any:
		if items, ok := n["items"].(map[string]any); ok {
			if ref, ok := items["$ref"].(string); ok {
				r.entries[strings.TrimPrefix(ref, r.prefix)] = true
			}
		}
		for _, e := range n {
			r.find(e)
		}
	}
}

// loosen takes away what asks for something to be there, and returns what was required.
func loosen(s map[string]any) []any {
	required, _ := s["required"].([]any)
	for _, keyword := range []string{"required", "minItems", "minProperties"} {
		delete(s, keyword)
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		all, _ := s[keyword].([]any)
		if len(all) > 0 && !slices.ContainsFunc(all, func(e any) bool { m := e.(map[string]any); return len(m) > 1 || m["required"] == nil }) {
			delete(s, keyword)
		}
	}
	return required
}

func (r relaxer) schema(s map[string]any, entry, null bool) {
	required := slices.DeleteFunc(loosen(s), func(key any) bool { return !entry || !slices.Contains(identities, key) })
	if null {
		allowNull(s)
	}
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		r.schema(p.(map[string]any), false, !slices.Contains(required, any(name)))
	}
	if values, ok := s["additionalProperties"].(map[string]any); ok {
		r.schema(values, false, true)
	}
	if items, ok := s["items"].(map[string]any); ok {
		r.schema(items, true, false)
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		all, _ := s[keyword].([]any)
		for _, e := range all {
			r.schema(e.(map[string]any), entry, null)
		}
	}
	if !slices.Contains(types(s), "object") {
		return
	}
	if properties == nil {
		properties = map[string]any{}
		s["properties"] = properties
	}
	directive := map[string]any{
		"title": "replace or merge", "description": "replace: take this map as it stands. merge, the default: lay it over the manifest's.",
		"enum": []any{"replace", "merge"}, "examples": []any{"replace"},
	}
	if entry {
		directive = map[string]any{
			"title":       "delete, replace or merge",
			"description": "delete: remove this entry. replace: take it, or as an entry of its own the whole list, as it stands. merge is the default.",
			"enum":        []any{"delete", "replace", "merge"}, "examples": []any{"delete", "replace"},
		}
	}
	properties["$patch"] = directive
	if names, ok := s["propertyNames"]; ok {
		s["propertyNames"] = map[string]any{"anyOf": []any{map[string]any{"const": "$patch"}, names}}
	}
	if len(required) > 0 { // an entry that is nothing but $patch: replace speaks of the list
		s["if"] = map[string]any{"not": map[string]any{"properties": map[string]any{"$patch": map[string]any{"const": "replace"}}, "required": []any{"$patch"}}}
		s["then"] = map[string]any{"required": required}
	}
}

func types(s map[string]any) []any {
	if t, ok := s["type"].(string); ok {
		return []any{t}
	}
	list, _ := s["type"].([]any)
	return list
}

func allowNull(s map[string]any) {
	if list := types(s); len(list) > 0 && !slices.Contains(list, "null") {
		s["type"] = append(list[:len(list):len(list)], "null")
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, nil) {
		s["enum"] = append(enum, nil)
	}
}
