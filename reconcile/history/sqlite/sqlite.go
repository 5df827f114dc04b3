// Package sqlite keeps the history in one SQLite file, which is what Fettle uses unless told otherwise.
//
// The file is made with mode 0600 (it names people and values), in write-ahead mode, so that reports can be
// read while a run is being recorded, also by another process. Every commit is synced to the disk: the
// record is evidence, and there are few writes. Beside FILE live FILE-wal and FILE-shm; back up with
// "VACUUM INTO", or copy all three.
//
// Writers of one process queue in Go for the one writing connection; writers of several processes wait for
// each other up to ten seconds. Not for network file systems: SQLite's locks do not work there.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// busyTimeout bounds the wait for a writer in another process. Our transactions take milliseconds.
const busyTimeout = 10 * time.Second

// Store is a history in a SQLite file.
type Store struct {
	*sqlstore.Store
	path string
}

var _ history.Store = (*Store)(nil)

// Open opens the store in the file at path, made if it does not exist, and brings its schema up to date. Errors
// are *history.Error.
func Open(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path}
	if err := s.touch(); err != nil {
		return nil, err
	}
	write, err := sql.Open("sqlite", dsn(path, "_txlock=immediate", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)"))
	if err != nil {
		return nil, s.explain("opening", err)
	}
	write.SetMaxOpenConns(1)
	if err := s.migrate(ctx, write); err != nil {
		_ = write.Close()
		return nil, err
	}
	read, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err != nil {
		_ = write.Close()
		return nil, s.explain("opening", err)
	}
	read.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	s.Store = sqlstore.New(read, write, sqlstore.Dialect{Explain: s.explain})
	return s, nil
}

// dsn is a URI file name (https://sqlite.org/uri.html) with the settings that each connection begins with.
func dsn(path string, more ...string) string {
	path = filepath.ToSlash(path)
	if filepath.IsAbs(path) && path[0] != '/' {
		path = "/" + path // file:///C:/…
	}
	s := "file:" + (&url.URL{Path: path}).EscapedPath() +
		fmt.Sprintf("?_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)", busyTimeout.Milliseconds())
	for _, m := range more {
		s += "&" + m
	}
	return s
}

// touch makes the file, readable by its owner only, and finds what SQLite would explain badly.
func (s *Store) touch() error {
	dir := filepath.Dir(s.path)
	if info, err := os.Stat(dir); err != nil {
		return &history.Error{Store: s.path, State: history.Unreachable, Doing: "opening", Err: err, Hint: "create the folder " + dir + ", or name another file"}
	} else if !info.IsDir() {
		return &history.Error{Store: s.path, State: history.Unreachable, Doing: "opening", Err: fmt.Errorf("%s is no folder", dir)}
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrPermission) || isReadOnly(err):
		return &history.Error{Store: s.path, State: history.ReadOnly, Doing: "opening", Err: err, Hint: "the user that runs Fettle must be able to write the file and its folder"}
	}
	return &history.Error{Store: s.path, State: history.Unreachable, Doing: "opening", Err: err}
}

// migrate brings the schema up to date. Several processes may start at once on a file that is not there yet. Who is
// second to switch it to write-ahead mode is told "busy" at once, whatever the timeout; who is second to
// migrate fails as a whole, because the first has made the tables. Either looks again.
func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return s.explain("opening", err)
	}
	patience, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		done, err := s.tryMigrate(ctx, db, provider)
		if done {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-patience.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("history store %s: opening: %w", s.path, context.Cause(ctx))
			}
			if err == nil {
				err = errors.New("the schema does not stay as it was made")
			}
			return s.explain("opening", err)
		}
	}
}

// tryMigrate is done when the schema is as it should be, or when trying again cannot help.
func (s *Store) tryMigrate(ctx context.Context, db *sql.DB, provider *goose.Provider) (done bool, err error) {
	if err := s.ours(ctx, db); err != nil {
		_, ours := errors.AsType[*history.Error](err)
		return ours || final(err), s.explain("opening", err)
	}
	have, want, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return final(err), s.explain("opening", err)
	case have > want:
		return true, &history.Error{
			Store: s.path, State: history.Newer, Doing: "opening",
			Err:  fmt.Errorf("its schema has version %d, this Fettle knows up to %d", have, want),
			Hint: "run the newer Fettle, or name another file; nothing was changed",
		}
	case have == want:
		return true, nil
	}
	if _, err = provider.Up(ctx); err != nil {
		return final(err), s.explain("bringing the schema up to date", err)
	}
	return false, nil // look again, and see that it is so
}

// ours refuses a database that another program keeps: it has tables, and none that says which version they are.
func (s *Store) ours(ctx context.Context, db *sql.DB) error {
	var tables, versions int
	err := db.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE name = 'goose_db_version') FROM sqlite_master WHERE type = 'table'`).Scan(&tables, &versions)
	if err != nil {
		return err
	}
	if tables > 0 && versions == 0 {
		return &history.Error{
			Store: s.path, State: history.Foreign, Doing: "opening",
			Err:  errors.New("the file is a SQLite database that Fettle did not make"),
			Hint: "name another file; nothing was changed",
		}
	}
	return nil
}

// final says whether trying again cannot help.
func final(err error) bool {
	switch primary(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

// primary is the primary result code (https://sqlite.org/rescode.html): the low byte of the extended one.
func primary(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return -1
}

// explain says what a result code of SQLite means to the person who runs Fettle.
func (s *Store) explain(doing string, err error) error {
	if e, ok := errors.AsType[*history.Error](err); ok {
		return e
	}
	e := &history.Error{Store: s.path, Doing: doing, Err: err}
	switch primary(err) {
	case sqlite3.SQLITE_FULL:
		e.State, e.Hint = history.Full, "free some space on the disk of "+s.path+"; what was being written is not in the record"
	case sqlite3.SQLITE_IOERR:
		// A full disk is often noticed here: when the shared-memory file grows, for one.
		e.State, e.Hint = history.Unreachable, "look at the disk of "+s.path+": is it full, gone or failing?"
	case sqlite3.SQLITE_READONLY:
		e.State, e.Hint = history.ReadOnly, "the user that runs Fettle must be able to write the file and its folder"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		e.State, e.Hint = history.Corrupt, "restore the file from a backup; or move it away, and Fettle starts a new record and keeps enforcing what Git declares"
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		e.State, e.Hint = history.Unreachable, "the user that runs Fettle must be able to write the file and its folder"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		e.State, e.Hint = history.Busy, "another process has been writing to it for "+busyTimeout.String()+"; is a backup running, or is it on a network file system?"
	}
	return e
}
