package cc

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// Related returns the field "relationships"; when it is no object, or an empty one, that is the only problem noted about
// it. Unlike Relationships it lets unknown names pass, as most messages of the controller do.
func (b *Body) Related() (tree.Obj, bool) {
	rel, ok := b.Get("relationships").(tree.Obj)
	switch {
	case !ok:
		b.Add("Relationships 'relationships' is not an object")
	case len(rel) == 0:
		b.Add("Relationships 'relationships' must include one or more valid relationships")
	}
	return rel, ok && len(rel) > 0
}

// ToOne reads one to-one relationship that has to be there. Blank says that its absence is a problem by itself, which
// the controller notes beside that of the wrong structure.
func (b *Body) ToOne(rel tree.Obj, name string, blank bool) string {
	v := rel.Get(name)
	if blank && (v == nil || IsEmpty(v)) {
		b.Add("Relationships %s can't be blank", Human(name))
	}
	o, ok := v.(tree.Obj)
	data, has := o.Lookup("data")
	d, isObj := data.(tree.Obj)
	if !ok || len(o) != 1 || !has || data != nil && (!isObj || len(d) != 1 || !d.Has("guid")) {
		b.Add("Relationships %s must be structured like this: \"%s: {\"data\": {\"guid\": \"valid-guid\"}}\"", Human(name), name)
		return ""
	}
	if data == nil {
		return ""
	}
	return b.guid("Relationships "+Human(name)+" guid", d.Get("guid"))
}

// ToMany reads one to-many relationship; absence is no problem.
func (b *Body) ToMany(rel tree.Obj, name string) []string {
	v := rel.Get(name)
	if v == nil {
		return nil
	}
	o, _ := v.(tree.Obj)
	l, ok := o.Get("data").([]any)
	for _, e := range l {
		g, isObj := e.(tree.Obj)
		ok = ok && isObj && len(g) == 1 && g.Has("guid")
	}
	if !ok {
		b.Add("Relationships %s must be structured like this: \"%s: {\"data\": [{\"guid\": \"valid-guid\"},{\"guid\": \"valid-guid\"}]}\"", Human(name), name)
		return nil
	}
	var out []string
	for _, e := range l {
		out = append(out, b.guid("Relationships "+Human(strings.TrimSuffix(name, "s"))+" guids", e.(tree.Obj).Get("guid")))
	}
	return out
}

func (b *Body) guid(label string, v any) string {
	g, ok := v.(string)
	if !ok {
		b.Add("%s must be a string", label)
	}
	if len(g) < 1 || len(g) > 200 {
		b.Add("%s must be between 1 and 200 characters", label)
	}
	return g
}

// DataGUIDs reads the body of a to-many relationship endpoint, {"data": [{"guid": …}]}.
func (b *Body) DataGUIDs() []string {
	v := b.Get("data")
	if v == nil || IsEmpty(v) {
		b.Add("Data can't be blank")
	}
	l, ok := v.([]any)
	if !ok {
		b.Add("Data must be an array")
	}
	var out []string
	for i, e := range l {
		o, _ := e.(tree.Obj)
		g, ok := o.Get("guid").(string)
		if !ok {
			b.Add("Invalid data type: Data[%d] guid should be a string.", i)
		}
		out = append(out, g)
	}
	return out
}

// DataGUID reads the body of a to-one relationship endpoint, {"data": {"guid": …}} or {"data": null} to clear it.
func (b *Body) DataGUID() string {
	v, has := b.Lookup("data")
	if !has {
		b.Add("Data can't be blank")
		return ""
	}
	if v == nil {
		return ""
	}
	d, ok := v.(tree.Obj)
	if !ok || len(d) != 1 || !d.Has("guid") {
		b.Add("Data must be structured like this: \"data: {\"data\": {\"guid\": \"valid-guid\"}}\"")
		return ""
	}
	return b.guid("Data guid", d.Get("guid"))
}

// IsEmpty is what Ruby on Rails calls blank: an empty text, list or object, or false.
func IsEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		return len(v) == 0
	case tree.Obj:
		return len(v) == 0
	case bool:
		return !v
	}
	return false
}

// MaxInt is the largest number that the controller's database takes in most columns.
const MaxInt = math.MaxInt32

// Whole reads a whole number between two bounds, also from a text; the problem is said in the words of Ruby on Rails.
func Whole(v any, low, high int64) (n int, problem string) {
	if s, ok := v.(string); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil {
			return 0, "is not a number"
		}
		if v = f; f == math.Trunc(f) && !strings.ContainsAny(s, ".eE") {
			v = int64(f)
		}
	}
	var f float64
	switch v := v.(type) {
	case int64:
		n, f = int(v), float64(v)
	case float64:
		if f = v; math.Abs(v) < math.MaxInt64 {
			return 0, "must be an integer"
		}
	default:
		return 0, "is not a number"
	}
	switch {
	case f < float64(low):
		return 0, fmt.Sprintf("must be greater than or equal to %d", low)
	case f > float64(high):
		return 0, fmt.Sprintf("must be less than or equal to %d", high)
	}
	return n, ""
}
