package git_test

import (
	"errors"
	"io/fs"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

// newRepo makes a bare repository DIR/shop.git in a folder of its own.
func newRepo(t *testing.T) (*gittest.Server, *gittest.Repo) {
	t.Helper()
	root := t.TempDir()
	repo, err := gittest.Init(filepath.Join(root, "shop.git"))
	if err != nil {
		t.Fatal(err)
	}
	return &gittest.Server{Root: root}, repo
}

// overHTTP serves s and returns the URL of its repository.
func overHTTP(t *testing.T, s *gittest.Server) string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL + "/shop.git"
}

func commit(t *testing.T, r *gittest.Repo, c gittest.Change) string {
	t.Helper()
	h, err := r.CommitWith(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func open(t *testing.T, o git.Options) *git.Repository {
	t.Helper()
	r, err := git.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func snapshot(t *testing.T, r *git.Repository, known *source.Snapshot) *source.Snapshot {
	t.Helper()
	s, err := r.Snapshot(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, s *source.Snapshot, name string) string {
	t.Helper()
	b, err := fs.ReadFile(s.Files, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// state checks that err is a source.Error in the wanted state, with a hint, and returns its text.
func state(t *testing.T, err error, want source.State) string {
	t.Helper()
	var e *source.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *source.Error", err)
	}
	if e.State != want {
		t.Fatalf("state is %q, want %q: %v", e.State, want, err)
	}
	if e.Hint == "" {
		t.Errorf("no hint: %v", err)
	}
	t.Log(err)
	return err.Error()
}

// The same repository, read every way there is.
func TestSnapshot(t *testing.T) {
	server, repo := newRepo(t)
	first := commit(t, repo, gittest.Change{
		Files:      map[string]string{"manifest.yml": "applications: []\n", "web/index.html": "<h1>shop</h1>"},
		Executable: map[string]string{"web/run.sh": "#!/bin/sh\n"},
		Symlinks:   map[string]string{"web/m.yml": "../manifest.yml"},
		Message:    "Open the shop\n\nIt sells things.", Author: "Ann <ann@example.com>",
	})
	for way, url := range map[string]string{
		"path": repo.Dir(), "file URL": "file://" + repo.Dir(), "HTTP": overHTTP(t, server),
	} {
		t.Run(way, func(t *testing.T) {
			r := open(t, git.Options{URL: url})
			s := snapshot(t, r, nil)
			if s.Revision != first || s.Subject != "Open the shop" || s.Author != "Ann <ann@example.com>" || s.Time.IsZero() {
				t.Errorf("got %+v", s)
			}
			if got := read(t, s, "web/m.yml"); got != "applications: []\n" {
				t.Errorf("through the symlink: %q", got)
			}
			if err := fstest.TestFS(s.Files, "manifest.yml", "web/index.html", "web/run.sh", "web/m.yml"); err != nil {
				t.Error(err)
			}
			info, err := fs.Stat(s.Files, "web/run.sh")
			if err != nil || info.Mode() != 0o755 {
				t.Errorf("web/run.sh: %v %v", info, err)
			}
			// git hash-object of "applications: []\n"
			info, _ = fs.Stat(s.Files, "manifest.yml")
			if got := info.Sys().(source.Blob).Hash; got != "76901dc56e8a07d1ff638f7d86740f59c9e7d860" {
				t.Errorf("blob %s", got)
			}
			if again := snapshot(t, r, s); again != s {
				t.Error("unchanged, and not the same snapshot")
			}
			if rev, err := r.RemoteRevision(t.Context()); rev != first || err != nil {
				t.Errorf("RemoteRevision: %s, %v", rev, err)
			}
		})
	}
}

func TestStates(t *testing.T) {
	server, repo := newRepo(t)
	url := overHTTP(t, server)
	_, err := open(t, git.Options{URL: url}).Snapshot(t.Context(), nil)
	state(t, err, source.Empty)
	_, err = open(t, git.Options{URL: repo.Dir()}).Snapshot(t.Context(), nil)
	state(t, err, source.Empty)
	commit(t, repo, gittest.Change{Files: map[string]string{"a": "1"}})
	_, err = open(t, git.Options{URL: url, Branch: "gone"}).Snapshot(t.Context(), nil)
	if text := state(t, err, source.BranchGone); !strings.Contains(text, "main") {
		t.Error("does not name the branch that is there")
	}
}
