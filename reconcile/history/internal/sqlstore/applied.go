package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
)

// Applied implements history.Store.
func (s *Store) Applied(ctx context.Context, target string) (history.Applied, error) {
	a := history.Applied{Entries: map[manifest.Ref]map[string]string{}}
	err := s.view(ctx, "reading what was applied to target "+target, func(t tx) error {
		err := t.row(ctx, `SELECT revision FROM targets WHERE target = ?`, text(target)).Scan(&a.Revision)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return t.each(ctx, func(rows *sql.Rows) error {
			var ref manifest.Ref
			var field, digest string
			if err := rows.Scan(&ref.Kind, &ref.Path, &field, &digest); err != nil {
				return err
			}
			if a.Entries[ref] == nil {
				a.Entries[ref] = map[string]string{}
			}
			a.Entries[ref][field] = digest
			return nil
		}, `SELECT kind, path, field, digest FROM applied WHERE target = ?`, text(target))
	})
	if err != nil {
		return history.Applied{}, err
	}
	return a, nil
}

// SetApplied implements history.Store.
func (s *Store) SetApplied(ctx context.Context, target, revision string, entries map[manifest.Ref]map[string]string) error {
	return s.update(ctx, "remembering what was applied to target "+target, func(t tx) error {
		if err := t.target(ctx, target); err != nil {
			return err
		}
		if revision != "" {
			if _, err := t.exec(ctx, `UPDATE targets SET revision = ? WHERE target = ?`, text(revision), text(target)); err != nil {
				return err
			}
		}
		insert, err := t.prepare(ctx, `INSERT INTO applied (target, kind, path, field, digest) VALUES (?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		defer func() { _ = insert.Close() }()
		for ref, fields := range entries {
			if err := t.forget(ctx, target, ref); err != nil {
				return err
			}
			for field, digest := range fields {
				if _, err := insert.ExecContext(ctx, text(target), text(ref.Kind), text(ref.Path), text(field), text(digest)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// ForgetApplied implements history.Store.
func (s *Store) ForgetApplied(ctx context.Context, target string, refs []manifest.Ref) error {
	return s.update(ctx, "forgetting what was applied to target "+target, func(t tx) error {
		if err := t.target(ctx, target); err != nil {
			return err
		}
		for _, ref := range refs {
			if err := t.forget(ctx, target, ref); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t tx) forget(ctx context.Context, target string, ref manifest.Ref) error {
	_, err := t.exec(ctx, `DELETE FROM applied WHERE target = ? AND kind = ? AND path = ?`, text(target), text(ref.Kind), text(ref.Path))
	return err
}

// Quarantine implements history.Store.
func (s *Store) Quarantine(ctx context.Context, q history.Quarantine) error {
	return s.update(ctx, "quarantining "+q.Ref.String()+" of target "+q.Target, func(t tx) error {
		if err := t.target(ctx, q.Target); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO quarantine (target, kind, path, digest, revision, reason, since, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (target, kind, path) DO UPDATE SET digest = excluded.digest, revision = excluded.revision, reason = excluded.reason,
				since = excluded.since, run = excluded.run`,
			text(q.Target), text(q.Ref.Kind), text(q.Ref.Path), text(q.Digest), text(q.Revision), text(q.Reason), micros(q.Since), q.Run)
		return err
	})
}

// Quarantined implements history.Store.
func (s *Store) Quarantined(ctx context.Context, target string) ([]history.Quarantine, error) {
	var w where
	if target != "" {
		w.and("target = ?", text(target))
	}
	var list []history.Quarantine
	err := s.view(ctx, "listing quarantined declarations", func(t tx) error {
		return t.each(ctx, func(rows *sql.Rows) error {
			var q history.Quarantine
			var since int64
			if err := rows.Scan(&q.Target, &q.Ref.Kind, &q.Ref.Path, &q.Digest, &q.Revision, &q.Reason, &since, &q.Run); err != nil {
				return err
			}
			q.Since = moment(since)
			list = append(list, q)
			return nil
		}, `SELECT target, kind, path, digest, revision, reason, since, run FROM quarantine`+w.String()+` ORDER BY target, kind, path`, w.args...)
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Release implements history.Store.
func (s *Store) Release(ctx context.Context, target string, ref manifest.Ref) error {
	return s.update(ctx, "releasing "+ref.String()+" of target "+target, func(t tx) error {
		_, err := t.exec(ctx, `DELETE FROM quarantine WHERE target = ? AND kind = ? AND path = ?`, text(target), text(ref.Kind), text(ref.Path))
		return err
	})
}

// NextDue implements history.Store.
func (s *Store) NextDue(ctx context.Context, target string) (time.Time, error) {
	var due int64
	err := s.view(ctx, "reading the schedule of target "+target, func(t tx) error {
		err := t.row(ctx, `SELECT next_due FROM targets WHERE target = ?`, text(target)).Scan(&due)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return moment(due), err
}

// SetNextDue implements history.Store.
func (s *Store) SetNextDue(ctx context.Context, target string, at time.Time) error {
	return s.update(ctx, "setting the schedule of target "+target, func(t tx) error {
		_, err := t.exec(ctx, `INSERT INTO targets (target, next_due) VALUES (?, ?) ON CONFLICT (target) DO UPDATE SET next_due = excluded.next_due`, text(target), micros(at))
		return err
	})
}
