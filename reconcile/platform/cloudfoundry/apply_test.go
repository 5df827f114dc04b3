package cloudfoundry_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

const web = `
applications:
- name: web
  path: web
  memory: 64M
  instances: 2
  env: {GREETING: hello}
  routes: [{route: web.apps.sandbox.test}]
`

// The first deployment of an app with one route costs at most 12 requests beside polling.
func TestFirstDeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		p := f.mustRun(web)
		made := besidePolling(p.applying)
		t.Logf("%d requests beside polling:\n%s", len(made), strings.Join(made, "\n"))
		t.Logf("what people see:\n%s", strings.Join(p.events, "\n"))
		if len(made) > 12 {
			t.Errorf("%d requests beside polling, want at most 12", len(made))
		}
		f.converged(web)
		if n := len(list[ccv3.Droplet](f, "/v3/droplets")); n != 1 {
			t.Errorf("%d droplets, want 1", n)
		}
	})
}

// A change of the configuration is rolled out with the droplet that is there, in at most 4 requests beside polling.
func TestConfigurationChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		changed := strings.Replace(web, "hello", "good morning", 1)
		p := f.mustRun(changed)
		made := besidePolling(p.applying)
		t.Logf("%d requests beside polling:\n%s", len(made), strings.Join(made, "\n"))
		if len(made) > 4 {
			t.Errorf("%d requests beside polling, want at most 4", len(made))
		}
		f.converged(changed)
		if got := f.env("web")["GREETING"]; got != "good morning" {
			t.Errorf("GREETING is %q", got)
		}
		if n := len(list[ccv3.Droplet](f, "/v3/droplets")); n != 1 {
			t.Errorf("%d droplets, want 1: a changed variable needs no staging", n)
		}
		if n := len(list[ccv3.Deployment](f, "/v3/deployments")); n != 1 {
			t.Errorf("%d deployments, want 1", n)
		}
	})
}

// What takes effect by itself restarts nothing.
func TestInPlaceChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		changed := strings.Replace(web, "instances: 2", "instances: 3", 1)
		changed = strings.Replace(changed, "routes: [", "metadata: {labels: {team: shop}}\n  routes: [{route: second.apps.sandbox.test}, ", 1)
		f.mustRun(changed)
		f.converged(changed)
		if n := len(list[ccv3.Deployment](f, "/v3/deployments")); n != 0 {
			t.Errorf("%d deployments, want none", n)
		}
	})
}

// Code is uploaded and staged once: going back to code that was there before takes its droplet.
func TestCodeChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		f.files["web/server.js"] = &fstest.MapFile{Data: []byte("// second")}
		f.mustRun(web)
		f.converged(web)
		if n := len(list[ccv3.Droplet](f, "/v3/droplets")); n != 2 {
			t.Errorf("%d droplets after a change of the code, want 2", n)
		}
		f.files["web/server.js"] = &fstest.MapFile{Data: []byte("// first")}
		p := f.mustRun(web)
		f.converged(web)
		for _, r := range p.applying {
			if strings.HasSuffix(r, "/upload") || r == "POST /v3/builds" || r == "POST /v3/packages" {
				t.Errorf("the code was there already, and yet: %s", r)
			}
		}
		if n := len(list[ccv3.Deployment](f, "/v3/deployments")); n != 2 {
			t.Errorf("%d deployments, want 2", n)
		}
	})
}

// What Git no longer declares, and Fettle applied, goes. What others added stays.
func TestRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		for _, name := range []string{"mail", "queue"} {
			f.do(http.MethodPost, "/v3/service_instances", map[string]any{
				"type": "user-provided", "name": name, "relationships": map[string]any{"space": ccv3.To(f.space)},
			}, nil)
		}
		f.mustRun(`
applications:
- name: web
  path: web
  env: {KEPT: "1", GONE: "2"}
  metadata: {labels: {kept: a, gone: b}, annotations: {gone: c}}
  routes: [{route: kept.apps.sandbox.test}, {route: gone.apps.sandbox.test}]
  services: [mail, queue]
  processes: [{type: web, memory: 64M}, {type: worker, command: work, instances: 1, memory: 32M}]
  sidecars: [{name: gone, command: tail, process_types: [web]}]
`)
		f.do(http.MethodPatch, "/v3/apps/"+f.app("web")+"/environment_variables", map[string]any{"var": map[string]any{"BY_HAND": "3"}}, nil)
		after := `
applications:
- name: web
  path: web
  env: {KEPT: "1"}
  metadata: {labels: {kept: a}}
  routes: [{route: kept.apps.sandbox.test}]
  services: [mail]
  processes: [{type: web, memory: 64M}]
`
		f.mustRun(after)
		f.converged(after)
		env := f.env("web")
		if env["GONE"] != "" || env["KEPT"] != "1" || env["BY_HAND"] != "3" {
			t.Errorf("the environment is %v", env)
		}
		var routes []string
		for _, r := range list[ccv3.Route](f, "/v3/routes") {
			routes = append(routes, strings.TrimSuffix(r.URL, ".apps.sandbox.test")+strings.Repeat("*", len(r.Destinations)))
		}
		slices.Sort(routes)
		if got := strings.Join(routes, " "); got != "gone kept*" {
			t.Errorf("routes %s, want gone (unmapped, not deleted) and kept*", got)
		}
		if n := len(list[ccv3.ServiceInstance](f, "/v3/service_instances")); n != 2 {
			t.Errorf("%d service instances, want both: they are never deleted", n)
		}
		if n := len(list[ccv3.Sidecar](f, "/v3/apps/"+f.app("web")+"/sidecars")); n != 0 {
			t.Errorf("%d sidecars, want none", n)
		}
	})
}

// A manifest that no longer says how large the web process is, or how many instances it has, leaves them alone.
func TestSilenceAboutTheWebProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		silent := strings.NewReplacer("  memory: 64M\n", "", "  instances: 2\n", "").Replace(web)
		f.converged(silent)
		if got := f.state("web"); !strings.Contains(got, `" RUNNING RUNNING"`) {
			t.Error(got)
		}
	})
}

// Routes come and go with no-route and default-route; they are unmapped, never deleted.
func TestNoRouteAndDefaultRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		text := "applications:\n- name: web\n  path: web\n  default-route: true\n"
		for _, text := range []string{text, strings.Replace(text, "default-route", "no-route", 1), text} {
			f.mustRun(text)
			f.converged(text)
		}
		if n := len(list[ccv3.Route](f, "/v3/routes")); n != 1 {
			t.Errorf("%d routes, want 1", n)
		}
	})
}

// A destination with a port of its own, or of another process, is more than a manifest can say.
func TestDestinationWithAPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		f.do(http.MethodPost, "/v3/routes", map[string]any{
			"host": "admin", "relationships": map[string]any{"space": ccv3.To(f.space), "domain": ccv3.To(f.domain())},
		}, nil)
		text := strings.Replace(web, "}]", "}, {route: admin.apps.sandbox.test}]", 1)
		desired := f.load(text)
		for _, o := range desired.Of(manifest.KindRoute) {
			if o.Ref.Name() == "admin.apps.sandbox.test" {
				o.Spec["destinations"] = map[string]any{"web/web": map[string]any{"port": int64(9090)}}
			}
		}
		p, d := f.prepareSet(t.Context(), desired)
		if p.plan.Steps[0].Impact != diff.ImpactRestart {
			t.Errorf("impact %s, want restart: the instances have to open the port", p.plan.Steps[0].Impact)
		}
		f.apply(t.Context(), d, &p)
		if err := p.outcome.Err(); err != nil {
			t.Fatal(err)
		}
		if p, _ := f.prepareSet(t.Context(), desired); !p.changes.Empty() {
			t.Errorf("still differs: %v", p.changes.List)
		}
	})
}

// One app's failure stops nothing else, and a second run touches only what failed.
func TestOneFailureAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		text := `
applications:
- name: good
  path: web
- name: bad-route
  path: web
  routes: [{route: x.nowhere.test}]
- name: crashes
  path: web
  env: {FAULT_CRASH: "1"}
- name: too
  path: go
  no-route: true
`
		p := f.run(t.Context(), text)
		phases := map[string]platform.Phase{}
		for _, s := range p.outcome.Steps {
			phases[s.Ref.Name()] = s.Phase
		}
		for name, want := range map[string]platform.Phase{
			"good": platform.Succeeded, "too": platform.Succeeded, "bad-route": platform.Failed, "crashes": platform.Failed,
		} {
			if phases[name] != want {
				t.Errorf("%s: %s, want %s", name, phases[name], want)
			}
		}
		again := f.run(t.Context(), text)
		for _, s := range again.plan.Steps {
			if n := s.Ref.Name(); n == "good" || n == "too" {
				t.Errorf("the second run touches %s: %v", n, s.Changes)
			}
		}
	})
}
