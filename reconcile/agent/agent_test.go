package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/agent"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
	"github.com/fettle-gitops/fettle/source"
)

// branch is a source whose newest revision the test sets, as a push would. It counts how often it was asked.
type branch struct {
	mu    sync.Mutex
	snap  *source.Snapshot
	err   error
	looks int
}

func (b *branch) String() string { return "a branch" }

func (b *branch) Snapshot(context.Context, *source.Snapshot) (*source.Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	return b.snap, b.err
}

func (b *branch) push(revision, manifest string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = nil
	b.snap = &source.Snapshot{Revision: revision, Files: fstest.MapFS{
		"manifest.yml": {Data: []byte(manifest)}, "web/index.html": {Data: []byte("x")},
	}}
}

func (b *branch) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

const small = "applications:\n- {name: shop, path: web, memory: 64M, no-route: true}\n"

// world is a foundation, a branch and an agent that watches both, all in virtual time.
type world struct {
	t       *testing.T
	box     *sandbox.Sandbox
	branch  *branch
	history history.Store
	agent   *agent.Agent
	mu      sync.Mutex
	runs    []*reconcile.Run
}

func newWorld(t *testing.T, schedule string) *world {
	w := &world{t: t, branch: &branch{}, box: sandbox.New(sandbox.Options{})}
	w.branch.push("one", small)
	w.do("POST", "/v3/organizations", map[string]any{"name": "acme"})
	org := w.first("/v3/organizations?names=acme")
	w.do("POST", "/v3/spaces", map[string]any{"name": "dev", "relationships": map[string]any{"organization": map[string]any{"data": map[string]any{"guid": org}}}})
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w.history = store
	driver, err := cloudfoundry.New(cloudfoundry.Config{Client: w.config()})
	if err != nil {
		t.Fatal(err)
	}
	feed := agent.NewFeed(w.branch, 30*time.Second)
	when, err := agent.ParseSchedule(schedule, "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	w.agent = &agent.Agent{
		Reconciler: &reconcile.Reconciler{History: store, Key: []byte("key")}, Log: slog.New(slog.DiscardHandler),
		Targets: []agent.Target{{
			Target: &reconcile.Target{
				Name: "shop-dev", Source: feed, Path: "manifest.yml", Driver: driver, Mode: reconcile.ModeApply,
				Options: manifest.Options{Org: "acme", Space: "dev"},
			},
			Schedule: when, Feed: feed,
		}},
		Ended: func(run *reconcile.Run, _ error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.runs = append(w.runs, run)
		},
	}
	return w
}

func (w *world) config() ccv3.Config {
	return ccv3.Config{API: "http://api.sandbox.test", Username: "admin", Password: "admin", HTTP: w.box.Client().Transport, UserAgent: "test"}
}

func (w *world) do(method, path string, in any) {
	w.t.Helper()
	c, err := ccv3.New(w.config())
	if err == nil {
		_, err = c.Do(w.t.Context(), method, path, in, nil)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) first(path string) string {
	w.t.Helper()
	c, err := ccv3.New(w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	path, name, _ := strings.Cut(path, "?names=")
	all, _, err := ccv3.List[ccv3.Resource](w.t.Context(), c, path, url.Values{"names": {name}})
	if err != nil || len(all) == 0 {
		w.t.Fatalf("%s: %v, %v", path, all, err)
	}
	return all[0].GUID
}

// start runs the agent until the test ends it, and returns the end of it.
func (w *world) start() (stop func() error) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.agent.Run(ctx) }()
	return func() error { cancel(); return <-done }
}

// results are those of the runs so far, in order.
func (w *world) results() []history.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []history.Result
	for _, r := range w.runs {
		all = append(all, r.Record.Result)
	}
	return all
}

func (w *world) last() *reconcile.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.runs) == 0 {
		w.t.Fatal("no run has ended")
	}
	return w.runs[len(w.runs)-1]
}

// TestADayOfTheAgent: a run at the start, one for each push, one for each time of the schedule, and none besides.
func TestADayOfTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "0 * * * *")
		stop := w.start()
		time.Sleep(5 * time.Minute)
		if got := w.results(); len(got) != 1 || got[0] != history.Changed {
			t.Fatalf("the start deploys: %v", got)
		}
		w.branch.push("two", small+"  # a comment\n")
		time.Sleep(time.Minute)
		if run := w.last(); run.Record.Trigger != history.ByCommit || run.Record.Revision != "two" {
			t.Errorf("a push is noticed within the polling interval: %+v", run.Record)
		}
		pushed := len(w.results())
		time.Sleep(24 * time.Hour)
		if got := len(w.results()) - pushed; got != 24 {
			t.Errorf("hourly means 24 runs a day, there were %d", got)
		}
		w.branch.mu.Lock()
		looks := w.branch.looks
		w.branch.mu.Unlock()
		if day := 24 * 60 * 2; looks < day*8/10 || looks > day*11/10 {
			t.Errorf("every 30 s means about %d looks a day, there were %d", day, looks)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheLastGoodRevisionIsEnforced while the source cannot be read, whatever is wrong with it; nothing is deleted.
func TestTheLastGoodRevisionIsEnforced(t *testing.T) {
	for _, state := range []source.State{source.Unreachable, source.Unauthorized, source.NotFound, source.BranchGone, source.Empty, source.Broken} {
		t.Run(string(state), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "*/10 * * * *")
				stop := w.start()
				time.Sleep(5 * time.Minute)
				w.branch.fail(&source.Error{Source: "a branch", State: state, Err: errors.New("as the test wants it")})
				time.Sleep(time.Minute)
				if err := w.agent.Targets[0].Feed.Err(); err == nil {
					t.Error("the feed does not tell what is wrong")
				}
				app := w.first("/v3/apps?names=shop")
				w.do("POST", "/v3/apps/"+app+"/processes/web/actions/scale", map[string]any{"memory_in_mb": 512})
				time.Sleep(20 * time.Minute)
				healed, err := w.history.Drift(t.Context(), history.DriftFilter{})
				if err != nil || len(healed) != 1 || healed[0].Resolution != history.Healed {
					t.Errorf("the hand edit is healed from the last good revision: %+v, %v", healed, err)
				}
				if w.first("/v3/apps?names=shop") != app {
					t.Error("the app is another one")
				}
				w.branch.push("two", small+"  # back\n")
				time.Sleep(time.Minute)
				if run := w.last(); run.Record.Revision != "two" {
					t.Errorf("it recovers by itself, but the last run is of %s", run.Record.Revision)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestRetry: a foundation that does not answer is tried again with growing waits, sooner than the schedule would.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "0 0 * * *")
		w.agent.Targets[0].Driver = unreachable{w.agent.Targets[0].Driver}
		stop := w.start()
		time.Sleep(2 * time.Hour)
		got := len(w.results())
		if got < 8 || got > 16 {
			t.Errorf("two hours of doubled waits up to 15 minutes are about a dozen runs, there were %d", got)
		}
		if run := w.last(); run.Record.Trigger != history.ByRetry || run.Record.Result != history.Failed {
			t.Errorf("unexpected: %+v", run.Record)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// unreachable is a driver whose foundation does not answer.
type unreachable struct{ platform.Driver }

func (unreachable) Observe(context.Context, manifest.Set) (platform.Observation, error) {
	return platform.Observation{}, &platform.Error{Class: platform.Unavailable, Doing: "looking", Message: "no answer"}
}

// TestStopInTheMiddle: told to stop during a first deployment, the agent ends soon, the run is on record as abandoned,
// and the next start finishes the work with one package and one build.
func TestStopInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "@every 1h")
		stop := w.start()
		time.Sleep(1500 * time.Millisecond) // the build is staging
		began := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		runs, err := w.history.Runs(t.Context(), history.RunFilter{})
		if err != nil || len(runs) != 1 || runs[0].Result != history.Abandoned {
			t.Fatalf("expected one abandoned run: %+v, %v", runs, err)
		}
		stop = w.start()
		time.Sleep(time.Minute)
		if run := w.last(); run.Record.Result != history.Changed {
			t.Errorf("the next start finishes it: %s %s", run.Record.Result, run.Record.Error)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		c, err := ccv3.New(w.config())
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/v3/apps", "/v3/packages", "/v3/builds"} {
			if all, _, err := ccv3.List[ccv3.Resource](t.Context(), c, path, nil); err != nil || len(all) != 1 {
				t.Errorf("%s: %d (%v), expected one", path, len(all), err)
			}
		}
	})
}

// TestScheduleAcrossDST: a daily time in the morning is kept when the clocks change, and a wrong expression is refused
// with what to write.
func TestScheduleAcrossDST(t *testing.T) {
	s, err := agent.ParseSchedule("0 7 * * *", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 28, 7, 0, 0, 0, berlin)
	for _, want := range []string{"2026-03-29T07:00:00+02:00", "2026-03-30T07:00:00+02:00"} {
		at = s.Next(at)
		if got := at.Format(time.RFC3339); got != want {
			t.Errorf("next is %s, expected %s", got, want)
		}
	}
	for _, bad := range []string{"", "0 7 * *", "TZ=UTC 0 7 * * *", "CRON_TZ=UTC 0 7 * * *", "0 0 30 2 *", "61 * * * *"} {
		if _, err := agent.ParseSchedule(bad, ""); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := agent.ParseSchedule("0 7 * * *", "Europe/Nowhere"); err == nil {
		t.Error("an unknown time zone was accepted")
	}
}
