package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// GitHub refuses a comment of more than 65,536 characters. Bytes are never fewer than characters, and the
// rest is for the lines that say what was left out.
const markdownLimit = 64_000

// Markdown writes a comment for a pull request: the verdict first, then one collapsed table per app, the app
// with the most changes first. What does not fit is counted, never dropped silently.
func Markdown(w io.Writer, in Input, opts Options) error {
	m := &markdown{}
	if in.Title != "" {
		m.add("### " + escape(cut(in.Title)) + "\n\n")
	}
	var where []string
	if in.Target != "" {
		where = append(where, "target "+code(cut(in.Target)))
	}
	if in.Revision != "" {
		where = append(where, "revision "+code(cut(in.Revision)))
	}
	if len(where) > 0 {
		m.add(strings.Join(where, ", ") + "\n\n")
	}
	for i, line := range strings.Split(in.verdict(), "\n") {
		if i == 0 {
			line = "**" + line + "**"
		}
		m.add(line + "\n")
	}
	m.problems(in)
	m.rules(in)
	m.opinion(in.Opinion)
	m.groups(in.changes())
	m.unobserved(in.unobserved())
	m.ignored(in, opts)
	m.unmanaged(in, opts)
	_, err := io.WriteString(w, m.b.String())
	return err
}

type markdown struct{ b strings.Builder }

// add writes s if there is room for it.
func (m *markdown) add(s string) bool {
	if m.b.Len()+len(s) > markdownLimit {
		return false
	}
	m.b.WriteString(s)
	return true
}

// must writes one of the few lines that the limit leaves room for.
func (m *markdown) must(s string) { m.b.WriteString(s) }

func (m *markdown) groups(changes []diff.Change) {
	byOwner := map[manifest.Ref][]diff.Change{}
	var owners []manifest.Ref
	for _, c := range changes {
		o := owner(c)
		if byOwner[o] == nil {
			owners = append(owners, o)
		}
		byOwner[o] = append(byOwner[o], c)
	}
	slices.SortStableFunc(owners, func(a, b manifest.Ref) int {
		return cmp.Or(cmp.Compare(len(byOwner[b]), len(byOwner[a])), a.Compare(b))
	})
	left := len(changes)
	for i, o := range owners {
		drawn := m.group(o, byOwner[o], len(owners) == 1)
		left -= drawn
		if drawn == len(byOwner[o]) {
			continue
		}
		others := ""
		if rest := len(owners) - i - 1; rest > 0 {
			others = " here and in " + plural(rest, "other group")
		}
		m.must(fmt.Sprintf("\n… and %d more%s: too many for one comment, <code>fettle diff</code> shows them all.\n", left, others))
		return
	}
}

// owner is where people look for a change: at the app. A route with several apps stands for itself.
func owner(c diff.Change) manifest.Ref {
	if app := c.App(); app != (manifest.Ref{}) {
		return app
	}
	if c.Ref.Kind != manifest.KindRoute {
		return c.Ref
	}
	apps := map[string]bool{}
	if keys := manifest.SplitPointer(c.Path); len(keys) > 1 && keys[0] == "destinations" {
		apps[keys[1]] = true
	}
	for _, v := range []any{c.Was, c.Value} {
		if spec, ok := v.(map[string]any); ok && c.Path == "" {
			destinations, _ := spec["destinations"].(map[string]any)
			for key := range destinations {
				apps[key] = true
			}
		}
	}
	found := c.Ref
	for key := range apps {
		app, _, _ := strings.Cut(key, "/")
		ref := c.Ref.Child(manifest.KindApp, app)
		if found != c.Ref && found != ref {
			return c.Ref
		}
		found = ref
	}
	return found
}

// group draws the table of one app and returns how many of the changes fitted.
func (m *markdown) group(owner manifest.Ref, changes []diff.Change, open bool) int {
	gravest := slices.MaxFunc(changes, func(a, b diff.Change) int { return cmp.Compare(a.Impact, b.Impact) })
	gravest.Reason = ""
	title := code(cut(owner.String())) + ": " + plural(len(changes), "difference")
	if words := consequence(gravest); words != "" {
		title += ", " + words
	}
	tag := "<details>"
	if open {
		tag = "<details open>"
	}
	head := "\n" + tag + "<summary>" + title + "</summary>\n\n| | Field | Live → Git | Effect | Declared at |\n|:-:|---|---|---|---|\n"
	first := tableRow(owner, changes[0])
	const tail = "\n</details>\n"
	if m.b.Len()+len(head)+len(first)+len(tail) > markdownLimit {
		return 0
	}
	m.must(head + first)
	drawn := 1
	for _, c := range changes[1:] {
		if !m.add(tableRow(owner, c)) {
			break
		}
		drawn++
	}
	m.must(tail)
	return drawn
}

func tableRow(owner manifest.Ref, c diff.Change) string {
	s, _ := sign(c.Op)
	field := label(c.Path)
	if c.Ref != owner {
		field = strings.TrimSpace(string(c.Ref.Kind) + " " + c.Ref.Name() + " " + field)
	} else if field == "" {
		field = c.Ref.String()
	}
	effect := escape(cut(consequence(c)))
	at := ""
	if !c.Origin.IsZero() {
		at = code(cut(place(c.Origin)))
	}
	return "| " + s + " | " + code(cut(field)) + " | " + cell(c) + " | " + effect + " | " + at + " |\n"
}

// cell draws the values of a change in a table.
func cell(c diff.Change) string {
	if c.Secret {
		return brief(c)
	}
	tree, isTree := c.Value.(map[string]any)
	if c.Op == diff.Remove {
		tree, isTree = c.Was.(map[string]any)
	}
	if isTree && c.Op != diff.Update {
		var lines []string
		for _, l := range leaves(tree) {
			lines = append(lines, cut(l.label()+": "+l.text()))
		}
		return codeLines(lines)
	}
	was, isText := c.Was.(string)
	value, isText2 := c.Value.(string)
	if (isText || isText2) && strings.Contains(was+value, "\n") {
		return codeLines((&terminal{width: 120}).lineDiff(was, value))
	}
	before, after := sides(c)
	switch c.Op {
	case diff.Add:
		return code(cut(after))
	case diff.Remove:
		return code(cut(before))
	}
	return code(cut(before)) + " → " + code(cut(after))
}

func codeLines(lines []string) string {
	const most = 12
	if len(lines) > most+1 {
		lines = append(lines[:most:most], more(len(lines)-most, "lines"))
	}
	for i, l := range lines {
		lines[i] = code(cut(l))
	}
	return strings.Join(lines, "<br>")
}

// problems come right below the verdict, which they qualify.
func (m *markdown) problems(in Input) {
	for _, part := range in.problems() {
		m.must("\n**" + part.title + "**\n\n")
		for i, p := range part.list {
			line := "- "
			if !p.Origin.IsZero() {
				line += code(cut(place(p.Origin))) + " "
			}
			if p.Ref != nil {
				line += code(cut(p.Ref.String())) + ": "
			}
			line += escape(cut(p.Message))
			if p.Hint != "" {
				line += "<br>" + escape(cut(p.Hint))
			}
			if !m.add(line + "\n") {
				m.must(fmt.Sprintf("- … and %d more\n", len(part.list)-i))
				break
			}
		}
	}
}

func (m *markdown) unobserved(all []diff.Unobserved) {
	if len(all) == 0 {
		return
	}
	m.must("\nNot readable here, so neither equal nor different:\n\n")
	for i, u := range all {
		at := ""
		if !u.Origin.IsZero() {
			at = code(cut(place(u.Origin)))
		}
		if !m.add("- " + code(cut(strings.TrimSpace(u.Ref.String()+" "+label(u.Path)))) + ": " + escape(cut(u.Why)) + inBrackets(at) + "\n") {
			m.must(fmt.Sprintf("- … and %d more\n", len(all)-i))
			return
		}
	}
}

// rules comes before the tables: a tolerance that ended is what somebody has to decide on.
func (m *markdown) rules(in Input) {
	var lines []string
	for _, e := range in.expired() {
		lines = append(lines, "- ⚠️ "+escape(alarm(e)))
	}
	for _, r := range in.Changes.Idle {
		lines = append(lines, "- "+escape(idle(r)))
	}
	const most = 20
	if n := len(lines) - most; n > 0 {
		lines = append(lines[:most], fmt.Sprintf("- … and %d more like these", n))
	}
	for i, l := range lines {
		if i == 0 {
			m.add("\n")
		}
		m.add(l + "\n")
	}
}

func (m *markdown) ignored(in Input, opts Options) {
	text := in.ignoredLine()
	if text == "" {
		return
	}
	m.must("\n" + text + "\n")
	if !opts.Ignored {
		return
	}
	m.must("\n")
	all := in.ignored()
	for i, g := range all {
		line := "- " + code(cut(fieldOf(g.Change.Ref, g.Change.Path))) + ": " + code(cut(oneLine(g.Change))) + inBrackets(escape(cut(ruleNote(g.Rule))))
		if !m.add(line + "\n") {
			m.must(fmt.Sprintf("- … and %d more\n", len(all)-i))
			return
		}
	}
}

func (m *markdown) unmanaged(in Input, opts Options) {
	text := in.unmanagedLine()
	if text == "" {
		return
	}
	m.must("\n" + text + "\n")
	if !opts.Unmanaged {
		return
	}
	m.must("\n")
	for i, ref := range in.unmanaged() {
		if !m.add("- " + code(cut(ref.String())) + "\n") {
			m.must(fmt.Sprintf("- … and %d more\n", len(in.Changes.Unmanaged)-i))
			return
		}
	}
}

// code sets text as code. The HTML element, unlike backticks, can hold every character inside of a table, and
// GitHub links neither people (@name) nor issues (#1) in it.
func code(s string) string {
	return "<code>" + underscores(codeEscapes.Replace(visible(s))) + "</code>"
}

// escape makes text mean itself in Markdown and HTML.
func escape(s string) string { return underscores(proseEscapes.Replace(visible(s))) }

var (
	codeEscapes  = entities("&<>`*[]~|\\$@", "://", "www.") // no links either
	proseEscapes = entities("&<>`*[]~|\\$@\"'#:!^{}", "www.")
)

func entities(characters string, more ...string) *strings.Replacer {
	var pairs []string
	for _, r := range characters {
		pairs = append(pairs, string(r), fmt.Sprintf("&#%d;", r))
	}
	for _, s := range more { // the first character or the last would do; the last keeps words whole
		pairs = append(pairs, s, fmt.Sprintf("%s&#%d;", s[:len(s)-1], s[len(s)-1]))
	}
	return strings.NewReplacer(pairs...)
}

// underscores inside of words mean nothing in GitHub's Markdown, and memory_in_mb stays readable in the source.
func underscores(s string) string {
	if !strings.Contains(s, "_") {
		return s
	}
	word := func(i int) bool {
		return i >= 0 && i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z')
	}
	var b strings.Builder
	for i := range len(s) {
		if inside := word(i-1) && word(i+1); s[i] == '_' && !inside {
			b.WriteString("&#95;")
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
