package cc

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Limits of metadata (V3 reference, "Metadata"; the length of prefixes is an observed fact).
const (
	maxLabels       = 50
	maxAnnotations  = 200
	maxKey          = 63
	maxLabelValue   = 63
	maxAnnotation   = 5000
	maxPrefix       = 253
	reservedPrefix  = "cloudfoundry.org"
	wordInvalid     = "contains invalid characters"
	wordInvalidEnds = "starts or ends with invalid characters"
)

var (
	metaChars = regexp.MustCompile(`\A[A-Za-z0-9._-]*\z`)
	metaEnds  = regexp.MustCompile(`\A[A-Za-z0-9](?:.*[A-Za-z0-9])?\z`)
	dnsPrefix = regexp.MustCompile(`(?i)\A(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\z`)
)

// Metadata is a change of labels and annotations; a nil value removes a key.
type Metadata struct {
	Labels, Annotations []MetaChange
}

// MetaChange is one key of it.
type MetaChange struct {
	Key   string
	Value *string
}

// Metadata reads the field "metadata" of a body, if it is there, and notes what is wrong with it.
func (b *Body) Metadata() Metadata {
	v, ok := b.Lookup("metadata")
	if !ok {
		return Metadata{}
	}
	m, problems := ReadMetadata(v)
	b.Problems = append(problems, b.Problems...) // the controller looks at metadata first
	return m
}

// ReadMetadata validates a metadata object and returns every problem with it.
func ReadMetadata(v any) (m Metadata, problems []string) {
	o, ok := v.(tree.Obj)
	if !ok {
		return m, []string{"Metadata must be an object"}
	}
	if u := UnknownFields(o, "labels", "annotations"); u != "" {
		problems = append(problems, "Metadata has unexpected field(s):"+strings.TrimPrefix(u, "Unknown field(s):"))
	}
	if l, ok := o.Lookup("labels"); ok && l != nil {
		lo, ok := l.(tree.Obj)
		if !ok {
			problems = append(problems, "Metadata 'labels' is not an object")
		}
		for _, f := range lo {
			if p := keyProblem(f.Key); p != "" {
				problems = append(problems, "Metadata label key error: "+p)
			}
			s, p := labelValue(f.Value)
			if p != "" {
				problems = append(problems, "Metadata label value error: "+p)
			}
			m.Labels = append(m.Labels, MetaChange{f.Key, s})
		}
	}
	if a, ok := o.Lookup("annotations"); ok && a != nil {
		ao, ok := a.(tree.Obj)
		if !ok {
			problems = append(problems, "Metadata 'annotations' is not an object")
		}
		for _, f := range ao {
			if p := keyProblem(f.Key); p != "" && f.Value != nil && f.Value != "" { // what is removed may have any key
				problems = append(problems, "Metadata annotation key error: "+p)
			}
			s := metaText(f.Value)
			if s != nil && utf8.RuneCountInString(*s) > maxAnnotation {
				problems = append(problems, "Metadata annotation value error: "+short(*s)+" is greater than 5000 characters")
			}
			m.Annotations = append(m.Annotations, MetaChange{f.Key, s})
		}
	}
	return m, problems
}

// metaText makes text of a value: numbers and booleans are accepted (observed fact), null removes the key.
func metaText(v any) *string {
	var s string
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		s = v
	case tree.Obj, []any:
		s = Inspect(v)
	default:
		s = string(tree.JSON(v))
	}
	return &s
}

func keyProblem(key string) string {
	prefix, name, has := strings.Cut(key, "/")
	if !has {
		name, prefix = prefix, ""
	}
	switch {
	case strings.Count(key, "/") > 1:
		return "key has more than one '/'"
	case has && !dnsPrefix.MatchString(prefix):
		return "prefix '" + prefix + "' must be in valid dns format"
	case has && len(prefix) > maxPrefix:
		return "prefix " + short(prefix) + " is greater than 253 characters"
	case has && strings.EqualFold(prefix, reservedPrefix):
		return "prefix '" + prefix + "' is reserved"
	case name == "":
		return "key cannot be empty string"
	}
	return nameProblem(name, maxKey)
}

func nameProblem(s string, longest int) string {
	switch {
	case !metaChars.MatchString(s):
		return "'" + s + "' " + wordInvalid
	case !metaEnds.MatchString(s):
		return "'" + s + "' " + wordInvalidEnds
	case utf8.RuneCountInString(s) > longest:
		return short(s) + " is greater than 63 characters"
	}
	return ""
}

func labelValue(v any) (*string, string) {
	s := metaText(v)
	if s == nil || *s == "" {
		return s, ""
	}
	return s, nameProblem(*s, maxLabelValue)
}

func short(s string) string {
	r := []rune(s)
	if len(r) > 8 {
		r = r[:8]
	}
	return "'" + string(r) + "...'"
}

// Check reports whether the change fits the limits on the number of keys.
func (m Metadata) Check(b *world.Base) error {
	if n, over := grows(b.Labels, m.Labels, maxLabels); over {
		return NewError(422, 390020, "LabelLimitExceeded", "Failed to add %d labels because it would exceed maximum of %d", n, maxLabels)
	}
	if n, over := grows(b.Annotations, m.Annotations, maxAnnotations); over {
		return NewError(422, 390023, "AnnotationLimitExceeded", "Failed to add %d annotations because it would exceed maximum of %d", n, maxAnnotations)
	}
	return nil
}

func grows(have map[string]string, changes []MetaChange, limit int) (added int, over bool) {
	total := len(have)
	for _, c := range changes {
		_, there := have[c.Key]
		switch {
		case c.Value != nil && !there:
			total++
			added++
		case c.Value != nil:
			added++
		case there:
			total--
		}
	}
	return added, total > limit
}

// Apply makes the change. The maps are replaced, never written to.
func (m Metadata) Apply(b *world.Base) {
	b.Labels = merged(b.Labels, m.Labels)
	b.Annotations = merged(b.Annotations, m.Annotations)
}

func merged(have map[string]string, changes []MetaChange) map[string]string {
	if len(changes) == 0 {
		return have
	}
	out := make(map[string]string, len(have)+len(changes))
	for k, v := range have {
		out[k] = v
	}
	for _, c := range changes {
		if c.Value == nil {
			delete(out, c.Key)
		} else {
			out[c.Key] = *c.Value
		}
	}
	return out
}

// Empty reports whether nothing would change.
func (m Metadata) Empty() bool { return len(m.Labels) == 0 && len(m.Annotations) == 0 }
