package gittest_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/fettle-gitops/fettle/source/git/gittest"
)

func newRepo(t *testing.T, root, name string) *gittest.Repo {
	t.Helper()
	repo, err := gittest.Init(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func commit(t *testing.T, r *gittest.Repo, c gittest.Change) string {
	t.Helper()
	h, err := r.CommitWith(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func overHTTP(t *testing.T, s *gittest.Server) string {
	t.Helper()
	server, err := s.ListenHTTP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.URL
}

func overSSH(t *testing.T, s *gittest.Server) (_ *gittest.SSH, private []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.Keys = append(s.Keys, signer.PublicKey())
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	server, err := s.ListenSSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, pem.EncodeToMemory(block)
}

// The demo pushes without a git binary: from one repository to another, over HTTP and SSH.
func TestPush(t *testing.T) {
	t.Setenv("PATH", "")
	server := &gittest.Server{Root: t.TempDir(), Users: map[string]string{"ann": "pw"}}
	shop := newRepo(t, server.Root, "shop.git")
	mine := newRepo(t, t.TempDir(), "mine.git")
	commit(t, mine, gittest.Change{Files: map[string]string{"a": "1"}})
	second := commit(t, mine, gittest.Change{Files: map[string]string{"a": "2", "b/c": "3"}})

	url := overHTTP(t, server) + "/shop.git"
	auth := &githttp.BasicAuth{Username: "ann", Password: "pw"}
	push := func(want string, force bool) {
		t.Helper()
		if err := mine.Push(t.Context(), url, "main", force, auth); err != nil {
			t.Fatal(err)
		}
		if got, err := shop.Head("main"); got != want || err != nil {
			t.Fatalf("the branch is at %s, %v; want %s", got, err, want)
		}
	}
	push(second, false)
	push(commit(t, mine, gittest.Change{Files: map[string]string{"a": "4"}}), false)
	forced := commit(t, mine, gittest.Change{Files: map[string]string{"a": "5"}, Replace: true})
	if err := mine.Push(t.Context(), url, "main", false, auth); err == nil {
		t.Error("a push that is no fast-forward succeeded without force")
	}
	push(forced, true)
	if err := mine.Push(t.Context(), url, "main", false, &githttp.BasicAuth{Username: "ann", Password: "no"}); err == nil {
		t.Error("a wrong password can push")
	}

	sshd, private := overSSH(t, server)
	keys, err := gitssh.NewPublicKeys("git", private, "")
	if err != nil {
		t.Fatal(err)
	}
	keys.HostKeyCallback = ssh.FixedHostKey(sshd.HostKey)
	third := commit(t, mine, gittest.Change{Files: map[string]string{"a": "6"}})
	if err := mine.Push(t.Context(), sshd.URL("shop.git"), "main", false, keys); err != nil {
		t.Fatal(err)
	}
	if got, _ := shop.Head("main"); got != third {
		t.Errorf("the branch is at %s, want %s", got, third)
	}
}

// system runs the machine's own git, apart from any configuration of the user.
type system struct {
	t   *testing.T
	dir string
	env []string
}

func newSystem(t *testing.T) *system {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git binary on this machine to compare with")
	}
	return &system{t: t, dir: t.TempDir(), env: append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Bob", "GIT_AUTHOR_EMAIL=bob@example.com", "GIT_COMMITTER_NAME=Bob", "GIT_COMMITTER_EMAIL=bob@example.com",
	)}
}

func (s *system) try(args ...string) (string, error) {
	s.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), "git", args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s *system) git(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// The system's git takes these servers for Git servers, over both protocols: it clones, shallow and whole,
// fetches what is new, deepens, pushes, forces and deletes.
func TestSystemGit(t *testing.T) {
	for _, way := range []string{"HTTP", "SSH"} {
		t.Run(way, func(t *testing.T) {
			git := newSystem(t)
			server := &gittest.Server{Root: t.TempDir(), Users: map[string]string{"ann": "pw"}}
			repo := newRepo(t, server.Root, "team/shop.git")
			url := strings.Replace(overHTTP(t, server), "://", "://ann:pw@", 1) + "/team/shop.git"
			if way == "SSH" {
				if _, err := exec.LookPath("ssh"); err != nil {
					t.Skip("no ssh binary on this machine")
				}
				sshd, private := overSSH(t, server)
				key, known := filepath.Join(git.dir, "key"), filepath.Join(git.dir, "known_hosts")
				for file, content := range map[string]string{key: string(private), known: sshd.KnownHosts()} {
					if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				git.env = append(git.env, fmt.Sprintf("GIT_SSH_COMMAND=ssh -F /dev/null -i %s -o IdentitiesOnly=yes -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=/dev/null", key, known))
				url = sshd.URL("team/shop.git")
			}

			if out := git.git("ls-remote", url); out != "" {
				t.Errorf("an empty repository lists %q", out)
			}
			files := map[string]string{}
			for i := range 300 {
				files[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprintf("file %d\n%s", i, strings.Repeat("the same words\n", 20))
			}
			commit(t, repo, gittest.Change{Files: files, Executable: map[string]string{"run.sh": "#!/bin/sh\n"}, Symlinks: map[string]string{"link": "run.sh"}})
			second := commit(t, repo, gittest.Change{Files: map[string]string{"d0/f0": "changed"}})
			if err := repo.Tag("v1", second, "Version one"); err != nil {
				t.Fatal(err)
			}
			if out := git.git("ls-remote", url); !strings.Contains(out, second+"\tHEAD") || !strings.Contains(out, second+"\trefs/tags/v1^{}") {
				t.Errorf("ls-remote:\n%s", out)
			}

			git.git("clone", "-q", "--depth", "1", url, "shallow")
			if n := git.git("-C", "shallow", "rev-list", "--count", "HEAD"); n != "1" {
				t.Errorf("depth 1 gave %s commits", n)
			}
			git.git("clone", "-q", url, "whole")
			for _, clone := range []string{"shallow", "whole"} {
				git.git("-C", clone, "fsck", "--strict")
			}

			// Something new arrives, and the clones get only that.
			third := commit(t, repo, gittest.Change{Files: map[string]string{"new": "file"}, Delete: []string{"d6"}})
			git.git("-C", "whole", "pull", "-q", "--ff-only")
			if got := git.git("-C", "whole", "rev-parse", "HEAD"); got != third {
				t.Errorf("pulled %s, want %s", got, third)
			}
			git.git("-C", "shallow", "fetch", "-q", "--no-tags", "--depth", "2")
			if n := git.git("-C", "shallow", "rev-list", "--count", "origin/main"); n != "2" {
				t.Errorf("depth 2 gave %s commits", n)
			}
			git.git("-C", "shallow", "fetch", "-q", "--unshallow")
			if n := git.git("-C", "shallow", "rev-list", "--count", "origin/main"); n != "3" {
				t.Errorf("the whole history has %s commits, want 3", n)
			}
			git.git("-C", "whole", "fetch", "-q", url, second) // a commit by its hash

			// Pushing: a commit, a branch of the same commit, a large commit, a force-push, a deletion.
			git.git("-C", "whole", "commit", "-q", "--allow-empty", "-m", "From Bob")
			git.git("-C", "whole", "push", "-q", "origin", "main", "main:refs/heads/copy")
			head := git.git("-C", "whole", "rev-parse", "HEAD")
			for _, branch := range []string{"main", "copy"} {
				if got, err := repo.Head(branch); got != head || err != nil {
					t.Errorf("%s is at %s, %v; want %s", branch, got, err, head)
				}
			}
			large := filepath.Join(git.dir, "whole", "large.bin")
			noise := make([]byte, 3<<20) // above http.postBuffer: git sends it in chunks after a probe
			_, _ = rand.Read(noise)
			if err := os.WriteFile(large, noise, 0o600); err != nil {
				t.Fatal(err)
			}
			git.git("-C", "whole", "add", ".")
			git.git("-C", "whole", "commit", "-q", "-m", "Large")
			git.git("-C", "whole", "push", "-q", "origin", "main")
			git.git("-C", "whole", "reset", "-q", "--hard", "HEAD~3")
			git.git("-C", "whole", "commit", "-q", "--allow-empty", "-m", "Another way")
			if out, err := git.try("-C", "whole", "push", "-q", "origin", "main"); err == nil {
				t.Errorf("not a fast-forward, and accepted: %s", out)
			}
			git.git("-C", "whole", "push", "-q", "--force", "origin", "main")
			git.git("-C", "whole", "push", "-q", "origin", ":copy")
			if _, err := repo.Head("copy"); err == nil {
				t.Error("the deleted branch is still there")
			}
			git.git("-C", repo.Dir(), "fsck", "--strict")

			if out, err := git.try("ls-remote", strings.Replace(url, "shop", "gone", 1)); err == nil || !strings.Contains(out, "not") {
				t.Errorf("a repository that is not there: %v %s", err, out)
			}
			if out, err := git.try("ls-remote", strings.Replace(url, "ann:pw@", "ann:no@", 1)); way == "HTTP" && err == nil {
				t.Errorf("a wrong password: %s", out)
			}
		})
	}
}

// What CommitWith writes is what git would have written.
func TestSameHashesAsGit(t *testing.T) {
	git := newSystem(t)
	files := map[string]string{"b.txt": "b", "b/x": "x", "b-c": "c", "b/y/z": "z", "a": ""}
	repo := newRepo(t, t.TempDir(), "r.git")
	mine := commit(t, repo, gittest.Change{Files: files})
	git.git("init", "-q", "work")
	for name, content := range maps.All(files) {
		file := filepath.Join(git.dir, "work", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git.git("-C", "work", "add", ".")
	want := git.git("-C", "work", "write-tree")
	if got, err := repo.Tree(mine); got != want || err != nil {
		t.Errorf("tree %s, %v; git writes %s", got, err, want)
	}
}
