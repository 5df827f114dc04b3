package manifest

import (
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Format lays a manifest out in one way: two spaces for each level of maps, lists below their key without any, and the
// keys of a v1 manifest in the order in which the controller writes them (observed, GET /v3/apps/:guid/manifest), with
// those that only cf push knows beside their kin; those of version 2 in the order of MarshalV2. Environment variables and everything else keep their order.
//
// It moves lines and changes the space before them, and nothing else: comments, quotes, anchors and blocks of text stay
// as they are. What it made is read again, and if that would mean anything else than before, the text is returned
// unchanged with a warning. Formatting twice is formatting once. A text that is no good YAML is returned with its problems.
func Format(file string, data []byte) ([]byte, Problems) {
	before, problems := ParseYAML(file, data)
	if problems.Err() != nil {
		return data, problems
	}
	unable := func(why string) ([]byte, Problems) {
		return data, Problems{{
			Origin: Origin{File: file}, Severity: SeverityWarning, Rule: "not-formatted",
			Message: "the file is left as it is: " + why, Hint: "write it in a simpler layout, or leave it",
		}}
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\uFEFF"), "\r\n", "\n")
	for range 4 { // the second time nothing changes; where something does, the layout is beyond us
		next, ok := formatText(text)
		if !ok {
			return unable("it uses YAML that Fettle cannot lay out")
		}
		if next == text {
			after, problems := ParseYAML(file, []byte(text))
			if problems.Err() != nil || !sameValues(before, after) || !slices.Equal(linesOf(string(data)), linesOf(text)) {
				return unable("in another layout it would not mean the same")
			}
			return []byte(text), nil
		}
		text = next
	}
	return unable("it does not settle in one layout")
}

func sameValues(a, b []*yaml.Node) bool {
	return slices.EqualFunc(a, b, func(a, b *yaml.Node) bool { return reflect.DeepEqual(Value(a), Value(b)) })
}

// linesOf is every line that says something, without the layout around it, sorted.
func linesOf(text string) []string {
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		if l = strings.Trim(l, " \t\r-\uFEFF"); l != "" {
			lines = append(lines, l)
		}
	}
	slices.Sort(lines)
	return lines
}

// formatText formats each document of a text.
func formatText(text string) (string, bool) {
	var out, doc []string
	flush := func() bool {
		lines, ok := formatDocument(doc)
		out, doc = append(out, lines...), nil
		return ok
	}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "%"):
			return text, false
		case line == "---" || line == "..." || strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "... "):
			if !flush() {
				return text, false
			}
			if rest := strings.TrimSpace(line[3:]); rest != "" && rest[0] != '#' {
				return text, false // a value beside the marker
			}
			out = append(out, strings.TrimRight(line, " \t"))
		default:
			doc = append(doc, line)
		}
	}
	if !flush() {
		return text, false
	}
	return strings.Join(out, "\n") + "\n", true
}

func formatDocument(lines []string) ([]string, bool) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(strings.Join(lines, "\n")), &doc); err != nil {
		return nil, false
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || !isBlock(doc.Content[0]) {
		return lines, true
	}
	root := doc.Content[0]
	l := layout{lines: lines, ok: true, v1: root.Kind == yaml.MappingNode && childOf(root, "applications") != nil}
	if version := childOf(root, "version"); root.Kind == yaml.MappingNode && version != nil && version.Value == "2" {
		l.v1, l.v2 = false, true
	}
	first := l.firstLine(root)
	// What stands above the first key, up to an empty line, belongs to the file.
	head := first
	for head > 0 && !isEmpty(lines[head-1]) {
		head--
	}
	if head == 0 || first > 0 && strings.Contains(strings.Join(lines[:first], "\n"), "yaml-language-server") {
		head = first
	}
	out := l.shift(lines[:head], 0, -len(lines), true)
	return append(out, l.block(root, head, len(lines), 0, l.keyOrder(root, ""))...), l.ok
}

// layout writes nodes of one document anew, as lines.
type layout struct {
	lines []string
	v1    bool // the keys have an order
	v2    bool // they have another one
	ok    bool // false once there is something that cannot be laid out
}

func isEmpty(line string) bool   { return strings.TrimSpace(line) == "" }
func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// isBlock reports whether a node is a map or a list with a line for each entry.
func isBlock(n *yaml.Node) bool {
	return (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0
}

// firstLine is where a block's first entry begins. The node itself may begin above, with its anchor.
func (l *layout) firstLine(n *yaml.Node) int {
	if n.Kind == yaml.MappingNode {
		return n.Content[0].Line - 1
	}
	return l.dashLine(n.Content[0], 0)
}

// dashLine is the line of the - before an item: its own, or a line above with nothing else but an anchor or a comment.
func (l *layout) dashLine(item *yaml.Node, lowest int) int {
	for at := item.Line - 1; at >= lowest; at-- {
		line := strings.TrimLeft(l.lines[at], " ")
		if strings.HasPrefix(line, "- ") || line == "-" {
			return at
		}
		if at < item.Line-1 && !isEmpty(line) && !isComment(line) {
			break
		}
	}
	l.ok = false
	return max(item.Line-1, lowest)
}

// shift moves lines sideways. Those that are code and not inside of a text lose the space at their end.
func (l *layout) shift(lines []string, by, least int, trim bool) []string {
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		if isEmpty(line) && trim {
			if len(out) > 0 && out[len(out)-1] == "" {
				continue // one empty line is enough
			}
			out = append(out, "")
			continue
		}
		if isEmpty(line) {
			out = append(out, line)
			continue
		}
		if trim {
			line = strings.TrimRight(line, " \t")
		}
		indent := indentOf(line)
		out = append(out, strings.Repeat(" ", max(indent+by, least, 0))+line[indent:])
	}
	return out
}

// comments are lines between entries: they get the indentation of the entry that follows.
func (l *layout) comments(lines []string, to int) []string {
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" && (len(out) == 0 || out[len(out)-1] == "") && len(out) > 0 {
			continue
		}
		if line != "" {
			line = strings.Repeat(" ", to) + line
		}
		out = append(out, line)
	}
	return out
}

// entry is one key with its value, or one item, with the comments above it.
type entry struct {
	key, value *yaml.Node
	head       int // the first line of its comments
	line       int // of the key or the -
	end        int // the line after its last
}

// block lays out a map or a list that fills the lines from..end, with its entries at the column to.
func (l *layout) block(n *yaml.Node, from, end, to int, order []string) []string {
	entries := l.entries(n, from, end)
	if n.Kind == yaml.MappingNode && l.ok {
		entries = sortEntries(entries, order)
	}
	var out []string
	for i, e := range entries {
		if !l.ok {
			return nil
		}
		head := l.comments(l.lines[e.head:e.line], to)
		if i == 0 && len(out) == 0 && e.head == from {
			for len(head) > 0 && head[0] == "" && from > 0 && to > 0 {
				head = head[1:] // no empty line between a key and its first entry
			}
		}
		out = append(out, head...)
		if n.Kind == yaml.MappingNode {
			out = append(out, l.pair(e, to)...)
		} else {
			out = append(out, l.item(e, to, order)...)
		}
	}
	return out
}

// entries finds which lines belong to which entry: those above a key, as far as they are comments that stand no deeper
// than it, are its head; all others belong to the entry before.
func (l *layout) entries(n *yaml.Node, from, end int) []entry {
	var all []entry
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	for i := 0; i+step <= len(n.Content); i += step {
		e := entry{value: n.Content[i+step-1], end: end}
		if step == 2 {
			e.key = n.Content[i]
			e.line = e.key.Line - 1
			if e.key.Kind != yaml.ScalarNode && e.key.Kind != yaml.AliasNode || strings.HasPrefix(strings.TrimLeft(l.lines[e.line], " "), "? ") {
				l.ok = false
			}
		} else {
			e.line = l.dashLine(e.value, from)
		}
		if e.line < from || e.line >= end || strings.ContainsRune(l.lines[e.line][:min(indentOf(l.lines[e.line])+1, len(l.lines[e.line]))], '\t') {
			l.ok = false
			return nil
		}
		e.head = from
		if len(all) > 0 {
			last := &all[len(all)-1]
			if e.line <= last.line {
				l.ok = false
				return nil
			}
			e.head = l.headOf(e, last)
			last.end = e.head
		}
		all = append(all, e)
	}
	return all
}

func (l *layout) headOf(e entry, last *entry) int {
	column := indentOf(l.lines[e.line])
	head := e.line
	for head > last.line+1 {
		line := l.lines[head-1]
		if !isEmpty(line) && (!isComment(line) || indentOf(line) > column) {
			break
		}
		head--
	}
	// A list may stand no deeper than its key; then what is an item that was commented out belongs to it.
	if last.value.Kind == yaml.SequenceNode && e.key != nil {
		for head < e.line && strings.HasPrefix(strings.TrimLeft(strings.TrimLeft(l.lines[head], " "), "# "), "- ") {
			head++
		}
	}
	return head
}

// pair is a key at the column to, and its value.
func (l *layout) pair(e entry, to int) []string {
	by := to - indentOf(l.lines[e.line])
	if !isBlock(e.value) || e.value.Line-1 < e.line {
		return l.opaque(e.value, e.line, e.end, by)
	}
	first := l.firstLine(e.value)
	if first <= e.line || first >= e.end {
		return l.opaque(e.value, e.line, e.end, by)
	}
	out := l.shift(l.lines[e.line:e.line+1], by, 0, true)
	if e.value.Kind == yaml.SequenceNode {
		return append(out, l.block(e.value, e.line+1, e.end, to, l.keyOrder(e.value, e.key.Value))...)
	}
	return append(out, l.block(e.value, e.line+1, e.end, to+2, l.keyOrder(e.value, e.key.Value))...)
}

// item is one element of a list with its - at the column to.
func (l *layout) item(e entry, to int, order []string) []string {
	line := l.lines[e.line]
	dash := indentOf(line)
	if isBlock(e.value) { // a comment below that stands no deeper than the - is not the last key's, wherever that goes
		end := e.end
		for end > e.line+1 && (isEmpty(l.lines[end-1]) || isComment(l.lines[end-1]) && indentOf(l.lines[end-1]) <= dash) {
			end--
		}
		if tail := l.lines[end:e.end]; len(tail) > 0 {
			e.end = end
			return append(l.item(e, to, order), l.comments(tail, to)...)
		}
	}
	rest := strings.TrimLeft(line[dash+1:], " ")
	beside := len(line) - len(rest)
	if !isBlock(e.value) {
		if rest == "" || isComment(rest) || e.value.Line-1 != e.line {
			return l.opaque(e.value, e.line, e.end, to-dash)
		}
		out := l.opaque(e.value, e.line, e.end, to-dash)
		out[0] = strings.Repeat(" ", to) + "- " + strings.TrimLeft(out[0][to+1:], " ")
		return out
	}
	first := l.firstLine(e.value)
	marker := strings.Repeat(" ", to) + "-"
	switch {
	case rest == "" || isComment(rest) || first > e.line: // the - stands alone, or with an anchor or a comment
		if first == e.line {
			l.ok = false
			return nil
		}
		anchor := rest != "" && !isComment(rest)
		if !anchor && rest == "" {
			return l.dashed(l.block(e.value, e.line+1, e.end, to+2, order), to)
		}
		out := []string{marker + " " + strings.TrimRight(rest, " \t")}
		return append(out, l.block(e.value, e.line+1, e.end, to+2, order)...)
	case e.value.Kind == yaml.MappingNode && e.value.Content[0].Column-1 == beside && (e.value.Anchor == "" || e.value.Line-1 < e.line):
		saved := l.lines[e.line]
		l.lines[e.line] = saved[:dash] + " " + saved[dash+1:]
		out := l.block(e.value, e.line, e.end, to+2, order)
		l.lines[e.line] = saved
		return l.dashed(out, to)
	}
	l.ok = false // a list in a list, a tag, …
	return nil
}

// dashed puts the - before the first line that is no comment; the comments above it come to stand above the item.
func (l *layout) dashed(lines []string, to int) []string {
	for i, line := range lines {
		if isEmpty(line) || isComment(line) {
			lines[i] = strings.TrimRight(strings.Repeat(" ", to)+strings.TrimSpace(line), " ")
			continue
		}
		lines[i] = strings.Repeat(" ", to) + "- " + line[min(to+2, indentOf(line)):]
		return lines
	}
	l.ok = false
	return lines
}

// opaque moves an entry whose value is not laid out anew: a scalar, a flow map or list, an alias.
func (l *layout) opaque(value *yaml.Node, from, end, by int) []string {
	block := value.Kind == yaml.ScalarNode && value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	last := end
	for last > from+1 && isEmpty(l.lines[last-1]) {
		last--
	}
	if block { // every space inside counts; only what stands before the whole block is layout
		out := l.shift(l.lines[from:from+1], by, 0, true)
		out = append(out, l.shift(l.lines[from+1:last], by, 0, false)...)
		return append(out, l.shift(l.lines[last:end], by, 0, value.Value == "" || !strings.HasSuffix(value.Value, "\n\n"))...)
	}
	return l.shift(l.lines[from:end], by, 0, value.Kind != yaml.ScalarNode || value.Style == 0)
}

// sortEntries puts the keys in order; the others keep their place behind the key that they follow. A map keeps its order
// where an anchor would come to stand behind its alias.
func sortEntries(entries []entry, order []string) []entry {
	if len(order) == 0 {
		return entries
	}
	rank, last := map[*yaml.Node]int{}, len(order)
	if i := slices.Index(order, "*"); i >= 0 {
		last = i
	}
	for _, e := range entries {
		r := slices.Index(order, strings.ReplaceAll(e.key.Value, "_", "-"))
		if r < 0 {
			r = last
		}
		rank[e.key] = r
	}
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b entry) int { return rank[a.key] - rank[b.key] })
	if slices.ContainsFunc(entries, func(e entry) bool { return mentions(e.value, false) }) {
		anchored := func(all []entry) []entry {
			return slices.DeleteFunc(slices.Clone(all), func(e entry) bool { return !mentions(e.value, true) })
		}
		if !slices.Equal(anchored(entries), anchored(sorted)) {
			return entries
		}
	}
	return sorted
}

// mentions reports whether there is an anchor in n, or also an alias.
func mentions(n *yaml.Node, alias bool) bool {
	return n.Anchor != "" || alias && n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return mentions(c, alias) })
}

var (
	rootOrder    = []string{"version", "org", "space", "*", "applications"}
	processOrder = []string{
		"<<", "type", "instances", "memory", "disk-quota", "log-rate-limit-per-second", "command", "user",
		"health-check-type", "health-check-http-endpoint", "health-check-invocation-timeout", "health-check-interval",
		"readiness-health-check-type", "readiness-health-check-http-endpoint", "readiness-health-check-invocation-timeout",
		"readiness-health-check-interval", "timeout", "*",
	}
	appOrder = slices.Concat([]string{
		"<<", "name", "path", "env", "lifecycle", "buildpack", "buildpacks", "docker", "cnb-credentials", "stack", "features", "services",
		"no-route", "random-route", "default-route", "routes", "metadata",
	}, processOrder[2:len(processOrder)-1], []string{"*", "processes", "sidecars"})
)

// orderV2 is the order of the keys in version 2, by the list that they stand in: what it is, then what is in it, as
// MarshalV2 writes it.
var orderV2 = map[string][]string{
	"":                  {"version", "meta", "org", "space", "*", "apps", "routes", "service-instances", "service-bindings"},
	"apps":              {"<<", "name", "state", "package", "droplet", "lifecycle", "environment-variables", "features", "metadata", "*", "processes", "sidecars"},
	"processes":         {"<<", "type", "command", "user", "scale", "health-checks", "metadata", "*"},
	"sidecars":          {"<<", "name", "command", "processes", "scale", "*"},
	"routes":            {"<<", "url", "protocol", "shared", "destinations", "options", "metadata", "*"},
	"service-instances": {"<<", "name", "type", "shared", "service-offering", "service-plan", "parameters", "tags", "credentials", "syslog-drain", "route-service", "share-to", "metadata", "*"},
	"service-bindings":  {"<<", "type", "service-instance", "app", "route", "name", "parameters", "metadata", "*"},
}

// keyOrder is the order of the keys in the value of key: for a list, in its items. Everything else keeps its own,
// and so does what is no manifest.
func (l *layout) keyOrder(n *yaml.Node, key string) []string {
	switch {
	case l.v2 && (key == "" || n.Kind == yaml.SequenceNode):
		return orderV2[strings.ReplaceAll(key, "_", "-")]
	case !l.v1:
		return nil
	case key == "":
		return rootOrder
	case n.Kind != yaml.SequenceNode:
		return nil
	case key == "applications":
		return appOrder
	case key == "processes":
		return processOrder
	case key == "sidecars":
		return []string{"<<", "name", "command", "process-types", "memory", "*"}
	case key == "routes":
		return []string{"<<", "route", "protocol", "options", "*"}
	}
	return nil
}
