package cc

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// Body is a request body under validation. Problems are collected in the order in which the checks are made and
// answered joined into one error, as the controller does.
type Body struct {
	tree.Obj
	Problems []string
}

// Body reads the JSON body and notes fields other than the given ones.
func (q *Req) Body(fields ...string) (*Body, error) {
	o, err := q.JSON()
	if err != nil {
		return nil, err
	}
	return NewBody(o, fields...), nil
}

// NewBody validates an object that is already read.
func NewBody(o tree.Obj, fields ...string) *Body {
	b := &Body{Obj: o}
	if u := UnknownFields(o, fields...); u != "" {
		b.Add(u)
	}
	return b
}

// UnknownFields is the text about fields other than the given ones, empty when there are none.
func UnknownFields(o tree.Obj, fields ...string) string {
	var unknown []string
next:
	for _, f := range o {
		for _, k := range fields {
			if f.Key == k {
				continue next
			}
		}
		unknown = append(unknown, "'"+f.Key+"'")
	}
	if unknown == nil {
		return ""
	}
	return "Unknown field(s): " + strings.Join(unknown, ", ")
}

// Add notes a problem.
func (b *Body) Add(format string, a ...any) { b.Problems = append(b.Problems, text(format, a)) }

// Err is the 422 with all problems, nil when there are none.
func (b *Body) Err() error {
	if len(b.Problems) == 0 {
		return nil
	}
	return Unprocessable("%s", strings.Join(b.Problems, ", "))
}

// Str returns a string field and whether it is present as a string.
func (b *Body) Str(key string) (string, bool) {
	s, ok := b.Get(key).(string)
	return s, ok
}

// OptBool returns a boolean field; another type is a problem, absence is not.
func (b *Body) OptBool(key string) (v, present bool) {
	x, ok := b.Lookup(key)
	if !ok || x == nil {
		return false, false
	}
	v, ok = x.(bool)
	if !ok {
		b.Add("%s must be a boolean", Human(key))
	}
	return v, ok
}

// Length checks the length of a name in characters.
func (b *Body) Length(label, s string, lowest, highest int) {
	n := utf8.RuneCountInString(s)
	if n < lowest {
		b.Add("%s is too short (minimum is %d %s)", label, lowest, plural(lowest, "character"))
	}
	if n > highest {
		b.Add("%s is too long (maximum is %d %s)", label, highest, plural(highest, "character"))
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// Relationships returns the relationships object and notes what is wrong with it. Each name in one is a to-one
// relationship that has to be there; further lists what else may be.
func (b *Body) Relationships(one []string, further ...string) tree.Obj {
	v, ok := b.Lookup("relationships")
	rel, isObj := v.(tree.Obj)
	if !ok || !isObj {
		b.Add("Relationships 'relationships' is not an object")
		return tree.Obj{}
	}
	if len(rel) == 0 && len(one) > 0 {
		b.Add("Relationships 'relationships' must include one or more valid relationships")
		return rel
	}
	if u := UnknownFields(rel, append(append([]string{}, one...), further...)...); u != "" {
		b.Add("Relationships %s", u)
	}
	for _, name := range one {
		v := rel.Get(name)
		if o, isObj := v.(tree.Obj); v == nil || isObj && len(o) == 0 {
			b.Add("Relationships %s can't be blank", Human(name))
		}
		b.toOne(name, v)
	}
	return rel
}

// toOne checks the shape of one to-one relationship; {"data": null} is well-formed.
func (b *Body) toOne(name string, v any) {
	o, ok := v.(tree.Obj)
	data, isObj := o.Get("data").(tree.Obj)
	switch {
	case !ok || len(o) != 1 || !o.Has("data") || o.Get("data") != nil && (!isObj || len(data) != 1 || !data.Has("guid")):
		b.Add("Relationships %s must be structured like this: \"%s: {\"data\": {\"guid\": \"valid-guid\"}}\"", Human(name), name)
	case isObj:
		guid, isText := data.Get("guid").(string)
		if !isText {
			b.Add("Relationships %s guid must be a string", Human(name))
		}
		if n := utf8.RuneCountInString(guid); n < 1 || n > 200 {
			b.Add("Relationships %s guid must be between 1 and 200 characters", Human(name))
		}
	}
}

// ToOneShape reports whether v is {"data": {"guid": "text"}} and nothing else.
func ToOneShape(v any) bool {
	o, ok := v.(tree.Obj)
	if !ok || len(o) != 1 {
		return false
	}
	d, ok := o.Get("data").(tree.Obj)
	if !ok || len(d) != 1 {
		return false
	}
	g, ok := d.Get("guid").(string)
	return ok && g != ""
}

// RelGUID is the guid in a to-one relationship.
func RelGUID(rel tree.Obj, name string) string {
	g, _ := rel.Path(name, "data", "guid").(string)
	return g
}

// Human is how the controller's framework says a field name: memory_in_mb → Memory in mb.
func Human(key string) string {
	s := strings.ReplaceAll(key, "_", " ")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// GUIDs reads {"data": [{"guid": …}]}; false when it is not of that shape.
func GUIDs(v any) ([]string, bool) {
	l, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(l))
	for _, e := range l {
		o, ok := e.(tree.Obj)
		if !ok {
			return nil, false
		}
		g, ok := o.Get("guid").(string)
		if !ok {
			return nil, false
		}
		out = append(out, g)
	}
	return out, true
}

// Inspect is how Ruby would print a JSON value inside a text.
func Inspect(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return fmt.Sprintf("%q", v)
	case []string:
		parts := make([]string, len(v))
		for i, s := range v {
			parts[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []any:
		parts := make([]string, len(v))
		for i, s := range v {
			parts[i] = Inspect(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case tree.Obj:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = fmt.Sprintf("%q=>%s", f.Key, Inspect(f.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return string(tree.JSON(v))
}
