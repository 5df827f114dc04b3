package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

const driftColumns = `id, target, kind, path, field, op, declared, live, secret, origin_file, origin_line, origin_column, impact, revision,
	first_seen, last_seen, seen, actor, actor_id, acted_at, event, event_id, note, resolved_at, resolution, resolved_by`

func scanDrift(rows *sql.Rows) (history.Drift, error) {
	var d history.Drift
	var first, last, acted, resolved int64
	err := rows.Scan(&d.ID, &d.Target, &d.Ref.Kind, &d.Ref.Path, &d.Path, &d.Op, &d.Declared, &d.Live, &d.Secret,
		&d.Origin.File, &d.Origin.Line, &d.Origin.Column, &d.Impact, &d.Revision, &first, &last, &d.Seen,
		&d.By.Actor, &d.By.ActorID, &acted, &d.By.Event, &d.By.EventID, &d.By.Note, &resolved, &d.Resolution, &d.ResolvedBy)
	d.FirstSeen, d.LastSeen, d.By.At, d.ResolvedAt = moment(first), moment(last), moment(acted), moment(resolved)
	return d, err
}

// Observe implements history.Store.
func (s *Store) Observe(ctx context.Context, o history.Observation) (opened, ended []history.Drift, err error) {
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	o = storable(o)
	err = s.update(ctx, "recording an observation of target "+o.Target, func(t tx) error {
		if err := t.target(ctx, o.Target); err != nil {
			return err
		}
		open, err := t.open(ctx, o.Target)
		if err != nil {
			return err
		}
		was := make(map[int64]history.Drift, len(open))
		for _, d := range open {
			was[d.ID] = d
		}
		var again []history.Drift
		opened, again, ended = o.Against(open)
		if err := t.end(ctx, ended); err != nil {
			return err
		}
		if err := t.seen(ctx, was, again); err != nil {
			return err
		}
		return t.insert(ctx, opened)
	})
	if err != nil {
		return nil, nil, err
	}
	return opened, ended, nil
}

// storable is the observation as a database gives it back, so that what is returned and compared is
// what is stored.
func storable(o history.Observation) history.Observation {
	o.At = moment(micros(o.At))
	found := make([]history.Drift, len(o.Found))
	for i, d := range o.Found {
		d.Declared, d.Live = text(d.Declared), text(d.Live)
		d.By.At = moment(micros(d.By.At))
		found[i] = d
	}
	o.Found = found
	return o
}

// Resolve implements history.Store.
func (s *Store) Resolve(ctx context.Context, target string, keys []history.Key, how history.Resolution, run int64, at time.Time) ([]history.Drift, error) {
	var ended []history.Drift
	err := s.update(ctx, "resolving drift of target "+target, func(t tx) error {
		if err := t.target(ctx, target); err != nil {
			return err
		}
		open, err := t.open(ctx, target)
		if err != nil {
			return err
		}
		ended = history.Select(open, keys)
		for i, d := range ended {
			ended[i] = d.End(how, run, moment(micros(at)))
		}
		return t.end(ctx, ended)
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// Drift implements history.Store.
func (s *Store) Drift(ctx context.Context, f history.DriftFilter) ([]history.Drift, error) {
	var list []history.Drift
	err := s.view(ctx, "listing drift", func(t tx) error {
		var w where
		w.drift(f)
		if f.Since.IsZero() {
			return t.drift(ctx, &list, w, f.Limit)
		}
		// "Last seen or resolved since" would be an OR that no index serves. But all that was last seen since comes, in
		// the order of the list, before the few that were last seen earlier and only resolved since.
		seen := w.also("last_seen >= ?", micros(f.Since))
		if err := t.drift(ctx, &list, seen, f.Limit); err != nil || f.Limit > 0 && len(list) == f.Limit {
			return err
		}
		// "+ 0" keeps the planner from walking the whole past by last_seen instead of looking up what was resolved.
		late := w.also("id IN (SELECT id FROM drift WHERE resolved_at >= ? AND last_seen + 0 < ?)", micros(f.Since), micros(f.Since))
		return t.drift(ctx, &list, late, max(0, f.Limit-len(list)))
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// drift adds the conditions of the filter, but for Since and Limit.
func (w *where) drift(f history.DriftFilter) {
	if f.Target != "" {
		w.and("target = ?", text(f.Target))
	}
	if f.ID != 0 {
		w.and("id = ?", f.ID)
	}
	if f.OpenOnly {
		w.and("resolution = ''") // in these words the partial indexes are used
	}
	if f.Org != "" {
		w.and("org = ?", text(f.Org))
	}
	if f.Space != "" {
		w.and("space = ?", text(f.Space))
	}
	if f.Ref.Kind != "" {
		w.and("kind = ?", text(f.Ref.Kind))
	}
	if f.Ref.Path != "" {
		w.and("path = ?", text(f.Ref.Path))
	}
	if f.Actor != "" {
		w.and("who <> '' AND who = ?", text(f.Actor)) // likewise
	}
	if !f.Until.IsZero() {
		w.and("first_seen < ?", micros(f.Until))
	}
}

// drift appends what w selects, newest first.
func (t tx) drift(ctx context.Context, list *[]history.Drift, w where, limit int) error {
	query := `SELECT ` + driftColumns + ` FROM drift` + w.String() + ` ORDER BY last_seen DESC, id DESC`
	query += w.limit(limit)
	return t.each(ctx, collect(list), query, w.args...)
}

// who is what people filter actors by.
func who(by platform.Attribution) string { return cmp.Or(by.Actor, by.ActorID) }

func collect(list *[]history.Drift) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		d, err := scanDrift(rows)
		*list = append(*list, d)
		return err
	}
}

func (t tx) open(ctx context.Context, target string) (open []history.Drift, err error) {
	err = t.each(ctx, collect(&open), `SELECT `+driftColumns+` FROM drift WHERE target = ? AND resolution = '' ORDER BY kind, path, field`, text(target))
	return open, err
}

// insert stores new records and gives them their IDs.
func (t tx) insert(ctx context.Context, list []history.Drift) error {
	if len(list) == 0 {
		return nil
	}
	insert, err := t.prepare(ctx, `INSERT INTO drift (target, kind, path, org, space, field, op, declared, live, secret, origin_file, origin_line, origin_column,
		impact, revision, first_seen, last_seen, seen, actor, actor_id, acted_at, event, event_id, note, who, resolved_at, resolution, resolved_by)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0) RETURNING id`)
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	for i := range list {
		d := &list[i]
		err := insert.QueryRowContext(ctx, text(d.Target), text(d.Ref.Kind), text(d.Ref.Path), text(d.Ref.Org()), text(d.Ref.Space()), text(d.Path),
			text(d.Op), text(d.Declared), text(d.Live), flag(d.Secret), text(d.Origin.File), d.Origin.Line, d.Origin.Column, text(d.Impact), text(d.Revision),
			micros(d.FirstSeen), micros(d.LastSeen), d.Seen,
			text(d.By.Actor), text(d.By.ActorID), micros(d.By.At), text(d.By.Event), text(d.By.EventID), text(d.By.Note), text(who(d.By))).Scan(&d.ID)
		if err != nil {
			return err
		}
	}
	return nil
}

// seen stores records that were seen again. Most of the time nothing moved but the clock, which is a
// statement of its own because it is much cheaper.
func (t tx) seen(ctx context.Context, was map[int64]history.Drift, list []history.Drift) error {
	if len(list) == 0 {
		return nil
	}
	tick, err := t.prepare(ctx, `UPDATE drift SET last_seen = ?, seen = ? WHERE id = ?`)
	if err != nil {
		return err
	}
	defer func() { _ = tick.Close() }()
	for _, d := range list {
		same := was[d.ID]
		same.LastSeen, same.Seen = d.LastSeen, d.Seen
		if same == d {
			_, err = tick.ExecContext(ctx, micros(d.LastSeen), d.Seen, d.ID)
		} else {
			_, err = t.exec(ctx, `UPDATE drift SET last_seen = ?, seen = ?, op = ?, declared = ?, live = ?, secret = ?, origin_file = ?, origin_line = ?, origin_column = ?, impact = ?,
				actor = ?, actor_id = ?, acted_at = ?, event = ?, event_id = ?, note = ?, who = ? WHERE id = ?`,
				micros(d.LastSeen), d.Seen, text(d.Op), text(d.Declared), text(d.Live), flag(d.Secret), text(d.Origin.File), d.Origin.Line, d.Origin.Column, text(d.Impact),
				text(d.By.Actor), text(d.By.ActorID), micros(d.By.At), text(d.By.Event), text(d.By.EventID), text(d.By.Note), text(who(d.By)), d.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end stores how records ended.
func (t tx) end(ctx context.Context, list []history.Drift) error {
	if len(list) == 0 {
		return nil
	}
	end, err := t.prepare(ctx, `UPDATE drift SET resolved_at = ?, resolution = ?, resolved_by = ? WHERE id = ?`)
	if err != nil {
		return err
	}
	defer func() { _ = end.Close() }()
	for _, d := range list {
		if _, err := end.ExecContext(ctx, micros(d.ResolvedAt), text(d.Resolution), d.ResolvedBy, d.ID); err != nil {
			return err
		}
	}
	return nil
}
