package cloudfoundry_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

// servicesSecond changes what services declares: the plan, tags, credentials, shares, metadata, and one of each binding is new.
var servicesSecond = strings.NewReplacer(
	"{path: web}", "{path: web-two}", "{name: medium}", "{name: small}", "tags: [relational, eu]", "tags: [relational]", "password: first", "password: second",
	"share_to: [{org: acme, space: test}]", "share_to: []", "{labels: {team: shop}", "{labels: {team: cart}",
	"{why: login}", "{why: single sign-on}", "gate.example.com", "door.example.com",
).Replace(services) + "- {type: key, service_instance: {name: queue}, name: reader}\n- {type: app, service_instance: {name: queue}, app: {name: web}}\n"

// TestServicesSuite is the suite of every driver, on services: a run is killed at each of its requests, some of them while a
// service broker is at work.
func TestServicesSuite(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 5
	}
	second := strings.Replace(servicesSecond, "- name: gate\n", "- {name: queue, service_offering: {name: redis}, service_plan: {name: cluster}}\n- name: gate\n", 1)
	platformtest.Run(t, platformtest.Harness{Stride: stride, New: func(t *testing.T) platformtest.World {
		f := newServices(t)
		f.files["web-two/server.js"] = &fstest.MapFile{Data: []byte("// two")}
		return platformtest.World{
			Driver:  func(*testing.T) platform.Driver { return f.driver() },
			Files:   f.files,
			First:   f.load(services),
			Second:  f.load(second),
			Failing: f.load(strings.Replace(services, "- name: gate\n", "- {name: broken, service_offering: {name: nowhere}, service_plan: {name: small}}\n- name: gate\n", 1)),
			Broken:  manifest.Ref{Kind: manifest.KindServiceInstance, Path: "acme/dev/broken"},
			OnRequest: func(decide func(int) platformtest.Fate) {
				f.wire.install(decide)
			},
			Writes: f.writes,
			Check: func(t *testing.T) {
				f.nothingTwice(t)
				f.servicesOnce(t)
			},
		}
	}})
}

// servicesOnce fails if an instance, a key or a route binding is there twice, or in a state that serves nobody.
func (f *foundation) servicesOnce(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	once := func(what string, op *ccv3.LastOperation) {
		if seen[what] {
			t.Errorf("twice: %s", what)
		}
		seen[what] = true
		if op != nil && op.State != "succeeded" {
			t.Errorf("%s: %s %s", what, op.Type, op.State)
		}
	}
	for _, i := range list[ccv3.ServiceInstance](f, "/v3/service_instances") {
		once("instance "+i.Name, i.LastOperation)
	}
	for _, b := range list[ccv3.Binding](f, "/v3/service_credential_bindings") {
		if b.Type == "key" {
			once("key "+*b.Name, b.LastOperation)
		}
	}
	for _, b := range list[ccv3.RouteBinding](f, "/v3/service_route_bindings") {
		once("route binding "+b.Relationships.Route.GUID(), b.LastOperation)
	}
}
