package git_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/git/gittest"
	"github.com/fettle-gitops/fettle/source/sourcetest"
)

// newKey makes an SSH key pair; with a passphrase the private key is encrypted.
func newKey(t *testing.T, passphrase string) (private []byte, public ssh.PublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), signer.PublicKey()
}

// overSSH serves s and returns options that get in.
func overSSH(t *testing.T, s *gittest.Server) git.Options {
	t.Helper()
	private, public := newKey(t, "")
	s.Keys = append(s.Keys, public)
	server, err := s.ListenSSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(server.KnownHosts()), 0o600); err != nil {
		t.Fatal(err)
	}
	return git.Options{URL: server.URL("shop.git"), SSHKey: private, KnownHosts: []string{known}}
}

type backend struct {
	repo *gittest.Repo
	opts git.Options
}

func (b backend) Source(t *testing.T) source.Source { return open(t, b.opts) }

// Replace force-pushes: each content is a first commit.
func (b backend) Replace(t *testing.T, c sourcetest.Content) {
	commit(t, b.repo, gittest.Change{Files: c.Files, Executable: c.Executable, Symlinks: c.Symlinks, Replace: true})
}

// Every way to a repository keeps the contract of a source.
func TestContract(t *testing.T) {
	for way, options := range map[string]func(t *testing.T, s *gittest.Server, repo *gittest.Repo) git.Options{
		"path": func(_ *testing.T, _ *gittest.Server, repo *gittest.Repo) git.Options {
			return git.Options{URL: repo.Dir()}
		},
		"file URL": func(_ *testing.T, _ *gittest.Server, repo *gittest.Repo) git.Options {
			return git.Options{URL: "file://" + filepath.ToSlash(repo.Dir())}
		},
		"HTTP": func(t *testing.T, s *gittest.Server, _ *gittest.Repo) git.Options {
			return git.Options{URL: overHTTP(t, s)}
		},
		"HTTP without shallow": func(t *testing.T, s *gittest.Server, _ *gittest.Repo) git.Options {
			s.NoShallow = true
			return git.Options{URL: overHTTP(t, s), Branch: "main"}
		},
		"SSH": func(t *testing.T, s *gittest.Server, _ *gittest.Repo) git.Options { return overSSH(t, s) },
	} {
		t.Run(way, func(t *testing.T) {
			t.Setenv("PATH", "") // no git binary is needed
			sourcetest.Run(t, func(t *testing.T) sourcetest.Backend {
				server, repo := newRepo(t)
				return backend{repo, options(t, server, repo)}
			})
		})
	}
}

// blobHash is the Git hash of a file's content.
func blobHash(content string) string {
	return fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content)))
}
