package schemas

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func TestEverySchemaCompilesFromItsPublishedAddress(t *testing.T) {
	files, err := fs.Glob(FS, "*"+suffix)
	if err != nil || len(files) < 2 {
		t.Fatalf("schemas: %v %v", files, err)
	}
	for _, file := range files {
		schema, err := Compile(file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if want := base + file; schema.Location != want+"#" {
			t.Errorf("%s is published as %s, expected %s", file, schema.Location, want)
		}
	}
}

// A schema of what people write is what an editor shows meanwhile: every property explains itself and gives an
// example, and every example is valid.
func TestEveryPropertyIsExplainedByADescriptionAndValidExamples(t *testing.T) {
	for _, file := range []string{"config" + suffix, "manifest-v1" + suffix, "manifest-v2" + suffix} {
		data, err := FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		walk(t, file, "", doc, doc)
	}
}

func walk(t *testing.T, file, at string, node, doc any) {
	m, ok := node.(map[string]any)
	if !ok {
		return
	}
	if properties, ok := m["properties"].(map[string]any); ok {
		for name, p := range properties {
			property, where := p.(map[string]any), at+"/properties/"+strings.ReplaceAll(name, "/", "~1")
			described, exemplified := explained(property, doc)
			if !described {
				t.Errorf("%s#%s has no description", file, where)
			}
			if !exemplified {
				t.Errorf("%s#%s has no examples", file, where)
			}
			examples, _ := property["examples"].([]any)
			for i, example := range examples {
				check(t, file, where, i, example)
			}
		}
	}
	for key, child := range m {
		switch c := child.(type) {
		case map[string]any:
			walk(t, file, at+"/"+key, c, doc)
		case []any:
			for i, e := range c {
				walk(t, file, fmt.Sprintf("%s/%s/%d", at, key, i), e, doc)
			}
		}
	}
}

// explained looks at the property and at what it refers to.
func explained(property map[string]any, doc any) (described, exemplified bool) {
	for property != nil {
		described = described || property["description"] != nil
		exemplified = exemplified || property["examples"] != nil
		ref, _ := property["$ref"].(string)
		if ref == "" || property["properties"] != nil {
			break
		}
		next := doc
		for _, token := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			next = next.(map[string]any)[token]
		}
		property, _ = next.(map[string]any)
	}
	// A map of further properties is explained by them.
	return described, exemplified || property["properties"] != nil || property["additionalProperties"] != nil
}

// check validates an example of the property at where, with the schema there.
func check(t *testing.T, file, where string, i int, example any) {
	t.Helper()
	escaped := strings.ReplaceAll(where, "$", "%24")
	sub, err := compileAt(file, escaped)
	if err != nil {
		t.Errorf("%s#%s: %v", file, where, err)
		return
	}
	if err := sub.Validate(example); err != nil {
		t.Errorf("%s#%s: example %d is not valid: %v", file, where, i, err)
	}
}

func TestUnknownSchemas(t *testing.T) {
	if _, err := Compile("nope"); err == nil || !strings.Contains(err.Error(), "nope.schema.json is not embedded") {
		t.Errorf("got %v", err)
	}
	if _, _, ok := Keyword("https://example.com/nope.schema.json#/type"); ok {
		t.Error("a keyword was found in a schema that is not there")
	}
	if value, in, ok := Keyword(base + "manifest-v1.schema.json#/$defs/process/required"); !ok || fmt.Sprint(value) != "[type]" || in["title"] == nil {
		t.Errorf("got %v %v %v", value, in, ok)
	}
}
