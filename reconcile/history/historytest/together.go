package historytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
)

var togetherTests = []test{
	{"many goroutines see the same drift: one record, every look counted", func(s *store) {
		const lookers, looks = 8, 10
		s.together(lookers, func(ctx context.Context, i int) error {
			for n := range looks {
				_, _, err := s.Observe(ctx, history.Observation{Target: "dev", At: at("10:00").Add(time.Duration(n) * time.Minute), Found: []history.Drift{memory}})
				if err != nil {
					return err
				}
			}
			return nil
		})
		s.same("seen", s.only().Seen, lookers*looks)
	}},
	{"many targets at once, each with a life of its own", func(s *store) {
		const targets = 8
		s.together(targets, func(ctx context.Context, i int) error {
			target := fmt.Sprintf("target-%d", i)
			for n := range 5 {
				run, err := s.BeginRun(ctx, history.Run{Target: target, StartedAt: at("10:00")})
				if err != nil {
					return err
				}
				o := history.Observation{Target: target, At: at("10:00").Add(time.Duration(n) * time.Minute), Run: run.ID, Found: []history.Drift{memory, log}}
				if _, _, err := s.Observe(ctx, o); err != nil {
					return err
				}
				if _, err := s.Resolve(ctx, target, []history.Key{memory.Key()}, history.Healed, run.ID, o.At); err != nil {
					return err
				}
				if err := s.SetApplied(ctx, target, fmt.Sprint(n), map[manifest.Ref]map[string]string{web: {"": fmt.Sprint(n)}}); err != nil {
					return err
				}
				run.Result, run.EndedAt = history.Changed, o.At
				if err := s.EndRun(ctx, run); err != nil {
					return err
				}
				if _, err := s.Drift(ctx, history.DriftFilter{Target: target}); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range targets {
			target := fmt.Sprintf("target-%d", i)
			s.same("records of "+target, len(s.list(history.DriftFilter{Target: target})), 5+1)
			s.same("revision of "+target, s.applied(target).Revision, "4")
		}
		s.same("runs", len(s.runs(history.RunFilter{Result: history.Changed})), targets*5)
	}},
	{"a reader sees an observation wholly or not at all", func(s *store) {
		s.together(4, func(ctx context.Context, i int) error {
			if i == 0 {
				for n := range 20 {
					found := []history.Drift{memory, log, of(log, worker)}
					if n%2 == 1 {
						found = nil
					}
					if _, _, err := s.Observe(ctx, history.Observation{Target: "dev", At: at("10:00").Add(time.Duration(n) * time.Minute), Found: found}); err != nil {
						return err
					}
				}
				return nil
			}
			for range 40 {
				open, err := s.Drift(ctx, history.DriftFilter{OpenOnly: true})
				if err != nil {
					return err
				}
				if len(open) != 0 && len(open) != 3 {
					return fmt.Errorf("saw %d of 3 records", len(open))
				}
			}
			return nil
		})
	}},
	{"what is cancelled did not happen, and says that it was cancelled", func(s *store) {
		s.look("10:00", memory)
		ctx, cancel := context.WithCancel(s.t.Context())
		cancel()
		_, _, err := s.Observe(ctx, history.Observation{Target: "dev", At: at("10:05"), Found: []history.Drift{log}})
		s.cancelled("Observe", err)
		_, err = s.Drift(ctx, history.DriftFilter{})
		s.cancelled("Drift", err)
		_, err = s.BeginRun(ctx, begun)
		s.cancelled("BeginRun", err)
		_, err = s.NextDue(ctx, "dev")
		s.cancelled("NextDue", err)
		s.same("seen", s.only().Seen, 1)
		s.same("runs", len(s.runs(history.RunFilter{})), 0)
	}},
	{"cancelled at any moment, an observation happened wholly or not at all", func(s *store) {
		found := make([]history.Drift, 50)
		for i := range found {
			found[i] = with(log, func(d *history.Drift) { d.Path = fmt.Sprintf("/environment_variables/V%d", i) })
		}
		for n := range 30 {
			target := fmt.Sprintf("target-%d", n)
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(n)*100*time.Microsecond)
			_, _, err := s.Observe(ctx, history.Observation{Target: target, At: at("10:00"), Found: found})
			cancel()
			got := len(s.list(history.DriftFilter{Target: target}))
			if err == nil && got != len(found) || err != nil && got != 0 && got != len(found) {
				s.t.Fatalf("%d of %d records after %v", got, len(found), err)
			}
		}
	}},
}

// together calls do in n goroutines at once; the first error ends all of them and fails the test.
func (s *store) together(n int, do func(ctx context.Context, i int) error) {
	s.t.Helper()
	ctx, cancel := context.WithCancelCause(s.t.Context())
	defer cancel(nil)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := do(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	s.must(context.Cause(ctx))
}

func (s *store) cancelled(what string, err error) {
	s.t.Helper()
	if !errors.Is(err, context.Canceled) {
		s.t.Errorf("%s gave %v, want context.Canceled", what, err)
	}
}
