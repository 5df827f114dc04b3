package diff_test

import (
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// What is deleted as a whole: undeclared, owned as a whole, of a kind that is pruned in that space, and not referred to.
func TestPrune(t *testing.T) {
	const (
		app      = "app acme/dev/old"
		route    = "route acme/dev/old.example.com"
		instance = "service_instance acme/dev/db"
	)
	ref := func(text string) manifest.Ref {
		r, err := manifest.ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	live := func(text string) *manifest.Object {
		o := &manifest.Object{Ref: ref(text), Spec: map[string]any{"state": "STOPPED"}}
		if o.Ref.Kind == manifest.KindRoute {
			o.Spec = map[string]any{"destinations": map[string]any{"web/web": map[string]any{}}}
		}
		return o
	}
	for _, tt := range []struct {
		name    string
		live    []string
		owned   []string
		prune   []manifest.Prune
		desired manifest.Object // besides the app web
		want    string
	}{
		{name: "owned and pruned", live: []string{app, route}, owned: []string{app, route}, prune: []manifest.Prune{{Space: "acme/dev", Kind: manifest.KindApp}, {Space: "acme/dev", Kind: manifest.KindRoute}}, want: "remove " + app + ", remove " + route},
		{name: "another kind is pruned", live: []string{app}, owned: []string{app}, prune: []manifest.Prune{{Space: "acme/dev", Kind: manifest.KindRoute}}},
		{name: "another space is pruned", live: []string{app}, owned: []string{app}, prune: []manifest.Prune{{Space: "acme/prod", Kind: manifest.KindApp}}},
		{name: "somebody else's", live: []string{app, route}, prune: []manifest.Prune{{Space: "acme/dev", Kind: manifest.KindApp}, {Space: "acme/dev", Kind: manifest.KindRoute}}},
		{name: "not pruned", live: []string{app, route}, owned: []string{app, route}},
		{
			name: "needed", live: []string{instance}, owned: []string{instance}, prune: []manifest.Prune{{Space: "acme/dev", Kind: manifest.KindServiceInstance}},
			desired: manifest.Object{Ref: ref("service_binding acme/dev/web/db"), Requires: []manifest.Ref{ref(instance)}}, want: "add service_binding acme/dev/web/db",
		},
		{
			name: "the route of an app that takes any", live: []string{route}, owned: []string{route}, prune: []manifest.Prune{{Space: "acme/dev", Kind: manifest.KindRoute}},
			desired: manifest.Object{Ref: ref("app acme/dev/web"), Spec: map[string]any{"routed": true}}, want: "add app acme/dev/web",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			desired := manifest.NewSet(&manifest.Object{Ref: ref("app acme/dev/web")})
			observed := manifest.NewSet(live("app acme/dev/web"))
			if tt.desired.Ref != (manifest.Ref{}) {
				desired.Put(&tt.desired)
				if tt.desired.Ref.Kind == manifest.KindApp {
					observed = manifest.Set{}
				}
			}
			for _, p := range tt.prune {
				desired.MarkPrune(p)
			}
			for _, text := range tt.live {
				observed.Put(live(text))
			}
			ledger := diff.Ledger{}
			for _, text := range tt.owned {
				ledger.Own(ref(text), "")
			}
			changes, err := diff.Compare(desired, observed, ledger)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes.List {
				got = append(got, c.String())
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("%q, want %q", s, tt.want)
			}
		})
	}
}
