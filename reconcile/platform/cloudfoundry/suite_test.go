package cloudfoundry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

// The suite that every driver passes, on an app with everything that hangs on one.
func TestPlatformSuite(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 5
	}
	platformtest.Run(t, platformtest.Harness{New: newWorld, Stride: stride})
}

const suiteFirst = `
applications:
- name: web
  path: web
  memory: 64M
  env: {GREETING: hello, GONE: soon}
  services: [mail]
  routes: [{route: web.apps.sandbox.test}]
- name: worker
  path: go
  no-route: true
  health-check-type: process
`

const suiteSecond = `
applications:
- name: web
  path: web-two
  memory: 128M
  instances: 2
  env: {GREETING: good morning}
  metadata: {labels: {release: two}}
  routes: [{route: new.apps.sandbox.test}]
- name: worker
  path: go
  no-route: true
  health-check-type: process
`

const suiteBroken = `
- name: broken
  path: go
  routes: [{route: broken.nowhere.test}]
`

// suite makes what the suite's manifests refer to.
func (f *foundation) suite() {
	f.t.Helper()
	f.do(http.MethodPost, "/v3/service_instances", map[string]any{
		"type": "user-provided", "name": "mail", "relationships": map[string]any{"space": ccv3.To(f.space)},
	}, nil)
	f.files["web-two/server.js"] = &fstest.MapFile{Data: []byte("// two")}
}

func newWorld(t *testing.T) platformtest.World {
	f := newFoundation(t)
	f.suite()
	return platformtest.World{
		Driver:  func(*testing.T) platform.Driver { return f.driver() },
		Files:   f.files,
		First:   f.load(suiteFirst),
		Second:  f.load(suiteSecond),
		Failing: f.load(suiteFirst + suiteBroken[1:]),
		Broken:  manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/broken"},
		OnRequest: func(decide func(int) platformtest.Fate) {
			f.wire.install(decide)
		},
		Writes: f.writes,
		Check: func(t *testing.T) {
			f.nothingTwice(t)
			f.nothingLeftBehind(t)
		},
	}
}

// writes counts the requests so far that were to change something.
func (f *foundation) writes() int {
	n := 0
	for _, call := range f.wire.log() {
		if !strings.HasPrefix(call, "GET ") {
			n++
		}
	}
	return n
}

// nothingTwice fails if anything was made more often than needed: an app, a package or a droplet of the same code, a
// deployment of the same change, a second binding.
func (f *foundation) nothingTwice(t *testing.T) {
	t.Helper()
	count := map[string]int{}
	for _, a := range list[ccv3.App](f, "/v3/apps") {
		count["app "+a.Name]++
	}
	for _, p := range list[ccv3.Package](f, "/v3/packages") {
		count["package "+p.Relationships.App.GUID()+p.Metadata.Annotation(manifest.MetadataPrefix+"digest")]++
	}
	for _, b := range list[ccv3.Build](f, "/v3/builds") {
		count["build of package "+b.Package.GUID]++
	}
	for _, d := range list[ccv3.Deployment](f, "/v3/deployments") {
		if d.Status.Reason == "DEPLOYED" {
			count["deployment for "+d.Metadata.Annotation(manifest.MetadataPrefix+"pending")]++
			count["deployment of "+d.Relationships.App.GUID()+" to droplet "+d.Droplet.GUID]++
		}
	}
	for _, b := range list[ccv3.Binding](f, "/v3/service_credential_bindings") {
		count["binding of "+b.Relationships.App.GUID()+" to "+b.Relationships.ServiceInstance.GUID()]++
	}
	for what, n := range count {
		if n > 1 {
			t.Errorf("%d times: %s", n, what)
		}
	}
	for _, a := range list[ccv3.App](f, "/v3/apps") {
		if note := a.Metadata.Annotation(manifest.MetadataPrefix + "pending"); note != "" {
			t.Errorf("%s: still pending: %s", a.Name, note)
		}
	}
}

// nothingLeftBehind fails if something of suiteFirst that suiteSecond no longer declares is there still. No comparison
// would tell: what neither Git declares nor the ledger knows is left alone.
func (f *foundation) nothingLeftBehind(t *testing.T) {
	t.Helper()
	for _, a := range list[ccv3.App](f, "/v3/apps") {
		if release := a.Metadata.Labels["release"]; release == nil {
			continue
		}
		if _, ok := f.env(a.Name)["GONE"]; ok {
			t.Error("the variable GONE is set still")
		}
		if n := len(list[ccv3.Binding](f, "/v3/service_credential_bindings")); n != 0 {
			t.Error("the service instance mail is bound still")
		}
		for _, r := range list[ccv3.Route](f, "/v3/routes") {
			if r.Host == "web" && len(r.Destinations) > 0 {
				t.Error("the route web.apps.sandbox.test is mapped still")
			}
		}
	}
}
