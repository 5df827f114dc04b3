package cloudfoundry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// An app with everything that a revision holds.
const revised = `
applications:
- name: web
  path: web
  memory: 64M
  env: {GREETING: hello, LEVEL: "1"}
  processes: [{type: web, command: serve}, {type: worker, command: work, instances: 1, memory: 32M}]
  sidecars: [{name: proxy, command: proxy, process_types: [web]}]
  routes: [{route: web.apps.sandbox.test}]
`

// byHand is what people do beside Fettle.
type byHand struct{ *foundation }

func (f byHand) setEnv(name string, value any) {
	f.do(http.MethodPatch, "/v3/apps/"+f.app("web")+"/environment_variables", map[string]any{"var": map[string]any{name: value}}, nil)
}

func (f byHand) setCommand(process, command string) {
	f.do(http.MethodPatch, "/v3/apps/"+f.app("web")+"/processes/"+process, map[string]any{"command": command}, nil)
}

func (f byHand) restart() {
	f.do(http.MethodPost, "/v3/apps/"+f.app("web")+"/actions/restart", nil, nil)
	time.Sleep(time.Minute)
}

func (f byHand) feature(name string, on bool) {
	f.do(http.MethodPatch, "/v3/apps/"+f.app("web")+"/features/"+name, map[string]any{"enabled": on}, nil)
}

// restage builds the package anew, and restarts with the droplet if told to.
func (f byHand) restage(restart bool) {
	f.t.Helper()
	pkg := list[ccv3.Package](f.foundation, "/v3/packages")[0]
	var build ccv3.Build
	f.do(http.MethodPost, "/v3/builds", map[string]any{"package": map[string]any{"guid": pkg.GUID}}, &build)
	time.Sleep(5 * time.Minute)
	f.do(http.MethodGet, "/v3/builds/"+build.GUID, nil, &build)
	if build.Droplet == nil {
		f.t.Fatalf("the build is %s", build.State)
	}
	f.do(http.MethodPatch, "/v3/apps/"+f.app("web")+"/relationships/current_droplet", ccv3.To(build.Droplet.GUID), nil)
	if restart {
		f.restart()
	}
}

func (f byHand) rollBackTo(version int) {
	f.t.Helper()
	for _, r := range list[ccv3.Revision](f.foundation, "/v3/apps/"+f.app("web")+"/revisions") {
		if r.Version == version {
			f.do(http.MethodPost, "/v3/deployments", map[string]any{
				"revision": map[string]any{"guid": r.GUID}, "relationships": map[string]any{"app": ccv3.To(f.app("web"))},
			}, nil)
			time.Sleep(5 * time.Minute)
			return
		}
	}
	f.t.Fatalf("there is no revision %d", version)
}

// Configuration that was changed and is not running: recognised where the change was not Fettle's, and never
// where instances run with what is configured. declared is what Git declares afterwards.
func TestConfigurationThatNobodyRuns(t *testing.T) {
	with := func(old, text string) string { return strings.Replace(revised, old, text, 1) }
	tests := []struct {
		name     string
		by       func(f byHand)
		declared string
		pending  bool
		reads    int // requests for revisions
	}{
		{name: "nothing", by: func(byHand) {}},
		{name: "a variable, and Git declares it later", by: func(f byHand) { f.setEnv("GREETING", "good morning") }, declared: with("hello", "good morning"), pending: true, reads: 2},
		{name: "a new variable, and Git declares it later", by: func(f byHand) { f.setEnv("NEW", "1") }, declared: with("LEVEL:", "NEW: '1', LEVEL:"), pending: true, reads: 2},
		{name: "a command, and Git declares it later", by: func(f byHand) { f.setCommand("worker", "work harder") }, declared: with("command: work,", "command: work harder,"), pending: true, reads: 2},
		{name: "the same, restarted", by: func(f byHand) { f.setEnv("GREETING", "good morning"); f.restart() }, declared: with("hello", "good morning")},
		{name: "there and back again", by: func(f byHand) { f.setEnv("GREETING", "good morning"); f.setEnv("GREETING", "hello") }},
		{name: "restarted with it, and changed back", by: func(f byHand) { f.setEnv("GREETING", "good morning"); f.restart(); f.setEnv("GREETING", "hello") }, pending: true, reads: 2},
		{name: "changed back, and restarted", by: func(f byHand) {
			f.setEnv("GREETING", "good morning")
			f.restart()
			f.setEnv("GREETING", "hello")
			f.restart()
		}, reads: 2},
		{name: "rolled out and rolled back", by: func(f byHand) { f.setEnv("GREETING", "good morning"); f.restart(); f.rollBackTo(2) }, reads: 2},
		{name: "a variable that nobody declares", by: func(f byHand) { f.setEnv("MINE", "1") }, reads: 2},
		{name: "a restart", by: byHand.restart},
		{name: "staged anew", by: func(f byHand) { f.restage(true) }},
		{name: "staged anew, and not restarted", by: func(f byHand) { f.restage(false) }, pending: true, reads: 2},
		{name: "scaled", by: func(f byHand) {
			f.do(http.MethodPost, "/v3/apps/"+f.app("web")+"/processes/web/actions/scale", map[string]any{"instances": 2, "memory_in_mb": 96}, nil)
		}, declared: with("command: serve", "command: serve, instances: 2, memory: 96M")},
		{name: "revisions switched off", by: func(f byHand) { f.feature("revisions", false); f.setEnv("GREETING", "good morning") }, declared: with("hello", "good morning")},
		{name: "stopped", by: func(f byHand) {
			f.setEnv("GREETING", "good morning")
			f.do(http.MethodPost, "/v3/apps/"+f.app("web")+"/actions/stop", nil, nil)
		}, declared: with("hello", "good morning")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				f.mustRun(with("hello", "hi"))
				f.mustRun(revised) // by a deployment
				tt.by(byHand{f})
				if tt.declared == "" {
					tt.declared = revised
				}
				before := len(f.wire.log())
				p, d := f.prepare(t.Context(), tt.declared)
				reads := 0
				for _, call := range f.wire.log()[before:] {
					if strings.HasPrefix(call, "GET /v3/revisions/") {
						reads++
					}
				}
				if reads != tt.reads {
					t.Errorf("%d requests for revisions, want %d", reads, tt.reads)
				}
				var pending bool
				for _, c := range p.changes.List {
					pending = pending || c.Path == "/rollout" && c.Was == "pending restart"
				}
				if pending != tt.pending {
					t.Fatalf("pending: %v, want %v; changes: %v", pending, tt.pending, p.changes.List)
				}
				if !pending {
					return
				}
				if len(p.changes.List) != 1 || p.plan.Steps[0].Impact != diff.ImpactRestart {
					t.Errorf("changes %v, impact %s", p.changes.List, p.plan.Steps[0].Impact)
				}
				f.apply(t.Context(), d, &p)
				if err := p.outcome.Err(); err != nil {
					t.Fatal(err)
				}
				if n := len(list[ccv3.Deployment](f, "/v3/deployments")); n != 2 {
					t.Errorf("%d deployments, want 2", n)
				}
				f.converged(tt.declared)
			})
		})
	}
}

// A start does not say which revision it made: what runs is recognised all the same, and looked up once.
func TestConfigurationThatNobodyRunsAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(revised)
		byHand{f}.setEnv("GREETING", "good morning")
		declared := strings.Replace(revised, "hello", "good morning", 1)
		p, _ := f.prepare(t.Context(), declared)
		if len(p.changes.List) != 1 || p.changes.List[0].Was != "pending restart" {
			t.Errorf("changes %v", p.changes.List)
		}
		byHand{f}.restart()
		d := f.driver()
		for look := range 2 {
			before := len(f.wire.log())
			live, err := d.Observe(t.Context(), f.load(declared))
			if err != nil {
				t.Fatal(err)
			}
			if got := live.Live.Of(manifest.KindApp)[0].Spec["rollout"]; got != "complete" {
				t.Errorf("after a restart the rollout is %v", got)
			}
			if again := strings.Contains(strings.Join(f.wire.log()[before:], "\n"), "/v3/revisions/"); again != (look == 0) {
				t.Errorf("look %d: the revision was read: %v", look, again)
			}
		}
	})
}

// Whatever Fettle has rolled out, the next observation needs no look at revisions.
func TestRunningIsNoted(t *testing.T) {
	versions := []struct{ name, text string }{
		{"created", revised},
		{"a variable", strings.Replace(revised, "hello", "good morning", 1)},
		{"a variable less", strings.Replace(revised, "GREETING: hello, ", "", 1)},
		{"a sidecar less", strings.Replace(revised, "  sidecars: [{name: proxy, command: proxy, process_types: [web]}]\n", "", 1)},
		{"another sidecar", strings.Replace(revised, "command: proxy,", "command: proxy --fast, memory: 16M,", 1)},
		{"no command", strings.Replace(revised, "command: serve", "command: null", 1)},
		{"a process more", strings.Replace(revised, "processes: [", "processes: [{type: clock, command: tick, instances: 1, memory: 16M}, ", 1)},
		{"other code", revised},
		{"recreated", strings.NewReplacer("hello", "hi", "- name: web", "- name: web\n  metadata: {annotations: {fettle-gitops.github.io/strategy: recreate}}").Replace(revised)},
		{"and back", revised},
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		for _, v := range versions {
			if v.name == "other code" {
				f.files["web/server.js"] = &fstest.MapFile{Data: []byte("// second")}
			}
			f.mustRun(v.text)
			before := len(f.wire.log())
			f.converged(v.text)
			for _, call := range f.wire.log()[before:] {
				if strings.Contains(call, "/revisions") {
					t.Errorf("%s: %s", v.name, call)
				}
			}
		}
	})
}
