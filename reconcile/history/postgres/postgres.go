// Package postgres keeps the history in a PostgreSQL database, for who runs one anyway, backs it up, and wants several
// agents or other programs to read one record.
//
// Give Fettle a database of its own, or a schema (?search_path=fettle in the URL): its tables have plain names. It
// brings the schema up to date itself, under an advisory lock, so that several agents may start at once.
// The URL may also set whatever the server knows (statement_timeout, sslmode …); see
// https://www.postgresql.org/docs/current/libpq-connect.html.
//
// The statements are those of every SQL store (internal/sqlstore). This package only opens, migrates and explains.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Bounds, unless the URL sets others. Our statements take milliseconds.
const (
	connectTimeout   = 10 * time.Second
	statementTimeout = "30s"
	lockTimeout      = "10s" // as long as a SQLite store waits for another writer
	connections      = 8     // a server's are dear, and readers are few
)

// Store is a history in a PostgreSQL database.
type Store struct {
	*sqlstore.Store
	name string // without user and password
}

var _ history.Store = (*Store)(nil)

// Open connects to the database that url names (postgres://USER:PASSWORD@HOST/DATABASE) and brings its schema up to
// date. Errors are *history.Error and hold no credential.
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The parser's error repeats the URL; it hides passwords only where it understands what it reads.
		return nil, &history.Error{
			Store: "postgres", State: history.Unreachable, Doing: "reading its URL", Err: errors.New("it is no PostgreSQL URL"),
			Hint: "write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password percent-encoded",
		}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{"statement_timeout": statementTimeout, "lock_timeout": lockTimeout, "application_name": "fettle"} {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	s := &Store{name: "postgres://" + net.JoinHostPort(config.Host, fmt.Sprint(config.Port)) + "/" + config.Database}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := s.migrate(ctx, db); err != nil {
		_ = db.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("history store %s: opening: %w", s.name, context.Cause(ctx))
		}
		return nil, s.explain("opening", err)
	}
	s.Store = sqlstore.New(db, db, sqlstore.Dialect{Numbered: true, Explain: s.explain})
	return s, nil
}

func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	var schema sql.NullString // null where the search_path names none that exists and may be used
	if err := db.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return err
	}
	if !schema.Valid {
		return &history.Error{
			Store: s.name, State: history.Unreachable, Doing: "opening", Err: errors.New("the schema that search_path names does not exist"),
			Hint: "create it first, owned by the user that Fettle connects as",
		}
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	// A session lock: who comes second waits until the first has migrated, and then finds nothing to do.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60), lock.WithUnlockTimeout(1, 10)) // look every second
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	have, want, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return &history.Error{
			Store: s.name, State: history.Newer, Doing: "opening",
			Err:  fmt.Errorf("its schema has version %d, this Fettle knows up to %d", have, want),
			Hint: "run the newer Fettle, or name another database; nothing was changed",
		}
	}
	if have == want {
		return nil // without asking for the lock
	}
	_, err = provider.Up(ctx)
	return err
}

// explain says what an SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) means to the person
// who runs Fettle.
func (s *Store) explain(doing string, err error) error {
	if e, ok := errors.AsType[*history.Error](err); ok {
		return e
	}
	e := &history.Error{Store: s.name, Doing: doing, Err: err}
	answer, answered := errors.AsType[*pgconn.PgError](err)
	if !answered {
		if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
			e.Err = errors.Unwrap(connect) // its own text names the user
		}
		e.State, e.Hint = history.Unreachable, "is the server up, and reachable from here?"
		return e
	}
	e.Err = fmt.Errorf("%s (SQLSTATE %s)", answer.Message, answer.Code)
	switch class := answer.Code[:2]; {
	case answer.Code == "53100":
		e.State, e.Hint = history.Full, "free some space on the disk of the server; what was being written is not in the record"
	case answer.Code == "25006":
		e.State, e.Hint = history.ReadOnly, "name the primary, not a standby (target_session_attrs=read-write in the URL finds it)"
	case class == "28" || answer.Code == "42501":
		e.State, e.Hint = history.Unreachable, "check user, password and rights: Fettle creates and writes its own tables"
	case answer.Code == "3D000":
		e.State, e.Hint = history.Unreachable, "create it first, owned by the user that Fettle connects as"
	case class == "08" || class == "53" || class == "57" && answer.Code != "57014":
		e.State, e.Hint = history.Unreachable, "the server is starting, stopping or overloaded; trying again may help"
	case answer.Code == "55P03" || answer.Code == "57014" || class == "40":
		e.State, e.Hint = history.Busy, "another session kept the record locked; look at pg_stat_activity"
	case class == "XX":
		e.State, e.Hint = history.Corrupt, "look at the server's log; restore from a backup if it says that data is damaged"
	}
	return e
}
