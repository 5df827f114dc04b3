package cloudfoundry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

// failed runs a manifest of one app and returns the failure of its step.
func (f *foundation) failed(text string) (platform.StepResult, *platform.Error, pass) {
	f.t.Helper()
	p := f.run(f.t.Context(), text)
	if p.err != nil {
		f.t.Fatal(p.err)
	}
	if len(p.outcome.Steps) != 1 {
		f.t.Fatalf("%d steps, want 1", len(p.outcome.Steps))
	}
	s := p.outcome.Steps[0]
	var e *platform.Error
	if !errors.As(s.Err, &e) {
		f.t.Fatalf("%s: %v; want a failure\n%s", s.Phase, s.Err, strings.Join(p.events, "\n"))
	}
	return s, e, p
}

// state is all that a rollback has to put back.
func (f *foundation) state(name string) string {
	f.t.Helper()
	guid := f.app(name)
	var app ccv3.App
	f.do(http.MethodGet, "/v3/apps/"+guid, nil, &app)
	var p ccv3.Process
	f.do(http.MethodGet, "/v3/apps/"+guid+"/processes/web", nil, &p)
	var stats struct{ Resources []ccv3.InstanceStats }
	f.do(http.MethodGet, "/v3/apps/"+guid+"/processes/web/stats", nil, &stats)
	var b strings.Builder
	for _, i := range stats.Resources {
		b.WriteString(" " + i.State)
	}
	command := ""
	if p.Command != nil {
		command = *p.Command
	}
	routes := 0
	for _, r := range list[ccv3.Route](f, "/v3/routes") {
		routes += len(r.Destinations)
	}
	return dump(map[string]any{
		"state": app.State, "droplet": app.Relationships.CurrentDroplet.GUID(), "env": f.env(name), "instances": b.String(),
		"memory": p.MemoryInMB, "command": command, "check": p.HealthCheck, "lifecycle": app.Lifecycle, "metadata": app.Metadata,
		"destinations": routes, "sidecars": list[ccv3.Sidecar](f, "/v3/apps/"+guid+"/sidecars"),
	})
}

// A release whose instances crash is taken back: droplet, environment, command, sizes and routes are what they were, and
// the instances that ran never stopped.
func TestCrashedRolloutIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		f.files["web/server.js"] = &fstest.MapFile{Data: []byte("// broken")}
		bad := `
applications:
- name: web
  path: web
  memory: 128M
  instances: 4
  command: ./run
  health-check-type: http
  health-check-http-endpoint: /ok
  buildpacks: [nodejs_buildpack]
  env: {FAULT_CRASH: "yes", GREETING: bye}
  metadata: {labels: {release: bad}}
  routes: [{route: web.apps.sandbox.test, protocol: http2}, {route: new.apps.sandbox.test}]
  sidecars: [{name: s, command: tail, process_types: [web]}]
`
		s, e, p := f.failed(bad)
		want := "manifest.yml:3:3: app acme/dev/web: rolling out: instance 0 of process web is CRASHED: APP/PROC/WEB: Exited with status 1" +
			"; its log ends with: It crashes on demand (FAULT_CRASH). (the app's log says why: cf logs web --recent)"
		if e.Error() != want {
			t.Errorf("a person reads\n%s\nwant\n%s", e, want)
		}
		if e.Class != platform.Rollout || !s.RolledBack || !s.Quarantine {
			t.Errorf("class %s, rolled back %v, quarantine %v", e.Class, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s\n%s", before, after, strings.Join(p.events, "\n"))
		}
		d := list[ccv3.Deployment](f, "/v3/deployments")
		if len(d) != 1 || d[0].Status.Reason != "CANCELED" {
			t.Errorf("deployments %+v, want one that is cancelled", d)
		}
		// The good declaration is converged, but for the code that Git has moved on to.
		f.files["web/server.js"] = &fstest.MapFile{Data: []byte("// first")}
		f.converged(web)
	})
}

// Instances that hang do not make a deployment fail by itself: the limit does.
func TestRolloutWithoutProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		s, e, _ := f.failed(strings.Replace(web, "hello", "FAULT_STUCK", 1))
		want := "manifest.yml:3:3: app acme/dev/web: rolling out: instance 0 of process web is STARTING; no progress within 10m0s; its log ends with: Failed to make TCP connection to port 8080: connection refused " +
			"(the app's log says why: cf logs web --recent)"
		if e.Error() != want {
			t.Errorf("a person reads\n%s\nwant\n%s", e, want)
		}
		if !s.RolledBack || !s.Quarantine {
			t.Errorf("rolled back %v, quarantine %v", s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// A new app that crashes is stopped again; the next commit starts it.
func TestCrashedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		s, e, _ := f.failed(strings.Replace(web, "hello", "FAULT_CRASH", 1))
		if e.Class != platform.Rollout || s.RolledBack || !s.Quarantine {
			t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
		}
		if got := f.state("web"); !strings.Contains(got, "STOPPED") {
			t.Errorf("it should be stopped: %s", got)
		}
		f.mustRun(web)
		f.converged(web)
		if n := len(list[ccv3.Droplet](f, "/v3/droplets")); n != 1 {
			t.Errorf("%d droplets, want 1: the code was fine", n)
		}
	})
}

// Staging that fails leaves the running app as it was, its configuration too.
func TestFailedStaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		f.files["web/FAULT_STAGE_FAIL"] = &fstest.MapFile{}
		s, e, _ := f.failed(strings.Replace(web, "hello", "bye", 1))
		want := "manifest.yml:4:9: app acme/dev/web: staging: NoAppDetectedError - An app was not successfully detected by any available buildpack" +
			"; its log ends with: **ERROR** Unable to detect a supported application type " +
			"(no buildpack recognises the files: declare `buildpacks`, and check that `path` is the folder of the app's code)"
		if e.Error() != want {
			t.Errorf("a person reads\n%s\nwant\n%s", e, want)
		}
		if e.Class != platform.Staging || !s.RolledBack || !s.Quarantine {
			t.Errorf("class %s, rolled back %v, quarantine %v", e.Class, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// Somebody stopped the app: it starts with what it has.
func TestStoppedByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		f.do(http.MethodPost, "/v3/apps/"+f.app("web")+"/actions/stop", ccv3.Body{}, nil)
		p := f.mustRun(web)
		f.converged(web)
		for _, r := range p.applying {
			if strings.Contains(r, "packages") || strings.Contains(r, "builds") || strings.Contains(r, "manifest") {
				t.Errorf("it only had to be started, and yet: %s", r)
			}
		}
	})
}

// A deployment that somebody else began is waited for: meanwhile no process can be changed.
func TestForeignDeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		f.do(http.MethodPost, "/v3/deployments", map[string]any{"relationships": map[string]any{"app": ccv3.To(f.app("web"))}}, nil)
		changed := strings.Replace(web, "64M", "128M", 1)
		f.mustRun(changed)
		f.converged(changed)
		for _, d := range list[ccv3.Deployment](f, "/v3/deployments") {
			if d.Status.Reason != "DEPLOYED" {
				t.Errorf("deployment %s", d.Status.Reason)
			}
		}
	})
}

// A run that was killed during a rollout takes its knowledge of the old configuration with it. The next run takes back what
// crashes all the same: environment and command from the platform's revisions.
func TestCrashedRolloutOfAKilledRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		bad := strings.Replace(web, "env: {GREETING: hello}", "command: ./bad\n  env: {GREETING: FAULT_CRASH}", 1)
		p, d := f.prepare(t.Context(), bad)
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		dead := false
		f.wire.install(func(int) platformtest.Fate {
			if calls := f.wire.log(); dead || calls[len(calls)-1] == "POST /v3/deployments" {
				fate := platformtest.Unanswered
				if dead {
					fate = platformtest.Lost
				}
				dead = true
				kill()
				return fate
			}
			return platformtest.Answered
		})
		f.apply(ctx, d, &p)
		f.wire.install(nil)
		if phase := p.outcome.Steps[0].Phase; phase != platform.Abandoned {
			t.Fatalf("the killed run: %s", phase)
		}
		s, e, again := f.failed(bad)
		if e.Class != platform.Rollout || !s.RolledBack || !s.Quarantine {
			t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s\n%s", before, after, strings.Join(again.events, "\n"))
		}
		f.converged(web)
	})
}

// A rollback that is killed anywhere leaves nothing that the next good commit does not put right.
func TestRollbackKilledAnywhere(t *testing.T) {
	bad := strings.NewReplacer("hello", "FAULT_CRASH", "64M", "128M", "routes: [", "routes: [{route: new.apps.sandbox.test}, ").Replace(web)
	for n, reached := 1, true; reached; n++ {
		synctest.Test(t, func(t *testing.T) {
			f := newFoundation(t)
			f.mustRun(web)
			var p pass
			p, reached = f.applyInTrouble(bad, n, troubles["killed after"])
			if reached == (p.outcome.Steps[0].Phase == platform.Failed) {
				t.Errorf("killed at request %d: %s %v", n, p.outcome.Steps[0].Phase, p.outcome.Err())
			}
			f.revision = "the next one"
			f.mustRun(web)
			f.converged(web)
			if got := f.state("web"); !strings.Contains(got, `" RUNNING RUNNING"`) || strings.Contains(got, "pending") {
				t.Errorf("killed at request %d: %s", n, got)
			}
		})
	}
}

// Whatever a release changes, removes and adds: after its rollback the platform is observed as before.
func TestRollbackOfEverything(t *testing.T) {
	everything := `
applications:
- name: web
  path: web
  buildpacks: [binary_buildpack]
  features: {ssh: true}
  metadata: {labels: {kept: a, changed: b, gone: c}, annotations: {gone: d}}
  env: {KEPT: "1", CHANGED: "2", GONE: "3"}
  routes: [{route: kept.apps.sandbox.test}, {route: changed.apps.sandbox.test, protocol: http1}, {route: gone.apps.sandbox.test}]
  services: [mail, queue]
  processes:
  - {type: web, memory: 64M, disk_quota: 128M, instances: 2, command: ./web, log-rate-limit-per-second: 1K, health-check-type: http, health-check-http-endpoint: /a, timeout: 30}
  - {type: worker, memory: 32M, instances: 1, command: ./work}
  - {type: gone, memory: 32M, instances: 1, command: ./gone}
  sidecars: [{name: changed, command: one, process_types: [web]}, {name: gone, command: two, process_types: [worker]}]
`
	for name, bad := range map[string]string{
		"changed": `
applications:
- name: web
  path: web
  buildpacks: [nodejs_buildpack]
  features: {ssh: false, revisions: true}
  metadata: {labels: {kept: a, changed: z, added: y}, annotations: {added: x}}
  env: {KEPT: "1", CHANGED: FAULT_CRASH, ADDED: "4"}
  routes: [{route: kept.apps.sandbox.test}, {route: changed.apps.sandbox.test, protocol: http2}, {route: added.apps.sandbox.test}]
  services: [mail, cache]
  processes:
  - {type: web, memory: 128M, disk_quota: 256M, instances: 3, command: ./other, log-rate-limit-per-second: 2K, health-check-type: port, timeout: 60}
  - {type: worker, memory: 64M, instances: 2, command: ./work, timeout: 20, health-check-invocation-timeout: 5}
  - {type: added, memory: 32M, instances: 1, command: ./added}
  sidecars: [{name: changed, command: other, process_types: [web, worker]}, {name: added, command: new, process_types: [web]}]
`,
		"removed": `
applications:
- name: web
  path: web
  env: {CHANGED: FAULT_CRASH}
  no-route: true
`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				for _, name := range []string{"mail", "queue", "cache"} {
					f.do(http.MethodPost, "/v3/service_instances", map[string]any{
						"type": "user-provided", "name": name, "relationships": map[string]any{"space": ccv3.To(f.space)},
					}, nil)
				}
				f.mustRun(everything)
				f.converged(everything)
				before := f.observed(everything)
				s, e, p := f.failed(bad)
				if e.Class != platform.Rollout || !s.RolledBack {
					t.Errorf("%v: rolled back %v", e, s.RolledBack)
				}
				if d := cmp.Diff(before, f.observed(everything)); d != "" {
					t.Errorf("the rollback leaves differences (-before +after):\n%s\n%s", d, strings.Join(p.events, "\n"))
				}
				f.converged(everything)
			})
		})
	}
}

// observed is live state as text, but for what cannot be undone: a process type stays, with no instance, and so do routes,
// without a destination.
func (f *foundation) observed(text string) string {
	f.t.Helper()
	obs, err := f.driver().Observe(f.t.Context(), f.load(text))
	if err != nil {
		f.t.Fatal(err)
	}
	all := map[string]any{}
	for _, o := range obs.Live.Objects() {
		if destinations, ok := o.Spec["destinations"].(map[string]any); ok && len(destinations) == 0 {
			continue
		}
		processes, _ := o.Spec["processes"].(map[string]any)
		for name, p := range processes {
			if p.(map[string]any)["instances"] == int64(0) {
				delete(processes, name)
			}
		}
		all[o.Ref.String()] = o.Spec
		all["ledger of "+o.Ref.String()] = obs.Ledger[o.Ref]
	}
	return dump(all)
}

// A controller that stores a change and refuses to roll it out: people are told, the plan shows what is open, and the next run
// completes it.
func TestARefusedDeploymentIsCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		changed := strings.Replace(web, "hello", "good morning", 1)
		refusal, err := sandbox.ParseFault("POST /v3/deployments status=422")
		if err != nil {
			t.Fatal(err)
		}
		f.box.SetFaults(refusal)
		p := f.run(t.Context(), changed)
		if err := p.outcome.Err(); err == nil || !strings.Contains(err.Error(), "stored, and no instance runs it yet: the next run completes it") {
			t.Fatalf("error: %v", err)
		}
		f.box.SetFaults()
		p = f.mustRun(changed)
		if len(p.changes.List) != 1 || p.changes.List[0].Path != "/rollout" || p.plan.Steps[0].Impact != diff.ImpactRestart {
			t.Errorf("the plan shows %v", p.changes.List)
		}
		f.converged(changed)
	})
}
