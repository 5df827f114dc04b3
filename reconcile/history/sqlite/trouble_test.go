package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
)

// Each trouble has a state for the caller and a sentence for the person: what, where, why, what next.
func TestTrouble(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir, file string)
		state   history.State
		want    string // with FILE and DIR in place of the paths
	}{
		{
			"no such folder",
			func(t *testing.T, dir, _ string) { must(t, os.Remove(dir)) },
			history.Unreachable,
			"history store FILE: opening: unreachable: stat DIR: no such file or directory (create the folder DIR, or name another file)",
		},
		{
			"the folder is a file",
			func(t *testing.T, dir, _ string) { must(t, os.Remove(dir)); must(t, os.WriteFile(dir, nil, 0o600)) },
			history.Unreachable,
			"history store FILE: opening: unreachable: DIR is no folder",
		},
		{
			"the file is a folder",
			func(t *testing.T, _, file string) { must(t, os.Mkdir(file, 0o700)) },
			history.Unreachable,
			"history store FILE: opening: unreachable: open FILE: is a directory",
		},
		{
			"the file may not be written",
			func(t *testing.T, _, file string) {
				must(t, os.WriteFile(file, nil, 0o400))
				if os.Geteuid() == 0 {
					t.Skip("root may write everything")
				}
			},
			history.ReadOnly,
			"history store FILE: opening: read-only: open FILE: permission denied (the user that runs Fettle must be able to write the file and its folder)",
		},
		{
			"no database at all",
			func(t *testing.T, _, file string) {
				must(t, os.WriteFile(file, []byte(strings.Repeat("dear diary, ", 500)), 0o600))
			},
			history.Corrupt,
			"history store FILE: opening: corrupt: file is not a database (26) (restore the file from a backup; or move it away, and Fettle starts a new record and keeps enforcing what Git declares)",
		},
		{
			"a database of somebody else",
			func(t *testing.T, _, file string) { execute(t, file, "CREATE TABLE bookmarks (url TEXT)") },
			history.Foreign,
			"history store FILE: opening: foreign: the file is a SQLite database that Fettle did not make (name another file; nothing was changed)",
		},
		{
			"written by a newer Fettle",
			func(t *testing.T, _, file string) {
				open(t, file)
				execute(t, file, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)")
			},
			history.Newer,
			"history store FILE: opening: newer schema: its schema has version 9000, this Fettle knows up to 1 (run the newer Fettle, or name another file; nothing was changed)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state of Fettle")
			must(t, os.Mkdir(dir, 0o700))
			file := filepath.Join(dir, "history.db")
			c.prepare(t, dir, file)
			s, err := sqlite.Open(t.Context(), file)
			if err == nil {
				_ = s.Close()
				t.Fatal("it opened")
			}
			if got := strings.NewReplacer(file, "FILE", dir, "DIR").Replace(err.Error()); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			inState(t, err, c.state)
		})
	}
}

// A page in the middle of the file is overwritten: what is sound can still be read, the rest is an
// error that says so, and nothing panics.
func TestDamaged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.db")
	s := open(t, file)
	found := round(1)
	for i := range found {
		found[i].Declared = fmt.Sprintf("%q", strings.Repeat("x", 3000))
	}
	_, _, err := s.Observe(t.Context(), history.Observation{Target: "dev", At: time.Now(), Found: found})
	must(t, err)
	must(t, s.Close()) // everything is in the one file now
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	const page = 4096
	for at := int64(2 * page); at < info.Size(); at += page { // page 1 and 2 hold the schema
		_, err = f.WriteAt([]byte(strings.Repeat("damage!!", page/8)), at)
		must(t, err)
	}
	must(t, f.Close())

	s, err = sqlite.Open(t.Context(), file)
	if err == nil {
		defer func() { _ = s.Close() }()
		_, err = s.Drift(t.Context(), history.DriftFilter{})
	}
	inState(t, err, history.Corrupt)
}

// The disk is full in the middle of an observation: an error that says so, and the record is as it was. With space
// again, the same store goes on.
func TestFullDisk(t *testing.T) {
	dir, more := smallDisk(t)
	s := open(t, filepath.Join(dir, "history.db"))
	_, _, err := s.Observe(t.Context(), history.Observation{Target: "dev", At: time.Now(), Found: round(1)})
	must(t, err)

	big := round(2)
	for i := range big {
		big[i].Live = fmt.Sprintf("%q", strings.Repeat("x", 100_000))
	}
	_, _, err = s.Observe(t.Context(), history.Observation{Target: "dev", At: time.Now(), Found: big})
	inState(t, err, history.Full)
	if want := "recording an observation of target dev: full: "; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("got %s", err)
	}
	list, err := s.Drift(t.Context(), history.DriftFilter{})
	must(t, err)
	if len(list) != fields || list[0].Live != "1" || list[0].Seen != 1 {
		t.Errorf("the record moved: %d records, the first is %s, seen %d", len(list), list[0].Live, list[0].Seen)
	}

	more()
	_, _, err = s.Observe(t.Context(), history.Observation{Target: "dev", At: time.Now(), Found: big})
	must(t, err)
	whole(t, filepath.Join(dir, "history.db"))
}

// The disk is too small for the schema itself: no half of it is left behind.
func TestFullDiskFromTheStart(t *testing.T) {
	dir, more := smallDisk(t)
	must(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 900<<10), 0o600))
	file := filepath.Join(dir, "history.db")
	s, err := sqlite.Open(t.Context(), file)
	if err == nil {
		_ = s.Close()
		t.Fatal("it opened")
	}
	inState(t, err, history.Full)
	more()
	must(t, open(t, file).SetNextDue(t.Context(), "dev", time.Now()))
	whole(t, file)
}

// Another process holds the lock for longer than we wait; or only for as long as we are willing to.
func TestBusy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.db")
	s := open(t, file)
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate")
	must(t, err)
	defer func() { _ = db.Close() }()
	lock, err := db.BeginTx(t.Context(), nil)
	must(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.SetNextDue(ctx, "dev", time.Now()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if _, err := s.NextDue(t.Context(), "dev"); err != nil {
		t.Errorf("readers do not wait for a writer, got %v", err)
	}
	must(t, lock.Rollback())
	must(t, s.SetNextDue(t.Context(), "dev", time.Now()))
}

// Several agents and commands start at the same moment on a file that is not there yet.
func TestManyOpenAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.db")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := sqlite.Open(t.Context(), file)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = s.Close() }()
			if _, _, err := s.Observe(t.Context(), history.Observation{Target: "dev", At: time.Now(), Found: round(1)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := open(t, file).Drift(t.Context(), history.DriftFilter{})
	must(t, err)
	if len(list) != fields || list[0].Seen != 8 {
		t.Errorf("%d records, seen %d times; want %d records, seen by 8", len(list), list[0].Seen, fields)
	}
	whole(t, file)
}

// Closed and opened again, the store knows what it knew; the file is its owner's alone.
func TestReopen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a name? with #odd% characters.db")
	s := open(t, file)
	_, _, err := s.Observe(t.Context(), history.Observation{Target: "dev", At: time.Now(), Found: round(1)})
	must(t, err)
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
	before, err := s.Drift(t.Context(), history.DriftFilter{})
	must(t, err)
	must(t, s.Close())
	after, err := open(t, file).Drift(t.Context(), history.DriftFilter{})
	must(t, err)
	if len(after) != fields || after[0] != before[0] {
		t.Errorf("%d records after opening again, %d before", len(after), len(before))
	}
}

func TestCancelledOpen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "history.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inState(t *testing.T, err error, want history.State) {
	t.Helper()
	if e, ok := errors.AsType[*history.Error](err); !ok || e.State != want {
		t.Errorf("got %v (%T), want state %q", err, err, want)
	}
}

// execute does something to the file behind the store's back.
func execute(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+strings.ReplaceAll(file, " ", "%20"))
	must(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	must(t, err)
	must(t, db.Close())
}
