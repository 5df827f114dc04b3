package history_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
)

// Whatever is looked at, in whatever order, with whatever left out: of a field there is at most one open
// record, what was found last is open, and every look that found something is counted exactly once.
func TestOneEditIsOneRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := []string{"", "/a", "/a/b", "/ab", "/c"}
		subset := func(what string) []history.Key {
			var keys []history.Key
			for _, f := range fields {
				if rapid.Bool().Draw(t, what+f) {
					keys = append(keys, history.Key{Ref: manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}, Path: f})
				}
			}
			return keys
		}
		var all []history.Drift
		looked := 0
		at := time.Date(2026, 3, 9, 10, 0, 0, 0, time.UTC)
		for n := range rapid.IntRange(1, 12).Draw(t, "looks") {
			at = at.Add(time.Duration(rapid.IntRange(-1, 5).Draw(t, "minutes")) * time.Minute)
			o := history.Observation{Target: "dev", At: at, Run: int64(n), Unseen: subset("unseen")}
			found := map[history.Key]bool{}
			for _, k := range subset("found") {
				found[k] = true
				looked++
				o.Found = append(o.Found, history.Drift{Ref: k.Ref, Path: k.Path, Live: fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "live"))})
			}

			var open, closed []history.Drift
			for _, d := range all {
				if d.Resolution == history.Open {
					open = append(open, d)
				} else {
					closed = append(closed, d)
				}
			}
			opened, again, ended := o.Against(open)
			untouched := len(open) - len(again) - len(ended)
			if untouched < 0 {
				t.Fatalf("%d open records became %d seen again and %d ended", len(open), len(again), len(ended))
			}
			touched := map[history.Key]bool{}
			for _, d := range append(append([]history.Drift{}, again...), ended...) {
				touched[d.Key()] = true
			}
			all = append(append(append(closed, opened...), again...), ended...)
			for _, d := range open {
				if !touched[d.Key()] {
					all = append(all, d)
				}
			}

			seen, isOpen := 0, map[history.Key]bool{}
			for _, d := range all {
				seen += d.Seen
				if d.LastSeen.Before(d.FirstSeen) || d.Resolution != history.Open && d.ResolvedAt.Before(d.LastSeen) {
					t.Fatalf("times run backwards in %+v", d)
				}
				if d.Resolution == history.Open {
					if isOpen[d.Key()] {
						t.Fatalf("two open records of %s", d.Key())
					}
					isOpen[d.Key()] = true
				}
			}
			for k := range found {
				if !isOpen[k] {
					t.Fatalf("%s was found and is not open", k)
				}
			}
			for _, d := range ended {
				for _, k := range o.Unseen {
					if k.Covers(d.Key()) {
						t.Fatalf("%s ended although it could not be looked at (%s)", d.Key(), k)
					}
				}
			}
			if seen != looked {
				t.Fatalf("the records were seen %d times, %d were found", seen, looked)
			}
		}
	})
}

func TestCovers(t *testing.T) {
	web := manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	for _, c := range []struct {
		key, other string
		want       bool
	}{
		{"", "", true},
		{"", "/state", true},
		{"/processes", "/processes/web/instances", true},
		{"/processes/web", "/processes/web", true},
		{"/processes/web", "/processes/web2", false},
		{"/processes/web", "/processes", false},
	} {
		if got := (history.Key{Ref: web, Path: c.key}).Covers(history.Key{Ref: web, Path: c.other}); got != c.want {
			t.Errorf("%q covers %q: %v, want %v", c.key, c.other, got, c.want)
		}
	}
	if (history.Key{Ref: web}).Covers(history.Key{Ref: manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web2"}}) {
		t.Error("a resource covers its namesake")
	}
}

// How long a drift stood: from the edit, where its time is known, and never less than nothing.
func TestLasted(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 3, 9, 10, minute, 0, 0, time.UTC) }
	d := history.Drift{FirstSeen: at(5), LastSeen: at(6)}
	if got := d.Lasted(at(15)); got != 10*time.Minute {
		t.Errorf("open, nobody knows since when: %s", got)
	}
	d.By.At = at(2)
	if got := d.Lasted(at(15)); got != 13*time.Minute {
		t.Errorf("open, edited at 10:02: %s", got)
	}
	if got := d.End(history.Healed, 1, at(7)).Lasted(at(15)); got != 5*time.Minute {
		t.Errorf("healed at 10:07: %s", got)
	}
	d.By.At = at(30) // a clock that is wrong
	if got := d.Lasted(at(1)); got != 0 {
		t.Errorf("seen in the future: %s", got)
	}
}
