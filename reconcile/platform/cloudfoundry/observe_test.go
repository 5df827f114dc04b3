package cloudfoundry_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// declared makes a desired set of bare refs: observing needs to know only what is declared.
func declared(refs ...string) manifest.Set {
	var s manifest.Set
	for _, text := range refs {
		ref, err := manifest.ParseRef(text)
		if err != nil {
			panic(err)
		}
		o := &manifest.Object{Ref: ref, Spec: map[string]any{}}
		if ref.Kind == manifest.KindServiceBinding {
			app, instance, _ := strings.Cut(ref.Name(), "/")
			o.Spec["app"], o.Spec["service_instance"] = app, instance
		}
		s.Put(o)
	}
	return s
}

func (f *town) observe(user string, desired manifest.Set) platform.Observation {
	f.t.Helper()
	obs, err := f.driver(user).Observe(f.t.Context(), desired)
	if err != nil {
		f.t.Fatal(err)
	}
	return obs
}

const shop = `
applications:
- name: shop
  env: {GREETING: hello, NUMBER: 12, SWITCH: "yes", EMPTY: ""}
  buildpacks: [https://user:pw@example.com/bp.git#v1]
  features: {ssh: false}
  routes:
  - route: shop.apps.sandbox.test
  - route: shop.apps.sandbox.test/Cart
    protocol: http2
    options: {loadbalancing: least-connection}
  services: [db]
  metadata:
    labels: {team: x, fettle-gitops.github.io/ours: "1"}
    annotations: {contact: a b}
  processes:
  - type: web
    instances: 2
    memory: 512M
    disk_quota: 600M
    log-rate-limit-per-second: 16K
    command: run --me
    health-check-type: http
    health-check-http-endpoint: /health
    health-check-invocation-timeout: 3
    health-check-interval: 7
    readiness-health-check-type: http
    readiness-health-check-http-endpoint: /ready
    readiness-health-check-invocation-timeout: 4
    readiness-health-check-interval: 8
    timeout: 70
  - type: worker
    instances: 1
    memory: 256M
    disk_quota: 300M
    log-rate-limit-per-second: -1
  sidecars:
  - {name: proxy, process_types: [worker, web], command: side --car, memory: 32M}
- name: bystander
  routes: [{route: shop.apps.sandbox.test}]
`

func inShop(t *testing.T, test func(*testing.T, *town)) {
	inTown(t, func(t *testing.T, f *town) {
		dev := f.client("dev")
		f.do(dev, "POST", "/v3/service_instances", body{"type": "user-provided", "name": "db", "relationships": body{"space": related(f.spaces["acme/dev"])}})
		f.apply(dev, "acme/dev", shop)
		test(t, f)
	})
}

func TestObserve(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		dev, app := f.client("dev"), f.app("acme/dev", "shop")
		f.stage(dev, app, body{"fettle-gitops.github.io/digest": "sha256:123"})
		f.do(dev, "POST", "/v3/apps/"+app+"/actions/start", nil)
		obs := f.observe("dev", declared("app acme/dev/shop", "route acme/dev/shop.apps.sandbox.test", "service_binding acme/dev/shop/DB"))

		none := map[string]any{"labels": map[string]any{}, "annotations": map[string]any{}}
		want := manifest.NewSet(
			&manifest.Object{Ref: manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/shop"}, Spec: map[string]any{
				"state": "STARTED", "rollout": "complete", "routed": true,
				"package":               map[string]any{"type": "bits", "digest": "sha256:123"},
				"environment_variables": map[string]any{"GREETING": "hello", "NUMBER": "12", "SWITCH": "yes", "EMPTY": ""},
				"lifecycle":             map[string]any{"type": "buildpack", "buildpacks": []any{"https://user:pw@example.com/bp.git#v1"}, "stack": "cflinuxfs4"},
				"features":              map[string]any{"ssh": false, "revisions": true, "service-binding-k8s": false, "file-based-vcap-services": false},
				"metadata":              map[string]any{"labels": map[string]any{"team": "x"}, "annotations": map[string]any{"contact": "a b"}},
				"sidecars":              map[string]any{"proxy": map[string]any{"command": "side --car", "process_types": []any{"web", "worker"}, "memory_in_mb": int64(32)}},
				"processes": map[string]any{
					"web": map[string]any{
						"metadata": none, "command": "run --me", "user": "vcap", "instances": int64(2), "memory_in_mb": int64(512), "disk_in_mb": int64(600), "log_rate_limit_in_bytes_per_second": int64(16384),
						"health_check":           map[string]any{"type": "http", "timeout": int64(70), "invocation_timeout": int64(3), "interval": int64(7), "http_endpoint": "/health"},
						"readiness_health_check": map[string]any{"type": "http", "invocation_timeout": int64(4), "interval": int64(8), "http_endpoint": "/ready"},
					},
					"worker": map[string]any{
						"metadata": none, "command": nil, "user": "vcap", "instances": int64(1), "memory_in_mb": int64(256), "disk_in_mb": int64(300), "log_rate_limit_in_bytes_per_second": int64(-1),
						"health_check":           map[string]any{"type": "process", "timeout": nil, "invocation_timeout": nil, "interval": nil, "http_endpoint": nil},
						"readiness_health_check": map[string]any{"type": "process", "invocation_timeout": nil, "interval": nil, "http_endpoint": nil},
					},
				},
			}},
			&manifest.Object{Ref: manifest.Ref{Kind: manifest.KindRoute, Path: "acme/dev/shop.apps.sandbox.test"}, Spec: map[string]any{
				"options": map[string]any{}, "metadata": none,
				"destinations": map[string]any{
					"shop/web":      map[string]any{"port": int64(8080), "protocol": "http1"},
					"bystander/web": map[string]any{"port": int64(8080), "protocol": "http1"},
				},
			}},
			&manifest.Object{Ref: manifest.Ref{Kind: manifest.KindRoute, Path: "acme/dev/shop.apps.sandbox.test/cart"}, Spec: map[string]any{
				"options":      map[string]any{"loadbalancing": "least-connection"},
				"metadata":     none,
				"destinations": map[string]any{"shop/web": map[string]any{"port": int64(8080), "protocol": "http2"}},
			}},
			&manifest.Object{Ref: manifest.Ref{Kind: manifest.KindServiceBinding, Path: "acme/dev/shop/DB"}, Spec: map[string]any{
				"app": "shop", "service_instance": "DB", "name": nil, "metadata": map[string]any{"labels": map[string]any{}, "annotations": map[string]any{}},
			}},
		)
		for _, o := range want.Objects() {
			live := obs.Live.Get(o.Ref)
			if live == nil {
				t.Errorf("%s was not observed", o.Ref)
				continue
			}
			if d := cmp.Diff(o.Spec, live.Spec); d != "" {
				t.Errorf("%s\n%s", o.Ref, d)
			}
			if len(live.Unobservable) > 0 {
				t.Errorf("%s: %v", o.Ref, live.Unobservable)
			}
		}
		if obs.Live.Len() != want.Len()+1 || obs.Live.Get(manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/bystander"}) == nil {
			t.Errorf("live: %v", obs.Live.Objects())
		}
		for path, id := range map[string]string{"app acme/dev/shop": app, "space acme/dev": f.spaces["acme/dev"], "org acme": f.orgs["acme"]} {
			if ref, _ := manifest.ParseRef(path); obs.IDs[ref] != id {
				t.Errorf("the guid of %s is %q, want %q", path, obs.IDs[ref], id)
			}
		}
		for _, path := range []string{"service_instance acme/dev/DB", "service_binding acme/dev/shop/DB", "route acme/dev/shop.apps.sandbox.test"} {
			if ref, _ := manifest.ParseRef(path); obs.IDs[ref] == "" {
				t.Errorf("%s has no guid", path)
			}
		}
	})
}

// TestNamesIgnoreCase: the controller takes "SHOP" for "shop", so both are one resource, in Git's spelling.
func TestNamesIgnoreCase(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		obs := f.observe("dev", declared("app Acme/Dev/SHOP"))
		o := obs.Live.Get(manifest.Ref{Kind: manifest.KindApp, Path: "Acme/Dev/SHOP"})
		if o == nil {
			t.Fatal("not found")
		}
		if env := o.Spec["environment_variables"].(map[string]any); env["GREETING"] != "hello" {
			t.Errorf("environment %v", env)
		}
		route := obs.Live.Get(manifest.Ref{Kind: manifest.KindRoute, Path: "Acme/Dev/shop.apps.sandbox.test"})
		if route == nil || route.Spec["destinations"].(map[string]any)["SHOP/web"] == nil {
			t.Errorf("route %+v", route)
		}
	})
}

// TestTheCostOfObserving holds us to the table in the package comment.
func TestTheCostOfObserving(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		f.stage(f.client("dev"), f.app("acme/dev", "shop"), body{})
		f.space("acme/empty")
		d := f.driver("dev")
		if _, err := d.Identity(t.Context()); err != nil { // the root document
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name    string
			desired manifest.Set
			want    int64
		}{
			{"nothing", manifest.Set{}, 0},
			{"a space where nothing lives", declared("app acme/empty/shop"), 6},
			{"two spaces and two apps, one with code", declared("app acme/dev/shop", "app acme/dev/bystander", "app acme/empty/x"), 6 + 3 + 2},
			{"bindings", declared("app acme/dev/shop", "service_binding acme/dev/shop/db"), 7 + 3 + 1},
		} {
			before := d.Requests()
			if _, err := d.Observe(t.Context(), tt.desired); err != nil {
				t.Fatal(err)
			}
			if n := d.Requests() - before; n != tt.want {
				t.Errorf("%s: %d requests, want %d", tt.name, n, tt.want)
			}
		}
		events, _, err := ccv3.List[ccv3.AuditEvent](t.Context(), f.root, "/v3/audit_events", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if strings.HasSuffix(e.Type, ".show") {
				t.Errorf("looking left the event %s", e.Type)
			}
		}
	})
}

func TestObserveDuringADeployment(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		dev, app := f.client("dev"), f.app("acme/dev", "shop")
		f.stage(dev, app, body{})
		f.do(dev, "POST", "/v3/apps/"+app+"/actions/start", nil)
		deployment := f.do(dev, "POST", "/v3/deployments", body{"strategy": "canary", "relationships": body{"app": related(app)}})
		waitFor(f, dev, "/v3/deployments/"+deployment, func(d *ccv3.Deployment) bool { return d.Status.Reason == "PAUSED" })

		o := f.observe("dev", declared("app acme/dev/shop")).Live.Get(manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/shop"})
		if o.Spec["rollout"] != "in progress" {
			t.Errorf("rollout %v", o.Spec["rollout"])
		}
		if o.Unobservable["/processes/web/instances"] == "" || len(o.Unobservable) != 1 {
			t.Errorf("unobservable: %v", o.Unobservable)
		}
		web := o.Spec["processes"].(map[string]any)["web"].(map[string]any)
		if web["command"] != "run --me" || web["memory_in_mb"] != int64(512) {
			t.Errorf("web %v", web)
		}
	})
}

// TestPendingRestart: the annotation counts while instances run that could lag behind.
func TestPendingRestart(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		dev, app := f.client("dev"), f.app("acme/dev", "shop")
		f.do(dev, "PATCH", "/v3/apps/"+app, body{"metadata": body{"annotations": body{"fettle-gitops.github.io/pending": "restart x"}}})
		rollout := func() any {
			return f.observe("dev", declared("app acme/dev/shop")).Live.Get(manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/shop"}).Spec["rollout"]
		}
		if r := rollout(); r != "complete" {
			t.Errorf("stopped: %v", r)
		}
		f.stage(dev, app, body{})
		f.do(dev, "POST", "/v3/apps/"+app+"/actions/start", nil)
		if r := rollout(); r != "pending restart" {
			t.Errorf("started: %v", r)
		}
	})
}

// TestAnAuditorSeesLess: what the role hides is named, and never taken for absent.
func TestAnAuditorSeesLess(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		cfg := f.config("aud")
		inner := cfg.HTTP
		cfg.HTTP = transport(func(r *http.Request) (*http.Response, error) {
			resp, err := inner.RoundTrip(r)
			if err == nil {
				// As the controller's app presenter writes it (UrlSecretObfuscator).
				data, _ := io.ReadAll(resp.Body)
				data = bytes.ReplaceAll(data, []byte("user:pw@"), []byte("***:***@"))
				resp.Body = io.NopCloser(bytes.NewReader(data))
			}
			return resp, err
		})
		d, err := cloudfoundry.New(cloudfoundry.Config{Client: cfg})
		if err != nil {
			t.Fatal(err)
		}
		obs, err := d.Observe(t.Context(), declared("app acme/dev/shop"))
		if err != nil {
			t.Fatal(err)
		}
		o := obs.Live.Get(manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/shop"})
		why := "the user's role may not read it; a space developer may"
		want := map[string]string{
			"/environment_variables": why, "/processes/web/command": why, "/processes/worker/command": why,
			"/lifecycle/buildpacks": "a buildpack URL with credentials is shown without them to this role",
		}
		if d := cmp.Diff(want, o.Unobservable); d != "" {
			t.Error(d)
		}
		if web := o.Spec["processes"].(map[string]any)["web"].(map[string]any); web["memory_in_mb"] != int64(512) {
			t.Errorf("web %v", web)
		}
		if f := o.Spec["features"].(map[string]any); f["ssh"] != false {
			t.Errorf("features %v", f)
		}
		if s := o.Spec["sidecars"].(map[string]any); s["proxy"] == nil {
			t.Errorf("sidecars %v", s)
		}
	})
}

func TestDockerApps(t *testing.T) {
	inTown(t, func(t *testing.T, f *town) {
		dev := f.client("dev")
		f.do(f.root, "PATCH", "/v3/feature_flags/diego_docker", body{"enabled": true})
		f.apply(dev, "acme/dev", "applications:\n- name: dock\n  docker: {image: registry.example.com/x:1}\n")
		app := f.app("acme/dev", "dock")
		ref := manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/dock"}
		code := func() any { return f.observe("dev", declared(ref.String())).Live.Get(ref).Spec["package"] }
		if p := code(); p != nil {
			t.Errorf("before it is staged: %v", p)
		}
		pkg := f.do(dev, "POST", "/v3/packages", body{"type": "docker", "relationships": body{"app": related(app)}, "data": body{"image": "registry.example.com/x:1", "username": "robot", "password": "hunter2"}})
		f.current(dev, app, pkg)
		if d := cmp.Diff(map[string]any{"type": "docker", "image": "registry.example.com/x:1", "username": "robot"}, code()); d != "" {
			t.Error(d)
		}
	})
}

// TestTwoManifestsInOneSpace: what another manifest applied to an app that this one does not declare is not ours.
func TestTwoManifestsInOneSpace(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		dev := f.client("dev")
		for _, name := range []string{"shop", "bystander"} {
			// The ledger of a single key "/metadata/labels/team", and of "route:shop.apps.sandbox.test#web".
			f.do(dev, "PATCH", "/v3/apps/"+f.app("acme/dev", name), body{"metadata": body{"annotations": body{"fettle-gitops.github.io/applied": cloudfoundry.LedgerOf([]string{"/metadata/labels/team", "route:shop.apps.sandbox.test#web"})}}})
		}
		obs := f.observe("dev", declared("app acme/dev/shop"))
		got := map[string]bool{}
		for ref, pointers := range obs.Ledger {
			for p := range pointers {
				got[ref.String()+" "+p] = true
			}
		}
		want := map[string]bool{"app acme/dev/shop /metadata/labels/team": true, "route acme/dev/shop.apps.sandbox.test /destinations/shop~1web": true}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// TestOneBrokenAppDoesNotHideTheOthers: the controller fails to generate the manifest of one app.
func TestOneBrokenAppDoesNotHideTheOthers(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		cfg := f.config("dev")
		inner, broken := cfg.HTTP, "/v3/apps/"+f.app("acme/dev", "bystander")+"/manifest"
		cfg.HTTP = transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == broken {
				return stranger(http.StatusInternalServerError).RoundTrip(r)
			}
			return inner.RoundTrip(r)
		})
		d, err := cloudfoundry.New(cloudfoundry.Config{Client: cfg})
		if err != nil {
			t.Fatal(err)
		}
		obs, err := d.Observe(t.Context(), declared("app acme/dev/shop", "app acme/dev/bystander"))
		if err != nil {
			t.Fatal(err)
		}
		o := obs.Live.Get(manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/bystander"})
		if o.Unobservable[""] == "" || len(obs.Warnings) != 1 {
			t.Errorf("unobservable %v, warnings %q", o.Unobservable, obs.Warnings)
		}
		if o := obs.Live.Get(manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/shop"}); o.Spec["environment_variables"] == nil {
			t.Error("the other app was not read")
		}
	})
}
