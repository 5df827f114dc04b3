package cc

import (
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Head begins the presentation of a resource: guid, created_at, updated_at, then what is given.
func Head(b *world.Base, kv ...any) tree.Obj {
	o := make(tree.Obj, 0, len(kv)/2+6)
	o = append(o, tree.Field{Key: "guid", Value: b.GUID}, tree.Field{Key: "created_at", Value: Stamp(b.Created)}, tree.Field{Key: "updated_at", Value: Stamp(b.Updated)})
	for i := 0; i+1 < len(kv); i += 2 {
		o = append(o, tree.Field{Key: kv[i].(string), Value: kv[i+1]})
	}
	return o
}

// Meta presents labels and annotations.
func Meta(b *world.Base) tree.Obj {
	return tree.O("labels", StringMap(b.Labels), "annotations", StringMap(b.Annotations))
}

// StringMap presents a map in the order of its keys.
func StringMap(m map[string]string) tree.Obj {
	o := make(tree.Obj, 0, len(m))
	for k, v := range m {
		o = append(o, tree.Field{Key: k, Value: v})
	}
	slices.SortFunc(o, func(a, b tree.Field) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return o
}

// One presents a to-one relationship; an empty guid is data: null.
func One(guid string) tree.Obj {
	if guid == "" {
		return tree.O("data", nil)
	}
	return tree.O("data", tree.O("guid", guid))
}

// Many presents a to-many relationship.
func Many(guids []string) tree.Obj {
	l := make([]any, len(guids))
	for i, g := range guids {
		l[i] = tree.O("guid", g)
	}
	return tree.O("data", l)
}

// OrNil is null for an empty text.
func OrNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
