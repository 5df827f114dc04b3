package cc

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// requirement is one clause of a label selector: existence (in is nil), a set, or the negation of either.
type requirement struct {
	key string
	not bool
	in  []string
}

var (
	selSet   = regexp.MustCompile(`\A\s*([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)\s*\z`)
	selEqual = regexp.MustCompile(`\A\s*([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)\s*\z`)
	selHas   = regexp.MustCompile(`\A\s*(!?)([^\s!=,()]+)\s*\z`)
)

const maxRequirements = 50

// parseSelector reads a label selector: k, !k, k=v, k==v, k!=v, k in (a,b), k notin (a,b), joined by commas.
func parseSelector(s string) ([]requirement, string) {
	if strings.TrimSpace(s) == "" {
		return nil, "Missing label_selector value"
	}
	parts := splitSelector(s)
	if len(parts) > maxRequirements {
		return nil, fmt.Sprintf("Too many label_selector requirements (maximum is %d)", maxRequirements)
	}
	var out []requirement
	for _, part := range parts {
		var r requirement
		if m := selSet.FindStringSubmatch(part); m != nil {
			r = requirement{key: m[1], not: m[2] == "notin", in: []string{}}
			for _, v := range strings.Split(m[3], ",") {
				r.in = append(r.in, strings.TrimSpace(v))
			}
		} else if m := selEqual.FindStringSubmatch(part); m != nil {
			r = requirement{key: m[1], not: m[2] == "!=", in: []string{m[3]}}
		} else if m := selHas.FindStringSubmatch(part); m != nil {
			r = requirement{key: m[2], not: m[1] == "!"}
		} else {
			return nil, "Invalid label_selector value"
		}
		if p := keyProblem(r.key); p != "" {
			return nil, p
		}
		for _, v := range r.in {
			if _, p := labelValue(v); p != "" {
				return nil, p
			}
		}
		out = append(out, r)
	}
	return out, ""
}

// splitSelector splits at commas outside parentheses.
func splitSelector(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, s[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, s[start:])
}

// matches reports whether labels fulfil the clause. != and notin match resources without the key (observed fact).
func (r requirement) matches(labels map[string]string) bool {
	v, has := labels[r.key]
	if r.in == nil {
		return has != r.not
	}
	return (has && slices.Contains(r.in, v)) != r.not
}
