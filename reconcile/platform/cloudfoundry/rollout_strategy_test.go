package cloudfoundry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// with gives the app web settings.
func with(text string, settings ...string) string {
	lines := "  path: web\n  metadata:\n    annotations:\n"
	for _, s := range settings {
		lines += "      " + manifest.MetadataPrefix + s + "\n"
	}
	return strings.Replace(text, "  path: web\n", lines, 1)
}

// newCode changes what the app web is made of.
func (f *foundation) newCode(text string) {
	f.files["web/server.js"] = &fstest.MapFile{Data: []byte("// " + text)}
	f.revision = "commit of " + text
}

func (f *foundation) rollouts() []ccv3.Deployment {
	return list[ccv3.Deployment](f, "/v3/deployments")
}

// posted are the writes among requests, by the end of their paths.
func posted(calls []string, ending string) (n int) {
	for _, c := range calls {
		if strings.HasPrefix(c, "POST ") && strings.HasSuffix(c, ending) {
			n++
		}
	}
	return n
}

// A canary rollout goes on by itself when its instances are well and its pause is over.
func TestCanaryGoesOnByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		canary := with(strings.Replace(web, "instances: 2", "instances: 4", 1), "strategy: canary", "canary-steps: 25, 50", "canary-pause: 5m", "max-in-flight: 2")
		f.mustRun(canary)
		f.newCode("second")
		began := time.Now()
		p := f.mustRun(canary)
		if took := time.Since(began); took < 10*time.Minute || took > 15*time.Minute {
			t.Errorf("it took %s, expected two pauses of 5m", took)
		}
		if n := posted(p.applying, "/actions/continue"); n != 2 {
			t.Errorf("it went on %d times, expected 2\n%s", n, strings.Join(p.events, "\n"))
		}
		d := f.rollouts()
		if len(d) != 1 || d[0].Strategy != "canary" || d[0].Status.Reason != "DEPLOYED" {
			t.Errorf("deployments %+v", d)
		}
		f.converged(canary)
	})
}

// With canary-pause: manual a run ends at each step, without a failure, and the runs after it wait as well. Whoever lets it
// go on, the next run sees it to its end.
func TestCanaryWaitsForAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		canary := with(web, "strategy: canary", "canary-steps: 50, 100", "canary-pause: manual")
		old := strings.Replace(canary, "routes: [", "routes: [{route: old.apps.sandbox.test}, ", 1)
		f.mustRun(old)
		f.newCode("second")
		for step := 1; step <= 2; step++ {
			for range 2 {
				p := f.mustRun(canary)
				if s := p.outcome.Steps[0]; s.Phase != platform.Paused {
					t.Fatalf("%s, expected paused", s.Phase)
				}
				said := fmt.Sprintf("web: paused: the canary rollout is paused at step %d/2; go on with `fettle rollout continue web`, or take it back with `fettle rollout cancel web`", step)
				if !slices.Contains(p.events, said) {
					t.Errorf("people do not read %q:\n%s", said, strings.Join(p.events, "\n"))
				}
			}
			f.do(http.MethodPost, "/v3/deployments/"+f.rollouts()[0].GUID+"/actions/continue", ccv3.Body{}, nil)
		}
		f.mustRun(canary)
		f.converged(canary)
		if d := f.rollouts(); len(d) != 1 || d[0].Status.Reason != "DEPLOYED" {
			t.Errorf("deployments %+v", d)
		}
	})
}

// A person takes a paused canary back: the next run puts the configuration back too, and says that this commit is not tried
// again.
func TestCanaryTakenBackByAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		canary := with(web, "strategy: canary", "canary-pause: manual")
		f.mustRun(canary)
		before := f.state("web")
		f.newCode("second")
		changed := strings.Replace(canary, "hello", "good morning", 1)
		f.mustRun(changed)
		f.do(http.MethodPost, "/v3/deployments/"+f.rollouts()[0].GUID+"/actions/cancel", ccv3.Body{}, nil)
		time.Sleep(time.Minute)
		s, e, p := f.failed(changed)
		if e.Class != platform.Rollout || !s.RolledBack || !s.Quarantine || !strings.Contains(e.Message, "cancelled") {
			t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s\n%s", before, after, strings.Join(p.events, "\n"))
		}
	})
}

// Git moves on while a canary is paused: it makes room, and what comes is the new declaration with the new code.
func TestCanaryMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		canary := with(web, "strategy: canary", "canary-pause: manual")
		f.mustRun(canary)
		f.newCode("second")
		f.mustRun(canary)
		f.revision = "a change of the configuration alone"
		next := strings.Replace(web, "hello", "good morning", 1)
		f.mustRun(next)
		f.converged(next)
		var reasons []string
		for _, d := range f.rollouts() {
			reasons = append(reasons, d.Status.Reason)
		}
		if got := strings.Join(reasons, " "); got != "CANCELED DEPLOYED" {
			t.Errorf("deployments %s", got)
		}
	})
}

// A canary that crashes is taken back before anybody lets it go on.
func TestCanaryThatCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		canary := with(web, "strategy: canary", "canary-pause: 1h")
		f.mustRun(canary)
		before := f.state("web")
		s, e, p := f.failed(strings.Replace(canary, "hello", "FAULT_CRASH", 1))
		if e.Class != platform.Rollout || !s.RolledBack || !s.Quarantine || posted(p.applying, "/continue") != 0 {
			t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// Somebody else's canary is neither let go on nor cancelled.
func TestForeignCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		f.do(http.MethodPost, "/v3/deployments", map[string]any{"strategy": "canary", "relationships": map[string]any{"app": ccv3.To(f.app("web"))}}, nil)
		time.Sleep(time.Minute)
		s, e, _ := f.failed(strings.Replace(web, "hello", "bye", 1))
		if e.Class != platform.Unavailable || s.Quarantine || !strings.Contains(e.Message, "canary, paused at step 1/1") {
			t.Errorf("%v, quarantine %v", e, s.Quarantine)
		}
		if d := f.rollouts(); d[0].Status.Reason != "PAUSED" {
			t.Errorf("it is %s", d[0].Status.Reason)
		}
	})
}

// recreate stops what runs before the new instances start.
func TestRecreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		recreate := with(web, "strategy: recreate")
		f.mustRun(recreate)
		f.newCode("second")
		changed := strings.Replace(recreate, "hello", "good morning", 1)
		p := f.mustRun(changed)
		f.converged(changed)
		if n := posted(p.applying, "/actions/stop"); n != 1 || len(f.rollouts()) != 0 {
			t.Errorf("stopped %d times, %d deployments", n, len(f.rollouts()))
		}
		before := f.state("web")
		f.newCode("third")
		s, e, p := f.failed(strings.Replace(changed, "good morning", "FAULT_CRASH", 1))
		time.Sleep(time.Minute)
		if e.Class != platform.Rollout || !s.RolledBack || !s.Quarantine {
			t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s\n%s", before, after, strings.Join(p.events, "\n"))
		}
	})
}

// A recreate of code that crashes, killed anywhere: the run after it brings the old code back, running.
func TestRecreateKilledAnywhere(t *testing.T) {
	recreate := with(web, "strategy: recreate")
	for n, reached := 1, true; reached; n++ {
		synctest.Test(t, func(t *testing.T) {
			f := newFoundation(t)
			f.mustRun(recreate)
			before := f.state("web")
			f.newCode("second")
			f.files["web/FAULT_CRASH"] = &fstest.MapFile{}
			_, reached = f.applyInTrouble(recreate, n, troubles["killed after"])
			f.failed(recreate)
			var after struct{ State, Droplet, Instances string }
			want := after
			_ = json.Unmarshal([]byte(f.state("web")), &after)
			_ = json.Unmarshal([]byte(before), &want)
			if after != want {
				t.Errorf("killed at request %d: %+v, want %+v", n, after, want)
			}
		})
	}
}

// What a target says holds where the app says nothing.
func TestSettingsOfTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		var err error
		if f.settings, err = manifest.NewSettings(map[string]string{"strategy": "canary", "rollout-timeout": "1m"}); err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(web, "hello", "good morning", 1)
		f.mustRun(changed)
		if d := f.rollouts(); d[0].Strategy != "canary" {
			t.Errorf("the target's strategy was not taken: %s", d[0].Strategy)
		}
		own := with(strings.Replace(web, "hello", "good night", 1), "strategy: rolling")
		f.mustRun(own)
		if d := f.rollouts(); d[1].Strategy != "rolling" {
			t.Errorf("the app's own strategy was not taken: %s", d[1].Strategy)
		}
		_, e, _ := f.failed(strings.Replace(web, "hello", "FAULT_STUCK", 1))
		if !strings.Contains(e.Message, "no progress within 1m0s") {
			t.Errorf("the target's limit was not taken: %v", e)
		}
	})
}

// healthy is what the apps of a test answer: 200 unless their environment says otherwise.
type healthy struct {
	status func(r *http.Request) int
	asked  []string
}

func (h *healthy) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked = append(h.asked, r.URL.String())
	status := http.StatusOK
	if h.status != nil {
		status = h.status(r)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// An app that runs and answers badly is taken back, by whatever strategy it came.
func TestHealthURL(t *testing.T) {
	for _, strategy := range []string{"rolling", "canary", "recreate"} {
		t.Run(strategy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				sick := false
				h := &healthy{status: func(*http.Request) int {
					if sick {
						return http.StatusServiceUnavailable
					}
					return http.StatusOK
				}}
				f.probe = h
				text := with(web, "strategy: "+strategy, "health-url: /health?deep=1", "canary-pause: 0s")
				f.mustRun(text)
				if len(h.asked) != 1 || h.asked[0] != "https://web.apps.sandbox.test/health?deep=1" {
					t.Errorf("asked %v", h.asked)
				}
				before := f.state("web")
				sick = true
				f.newCode("second")
				s, e, p := f.failed(strings.Replace(text, "hello", "bye", 1))
				if !s.RolledBack || !s.Quarantine || !strings.HasPrefix(e.Message, "https://web.apps.sandbox.test/health?deep=1 answers 503, expected 200-299;") {
					t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
				}
				if at := e.Origin.String(); at != "manifest.yml:8:43" {
					t.Errorf("the error points at %s", at)
				}
				time.Sleep(time.Minute)
				if after := f.state("web"); after != before {
					t.Errorf("before:\n%s\nafter:\n%s\n%s", before, after, strings.Join(p.events, "\n"))
				}
			})
		})
	}
}

// A canary rollout, with tasks around it, that is killed anywhere is completed by the next run: no task runs twice for one
// change, and no step is skipped.
func TestCanaryKilledAnywhere(t *testing.T) {
	canary := with(web, "strategy: canary", "canary-steps: 50, 100", "canary-pause: 10s", "before-rollout: migrate", "after-rollout: smoke")
	changed := strings.NewReplacer("hello", "good morning", "routes: [", "routes: [{route: new.apps.sandbox.test}, ").Replace(canary)
	for _, name := range []string{"killed before", "killed after"} {
		for n, reached := 1, true; reached; n++ {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				f.mustRun(canary)
				f.newCode("second")
				_, reached = f.applyInTrouble(changed, n, troubles[name])
				f.mustRun(changed)
				f.converged(changed)
				tasks := map[string]int{}
				for _, task := range list[ccv3.Task](f, "/v3/apps/"+f.app("web")+"/tasks") {
					tasks[task.Name]++
				}
				if tasks["before-rollout"] != 2 || tasks["after-rollout"] != 2 { // one of each when the app was made
					t.Errorf("%s request %d: tasks %v", name, n, tasks)
				}
				f.nothingTwice(t)
			})
		}
	}
}
