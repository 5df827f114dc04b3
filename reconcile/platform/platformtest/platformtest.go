// Package platformtest is the suite that every platform driver passes: what platform.Driver promises in words is
// said here in tests. A driver's own tests call [Run] with a [Harness] and add what only that platform has.
//
// Every case runs in a synctest bubble, so that waiting for a platform costs no time. The harness therefore reaches
// its platform without a socket.
package platformtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Harness makes worlds to test in.
type Harness struct {
	// New makes an empty platform. It is called in a bubble, once or more per case.
	New func(t *testing.T) World

	// The steps of a run are interrupted at every Stride-th request; 0 is at each.
	Stride int
}

// World is one platform, what to declare on it, and the wire to it.
type World struct {
	// Driver makes a driver that remembers nothing of those before, as after a restart.
	Driver func(t *testing.T) platform.Driver
	Files  fs.FS

	First   manifest.Set // can be applied to the empty platform
	Second  manifest.Set // the same, changed so that something has to be rolled out
	Failing manifest.Set // First and more, of which the resource Broken cannot be applied
	Broken  manifest.Ref

	// OnRequest installs what decides on the fate of each request; n is its number, counted from the installation.
	// Nil removes it.
	OnRequest func(func(n int) Fate)
	// Writes counts the requests so far that were to change something.
	Writes func() int
	// Check, if set, looks for what a driver cannot see itself, such as resources that were made twice.
	Check func(t *testing.T)
}

// Fate of a request.
type Fate int

// The fates.
const (
	Answered   Fate = iota
	Lost            // it never arrives
	Unanswered      // it takes effect, and the answer is lost
)

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"an empty platform lacks everything", testEmpty},
		{"a plan is pure and complete", testPlan},
		{"what was applied no longer differs", testConverges},
		{"applying again writes nothing", testIdempotent},
		{"a change is applied", testChange},
		{"a failing step stops no other", testFailing},
		{"every step begins once and ends once", testEvents},
		{"told to stop before it begins, it does nothing", testStopped},
		{"steps wait for what they require", testRequires},
	} {
		t.Run(c.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { c.test(t, h) }) })
	}
	t.Run("a first run killed anywhere is completed by the next", func(t *testing.T) { testKilled(t, h, false) })
	t.Run("a change killed anywhere is completed by the next", func(t *testing.T) { testKilled(t, h, true) })
}

// look observes and compares.
func look(t *testing.T, d platform.Driver, desired manifest.Set, files fs.FS) platform.PlanInput {
	t.Helper()
	if p, ok := d.(platform.Preparer); ok {
		var err error
		if desired, err = p.Prepare(t.Context(), desired, files); err != nil {
			t.Fatalf("preparing: %v", err)
		}
	}
	obs, err := d.Observe(t.Context(), desired)
	if err != nil {
		t.Fatalf("observing: %v", err)
	}
	changes, err := diff.Compare(desired, obs.Live, obs.Ledger)
	if err != nil {
		t.Fatalf("comparing: %v", err)
	}
	if changes, err = changes.WithInputs(desired, obs.Seals); err != nil {
		t.Fatalf("comparing: %v", err)
	}
	return platform.PlanInput{Desired: desired, Live: obs, Changes: changes}
}

func plan(t *testing.T, d platform.Driver, in platform.PlanInput) platform.Plan {
	t.Helper()
	p, err := d.Plan(t.Context(), in)
	if err != nil {
		t.Fatalf("planning: %v", err)
	}
	return p
}

// apply brings the world to desired with a new driver.
func apply(ctx context.Context, t *testing.T, w World, desired manifest.Set) (platform.Plan, platform.Outcome, error) {
	t.Helper()
	d := w.Driver(t)
	p := plan(t, d, look(t, d, desired, w.Files)) //nolint:contextcheck // only applying is told to stop
	out, err := d.Apply(ctx, p, platform.ApplyOptions{Files: w.Files, Revision: "1234567"})
	return p, out, err
}

func mustApply(t *testing.T, w World, desired manifest.Set) {
	t.Helper()
	if _, out, err := apply(t.Context(), t, w, desired); errors.Join(err, out.Err()) != nil {
		t.Fatalf("applying: %v", errors.Join(err, out.Err()))
	}
}

// same fails unless nothing differs any more.
func same(t *testing.T, w World, desired manifest.Set) {
	t.Helper()
	for _, c := range look(t, w.Driver(t), desired, w.Files).Changes.List {
		t.Errorf("still differs: %s", c)
	}
	if w.Check != nil {
		w.Check(t)
	}
}

func testEmpty(t *testing.T, h Harness) {
	w := h.New(t)
	in := look(t, w.Driver(t), w.First, w.Files)
	for _, o := range in.Desired.Objects() {
		if in.Live.Live.Get(o.Ref) != nil {
			t.Errorf("%s is observed on an empty platform", o.Ref)
		}
	}
	for _, c := range in.Changes.List {
		if c.Op != diff.Add || c.Path != "" {
			t.Errorf("%s: on an empty platform everything is to be created", c)
		}
	}
	if w.Writes() != 0 {
		t.Errorf("observing made %d requests that write", w.Writes())
	}
}

func testPlan(t *testing.T, h Harness) {
	w := h.New(t)
	d := w.Driver(t)
	for _, desired := range []manifest.Set{w.First, w.Second} {
		in := look(t, d, desired, w.Files)
		w.OnRequest(func(int) Fate { t.Error("planning makes a request"); return Answered })
		p := plan(t, d, in)
		w.OnRequest(nil)
		ids, carried := map[string]bool{}, map[string]bool{}
		for _, s := range p.Steps {
			if ids[s.ID] {
				t.Errorf("two steps are called %s", s.ID)
			}
			ids[s.ID] = true
			worst := diff.ImpactUnknown
			for _, c := range s.Changes {
				carried[c.String()] = true
				worst = max(worst, c.Impact)
				if c.Impact == diff.ImpactUnknown {
					t.Errorf("%s: its impact is unknown", c)
				}
			}
			if s.Impact != worst {
				t.Errorf("%s: impact %s, while the gravest of its changes is %s", s.ID, s.Impact, worst)
			}
		}
		for _, s := range p.Steps {
			for _, id := range s.Requires {
				if !ids[id] || id == s.ID {
					t.Errorf("%s requires %s, which is no other step of the plan", s.ID, id)
				}
			}
		}
		for _, c := range in.Changes.List {
			if !carried[c.String()] {
				t.Errorf("%s: no step carries it", c)
			}
		}
		mustApply(t, w, desired)
	}
}

func testConverges(t *testing.T, h Harness) {
	w := h.New(t)
	mustApply(t, w, w.First)
	same(t, w, w.First)
}

func testIdempotent(t *testing.T, h Harness) {
	w := h.New(t)
	mustApply(t, w, w.First)
	before := w.Writes()
	mustApply(t, w, w.First)
	if n := w.Writes() - before; n != 0 {
		t.Errorf("applying what is there already made %d requests that write", n)
	}
}

func testChange(t *testing.T, h Harness) {
	w := h.New(t)
	mustApply(t, w, w.First)
	if look(t, w.Driver(t), w.Second, w.Files).Changes.Empty() {
		t.Fatal("the harness's Second does not differ from First")
	}
	mustApply(t, w, w.Second)
	same(t, w, w.Second)
	mustApply(t, w, w.First)
	same(t, w, w.First)
}

func testFailing(t *testing.T, h Harness) {
	w := h.New(t)
	p, out, err := apply(t.Context(), t, w, w.Failing)
	if err != nil {
		t.Fatalf("one resource failed, and the whole run with it: %v", err)
	}
	if len(out.Steps) != len(p.Steps) {
		t.Fatalf("%d results for %d steps", len(out.Steps), len(p.Steps))
	}
	for i, s := range out.Steps {
		if s.Step != p.Steps[i].ID {
			t.Errorf("result %d is of %s, want %s", i, s.Step, p.Steps[i].ID)
		}
		if s.Ref != w.Broken {
			if s.Phase != platform.Succeeded {
				t.Errorf("%s: %s (%v), though only %s is broken", s.Ref, s.Phase, s.Err, w.Broken)
			}
			continue
		}
		var e *platform.Error
		switch {
		case s.Phase != platform.Failed:
			t.Errorf("%s: %s, want failed", s.Ref, s.Phase)
		case !errors.As(s.Err, &e):
			t.Errorf("%s: %v is no *platform.Error", s.Ref, s.Err)
		case e.Ref != w.Broken && e.Ref.Space() != w.Broken.Space() || e.Doing == "" || e.Message == "" || e.Hint == "":
			t.Errorf("%s: the error does not say what, why and what next: %v", s.Ref, e)
		}
	}
	// What succeeded is left alone from now on.
	d := w.Driver(t)
	for _, s := range plan(t, d, look(t, d, w.Failing, w.Files)).Steps {
		if s.Ref != w.Broken {
			t.Errorf("a second run touches %s: %v", s.Ref, s.Changes)
		}
	}
}

func testEvents(t *testing.T, h Harness) {
	w := h.New(t)
	d := w.Driver(t)
	p := plan(t, d, look(t, d, w.Failing, w.Files))
	var mu sync.Mutex
	phases := map[string][]platform.Phase{}
	if _, err := d.Apply(t.Context(), p, platform.ApplyOptions{Files: w.Files, Report: func(e platform.Event) {
		mu.Lock()
		defer mu.Unlock()
		phases[e.Step] = append(phases[e.Step], e.Phase)
	}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		got := phases[s.ID]
		ends := []platform.Phase{platform.Succeeded, platform.Failed}
		if len(got) < 2 || got[0] != platform.Started || !slices.Contains(ends, got[len(got)-1]) {
			t.Errorf("%s: %v, want started, progress, and an end", s.ID, got)
			continue
		}
		for _, phase := range got[1 : len(got)-1] {
			if phase != platform.Progress {
				t.Errorf("%s: %s in between", s.ID, phase)
			}
		}
	}
}

func testStopped(t *testing.T, h Harness) {
	w := h.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, out, err := apply(ctx, t, w, w.First)
	if err != nil {
		t.Errorf("being told to stop is no error, but: %v", err)
	}
	for _, s := range out.Steps {
		if s.Phase != platform.Abandoned || s.Err != nil {
			t.Errorf("%s: %s (%v), want abandoned", s.Step, s.Phase, s.Err)
		}
	}
	if w.Writes() != 0 {
		t.Errorf("told to stop, and yet %d requests that write", w.Writes())
	}
}

func testRequires(t *testing.T, h Harness) {
	w := h.New(t)
	d := w.Driver(t)
	p := plan(t, d, look(t, d, w.Failing, w.Files))
	if len(p.Steps) < 2 {
		t.Skip("the harness declares one resource alone")
	}
	// Whatever the driver makes of the manifest, an edge that is there counts: here from a step to the broken one.
	p = platform.Plan{Steps: slices.Clone(p.Steps)}
	var needy string
	for i := range p.Steps {
		if p.Steps[i].Ref != w.Broken && needy == "" {
			p.Steps[i].Requires = append(slices.Clone(p.Steps[i].Requires), w.Broken.String())
			needy = p.Steps[i].ID
		}
	}
	out, err := d.Apply(t.Context(), p, platform.ApplyOptions{Files: w.Files})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Steps {
		if s.Step == needy && s.Phase != platform.Skipped {
			t.Errorf("%s requires what failed: %s, want skipped", s.Step, s.Phase)
		}
	}
	p.Steps[0].Requires = []string{p.Steps[1].ID}
	p.Steps[1].Requires = []string{p.Steps[0].ID}
	if _, err := d.Apply(t.Context(), p, platform.ApplyOptions{Files: w.Files}); err == nil || !strings.Contains(err.Error(), p.Steps[0].ID) {
		t.Errorf("steps that wait for each other: %v, want an error that names them", err)
	}
}

// testKilled kills a run at one request after the other, until it comes to its end.
func testKilled(t *testing.T, h Harness, change bool) {
	for n, done := 1, false; !done; n += max(h.Stride, 1) {
		for fate, when := range map[Fate]string{Lost: "before", Unanswered: "after"} {
			t.Run(fmt.Sprintf("%s request %d", when, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := h.New(t)
					desired := w.First
					if change {
						mustApply(t, w, w.First)
						desired = w.Second
					}
					done = killAt(t, w, desired, n, fate)
					mustApply(t, w, desired)
					same(t, w, desired)
				})
			})
		}
		if t.Failed() || n > 1000 {
			return
		}
	}
}

// killAt kills a run at request n of its Apply, which meets the given fate. It reports whether the run came to its end before.
func killAt(t *testing.T, w World, desired manifest.Set, n int, fate Fate) (ended bool) {
	t.Helper()
	d := w.Driver(t)
	p := plan(t, d, look(t, d, desired, w.Files))
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	ended = true
	w.OnRequest(func(i int) Fate {
		if i < n {
			return Answered
		}
		ended = false
		kill()
		if i > n {
			return Lost // the dead ask nothing
		}
		return fate
	})
	defer w.OnRequest(nil)
	out, err := d.Apply(ctx, p, platform.ApplyOptions{Files: w.Files, Revision: "1234567", Parallel: 1})
	if err != nil {
		t.Errorf("a killed run is no error: %v", err)
	}
	if ended && out.Err() != nil {
		t.Errorf("nothing was in its way, and yet: %v", out.Err())
	}
	return ended
}
