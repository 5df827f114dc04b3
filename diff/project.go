package diff

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
)

// projection reduces a declared and a live object to what may differ: from live state it keeps what Git
// declares and what ownership brings in, and from both it drops every part that is equal. What remains is
// small, and the engine, which works by reflection, looks at nothing else.
type projection struct {
	desired, live *manifest.Object
	ledger        Ledger
	unobserved    []Unobserved
}

// collections of resources within a resource. An element of theirs that is missing is created as a whole,
// whereas a missing group of fields (a health check) is filled in field by field.
var collections = map[string]bool{"/processes": true, "/sidecars": true, "/destinations": true}

func (p *projection) hasElements(pointer string) bool {
	return collections[pointer] || p.desired.Ownership[pointer] != ""
}

// tree gives the differing parts of want and have, which stand at pointer.
func (p *projection) tree(pointer string, want, have map[string]any) (w, h map[string]any, err error) {
	w, h = map[string]any{}, map[string]any{}
	for k, wv := range want {
		at := func() string { return pointer + manifest.Pointer(k) } // most keys never need it
		if len(p.live.Unobservable) > 0 {
			if why, unreadable := p.live.Unobservable[at()]; unreadable {
				p.unreadable(at(), why)
				continue
			}
		}
		hv := have[k]
		wm, wantMap := wv.(map[string]any)
		hm, haveMap := hv.(map[string]any)
		switch {
		case wantMap && (haveMap || hv == nil && !p.hasElements(pointer)):
			cw, ch, err := p.tree(at(), wm, hm)
			if err != nil {
				return nil, nil, err
			}
			if len(cw)+len(ch) > 0 {
				w[k], h[k] = cw, ch
			}
		case !wantMap && nothing(wv) && nothing(hv):
		case equalScalars(wv, hv):
		default:
			cw, err := canonical(wv)
			if err != nil {
				return nil, nil, fmt.Errorf("declared %s: %w", at(), err)
			}
			ch, err := canonical(hv)
			if err != nil {
				return nil, nil, fmt.Errorf("live %s: %w", at(), err)
			}
			if reflect.DeepEqual(cw, ch) {
				break
			}
			// nil and absent are the same; an empty element (a bare process) is something.
			if cw != nil {
				w[k] = cw
			}
			if ch != nil {
				h[k] = ch
			}
		}
	}
	return w, h, p.liveOnly(pointer, want, have, w, h)
}

// liveOnly puts into h what lives at pointer, is not declared, and has to go.
func (p *projection) liveOnly(pointer string, want, have, w, h map[string]any) error {
	if len(p.desired.Ownership) == 0 {
		return nil
	}
	owner := p.desired.Ownership[pointer]
	if pointer == "" {
		owner = manifest.Additive // "" speaks of the resource, not of its fields
	}
	for k, hv := range have {
		if _, declared := want[k]; declared || hv == nil {
			continue
		}
		at := pointer + manifest.Pointer(k)
		why, unreadable := p.live.Unobservable[at]
		switch {
		case owner == manifest.Exact, owner == manifest.ThreeWay && p.ledger.Owns(p.desired.Ref, at):
			if unreadable {
				p.unreadable(at, why)
				continue
			}
			ch, err := canonical(hv)
			if err != nil {
				return fmt.Errorf("live %s: %w", at, err)
			}
			h[k] = ch
		case p.ownsBelow(at): // Git no longer names the collection, and still owns elements of it
			if unreadable {
				p.unreadable(at, why)
				continue
			}
			if hm, ok := hv.(map[string]any); ok {
				cw, ch, err := p.tree(at, nil, hm)
				if err != nil {
					return err
				}
				if len(ch) > 0 {
					w[k], h[k] = cw, ch // an empty cw keeps the engine from removing the collection itself
				}
			}
		}
	}
	return nil
}

// ownsBelow reports whether a collection at pointer, or below it, is owned more than additively.
func (p *projection) ownsBelow(pointer string) bool {
	for at, owner := range p.desired.Ownership {
		if owner != manifest.Additive && (at == pointer || strings.HasPrefix(at, pointer+"/")) {
			return true
		}
	}
	return false
}

// ownedUnreadable notes the collections that Git owns without naming them, and that could not be read: there
// may be something in them that has to go.
func (p *projection) ownedUnreadable() {
	for hidden, why := range p.live.Unobservable {
		for at, owner := range p.desired.Ownership {
			concerned := owner == manifest.Exact || owner == manifest.ThreeWay && p.appliedBelow(at)
			covered := at == hidden || strings.HasPrefix(at, hidden+"/")
			said := slices.ContainsFunc(p.unobserved, func(u Unobserved) bool { return u.Path == hidden })
			if concerned && covered && !said {
				p.unreadable(hidden, why)
			}
		}
	}
}

func (p *projection) appliedBelow(pointer string) bool {
	for at := range p.ledger[p.desired.Ref] {
		if strings.HasPrefix(at, pointer+"/") {
			return true
		}
	}
	return false
}

func (p *projection) unreadable(pointer, why string) {
	p.unobserved = append(p.unobserved, Unobserved{Ref: p.desired.Ref, Path: pointer, Why: why, Origin: p.desired.FieldOrigin(pointer)})
}

// nothing reports whether v says that there is nothing at its place.
func nothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// equalScalars is the quick answer for nearly all leaves; false means "look closer".
func equalScalars(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a == b
	case int64:
		b, ok := b.(int64)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	}
	return false
}

// canonical copies v into the canonical form of package manifest: every integer an int64. It refuses what that form does not know.
func canonical(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, child := range v {
			c, err := canonical(child)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			m[k] = c
		}
		return m, nil
	case []any:
		list := make([]any, len(v))
		for i, child := range v {
			c, err := canonical(child)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", i, err)
			}
			list[i] = c
		}
		return list, nil
	}
	rv := reflect.ValueOf(v)
	switch {
	case rv.CanInt():
		return rv.Int(), nil
	case rv.CanUint() && rv.Uint() <= math.MaxInt64:
		return int64(rv.Uint()), nil
	case rv.CanFloat() && rv.Float() == math.Trunc(rv.Float()) && math.Abs(rv.Float()) <= 1<<53: // JSON's numbers
		return int64(rv.Float()), nil
	}
	return nil, fmt.Errorf("a value of Go type %T is not in canonical form (maps with string keys, lists, strings, whole numbers, booleans)", v)
}
