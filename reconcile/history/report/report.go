// Package report tells what the record holds, to people in the morning and to machines at any time: what is out
// of sync now, what became of the rest, who caused how much, what is held back, and which runs failed.
//
// [Build] computes a [Report] from a store; [Text], [Markdown] and [JSON] draw it and decide nothing. It never
// writes to the store and never reads a clock. Secrets are digests in the store already, and even
// those are shown as "(secret)". Everything that somebody else wrote (names, values, errors) is made
// harmless for the format that it is drawn in.
package report

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Report is what the record says of a period. Times are in the location of the time that it was built for.
type Report struct {
	About     string     `json:"about"`         // "everything", "target dev", "space acme/dev, by alice"
	From      time.Time  `json:"from,omitzero"` // zero: from the beginning
	To        time.Time  `json:"to"`
	LastRun   time.Time  `json:"last_run,omitzero"` // zero: there never was one
	Counts    Counts     `json:"counts"`
	OutOfSync []Resource `json:"out_of_sync"` // as of To; by target, then by resource
	Ended     []Entry    `json:"ended"`       // in the period; newest first
	Actors    []Actor    `json:"actors"`      // who caused the above; most edits first, nobody known last
	Held      []Held     `json:"quarantined"`
	Failures  []Failure  `json:"failed_runs"` // newest first
}

// Counts is the report in figures.
type Counts struct {
	OutOfSync    int     `json:"out_of_sync"` // fields
	Resources    int     `json:"resources"`   // that are out of sync
	Found        int     `json:"found"`       // edits first seen in the period
	Healed       int     `json:"healed"`
	Accepted     int     `json:"accepted"`
	ChangedBack  int     `json:"changed_back"`
	Gone         int     `json:"gone"`
	TimeToHeal   Seconds `json:"median_time_to_heal_seconds,omitzero"` // from the edit until healed; the median
	Quarantined  int     `json:"quarantined"`
	FailedRuns   int     `json:"failed_runs"`
	UnknownActor int     `json:"unknown_actor"` // records of which nobody knows who did it
}

// Resource is one resource of one target that is out of sync.
type Resource struct {
	Target   string       `json:"target"`
	Resource manifest.Ref `json:"-"`
	Name     string       `json:"resource"`
	Fields   []Entry      `json:"fields"`
}

// Entry is one drift record, as a report shows it.
type Entry struct {
	history.Drift `json:"-"`
	Lasted        time.Duration `json:"-"`
}

// Actor is how much one user caused.
type Actor struct {
	Name      string `json:"name"` // "" where nobody is known
	Edits     int    `json:"edits"`
	Open      int    `json:"open"`
	Resources int    `json:"resources"`
}

// Held is one declaration that is held back.
type Held struct {
	history.Quarantine
}

// Failure is runs of one target that failed for one reason.
type Failure struct {
	Target   string    `json:"target"`
	Error    string    `json:"error"`
	Times    int       `json:"times"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Run      int64     `json:"last_run"`
	Revision string    `json:"revision,omitempty"`
}

// Seconds is a duration that machines read as a number.
type Seconds time.Duration

// MarshalJSON writes whole seconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(int64(time.Duration(s).Round(time.Second) / time.Second))
}

// Build reads what the store holds of the filter's records. The period is from filter.Since (zero: from the
// beginning) until filter.Until (zero: now). Of a period that is over, it says what was out of sync at its end.
func Build(ctx context.Context, store history.Store, filter history.DriftFilter, now time.Time) (Report, error) {
	r := Report{About: about(filter), From: filter.Since, To: now}
	if !filter.Until.IsZero() && filter.Until.Before(now) {
		r.To = filter.Until
	}
	zone := now.Location()
	r.From, r.To = local(r.From, zone), local(r.To, zone)

	records, err := r.records(ctx, store, filter)
	if err != nil {
		return Report{}, err
	}
	for i := range records {
		d := &records[i]
		for _, t := range []*time.Time{&d.FirstSeen, &d.LastSeen, &d.ResolvedAt, &d.By.At} {
			*t = local(*t, zone)
		}
		r.count(*d)
	}
	r.OutOfSync = r.openResources(records)
	r.Ended = r.ended(records)
	r.Actors = actors(records)
	r.Counts.TimeToHeal = Seconds(r.timeToHeal())

	if err := r.runs(ctx, store, filter, zone); err != nil {
		return Report{}, err
	}
	return r, nil
}

// records are those that were open at the end of the period and those that ended in it.
func (r *Report) records(ctx context.Context, store history.Store, f history.DriftFilter) ([]history.Drift, error) {
	f.Until, f.Limit = r.To.Add(time.Microsecond), 0 // what was first seen at this very moment belongs to it
	list, err := store.Drift(ctx, f)
	if err != nil {
		return nil, err
	}
	// Open records that were not seen in the period (their target could not be looked at) are out of sync all the same.
	f.Since, f.OpenOnly = time.Time{}, true
	open, err := store.Drift(ctx, f)
	if err != nil {
		return nil, err
	}
	known := make(map[int64]bool, len(list))
	for _, d := range list {
		known[d.ID] = true
	}
	for _, d := range open {
		if !known[d.ID] {
			list = append(list, d)
		}
	}
	for i, d := range list {
		if d.ResolvedAt.After(r.To) {
			list[i].Resolution, list[i].ResolvedAt, list[i].ResolvedBy = history.Open, time.Time{}, 0
		}
	}
	return slices.DeleteFunc(list, func(d history.Drift) bool { return d.Resolution != history.Open && d.ResolvedAt.Before(r.From) }), nil
}

func (r *Report) count(d history.Drift) {
	c := &r.Counts
	if !d.FirstSeen.Before(r.From) {
		c.Found++
	}
	if !d.By.Known() {
		c.UnknownActor++
	}
	switch d.Resolution {
	case history.Open:
		c.OutOfSync++
	case history.Healed:
		c.Healed++
	case history.Accepted:
		c.Accepted++
	case history.ChangedBack:
		c.ChangedBack++
	case history.Gone:
		c.Gone++
	}
}

func (r *Report) openResources(records []history.Drift) []Resource {
	open := slices.DeleteFunc(slices.Clone(records), func(d history.Drift) bool { return d.Resolution != history.Open })
	slices.SortFunc(open, func(a, b history.Drift) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), a.Ref.Compare(b.Ref), cmp.Compare(a.Path, b.Path))
	})
	all := []Resource{}
	for _, d := range open {
		if n := len(all); n == 0 || all[n-1].Target != d.Target || all[n-1].Resource != d.Ref {
			all = append(all, Resource{Target: d.Target, Resource: d.Ref, Name: d.Ref.String()})
		}
		last := &all[len(all)-1]
		last.Fields = append(last.Fields, Entry{d, d.Lasted(r.To)})
	}
	r.Counts.Resources = len(all)
	return all
}

func (r *Report) ended(records []history.Drift) []Entry {
	all := []Entry{}
	for _, d := range records {
		if d.Resolution != history.Open {
			all = append(all, Entry{d, d.Lasted(r.To)})
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(b.ResolvedAt.Compare(a.ResolvedAt), cmp.Compare(b.ID, a.ID)) })
	return all
}

func (r *Report) timeToHeal() time.Duration {
	var took []time.Duration
	for _, e := range r.Ended {
		if e.Resolution == history.Healed {
			took = append(took, e.Lasted)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func actors(records []history.Drift) []Actor {
	type place struct {
		actor  string
		target string
		ref    manifest.Ref
	}
	byName, places := map[string]*Actor{}, map[place]bool{}
	for _, d := range records {
		name := cmp.Or(d.By.Actor, d.By.ActorID)
		a := byName[name]
		if a == nil {
			a = &Actor{Name: name}
			byName[name] = a
		}
		a.Edits++
		if d.Resolution == history.Open {
			a.Open++
		}
		if p := (place{name, d.Target, d.Ref}); !places[p] {
			places[p] = true
			a.Resources++
		}
	}
	all := []Actor{}
	for _, a := range byName {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b Actor) int {
		if (a.Name == "") != (b.Name == "") {
			return -cmp.Compare(a.Name, "") // the nameless last
		}
		return cmp.Or(cmp.Compare(b.Edits, a.Edits), cmp.Compare(b.Open, a.Open), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// runs fills in what is known of runs and quarantined declarations. They have no actor: a report about one user has none.
func (r *Report) runs(ctx context.Context, store history.Store, f history.DriftFilter, zone *time.Location) error {
	r.Held, r.Failures = []Held{}, []Failure{}
	last, err := store.Runs(ctx, history.RunFilter{Target: f.Target, Until: r.To.Add(time.Microsecond), Limit: 1})
	if err != nil {
		return err
	}
	for _, run := range last {
		r.LastRun = local(run.StartedAt, zone)
	}
	if f.Actor != "" {
		return nil
	}
	held, err := store.Quarantined(ctx, f.Target)
	if err != nil {
		return err
	}
	for _, q := range held {
		if selects(f, q.Ref) && !q.Since.After(r.To) {
			q.Since = local(q.Since, zone)
			r.Held = append(r.Held, Held{q})
		}
	}
	failed, err := store.Runs(ctx, history.RunFilter{Target: f.Target, Result: history.Failed, Since: r.From, Until: r.To.Add(time.Microsecond)})
	if err != nil {
		return err
	}
	type reason struct{ target, err string }
	at := map[reason]int{}
	for _, run := range failed { // newest first
		if !failedIn(f, run) {
			continue
		}
		r.Counts.FailedRuns++
		why, started := reason{run.Target, run.Error}, local(run.StartedAt, zone)
		if i, ok := at[why]; ok {
			r.Failures[i].Times++
			r.Failures[i].First = started
			continue
		}
		at[why] = len(r.Failures)
		r.Failures = append(r.Failures, Failure{Target: run.Target, Error: run.Error, Times: 1, First: started, Last: started, Run: run.ID, Revision: run.Revision})
	}
	r.Counts.Quarantined = len(r.Held)
	return nil
}

// failedIn says whether the run failed in what the filter selects, or failed before it could tell.
func failedIn(f history.DriftFilter, run history.Run) bool {
	told := false
	for _, s := range run.Steps {
		if s.Phase == platform.Failed {
			told = true
			if selects(f, s.Ref) {
				return true
			}
		}
	}
	return !told
}

// selects says whether the filter is about the resource.
func selects(f history.DriftFilter, ref manifest.Ref) bool {
	return history.DriftFilter{Org: f.Org, Space: f.Space, Ref: f.Ref}.Match(history.Drift{Ref: ref})
}

func about(f history.DriftFilter) string {
	var parts []string
	add := func(what, name string) {
		if name != "" {
			parts = append(parts, strings.TrimSpace(what+" "+name))
		}
	}
	add("target", f.Target)
	add("org", f.Org)
	add("space", f.Space)
	if f.Ref != (manifest.Ref{}) {
		add("", strings.TrimSpace(f.Ref.String()))
	}
	add("changed by", f.Actor)
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

func local(t time.Time, zone *time.Location) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(zone)
}

// JSON writes the report for machines. It has every record, where the drawings for people stop at a number that
// people read.
func JSON(w io.Writer, r Report) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// MarshalJSON writes the record as a report shows it: no digest of a secret leaves the store.
func (e Entry) MarshalJSON() ([]byte, error) {
	show := func(value string) any {
		switch {
		case value == "":
			return nil
		case e.Secret:
			return diff.Hidden
		case json.Valid([]byte(value)):
			return json.RawMessage(value)
		}
		return value
	}
	return json.Marshal(struct {
		ID         int64                `json:"id"`
		Target     string               `json:"target"`
		Resource   string               `json:"resource"`
		Field      string               `json:"field"` // JSON pointer, "" is the whole resource
		Op         diff.Op              `json:"op"`
		Declared   any                  `json:"declared"`
		Live       any                  `json:"live"`
		Secret     bool                 `json:"secret,omitempty"`
		Origin     manifest.Origin      `json:"origin,omitzero"`
		Impact     string               `json:"impact,omitempty"`
		Revision   string               `json:"revision,omitempty"`
		Since      time.Time            `json:"since"`
		FirstSeen  time.Time            `json:"first_seen"`
		LastSeen   time.Time            `json:"last_seen"`
		Seen       int                  `json:"seen"`
		By         platform.Attribution `json:"by,omitzero"`
		Lasted     Seconds              `json:"lasted_seconds"`
		Resolution history.Resolution   `json:"resolution,omitempty"`
		ResolvedAt time.Time            `json:"resolved_at,omitzero"`
		ResolvedBy int64                `json:"resolved_by_run,omitempty"`
	}{
		e.ID, e.Target, e.Ref.String(), e.Path, e.Op, show(e.Declared), show(e.Live), e.Secret, e.Origin, e.Impact, e.Revision,
		e.Since(), e.FirstSeen, e.LastSeen, e.Seen, e.By, Seconds(e.Lasted), e.Resolution, e.ResolvedAt, e.ResolvedBy,
	})
}

// MarshalJSON writes what is held back and why.
func (h Held) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Target   string    `json:"target"`
		Resource string    `json:"resource"`
		Reason   string    `json:"reason"`
		Revision string    `json:"revision,omitempty"`
		Since    time.Time `json:"since"`
		Run      int64     `json:"run,omitempty"`
	}{h.Target, h.Ref.String(), h.Reason, h.Revision, h.Since, h.Run})
}
