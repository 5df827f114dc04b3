package manifest

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// The Cloud Controller reads YAML 1.1 through Ruby's Psych, so the same plain scalar can mean another thing
// there than it means to Go's YAML packages: 010 is 8, yes is true, 12:30:45 is 45045, 1e3 is a text. What a
// person's value becomes on the platform is what has to be compared, so scalars are read here as Psych
// reads them (its ScalarScanner with strict integers, as the controller calls it).
var (
	plainNull  = regexp.MustCompile(`(?i)^(null|~|)$`)
	plainTrue  = regexp.MustCompile(`(?i)^(yes|true|on)$`)
	plainFalse = regexp.MustCompile(`(?i)^(no|false|off)$`)
	plainTime  = regexp.MustCompile(`^-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(?:\d\d)?))?$`)
	plainDate  = regexp.MustCompile(`^\d{4}-(?:1[012]|0\d|\d)-(?:[12]\d|3[01]|0\d|\d)$`)
	plainInf   = regexp.MustCompile(`(?i)^([-+]?\.inf|\.nan)$`)
	plainInt60 = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}$`)
	plainFlt60 = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}\.[0-9_]*$`)
	plainFloat = regexp.MustCompile(`^[-+]?([0-9][0-9_,]*)?\.[0-9]*([eE][-+][0-9]+)?$`)
	plainInt   = regexp.MustCompile(`^[-+]?(0b_*[01][01_]*|0_*[0-7][0-7_]*|0|[1-9][0-9_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*)$`)
)

// The tags that a scalar can have once it was read. tagTime and tagInf are refused by ParseYAML.
const (
	tagNull  = "!!null"
	tagBool  = "!!bool"
	tagInt   = "!!int"
	tagFloat = "!!float"
	tagStr   = "!!str"
	tagTime  = "!!timestamp"
	tagInf   = "!!float!inf"
)

// readPlain reads an unquoted scalar. The returned text is its normal spelling: decimal digits, true or
// false, and for a float what Ruby prints, because that is what the controller stores.
func readPlain(s string) (tag, text string) {
	if s != "" && s[0] >= 'A' && plainWord(s) {
		return tagStr, s
	}
	switch {
	case plainNull.MatchString(s):
		return tagNull, "null"
	case plainTrue.MatchString(s):
		return tagBool, "true"
	case plainFalse.MatchString(s):
		return tagBool, "false"
	case strings.ContainsRune(s, '\n'):
		return tagStr, s
	case plainTime.MatchString(s), plainDate.MatchString(s):
		return tagTime, s
	case plainInf.MatchString(s):
		return tagInf, s
	case plainInt60.MatchString(s):
		return tagInt, sexagesimalInt(s)
	case plainFlt60.MatchString(s):
		return tagFloat, rubyFloat(sexagesimalFloat(s))
	case plainFloat.MatchString(s):
		plain := strings.NewReplacer(",", "", "_", "").Replace(s)
		if f, err := strconv.ParseFloat(plain, 64); err == nil && !math.IsInf(f, 0) {
			return tagFloat, rubyFloat(f)
		}
	case plainInt.MatchString(s):
		// Base 0 knows 0x, 0b and a leading 0 for octal, which is what Ruby's Integer() knows.
		if i, ok := new(big.Int).SetString(strings.TrimPrefix(strings.ReplaceAll(s, "_", ""), "+"), 0); ok {
			return tagInt, i.String()
		}
	}
	return tagStr, s
}

// plainWord says quickly that s, which begins with a letter, can be nothing but a text.
func plainWord(s string) bool {
	switch len(s) {
	case 2, 3, 4, 5: // no, on, yes, off, null, true, false
		return !plainNull.MatchString(s) && !plainTrue.MatchString(s) && !plainFalse.MatchString(s)
	}
	return s != "~"
}

// sexagesimalInt is Psych's arithmetic, where two parts count as hours and minutes: 12:30 is 45000.
func sexagesimalInt(s string) string {
	sum := new(big.Int)
	for i, part := range strings.Split(s, ":") {
		n, _ := new(big.Int).SetString(strings.TrimPrefix(strings.ReplaceAll(part, "_", ""), "+"), 10)
		if n == nil {
			continue
		}
		sum.Add(sum, n.Mul(n, big.NewInt(int64(sexagesimalWeight(i)))))
	}
	return sum.String()
}

func sexagesimalFloat(s string) float64 {
	var sum float64
	for i, part := range strings.Split(s, ":") {
		f, _ := strconv.ParseFloat(strings.TrimSuffix(strings.ReplaceAll(part, "_", ""), "."), 64)
		sum += f * sexagesimalWeight(i)
	}
	return sum
}

func sexagesimalWeight(i int) float64 { return math.Pow(60, math.Abs(float64(i-2))) }

// rubyFloat prints f as Ruby's Float#to_s does: at least one decimal, and an exponent outside of [1e-4, 1e16).
func rubyFloat(f float64) string {
	if f == 0 || (math.Abs(f) >= 1e-4 && math.Abs(f) < 1e16) {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.ContainsRune(s, '.') {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.ContainsRune(mantissa, '.') {
		mantissa += ".0"
	}
	return mantissa + "e" + exponent
}

// Value turns a node that ParseYAML returned into plain Go values: map[string]any, []any, string, int64,
// float64, bool and nil. Keys become text. An integer that does not fit becomes a float64.
func Value(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil
		}
		return Value(n.Content[0])
	case yaml.AliasNode: // ParseYAML leaves none; a Node from elsewhere may have some
		return Value(n.Alias)
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = Value(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = Value(c)
		}
		return list
	}
	switch n.Tag {
	case tagNull:
		return nil
	case tagBool:
		return n.Value == "true"
	case tagInt:
		if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			return i
		}
		f, _ := strconv.ParseFloat(n.Value, 64)
		return f
	case tagFloat:
		f, _ := strconv.ParseFloat(n.Value, 64)
		return f
	}
	return n.Value
}
