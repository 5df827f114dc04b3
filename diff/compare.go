package diff

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	r3 "github.com/r3labs/diff/v3"

	"github.com/fettle-gitops/fettle/manifest"
)

// Compare lists what would have to change in live so that it matches desired. Neither set is modified.
// The order of the result depends on nothing but its content. The only error is a tree that is not in the
// canonical form of package manifest.
//
// Changes.List holds true values, secrets too; see [Change] for how to show it.
func Compare(desired, live manifest.Set, ledger Ledger) (Changes, error) {
	c, err := newComparison(desired, ledger)
	if err != nil {
		return Changes{}, err
	}
	refs := make([]manifest.Ref, 0, desired.Len())
	wanted, found := desired.Objects(), live.Objects()
	for len(wanted)+len(found) > 0 { // merge two sorted lists
		if len(found) == 0 || len(wanted) > 0 && wanted[0].Ref.Compare(found[0].Ref) < 0 {
			refs, wanted = append(refs, wanted[0].Ref), wanted[1:]
			continue
		}
		if len(wanted) > 0 && wanted[0].Ref == found[0].Ref {
			wanted = wanted[1:]
		}
		refs, found = append(refs, found[0].Ref), found[1:]
	}
	for _, ref := range refs {
		want, have := desired.Get(ref), live.Get(ref)
		first, firstHidden := len(c.changes.List), len(c.changes.Unobserved)
		switch {
		case have == nil:
			err = c.missing(want)
		case want == nil:
			err = c.undeclared(have)
		default:
			err = c.declared(want, have)
		}
		if err != nil {
			return Changes{}, fmt.Errorf("comparing %s: %w", ref, err)
		}
		// The refs come in order, so only the changes of one resource have to be sorted.
		slices.SortFunc(c.changes.List[first:], func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
		slices.SortFunc(c.changes.Unobserved[firstHidden:], func(a, b Unobserved) int { return strings.Compare(a.Path, b.Path) })
	}
	return c.changes, nil
}

// comparison is one call of Compare.
type comparison struct {
	desired manifest.Set
	ledger  Ledger
	spaces  map[string]bool       // that desired touches
	routed  map[manifest.Ref]bool // apps that any route satisfies (random-route, default-route)
	needed  map[manifest.Ref]bool // that some declaration refers to
	engine  *r3.Differ            // holds state: one per comparison, never shared between goroutines
	names   map[string]bool       // whether a value of this name looks secret
	changes Changes
}

func newComparison(desired manifest.Set, ledger Ledger) (*comparison, error) {
	// AllowTypeMismatch: "1" against 1 is an Update, not an error.
	engine, err := r3.NewDiffer(r3.AllowTypeMismatch(true), r3.DiscardComplexOrigin(), r3.CustomValueDiffers(wholeLists{}))
	if err != nil {
		return nil, err
	}
	c := &comparison{desired: desired, ledger: ledger.of(desired), engine: engine, spaces: map[string]bool{}, routed: map[manifest.Ref]bool{}, needed: map[manifest.Ref]bool{}, names: map[string]bool{}}
	for _, space := range desired.Spaces() {
		c.spaces[space] = true
	}
	for _, o := range desired.Objects() {
		for _, ref := range o.Requires {
			c.needed[ref] = true
		}
		if o.Ref.Kind == manifest.KindApp && o.Spec["routed"] == true {
			c.routed[o.Ref] = true
		}
	}
	return c, nil
}

// missing: Git declares a resource that does not exist.
func (c *comparison) missing(want *manifest.Object) error {
	spec, err := canonical(want.Spec)
	if err != nil {
		return err
	}
	c.add(Change{Ref: want.Ref, Op: Add, Value: spec, Origin: want.Origin}, nil, want)
	return nil
}

// declared: the resource exists and Git declares it.
func (c *comparison) declared(want, have *manifest.Object) error {
	p := &projection{desired: want, live: have, ledger: c.ledger}
	if why, unreadable := have.Unobservable[""]; unreadable {
		p.unreadable("", why)
		c.changes.Unobserved = append(c.changes.Unobserved, p.unobserved...)
		return nil
	}
	w, h, err := p.tree("", want.Spec, have.Spec)
	if err != nil {
		return err
	}
	p.ownedUnreadable()
	c.changes.Unobserved = append(c.changes.Unobserved, p.unobserved...)
	if len(w)+len(h) == 0 {
		return nil // equal: the engine need not look
	}
	log, err := c.engine.Diff(h, w)
	if err != nil {
		return err
	}
	for _, d := range log {
		pointer := manifest.Pointer(d.Path...)
		change := Change{Ref: want.Ref, Path: pointer, Was: d.From, Value: d.To, Origin: want.FieldOrigin(pointer)}
		switch d.Type {
		case r3.CREATE:
			change.Op = Add
		case r3.DELETE:
			change.Op = Remove
		default:
			change.Op = Update
		}
		c.add(change, d.Path, want, have)
	}
	return nil
}

// undeclared: the resource exists and Git does not declare it.
func (c *comparison) undeclared(have *manifest.Object) error {
	if mark, ok := c.pruned(have); ok {
		was, err := canonical(have.Spec)
		if err != nil {
			return err
		}
		c.add(Change{Ref: have.Ref, Op: Remove, Was: was, Origin: mark.Origin}, nil, have)
		return nil
	}
	switch have.Ref.Kind {
	case manifest.KindOrg, manifest.KindSpace:
		return nil // the places where things live, not things that somebody left there
	case manifest.KindServiceBinding:
		app := c.desired.Get(Change{Ref: have.Ref}.App())
		if kept := app != nil && app.Ownership[manifest.AppBindings] == manifest.Additive; c.ledger.Owns(have.Ref, "") && !kept {
			was, err := canonical(have.Spec)
			if err != nil {
				return err
			}
			change := Change{Ref: have.Ref, Op: Remove, Was: was}
			change.Origin = c.originOf(change.App())
			c.add(change, nil, have)
			return nil
		}
	case manifest.KindRoute:
		return c.undeclaredRoute(have)
	}
	c.unmanaged(have.Ref)
	return nil
}

// pruned reports whether an undeclared resource is to be deleted, and which mark says so.
func (c *comparison) pruned(have *manifest.Object) (manifest.Prune, bool) {
	if !c.ledger.Owns(have.Ref, "") || c.needed[have.Ref] {
		return manifest.Prune{}, false
	}
	if have.Ref.Kind == manifest.KindRoute {
		destinations, _ := have.Spec["destinations"].(map[string]any)
		for key := range destinations {
			app, _, _ := strings.Cut(key, "/")
			if c.routed[have.Ref.Child(manifest.KindApp, app)] {
				return manifest.Prune{}, false // it serves an app that asked for any route
			}
		}
	}
	return c.desired.Pruned(have.Ref.Space(), have.Ref.Kind)
}

// undeclaredRoute: routes are shared, and one that Git stopped declaring may serve others. So only the
// destinations that Fettle made are taken from it, and the route itself stays.
func (c *comparison) undeclaredRoute(have *manifest.Object) error {
	serves := false // an app that asked for any route
	destinations, _ := have.Spec["destinations"].(map[string]any)
	for key, v := range destinations {
		app, _, _ := strings.Cut(key, "/")
		ref := have.Ref.Child(manifest.KindApp, app)
		if c.routed[ref] {
			serves = true
			continue
		}
		pointer := manifest.Pointer("destinations", key)
		o := c.desired.Get(ref)
		if kept := o != nil && o.Ownership[manifest.AppRoutes] == manifest.Additive; v == nil || kept || !c.ledger.Owns(have.Ref, pointer) {
			continue
		}
		was, err := canonical(v)
		if err != nil {
			return fmt.Errorf("%s: %w", pointer, err)
		}
		c.add(Change{Ref: have.Ref, Op: Remove, Path: pointer, Was: was, Origin: c.originOf(ref)}, []string{"destinations", key}, have)
	}
	if !serves {
		c.unmanaged(have.Ref)
	}
	return nil
}

// unmanaged notes what nobody declares or refers to in a space that Git speaks of.
func (c *comparison) unmanaged(ref manifest.Ref) {
	if c.spaces[ref.Space()] && !c.needed[ref] {
		c.changes.Unmanaged = append(c.changes.Unmanaged, ref)
	}
}

func (c *comparison) originOf(ref manifest.Ref) manifest.Origin {
	if o := c.desired.Get(ref); o != nil {
		return o.Origin
	}
	return manifest.Origin{}
}

// add completes the change, which stands at keys of the objects, with what must be kept secret of it.
func (c *comparison) add(change Change, keys []string, objects ...*manifest.Object) {
	key := ""
	if len(keys) > 0 {
		key = keys[len(keys)-1]
	}
	found := c.secretsIn(nil, objects, change.Path, key, change.Was)
	found = c.secretsIn(found, objects, change.Path, key, change.Value)
	for _, pointer := range found {
		if below := strings.TrimPrefix(pointer, change.Path); below != "" {
			change.Secrets = append(change.Secrets, below)
		} else {
			change.Secret = true
		}
	}
	if change.Secret {
		change.Secrets = nil
	}
	slices.Sort(change.Secrets)
	change.Secrets = slices.Compact(change.Secrets)
	c.changes.List = append(c.changes.List, change)
}

// secretsIn appends to found the pointers at and below pointer, which ends in key, whose values must not be
// shown: those that either side calls secret, and those that look like it. A log is too late to find out.
func (c *comparison) secretsIn(found []string, objects []*manifest.Object, pointer, key string, v any) []string {
	if v == nil {
		return found
	}
	for _, o := range objects {
		if o.IsSecret(pointer) {
			return append(found, pointer)
		}
	}
	if m, ok := v.(map[string]any); ok {
		for k, child := range m {
			found = c.secretsIn(found, objects, pointer+manifest.Pointer(k), k, child)
		}
		return found
	}
	if c.looksSecret(key, v) {
		return append(found, pointer)
	}
	return found
}

// looksSecret is manifest.LooksSecret, with the answer for the name alone remembered: a foundation has the
// same names in a thousand apps.
func (c *comparison) looksSecret(key string, v any) bool {
	if b, ok := v.(bool); ok {
		return manifest.LooksSecret(key, b)
	}
	if s, ok := v.(string); ok && (s == "" || s == "true" || s == "false") {
		return manifest.LooksSecret(key, s)
	}
	secret, known := c.names[key]
	if !known {
		secret = manifest.LooksSecret(key, int64(0))
		c.names[key] = secret
	}
	return secret || manifest.LooksSecret("", v)
}

// wholeLists makes the engine treat a list as one value: its elements have no identity, and half an order of
// buildpacks is no order.
type wholeLists struct{}

func (wholeLists) Match(a, b reflect.Value) bool {
	return a.Kind() == reflect.Slice && b.Kind() == reflect.Slice
}

func (wholeLists) Diff(_ r3.DiffType, _ r3.DiffFunc, cl *r3.Changelog, path []string, a, b reflect.Value, _ any) error {
	cl.Add(r3.UPDATE, path, a.Interface(), b.Interface()) // equal lists never get here, see projection
	return nil
}

func (wholeLists) InsertParentDiffer(func(path []string, a, b reflect.Value, p any) error) {}
