// Package psych reads YAML as Ruby's Psych does, which the Cloud Controller uses, and writes what it would read back.
//
// The parser below it knows YAML 1.2 with some of 1.1; what a plain scalar means is decided here, by the rules of YAML
// 1.1 as Psych has them: no and off are false, 010 is 8, 12:30:45 is 45045, 1e3 is text (there is no point in it), and a
// bare date is an error, for the controller loads safely.
package psych

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// ErrAlias is for anchors and aliases, which the controller refuses by name.
var ErrAlias = errors.New("psych: anchors and aliases are not supported")

// ErrEmpty is for a text without a document.
var ErrEmpty = errors.New("psych: no document")

// Odd begins a map key that is no string; what follows is how Ruby would print it.
const Odd = "\x00"

// Parse reads the first document of a text into objects, lists and scalars (see package tree).
func Parse(text []byte) (any, error) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); err != nil {
		if err.Error() == "EOF" {
			return nil, ErrEmpty
		}
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, ErrEmpty
	}
	return value(doc.Content[0])
}

func value(n *yaml.Node) (any, error) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return nil, ErrAlias
	}
	switch n.Kind {
	case yaml.MappingNode:
		o := tree.Obj{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, err := value(n.Content[i])
			if err != nil {
				return nil, err
			}
			v, err := value(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			name, ok := k.(string)
			if !ok {
				name = Odd + Text(k)
			}
			o.Set(name, v) // of duplicate keys the last wins (observed fact)
		}
		return o, nil
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			v, err := value(c)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		return l, nil
	case yaml.ScalarNode:
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			return n.Value, nil
		}
		if n.Style&yaml.TaggedStyle != 0 {
			if n.Tag == "!!str" || n.Tag == "!" {
				return n.Value, nil
			}
			if !strings.HasPrefix(n.Tag, "!!") || strings.HasPrefix(n.Tag, "!!ruby") {
				return nil, fmt.Errorf("psych: tag %s is not allowed", n.Tag)
			}
		}
		return Scalar(n.Value)
	}
	return nil, fmt.Errorf("psych: line %d cannot be read", n.Line)
}

var (
	integer  = regexp.MustCompile(`\A(?:[-+]?0b[01_,]+|[-+]?0[0-7_,]+|[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)|[-+]?0x[0-9a-fA-F_,]+)\z`)
	float    = regexp.MustCompile(`\A[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][+-][0-9]+)?\z`)
	base60   = regexp.MustCompile(`\A[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}\z`)
	base60f  = regexp.MustCompile(`\A[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}\.[0-9_]*\z`)
	date     = regexp.MustCompile(`\A\d{4}-(?:1[012]|0\d|\d)-(?:[12]\d|3[01]|0\d|\d)\z`)
	stamp    = regexp.MustCompile(`\A-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(?:\d\d)?))?\z`)
	truthy   = regexp.MustCompile(`(?i)\A(?:yes|true|on)\z`)
	falsy    = regexp.MustCompile(`(?i)\A(?:no|false|off)\z`)
	nothing  = regexp.MustCompile(`(?i)\A(?:null|~)?\z`)
	infinite = regexp.MustCompile(`(?i)\A([-+]?)\.inf\z`)
	nan      = regexp.MustCompile(`(?i)\A\.nan\z`)
)

// Scalar says what a plain scalar means.
func Scalar(s string) (any, error) {
	switch {
	case nothing.MatchString(s):
		return nil, nil
	case truthy.MatchString(s):
		return true, nil
	case falsy.MatchString(s):
		return false, nil
	case date.MatchString(s), stamp.MatchString(s):
		return nil, fmt.Errorf("psych: %s is a date, which is not allowed", s)
	case strings.HasPrefix(s, ":") && len(s) > 1:
		return nil, fmt.Errorf("psych: %s is a symbol, which is not allowed", s)
	case infinite.MatchString(s):
		if strings.HasPrefix(s, "-") {
			return math.Inf(-1), nil
		}
		return math.Inf(1), nil
	case nan.MatchString(s):
		return math.NaN(), nil
	case integer.MatchString(s):
		return wholeNumber(s), nil
	case float.MatchString(s) && strings.ContainsAny(s, "0123456789"):
		f, err := strconv.ParseFloat(strings.NewReplacer("_", "", ",", "").Replace(s), 64)
		if err != nil {
			return s, nil //nolint:nilerr // then it is a text
		}
		return f, nil
	case base60.MatchString(s):
		total := int64(0)
		for i, p := range strings.Split(s, ":") {
			n, _ := strconv.ParseInt(strings.ReplaceAll(p, "_", ""), 10, 64)
			total += n * power60(i)
		}
		return total, nil
	case base60f.MatchString(s):
		total := 0.0
		for i, p := range strings.Split(s, ":") {
			n, _ := strconv.ParseFloat(strings.ReplaceAll(p, "_", ""), 64)
			total += n * float64(power60(i))
		}
		return total, nil
	}
	return s, nil
}

// power60 is Psych's 60 ** (i - 2).abs: 12:30 is twelve hours and thirty minutes, never minutes and seconds.
func power60(i int) int64 {
	switch i {
	case 0:
		return 3600
	case 1:
		return 60
	}
	return 1
}

func wholeNumber(s string) any {
	plain := strings.NewReplacer("_", "", ",", "").Replace(s)
	digits := strings.TrimLeft(plain, "+-")
	base := 10
	switch {
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	case strings.HasPrefix(digits, "0b"):
		base, digits = 2, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		base, digits = 8, digits[1:]
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err != nil {
		return plain // beyond 64 bits: the digits are kept as they are
	}
	if strings.HasPrefix(plain, "-") {
		n = -n
	}
	return n
}

// Text is to_s of a value: how it looks as an environment variable.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case int:
		return strconv.Itoa(v)
	case float64:
		return floatText(v)
	}
	return Inspect(v)
}

func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0 || math.Abs(f) >= 1e-4 && math.Abs(f) < 1e16:
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	return mantissa + "e" + exponent
}

// Inspect is how Ruby prints a value inside another.
func Inspect(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return strconv.Quote(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = Inspect(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case tree.Obj:
		parts := make([]string, len(v))
		for i, f := range v {
			key := strconv.Quote(f.Key)
			if odd, ok := strings.CutPrefix(f.Key, Odd); ok {
				key = odd
			}
			parts[i] = key + "=>" + Inspect(f.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return Text(v)
}
