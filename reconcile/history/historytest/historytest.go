// Package historytest is the suite that every history store passes. Read from top to bottom it is also the
// documentation of what drift means: drift.go first, then runs.go and memory.go; together.go says what many
// goroutines may do at once.
package historytest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Run runs the suite. open gives a new empty store and sees to its closing (t.Cleanup).
func Run(t *testing.T, open func(t *testing.T) history.Store) {
	for _, chapter := range []struct {
		name  string
		tests []test
	}{
		{"drift", driftTests},
		{"attribution", attributionTests},
		{"listing", listingTests},
		{"runs", runTests},
		{"memory", memoryTests},
		{"together", togetherTests},
	} {
		t.Run(chapter.name, func(t *testing.T) {
			for _, test := range chapter.tests {
				t.Run(test.name, func(t *testing.T) {
					test.run(&store{Store: open(t), t: t})
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(*store)
}

// store is the store under test, in the words of the stories that the tests tell. What must not fail, fails the test.
type store struct {
	history.Store
	t *testing.T
}

// The cast.
var (
	web    = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	worker = manifest.Ref{Kind: manifest.KindApp, Path: "acme/prod/worker"}
	shop   = manifest.Ref{Kind: manifest.KindRoute, Path: "acme/dev/shop.example.com"}
	other  = manifest.Ref{Kind: manifest.KindApp, Path: "zeta/dev/web"}

	alice  = platform.Attribution{Actor: "alice@acme.example", ActorID: "a-1", At: at("09:58"), Event: "audit.app.process.scale", EventID: "e-1"}
	bob    = platform.Attribution{Actor: "bob@acme.example", ActorID: "b-1", At: at("10:03"), Event: "audit.app.process.scale", EventID: "e-2"}
	nobody = platform.Attribution{Note: "sidecars leave no event"}

	log = history.Drift{
		Ref: web, Path: "/environment_variables/LOG_LEVEL", Op: diff.Update, Declared: `"info"`, Live: `"debug"`,
		Origin: manifest.Origin{File: "apps/web/manifest.yml", Line: 7, Column: 18}, Impact: "restart",
	}
	memory = history.Drift{
		Ref: web, Path: "/processes/web/memory_in_mb", Op: diff.Update, Declared: "512", Live: "2048",
		Origin: manifest.Origin{File: "apps/web/manifest.yml", Line: 4, Column: 11}, Impact: "restart", By: alice,
	}
)

// at is a moment of the day on which all of this happens.
func at(clock string) time.Time {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		panic(err) //nolint:forbidigo // a slip of the pen in this package: no test could be trusted
	}
	return time.Date(2026, 3, 9, t.Hour(), t.Minute(), 0, 0, time.UTC)
}

func with(d history.Drift, change func(*history.Drift)) history.Drift {
	change(&d)
	return d
}

func live(d history.Drift, value string) history.Drift {
	return with(d, func(d *history.Drift) { d.Live = value })
}

func by(d history.Drift, who platform.Attribution) history.Drift {
	return with(d, func(d *history.Drift) { d.By = who })
}

func of(d history.Drift, ref manifest.Ref) history.Drift {
	return with(d, func(d *history.Drift) { d.Ref = ref })
}

// look is one observation of target "dev" that found the drift given and nothing else.
func (s *store) look(clock string, found ...history.Drift) (opened, ended []history.Drift) {
	s.t.Helper()
	return s.observe(history.Observation{Target: "dev", At: at(clock), Revision: "c0ffee", Run: 42, Found: found})
}

func (s *store) observe(o history.Observation) (opened, ended []history.Drift) {
	s.t.Helper()
	opened, ended, err := s.Observe(s.t.Context(), o)
	if err != nil {
		s.t.Fatalf("Observe at %s: %v", o.At.Format("15:04"), err)
	}
	return opened, ended
}

func (s *store) list(f history.DriftFilter) []history.Drift {
	s.t.Helper()
	list, err := s.Drift(s.t.Context(), f)
	if err != nil {
		s.t.Fatalf("Drift: %v", err)
	}
	return list
}

// only is the one record that there is.
func (s *store) only() history.Drift {
	s.t.Helper()
	list := s.list(history.DriftFilter{})
	if len(list) != 1 {
		s.t.Fatalf("there are %d records, want exactly one: %+v", len(list), list)
	}
	return list[0]
}

func (s *store) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// same fails the test where got is not want.
func (s *store) same(what string, got, want any) {
	s.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		s.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func keys(list []history.Drift) []string {
	names := []string{}
	for _, d := range list {
		names = append(names, d.Key().String())
	}
	return names
}
