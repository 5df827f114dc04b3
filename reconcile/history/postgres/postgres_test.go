//go:build unix

package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/historytest"
	"github.com/fettle-gitops/fettle/reconcile/history/postgres"
)

func TestPostgres(t *testing.T) {
	srv := start(t)
	t.Run("Store", func(t *testing.T) {
		historytest.Run(t, func(t *testing.T) history.Store { return open(t, srv.schema(t)) })
	})
	t.Run("ManyOpenAtOnce", func(t *testing.T) { manyOpenAtOnce(t, srv) })
	t.Run("Trouble", func(t *testing.T) { trouble(t, srv) })
	t.Run("ServerKilled", func(t *testing.T) { serverKilled(t, srv) }) // last: the server is another one afterwards
}

func open(t *testing.T, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var app = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}

func observe(ctx context.Context, s history.Store) error {
	_, _, err := s.Observe(ctx, history.Observation{Target: "dev", At: time.Now(), Found: []history.Drift{{Ref: app, Path: "/state", Op: "update", Declared: `"STARTED"`, Live: `"STOPPED"`}}})
	return err
}

// Several agents start at the same moment on an empty schema.
func manyOpenAtOnce(t *testing.T, srv *server) {
	url := srv.schema(t)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			s, err := postgres.Open(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = s.Close() }()
			if err := observe(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := open(t, url).Drift(t.Context(), history.DriftFilter{})
	if err != nil || len(list) != 1 || list[0].Seen != 6 {
		t.Errorf("got %+v, %v; want one record, seen 6 times", list, err)
	}
}

// Each trouble has a state for the caller and a sentence for the person; none repeats the password.
func trouble(t *testing.T, srv *server) {
	newer := srv.schema(t)
	_ = open(t, newer)
	srv.execute(t, newer, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, true)")
	srv.execute(t, srv.schema(t), "CREATE ROLE guest LOGIN PASSWORD 'hunter2'; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO guest")
	for _, c := range []struct {
		name, url string
		state     history.State
		want      string
	}{
		{"no URL", "postgres://fettle:hunter2@:bad:port/x", history.Unreachable, "it is no PostgreSQL URL (write postgres://"},
		{"nobody listens", "postgres://fettle:hunter2@127.0.0.1:1/fettle", history.Unreachable, "is the server up"},
		{"no such database", srv.url("nowhere", nil), history.Unreachable, `database "nowhere" does not exist (SQLSTATE 3D000) (create it first`},
		{"no rights", strings.Replace(srv.url("postgres", nil), "fettle@", "guest:hunter2@", 1), history.Unreachable, "permission denied for schema public (SQLSTATE 42501) (check user, password and rights"},
		{"may only read", srv.schema(t) + "&default_transaction_read_only=on", history.ReadOnly, "name the primary"},
		{"written by a newer Fettle", newer, history.Newer, "its schema has version 9000, this Fettle knows up to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := postgres.Open(t.Context(), c.url)
			if err == nil {
				_ = s.Close()
				t.Fatal("it opened")
			}
			e, ok := errors.AsType[*history.Error](err)
			if !ok || e.State != c.state || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v (%T), want %q with %q", err, err, c.state, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in %v", err)
			}
		})
	}
	t.Run("no schema", func(t *testing.T) {
		if _, err := postgres.Open(t.Context(), srv.url("postgres", url.Values{"search_path": {"nowhere"}})); err == nil || !strings.Contains(err.Error(), "create it first") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("locked by another session", func(t *testing.T) {
		at := srv.schema(t)
		s := open(t, at+"&lock_timeout=50ms")
		if err := s.SetNextDue(t.Context(), "dev", time.Now()); err != nil {
			t.Fatal(err)
		}
		db := srv.connect(t, at)
		other, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Rollback() }()
		if _, err := other.ExecContext(t.Context(), "SELECT * FROM targets FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
		err = s.SetNextDue(t.Context(), "dev", time.Now())
		if e, ok := errors.AsType[*history.Error](err); !ok || e.State != history.Busy {
			t.Errorf("got %v", err)
		}
	})
}

// The server is killed under an open store: errors while it is away, and the store goes on when it is back.
func serverKilled(t *testing.T, srv *server) {
	s := open(t, srv.schema(t))
	if err := observe(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	srv.kill(t)
	err := observe(t.Context(), s)
	if e, ok := errors.AsType[*history.Error](err); !ok || e.State != history.Unreachable {
		t.Errorf("got %v, want that it is unreachable", err)
	}
	srv.run(t)
	if err := observe(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	list, err := s.Drift(t.Context(), history.DriftFilter{})
	if err != nil || len(list) != 1 || list[0].Seen != 2 {
		t.Errorf("got %+v, %v; want one record, seen twice", list, err)
	}
}

func (srv *server) connect(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (srv *server) execute(t *testing.T, url, statement string) {
	t.Helper()
	if _, err := srv.connect(t, url).ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// schema makes an empty schema and gives the URL to it.
func (srv *server) schema(t *testing.T) string {
	t.Helper()
	srv.schemas++
	name := fmt.Sprintf("test_%d", srv.schemas)
	srv.execute(t, srv.url("postgres", nil), "CREATE SCHEMA "+name)
	return srv.url("postgres", url.Values{"search_path": {name}})
}

// url names a database of the server.
func (srv *server) url(database string, params url.Values) string {
	u := url.URL{Scheme: "postgres", User: url.User("fettle"), Host: srv.addr, Path: database}
	q := url.Values{"sslmode": {"disable"}}
	for k, v := range params {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	return u.String()
}
