package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/history"
)

// BeginRun implements history.Store.
func (s *Store) BeginRun(ctx context.Context, r history.Run) (history.Run, error) {
	if r.Target == "" || r.StartedAt.IsZero() {
		return history.Run{}, fmt.Errorf("history store: a run needs a target and the time it started at")
	}
	r.Result, r.EndedAt, r.Steps = history.Running, time.Time{}, nil
	r.StartedAt = moment(micros(r.StartedAt))
	err := s.update(ctx, "beginning a run of target "+r.Target, func(t tx) error {
		if err := t.target(ctx, r.Target); err != nil {
			return err
		}
		return t.row(ctx, `INSERT INTO runs (target, "trigger", mode, revision, author, subject, started_at, ended_at, result, error, requests, changes)
			VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?) RETURNING id`,
			text(r.Target), text(r.Trigger), text(r.Mode), text(r.Revision), text(r.Author), text(r.Subject), micros(r.StartedAt),
			text(r.Result), text(r.Error), r.Requests, r.Changes).Scan(&r.ID)
	})
	if err != nil {
		return history.Run{}, err
	}
	return r, nil
}

// EndRun implements history.Store.
func (s *Store) EndRun(ctx context.Context, r history.Run) error {
	doing := fmt.Sprintf("ending run %d of target %s", r.ID, r.Target)
	if r.EndedAt.IsZero() || r.Result == history.Running || r.Result == "" {
		return fmt.Errorf("history store: %s: a run that has ended needs a result and the time it ended at", doing)
	}
	return s.update(ctx, doing, func(t tx) error {
		done, err := t.exec(ctx, `UPDATE runs SET "trigger" = ?, mode = ?, revision = ?, author = ?, subject = ?, ended_at = ?, result = ?, error = ?, requests = ?, changes = ?
			WHERE id = ?`,
			text(r.Trigger), text(r.Mode), text(r.Revision), text(r.Author), text(r.Subject), micros(r.EndedAt), text(r.Result), text(r.Error), r.Requests, r.Changes, r.ID)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = history.ErrNotFound
			}
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM steps WHERE run = ?`, r.ID); err != nil {
			return err
		}
		if len(r.Steps) == 0 {
			return nil
		}
		insert, err := t.prepare(ctx, `INSERT INTO steps (run, position, kind, path, phase, changes, impact, error, duration_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		defer func() { _ = insert.Close() }()
		for i, st := range r.Steps {
			if _, err := insert.ExecContext(ctx, r.ID, i, text(st.Ref.Kind), text(st.Ref.Path), text(st.Phase), st.Changes, text(st.Impact), text(st.Error), int64(st.Duration)); err != nil {
				return err
			}
		}
		return nil
	})
}

// AbandonRuns implements history.Store.
func (s *Store) AbandonRuns(ctx context.Context, target, why string, at time.Time) (int, error) {
	var n int64
	err := s.update(ctx, "abandoning unfinished runs of target "+target, func(t tx) error {
		if err := t.target(ctx, target); err != nil {
			return err
		}
		done, err := t.exec(ctx, `UPDATE runs SET ended_at = ?, result = ?, error = ? WHERE target = ? AND result = ?`,
			micros(at), text(history.Abandoned), text(why), text(target), text(history.Running))
		if err != nil {
			return err
		}
		n, err = done.RowsAffected()
		return err
	})
	return int(n), err
}

// Runs implements history.Store.
func (s *Store) Runs(ctx context.Context, f history.RunFilter) ([]history.Run, error) {
	var w where
	if f.Target != "" {
		w.and("target = ?", text(f.Target))
	}
	if f.ID != 0 {
		w.and("id = ?", f.ID)
	}
	if !f.Since.IsZero() {
		w.and("started_at >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		w.and("started_at < ?", micros(f.Until))
	}
	if f.Result != "" {
		w.and("result = ?", text(f.Result))
	}
	query := `SELECT id, target, "trigger", mode, revision, author, subject, started_at, ended_at, result, error, requests, changes FROM runs` +
		w.String() + ` ORDER BY id DESC` + w.limit(f.Limit)

	var runs []history.Run
	err := s.view(ctx, "listing runs", func(t tx) error {
		err := t.each(ctx, func(rows *sql.Rows) error {
			var r history.Run
			var started, ended int64
			if err := rows.Scan(&r.ID, &r.Target, &r.Trigger, &r.Mode, &r.Revision, &r.Author, &r.Subject, &started, &ended, &r.Result, &r.Error, &r.Requests, &r.Changes); err != nil {
				return err
			}
			r.StartedAt, r.EndedAt = moment(started), moment(ended)
			runs = append(runs, r)
			return nil
		}, query, w.args...)
		if err != nil {
			return err
		}
		return t.steps(ctx, runs)
	})
	if err != nil {
		return nil, err
	}
	return runs, nil
}

// steps fills in the steps of the runs.
func (t tx) steps(ctx context.Context, runs []history.Run) error {
	const atOnce = 500 // well below SQLite's 32,766 and PostgreSQL's 65,535 parameters a statement
	for from := 0; from < len(runs); from += atOnce {
		part := runs[from:min(from+atOnce, len(runs))]
		byID := make(map[int64]*history.Run, len(part))
		args := make([]any, len(part))
		for i := range part {
			byID[part[i].ID], args[i] = &part[i], part[i].ID
		}
		err := t.each(ctx, func(rows *sql.Rows) error {
			var run int64
			var st history.Step
			if err := rows.Scan(&run, &st.Ref.Kind, &st.Ref.Path, &st.Phase, &st.Changes, &st.Impact, &st.Error, &st.Duration); err != nil {
				return err
			}
			byID[run].Steps = append(byID[run].Steps, st)
			return nil
		}, `SELECT run, kind, path, phase, changes, impact, error, duration_ns FROM steps WHERE run IN (?`+strings.Repeat(", ?", len(part)-1)+`) ORDER BY run, position`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}
