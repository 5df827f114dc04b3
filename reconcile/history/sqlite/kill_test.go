package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
)

// writerFile tells the test binary to be the writer that TestKill kills: it names the store.
const writerFile = "FETTLE_TEST_HISTORY_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerFile); path != "" {
		if err := write(context.Background(), path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const fields = 40

// write does what an agent does, over and over: in round n it finds every field at live value n, remembers that all
// of them were applied at n, and says "n" once all of it is stored.
func write(ctx context.Context, path string) error {
	s, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	if _, err := s.AbandonRuns(ctx, "dev", "killed", time.Now()); err != nil {
		return err
	}
	n, err := lastRound(ctx, s)
	if err != nil {
		return err
	}
	for {
		n++
		value := strconv.Itoa(n)
		run, err := s.BeginRun(ctx, history.Run{Target: "dev", Revision: value, StartedAt: time.Now()})
		if err != nil {
			return err
		}
		if _, _, err := s.Observe(ctx, history.Observation{Target: "dev", At: time.Now(), Run: run.ID, Found: round(n)}); err != nil {
			return err
		}
		applied := map[string]string{}
		for i := range fields {
			applied["/"+strconv.Itoa(i)] = value
		}
		if err := s.SetApplied(ctx, "dev", value, map[manifest.Ref]map[string]string{app: applied}); err != nil {
			return err
		}
		run.Result, run.EndedAt, run.Steps = history.Changed, time.Now(), []history.Step{{Ref: app, Changes: n}}
		if err := s.EndRun(ctx, run); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

var app = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}

func round(n int) []history.Drift {
	found := make([]history.Drift, fields)
	for i := range found {
		found[i] = history.Drift{Ref: app, Path: "/" + strconv.Itoa(i), Op: diff.Update, Declared: "0", Live: strconv.Itoa(n)}
	}
	return found
}

func lastRound(ctx context.Context, s history.Store) (int, error) {
	open, err := s.Drift(ctx, history.DriftFilter{Limit: 1})
	if err != nil || len(open) == 0 {
		return 0, err
	}
	return strconv.Atoi(open[0].Live)
}

// Killed at any moment, whatever was going on has happened wholly or not at all, and what the writer was
// told is stored, is stored.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	kills := 25
	if testing.Short() {
		kills = 5
	}
	said := 0
	for range kills {
		said = killWriter(t, path, said)
		check(t, path, said)
	}
	t.Logf("%d kills, %d rounds", kills, said)
}

// killWriter starts a writer, lets it say a few rounds, kills it at some moment of the next one, and returns the
// last round that it said.
func killWriter(t *testing.T, path string, said int) int {
	t.Helper()
	writer := exec.CommandContext(t.Context(), os.Args[0])
	writer.Env = append(os.Environ(), writerFile+"="+path)
	writer.Stderr = os.Stderr
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	hear := func() bool {
		if !lines.Scan() {
			return false
		}
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Errorf("the writer said %q", lines.Text())
		}
		said = n
		return true
	}
	for range 1 + rand.IntN(4) {
		if !hear() {
			t.Fatalf("the writer ended by itself: %v", writer.Wait())
		}
	}
	time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond) // any moment will do
	if err := writer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for hear() { // what it said before it died
	}
	_ = writer.Wait() // "signal: killed"
	return said
}

// check opens what a killed writer left behind.
func check(t *testing.T, path string, said int) {
	t.Helper()
	whole(t, path)
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()

	open, err := s.Drift(t.Context(), history.DriftFilter{OpenOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(open) != fields {
		t.Fatalf("%d open records, want %d", len(open), fields)
	}
	for _, d := range open {
		if d.Live != open[0].Live || d.Seen != open[0].Seen {
			t.Fatalf("half an observation: %s is %s (seen %d), %s is %s (seen %d)", open[0].Path, open[0].Live, open[0].Seen, d.Path, d.Live, d.Seen)
		}
	}
	if n, _ := strconv.Atoi(open[0].Live); n < said || n > said+1 {
		t.Fatalf("the writer said %d, the store says %d", said, n)
	}
	applied, err := s.Applied(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	for field, digest := range applied.Entries[app] {
		if digest != applied.Revision {
			t.Fatalf("half of what was applied: %s is of %s, the revision is %s", field, digest, applied.Revision)
		}
	}
	if len(applied.Entries[app]) != fields {
		t.Fatalf("%d fields were applied, want %d", len(applied.Entries[app]), fields)
	}
	runs, err := s.Runs(t.Context(), history.RunFilter{Result: history.Running})
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) > 1 {
		t.Fatalf("%d runs are unfinished, a writer has one at a time", len(runs))
	}
	runs, err = s.Runs(t.Context(), history.RunFilter{Result: history.Changed})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if n, _ := strconv.Atoi(r.Revision); len(r.Steps) != 1 || r.Steps[0].Changes != n {
			t.Fatalf("run %d ended without its step: %+v", r.ID, r.Steps)
		}
	}
}

// whole asks SQLite itself.
func whole(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var answer string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&answer); err != nil || answer != "ok" {
		t.Fatalf("integrity_check: %s, %v", answer, err)
	}
	rows, err := db.QueryContext(t.Context(), "PRAGMA foreign_key_check")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() || rows.Err() != nil {
		t.Fatalf("foreign_key_check found something (%v)", rows.Err())
	}
}
