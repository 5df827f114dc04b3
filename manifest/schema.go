package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/schemas"
)

// ValidateSchema checks a document that ParseYAML returned against a schema of package schemas, and says what
// is wrong in plain words at the line and column where it stands. Excerpts are the caller's:
// Problems.WithExcerpts.
//
// A schema's title names what is expected ("a size with a unit, such as 512M") and becomes part of the
// message; where there is none, the first sentence of the description does.
func ValidateSchema(file string, doc *yaml.Node, schema *jsonschema.Schema) Problems {
	v := schemaCheck{file: file}
	return v.validate(doc, schema)
}

// schemaCheck turns what the validator reports into Problems.
type schemaCheck struct {
	file   string
	doc    *yaml.Node
	from   map[*yaml.Node]string // nodes that come from another file
	secret map[*yaml.Node]bool   // nodes whose value must not be quoted
	skip   map[*yaml.Node]bool   // nodes whose value is not known, so that nothing can be said of it

	problems Problems
}

func (c *schemaCheck) validate(doc *yaml.Node, schema *jsonschema.Schema) Problems {
	if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		doc = doc.Content[0]
	}
	c.doc = doc
	err := schema.Validate(Value(doc))
	var failed *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		c.walk(failed)
	default:
		c.add(doc, "", "schema", err.Error(), "")
	}
	// The validator goes through maps in random order, and may have several things to say about one scalar.
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Origin.Line, b.Origin.Line), cmp.Compare(a.Origin.Column, b.Origin.Column), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(c.problems, func(a, b Problem) bool {
		return a.Pointer == b.Pointer && a.Origin == b.Origin && (a.Message == b.Message || a.Rule != "required" && b.Rule != "required" && a.Rule != "unknown-field")
	})
}

func (c *schemaCheck) add(at *yaml.Node, pointer, rule, message, hint string) {
	if c.enough() {
		return
	}
	c.problems = append(c.problems, Problem{
		Origin: Origin{File: cmp.Or(c.from[at], c.file), Line: at.Line, Column: at.Column}, Severity: SeverityError,
		Rule: rule, Pointer: pointer, Message: message, Hint: hint,
	})
}

func (c *schemaCheck) enough() bool { return len(c.problems) > maxProblems }

// walk descends to the causes, which are what a person can act on.
func (c *schemaCheck) walk(e *jsonschema.ValidationError) {
	keyword := lastToken(e.AbsoluteKeywordLocation)
	if keyword == "anyOf" || keyword == "oneOf" {
		c.alternatives(e, keyword)
		return
	}
	if len(e.Causes) == 0 {
		c.leaf(e)
	}
	for _, cause := range e.Causes {
		c.walk(cause)
	}
}

func lastToken(location string) string { return location[strings.LastIndexByte(location, '/')+1:] }

// alternatives reports a choice that failed: where every alternative only asks for another key, that
// one of them is expected; else the alternative that came nearest, which is the one with the fewest mistakes
// and of the right type.
func (c *schemaCheck) alternatives(e *jsonschema.ValidationError, keyword string) {
	node, pointer := c.find(e.InstanceLocation)
	branches, _, _ := schemas.Keyword(e.AbsoluteKeywordLocation)
	var keys []string
	list, _ := branches.([]any)
	for _, b := range list {
		m, _ := b.(map[string]any)
		required, _ := m["required"].([]any)
		if len(m) != 1 || len(required) == 0 {
			keys = nil
			break
		}
		for _, k := range required {
			keys = append(keys, fmt.Sprint(k))
		}
	}
	if len(keys) > 0 {
		given := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return childOf(node, k) == nil })
		words := "expected one of the keys " + strings.Join(keys, ", ")
		if len(given) > 1 {
			words = "expected only one of the keys " + strings.Join(given, ", ")
		}
		c.add(node, pointer, keyword, label(pointer)+words, "")
		return
	}
	var best Problems
	for _, cause := range e.Causes {
		sub := schemaCheck{file: c.file, doc: c.doc, from: c.from, secret: c.secret, skip: c.skip}
		sub.walk(cause)
		wrongType := func(ps Problems) bool {
			return slices.ContainsFunc(ps, func(p Problem) bool { return p.Rule == "type" && p.Pointer == pointer })
		}
		if best == nil || len(sub.problems) > 0 && (wrongType(best) && !wrongType(sub.problems) || wrongType(best) == wrongType(sub.problems) && len(sub.problems) < len(best)) {
			best = sub.problems
		}
	}
	if len(best) == 0 {
		c.add(node, pointer, keyword, label(pointer)+"the value fits none of the forms that are possible here", "")
	}
	c.problems = append(c.problems, best...)
}

// leaf words one failed keyword.
func (c *schemaCheck) leaf(e *jsonschema.ValidationError) {
	if c.enough() {
		return
	}
	node, pointer := c.find(e.InstanceLocation)
	if strings.Contains(e.KeywordLocation, "/propertyNames") { // it is about the key, not its value
		parent, _ := c.find(e.InstanceLocation[:strings.LastIndexByte(e.InstanceLocation, '/')])
		for i := 0; i+1 < len(parent.Content); i += 2 {
			if parent.Content[i+1] == node {
				node = parent.Content[i]
			}
		}
	}
	if c.skip[node] {
		return
	}
	value, in, ok := schemas.Keyword(e.AbsoluteKeywordLocation)
	if !ok {
		c.add(node, pointer, "schema", label(pointer)+e.Message, "")
		return
	}
	keyword := lastToken(e.AbsoluteKeywordLocation)
	got := describe(node)
	secret := c.secret[node] || in["writeOnly"] == true
	if secret {
		got = "a value that is not shown here, as it may be secret"
	}
	switch {
	case keyword == "additionalProperties":
		c.unknownFields(node, pointer, in)
	case keyword == "required":
		for _, k := range value.([]any) {
			name := fmt.Sprint(k)
			if childOf(node, name) != nil || misspelled(node, in, name) {
				continue
			}
			message := fmt.Sprintf("%sthe key %s is missing", label(pointer), name)
			if properties, ok := in["properties"].(map[string]any); ok {
				if property, _ := properties[name].(map[string]any); property["title"] != nil {
					message += "; expected " + noun(property)
				}
			}
			c.add(node, pointer, "required", message, "")
		}
	case strings.Contains(e.AbsoluteKeywordLocation, "/dependentRequired/"):
		tokens := strings.Split(e.AbsoluteKeywordLocation, "/")
		if owner := strings.TrimSuffix(e.AbsoluteKeywordLocation, strings.Join(tokens[len(tokens)-2:], "/")); owner != "" {
			if _, in, ok := schemas.Keyword(strings.TrimSuffix(owner, "/")); ok && misspelled(node, in, fmt.Sprint(value)) {
				return
			}
		}
		c.add(node, pointer, "required", fmt.Sprintf("%sthe key %v is missing; it belongs to %s", label(pointer), value, tokens[len(tokens)-2]), "")
	case keyword == "enum":
		values, names := value.([]any), []string{}
		for _, v := range values {
			if v != nil {
				names = append(names, fmt.Sprint(v))
			}
		}
		expected := noun(in)
		if expected == "" {
			expected = strings.Join(names, " or ")
		}
		hint := ""
		if near := nearest(node.Value, names); near != "" && node.Kind == yaml.ScalarNode && !secret {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		c.add(node, pointer, "enum", fmt.Sprintf("%sexpected %s, got %s", label(pointer), expected, got), hint)
	case noun(in) != "":
		if (keyword == "minLength" || keyword == "minItems" || keyword == "minProperties") && (node.Value == "" || len(node.Content) > 0) {
			got = "an empty text"
			if node.Kind != yaml.ScalarNode {
				got = kindOf(node)
			}
		}
		if keyword == "minItems" || keyword == "minProperties" {
			got = strings.Replace(kindOf(node), "a ", "an empty ", 1)
		}
		if keyword == "maxLength" {
			got = fmt.Sprintf("%d characters", len([]rune(node.Value)))
		}
		hint := ""
		if keyword == "type" || keyword == "pattern" {
			hint = cmp.Or(c.quoteHint(node, in), c.typeHint(node, in))
		}
		c.add(node, pointer, keyword, fmt.Sprintf("%sexpected %s, got %s", label(pointer), noun(in), got), hint)
	case keyword == "type":
		c.add(node, pointer, "type", fmt.Sprintf("%sexpected %s, got %s", label(pointer), typeWords(value), got), cmp.Or(c.quoteHint(node, in), c.typeHint(node, in)))
	case secret: // the validator's message may quote it
		c.add(node, pointer, keyword, label(pointer)+"got "+got, "")
	default:
		c.add(node, pointer, keyword, label(pointer)+e.Message, "")
	}
}

// quoteHint helps where a number or a boolean stands in the place of a text.
func (c *schemaCheck) quoteHint(node *yaml.Node, in map[string]any) string {
	types, ok := in["type"].([]any)
	if !ok {
		types = []any{in["type"]}
	}
	if in["pattern"] != nil || in["enum"] != nil || in["writeOnly"] == true || c.secret[node] || node.Kind != yaml.ScalarNode || node.Tag == tagNull || !slices.Contains(types, any("string")) {
		return ""
	}
	return fmt.Sprintf("quote it: %q", node.Value)
}

var (
	missingSpace = regexp.MustCompile(`^([\w-]+):[^\s/]`)
	withUnit     = regexp.MustCompile(`^(\d+)\s*(s|sec|seconds?)$`)
)

// typeHint helps where a value has another shape than it should: how the same is written in the right one.
func (c *schemaCheck) typeHint(node *yaml.Node, in map[string]any) string {
	wants := func(kind string) bool {
		types, ok := in["type"].([]any)
		return ok && slices.Contains(types, any(kind)) || in["type"] == kind
	}
	text := node.Kind == yaml.ScalarNode && node.Tag == tagStr && in["writeOnly"] != true && !c.secret[node]
	switch {
	case node.Kind == yaml.SequenceNode && wants("object"):
		return "write a map, KEY: VALUE in each line, without \"- \""
	case node.Kind == yaml.MappingNode && wants("array"):
		return "begin each entry with \"- \""
	case text && wants("boolean") && (plainTrue.MatchString(node.Value) || plainFalse.MatchString(node.Value)):
		return "remove the quotes"
	case text && wants("array"):
		if items, ok := in["items"].(map[string]any); ok && items["type"] == "string" && len(node.Value) < 60 {
			return fmt.Sprintf("write [%s]", node.Value)
		}
	case text && node.Style == 0 && wants("object") && missingSpace.MatchString(node.Value):
		return fmt.Sprintf("a space is missing behind the colon of %s:", missingSpace.FindStringSubmatch(node.Value)[1])
	case text && withUnit.MatchString(node.Value) && strings.Contains(noun(in), "seconds"):
		return "write " + withUnit.FindStringSubmatch(node.Value)[1]
	}
	return ""
}

// misspelled reports whether the map has an unknown key that is most likely meant to be name.
func misspelled(node *yaml.Node, in map[string]any, name string) bool {
	properties, _ := in["properties"].(map[string]any)
	known := slices.Sorted(maps.Keys(properties))
	for i := 0; i+1 < len(node.Content) && i < 200; i += 2 { // beyond, it is no map that a person wrote
		if key := node.Content[i].Value; properties[key] == nil && nearest(key, known) == name {
			return in["additionalProperties"] == false // then the key itself is reported
		}
	}
	return false
}

func (c *schemaCheck) unknownFields(node *yaml.Node, pointer string, in map[string]any) {
	properties, _ := in["properties"].(map[string]any)
	patterns, _ := in["patternProperties"].(map[string]any)
	known := slices.Sorted(maps.Keys(properties))
	current := slices.DeleteFunc(slices.Clone(known), func(k string) bool {
		p, _ := properties[k].(map[string]any)
		return p["deprecated"] == true
	})
	for i := 0; i+1 < len(node.Content) && !c.enough(); i += 2 {
		key := node.Content[i]
		if _, ok := properties[key.Value]; ok || slices.ContainsFunc(slices.Collect(maps.Keys(patterns)), func(p string) bool {
			return strings.HasPrefix(key.Value, strings.TrimPrefix(p, "^")) // the patterns in use are prefixes
		}) {
			continue
		}
		hint := "known keys: " + strings.Join(current, ", ")
		if near := nearest(key.Value, current); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		} else if near := nearest(key.Value, known); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		} else if len(current) > 12 {
			hint = ""
		}
		if strings.HasPrefix(key.Value, "-") && len(key.Value) > 1 {
			hint = fmt.Sprintf("a space is missing: - %s:", strings.TrimLeft(shorten(key.Value), "-"))
		} else if strings.ContainsFunc(key.Value, func(r rune) bool { return r > unicode.MaxASCII && (unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)) }) {
			hint = "there is a character in it that only looks like a space, or that cannot be seen: type it anew"
		}
		c.add(key, pointer+Pointer(key.Value), "unknown-field", fmt.Sprintf("%sunknown key %q", label(pointer), shorten(key.Value)), hint)
	}
}

// find goes from the document's root to the place that the validator names.
func (c *schemaCheck) find(location string) (*yaml.Node, string) {
	at, pointer := c.doc, ""
	for _, token := range strings.Split(location, "/")[1:] {
		token, err := url.PathUnescape(token)
		if err != nil {
			break
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		next := childOf(at, token)
		if next == nil {
			break
		}
		at, pointer = next, pointer+Pointer(token)
	}
	return at, pointer
}

// childOf is the value under a key of a map or at an index of a list.
func childOf(n *yaml.Node, token string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == token {
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}

// label names the field in front of a message: "memory: ", "buildpacks[1]: ", or nothing at the root.
func label(pointer string) string {
	keys := SplitPointer(pointer)
	name := ""
	for i := len(keys) - 1; i >= 0; i-- {
		if _, err := strconv.Atoi(keys[i]); err != nil {
			return shorten(keys[i]) + name + ": "
		}
		name = "[" + keys[i] + "]" + name
	}
	return ""
}

// noun is what a schema says it expects, fit to follow the word "expected".
func noun(schema map[string]any) string {
	if title, ok := schema["title"].(string); ok {
		return title
	}
	description, _ := schema["description"].(string)
	sentence, _, _ := strings.Cut(description, ". ")
	sentence = strings.TrimSuffix(sentence, ".")
	if sentence == "" {
		return ""
	}
	return strings.ToLower(sentence[:1]) + sentence[1:]
}

func typeWords(types any) string {
	words := map[string]string{
		"object": "a map", "array": "a list", "string": "a text", "integer": "a whole number",
		"number": "a number", "boolean": "true or false", "null": "nothing",
	}
	list, ok := types.([]any)
	if !ok {
		list = []any{types}
	}
	var names []string
	for _, t := range list {
		names = append(names, words[fmt.Sprint(t)])
	}
	return strings.Join(names, " or ")
}
