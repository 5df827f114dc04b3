package render

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/aymanbagabas/go-udiff"
	"github.com/charmbracelet/x/ansi"

	"github.com/fettle-gitops/fettle/diff"
)

// A value gets at most this many lines. Whoever needs more of it has the file at hand.
const blockLines = 24

// lineDiff draws a change of a text of several lines as a line diff: "- ", "+ " and "  " lines.
func (t *terminal) lineDiff(was, value string) []string {
	// Without the last line break, the last line is compared like all others.
	was, value = terminated(was), terminated(value)
	unified, err := udiff.ToUnifiedDiff("", "", was, udiff.Lines(was, value), 2)
	if err != nil || len(unified.Hunks) == 0 { // they differ only in the last line break, or in nothing
		return []string{"(differs only in the line break at the end)"}
	}
	var lines []string
	for i, h := range unified.Hunks {
		if i > 0 || h.FromLine > 1 {
			lines = append(lines, "⋯")
		}
		for _, l := range h.Lines {
			prefix := "  "
			switch l.Kind {
			case udiff.Delete:
				prefix = "- "
			case udiff.Insert:
				prefix = "+ "
			}
			lines = append(lines, t.fold(visible(strings.TrimSuffix(l.Content, "\n")), prefix)...)
		}
	}
	return shortened(lines)
}

func terminated(s string) string {
	if s == "" || strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}

// folded draws a long change of one line each: what was, what shall be.
func (t *terminal) folded(c diff.Change) []string {
	was, value := sides(c)
	var lines []string
	if c.Op != diff.Add {
		lines = append(lines, shortened(t.fold(was, "- "))...)
	}
	if c.Op != diff.Remove {
		lines = append(lines, shortened(t.fold(value, "+ "))...)
	}
	return lines
}

// fold breaks a line to the width of the terminal; the prefix marks the first part, the others are indented.
func (t *terminal) fold(s, prefix string) []string {
	parts := pieces(s, max(t.width-12, 20))
	for i := range parts {
		if i == 0 {
			parts[i] = prefix + parts[i]
		} else {
			parts[i] = "  " + parts[i]
		}
	}
	return parts
}

// pieces cuts s so that no piece is wider than width, after a space where one is near. It loses no character.
func pieces(s string, width int) []string {
	var all []string
	for lipgloss.Width(s) > width {
		end := len(ansi.Truncate(s, width, ""))
		if space := strings.LastIndexByte(s[:end], ' ') + 1; space > end/2 {
			end = space
		}
		if end == 0 { // a character wider than the terminal
			break
		}
		all, s = append(all, s[:end]), s[end:]
	}
	return append(all, s)
}

func shortened(lines []string) []string {
	if len(lines) <= blockLines+1 {
		return lines
	}
	return append(lines[:blockLines:blockLines], more(len(lines)-blockLines, "lines"))
}

// wrap breaks prose between words.
func wrap(s string, width int) []string {
	return strings.Split(ansi.Wrap(s, max(width, 20), ""), "\n")
}

// paintDiff colours one line of a block by its prefix.
func (t *terminal) paintDiff(otherwise lipgloss.Style, l string) string {
	switch {
	case strings.HasPrefix(l, "- "):
		return t.paint(leaving, l)
	case strings.HasPrefix(l, "+ "):
		return t.paint(adding, l)
	case strings.HasPrefix(l, "… "), l == "⋯":
		return t.paint(faint, l)
	case strings.HasPrefix(l, "  "):
		return l
	}
	return t.paint(otherwise, l)
}
