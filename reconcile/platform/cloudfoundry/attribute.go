package cloudfoundry

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

var _ platform.Attributor = (*Driver)(nil)

// Attribute finds in the audit events of the changed spaces since a moment who made live state what it is. It costs
// one request, however many changes there are (and one more per 200 spaces).
//
// An event counts as far as it tells: best is one that sets the field to its live value, then one that
// names the field, then one that may have touched it (the controller hides environment variables). Among
// equals the latest one by somebody else than our own user wins, for our own user mostly appears because
// Fettle healed the field before; if there is nobody else, our own user is named, who may be a person with our
// credentials. What is uncertain stands in the Note; attribute_rules.go says which events explain which field.
func (d *Driver) Attribute(ctx context.Context, obs platform.Observation, changes []diff.Change, since time.Time) ([]platform.Attribution, error) {
	cases := make([]explanation, len(changes))
	var types, spaces []string
	for i, c := range changes {
		cases[i] = explanationOf(c, obs)
		for _, r := range cases[i].rules {
			types = append(types, r.types...)
		}
		if guid := obs.IDs[manifest.Ref{Kind: manifest.KindSpace, Path: c.Ref.Space()}]; guid != "" {
			spaces = append(spaces, guid)
		}
	}
	found := make([]platform.Attribution, len(changes))
	if len(spaces) == 0 {
		for i := range found {
			found[i].Note = "the space was not read"
		}
		return found, nil
	}
	me, err := d.Identity(ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{"order_by": {"created_at"}, "types": {ccv3.Filter(unique(types)...)}}
	if !since.IsZero() {
		query.Set("created_ats[gte]", since.UTC().Format(time.RFC3339)) // whole seconds, as the events have
	}
	list, _, err := ccv3.ListBy[ccv3.AuditEvent](ctx, d.client, "/v3/audit_events", query, "space_guids", unique(spaces))
	if err != nil {
		return nil, explain(manifest.Ref{}, "reading the audit events", err)
	}
	slices.SortStableFunc(list, func(a, b ccv3.AuditEvent) int { return a.CreatedAt.Compare(b.CreatedAt) })
	events := make([]*event, len(list))
	for i, e := range list {
		events[i] = newEvent(e)
	}
	for i := range cases {
		found[i] = cases[i].judge(events, me.GUID, since)
	}
	return found, nil
}

// clue is how much an event tells about a change.
type clue int

const (
	nothing clue = iota
	possible
	named
	proven
)

// rule says which events may explain a change, and how well.
type rule struct {
	types []string
	match func(*event) clue
	note  string // what remains uncertain when the event is no more than possible
}

// explanation is what may explain one change.
type explanation struct {
	space  string // guid
	rules  []rule
	silent string // why there may be no event at all
}

// witness is an event that may explain a change.
type witness struct {
	*event
	order int
	clue  clue
	note  string
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// judge picks the event that explains best.
func (x explanation) judge(events []*event, me string, since time.Time) platform.Attribution {
	var all []witness
	for i, e := range events {
		if e.Space != nil && e.Space.GUID != x.space {
			continue
		}
		best := witness{event: e, order: i}
		for _, r := range x.rules {
			if !slices.Contains(r.types, e.Type) {
				continue
			}
			if c := r.match(e); c > best.clue {
				best.clue, best.note = c, ""
				if c == possible {
					best.note = r.note
				}
			}
		}
		if best.clue > nothing {
			all = append(all, best)
		}
	}
	// Where an edit may leave no event, what we did ourselves before it explains nothing.
	if !slices.ContainsFunc(all, func(w witness) bool { return x.silent == "" || w.Actor.GUID != me || w.clue == proven }) {
		note := "no audit event explains it"
		if !since.IsZero() {
			note = "no audit event since " + since.UTC().Format(time.RFC3339) + " explains it"
		}
		if x.silent != "" {
			note += ": " + x.silent
		}
		return platform.Attribution{Note: note}
	}
	best := slices.MaxFunc(all, func(a, b witness) int {
		return cmp.Or(
			cmp.Compare(rank(a.clue == proven), rank(b.clue == proven)), // certainty outweighs who it was
			cmp.Compare(rank(a.Actor.GUID != me), rank(b.Actor.GUID != me)),
			cmp.Compare(a.clue, b.clue),
			a.CreatedAt.Compare(b.CreatedAt),
			cmp.Compare(a.order, b.order), // several events in one second
		)
	})
	at := platform.Attribution{Actor: best.Actor.Name, ActorID: best.Actor.GUID, At: best.CreatedAt, Event: best.Type, EventID: best.GUID}
	at.Note = strings.Join(x.notes(best, all, me), "; ")
	return at
}

// notes says what is uncertain about the choice.
func (x explanation) notes(best witness, all []witness, me string) []string {
	var notes []string
	if best.note != "" {
		notes = append(notes, best.note)
	}
	if best.Actor.GUID == me {
		notes = append(notes, "made as the user that Fettle runs as")
	}
	if best.clue == proven {
		return notes
	}
	// Others who may have done it as well, latest first.
	seen := map[string]bool{best.Actor.GUID: true, me: true}
	for _, w := range slices.Backward(all) {
		if !seen[w.Actor.GUID] {
			seen[w.Actor.GUID] = true
			notes = append(notes, fmt.Sprintf("%s may have done it too (%s at %s)", actorName(w.Actor), w.Type, w.CreatedAt.UTC().Format(time.RFC3339)))
		}
	}
	return notes
}

func actorName(actor ccv3.Target) string {
	if actor.Name != "" {
		return actor.Name
	}
	return actor.GUID
}
