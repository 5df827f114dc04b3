package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind says what sort of resource a Ref names.
type Kind string

// The kinds that exist so far. Their Spec shapes are in kinds.go.
const (
	KindOrg             Kind = "org"              // Path: ORG
	KindSpace           Kind = "space"            // Path: ORG/SPACE
	KindApp             Kind = "app"              // Path: ORG/SPACE/NAME
	KindRoute           Kind = "route"            // Path: ORG/SPACE/HOST.DOMAIN[:PORT][/PATH]
	KindServiceInstance Kind = "service_instance" // Path: ORG/SPACE/NAME
	KindServiceBinding  Kind = "service_binding"  // Path: ORG/SPACE/APP/SERVICE_INSTANCE

	KindServiceKey          Kind = "service_key"           // Path: ORG/SPACE/SERVICE_INSTANCE/KEY
	KindServiceRouteBinding Kind = "service_route_binding" // Path: ORG/SPACE/SERVICE_INSTANCE/HOST.DOMAIN[/PATH]
)

// Ref names one resource on one foundation. It is comparable and is used as a map key.
type Ref struct {
	Kind Kind
	Path string // slash-separated, from the org downwards; see the Kind constants
}

// String gives the form that people read and type: "app acme/dev/web".
func (r Ref) String() string { return string(r.Kind) + " " + r.Path }

// Org is the first segment of the path.
func (r Ref) Org() string { org, _, _ := strings.Cut(r.Path, "/"); return org }

// Space is the path's first two segments, "ORG/SPACE", or "" for an org.
func (r Ref) Space() string {
	org, rest, ok := strings.Cut(r.Path, "/")
	if !ok {
		return ""
	}
	space, _, _ := strings.Cut(rest, "/")
	return org + "/" + space
}

// Name is what remains of the path below org and space: the app's name, the route's
// host and domain, or for a binding "APP/SERVICE_INSTANCE". For an org or a space it is its own name.
func (r Ref) Name() string {
	parts := strings.SplitN(r.Path, "/", 3)
	return parts[len(parts)-1]
}

// Child is the Ref of a resource of the given kind inside the space of r.
func (r Ref) Child(kind Kind, name string) Ref { return Ref{Kind: kind, Path: r.Space() + "/" + name} }

// Compare orders refs by kind rank (org, space, instances, apps, routes, bindings), then by path.
func (r Ref) Compare(o Ref) int {
	if c := cmp.Compare(kindRank(r.Kind), kindRank(o.Kind)); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Path, o.Path))
}

var kinds = []Kind{KindOrg, KindSpace, KindServiceInstance, KindApp, KindRoute, KindServiceBinding, KindServiceKey, KindServiceRouteBinding}

// Kinds lists the kinds in the order in which resources are shown.
func Kinds() []Kind { return slices.Clone(kinds) }

func kindRank(k Kind) int {
	if i := slices.Index(kinds, k); i >= 0 {
		return i
	}
	return len(kinds)
}

// ParseRef reads the form that Ref.String writes.
func ParseRef(s string) (Ref, error) {
	kind, path, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || path == "" {
		return Ref{}, fmt.Errorf("%q does not name a resource: write KIND and path, for example \"app acme/dev/web\"", s)
	}
	return Ref{Kind: Kind(kind), Path: strings.TrimSpace(path)}, nil
}

// Origin is a position in a file. The zero Origin means "not from a file" (live state).
type Origin struct {
	File   string `json:"file,omitempty"` // slash-separated, relative to the snapshot's root
	Line   int    `json:"line,omitempty"` // from 1
	Column int    `json:"column,omitempty"`
}

// IsZero reports whether the origin says nothing.
func (o Origin) IsZero() bool { return o == Origin{} }

// String gives file:line:column, the form that editors and terminals link.
func (o Origin) String() string {
	switch {
	case o.IsZero():
		return ""
	case o.Line == 0:
		return o.File
	}
	return fmt.Sprintf("%s:%d:%d", o.File, o.Line, o.Column)
}

// Ownership says what becomes of an element that lives on the platform and that Git does not declare.
type Ownership string

// The three ways to own a collection.
const (
	Additive Ownership = "additive"  // leave it: never remove anything
	ThreeWay Ownership = "three-way" // remove it if Fettle applied it before, else leave it
	Exact    Ownership = "exact"     // remove it
)

// AppBindings and AppRoutes are where an app's Ownership speaks of its service bindings and of the routes that lead to it, which
// are resources of their own: Additive where those that are not declared stay as they are, even if Fettle made them.
const (
	AppBindings = "/service_bindings"
	AppRoutes   = "/routes"
)

// Object is one resource, declared or live.
type Object struct {
	Ref  Ref
	Spec map[string]any // canonical form, see the package comment and kinds.go

	// Inputs is what is needed to make the resource but cannot be read back, and so is never
	// compared, shown or stored: the local path of the bits, a registry password. Keys are in kinds.go.
	Inputs map[string]any

	Settings *Settings // how Fettle treats the app; nil where Git says nothing

	Origin  Origin            // where the resource is declared
	Fields  map[string]Origin // where each field is declared, by JSON pointer into Spec
	Secrets map[string]bool   // JSON pointers into Spec whose values must never be shown

	// Requires names the resources that must exist before this one.
	Requires []Ref

	// Ownership by JSON pointer of a collection in Spec ("/environment_variables"). A collection
	// that is not named here is additive.
	Ownership map[string]Ownership

	// Unobservable: JSON pointer → why a live value could not be read (no rights, the API hides it).
	// Only live objects have it.
	Unobservable map[string]string
}

// FieldOrigin is the position of the field at pointer, or of its nearest declared parent.
func (o *Object) FieldOrigin(pointer string) Origin {
	for p := pointer; p != ""; p = p[:strings.LastIndexByte(p, '/')] {
		if at, ok := o.Fields[p]; ok {
			return at
		}
	}
	return o.Origin
}

// IsSecret reports whether the value at pointer, or one above it, is secret.
func (o *Object) IsSecret(pointer string) bool {
	for p := pointer; p != ""; p = p[:strings.LastIndexByte(p, '/')] {
		if o.Secrets[p] {
			return true
		}
	}
	return false
}

// Set is a collection of Objects with one Object per Ref. The zero Set is empty and ready to use.
type Set struct {
	byRef  map[Ref]*Object
	prunes map[Prune]bool
}

// Prune says that resources of a kind shall be deleted from a space when Git does not declare them (meta.prune of a v2
// manifest). It is a mark on the Set and not an Ownership alone, because it may speak of a kind of which Git declares
// nothing. A driver that cannot prune a kind says so in its plan.
type Prune struct {
	Space  string // "ORG/SPACE"
	Kind   Kind
	Origin Origin
}

// MarkPrune adds a mark. NewSet makes a Set without marks.
func (s *Set) MarkPrune(p Prune) {
	if s.prunes == nil {
		s.prunes = map[Prune]bool{}
	}
	s.prunes[p] = true
}

// Prunes lists the marks, in order.
func (s Set) Prunes() []Prune {
	return slices.SortedFunc(maps.Keys(s.prunes), func(a, b Prune) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)), cmp.Compare(a.Origin.String(), b.Origin.String()))
	})
}

// NewSet makes a Set of the objects; a later object replaces an earlier one with the same Ref.
func NewSet(objects ...*Object) Set {
	var s Set
	for _, o := range objects {
		s.Put(o)
	}
	return s
}

// Put adds o, replacing what had the same Ref.
func (s *Set) Put(o *Object) {
	if s.byRef == nil {
		s.byRef = map[Ref]*Object{}
	}
	s.byRef[o.Ref] = o
}

// Get returns the object that ref names, or nil.
func (s Set) Get(ref Ref) *Object { return s.byRef[ref] }

// Len counts the objects.
func (s Set) Len() int { return len(s.byRef) }

// Objects lists all objects in the order of Ref.Compare.
func (s Set) Objects() []*Object {
	all := make([]*Object, 0, len(s.byRef))
	for _, o := range s.byRef {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *Object) int { return a.Ref.Compare(b.Ref) })
	return all
}

// Of lists the objects of one kind, in order.
func (s Set) Of(kind Kind) []*Object {
	return slices.DeleteFunc(s.Objects(), func(o *Object) bool { return o.Ref.Kind != kind })
}

// Spaces lists the distinct "ORG/SPACE" that the set touches, sorted; a mark to prune touches its space, too.
func (s Set) Spaces() []string {
	seen := map[string]bool{}
	var all []string
	for ref := range s.byRef {
		if space := ref.Space(); space != "" && !seen[space] {
			seen[space] = true
			all = append(all, space)
		}
	}
	for p := range s.prunes {
		if !seen[p.Space] {
			seen[p.Space] = true
			all = append(all, p.Space)
		}
	}
	slices.Sort(all)
	return all
}

// Pruned finds the mark that says that undeclared resources of a kind are deleted from a space ("ORG/SPACE").
func (s Set) Pruned(space string, kind Kind) (Prune, bool) {
	for _, p := range s.Prunes() {
		if p.Space == space && p.Kind == kind {
			return p, true
		}
	}
	return Prune{}, false
}
