// Package diff compares desired with live state. It is pure: no I/O, no clock, no knowledge of any
// platform. It answers one question: what would have to change so that live state matches what Git
// declares, and nothing else.
//
// Only what Git declares is compared. What becomes of live elements that Git does not declare is decided
// per collection by its manifest.Ownership, with the help of a [Ledger] that knows what Fettle applied before.
//
// # What counts as equal
//
//   - nil, absent, an empty map and an empty list: there is nothing at this place. A key that Git declares as
//     nil must be absent, so that a live value there becomes a Remove.
//   - integers of every Go type, by their value. A string is never equal to a number.
//   - lists by their elements in order; they change as a whole, in one Update.
//
// # What becomes of what Git does not declare
//
//	                     additive   three-way                exact
//	element, live only   ignored    removed if the ledger    removed
//	                                owns it, else ignored
//	resource, live only  removed if the set says to prune its kind in its space (manifest.Set.Pruned) and the ledger
//	                     owns it as a whole, unless a declaration refers to it. Else a service binding that the
//	                     ledger owns is removed, and a route loses the destinations that the ledger owns, unless the app
//	                     is additive about them (manifest.AppBindings, manifest.AppRoutes); and the rest is
//	                     only named in Changes.Unmanaged.
//
// What a change means for a running app (its [Impact]) is filled in by the platform driver's Plan.
package diff

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
)

// Op is what has to be done to live state.
type Op string

// The operations. Path "" means the whole resource: add creates it, remove deletes it.
const (
	Add    Op = "add"
	Update Op = "update"
	Remove Op = "remove"
)

// Impact says what a change costs the people who use the app. Ordered from harmless to grave.
type Impact int

// The impacts, mildest first. Compare them with <.
const (
	ImpactUnknown    Impact = iota // not yet judged by a driver
	ImpactNone                     // metadata only
	ImpactInPlace                  // takes effect without a restart
	ImpactRestart                  // rolling restart of the running instances
	ImpactRestage                  // a new droplet, then a rolling restart
	ImpactRecreate                 // the resource is deleted and made anew
	ImpactImpossible               // the API cannot do it; Change.Reason says why and what to do
)

// String gives the words that people read.
func (i Impact) String() string {
	return [...]string{"unknown", "none", "in place", "restart", "restage", "re-create", "impossible"}[i]
}

// Impacts lists every impact, mildest first.
func Impacts() []Impact {
	return []Impact{ImpactUnknown, ImpactNone, ImpactInPlace, ImpactRestart, ImpactRestage, ImpactRecreate, ImpactImpossible}
}

// MarshalText makes an Impact a word in JSON.
func (i Impact) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the word that MarshalText writes.
func (i *Impact) UnmarshalText(text []byte) error {
	for _, known := range Impacts() {
		if known.String() == string(text) {
			*i = known
			return nil
		}
	}
	return fmt.Errorf("%q is no impact; expected one of %v", text, Impacts())
}

// Change is one difference: apply Op at Path of the resource Ref, and live state is what Git declares there.
//
// Was and Value hold the true values, because a driver applies them. Everything that prints or stores a
// change goes through Masked, String or MarshalJSON, which never give a secret away.
type Change struct {
	Ref    manifest.Ref `json:"ref"`
	Op     Op           `json:"op"`
	Path   string       `json:"path"` // JSON pointer into the Spec; "" is the whole resource
	Was    any          `json:"was,omitempty"`
	Value  any          `json:"value,omitempty"`
	Secret bool         `json:"secret,omitempty"` // Was and Value must not be shown; renderers say "(secret, changed)"
	// Secrets are the JSON pointers below Path that must not be shown, where Was or Value is a tree
	// (a whole app, a process) of which only some leaves are secret.
	Secrets []string `json:"secrets,omitempty"`

	Origin manifest.Origin `json:"origin,omitzero"` // where the declared value stands (for a removal: the nearest parent)
	Impact Impact          `json:"impact"`
	Reason string          `json:"reason,omitempty"` // why this impact, where it is not obvious
}

// String names the change without its values: "update app acme/dev/web /processes/web/instances".
func (c Change) String() string {
	s := string(c.Op) + " " + c.Ref.String()
	if c.Path != "" {
		s += " " + c.Path
	}
	return s
}

// App is the app that the change concerns, or the zero Ref: the app itself, or the one that is bound.
func (c Change) App() manifest.Ref {
	switch c.Ref.Kind {
	case manifest.KindApp:
		return c.Ref
	case manifest.KindServiceBinding:
		app, _, _ := strings.Cut(c.Ref.Name(), "/")
		return c.Ref.Child(manifest.KindApp, app)
	}
	return manifest.Ref{}
}

// Compare orders changes by resource, then by path.
func (c Change) Compare(o Change) int {
	return cmp.Or(c.Ref.Compare(o.Ref), cmp.Compare(c.Path, o.Path))
}

// Unobserved is a declared field whose live value could not be read, so that nothing can be said of it.
type Unobserved struct {
	Ref    manifest.Ref    `json:"ref"`
	Path   string          `json:"path"`
	Why    string          `json:"why"`
	Origin manifest.Origin `json:"origin,omitzero"`
}

// Changes is the outcome of a comparison.
type Changes struct {
	List       []Change       // in the order of Change.Compare
	Unobserved []Unobserved   // declared, but unreadable on the platform
	Unmanaged  []manifest.Ref // live in a declared space, declared nowhere

	// What Ignoring found, in the same order:
	Ignored []Ignored  // differences that a rule leaves alone; they are not in List
	Expired []Ignored  // differences in List that a rule left alone until it expired
	Idle    []IdleRule // rules without any effect
}

// Empty reports whether live state matches Git wherever it could be read.
func (c Changes) Empty() bool { return len(c.List) == 0 }

// Of lists the changes of one resource.
func (c Changes) Of(ref manifest.Ref) []Change {
	var of []Change
	for _, ch := range c.List {
		if ch.Ref == ref {
			of = append(of, ch)
		}
	}
	return of
}

// Ledger knows what Fettle applied before: resource → JSON pointers. The pointer "" stands for the
// resource itself, another one for an element of a collection ("/environment_variables/LOG_LEVEL").
// A driver reads it from the resources it observes.
type Ledger map[manifest.Ref]map[string]bool

// Owns reports whether Fettle applied the element at pointer of ref before.
func (l Ledger) Owns(ref manifest.Ref, pointer string) bool { return l[ref][pointer] }

// Own notes that Fettle applied the element at pointer of ref.
func (l Ledger) Own(ref manifest.Ref, pointer string) {
	if l[ref] == nil {
		l[ref] = map[string]bool{}
	}
	l[ref][pointer] = true
}

// of leaves out what Fettle once gave to apps that Git no longer declares. Such an app is left alone as a whole:
// a running app whose routes and bindings vanish because its manifest moved elsewhere would be the worse surprise.
func (l Ledger) of(desired manifest.Set) Ledger {
	kept := Ledger{}
	for ref, pointers := range l {
		mine := map[string]bool{}
		for pointer, owned := range pointers {
			app := Change{Ref: ref}.App()
			if keys := manifest.SplitPointer(pointer); ref.Kind == manifest.KindRoute && len(keys) > 1 && keys[0] == "destinations" {
				name, _, _ := strings.Cut(keys[1], "/")
				app = ref.Child(manifest.KindApp, name)
			}
			if owned && (app == manifest.Ref{} || desired.Get(app) != nil || ref == app && pointer == "") {
				mine[pointer] = true
			}
		}
		kept[ref] = mine
	}
	return kept
}
