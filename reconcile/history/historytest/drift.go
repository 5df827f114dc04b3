package historytest

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

var driftTests = []test{
	{"a new difference opens a record that says everything", func(s *store) {
		opened, ended := s.look("10:00", memory)
		want := with(memory, func(d *history.Drift) {
			d.ID, d.Target, d.Revision = opened[0].ID, "dev", "c0ffee"
			d.FirstSeen, d.LastSeen, d.Seen = at("10:00"), at("10:00"), 1
		})
		s.same("opened", opened, []history.Drift{want})
		s.same("ended", len(ended), 0)
		s.same("listed", s.only(), want)
		if want.ID == 0 {
			s.t.Error("the record has no ID")
		}
	}},
	{"one edit is one record, however often it is seen", func(s *store) {
		s.look("10:00", memory)
		opened, ended := s.look("10:05", memory)
		s.look("10:10", memory)
		s.same("opened by the second look", len(opened), 0)
		s.same("ended by the second look", len(ended), 0)
		d := s.only()
		s.same("seen", d.Seen, 3)
		s.same("first seen", d.FirstSeen, at("10:00"))
		s.same("last seen", d.LastSeen, at("10:10"))
	}},
	{"found twice in one look, it is still one", func(s *store) {
		s.look("10:00", memory, memory)
		s.same("seen", s.only().Seen, 1)
	}},
	{"two fields are two records, and the fields of two resources too", func(s *store) {
		opened, _ := s.look("10:00", memory, log, of(log, worker))
		s.same("opened", keys(opened), []string{
			"app acme/dev/web /environment_variables/LOG_LEVEL",
			"app acme/dev/web /processes/web/memory_in_mb",
			"app acme/prod/worker /environment_variables/LOG_LEVEL",
		})
	}},
	{"the live value moves on: the record follows", func(s *store) {
		s.look("10:00", memory)
		s.look("10:05", live(memory, "4096"))
		s.same("live", s.only().Live, "4096")
		s.same("seen", s.only().Seen, 2)
	}},
	{"Git moves while drift stands: the record shows what is declared now, and where", func(s *store) {
		s.look("10:00", memory)
		s.look("10:05", with(memory, func(d *history.Drift) { d.Declared, d.Origin.Line = "768", 9 }))
		s.same("declared", s.only().Declared, "768")
		s.same("line", s.only().Origin.Line, 9)
		s.same("revision stays that of the first look", s.only().Revision, "c0ffee")
	}},
	{"nothing found any more: somebody changed it back", func(s *store) {
		s.look("10:00", memory)
		_, ended := s.look("10:05")
		s.same("ended", ended, []history.Drift{s.only()})
		d := s.only()
		s.same("resolution", d.Resolution, history.ChangedBack)
		s.same("resolved at", d.ResolvedAt, at("10:05"))
		s.same("resolved by no run of ours", d.ResolvedBy, int64(0))
		s.same("seen", d.Seen, 1)
		s.same("last seen", d.LastSeen, at("10:00"))
	}},
	{"the observer knows better: accepted by a commit, or gone from Git", func(s *store) {
		s.look("10:00", memory, log, of(memory, worker))
		s.observe(history.Observation{Target: "dev", At: at("10:05"), Run: 43, Ended: map[history.Key]history.Resolution{
			memory.Key():  history.Accepted,
			{Ref: worker}: history.Gone, // the resource's key covers its fields
		}})
		s.same("resolutions", s.resolutions(), []string{
			"app acme/dev/web /environment_variables/LOG_LEVEL: changed back",
			"app acme/dev/web /processes/web/memory_in_mb: accepted by run 43",
			"app acme/prod/worker /processes/web/memory_in_mb: gone by run 43",
		})
	}},
	{"what is found is open, whatever Ended says", func(s *store) {
		s.look("10:00", memory)
		s.observe(history.Observation{Target: "dev", At: at("10:05"), Found: []history.Drift{memory}, Ended: map[history.Key]history.Resolution{memory.Key(): history.Gone}})
		s.same("resolution", s.only().Resolution, history.Open)
	}},
	{"a deleted app is one drift; the drift of its fields is gone, not changed back", func(s *store) {
		s.look("10:00", memory, of(log, worker))
		deleted := history.Drift{Ref: web, Op: diff.Add, Declared: "{}", By: bob, Impact: "restart"}
		s.look("10:05", deleted, of(log, worker))
		s.same("resolutions", s.resolutions(), []string{
			"app acme/dev/web: open",
			"app acme/dev/web /processes/web/memory_in_mb: gone by run 42",
			"app acme/prod/worker /environment_variables/LOG_LEVEL: open",
		})
	}},
	{"healed by a run", func(s *store) {
		s.look("10:00", memory, log)
		healed, err := s.Resolve(s.t.Context(), "dev", []history.Key{memory.Key()}, history.Healed, 7, at("10:01"))
		s.must(err)
		s.same("healed", keys(healed), []string{memory.Key().String()})
		s.same("resolved by", healed[0].ResolvedBy, int64(7))
		s.same("resolved at", healed[0].ResolvedAt, at("10:01"))
		s.same("resolutions", s.resolutions(), []string{
			"app acme/dev/web /environment_variables/LOG_LEVEL: open",
			"app acme/dev/web /processes/web/memory_in_mb: healed by run 7",
		})
	}},
	{"no record ends before it was last seen, whatever the clock says", func(s *store) {
		s.look("10:00", memory)
		_, err := s.Resolve(s.t.Context(), "dev", []history.Key{memory.Key()}, history.Healed, 7, at("09:59"))
		s.must(err)
		s.same("resolved at", s.only().ResolvedAt, at("10:00"))
	}},
	{"to resolve a resource is to resolve its fields, and not those of its namesakes", func(s *store) {
		webby := manifest.Ref{Kind: web.Kind, Path: web.Path + "by"}
		s.look("10:00", memory, log, of(memory, webby), of(memory, shop))
		healed, err := s.Resolve(s.t.Context(), "dev", []history.Key{{Ref: web}}, history.Healed, 7, at("10:01"))
		s.must(err)
		s.same("healed", keys(healed), []string{log.Key().String(), memory.Key().String()})
	}},
	{"to resolve what is not open is no error and does nothing", func(s *store) {
		s.look("10:00", memory)
		s.look("10:05")
		healed, err := s.Resolve(s.t.Context(), "dev", []history.Key{memory.Key(), log.Key()}, history.Healed, 7, at("10:06"))
		s.must(err)
		s.same("healed", len(healed), 0)
		s.same("resolution stays", s.only().Resolution, history.ChangedBack)
	}},
	{"drift that returns after it was resolved is a new record", func(s *store) {
		first, _ := s.look("10:00", memory)
		_, err := s.Resolve(s.t.Context(), "dev", []history.Key{memory.Key()}, history.Healed, 7, at("10:01"))
		s.must(err)
		again, _ := s.look("10:20", memory)
		s.same("opened", len(again), 1)
		if again[0].ID <= first[0].ID {
			s.t.Errorf("IDs rise: got %d after %d", again[0].ID, first[0].ID)
		}
		s.same("first seen", again[0].FirstSeen, at("10:20"))
		s.same("records", len(s.list(history.DriftFilter{})), 2)
		s.same("open records", len(s.list(history.DriftFilter{OpenOnly: true})), 1)
	}},
	{"what could not be looked at stays as it was", func(s *store) {
		s.look("10:00", memory, log, of(memory, worker))
		before := s.list(history.DriftFilter{OpenOnly: true})
		s.observe(history.Observation{Target: "dev", At: at("10:05"), Unseen: []history.Key{memory.Key(), log.Key(), {Ref: worker}}})
		s.same("open", s.list(history.DriftFilter{OpenOnly: true}), before)
	}},
	{"a look that began before the record was last seen says nothing about it", func(s *store) {
		s.look("10:10", memory)
		_, ended := s.look("10:05")
		s.same("ended", len(ended), 0)
		s.look("10:06", live(memory, "1024"))
		s.same("last seen", s.only().LastSeen, at("10:10"))
		s.same("live", s.only().Live, "2048")
	}},
	{"two targets are apart, though they look at the same resource", func(s *store) {
		s.look("10:00", memory)
		s.observe(history.Observation{Target: "platform", At: at("10:01"), Found: []history.Drift{memory}})
		s.observe(history.Observation{Target: "platform", At: at("10:02")})
		s.same("dev", len(s.list(history.DriftFilter{Target: "dev", OpenOnly: true})), 1)
		s.same("platform", len(s.list(history.DriftFilter{Target: "platform", OpenOnly: true})), 0)
		healed, err := s.Resolve(s.t.Context(), "platform", []history.Key{memory.Key()}, history.Healed, 1, at("10:03"))
		s.must(err)
		s.same("healed", len(healed), 0)
	}},
	{"a secret is a digest, or it is refused without being quoted", func(s *store) {
		secret := with(log, func(d *history.Drift) { d.Secret, d.Declared, d.Live = true, "digest:1f", "digest:2e" })
		s.look("10:00", secret)
		s.same("live", s.only().Live, "digest:2e")
		s.same("secret", s.only().Secret, true)
		_, _, err := s.Observe(s.t.Context(), history.Observation{Target: "dev", At: at("10:05"), Found: []history.Drift{live(secret, `"hunter2"`)}})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			s.t.Errorf("a secret in the open gave %v", err)
		}
		s.same("the record is as it was", s.only().Seen, 1)
	}},
	{"odd text survives: quotes, lines, emoji; what no database takes is replaced", func(s *store) {
		s.look("10:00", live(log, `"a'b\"c\nd; DROP TABLE drift; -- $1 ? 🐟"`))
		s.same("live", s.only().Live, `"a'b\"c\nd; DROP TABLE drift; -- $1 ? 🐟"`)
		s.look("10:05", live(log, "a\x00b\xffc"))
		s.same("live", s.only().Live, "a\uFFFDb\uFFFDc")
		s.look("10:10", live(log, "a\x00b\xffc"))
		s.same("seen", s.only().Seen, 3)
	}},
	{"an observation needs a target and a time", func(s *store) {
		for _, o := range []history.Observation{{At: at("10:00")}, {Target: "dev"}} {
			if _, _, err := s.Observe(s.t.Context(), o); err == nil {
				s.t.Errorf("%+v was taken", o)
			}
		}
	}},
}

var attributionTests = []test{
	{"a missing name is filled in when it becomes known", func(s *store) {
		s.look("10:00", log)
		s.look("10:05", by(log, nobody))
		s.same("the reason why nobody is known", s.only().By, nobody)
		s.look("10:10", by(log, alice))
		s.same("by", s.only().By, alice)
	}},
	{"a known name is never traded for none", func(s *store) {
		s.look("10:00", by(log, alice))
		s.look("10:05", by(log, nobody))
		s.look("10:10", log)
		s.same("by", s.only().By, alice)
	}},
	{"who merely touches the resource later is not to blame", func(s *store) {
		s.look("10:00", by(log, alice))
		s.look("10:05", by(log, bob))
		s.same("by", s.only().By, alice)
	}},
	{"who moved the live value on, made it what it is", func(s *store) {
		s.look("10:00", by(log, alice))
		s.look("10:05", by(live(log, `"trace"`), bob))
		s.same("by", s.only().By, bob)
	}},
	{"an earlier edit than the one that is known does not count", func(s *store) {
		s.look("10:00", by(log, bob))
		s.look("10:05", by(live(log, `"trace"`), alice))
		s.same("by", s.only().By, bob)
	}},
	{"the value moved on and nobody knows by whom: the record says so, until somebody does", func(s *store) {
		s.look("10:00", by(log, alice))
		s.look("10:05", live(log, `"trace"`))
		noted := alice
		noted.Note = history.NoteMovedOn
		s.same("by", s.only().By, noted)
		s.look("10:06", by(live(log, `"trace"`), alice))
		s.same("the old event again is no news", s.only().By, noted)
		s.look("10:10", by(live(log, `"trace"`), bob))
		s.same("by", s.only().By, bob)
	}},
}

var listingTests = []test{
	{"newest first, of equals the one opened later", func(s *store) {
		s.look("10:00", memory)
		s.look("10:05", memory, log, of(log, worker))
		s.look("10:10", memory)
		got := s.list(history.DriftFilter{})
		s.same("order", keys(got), []string{memory.Key().String(), of(log, worker).Key().String(), log.Key().String()})
		s.same("limit", s.list(history.DriftFilter{Limit: 2}), got[:2])
	}},
	{"filters", func(s *store) {
		s.look("10:00", by(memory, alice), by(log, bob))
		s.look("11:00", by(log, bob), of(memory, worker), of(log, shop)) // memory was changed back
		s.observe(history.Observation{Target: "zeta", At: at("12:00"), Found: []history.Drift{
			by(of(log, other), manifestOnlyID),
		}})
		id := s.list(history.DriftFilter{Ref: worker})[0].ID
		for _, c := range []struct {
			name   string
			filter history.DriftFilter
			want   string // names of resources, sorted by what the filter says
		}{
			{"everything", history.DriftFilter{}, "zeta/dev/web, shop, worker, log, memory"},
			{"a target", history.DriftFilter{Target: "zeta"}, "zeta/dev/web"},
			{"an ID", history.DriftFilter{ID: id}, "worker"},
			{"open ones", history.DriftFilter{OpenOnly: true}, "zeta/dev/web, shop, worker, log"},
			{"an org", history.DriftFilter{Org: "acme"}, "shop, worker, log, memory"},
			{"an org is no prefix", history.DriftFilter{Org: "acm"}, ""},
			{"a space", history.DriftFilter{Space: "acme/dev"}, "shop, log, memory"},
			{"a space is of one org", history.DriftFilter{Space: "zeta/dev"}, "zeta/dev/web"},
			{"a resource", history.DriftFilter{Ref: web}, "log, memory"},
			{"a kind", history.DriftFilter{Ref: manifest.Ref{Kind: manifest.KindRoute}}, "shop"},
			{"an actor by name", history.DriftFilter{Actor: "bob@acme.example"}, "log"},
			{"an actor who has a name, by ID", history.DriftFilter{Actor: "b-1"}, ""},
			{"an actor who has only an ID", history.DriftFilter{Actor: "z-1"}, "zeta/dev/web"},
			{"an actor is no pattern", history.DriftFilter{Actor: "%"}, ""},
			{"since: seen or resolved then or later", history.DriftFilter{Since: at("11:00")}, "zeta/dev/web, shop, worker, log, memory"},
			{"since, with a limit: the seen before the merely resolved", history.DriftFilter{Since: at("11:00"), Limit: 4}, "zeta/dev/web, shop, worker, log"},
			{"since, with room for both", history.DriftFilter{Since: at("11:00"), Limit: 5}, "zeta/dev/web, shop, worker, log, memory"},
			{"since: later than that", history.DriftFilter{Since: at("11:01")}, "zeta/dev/web"},
			{"until: first seen before", history.DriftFilter{Until: at("11:00")}, "log, memory"},
			{"all at once", history.DriftFilter{Target: "dev", Org: "acme", Space: "acme/dev", OpenOnly: true, Actor: "bob@acme.example", Since: at("10:30"), Until: at("10:30"), Limit: 5}, "log"},
		} {
			s.t.Run(c.name, func(t *testing.T) {
				var got []string
				for _, d := range s.list(c.filter) {
					if !c.filter.Match(d) {
						t.Errorf("DriftFilter.Match disagrees about %s", d.Key())
					}
					got = append(got, nickname(d))
				}
				if strings.Join(got, ", ") != c.want {
					t.Errorf("got %s, want %s", strings.Join(got, ", "), c.want)
				}
			})
		}
	}},
	{"since, with a limit: the newest of those that were merely resolved", func(s *store) {
		s.look("09:00", log)
		s.look("10:00", log, memory, of(memory, worker))
		s.look("11:00", of(log, worker))
		got := s.list(history.DriftFilter{Since: at("10:30"), Limit: 3})
		s.same("listed", keys(got), []string{of(log, worker).Key().String(), of(memory, worker).Key().String(), memory.Key().String()})
	}},
	{"an empty store lists nothing", func(s *store) {
		s.same("drift", len(s.list(history.DriftFilter{})), 0)
	}},
	{"times are kept to the microsecond, in UTC, and none is none", func(s *store) {
		when := at("10:00").Add(123456789 * time.Nanosecond).In(time.FixedZone("CET", 3600))
		opened, _ := s.observe(history.Observation{Target: "dev", At: when, Found: []history.Drift{log}})
		want := at("10:00").Add(123456 * time.Microsecond)
		s.same("returned", opened[0].FirstSeen, want)
		s.same("first seen", s.only().FirstSeen, want)
		if d := s.only(); !d.ResolvedAt.IsZero() || !d.By.At.IsZero() {
			s.t.Errorf("times that never were: %v, %v", d.ResolvedAt, d.By.At)
		}
	}},
}

var manifestOnlyID = platform.Attribution{ActorID: "z-1", At: at("11:59")}

func nickname(d history.Drift) string {
	switch {
	case d.Ref != web:
		if d.Ref.Org() != "acme" {
			return d.Ref.Path
		}
		name, _, _ := strings.Cut(d.Ref.Name(), ".")
		return name
	case d.Path == log.Path:
		return "log"
	}
	return "memory"
}

// resolutions says of every record how it ended, in the order of resources.
func (s *store) resolutions() []string {
	s.t.Helper()
	list := s.list(history.DriftFilter{})
	slices.SortFunc(list, func(a, b history.Drift) int { return strings.Compare(a.Key().String(), b.Key().String()) })
	var out []string
	for _, d := range list {
		how := string(d.Resolution)
		if d.Resolution == history.Open {
			how = "open"
		}
		if d.ResolvedBy != 0 {
			how += " by run " + strconv.FormatInt(d.ResolvedBy, 10)
		}
		out = append(out, d.Key().String()+": "+how)
	}
	return out
}
