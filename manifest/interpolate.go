package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// VarsFile is a YAML file with the values of variables, as cf push --vars-file reads it.
type VarsFile struct {
	Name   string // for messages; inside of the snapshot its path
	Data   []byte
	Secret bool // every value in it is secret, wherever it ends up
}

// variable is the value that a name stands for.
type variable struct {
	value  *yaml.Node
	secret bool
	from   Origin // where it is set; zero for --var
	used   bool
}

// variables are all the names that a manifest may use.
type variables map[string]*variable

// ParseVar reads the argument of --var, NAME=VALUE, as cf push does: what YAML reads as a number, a boolean, a
// list or a map is one; everything else is the text as it stands.
func ParseVar(s string) (name string, value any, err error) {
	name, text, ok := strings.Cut(s, "=")
	switch {
	case !ok || name == "":
		return "", nil, fmt.Errorf("expected NAME=VALUE, got %q", shorten(name))
	case text == "":
		return "", nil, fmt.Errorf("the variable %s has no value: expected %s=VALUE", name, name)
	}
	docs, problems := readVars("--var "+name, []byte(text))
	switch {
	case problems.Err() != nil && strings.ContainsAny(text[:1], "[{"):
		return "", nil, fmt.Errorf("the value of the variable %s is a list or a map that is not valid YAML: %s", name, problems[0].Message)
	case problems.Errors() > 0 || len(docs) > 1: // no YAML: then it is the text that it looks like
		return name, text, nil
	case len(docs) == 0: // null
		return name, nil, nil
	}
	if value = Value(docs[0]); value == nil {
		return name, nil, nil
	}
	if _, isText := value.(string); isText {
		return name, text, nil
	}
	return name, value, nil
}

// readVars reads YAML where a date is a text, as cf push has it in vars.
func readVars(file string, data []byte) ([]*yaml.Node, Problems) {
	docs, problems := parseYAML(file, data)
	return docs, slices.DeleteFunc(problems, func(p Problem) bool { return p.Rule == "yaml-date" })
}

// gather collects the variables; later files win, and vars wins over all files.
func gather(vars map[string]any, files []VarsFile) (variables, Problems) {
	all := variables{}
	var problems Problems
	for _, f := range files {
		docs, ps := readVars(f.Name, f.Data)
		for _, doc := range docs {
			if doc.Kind != yaml.MappingNode {
				ps = append(ps, Problem{
					Origin: Origin{File: f.Name, Line: doc.Line, Column: doc.Column}, Severity: SeverityError, Rule: "vars-file",
					Message: "expected a map of variables to values, got " + kindOf(doc),
				})
				continue
			}
			for i := 0; i+1 < len(doc.Content); i += 2 {
				key, value := doc.Content[i], doc.Content[i+1]
				all[key.Value] = &variable{value: value, secret: f.Secret, from: Origin{File: f.Name, Line: key.Line, Column: key.Column}}
			}
		}
		if !f.Secret { // no line of a secret file is ever shown
			ps = ps.WithExcerpts(f.Name, f.Data)
		}
		problems = append(problems, ps...)
	}
	for name, value := range vars {
		all[name] = &variable{value: nodeOf(value)}
	}
	return all, problems
}

// unused warns of the variables that no manifest mentions.
func (vs variables) unused() Problems {
	var problems Problems
	for _, name := range slices.Sorted(maps.Keys(vs)) {
		if v := vs[name]; !v.used {
			problems = append(problems, Problem{
				Origin: v.from, Severity: SeverityWarning, Rule: "unused-variable",
				Message: fmt.Sprintf("the variable %s is not used by any manifest", name),
				Hint:    vs.similar(name, func(v *variable) bool { return v.used }),
			})
		}
	}
	return problems
}

func (vs variables) similar(name string, which func(*variable) bool) string {
	var names []string
	for n, v := range vs {
		if n != name && which(v) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return ""
}

// nodeOf makes a node of a plain Go value.
func nodeOf(value any) *yaml.Node {
	scalar := func(tag, text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text} }
	switch v := value.(type) {
	case nil:
		return scalar(tagNull, "null")
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tagStr, Value: v, Style: yaml.DoubleQuotedStyle}
	case bool:
		return scalar(tagBool, strconv.FormatBool(v))
	case int:
		return scalar(tagInt, strconv.Itoa(v))
	case int64:
		return scalar(tagInt, strconv.FormatInt(v, 10))
	case uint64:
		return scalar(tagInt, strconv.FormatUint(v, 10))
	case float64:
		return scalar(tagFloat, rubyFloat(v))
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, e := range v {
			n.Content = append(n.Content, nodeOf(e))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, nodeOf(k), nodeOf(v[k]))
		}
		return n
	}
	return nodeOf(fmt.Sprint(value))
}

// The same pattern that cf push has: letters (of any script), digits, _ - and dots for a path.
var (
	placeholder      = regexp.MustCompile(`\(\((!?[-.\w\pL]+)\)\)`)
	placeholderWhole = regexp.MustCompile(`^\(\((!?[-.\w\pL]+)\)\)$`)
)

// interpolation replaces ((variables)) in one document. A node that is nothing but a variable becomes its
// value with its type; inside of a longer text numbers and texts are inserted. What a variable's value
// contains is not interpolated again.
type interpolation struct {
	file     string
	vars     variables
	problems Problems
	secret   map[*yaml.Node]bool // what came out of a secret vars file
	open     map[*yaml.Node]bool // what still contains a variable that nobody sets
	done     map[*yaml.Node]bool // shared nodes are met several times
	copied   int                 // nodes made out of variables
	inserted int                 // bytes inserted into longer texts
	tooMuch  bool                // there were too many of them
}

func interpolate(file string, doc *yaml.Node, vars variables) *interpolation {
	in := &interpolation{file: file, vars: vars, secret: map[*yaml.Node]bool{}, open: map[*yaml.Node]bool{}, done: map[*yaml.Node]bool{}}
	in.node(doc, false)
	return in
}

func (in *interpolation) add(n *yaml.Node, rule, message, hint string) {
	if len(in.problems) > maxProblems {
		return
	}
	in.problems = append(in.problems, Problem{
		Origin: Origin{File: in.file, Line: n.Line, Column: n.Column}, Severity: SeverityError, Rule: rule, Message: message, Hint: hint,
	})
}

func (in *interpolation) node(n *yaml.Node, key bool) {
	if n.Kind == yaml.ScalarNode && (n.Tag != tagStr || !strings.Contains(n.Value, "((")) || in.done[n] {
		return
	}
	in.done[n] = true
	for i, c := range n.Content {
		in.node(c, n.Kind == yaml.MappingNode && i%2 == 0)
	}
	switch n.Kind {
	case yaml.MappingNode:
		in.uniqueKeys(n)
	case yaml.ScalarNode:
		in.scalar(n, key)
	}
}

func (in *interpolation) scalar(n *yaml.Node, key bool) {
	if m := placeholderWhole.FindStringSubmatch(n.Value); m != nil {
		if value, secret := in.lookup(n, m[1], n.Value); value != nil {
			if key && value.Kind != yaml.ScalarNode {
				in.add(n, "variable-type", fmt.Sprintf("the variable %s is %s; expected a text here", m[1], kindOf(value)), "")
				return
			}
			in.replace(n, value, secret)
		}
		in.secretKey(n, key)
		return
	}
	secret := false
	text := placeholder.ReplaceAllStringFunc(n.Value, func(found string) string {
		name := found[2 : len(found)-2]
		value, isSecret := in.lookup(n, name, found)
		if value == nil {
			return found
		}
		if value.Kind != yaml.ScalarNode || value.Tag != tagStr && value.Tag != tagInt {
			in.open[n] = true
			in.add(n, "variable-type", fmt.Sprintf("the variable %s is %s; only texts and whole numbers can stand inside of a text", name, kindOf(value)), "quote the value in the vars file")
			return found
		}
		secret = secret || isSecret
		if in.inserted += len(value.Value); in.inserted > MaxFileSize {
			if !in.tooMuch {
				in.add(n, "variable-size", fmt.Sprintf("the variables of this document insert more than %d MB", MaxFileSize>>20), "")
			}
			in.tooMuch = true
			return ""
		}
		return value.Value
	})
	n.Value = text
	if secret {
		in.secret[n] = true
	}
	in.secretKey(n, key)
}

func (in *interpolation) secretKey(n *yaml.Node, key bool) {
	if key && in.secret[n] {
		in.add(n, "secret-key", "a secret cannot be part of a key", "keys are shown in differences and reports; take the key from a vars file that is not secret")
	}
}

// uniqueKeys finds keys that became the same through variables.
func (in *interpolation) uniqueKeys(n *yaml.Node) {
	var interpolated bool
	for i := 0; i+1 < len(n.Content); i += 2 {
		interpolated = interpolated || in.done[n.Content[i]]
	}
	if !interpolated {
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if seen[n.Content[i].Value] {
			in.add(n.Content[i], "duplicate-key", "with the variables filled in, this key is here twice", "")
		}
		seen[n.Content[i].Value] = true
	}
}

// lookup finds the value of NAME or NAME.key.path. The leading ! is an old way to write the same.
func (in *interpolation) lookup(n *yaml.Node, name, written string) (*yaml.Node, bool) {
	path := strings.Split(strings.TrimPrefix(name, "!"), ".")
	v := in.vars[path[0]]
	if v == nil {
		in.open[n] = true
		hint := in.vars.similar(path[0], func(*variable) bool { return true })
		if hint == "" {
			hint = fmt.Sprintf("give it with --var %s=VALUE, in a vars file, or in the target's vars", path[0])
		}
		in.addAt(n, written, "missing-variable", fmt.Sprintf("the variable %s has no value", path[0]), hint)
		return nil, false
	}
	v.used = true
	value := v.value
	for i, key := range path[1:] {
		next := childOf(value, key)
		if value.Kind != yaml.MappingNode || next == nil {
			in.open[n] = true
			hint := ""
			if value.Kind == yaml.MappingNode && !v.secret {
				var keys []string
				for j := 0; j < len(value.Content); j += 2 {
					keys = append(keys, value.Content[j].Value)
				}
				if near := nearest(key, keys); near != "" {
					hint = fmt.Sprintf("did you mean %s?", near)
				}
			}
			in.addAt(n, written, "missing-variable", fmt.Sprintf("the variable %s has no key %s", strings.Join(path[:i+1], "."), key), hint)
			return nil, false
		}
		value = next
	}
	return value, v.secret
}

// addAt points at the variable inside of a one-line text.
func (in *interpolation) addAt(n *yaml.Node, written, rule, message, hint string) {
	const blocks = yaml.LiteralStyle | yaml.FoldedStyle
	at := *n
	if i := strings.Index(n.Value[:min(len(n.Value), 2000)], written); i > 0 && n.Style&blocks == 0 && !strings.Contains(n.Value, "\n") {
		at.Column += len([]rune(n.Value[:i]))
		if n.Style != 0 {
			at.Column++ // the quote
		}
	}
	in.add(&at, rule, message, hint)
}

// replace puts a copy of value in the place of n, at n's position.
func (in *interpolation) replace(n, value *yaml.Node, secret bool) {
	line, column, anchor := n.Line, n.Column, n.Anchor
	c := in.copyAt(value, line, column, secret)
	if in.copied > maxExpansion {
		if !in.tooMuch {
			in.add(n, "variable-size", fmt.Sprintf("the variables of this document stand for more than %d values", maxExpansion), "")
		}
		in.tooMuch = true
	}
	*n = *c
	n.Anchor = anchor
	in.done[n] = true
	if secret {
		in.secret[n] = true
	}
}

func (in *interpolation) copyAt(value *yaml.Node, line, column int, secret bool) *yaml.Node {
	if in.copied++; in.copied > maxExpansion || in.tooMuch {
		return nodeOf(nil)
	}
	c := &yaml.Node{Kind: value.Kind, Tag: value.Tag, Value: value.Value, Style: value.Style, Line: line, Column: column}
	if c.Kind == yaml.ScalarNode && c.Tag == tagStr {
		c.Style = yaml.DoubleQuotedStyle // it is a text for certain, however it was written
	}
	for _, e := range value.Content {
		c.Content = append(c.Content, in.copyAt(e, line, column, secret))
	}
	in.done[c] = true
	if secret {
		in.secret[c] = true
	}
	return c
}
