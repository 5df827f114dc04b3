package render

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// visible makes every character of s one that a terminal or a page shows and nothing obeys: control characters,
// line and paragraph separators, and the invisible ones that turn the direction of text are spelled out.
func visible(s string) string {
	plain := true
	for _, r := range s {
		plain = plain && r >= ' ' && r < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i]) // no UTF-8
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r <= 0xff && unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case invisible(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// invisible characters act on what shows them instead of showing.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

// looksTyped matches text that a reader would take for something other than text.
var looksTyped = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|null|nil|~|[-+]?[0-9][0-9_.,:]*)$`)

// valueText draws a value on one line. key is the last key of its path, which may tell a unit.
func valueText(key string, v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		if v == diff.Hidden {
			return v
		}
		return quoted(v)
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return amount(key, v)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = valueText("", e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, segment(k)+": "+valueText(k, v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("(a %T)", v)
	}
	return visible(string(b))
}

// quoted puts quotation marks around text that would be misread without them.
func quoted(s string) string {
	shown := visible(s)
	if shown != s || s == "" || strings.TrimSpace(s) != s || looksTyped.MatchString(s) || strings.ContainsAny(s[:1], `"[{`) || strings.Contains(s, " → ") {
		return `"` + strings.ReplaceAll(shown, `"`, `\"`) + `"`
	}
	return s
}

// amount draws a number with the unit that its key tells, as people say it: 1536 of memory_in_mb is 1.5 GB.
// It only changes to a larger unit where that loses nothing.
func amount(key string, n int64) string {
	units, rate := []string{"B", "KB", "MB", "GB", "TB"}, ""
	switch {
	case strings.HasSuffix(key, "_in_mb"):
		units = units[2:]
	case strings.HasSuffix(key, "_in_bytes"):
	case strings.HasSuffix(key, "_in_bytes_per_second"):
		rate = "/s"
	default:
		return strconv.FormatInt(n, 10)
	}
	if n < 0 {
		return "unlimited"
	}
	hundredths := int64(100)
	if n < 1<<53 {
		n *= 100
	} else {
		hundredths = 1
	}
	for len(units) > 1 && n >= 1024*hundredths && n%1024 == 0 {
		n, units = n/1024, units[1:]
	}
	return strconv.FormatFloat(float64(n)/float64(hundredths), 'f', -1, 64) + " " + units[0] + rate
}

// label draws a JSON pointer for people: processes.web.instances, metadata.labels."example.com/team".
func label(pointer string) string {
	keys := manifest.SplitPointer(pointer)
	for i, k := range keys {
		keys[i] = segment(k)
	}
	return strings.Join(keys, ".")
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func segment(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return `"` + strings.ReplaceAll(visible(key), `"`, `\"`) + `"`
}

func lastKey(pointer string) string {
	keys := manifest.SplitPointer(pointer)
	if len(keys) == 0 {
		return ""
	}
	return keys[len(keys)-1]
}

// leaf is one value of a tree.
type leaf struct {
	path  []string
	value any
}

func (l leaf) label() string { return label(manifest.Pointer(l.path...)) }

func (l leaf) text() string { return valueText(l.path[len(l.path)-1], l.value) }

// leaves lists the values of a tree in the order of their keys. Where there is nothing, nothing is listed.
func leaves(tree map[string]any, path ...string) []leaf {
	var all []leaf
	for _, k := range slices.Sorted(maps.Keys(tree)) {
		at := append(slices.Clone(path), k)
		switch v := tree[k].(type) {
		case nil:
		case map[string]any:
			all = append(all, leaves(v, at...)...)
		default:
			all = append(all, leaf{at, v})
		}
	}
	return all
}

// sides are the texts of what was and what shall be, "" where there is none.
func sides(c diff.Change) (was, value string) {
	key := lastKey(c.Path)
	if c.Op != diff.Add {
		was = valueText(key, c.Was)
	}
	if c.Op != diff.Remove {
		value = valueText(key, c.Value)
	}
	return was, value
}

// brief draws the values of a change on one line.
func brief(c diff.Change) string {
	was, value := sides(c)
	switch {
	case c.Secret && c.Op == diff.Update:
		return "(secret, changed)"
	case c.Secret:
		return diff.Hidden
	case c.Op == diff.Add:
		return value
	case c.Op == diff.Remove:
		return was
	}
	return was + " → " + value
}

// oneLine is brief where a tree may come or go.
func oneLine(c diff.Change) string {
	if c.Path == "" {
		return map[diff.Op]string{diff.Add: "does not exist", diff.Remove: "exists"}[c.Op]
	}
	return brief(c)
}
