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

// What can be asked for, on a server that helps and on one that does not.
func TestWhatToRead(t *testing.T) {
	for name, server := range map[string]*gittest.Server{"a generous server": {}, "a strict server": {NoShallow: true, NoCommitWants: true}, "no commits by hash": {NoCommitWants: true}} {
		t.Run(name, func(t *testing.T) {
			s, repo := newRepo(t)
			server.Root = s.Root
			first := commit(t, repo, gittest.Change{Files: map[string]string{"f": "one"}})
			second := commit(t, repo, gittest.Change{Files: map[string]string{"f": "two"}})
			branch := commit(t, repo, gittest.Change{Branch: "next", From: "main", Files: map[string]string{"f": "three"}})
			if err := errors.Join(repo.Tag("v1", first, ""), repo.Tag("v2", second, "Version two")); err != nil {
				t.Fatal(err)
			}
			for _, url := range []string{overHTTP(t, server), repo.Dir()} {
				for _, test := range []struct {
					opts     git.Options
					revision string
					content  string
				}{
					{git.Options{}, second, "two"},
					{git.Options{Branch: "main"}, second, "two"},
					{git.Options{Branch: "next"}, branch, "three"},
					{git.Options{Tag: "v1"}, first, "one"},
					{git.Options{Tag: "v2"}, second, "two"},
					{git.Options{Ref: "refs/heads/next"}, branch, "three"},
					{git.Options{Commit: first}, first, "one"},
				} {
					test.opts.URL = url
					r := open(t, test.opts)
					snap := snapshot(t, r, nil)
					if got := read(t, snap, "f"); snap.Revision != test.revision || got != test.content {
						t.Errorf("%s: revision %s with %q, want %s with %q", r, snap.Revision, got, test.revision, test.content)
					}
					if again := snapshot(t, r, snap); again != snap {
						t.Errorf("%s: not recognised as unchanged", r)
					}
					if rev, err := r.RemoteRevision(t.Context()); rev != test.revision || err != nil {
						t.Errorf("%s: RemoteRevision is %s, %v", r, rev, err)
					}
				}
			}
		})
	}
}

// A commit that only a force-push's past contains is still given by servers that give commits by hash.
func TestCommitThatWasForcedAway(t *testing.T) {
	server, repo := newRepo(t)
	url := overHTTP(t, server)
	lost := commit(t, repo, gittest.Change{Files: map[string]string{"f": "lost"}})
	r := open(t, git.Options{URL: url})
	before := snapshot(t, r, nil)
	forced := commit(t, repo, gittest.Change{Files: map[string]string{"f": "new"}, Replace: true})
	if after := snapshot(t, r, before); after.Revision != forced || read(t, after, "f") != "new" {
		t.Errorf("a force-push is just a new revision, got %+v", after)
	}
	if got := read(t, snapshot(t, open(t, git.Options{URL: url, Commit: lost}), nil), "f"); got != "lost" {
		t.Errorf("got %q", got)
	}
	server.NoCommitWants = true
	_, err := open(t, git.Options{URL: url, Commit: lost}).Snapshot(t.Context(), nil)
	state(t, err, source.BranchGone)
}

// A pinned commit cannot change, so nobody is asked.
func TestPinnedCommitNeedsNoServer(t *testing.T) {
	pin := strings.Repeat("ab", 20)
	known := &source.Snapshot{Revision: pin}
	if again := snapshot(t, open(t, git.Options{URL: "http://127.0.0.1:1/shop.git", Commit: pin}), known); again != known {
		t.Error("not the known snapshot")
	}
}

// An app with a submodule inside must not be deployed without it, so looking into one is an error.
func TestSubmodule(t *testing.T) {
	_, repo := newRepo(t)
	commit(t, repo, gittest.Change{Files: map[string]string{"web/main.go": "x", "other/f": "y"}, Submodules: map[string]string{"web/lib": strings.Repeat("1", 40)}})
	files := snapshot(t, open(t, git.Options{URL: repo.Dir()}), nil).Files
	walk := func(root string) error {
		return fs.WalkDir(files, root, func(_ string, _ fs.DirEntry, err error) error { return err })
	}
	if err := walk("web"); !errors.Is(err, git.ErrSubmodule) || !strings.Contains(err.Error(), "web/lib") {
		t.Errorf("walking over it: %v", err)
	}
	if _, err := fs.ReadFile(files, "web/lib/f"); !errors.Is(err, git.ErrSubmodule) {
		t.Errorf("reading in it: %v", err)
	}
	if err := walk("other"); err != nil {
		t.Errorf("beside it: %v", err)
	}
}

// Trees that no git would write, and that could lead a careless reader astray.
func TestHostileTrees(t *testing.T) {
	for name, c := range map[string]gittest.Change{
		"a .git folder":       {Files: map[string]string{".git/config": "x"}},
		"a .GIT file below":   {Files: map[string]string{"a/.GIT": "x"}},
		"a folder named ..":   {Files: map[string]string{"a/../../etc/passwd": "x"}},
		"a folder named .":    {Files: map[string]string{"./a": "x"}},
		"an empty name":       {Files: map[string]string{"a//b": "x"}},
		"a name in Latin-1":   {Files: map[string]string{"caf\xe9": "x"}},
		"a very long symlink": {Symlinks: map[string]string{"l": strings.Repeat("../", 2000)}},
	} {
		t.Run(name, func(t *testing.T) {
			s, repo := newRepo(t)
			commit(t, repo, c)
			fails(t, git.Options{URL: repo.Dir()}, source.Broken)
			fails(t, git.Options{URL: overHTTP(t, s)}, source.Broken)
		})
	}
}

// A repository with a work tree is read as committed, whatever lies in the work tree.
func TestWorkTree(t *testing.T) {
	folder := t.TempDir()
	repo, err := gittest.Init(filepath.Join(folder, ".git"))
	if err != nil {
		t.Fatal(err)
	}
	commit(t, repo, gittest.Change{Files: map[string]string{"f": "committed"}})
	if got := read(t, snapshot(t, open(t, git.Options{URL: folder}), nil), "f"); got != "committed" {
		t.Errorf("got %q", got)
	}
}

func TestOptions(t *testing.T) {
	locked, _ := newKey(t, "sesame")
	for name, test := range map[string]struct {
		opts git.Options
		want string
	}{
		"no URL":           {git.Options{}, "URL of the repository is missing"},
		"branch and tag":   {git.Options{URL: "/x", Branch: "main", Tag: "v1"}, "not several (main, v1)"},
		"short commit":     {git.Options{URL: "/x", Commit: "abc1234"}, "not a full hash"},
		"short ref":        {git.Options{URL: "/x", Ref: "main"}, `does not begin with "refs/"`},
		"unknown scheme":   {git.Options{URL: "ftp://host/x"}, `unknown scheme "ftp"`},
		"git protocol":     {git.Options{URL: "git://host/x"}, "neither encrypts nor authenticates"},
		"bad URL":          {git.Options{URL: "https://user:p%ss@host/x"}, "not shown"},
		"query":            {git.Options{URL: "https://host/x?token=hunter22"}, "no query"},
		"no CA":            {git.Options{URL: "https://host/x", CA: []byte("x")}, "no PEM certificate"},
		"password, token":  {git.Options{URL: "https://host/x", Password: "hunter22", Token: "hunter22"}, "not both"},
		"bad key":          {git.Options{URL: "git@host:x", SSHKey: []byte("hunter22")}, "cannot be read"},
		"locked key":       {git.Options{URL: "git@host:x", SSHKey: locked}, "protected by a passphrase"},
		"wrong passphrase": {git.Options{URL: "git@host:x", SSHKey: locked, SSHPassphrase: "hunter22"}, "passphrase is wrong"},
		"proxy":            {git.Options{URL: "git@host:x", Proxy: "http://u:hunter22@p:1"}, "socks5:// proxy only"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.New(test.opts)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "p%ss") {
				t.Errorf("a secret is in it: %v", err)
			}
		})
	}
}

// Names are for people: they say what is read and hold no credential.
func TestString(t *testing.T) {
	for _, test := range []struct {
		opts git.Options
		want string
	}{
		{git.Options{URL: "https://ann:hunter22@git.example.com/shop.git", Branch: "main"}, "https://git.example.com/shop.git (main)"},
		{git.Options{URL: "https://hunter22@git.example.com/shop.git"}, "https://git.example.com/shop.git"},
		{git.Options{URL: "git@git.example.com:team/shop.git", Tag: "v1"}, "ssh://git.example.com/team/shop.git (tag v1)"},
		{git.Options{URL: "ssh://git@git.example.com:2222/shop.git", Commit: strings.Repeat("a", 40)}, "ssh://git.example.com:2222/shop.git (commit aaaaaaaaaaaa)"},
		{git.Options{URL: "/srv/git/shop.git", Ref: "refs/pull/1/head"}, "/srv/git/shop.git (refs/pull/1/head)"},
		{git.Options{URL: "file:///srv/git/shop.git"}, "file:///srv/git/shop.git"},
	} {
		if got := open(t, test.opts).String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
