package cloudfoundry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

const pruneFirst = `
applications:
- name: web
  path: web
  routes: [{route: kept.apps.sandbox.test}, {route: gone.apps.sandbox.test}]
- name: old
  path: go
  routes: [{route: old.apps.sandbox.test}]
`

const pruneSecond = `
applications:
- name: web
  path: web-two
  env: {RELEASE: two}
  routes: [{route: kept.apps.sandbox.test}, {route: new.apps.sandbox.test}]
`

// prunes marks the space acme/dev.
func prunes(set manifest.Set, kinds ...manifest.Kind) manifest.Set {
	for _, kind := range kinds {
		set.MarkPrune(manifest.Prune{Space: "acme/dev", Kind: kind})
	}
	return set
}

// TestPruneSuite is the suite of every driver on deleting: a run is killed at each of its requests, and the next
// deletes what is left.
func TestPruneSuite(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 5
	}
	platformtest.Run(t, platformtest.Harness{Stride: stride, New: func(t *testing.T) platformtest.World {
		f := newFoundation(t)
		f.files["web-two/server.js"] = &fstest.MapFile{Data: []byte("// two")}
		load := func(text string) manifest.Set { return prunes(f.load(text), manifest.KindApp, manifest.KindRoute) }
		return platformtest.World{
			Driver:  func(*testing.T) platform.Driver { return f.driver() },
			Files:   f.files,
			First:   load(pruneFirst),
			Second:  load(pruneSecond),
			Failing: load(pruneFirst + suiteBroken[1:]),
			Broken:  manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/broken"},
			OnRequest: func(decide func(int) platformtest.Fate) {
				f.wire.install(decide)
			},
			Writes: f.writes,
			Check: func(t *testing.T) {
				f.nothingTwice(t)
				if f.env("web")["RELEASE"] != "two" {
					return
				}
				if n := len(list[ccv3.App](f, "/v3/apps")); n != 1 {
					t.Errorf("%d apps, want web alone", n)
				}
				f.wantRoutes("kept.apps.sandbox.test → web/web:8080 http1\nnew.apps.sandbox.test → web/web:8080 http1")
			},
		}
	}})
}

// What Fettle did not make is not deleted: an app by hand, a route by hand, a route that somebody else uses too. And
// nothing is, where its kind is not pruned.
func TestPruneSparesWhatIsNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(pruneFirst)
		var app ccv3.App
		f.do(http.MethodPost, "/v3/apps", map[string]any{"name": "by-hand", "relationships": map[string]any{"space": ccv3.To(f.space)}}, &app)
		f.do(http.MethodPost, "/v3/routes", map[string]any{"host": "by-hand", "relationships": map[string]any{"space": ccv3.To(f.space), "domain": ccv3.To(f.domain())}}, nil)
		for _, r := range list[ccv3.Route](f, "/v3/routes") {
			if r.Host == "gone" {
				f.do(http.MethodPost, "/v3/routes/"+r.GUID+"/destinations", map[string]any{"destinations": []any{map[string]any{"app": map[string]any{"guid": app.GUID}}}}, nil)
			}
		}
		for _, tt := range []struct {
			kinds []manifest.Kind
			want  string
		}{
			{nil, ""},
			{[]manifest.Kind{manifest.KindServiceInstance}, ""},
			{[]manifest.Kind{manifest.KindRoute}, ""}, // old leads to an app that stays
			{[]manifest.Kind{manifest.KindApp}, "app acme/dev/old"},
			{[]manifest.Kind{manifest.KindApp, manifest.KindRoute}, "app acme/dev/old route acme/dev/old.apps.sandbox.test"},
		} {
			p, _ := f.prepareSet(t.Context(), prunes(f.load(strings.Replace(pruneSecond, "web-two", "web", 1)), tt.kinds...))
			var gone []string
			for _, c := range p.changes.List {
				if c.Path == "" && c.Op == "remove" {
					gone = append(gone, c.Ref.String())
				}
			}
			if got := strings.Join(gone, " "); got != tt.want {
				t.Errorf("pruning %v deletes %q, want %q", tt.kinds, got, tt.want)
			}
		}
	})
}

// The ledger forgets a route that was deleted: mapped again by hand, it is somebody else's.
func TestADeletedRouteIsDisowned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(pruneFirst)
		less := strings.Replace(pruneFirst, ", {route: gone.apps.sandbox.test}", "", 1)
		p, d := f.prepareSet(t.Context(), prunes(f.load(less), manifest.KindRoute))
		f.apply(t.Context(), d, &p)
		if err := p.outcome.Err(); err != nil {
			t.Fatal(err)
		}
		var route ccv3.Resource
		f.do(http.MethodPost, "/v3/routes", map[string]any{"host": "gone", "relationships": map[string]any{"space": ccv3.To(f.space), "domain": ccv3.To(f.domain())}}, &route)
		f.do(http.MethodPost, "/v3/routes/"+route.GUID+"/destinations", map[string]any{"destinations": []any{map[string]any{"app": map[string]any{"guid": f.app("web")}}}}, nil)
		if p, _ := f.prepareSet(t.Context(), prunes(f.load(less), manifest.KindRoute)); !p.changes.Empty() {
			t.Errorf("%v", p.changes.List)
		}
	})
}

// Of services too only what Fettle made goes, in the order in which it can: what is bound to an instance before the instance.
func TestServicesArePruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServices(t)
		f.mustRun(services)
		f.do(http.MethodPost, "/v3/service_instances", map[string]any{
			"type": "user-provided", "name": "by-hand", "relationships": map[string]any{"space": ccv3.To(f.space)},
		}, nil)
		less, _, _ := strings.Cut(services, "service_instances:")
		kinds := []manifest.Kind{
			manifest.KindServiceBinding, manifest.KindServiceInstance, manifest.KindServiceKey, manifest.KindServiceRouteBinding,
		}
		p, d := f.prepareSet(t.Context(), prunes(f.load(less), kinds...))
		f.apply(t.Context(), d, &p)
		if err := p.outcome.Err(); err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, instance := range list[ccv3.ServiceInstance](f, "/v3/service_instances") {
			left = append(left, instance.Name)
		}
		if strings.Join(left, " ") != "by-hand" {
			t.Errorf("these instances are left: %v, want by-hand alone", left)
		}
		if p, _ := f.prepareSet(t.Context(), prunes(f.load(less), kinds...)); !p.changes.Empty() {
			t.Errorf("afterwards these differ: %v", p.changes.List)
		}
	})
}
