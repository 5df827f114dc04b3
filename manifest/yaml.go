package manifest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// Limits on what is read, so that no file can make Fettle slow or large. They are far above what people write.
const (
	MaxFileSize  = 10 << 20 // bytes of one YAML file
	maxDepth     = 100      // levels of nesting
	maxNodes     = 500_000  // nodes of one document; 1,000 apps have about 100,000
	maxExpansion = 500_000  // nodes that aliases and merge keys, or variables, may add to a document
)

// ParseYAML reads the YAML documents in data and returns the root node of each one that is not empty, with
// every problem that makes the text no good YAML.
//
// The nodes are ready to use: aliases and merge keys (<<) are resolved, keys are unique scalars, and each
// scalar has one of the tags !!str, !!int, !!float, !!bool or !!null with its normal spelling as Value, read
// as YAML 1.1 the way the Cloud Controller reads it (010 is 8, yes is true, 12:30 is 45000). Every node
// keeps the position where its text stands. What an alias stands for is shared, not copied: treat the nodes
// as read-only.
func ParseYAML(file string, data []byte) ([]*yaml.Node, Problems) {
	docs, problems := parseYAML(file, data)
	return docs, problems.sorted().atMost().WithExcerpts(file, data)
}

func parseYAML(file string, data []byte) (docs []*yaml.Node, problems Problems) {
	if len(data) > MaxFileSize {
		return nil, Problems{tooLarge(file, int64(len(data)))}
	}
	if line := tooDeep(data); line > 0 {
		return nil, Problems{{
			Origin: Origin{File: file, Line: line, Column: 1}, Severity: SeverityError, Rule: "yaml-depth",
			Message: fmt.Sprintf("the nesting is deeper than %d levels", maxDepth),
		}}
	}
	// The YAML package signals its own mistakes by panics; a broken file must not stop an agent.
	defer func() {
		if r := recover(); r != nil {
			problems = append(problems, Problem{Origin: Origin{File: file, Line: 1, Column: 1}, Severity: SeverityError, Rule: "yaml-syntax", Message: "this is not valid YAML"})
		}
	}()
	decoder := yaml.NewDecoder(&patientReader{data: data, until: time.Now().Add(readLimit)})
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			return docs, problems
		} else if err != nil {
			return docs, append(problems, syntaxProblem(file, data, err))
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
			continue
		}
		r := resolver{file: file, sizes: map[*yaml.Node]int{}, open: map[*yaml.Node]bool{}}
		root, _ := r.resolve(doc.Content[0], 1)
		problems = append(problems, r.problems...)
		if r.fatal || root.Kind == yaml.ScalarNode && root.Tag == tagNull {
			continue
		}
		docs = append(docs, root)
	}
}

// tooDeep finds the line in which brackets or blocks are nested deeper than any manifest needs, or 0. The YAML package
// spends on every token a time that grows with the depth (10,000 maps in each other take it six seconds), so
// this is looked at before. It takes quotes and comments into account as far as that is possible without reading
// the YAML; who hides brackets from it on purpose meets the patientReader.
func tooDeep(data []byte) int {
	const limit = 4 * maxDepth // above maxDepth, because brackets in a block of text are counted as well
	line, depth, dashes := 1, 0, 0
	start := true     // a value may begin here
	var indents []int // of the lines above that are further and further left
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '\n':
			line++
			start, dashes = true, 0
			column := 0
			for i+1+column < len(data) && data[i+1+column] == ' ' {
				column++
			}
			for len(indents) > 0 && indents[len(indents)-1] >= column {
				indents = indents[:len(indents)-1]
			}
			if indents = append(indents, column); len(indents) > limit {
				return line
			}
		case ' ', '\t', '\r':
		case '#':
			if i == 0 || data[i-1] == ' ' || data[i-1] == '\t' || data[i-1] == '\n' {
				for i+1 < len(data) && data[i+1] != '\n' {
					i++
				}
			}
		case '"', '\'':
			if !start {
				continue
			}
			for i++; i < len(data) && data[i] != c; i++ {
				if data[i] == '\n' {
					line++
				} else if data[i] == '\\' && c == '"' {
					i++
				}
			}
			start = false
		case '[', '{':
			if start || depth > 0 {
				if depth++; depth > limit {
					return line
				}
			}
			start = true
		case ']', '}':
			depth = max(depth-1, 0)
			start = false
		case '-': // "- - - x" is as deep as it has dashes
			if start && i+1 < len(data) && data[i+1] == ' ' {
				if dashes++; dashes > limit {
					return line
				}
			}
			start = true
		case ',', ':', '?':
			start = true
		default:
			start = false
		}
	}
	return 0
}

// readLimit is how long one file may take to be read. It is far above what 10 MB take.
const readLimit = 20 * time.Second

var errTooSlow = fmt.Errorf("the file takes longer than %v to read", readLimit)

// patientReader hands out data until its patience ends: the last resort against a text that makes the YAML
// package work without end.
type patientReader struct {
	data  []byte
	until time.Time
}

func (r *patientReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	if time.Now().After(r.until) {
		return 0, errTooSlow
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func tooLarge(file string, size int64) Problem {
	return Problem{
		Origin: Origin{File: file}, Severity: SeverityError, Rule: "file-size",
		Message: fmt.Sprintf("the file has %.1f MB; expected at most %d MB", float64(size)/(1<<20), MaxFileSize>>20),
		Hint:    "split it into several files",
	}
}

// resolver replaces aliases and merge keys by what they stand for and reads the scalars, in one walk.
type resolver struct {
	file     string
	problems Problems
	sizes    map[*yaml.Node]int  // nodes below an anchored node, aliases expanded; present once it is complete
	open     map[*yaml.Node]bool // anchored nodes that are not complete yet
	expanded int                 // nodes that aliases added
	nodes    int                 // nodes that are written out
	fatal    bool                // the document must not be looked at any further
}

func (r *resolver) add(n *yaml.Node, rule, message, hint string) {
	if len(r.problems) > maxProblems {
		return
	}
	r.problems = append(r.problems, Problem{Origin: r.at(n), Severity: SeverityError, Rule: rule, Message: message, Hint: hint})
}

func (r *resolver) at(n *yaml.Node) Origin {
	return Origin{File: r.file, Line: n.Line, Column: n.Column}
}

func (r *resolver) stop(n *yaml.Node, rule, message, hint string) (*yaml.Node, int) {
	if !r.fatal {
		r.add(n, rule, message, hint)
	}
	r.fatal = true
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tagNull, Value: "null", Line: n.Line, Column: n.Column}, 1
}

// resolve returns the node to use in place of n and how many nodes it stands for.
func (r *resolver) resolve(n *yaml.Node, depth int) (*yaml.Node, int) {
	if r.fatal {
		return n, 1
	}
	if r.nodes++; r.nodes > maxNodes {
		return r.stop(n, "yaml-size", fmt.Sprintf("the document has more than %d values", maxNodes), "split it into several files")
	}
	if depth > maxDepth {
		return r.stop(n, "yaml-depth", fmt.Sprintf("the nesting is deeper than %d levels", maxDepth), "")
	}
	size := 1
	if n.Anchor != "" {
		r.open[n] = true
	}
	switch n.Kind {
	case yaml.AliasNode:
		size, ok := r.sizes[n.Alias]
		if !ok && r.open[n.Alias] {
			return r.stop(n, "yaml-alias", fmt.Sprintf("the alias *%s stands inside of the value that it means", n.Value), "")
		} else if !ok { // the YAML package carries anchors over into the next document
			return r.stop(n, "yaml-alias", fmt.Sprintf("the alias *%s has no anchor &%s in this document", n.Value, n.Value), "anchors do not reach into another document")
		}
		if r.expanded += size; r.expanded > maxExpansion {
			return r.stop(n, "yaml-alias", fmt.Sprintf("the aliases of this document stand for more than %d values", maxExpansion), "write fewer or smaller aliases")
		}
		return n.Alias, size
	case yaml.SequenceNode:
		for i, c := range n.Content {
			child, s := r.resolve(c, depth+1)
			n.Content[i], size = child, size+s
		}
	case yaml.MappingNode:
		size = r.mapping(n, depth)
	case yaml.ScalarNode:
		r.scalar(n)
	}
	if n.Anchor != "" {
		r.sizes[n] = size
	}
	return n, size
}

func (r *resolver) mapping(n *yaml.Node, depth int) (size int) {
	size = 1
	content := make([]*yaml.Node, 0, len(n.Content))
	keys := make(map[string]*yaml.Node, len(n.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !r.fatal; i += 2 {
		merge := n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Tag == "!!merge" && n.Content[i].Style == 0
		key, s := r.resolve(n.Content[i], depth+1)
		value, sv := r.resolve(n.Content[i+1], depth+1)
		size += s + sv
		if key.Kind != yaml.ScalarNode {
			r.add(n.Content[i], "yaml-key", "a key must be a text, got "+kindOf(key), "quote text that begins with { or [")
			continue
		}
		if first, twice := keys[key.Value]; twice {
			hint := fmt.Sprintf("it is first written in line %d; remove one", first.Line)
			if merge {
				hint = "write <<: [*one, *two] to merge several"
			}
			r.add(n.Content[i], "duplicate-key", fmt.Sprintf("the key %q is written twice", shorten(key.Value)), hint)
			continue
		}
		keys[key.Value] = n.Content[i]
		if merge {
			merged = append(merged, r.mergeSources(value)...)
			continue
		}
		content = append(content, n.Content[i], value)
		if n.Content[i].Kind == yaml.AliasNode {
			content[len(content)-2] = key
		}
	}
	for _, source := range merged {
		for i := 0; i+1 < len(source.Content); i += 2 {
			if key := source.Content[i]; keys[key.Value] == nil { // the mapping's own keys win, then the earlier source's
				keys[key.Value] = key
				content = append(content, key, source.Content[i+1])
			}
		}
	}
	n.Content = content
	return size
}

// mergeSources are the mappings that the value of a merge key names.
func (r *resolver) mergeSources(value *yaml.Node) []*yaml.Node {
	sources := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		sources = value.Content
	}
	return slices.DeleteFunc(slices.Clone(sources), func(s *yaml.Node) bool {
		if s.Kind != yaml.MappingNode && !r.fatal {
			r.add(s, "yaml-merge", "<< merges a map, got "+kindOf(s), "write <<: *anchor, where the anchor names a map")
		}
		return s.Kind != yaml.MappingNode
	})
}

func (r *resolver) scalar(n *yaml.Node) {
	if n.Style&yaml.TaggedStyle != 0 {
		r.tagged(n)
		return
	}
	if n.Style != 0 { // quoted or a block
		n.Tag = tagStr
		return
	}
	raw := n.Value
	n.Tag, n.Value = readPlain(raw)
	switch n.Tag {
	case tagTime:
		n.Tag = tagStr
		r.add(n, "yaml-date", fmt.Sprintf("%s is a date in YAML, and the controller accepts none", raw), fmt.Sprintf("quote it: %q", raw))
	case tagInf:
		n.Tag = tagStr
		r.add(n, "yaml-number", fmt.Sprintf("%s is no finite number", raw), fmt.Sprintf("quote it if it is a text: %q", raw))
	}
}

// tagged reads a scalar with an explicit tag: !!str makes a text of anything, the others must fit.
func (r *resolver) tagged(n *yaml.Node) {
	tag := n.ShortTag()
	switch tag {
	case tagStr, "!str":
		n.Tag = tagStr
	case tagNull, tagBool, tagInt, tagFloat:
		got, text := readPlain(n.Value)
		if got == tagInt && tag == tagFloat {
			got, text = tagFloat, text+".0"
		}
		if got != tag {
			r.add(n, "yaml-tag", fmt.Sprintf("the tag %s does not fit the value", tag), "")
		}
		n.Tag, n.Value = got, text
	default:
		r.add(n, "yaml-tag", fmt.Sprintf("the tag %s has no meaning here", tag), "remove it")
		n.Tag = tagStr
	}
	n.Style &^= yaml.TaggedStyle
}

// kindOf says in words what a node is, for "got …". It shows no value.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case tagNull:
		return "nothing"
	case tagBool:
		return "the boolean " + n.Value
	case tagInt, tagFloat:
		return "the number " + n.Value
	}
	return "a text"
}

// describe is kindOf with the text itself, for values that are no secrets.
func describe(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.Tag == tagStr {
		return strconv.Quote(shorten(n.Value))
	}
	return kindOf(n)
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "…"
	}
	return s
}
