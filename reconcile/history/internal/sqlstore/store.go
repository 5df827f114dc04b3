// Package sqlstore is the part of a history store that every SQL dialect shares: the statements, and how
// rows become records. A dialect opens the database, brings its schema up to date, and
// explains its errors; it adds nothing to what is said here.
//
// The statements keep to what SQLite and PostgreSQL both understand (RETURNING, ON CONFLICT). Every
// writing transaction begins by touching the row of its target, so that in either dialect writers of one target
// take turns and a transaction that reads records before it writes them sees nothing move in between.
//
// It never opens a connection, never reads a clock, and never retries.
package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/history"
)

// Store keeps the contract of history.Store over database/sql.
type Store struct {
	read, write *sql.DB
	dialect     Dialect
}

var _ history.Store = (*Store)(nil)

// Dialect is what differs between databases.
type Dialect struct {
	// Numbered says that parameters are written $1, $2 … and not "?".
	Numbered bool
	// Explain turns the driver's error into one that people and callers understand, usually a *history.Error.
	// It is never called with nil or with an error of a context.
	Explain func(doing string, err error) error
}

// New makes a store of two pools, one for reading and one for writing; they may be the same. Close closes both.
func New(read, write *sql.DB, dialect Dialect) *Store {
	return &Store{read: read, write: write, dialect: dialect}
}

// Close implements history.Store.
func (s *Store) Close() error {
	err := s.write.Close()
	if s.read != s.write {
		if e := s.read.Close(); err == nil {
			err = e
		}
	}
	return err
}

// update runs fn in a writing transaction. doing says what for, in words that finish "could not …" in an error.
func (s *Store) update(ctx context.Context, doing string, fn func(tx) error) error {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(ctx, doing, err)
	}
	defer func() { _ = t.Rollback() }() // after a Commit it does nothing
	if err := fn(tx{t, s.dialect}); err != nil {
		return s.explain(ctx, doing, err)
	}
	return s.explain(ctx, doing, t.Commit())
}

// view runs fn in a reading transaction: all its answers are of one moment.
func (s *Store) view(ctx context.Context, doing string, fn func(tx) error) error {
	t, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.snapshot()})
	if err != nil {
		return s.explain(ctx, doing, err)
	}
	defer func() { _ = t.Rollback() }()
	return s.explain(ctx, doing, fn(tx{t, s.dialect}))
}

// snapshot is the isolation level in which one transaction sees one moment: SQLite always gives it.
func (d Dialect) snapshot() sql.IsolationLevel {
	if d.Numbered {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault
}

func (s *Store) explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		// The driver says "interrupted"; the caller asks errors.Is(err, context.Canceled).
		return fmt.Errorf("history store: %s: %w", doing, context.Cause(ctx))
	}
	return s.dialect.Explain(doing, err)
}

// tx is a transaction that speaks the dialect's parameters.
type tx struct {
	*sql.Tx
	dialect Dialect
}

func (t tx) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.ExecContext(ctx, t.dialect.sql(query), args...)
}

func (t tx) row(ctx context.Context, query string, args ...any) *sql.Row {
	return t.QueryRowContext(ctx, t.dialect.sql(query), args...)
}

// each calls scan for every row of the answer.
func (t tx) each(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := t.QueryContext(ctx, t.dialect.sql(query), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t tx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	return t.PrepareContext(ctx, t.dialect.sql(query))
}

// target makes sure that the target has a row, and locks it until the transaction ends.
func (t tx) target(ctx context.Context, target string) error {
	_, err := t.exec(ctx, `INSERT INTO targets (target) VALUES (?) ON CONFLICT (target) DO UPDATE SET target = excluded.target`, text(target))
	return err
}

// sql writes the parameters as the dialect wants them. No statement of this package has a "?" in a literal.
func (d Dialect) sql(query string) string {
	if !d.Numbered {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

// where collects the conditions of a listing.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

// also is w with one condition more; w stays as it is.
func (w *where) also(condition string, args ...any) where {
	more := where{slices.Clone(w.conditions), slices.Clone(w.args)}
	more.and(condition, args...)
	return more
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// limit completes a listing; 0 is no limit.
func (w *where) limit(n int) string {
	if n <= 0 {
		return ""
	}
	w.args = append(w.args, n)
	return " LIMIT ?"
}

// text is what both dialects can store: valid UTF-8 without NUL. Error texts of a platform may be neither.
func text[T ~string](s T) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(s), "\uFFFD"), "\x00", "\uFFFD")
}

// micros is how times are stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// moment is the inverse of micros.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
