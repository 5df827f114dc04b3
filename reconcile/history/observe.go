package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// DigestPrefix begins what a store is given in place of a secret value.
const DigestPrefix = "digest:"

// NoteMovedOn stands in an attribution that tells who made an earlier live value, where nobody knows who made the
// present one.
const NoteMovedOn = "the live value moved on after this edit; by whom is not known"

// Covers reports whether o is k itself or lies below it: the key of a resource ("") covers all its fields.
func (k Key) Covers(o Key) bool {
	return k.Ref == o.Ref && (k.Path == o.Path || strings.HasPrefix(o.Path, k.Path+"/"))
}

// String reads "app acme/dev/web /processes/web/instances".
func (k Key) String() string { return strings.TrimSpace(k.Ref.String() + " " + k.Path) }

// up calls found for k and then for each key that covers it, the nearest first, until one says true.
func (k Key) up(found func(Key) bool) bool {
	for {
		if found(k) {
			return true
		}
		if k.Path == "" {
			return false
		}
		k.Path = k.Path[:max(0, strings.LastIndexByte(k.Path, '/'))]
	}
}

// Check refuses an observation that no store may write: one without a target or a time, or one that
// brings a secret in the open. The error never quotes a value.
func (o Observation) Check() error {
	switch {
	case o.Target == "":
		return errors.New("an observation needs the name of its target")
	case o.At.IsZero():
		return fmt.Errorf("the observation of target %s needs the time it was made at", o.Target)
	}
	for _, d := range o.Found {
		if d.Secret && !(digest(d.Declared) && digest(d.Live)) {
			return fmt.Errorf("target %s: %s is secret, but its value is no digest: a history store never holds a secret", o.Target, d.Key())
		}
	}
	return nil
}

func digest(value string) bool {
	// A digest arrives as it is or as a JSON string; "" and null are absent values.
	return value == "" || value == "null" || strings.HasPrefix(strings.TrimPrefix(value, `"`), DigestPrefix)
}

// Against compares what was found with the open records of the target and says what the record becomes:
// which drift is new, which was seen again, which has ended. It is what every store does inside its
// transaction; opened records have no ID yet.
//
// Records below an Unseen key stay as they are. So does a record that was seen later than this
// observation was made: an old look says nothing about it.
func (o Observation) Against(open []Drift) (opened, again, ended []Drift) {
	found := make(map[Key]Drift, len(o.Found))
	for _, d := range o.Found {
		found[d.Key()] = d
	}
	unseen := make(map[Key]bool, len(o.Unseen))
	for _, k := range o.Unseen {
		unseen[k] = true
	}
	for _, d := range open {
		k := d.Key()
		if f, ok := found[k]; ok {
			delete(found, k)
			again = append(again, o.seenAgain(d, f))
			continue
		}
		if o.At.Before(d.LastSeen) || k.up(func(k Key) bool { return unseen[k] }) {
			continue
		}
		ended = append(ended, o.end(d, found))
	}
	for _, f := range found {
		f.Target, f.Revision = o.Target, o.Revision
		f.FirstSeen, f.LastSeen, f.Seen = o.At, o.At, 1
		f.ID, f.ResolvedAt, f.Resolution, f.ResolvedBy = 0, time.Time{}, Open, 0
		opened = append(opened, f)
	}
	byKey := func(a, b Drift) int {
		if c := a.Ref.Compare(b.Ref); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	}
	slices.SortFunc(opened, byKey)
	slices.SortFunc(ended, byKey)
	return opened, again, ended
}

// seenAgain brings an open record up to date: what Git declares and what lives may both have moved.
func (o Observation) seenAgain(d, f Drift) Drift {
	d.Seen++
	if o.At.Before(d.LastSeen) {
		return d
	}
	moved := d.Live != f.Live
	d.LastSeen = o.At
	d.Op, d.Declared, d.Live, d.Secret, d.Origin, d.Impact = f.Op, f.Declared, f.Live, f.Secret, f.Origin, f.Impact
	d.By = betterAttribution(d.By, f.By, moved)
	return d
}

// betterAttribution never trades a name for none. A second name counts only when the live value moved (or had
// moved before, and nobody knew by whom): otherwise somebody who merely touched the resource would get
// the blame for an edit of another.
func betterAttribution(had, got platform.Attribution, moved bool) platform.Attribution {
	switch {
	case !had.Known():
		if got == (platform.Attribution{}) {
			return had
		}
		return got
	case got.Known() && (moved || had.Note == NoteMovedOn) && got.EventID+got.Actor+got.ActorID != had.EventID+had.Actor+had.ActorID:
		if got.At.Before(had.At) {
			return had
		}
		return got
	case moved && !got.Known():
		had.Note = NoteMovedOn
	}
	return had
}

func (o Observation) end(d Drift, found map[Key]Drift) Drift {
	how := ChangedBack
	if !d.Key().up(func(k Key) bool {
		if r := o.Ended[k]; r != Open {
			how = r
			return true
		}
		return false
	}) && d.Key().up(func(k Key) bool { return k != d.Key() && found[k].Op == "add" }) {
		// What carried the field was deleted, which is a drift of its own: nobody changed the field back.
		how = Gone
	}
	run := o.Run
	if how == ChangedBack {
		run = 0
	}
	return d.End(how, run, o.At)
}

// End is the record as it stands after it was resolved.
func (d Drift) End(how Resolution, run int64, at time.Time) Drift {
	if at.Before(d.LastSeen) {
		at = d.LastSeen
	}
	d.Resolution, d.ResolvedBy, d.ResolvedAt = how, run, at
	return d
}

// Lasted is how long the drift stood, as far as observations tell: from the edit where its time is known, else from
// when it was first seen, until it was resolved, or until now.
func (d Drift) Lasted(now time.Time) time.Duration {
	if d.Resolution != Open {
		now = d.ResolvedAt
	}
	return max(0, now.Sub(d.Since()))
}

// Since is when the drift began: the time of the edit where the platform told it, else when it was first seen.
func (d Drift) Since() time.Time {
	if !d.By.At.IsZero() && d.By.At.Before(d.FirstSeen) {
		return d.By.At
	}
	return d.FirstSeen
}

// State classifies why a store failed.
type State string

// The states a store can be in, other than fine. In each of them nothing was written by the failed call, and
// nothing more should be applied to a platform, for it could not be remembered.
const (
	Unreachable State = "unreachable"  // no such folder, no connection, no rights
	ReadOnly    State = "read-only"    // it can be read and not written
	Full        State = "full"         // the disk is full
	Corrupt     State = "corrupt"      // the file is damaged, or is no database
	Foreign     State = "foreign"      // a sound database that belongs to another program
	Newer       State = "newer schema" // written by a newer Fettle
	Busy        State = "busy"         // another process kept it locked for too long
)

// Error says which store is in which state, what it was doing, why, and what to do next.
type Error struct {
	Store string // for people, without any credential: "/var/lib/fettle/history.db"
	State State  // "" where it is none of them
	Doing string // "recording an observation of target shop"
	Err   error  // the cause; never holds a credential
	Hint  string // what a person can do
}

// Error reads "history store /x/history.db: recording an observation of target shop: full: … (free some space …)".
func (e *Error) Error() string {
	s := "history store " + e.Store + ": " + e.Doing
	if e.State != "" {
		s += ": " + string(e.State)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Match reports whether the filter selects the record. Stores answer in SQL; this is what their answer means.
func (f DriftFilter) Match(d Drift) bool {
	switch {
	case f.Target != "" && f.Target != d.Target,
		f.ID != 0 && f.ID != d.ID,
		f.OpenOnly && d.Resolution != Open,
		f.Org != "" && f.Org != d.Ref.Org(),
		f.Space != "" && f.Space != d.Ref.Space(),
		f.Ref.Kind != "" && f.Ref.Kind != d.Ref.Kind,
		f.Ref.Path != "" && f.Ref.Path != d.Ref.Path,
		f.Actor != "" && f.Actor != d.By.Actor && (d.By.Actor != "" || f.Actor != d.By.ActorID),
		!f.Since.IsZero() && d.LastSeen.Before(f.Since) && d.ResolvedAt.Before(f.Since),
		!f.Until.IsZero() && !d.FirstSeen.Before(f.Until):
		return false
	}
	return true
}

// Select gives the records that one of the keys covers, in order.
func Select(open []Drift, keys []Key) []Drift {
	want := make(map[Key]bool, len(keys))
	for _, k := range keys {
		want[k] = true
	}
	var selected []Drift
	for _, d := range open {
		if d.Key().up(func(k Key) bool { return want[k] }) {
			selected = append(selected, d)
		}
	}
	return selected
}
