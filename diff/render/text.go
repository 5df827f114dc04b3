package render

import (
	"io"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// Text draws changes for a terminal: one paragraph per resource, one line per change with its sign, its
// values, what it costs and where it is declared; at the end what could not be read, and the summary.
//
// A change is a line with its sign (+ - ~) in the third column; a whole resource that comes or goes has it
// (+ -) in the first.
func Text(w io.Writer, in Input, opts Options) error {
	t := &terminal{width: opts.Width, color: opts.Color}
	if t.width <= 0 {
		t.width = 100
	}
	t.width = max(t.width, 40)
	t.heading(in)
	all := in.changes()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Ref == all[0].Ref {
			n++
		}
		t.resource(all[:n])
		all = all[n:]
	}
	t.unobserved(in.unobserved())
	t.ignored(in, opts)
	t.unmanaged(in, opts)
	t.opinion(in.Opinion)
	t.problems(in)
	t.rules(in)
	for _, paragraph := range strings.Split(in.verdict(), "\n") {
		for _, l := range wrap(paragraph, t.width) {
			t.line(t.paint(bold, l))
		}
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// The styles, by what they say rather than by how they look.
var (
	bold    = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	adding  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	leaving = lipgloss.NewStyle().Foreground(lipgloss.Red)
	turning = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	grave   = lipgloss.NewStyle().Foreground(lipgloss.Magenta).Bold(true)
)

func sign(op diff.Op) (string, lipgloss.Style) {
	switch op {
	case diff.Add:
		return "+", adding
	case diff.Remove:
		return "-", leaving
	}
	return "~", turning
}

// terminal is text in the making.
type terminal struct {
	b     strings.Builder
	width int
	color bool
}

func (t *terminal) line(s string) {
	t.b.WriteString(strings.TrimRight(s, " "))
	t.b.WriteByte('\n')
}

func (t *terminal) paint(style lipgloss.Style, s string) string {
	if !t.color || s == "" {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = style.Render(l)
	}
	return strings.Join(lines, "\n")
}

func (t *terminal) heading(in Input) {
	var where []string
	if in.Target != "" {
		where = append(where, "target "+visible(in.Target))
	}
	if in.Revision != "" {
		where = append(where, "revision "+visible(in.Revision))
	}
	if in.Title != "" {
		t.line(t.paint(bold, visible(in.Title)))
	}
	if len(where) > 0 {
		t.line(t.paint(faint, strings.Join(where, ", ")))
	}
	if in.Title != "" || len(where) > 0 {
		t.line("")
	}
}

// row is one change, or one value of a new or removed tree, before it is laid out.
type row struct {
	sign  string
	style lipgloss.Style
	label string
	text  string   // the values on one line
	block []string // or on several, below the label
	note  string
	grave bool
	depth int // columns of indentation
}

// resource draws the changes of one resource.
func (t *terminal) resource(changes []diff.Change) {
	first := changes[0]
	var rows []row
	if whole := first.Path == ""; whole {
		s, style := sign(first.Op)
		rows = append(rows, row{sign: s, style: style, label: visible(first.Ref.String()), note: note(first), grave: first.Impact >= diff.ImpactRecreate})
		rows = append(rows, t.tree(first, style)...)
		changes = changes[1:]
	} else {
		t.line(t.paint(bold, "~ "+visible(first.Ref.String())))
	}
	for len(changes) > 0 {
		heading, n := section(changes)
		if heading != "" {
			rows = append(rows, row{style: bold, label: heading + ":", depth: 2})
		}
		for _, c := range changes[:n] {
			rows = append(rows, t.change(c, heading)...)
		}
		changes = changes[n:]
	}
	t.layout(rows)
	t.line("")
}

// section is the collection or element that several changes in a row belong to, and their number. A change
// that stands alone keeps its whole name.
func section(changes []diff.Change) (heading string, n int) {
	parent := func(c diff.Change) string {
		keys := manifest.SplitPointer(c.Path)
		return label(manifest.Pointer(keys[:min(len(keys)-1, 2)]...))
	}
	heading, n = parent(changes[0]), 1
	for n < len(changes) && parent(changes[n]) == heading {
		n++
	}
	if n == 1 || heading == "" {
		return "", n
	}
	return heading, n
}

// change draws one change below its resource, or below the heading of its section.
func (t *terminal) change(c diff.Change, heading string) []row {
	s, style := sign(c.Op)
	r := row{sign: s, style: style, label: label(c.Path), note: note(c), grave: c.Impact >= diff.ImpactRecreate, depth: 2}
	if heading != "" {
		r.label = "  " + strings.TrimPrefix(r.label, heading+".")
	}
	tree, isTree := c.Value.(map[string]any)
	if c.Op == diff.Remove {
		tree, isTree = c.Was.(map[string]any)
	}
	if isTree && c.Op != diff.Update {
		if short := valueText("", tree); len(short) > 40 {
			return append([]row{r}, t.tree(c, style)...)
		} else if len(tree) > 0 {
			r.text = short
		}
		return []row{r}
	}
	was, isText := c.Was.(string)
	value, _ := c.Value.(string)
	if c.Op == diff.Add {
		_, isText = c.Value.(string)
	}
	switch {
	case isText && !c.Secret && (strings.Contains(was, "\n") || strings.Contains(value, "\n")):
		r.block = t.lineDiff(was, value)
	case len(brief(c)) > t.room(r):
		r.block = t.folded(c)
	default:
		r.text = brief(c)
	}
	return []row{r}
}

// tree draws every value of a resource or element that comes or goes as a whole.
func (t *terminal) tree(c diff.Change, style lipgloss.Style) []row {
	tree, _ := c.Value.(map[string]any)
	if c.Op == diff.Remove {
		tree, _ = c.Was.(map[string]any)
	}
	var rows []row
	for _, l := range leaves(tree) {
		r := row{style: style, label: l.label(), depth: 4}
		text, isText := l.value.(string)
		switch {
		case isText && strings.Contains(text, "\n"):
			r.block = t.lineDiff("", text)
			if c.Op == diff.Remove {
				r.block = t.lineDiff(text, "")
			}
		case len(l.text()) > t.room(r):
			r.block = t.fold(l.text(), "  ")
		default:
			r.text = l.text()
		}
		rows = append(rows, r)
	}
	return rows
}

// room is how many columns a value has beside its label.
func (t *terminal) room(r row) int {
	return t.width - r.depth - 2 - min(lipgloss.Width(r.label), labelColumn) - 2
}

// Beyond this many columns a label pushes its value aside instead of widening the column for all.
const labelColumn = 44

// layout writes rows in three columns: label, values, note. A note that does not fit goes below.
func (t *terminal) layout(rows []row) {
	labels := 0
	for _, r := range rows {
		if r.text != "" && r.depth > 0 {
			if w := r.depth + lipgloss.Width(r.label); w <= labelColumn {
				labels = max(labels, w)
			}
		}
	}
	starts := make([]string, len(rows))
	for i := range rows {
		r := &rows[i]
		starts[i] = r.label
		if r.text == "" {
			continue
		}
		starts[i] += strings.Repeat(" ", max(labels-r.depth-lipgloss.Width(r.label), 0)+2) + r.text
		if r.depth+2+lipgloss.Width(starts[i]) > t.width {
			starts[i], r.block = r.label, t.fold(r.text, "  ")
		}
	}
	left := t.noteColumn(rows, starts)
	for i, r := range rows {
		s := r.sign
		if s == "" {
			s = " "
		}
		head := strings.Repeat(" ", r.depth) + t.paint(r.style, s+" "+starts[i])
		style := faint
		if r.grave {
			style = grave
		}
		w := r.depth + 2 + lipgloss.Width(starts[i])
		switch pad := max(left-w, 0) + 2; {
		case r.note == "":
			t.line(head)
		case w+pad+lipgloss.Width(r.note) <= t.width:
			t.line(head + strings.Repeat(" ", pad) + t.paint(style, r.note))
		default:
			t.line(head)
			for _, l := range wrap(r.note, t.width-r.depth-6) {
				t.line(strings.Repeat(" ", r.depth+6) + t.paint(style, l))
			}
		}
		for _, l := range r.block {
			t.line(strings.Repeat(" ", r.depth+4) + t.paintDiff(r.style, l))
		}
	}
}

// noteColumn is where most notes can stand below each other.
func (t *terminal) noteColumn(rows []row, starts []string) int {
	fits := make([]int, t.width+2) // by column; the differences from one column to the next
	for i, r := range rows {
		from, to := r.depth+2+lipgloss.Width(starts[i]), t.width-2-lipgloss.Width(r.note)
		if r.note != "" && from <= to {
			fits[from]++
			fits[to+1]--
		}
	}
	best, most, now := 0, 0, 0
	for column, step := range fits {
		if now += step; now > most {
			best, most = column, now
		}
	}
	return best
}

// note says what a change costs and where it is declared.
func note(c diff.Change) string {
	var parts []string
	if words := consequence(c); words != "" {
		parts = append(parts, visible(words))
	}
	if at := place(c.Origin); at != "" {
		parts = append(parts, at)
	}
	return strings.Join(parts, " · ")
}

// place is file:line; the column is for machines.
func place(at manifest.Origin) string {
	if at.Line == 0 {
		return visible(at.File)
	}
	return visible(at.File) + ":" + strconv.Itoa(at.Line)
}

// problems come last, right above the verdict: they are what somebody has to see.
func (t *terminal) problems(in Input) {
	for _, part := range in.problems() {
		t.line(t.paint(bold, part.title))
		for _, p := range part.list {
			text := visible(p.Message)
			if p.Ref != nil {
				text = subject(p) + ": " + text
			}
			if !p.Origin.IsZero() {
				text = visible(p.Origin.String()) + ": " + text
			}
			mark := t.paint(grave, "!")
			if !isError(p) {
				mark = t.paint(turning, "!")
			}
			for i, l := range wrap(text, t.width-4) {
				if i > 0 {
					mark = " "
				}
				t.line("  " + mark + " " + l)
			}
			for _, l := range wrap(visible(p.Hint), t.width-6) {
				t.line(t.paint(faint, "      "+l))
			}
		}
		t.line("")
	}
}

func (t *terminal) unobserved(all []diff.Unobserved) {
	if len(all) == 0 {
		return
	}
	t.line(t.paint(bold, "Not readable here, so neither equal nor different:"))
	var rows []row
	for _, u := range all {
		r := row{sign: "?", style: turning, label: fieldOf(u.Ref, u.Path), text: visible(u.Why), note: place(u.Origin), depth: 2}
		if len(r.text) > t.room(r) {
			r.text, r.block = "", wrap(r.text, t.width-10)
		}
		rows = append(rows, r)
	}
	t.layout(rows)
	t.line("")
}

func (t *terminal) ignored(in Input, opts Options) {
	text := in.ignoredLine()
	if text == "" {
		return
	}
	t.line(t.paint(faint, text))
	if opts.Ignored {
		var rows []row
		for _, i := range in.ignored() {
			r := row{sign: "=", style: faint, label: fieldOf(i.Change.Ref, i.Change.Path), text: oneLine(i.Change), note: ruleNote(i.Rule), depth: 2}
			if len(r.text) > t.room(r) {
				r.text, r.block = "", shortened(t.fold(r.text, "  "))
			}
			rows = append(rows, r)
		}
		t.layout(rows)
	}
	t.line("")
}

// rules tells of the rules that no longer hold, loudly, and of those without effect.
func (t *terminal) rules(in Input) {
	for _, e := range in.expired() {
		t.remark("! ", alarm(e), grave)
	}
	for _, r := range in.Changes.Idle {
		t.remark("? ", idle(r), turning)
	}
	if len(in.Changes.Expired)+len(in.Changes.Idle) > 0 {
		t.line("")
	}
}

// remark is prose behind a sign. What wraps is indented, for a line that a name begins could pass for a change.
func (t *terminal) remark(sign, text string, style lipgloss.Style) {
	for _, l := range wrap(text, t.width-6) {
		t.line(t.paint(style, sign+l))
		sign = "      "
	}
}

func (t *terminal) unmanaged(in Input, opts Options) {
	text := in.unmanagedLine()
	if text == "" {
		return
	}
	for _, l := range wrap(text, t.width) {
		t.line(t.paint(faint, l))
	}
	if opts.Unmanaged {
		for _, ref := range in.unmanaged() {
			t.line("    " + visible(ref.String()))
		}
	}
	t.line("")
}

// more says how much a shortened value leaves out.
func more(n int, what string) string { return "… " + strconv.Itoa(n) + " more " + what }
