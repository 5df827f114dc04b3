package cloudfoundry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/fettle-gitops/fettle/manifest"
)

// checkParameters looks at the parameters with the schema that the service broker publishes with its plan. In a plan that
// is about to be applied it only warns: the platform does not look, and the broker may take more than it says.
func (c *checks) checkParameters(x planAsk, plan *servicePlan) {
	if x.schema == nil {
		return
	}
	raw := x.schema(plan)
	if m, isMap := raw.(map[string]any); raw == nil || isMap && len(m) == 0 {
		return
	}
	add := func(at, rule, message, hint string, warning bool) {
		f := finding{ask: x.ask, rule: rule, message: message, hint: hint, warning: warning || x.step != ""}
		f.pointer = at
		c.add(f)
	}
	schema, err := compileForeign(raw)
	if err != nil {
		add("/parameters", "parameter-schema", fmt.Sprintf("the schema that the service broker gives for the parameters of the plan %s cannot be read, so they are not checked", x.name),
			"tell whoever runs the broker: "+firstLine(err), true)
		return
	}
	var failed *jsonschema.ValidationError
	if err := schema.Validate(x.object.Inputs["parameters"]); !errors.As(err, &failed) {
		return // another error is about the schema again
	}
	for _, e := range causes(failed) {
		for _, p := range explainParameter(raw, x.object, e) {
			add(p.pointer, "parameters", p.message, cmpHint(p.hint, fmt.Sprintf("so says the schema of the plan %s", x.name)), false)
		}
	}
}

// compileForeign compiles a schema that somebody else wrote. It may refer to itself and to the drafts, and to nothing that
// would have to be fetched.
func compileForeign(raw any) (*jsonschema.Schema, error) {
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	const here = "https://broker.invalid/schema.json"
	compiler := jsonschema.NewCompiler()
	compiler.Draft = jsonschema.Draft4 // what the Open Service Broker API asks for
	compiler.LoadURL = func(address string) (io.ReadCloser, error) {
		return nil, fmt.Errorf("it refers to %s, which is not fetched", address)
	}
	if err := compiler.AddResource(here, bytes.NewReader(text)); err != nil {
		return nil, err
	}
	return compiler.Compile(here)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// causes are the failures at the bottom; where one of several forms was expected, that one was.
func causes(e *jsonschema.ValidationError) (all []*jsonschema.ValidationError) {
	switch keywordOf(e) {
	case "anyOf", "oneOf", "not":
		return []*jsonschema.ValidationError{e}
	}
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	for _, cause := range e.Causes {
		all = append(all, causes(cause)...)
	}
	slices.SortFunc(all, func(a, b *jsonschema.ValidationError) int { // the validator goes through maps in random order
		return strings.Compare(a.InstanceLocation+" "+a.KeywordLocation, b.InstanceLocation+" "+b.KeywordLocation)
	})
	return all
}

func keywordOf(e *jsonschema.ValidationError) string {
	return e.KeywordLocation[strings.LastIndexByte(e.KeywordLocation, '/')+1:]
}

type parameterProblem struct{ pointer, message, hint string }

// explainParameter words a failure. It quotes the schema and the names of parameters, and a value only where it is not
// secret.
func explainParameter(schema any, o *manifest.Object, e *jsonschema.ValidationError) []parameterProblem {
	at := "/parameters" + e.InstanceLocation
	name := "the parameters"
	if keys := manifest.SplitPointer(e.InstanceLocation); len(keys) > 0 {
		name = "the parameter " + strings.Join(keys, ".")
	}
	under := schemaAbove(schema, e)
	value, _ := manifest.Lookup(map[string]any{"parameters": o.Inputs["parameters"]}, at)
	given, _ := value.(map[string]any)
	switch keyword := keywordOf(e); keyword {
	case "additionalProperties":
		properties, _ := under["properties"].(map[string]any)
		known := slices.Sorted(maps.Keys(properties))
		var all []parameterProblem
		for _, key := range slices.Sorted(maps.Keys(given)) {
			if properties[key] == nil && strings.Contains(e.Message, "'"+key+"'") {
				full := strings.Join(append(manifest.SplitPointer(e.InstanceLocation), key), ".")
				all = append(all, parameterProblem{at + manifest.Pointer(key), "there is no parameter " + full, nearestOrAll(key, known)})
			}
		}
		if len(all) > 0 {
			return all
		}
	case "required":
		required, _ := under["required"].([]any)
		var all []parameterProblem
		for _, r := range required {
			if key, _ := r.(string); key != "" {
				if _, ok := given[key]; !ok {
					full := strings.Join(append(manifest.SplitPointer(e.InstanceLocation), key), ".")
					all = append(all, parameterProblem{at, "the parameter " + full + " is missing", ""})
				}
			}
		}
		if len(all) > 0 {
			return all
		}
	case "anyOf", "oneOf":
		return []parameterProblem{{at, name + ": fits none of the forms that are allowed, or more than one", ""}}
	case "not":
		return []parameterProblem{{at, name + ": has a form that is not allowed", ""}}
	case "type", "enum", "const": // the text quotes the schema, and of the value its type
	default:
		if o.IsSecret(at) {
			return []parameterProblem{{at, fmt.Sprintf("%s: does not fit %s; it is not shown here, as it may be secret", name, keyword), ""}}
		}
	}
	return []parameterProblem{{at, name + ": " + e.Message, ""}}
}

// schemaAbove is the part of the schema that holds the keyword which failed.
func schemaAbove(schema any, e *jsonschema.ValidationError) map[string]any {
	_, pointer, _ := strings.Cut(e.AbsoluteKeywordLocation, "#")
	keys := manifest.SplitPointer(pointer)
	for _, key := range keys[:max(0, len(keys)-1)] {
		switch v := schema.(type) {
		case map[string]any:
			schema = v[key]
		default:
			return nil
		}
	}
	m, _ := schema.(map[string]any)
	return m
}

func cmpHint(hint, source string) string {
	if hint == "" {
		return source
	}
	return hint + "; " + source
}
