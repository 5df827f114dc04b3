package psych

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// Emit writes a value as a YAML document. Text that would be read as something else is quoted.
func Emit(v any) string {
	var b strings.Builder
	b.WriteString("---")
	emit(&b, v, 0, false)
	return b.String()
}

// emit writes a value after its key or dash. inline says that the value may begin on the same line (after a dash).
func emit(b *strings.Builder, v any, depth int, inline bool) {
	switch v := v.(type) {
	case tree.Obj:
		if len(v) == 0 {
			b.WriteString(" {}\n")
			return
		}
		for i, f := range v {
			switch {
			case inline && i == 0:
				b.WriteByte(' ')
			case i == 0:
				b.WriteByte('\n')
				fallthrough
			default:
				b.WriteString(strings.Repeat("  ", depth))
			}
			b.WriteString(quoted(strings.TrimPrefix(f.Key, Odd)))
			b.WriteByte(':')
			next := depth + 1
			if _, isList := f.Value.([]any); isList {
				next = depth // Ruby does not indent the lists of a map
			}
			if _, isList := f.Value.([]string); isList {
				next = depth
			}
			emit(b, f.Value, next, false)
		}
	case []any:
		if len(v) == 0 {
			b.WriteString(" []\n")
			return
		}
		if !inline {
			b.WriteByte('\n')
		}
		for i, e := range v {
			if inline && i == 0 {
				b.WriteByte(' ')
			} else {
				b.WriteString(strings.Repeat("  ", depth))
			}
			b.WriteByte('-')
			emit(b, e, depth+1, true)
		}
	case []string:
		l := make([]any, len(v))
		for i := range v {
			l[i] = v[i]
		}
		emit(b, l, depth, inline)
	case string:
		b.WriteByte(' ')
		b.WriteString(quoted(v))
		b.WriteByte('\n')
	case nil:
		b.WriteByte('\n')
	default:
		b.WriteByte(' ')
		b.WriteString(fmt.Sprint(v))
		b.WriteByte('\n')
	}
}

var safe = regexp.MustCompile(`\A[A-Za-z0-9_./$][A-Za-z0-9_./$@+~^=(),; -]*(?::[A-Za-z0-9_./$@+~^=(),;-]+)*\z`)

// quoted is a string as a scalar: bare when it is read back as the same text, else in double quotes.
func quoted(s string) string {
	if safe.MatchString(s) && !strings.HasSuffix(s, " ") && !strings.Contains(s, " #") {
		if v, err := Scalar(s); err == nil && v == any(s) && s != "=" && s != "<<" && !yes[s] {
			return s
		}
	}
	return string(tree.JSON(s))
}

// yes are texts that other readers of YAML 1.1 take for booleans.
var yes = map[string]bool{"y": true, "Y": true, "n": true, "N": true}
