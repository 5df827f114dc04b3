package historytest

import (
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
)

type entries = map[manifest.Ref]map[string]string

var memoryTests = []test{
	{"nothing was ever applied", func(s *store) {
		s.same("applied", s.applied("dev"), history.Applied{Entries: entries{}})
	}},
	{"what was applied replaces what was known of the same resources, and leaves the others", func(s *store) {
		s.must(s.SetApplied(s.t.Context(), "dev", "c0ffee", entries{
			web:  {"": "d1", "/state": "d2", "/environment_variables/A": "d3"},
			shop: {"": "d4"},
		}))
		s.must(s.SetApplied(s.t.Context(), "dev", "", entries{web: {"": "d1", "/state": "d5"}}))
		s.same("applied", s.applied("dev"), history.Applied{Revision: "c0ffee", Entries: entries{
			web: {"": "d1", "/state": "d5"}, shop: {"": "d4"},
		}})
	}},
	{"the last good revision moves only when a revision is given", func(s *store) {
		s.must(s.SetApplied(s.t.Context(), "dev", "c0ffee", nil))
		s.must(s.SetApplied(s.t.Context(), "dev", "", entries{web: {"": "d1"}}))
		s.same("revision", s.applied("dev").Revision, "c0ffee")
		s.must(s.SetApplied(s.t.Context(), "dev", "decaf", nil))
		s.same("revision", s.applied("dev").Revision, "decaf")
	}},
	{"what Git no longer declares is forgotten", func(s *store) {
		s.must(s.SetApplied(s.t.Context(), "dev", "c0ffee", entries{web: {"": "d1"}, shop: {"": "d2"}, worker: {"": "d3"}}))
		s.must(s.ForgetApplied(s.t.Context(), "dev", []manifest.Ref{web, other}))
		s.must(s.SetApplied(s.t.Context(), "dev", "", entries{worker: {}}))
		s.same("applied", s.applied("dev"), history.Applied{Revision: "c0ffee", Entries: entries{shop: {"": "d2"}}})
	}},
	{"targets remember apart", func(s *store) {
		s.must(s.SetApplied(s.t.Context(), "dev", "c0ffee", entries{web: {"": "d1"}}))
		s.must(s.SetApplied(s.t.Context(), "prod", "decaf", entries{web: {"": "d2"}}))
		s.must(s.ForgetApplied(s.t.Context(), "prod", []manifest.Ref{web}))
		s.same("dev", s.applied("dev"), history.Applied{Revision: "c0ffee", Entries: entries{web: {"": "d1"}}})
		s.same("prod", s.applied("prod"), history.Applied{Revision: "decaf", Entries: entries{}})
	}},
	{"a bad declaration is quarantined until it is released", func(s *store) {
		q := history.Quarantine{Target: "dev", Ref: web, Digest: "d1", Revision: "c0ffee", Reason: "2 of 2 instances crashed", Since: at("10:00"), Run: 7}
		theirs := history.Quarantine{Target: "prod", Ref: web, Digest: "d1", Since: at("10:02")}
		s.must(s.Quarantine(s.t.Context(), q))
		s.must(s.Quarantine(s.t.Context(), theirs))
		s.same("dev", s.quarantined("dev"), []history.Quarantine{q})
		s.same("all targets", s.quarantined(""), []history.Quarantine{q, theirs})

		q.Digest, q.Reason, q.Since, q.Run = "d2", "staging failed", at("11:00"), 9
		s.must(s.Quarantine(s.t.Context(), q))
		s.same("the next bad declaration replaces it", s.quarantined("dev"), []history.Quarantine{q})

		s.must(s.Release(s.t.Context(), "dev", web))
		s.same("released", len(s.quarantined("dev")), 0)
		s.same("the other target's is kept", s.quarantined("prod"), []history.Quarantine{theirs})
		s.must(s.Release(s.t.Context(), "dev", web))
	}},
	{"the schedule", func(s *store) {
		s.same("never set", s.due("dev"), time.Time{})
		s.must(s.SetNextDue(s.t.Context(), "dev", at("11:00")))
		s.must(s.SetNextDue(s.t.Context(), "dev", at("12:00")))
		s.same("due", s.due("dev"), at("12:00"))
		s.must(s.SetApplied(s.t.Context(), "dev", "c0ffee", nil))
		s.same("still due", s.due("dev"), at("12:00"))
		s.same("another target", s.due("prod"), time.Time{})
		s.must(s.SetNextDue(s.t.Context(), "dev", time.Time{}))
		s.same("unset", s.due("dev"), time.Time{})
	}},
}

func (s *store) applied(target string) history.Applied {
	s.t.Helper()
	a, err := s.Applied(s.t.Context(), target)
	s.must(err)
	return a
}

func (s *store) quarantined(target string) []history.Quarantine {
	s.t.Helper()
	list, err := s.Quarantined(s.t.Context(), target)
	s.must(err)
	return list
}

func (s *store) due(target string) time.Time {
	s.t.Helper()
	due, err := s.NextDue(s.t.Context(), target)
	s.must(err)
	return due
}
