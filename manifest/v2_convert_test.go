package manifest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/schemas"
)

// sayings are the things that version 1 can say and version 2 can say too.
var sayings = map[string]string{
	"a bare app":                            "applications: [{name: a}]",
	"an app of a folder":                    "applications: [{name: a, path: app}]",
	"process settings":                      "applications: [{name: a, memory: 1G, disk_quota: 512M, instances: 2, log-rate-limit-per-second: 1K, timeout: 9, health-check-type: http, health-check-http-endpoint: /x, readiness-health-check-type: port}]",
	"processes":                             "applications: [{name: a, processes: [{type: web, user: u, command: null}, {type: w, command: c, log-rate-limit-per-second: 0}]}]",
	"no processes":                          "applications: [{name: a, processes: [], sidecars: [], env: {}, metadata: {labels: {}}}]",
	"an old check":                          "applications: [{name: a, health-check-type: none}]",
	"sidecars":                              "applications: [{name: a, memory: 1G, sidecars: [{name: s, command: c, process_types: [w, web], memory: 10}]}]",
	"buildpacks":                            "applications: [{name: a, buildpacks: [go, 'https://x.example.com/y', git.example.com/z], stack: s}]",
	"a detected buildpack":                  "applications: [{name: a, buildpack: null}]",
	"native buildpacks":                     "applications: [{name: a, lifecycle: cnb, buildpacks: ['docker://r/x'], cnb-credentials: {r: {username: u, password: p}, s: {token: t}}}]",
	"an image":                              "applications: [{name: a, docker: {image: i, username: u}}]",
	"environment, metadata":                 "applications: [{name: a, env: {A: 010, B: null, API_KEY: x}, metadata: {labels: {a: b, gone: null}, annotations: {c: yes}}, features: {ssh: off}}]",
	"routes":                                "applications: [{name: a, routes: [{route: X.example.com/Y, protocol: http2, options: {loadbalancing: least-connection}}, {route: 'tcp.example.com:1234', protocol: tcp}]}, {name: b, routes: [{route: x.example.com/y}]}]",
	"services":                              "applications: [{name: a, services: [db, {name: mail, binding_name: smtp, parameters: {a: [1, 1.5, null]}}, 'a/b']}]",
	"the place":                             "version: 1\norg: acme\nspace: dev\napplications: [{name: a}]",
	"a command":                             "applications: [{name: a, command: run, stack: s}]",
	"one buildpack":                         "applications: [{name: a, buildpack: go, lifecycle: buildpack}]",
	"checks in detail":                      "applications: [{name: a, health-check-type: http, health-check-http-endpoint: /x, health-check-invocation-timeout: 3, health-check-interval: 4, readiness-health-check-type: http, readiness-health-check-http-endpoint: /y, readiness-health-check-invocation-timeout: 5, readiness-health-check-interval: 6}]",
	"checks in detail, with underscores":    "applications: [{name: a, disk-quota: 1G, log_rate_limit_per_second: 1K, health_check_type: http, health_check_http_endpoint: /x, health_check_invocation_timeout: 3, health_check_interval: 4, readiness_health_check_type: http, readiness_health_check_http_endpoint: /y, readiness_health_check_invocation_timeout: 5, readiness_health_check_interval: 6}]",
	"a process in detail":                   "applications: [{name: a, processes: [{type: w, memory: 1G, disk_quota: 2G, instances: 3, timeout: 9, health-check-type: http, health-check-http-endpoint: /x, health-check-invocation-timeout: 3, health-check-interval: 4, readiness-health-check-type: http, readiness-health-check-http-endpoint: /y, readiness-health-check-invocation-timeout: 5, readiness-health-check-interval: 6}]}]",
	"a process in detail, with underscores": "applications: [{name: a, processes: [{type: w, disk-quota: 2G, log_rate_limit_per_second: 1K, health_check_type: http, health_check_http_endpoint: /x, health_check_invocation_timeout: 3, health_check_interval: 4, readiness_health_check_type: http, readiness_health_check_http_endpoint: /y, readiness_health_check_invocation_timeout: 5, readiness_health_check_interval: 6}]}]",
	"native buildpacks, with an underscore": "applications: [{name: a, lifecycle: cnb, buildpacks: ['docker://r/x'], cnb_credentials: {r: {username: u, password: p}}}]",
	"every feature":                         "applications: [{name: a, features: {ssh: true, revisions: false, service-binding-k8s: true, file-based-vcap-services: false}}]",
	"a route by hash":                       "applications: [{name: a, routes: [{route: x.example.com, options: {loadbalancing: hash, hash_header: X-Tenant, hash_balance: 1.5}}]}]",
	"rollout settings":                      "applications: [{name: a, metadata: {annotations: {fettle-gitops.github.io/strategy: canary, fettle-gitops.github.io/max-in-flight: '2', fettle-gitops.github.io/canary-steps: '10,50', fettle-gitops.github.io/canary-pause: 5m, fettle-gitops.github.io/rollout-timeout: 10m, fettle-gitops.github.io/settle: 30s, fettle-gitops.github.io/health-url: 'https://x.example.com/h', fettle-gitops.github.io/health-status: '200', fettle-gitops.github.io/before-rollout: migrate, fettle-gitops.github.io/after-rollout: warm, fettle-gitops.github.io/hook-timeout: 5m, fettle-gitops.github.io/depends-on: b, fettle-gitops.github.io/wave: '1', fettle-gitops.github.io/ignore: /processes/web/instances}}}, {name: b}]",
}

// unsaid are the things that version 2 has no word for. convert says so.
var unsaid = map[string]string{
	"no route":                         "applications: [{name: a, no-route: true}]",
	"no route, with an underscore":     "applications: [{name: a, no_route: true}]",
	"a random route":                   "applications: [{name: a, random-route: true}]",
	"a random route, with underscore":  "applications: [{name: a, random_route: true}]",
	"a default route":                  "applications: [{name: a, default-route: true}]",
	"a default route, with underscore": "applications: [{name: a, default_route: true}]",
}

// Version 1 → model → version 2 → model is the same model, for each thing that version 1 can say.
func TestVersion1ToVersion2(t *testing.T) {
	for name, text := range sayings {
		t.Run(name, func(t *testing.T) {
			before := mustLoad(t, text).Objects()
			after, written := reloadV2(t, before)
			if diff := cmp.Diff(before, after, withoutOwnership); diff != "" {
				t.Errorf("(-before +after):\n%s\n%s", diff, written)
			}
			if lost := NotInV2(before); len(lost) > 0 {
				t.Errorf("said to be lost:\n%s", lost.Text())
			}
		})
	}
	for name, text := range unsaid {
		if lost := NotInV2(mustLoad(t, text).Objects()); len(lost) != 1 {
			t.Errorf("%s: %d things are said to be lost:\n%s", name, len(lost), lost.Text())
		}
	}
}

// The tables above leave out nothing that the schema of version 1 allows, at any level.
func TestEveryPropertyOfVersion1IsConverted(t *testing.T) {
	said := map[string]bool{}
	for _, table := range []map[string]string{sayings, unsaid} {
		for _, text := range table {
			var doc any
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatal(err)
			}
			keysOf(doc, "", said)
		}
	}
	data, err := schemas.Read("manifest-v1")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	propertiesOf(schema, schema, "", known)
	if len(known) < 100 {
		t.Fatalf("the schema was not understood: only %d properties were found", len(known))
	}
	for _, pointer := range sortedKeys(known) {
		if !said[pointer] {
			t.Errorf("no input says %s", pointer)
		}
	}
}

// keysOf notes where every key of a document stands. A list adds nothing to the path.
func keysOf(value any, at string, into map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for k, child := range v {
			into[at+Pointer(k)] = true
			keysOf(child, at+Pointer(k), into)
		}
	case []any:
		for _, e := range v {
			keysOf(e, at, into)
		}
	}
}

// propertiesOf notes where a schema allows which keys, as keysOf does for a document.
func propertiesOf(part any, root map[string]any, at string, into map[string]bool) {
	switch s := part.(type) {
	case []any:
		for _, e := range s {
			propertiesOf(e, root, at, into)
		}
	case map[string]any:
		if ref, ok := s["$ref"].(string); ok {
			propertiesOf(root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")], root, at, into)
		}
		properties, _ := s["properties"].(map[string]any)
		for k, child := range properties {
			into[at+Pointer(k)] = true
			propertiesOf(child, root, at+Pointer(k), into)
		}
		for _, keyword := range []string{"items", "allOf", "anyOf", "oneOf"} {
			propertiesOf(s[keyword], root, at, into)
		}
	}
}
