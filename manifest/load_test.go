package manifest

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// load reads one manifest.yml with app folders beside it.
func load(t *testing.T, text string) (Set, Problems) {
	t.Helper()
	return Load(fakeFiles(text), "manifest.yml", Options{Org: "acme", Space: "dev", OrgOrigin: "-o/-s"})
}

// fakeFiles is a repository with one manifest and something to push.
func fakeFiles(manifest string) fstest.MapFS {
	return fstest.MapFS{
		"manifest.yml":   {Data: []byte(manifest)},
		"app/index.html": {Data: []byte("hello")},
		"target/app.jar": {Data: []byte("PK")},
	}
}

// mustLoad is load for manifests without a mistake.
func mustLoad(t *testing.T, text string) Set {
	t.Helper()
	set, problems := load(t, text)
	if err := problems.Err(); err != nil {
		t.Fatalf("unexpected problems:\n%s", problems.Text())
	}
	return set
}

func TestLoadReadsAnAppWithItsRoutesAndServices(t *testing.T) {
	set := mustLoad(t, `
applications:
- name: shop
  path: app
  memory: 1G
  instances: 2
  command: null
  buildpack: default
  env: {LEVEL: info, RETRIES: 010, DEBUG: no, DB_PASSWORD: hunter2}
  routes:
  - route: https://Shop.example.com/Cart
    protocol: http2
  services:
  - shop-db
  - name: mail
    binding_name: smtp
    parameters: {tls: true, port: 25}
`)
	app := set.Get(Ref{KindApp, "acme/dev/shop"})
	want := map[string]any{
		"state": "STARTED", "rollout": "complete",
		"package":               map[string]any{"type": "bits"},
		"lifecycle":             map[string]any{"buildpacks": []any{}},
		"environment_variables": map[string]any{"LEVEL": "info", "RETRIES": "8", "DEBUG": "false", "DB_PASSWORD": "hunter2"},
		"processes":             map[string]any{"web": map[string]any{"memory_in_mb": int64(1024), "instances": int64(2), "command": nil}},
	}
	if diff := cmp.Diff(want, app.Spec); diff != "" {
		t.Errorf("app (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"path": "app"}, app.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if got := app.FieldOrigin("/processes/web/memory_in_mb").String(); got != "manifest.yml:5:11" {
		t.Errorf("memory stands at %s", got)
	}
	if !app.IsSecret("/environment_variables/DB_PASSWORD") || app.IsSecret("/environment_variables/LEVEL") {
		t.Errorf("secrets: %v", app.Secrets)
	}

	route := set.Get(Ref{KindRoute, "acme/dev/shop.example.com/cart"})
	if route == nil {
		t.Fatalf("no route among %v", set.Objects())
	}
	if diff := cmp.Diff(map[string]any{"destinations": map[string]any{"shop/web": map[string]any{"protocol": "http2"}}}, route.Spec); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"url": "Shop.example.com/Cart"}, route.Inputs); diff != "" {
		t.Errorf("route inputs (-want +got):\n%s", diff)
	}

	binding := set.Get(Ref{KindServiceBinding, "acme/dev/shop/mail"})
	if diff := cmp.Diff(map[string]any{"app": "shop", "service_instance": "mail", "name": "smtp"}, binding.Spec); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"parameters": map[string]any{"tls": true, "port": int64(25)}}, binding.Inputs); diff != "" {
		t.Errorf("binding inputs (-want +got):\n%s", diff)
	}
}
