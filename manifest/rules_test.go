package manifest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every rule that the recorded answers of a controller do not touch, as a person sees it. The manifests stand
// in testdata/rules.txt, each below a line that says what is wrong.
func TestRules(t *testing.T) { rules(t, "rules") }

func TestRulesOfVersion2(t *testing.T) { rules(t, "rules_v2") }

func rules(t *testing.T, name string) {
	data, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	var report strings.Builder
	for _, c := range strings.Split(string(data), "── ")[1:] {
		name, text, _ := strings.Cut(c, "\n")
		_, problems := load(t, text)
		if len(problems) == 0 {
			t.Errorf("%s: nothing was found", name)
		}
		for _, p := range problems {
			if p.Rule == "" || p.Message == "" || p.Origin.Line == 0 || p.Excerpt == "" {
				t.Errorf("%s: incomplete: %#v", name, p)
			}
			if strings.HasPrefix(p.Message, "app ") && p.Ref == nil {
				t.Errorf("%s: the problem does not name its app: %#v", name, p)
			}
		}
		if said := problems.Text(); strings.Contains(said, "hunter2") {
			t.Errorf("%s: a secret is shown:\n%s", name, said)
		}
		fmt.Fprintf(&report, "── %s\n%s\n\n", name, problems.Text())
	}
	golden(t, name+".golden", report.String())
}

// What looks like a mistake and is none.
func TestWhatIsAllowed(t *testing.T) {
	for name, text := range map[string]string{
		"anchors above the applications":  "defaults: &d {memory: 1G}\nx-more: {any: thing}\nshared:\n  env: &e {A: 1}\napplications:\n- <<: *d\n  name: a\n  env: *e\n",
		"an anchored global attribute":    "memory: &m 1G\napplications: [{name: a, memory: *m}]",
		"underscores for dashes":          "applications: [{name: a, health_check_type: http, health_check_http_endpoint: /x, no_route: true, log_rate_limit_per_second: 1K, disk-quota: 1G, processes: [{type: w, health_check_interval: 5}]}]",
		"quoted numbers":                  "applications: [{name: a, instances: '2', timeout: '60', health-check-interval: '5'}]",
		"empty values that do nothing":    "applications: [{name: a, memory: '', disk_quota: null, instances: null, timeout: null, stack: null, random-route: null, routes: [], services: []}]",
		"booleans of YAML 1.1":            "applications: [{name: a, no-route: yes, features: {ssh: off}}]",
		"an app name with spaces":         "applications: [{name: 東 京, no-route: true}]",
		"an environment without values":   "applications: [{name: a, env: {}}]",
		"a route of two apps":             "applications: [{name: a, routes: [{route: x.example.com}]}, {name: b, routes: [{route: X.example.com, protocol: http2}]}]",
		"the reserved names nearly":       "applications: [{name: a, env: {CF_X: 1, PORTS: 1, VCAPS: 1, A.B: x}}]",
		"sub-domains of the reserved":     "applications: [{name: a, metadata: {labels: {apps.cloudfoundry.org/x: y}}}]",
		"a port":                          "applications: [{name: a, routes: [{route: 'tcp.example.com:1234', protocol: tcp}]}]",
		"a scheme in capitals":            "applications: [{name: a, routes: [{route: 'HTTPS://x.example.com'}]}]",
		"a colon inside of a value":       "applications: [{name: a, env: {A: 'x:y', B: a:b, C: ':x'}}]",
		"both restarts":                   "applications: [{name: a, health-check-type: none}]",
		"a lifecycle with its buildpacks": "applications: [{name: a, lifecycle: cnb, buildpacks: ['docker://registry.example.com/node'], cnb-credentials: {registry.example.com: {username: u, password: p}}}]",
	} {
		if _, problems := load(t, text); len(problems) > 0 {
			t.Errorf("%s:\n%s", name, problems.Text())
		}
	}
}

func TestRoutesOfSeveralAppsComeTogether(t *testing.T) {
	set := mustLoad(t, `
applications:
- name: a
  routes: [{route: x.example.com}]
- name: b
  routes: [{route: X.example.com, protocol: http2, options: {loadbalancing: hash, hash_header: Tenant, hash_balance: 1.50}}]
`)
	route := set.Get(Ref{KindRoute, "acme/dev/x.example.com"})
	want := map[string]any{
		"destinations": map[string]any{"a/web": map[string]any{}, "b/web": map[string]any{"protocol": "http2"}},
		"options":      map[string]any{"loadbalancing": "hash", "hash_header": "Tenant", "hash_balance": "1.5"},
	}
	if diff := cmp.Diff(want, route.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Ref{{KindSpace, "acme/dev"}, {KindApp, "acme/dev/a"}, {KindApp, "acme/dev/b"}}, route.Requires); diff != "" {
		t.Errorf("requires (-want +got):\n%s", diff)
	}
}

func TestOnlySomeApps(t *testing.T) {
	files := fakeFiles(`
applications:
- name: a
  services: [db]
  routes: [{route: x.example.com}, {route: a.example.com}]
- name: b
  services: [db]
  routes: [{route: x.example.com}, {route: b.example.com}]
`)
	set, problems := Load(files, "manifest.yml", Options{Org: "acme", Space: "dev", Apps: []string{"a"}})
	if len(problems) > 0 {
		t.Fatal(problems.Text())
	}
	var got []string
	for _, o := range set.Objects() {
		got = append(got, o.Ref.String())
	}
	want := []string{"app acme/dev/a", "route acme/dev/a.example.com", "route acme/dev/x.example.com", "service_binding acme/dev/a/db"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	shared := set.Get(Ref{KindRoute, "acme/dev/x.example.com"})
	if _, other := Lookup(shared.Spec, Pointer("destinations", "b/web")); other || shared.Ownership["/destinations"] != "" {
		t.Errorf("the route of an app that was not asked for: %v, ownership %v", shared.Spec, shared.Ownership)
	}
	_, problems = Load(files, "manifest.yml", Options{Org: "acme", Space: "dev", Apps: []string{"c"}})
	if got, want := problems.Error(), `no manifest declares the app "c" (the manifest declares a, b)`; got != want {
		t.Errorf("got %s", got)
	}
}

func TestProcessSettings(t *testing.T) {
	set := mustLoad(t, `
applications:
- name: a
  memory: 1.7M
  command: default
  health-check-type: none
  processes:
  - type: worker
  - type: cron
    command: tick
    timeout: 30
    health-check-invocation-timeout: 5
    readiness-health-check-type: http
    readiness-health-check-http-endpoint: /ready
    log-rate-limit-per-second: 1.5K
    disk_quota: 0.5gb
    user: vcap
`)
	app := set.Get(Ref{KindApp, "acme/dev/a"})
	want := map[string]any{
		"web":    map[string]any{"memory_in_mb": int64(1), "command": nil, "health_check": map[string]any{"type": "process"}},
		"worker": map[string]any{},
		"cron": map[string]any{
			"command": "tick", "user": "vcap", "disk_in_mb": int64(512), "log_rate_limit_in_bytes_per_second": int64(1536),
			"health_check":           map[string]any{"timeout": int64(30), "invocation_timeout": int64(5)},
			"readiness_health_check": map[string]any{"type": "http", "http_endpoint": "/ready"},
		},
	}
	if diff := cmp.Diff(want, app.Spec["processes"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for pointer, want := range map[string]string{
		"/processes/cron/disk_in_mb": "manifest.yml:16:17", "/processes/worker": "manifest.yml:8:5", "/processes/web/command": "manifest.yml:5:12",
		"/environment_variables/GONE": "manifest.yml:3:3", "/processes/cron/instances": "manifest.yml:9:5",
	} {
		if got := app.FieldOrigin(pointer).String(); got != want {
			t.Errorf("%s stands at %s, expected %s", pointer, got, want)
		}
	}
}

func TestMetadataNullIsKept(t *testing.T) {
	set := mustLoad(t, "applications: [{name: a, metadata: {labels: {gone: null, n: 5, yes: on}, annotations: {empty: '', gone: ~, f: 1.50}}}]")
	want := map[string]any{
		"labels":      map[string]any{"gone": nil, "n": "5", "true": "true"},
		"annotations": map[string]any{"empty": "", "gone": nil, "f": "1.5"},
	}
	if diff := cmp.Diff(want, set.Get(Ref{KindApp, "acme/dev/a"}).Spec["metadata"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDockerApps(t *testing.T) {
	set := mustLoad(t, "applications: [{name: a, docker: {image: 'registry.example.com:5000/a@sha256:0', username: u}}]")
	app := set.Get(Ref{KindApp, "acme/dev/a"})
	want := map[string]any{
		"state": "STARTED", "rollout": "complete", "lifecycle": map[string]any{"type": "docker"},
		"package": map[string]any{"type": "docker", "image": "registry.example.com:5000/a@sha256:0", "username": "u"},
	}
	if diff := cmp.Diff(want, app.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(app.Inputs) > 0 {
		t.Errorf("inputs: %v", app.Inputs)
	}
}
