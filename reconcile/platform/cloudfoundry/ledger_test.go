package cloudfoundry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

func TestLedgerRemembersWhatItWasTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.StringMatching(`/(environment_variables|sidecars)/[A-Za-z0-9_~]{1,12}`), 0, 700).Draw(t, "keys")
		text := encodeLedger(keys)
		if len(text) > 5000 {
			t.Fatalf("%d characters", len(text))
		}
		a := decodeLedger(text)
		for _, k := range keys {
			if !a.has(k) {
				t.Fatalf("%s is forgotten", k)
			}
		}
		if text != encodeLedger(append(keys, keys...)) {
			t.Fatal("repetition changes the text")
		}
	})
}

// TestLedgerOverflow: nobody loses anything because Fettle could not remember it.
func TestLedgerOverflow(t *testing.T) {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("/environment_variables/V%d", i)
	}
	text := encodeLedger(keys)
	if len(text) > 5000 || !strings.HasSuffix(text, "+") {
		t.Errorf("%d characters, ends in %q", len(text), text[len(text)-1:])
	}
	a, known := decodeLedger(text), 0
	for _, k := range keys {
		if a.has(k) {
			known++
		}
	}
	if known < 710 || known > 720 {
		t.Errorf("%d of 1000 keys are remembered, about 714 fit", known)
	}
}

func TestLedgerOfAnotherForm(t *testing.T) {
	for _, text := range []string{"", "2:0123456", "1:012345", "hello", "{}"} {
		if a := decodeLedger(text); a.has("/environment_variables/A") || len(a) > 0 {
			t.Errorf("%q owns %v", text, a)
		}
	}
}

func TestReadLedger(t *testing.T) {
	app := manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	route := app.Child(manifest.KindRoute, "shop.example.com/cart")
	binding := app.Child(manifest.KindServiceBinding, "web/db")
	object := &manifest.Object{Ref: app, Spec: map[string]any{
		"environment_variables": map[string]any{"OURS": "1", "a/b": "2", "THEIRS": "3"},
		"metadata":              map[string]any{"labels": map[string]any{"team": "x"}, "annotations": map[string]any{"example.com/contact": "y"}},
		"processes":             map[string]any{"web": map[string]any{}, "worker": map[string]any{}},
	}}
	text := encodeLedger([]string{
		"/environment_variables/OURS", "/environment_variables/a~1b", "/environment_variables/GONE", "/metadata/labels/team",
		"/metadata/annotations/example.com~1contact", "/processes/worker", routeKey("Shop.example.com/cart", "web"), bindingKey("db"),
	})
	ledger := diff.Ledger{}
	readLedger(ledger, text, object,
		[]*manifest.Object{{Ref: route, Spec: map[string]any{"destinations": map[string]any{"web/web": nil, "web/worker": nil, "other/web": nil}}}},
		[]*manifest.Object{{Ref: binding, Spec: map[string]any{"service_instance": "db"}}, {Ref: app.Child(manifest.KindServiceBinding, "web/mq"), Spec: map[string]any{"service_instance": "mq"}}})
	want := diff.Ledger{
		app: {
			"/environment_variables/OURS": true, "/environment_variables/a~1b": true, "/metadata/labels/team": true,
			"/metadata/annotations/example.com~1contact": true, "/processes/worker": true,
		},
		route:   {"/destinations/web~1web": true},
		binding: {"": true},
	}
	if d := cmp.Diff(want, ledger); d != "" {
		t.Error(d)
	}
}
