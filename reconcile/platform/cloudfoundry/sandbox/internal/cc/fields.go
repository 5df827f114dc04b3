package cc

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// FieldRule says which keys fields[resource] may ask for.
type FieldRule struct {
	Resource string
	Keys     []string
}

// Fields is what the parameters fields[resource]=key,… ask for.
func (q *Req) Fields() map[string][]string {
	out := map[string][]string{}
	for _, k := range q.queryKeys() {
		if name, resource, has := operator(k); name == "fields" && has {
			out[resource] = strings.Split(q.Query.Get(k), ",")
		}
	}
	return out
}

// FieldsProblem is what is wrong with the parameters fields[…], "" when nothing is.
func (q *Req) FieldsProblem(rules []FieldRule) string {
	if q.Query.Has("fields") {
		return "Fields must be an object"
	}
	for _, k := range q.queryKeys() {
		name, resource, has := operator(k)
		if name != "fields" || !has {
			continue
		}
		i := slices.IndexFunc(rules, func(r FieldRule) bool { return r.Resource == resource })
		if i < 0 {
			var names []string
			for _, r := range rules {
				names = append(names, "'"+r.Resource+"'")
			}
			return "Fields [" + resource + "] valid resources are: " + strings.Join(names, ", ")
		}
		for _, key := range strings.Split(q.Query.Get(k), ",") {
			if !slices.Contains(rules[i].Keys, key) {
				return "Fields valid keys for '" + resource + "' are: '" + strings.Join(rules[i].Keys, "', '") + "'"
			}
		}
	}
	return ""
}

// FieldsParam is the parameter fields[…] of a list.
func FieldsParam[R world.Row](rules []FieldRule) Filter[R] {
	return Filter[R]{Name: "fields", Make: func(q *Req, _ []string) (func(R) bool, string) { return nil, q.FieldsProblem(rules) }}
}

// Pick keeps the asked-for keys of an object, in the order of the object.
func Pick(o tree.Obj, keys []string) tree.Obj {
	out := tree.Obj{}
	for _, f := range o {
		if slices.Contains(keys, f.Key) {
			out = append(out, f)
		}
	}
	return out
}
