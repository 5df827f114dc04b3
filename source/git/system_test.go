package git_test

import (
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

// Git's own server ("git http-backend") in place of ours: repacked, with tags, and with its usual
// refusal of commits that no reference names.
func TestGitsOwnServer(t *testing.T) {
	binary, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git binary on this machine to compare with")
	}
	s, repo := newRepo(t)
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(binary, append([]string{"-C", repo.Dir()}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	server := httptest.NewServer(&cgi.Handler{
		Path: binary, Args: []string{"http-backend"},
		Env: []string{"GIT_PROJECT_ROOT=" + s.Root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	t.Cleanup(server.Close)
	url := server.URL + "/shop.git"

	_, err = open(t, git.Options{URL: url}).Snapshot(t.Context(), nil)
	state(t, err, "empty")

	long := strings.Repeat("a line that is the same in every version\n", 400)
	first := commit(t, repo, gittest.Change{Files: map[string]string{"f": "1" + long, "web/g": "1"}})
	second := commit(t, repo, gittest.Change{Files: map[string]string{"f": "2" + long}, Executable: map[string]string{"run": "#!"}})
	if err := repo.Tag("v1", first, "Version one"); err != nil {
		t.Fatal(err)
	}
	run("repack", "-q", "-a", "-d", "-f") // deltas
	for _, test := range []struct {
		opts     git.Options
		revision string
		content  string
	}{
		{git.Options{URL: url}, second, "2" + long},
		{git.Options{URL: url, Tag: "v1"}, first, "1" + long},
		{git.Options{URL: url, Commit: first}, first, "1" + long},
		{git.Options{URL: repo.Dir()}, second, "2" + long},
		{git.Options{URL: repo.Dir(), Tag: "v1"}, first, "1" + long},
	} {
		r := open(t, test.opts)
		snap := snapshot(t, r, nil)
		if got := read(t, snap, "f"); snap.Revision != test.revision || got != test.content {
			t.Errorf("%s: revision %s, want %s; %d bytes", r, snap.Revision, test.revision, len(got))
		}
		if snapshot(t, r, snap) != snap {
			t.Errorf("%s: not recognised as unchanged", r)
		}
	}

	// A commit below a branch that was forced away: Git's server refuses it by hash.
	lost := second
	commit(t, repo, gittest.Change{Files: map[string]string{"f": "3"}, Replace: true})
	_, err = open(t, git.Options{URL: url, Commit: lost}).Snapshot(t.Context(), nil)
	state(t, err, "branch gone")
	_, err = open(t, git.Options{URL: url + "x"}).Snapshot(t.Context(), nil)
	state(t, err, "not found")

	run("worktree", "add", "-q", filepath.Join(s.Root, "tree"), "main")
	if got := read(t, snapshot(t, open(t, git.Options{URL: filepath.Join(s.Root, "tree")}), nil), "f"); got != "3" {
		t.Errorf("a linked work tree reads %q", got)
	}
}
