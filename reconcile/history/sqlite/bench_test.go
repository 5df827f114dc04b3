package sqlite_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

var records = flag.Int("records", 100_000, "how many drift records the store of BenchmarkList holds")

// BenchmarkObserve is one observation that finds 1,000 differences: for the first time, again, again with other
// values, and no more.
func BenchmarkObserve(b *testing.B) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	found := edits(1000, 0)
	moved := edits(1000, 0)
	for i := range moved {
		moved[i].Live = "4096"
	}
	for _, c := range []struct {
		name       string
		prime, now []history.Drift
	}{
		{"new", nil, found},
		{"again", found, found},
		{"moved", found, moved},
		{"ended", found, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "history.db"))
			n := 0
			for b.Loop() {
				n++
				target := fmt.Sprintf("target-%d", n)
				if c.prime != nil {
					b.StopTimer()
					_, _, err := s.Observe(b.Context(), history.Observation{Target: target, At: start, Found: c.prime})
					must(b, err)
					b.StartTimer()
				}
				_, _, err := s.Observe(b.Context(), history.Observation{Target: target, At: start.Add(time.Minute), Found: c.now})
				must(b, err)
			}
		})
	}
}

// BenchmarkList asks what people ask, in a store of many records (-records=1000000) of one year, 200 spaces in 20 orgs
// and 500 actors, nearly all of it resolved.
func BenchmarkList(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "history.db"))
	end := fill(b, s, *records)
	month := end.AddDate(0, -1, 0)
	for _, c := range []struct {
		name   string
		filter history.DriftFilter
	}{
		{"newest", history.DriftFilter{Limit: 100}},
		{"open", history.DriftFilter{OpenOnly: true}},
		{"target", history.DriftFilter{Target: "target-7", Limit: 100}},
		{"org", history.DriftFilter{Org: "org-7", Limit: 100}},
		{"space", history.DriftFilter{Space: "org-7/space-7", Limit: 100}},
		{"app", history.DriftFilter{Ref: manifest.Ref{Kind: manifest.KindApp, Path: "org-7/space-7/app-7"}, Limit: 100}},
		{"actor", history.DriftFilter{Actor: "user-7@acme.example", Limit: 100}},
		{"nobody", history.DriftFilter{Actor: "nobody@acme.example", Limit: 100}},
		{"org and actor", history.DriftFilter{Org: "org-7", Actor: "user-7@acme.example", Limit: 100}},
		{"last day", history.DriftFilter{Since: end.AddDate(0, 0, -1)}},
		{"an old day", history.DriftFilter{Since: end.AddDate(0, -6, 0), Until: end.AddDate(0, -6, 1), Limit: 100}},
		{"last month of an org", history.DriftFilter{Org: "org-7", Since: month, Limit: 1000}},
		{"last month", history.DriftFilter{Since: month, Limit: 1000}},
		{"whole last month", history.DriftFilter{Since: month}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var list []history.Drift
			for b.Loop() {
				var err error
				list, err = s.Drift(b.Context(), c.filter)
				must(b, err)
			}
			b.ReportMetric(float64(len(list)), "records")
		})
	}
}

func edits(n, from int) []history.Drift {
	list := make([]history.Drift, n)
	for i := range list {
		k := from + i
		org := k % 20
		list[i] = history.Drift{
			Ref:  manifest.Ref{Kind: manifest.KindApp, Path: fmt.Sprintf("org-%d/space-%d/app-%d", org, k/20%10, k/200%20)},
			Path: fmt.Sprintf("/environment_variables/VARIABLE_%d", k), Op: diff.Update,
			Declared: `"a value as people write them"`, Live: `"another value as people write them"`,
			Origin: manifest.Origin{File: fmt.Sprintf("apps/app-%d/manifest.yml", k/200%20), Line: 7, Column: 5}, Impact: "restart",
			By: platform.Attribution{Actor: fmt.Sprintf("user-%d@acme.example", k*7919%500), ActorID: fmt.Sprintf("00000000-0000-4000-8000-%012d", k%500), Event: "audit.app.update", EventID: fmt.Sprintf("00000000-0000-4000-8000-%012d", k)},
		}
	}
	return list
}

// fill writes a year of records: each observation finds its part and ends most of the one before.
func fill(b *testing.B, s history.Store, n int) (end time.Time) {
	b.Helper()
	const targets, part = 50, 1000
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	step := 365 * 24 * time.Hour / time.Duration(n/part)
	at := start
	for k := 0; k < n; k += part {
		found := edits(part, k)
		target := fmt.Sprintf("target-%d", k/part%targets)
		_, _, err := s.Observe(b.Context(), history.Observation{Target: target, At: at, Found: found})
		must(b, err)
		_, _, err = s.Observe(b.Context(), history.Observation{Target: target, At: at.Add(step / 2), Found: found[:part/100]})
		must(b, err)
		at = at.Add(step)
	}
	return at
}
