package historytest

import (
	"errors"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

var begun = history.Run{Target: "dev", Trigger: history.ByCommit, Mode: "apply", StartedAt: at("10:00")}

var runTests = []test{
	{"a run is there from its beginning, and running", func(s *store) {
		r := s.begin(begun)
		if r.ID == 0 {
			s.t.Fatal("the run has no ID")
		}
		want := begun
		want.ID, want.Result = r.ID, history.Running
		s.same("returned", r, want)
		s.same("listed", s.runs(history.RunFilter{}), []history.Run{want})
	}},
	{"its end says everything", func(s *store) {
		r := s.begin(begun)
		r.EndedAt, r.Result, r.Error = at("10:01"), history.Failed, "app acme/dev/web: staging the package: NoAppDetectedError"
		r.Revision, r.Author, r.Subject = "c0ffee", "Alice <alice@acme.example>", "More memory"
		r.Requests, r.Changes = 31, 4
		r.Steps = []history.Step{
			{Ref: web, Phase: platform.Failed, Changes: 3, Impact: "restage", Error: "NoAppDetectedError", Duration: 41*time.Second + 7},
			{Ref: shop, Phase: platform.Skipped, Changes: 1},
		}
		s.must(s.EndRun(s.t.Context(), r))
		s.same("listed", s.runs(history.RunFilter{ID: r.ID}), []history.Run{r})
		s.must(s.EndRun(s.t.Context(), r))
		s.same("said twice, it is said once", s.runs(history.RunFilter{}), []history.Run{r})
	}},
	{"a run that was never begun cannot end", func(s *store) {
		r := begun
		r.ID, r.EndedAt, r.Result = 99, at("10:01"), history.InSync
		if err := s.EndRun(s.t.Context(), r); !errors.Is(err, history.ErrNotFound) {
			s.t.Errorf("got %v, want ErrNotFound", err)
		}
	}},
	{"a run cannot end without a result or a time", func(s *store) {
		r := s.begin(begun)
		for _, bad := range []history.Run{
			{ID: r.ID, EndedAt: at("10:01")},
			{ID: r.ID, EndedAt: at("10:01"), Result: history.Running},
			{ID: r.ID, Result: history.InSync},
		} {
			if s.EndRun(s.t.Context(), bad) == nil {
				s.t.Errorf("%+v was taken for the end of a run", bad)
			}
		}
		s.same("still running", s.runs(history.RunFilter{Result: history.Running}), []history.Run{r})
	}},
	{"newest first, filtered", func(s *store) {
		a := s.begin(begun)
		b := s.begin(history.Run{Target: "prod", StartedAt: at("11:00")})
		c := s.begin(history.Run{Target: "dev", StartedAt: at("12:00")})
		if a.ID >= b.ID || b.ID >= c.ID {
			s.t.Fatalf("IDs rise: got %d, %d, %d", a.ID, b.ID, c.ID)
		}
		c.EndedAt, c.Result = at("12:01"), history.Failed
		s.must(s.EndRun(s.t.Context(), c))
		for _, tc := range []struct {
			name   string
			filter history.RunFilter
			want   []history.Run
		}{
			{"all", history.RunFilter{}, []history.Run{c, b, a}},
			{"the last one of a target", history.RunFilter{Target: "dev", Limit: 1}, []history.Run{c}},
			{"since", history.RunFilter{Since: at("11:00")}, []history.Run{c, b}},
			{"until", history.RunFilter{Until: at("11:00")}, []history.Run{a}},
			{"result", history.RunFilter{Result: history.Failed}, []history.Run{c}},
			{"none", history.RunFilter{Target: "nowhere"}, nil},
		} {
			s.t.Run(tc.name, func(t *testing.T) {
				(&store{s.Store, t}).same("runs", s.runs(tc.filter), tc.want)
			})
		}
	}},
	{"a killed process left a run: it is abandoned, others are not", func(s *store) {
		lost, theirs := s.begin(begun), s.begin(history.Run{Target: "prod", StartedAt: at("10:00")})
		done := s.begin(begun)
		done.EndedAt, done.Result = at("10:01"), history.InSync
		s.must(s.EndRun(s.t.Context(), done))

		n, err := s.AbandonRuns(s.t.Context(), "dev", "the agent was killed", at("10:30"))
		s.must(err)
		s.same("abandoned", n, 1)
		lost.EndedAt, lost.Result, lost.Error = at("10:30"), history.Abandoned, "the agent was killed"
		s.same("runs", s.runs(history.RunFilter{}), []history.Run{done, theirs, lost})

		n, err = s.AbandonRuns(s.t.Context(), "dev", "again", at("10:31"))
		s.must(err)
		s.same("nothing is left to abandon", n, 0)
	}},
	{"many runs are listed with the steps of each", func(s *store) {
		const many = 1100 // more than one round of reading steps
		for range many {
			r := s.begin(begun)
			r.EndedAt, r.Result, r.Steps = at("10:01"), history.Changed, []history.Step{{Ref: web, Changes: int(r.ID)}}
			s.must(s.EndRun(s.t.Context(), r))
		}
		runs := s.runs(history.RunFilter{})
		s.same("runs", len(runs), many)
		for _, r := range runs {
			if len(r.Steps) != 1 || r.Steps[0].Changes != int(r.ID) {
				s.t.Fatalf("run %d has the steps %+v", r.ID, r.Steps)
			}
		}
	}},
}

func (s *store) begin(r history.Run) history.Run {
	s.t.Helper()
	r, err := s.BeginRun(s.t.Context(), r)
	s.must(err)
	return r
}

func (s *store) runs(f history.RunFilter) []history.Run {
	s.t.Helper()
	runs, err := s.Runs(s.t.Context(), f)
	s.must(err)
	return runs
}
