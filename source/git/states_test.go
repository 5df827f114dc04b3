package git_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

// secret is a credential that must never come back.
const secret = "hunter22-s3cret"

// fails takes a snapshot and a revision, and checks that both fail in the same state, without the secret.
func fails(t *testing.T, o git.Options, want source.State, words ...string) {
	t.Helper()
	r := open(t, o)
	_, err := r.Snapshot(t.Context(), nil)
	text := state(t, err, want)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in: %s", w, text)
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(fmt.Sprintf("%v %+v", e, e), secret) {
			t.Errorf("the secret is in: %s", e)
		}
	}
	if strings.ContainsAny(text, "\n\r\x1b") {
		t.Errorf("more than one plain line: %q", text)
	}
}

// A server that hands each request to serve, before the real one.
func faulty(t *testing.T, s *gittest.Server, serve func(w http.ResponseWriter, r *http.Request, real http.Handler)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r, s) }))
	t.Cleanup(server.Close)
	return server.URL + "/shop.git"
}

func filled(t *testing.T) (*gittest.Server, *gittest.Repo) {
	t.Helper()
	s, repo := newRepo(t)
	commit(t, repo, gittest.Change{Files: map[string]string{"manifest.yml": "applications: []\n", "web/f": "hello"}})
	return s, repo
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	key, _ := newKey(t, "")
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, git.Options{URL: "http://" + free + "/shop.git"}, source.Unreachable, "connection refused")
	fails(t, git.Options{URL: "ssh://git@" + free + "/shop.git", SSHKey: key, KnownHosts: []string{known}}, source.Unreachable, "connection refused")
	fails(t, git.Options{URL: "http://example.com/shop.git", Proxy: "http://u:" + secret + "@" + free}, source.Unreachable, "connection refused")
	fails(t, git.Options{URL: "git@example.com:shop.git", SSHKey: key, KnownHosts: []string{known}, Proxy: "socks5://u:" + secret + "@" + free}, source.Unreachable)

	s, _ := filled(t)
	for _, code := range []int{500, 502, 503, 429} {
		url := faulty(t, s, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			http.Error(w, "trouble with "+secret+"\x1b[31m\nand more", code)
		})
		fails(t, git.Options{URL: url, Username: "ann", Password: secret}, source.Unreachable, fmt.Sprint(code))
	}
}

func TestCertificates(t *testing.T) {
	s, _ := filled(t)
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client that does not trust it
	server.StartTLS()
	t.Cleanup(server.Close)
	url := server.URL + "/shop.git"
	fails(t, git.Options{URL: url}, source.Unreachable, "certificate", "CA")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	snapshot(t, open(t, git.Options{URL: url, CA: ca}), nil)
}

func TestCredentialsOverHTTP(t *testing.T) {
	s, _ := filled(t)
	s.Users = map[string]string{"ann": secret}
	s.Tokens = []string{secret + "-token"}
	url := overHTTP(t, s)
	for name, o := range map[string]git.Options{
		"user and password": {URL: url, Username: "ann", Password: secret},
		"in the URL":        {URL: strings.Replace(url, "://", "://ann:"+secret+"@", 1)},
		"token":             {URL: url, Token: secret + "-token"},
	} {
		t.Run(name, func(t *testing.T) { snapshot(t, open(t, o), nil) })
	}
	fails(t, git.Options{URL: url}, source.Unauthorized, "none are given")
	fails(t, git.Options{URL: url, Username: "ann", Password: "wrong-" + secret}, source.Unauthorized, "refuses the credentials")
	fails(t, git.Options{URL: strings.Replace(url, "://", "://eve:"+secret+"@", 1)}, source.Unauthorized)
	fails(t, git.Options{URL: url, Token: secret}, source.Unauthorized)

	forbidden := faulty(t, s, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, p, _ := r.BasicAuth()
		http.Error(w, "no access with "+p+" or "+r.Header.Get("Authorization"), http.StatusForbidden)
	})
	fails(t, git.Options{URL: forbidden, Username: "ann", Password: secret}, source.Unauthorized, "[redacted]", "grant read access")
}

func TestSSH(t *testing.T) {
	s, _ := filled(t)
	s.Users = map[string]string{"ann": secret}
	locked, public := newKey(t, secret)
	s.Keys = append(s.Keys, public)
	good := overSSH(t, s)
	with := func(change func(*git.Options)) git.Options {
		o := good
		change(&o)
		return o
	}
	t.Setenv("SSH_AUTH_SOCK", "")

	t.Run("key", func(t *testing.T) { snapshot(t, open(t, good), nil) })
	t.Run("key with passphrase", func(t *testing.T) {
		snapshot(t, open(t, with(func(o *git.Options) { o.SSHKey, o.SSHPassphrase = locked, secret })), nil)
	})
	t.Run("password", func(t *testing.T) {
		snapshot(t, open(t, with(func(o *git.Options) { o.SSHKey, o.Username, o.Password = nil, "ann", secret })), nil)
	})
	t.Run("agent", func(t *testing.T) {
		t.Setenv("SSH_AUTH_SOCK", runAgent(t, good.SSHKey))
		snapshot(t, open(t, with(func(o *git.Options) { o.SSHKey = nil })), nil)
	})
	t.Run("wrong key", func(t *testing.T) {
		other, _ := newKey(t, "")
		fails(t, with(func(o *git.Options) { o.SSHKey = other }), source.Unauthorized, "refuses the credentials")
	})
	t.Run("wrong password", func(t *testing.T) {
		fails(t, with(func(o *git.Options) { o.SSHKey, o.Username, o.Password = nil, "bob", secret }), source.Unauthorized)
	})
	t.Run("nothing to log in with", func(t *testing.T) {
		fails(t, with(func(o *git.Options) { o.SSHKey = nil }), source.Unauthorized, "SSH_AUTH_SOCK")
	})
	hosts := func(t *testing.T, line string) []string {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{file}
	}
	t.Run("unknown host key", func(t *testing.T) {
		fails(t, with(func(o *git.Options) { o.KnownHosts = hosts(t, "") }), source.Unauthorized, "SHA256:", "not in known_hosts")
	})
	t.Run("changed host key", func(t *testing.T) {
		_, other := newKey(t, "")
		host, _, _ := strings.Cut(strings.TrimPrefix(good.URL, "ssh://git@"), "/")
		line := fmt.Sprintf("[%s %s", strings.Replace(host, ":", "]:", 1), ssh.MarshalAuthorizedKey(other))
		fails(t, with(func(o *git.Options) { o.KnownHosts = hosts(t, line) }), source.Unauthorized, "differs", "in between")
	})
	t.Run("no known_hosts file", func(t *testing.T) {
		fails(t, with(func(o *git.Options) { o.KnownHosts = []string{filepath.Join(t.TempDir(), "none")} }), source.Unauthorized, "known_hosts")
	})
	t.Run("no such repository", func(t *testing.T) {
		fails(t, with(func(o *git.Options) { o.URL = strings.Replace(o.URL, "shop", "gone", 1) }), source.NotFound)
	})
	t.Run("no such branch", func(t *testing.T) {
		fails(t, with(func(o *git.Options) { o.Branch = "gone" }), source.BranchGone, "branches there: main")
	})
	t.Run("commit that the server does not have", func(t *testing.T) {
		fails(t, with(func(o *git.Options) { o.Commit = strings.Repeat("1", 40) }), source.BranchGone)
	})
}

// runAgent serves an SSH agent with one key and returns its socket.
func runAgent(t *testing.T, private []byte) string {
	t.Helper()
	key, err := ssh.ParseRawPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "agent") // t.TempDir can be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(folder, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended; os.RemoveAll(folder) })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(ring, c) // until the client closes
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestNotFound(t *testing.T) {
	s, _ := filled(t)
	url := overHTTP(t, s)
	fails(t, git.Options{URL: strings.Replace(url, "shop", "gone", 1)}, source.NotFound, "check the URL")
	fails(t, git.Options{URL: filepath.Join(t.TempDir(), "gone")}, source.NotFound, "no such folder")
	fails(t, git.Options{URL: t.TempDir()}, source.NotFound, "not a Git repository")
}

func TestBranchGone(t *testing.T) {
	s, repo := filled(t)
	for _, url := range []string{overHTTP(t, s), repo.Dir()} {
		fails(t, git.Options{URL: url, Branch: "gone"}, source.BranchGone, `branch "gone" does not exist`, "branches there: main")
		fails(t, git.Options{URL: url, Tag: "v9"}, source.BranchGone, `tag "v9"`)
		fails(t, git.Options{URL: url, Ref: "refs/pull/1/head"}, source.BranchGone, `reference "refs/pull/1/head"`)
		fails(t, git.Options{URL: url, Commit: strings.Repeat("1", 40)}, source.BranchGone, "commit 1111")
	}
	// The default branch is deleted after it was read, and another one remains.
	url := overHTTP(t, s)
	r := open(t, git.Options{URL: url})
	known := snapshot(t, r, nil)
	commit(t, repo, gittest.Change{Branch: "next", From: "main", Files: map[string]string{"f": "x"}})
	if err := repo.DeleteBranch("main"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Snapshot(t.Context(), known)
	state(t, err, source.BranchGone)
	fails(t, git.Options{URL: repo.Dir()}, source.BranchGone, "branches there: next")
	if err := repo.SetDefaultBranch("next"); err != nil {
		t.Fatal(err)
	}
	snapshot(t, r, known)
	// Then the last one goes. That is not the emptiness of a new repository.
	if err := repo.DeleteBranch("next"); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{url, repo.Dir()} {
		_, err = open(t, git.Options{URL: url}).Snapshot(t.Context(), known)
		state(t, err, source.BranchGone)
		fails(t, git.Options{URL: url}, source.Empty)
	}
}

func TestEmpty(t *testing.T) {
	s, repo := newRepo(t)
	fails(t, git.Options{URL: overHTTP(t, s)}, source.Empty)
	fails(t, git.Options{URL: overHTTP(t, s), Branch: "main"}, source.Empty)
	fails(t, git.Options{URL: repo.Dir(), Branch: "main"}, source.Empty)
	fails(t, overSSH(t, s), source.Empty)
}

// Wherever an answer ends early, and however politely, the state is broken and never a smaller tree.
func TestTruncated(t *testing.T) {
	s, _ := filled(t)
	for _, part := range []string{"/info/refs", "/git-upload-pack"} {
		whole := len(answer(t, s, part))
		if whole < 100 {
			t.Fatalf("the answer to %s has %d bytes", part, whole)
		}
		for keep := range whole {
			if keep > 12 && keep < whole-30 && keep%7 != 0 {
				continue // every byte at both ends, some in between
			}
			url := faulty(t, s, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
				cut := &cutter{ResponseWriter: w, left: -1}
				if strings.HasSuffix(r.URL.Path, part) {
					cut.left = keep
				}
				real.ServeHTTP(cut, r)
			})
			snap, err := open(t, git.Options{URL: url}).Snapshot(t.Context(), nil)
			var e *source.Error
			if !errors.As(err, &e) || e.State != source.Broken || !e.Retryable() {
				// The last 29 bytes of the pack's answer are its checksum in a packet and a flush. All objects came
				// before them, each proven by its own hash.
				if part == "/git-upload-pack" && err == nil && keep >= whole-29 && read(t, snap, "web/f") == "hello" {
					continue
				}
				t.Errorf("%s, %d bytes of %d: %v", part, keep, whole, err)
			}
		}
	}
}

// cutter passes on only so many bytes (-1: all) and swallows the rest.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	keep := p
	if c.left >= 0 {
		keep = p[:min(c.left, len(p))]
		c.left -= len(keep)
	}
	if _, err := c.ResponseWriter.Write(keep); err != nil {
		return 0, err
	}
	return len(p), nil
}

// answer records what the server says to one part of a fetch.
func answer(t *testing.T, s *gittest.Server, part string) []byte {
	t.Helper()
	var said []byte
	url := faulty(t, s, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
		rec := httptest.NewRecorder()
		real.ServeHTTP(rec, r)
		if strings.HasSuffix(r.URL.Path, part) {
			said = rec.Body.Bytes()
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
	snapshot(t, open(t, git.Options{URL: url}), nil)
	return said
}

// A pack that is complete as a pack and lacks an object of the tree.
func TestMissingObject(t *testing.T) {
	s, repo := newRepo(t)
	head := commit(t, repo, gittest.Change{Files: map[string]string{"a": "1", "web/f": "hello"}})
	root, err := repo.Tree(head)
	if err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string]string{
		"a commit": head, "the root folder": root, "a file": blobHash("hello"),
	} {
		t.Run(name, func(t *testing.T) {
			s.Withhold = []string{object}
			fails(t, git.Options{URL: overHTTP(t, s)}, source.Broken, "missing")
		})
	}
	t.Run("in a repository on disk", func(t *testing.T) {
		if err := repo.RemoveObject(blobHash("hello")); err != nil {
			t.Fatal(err)
		}
		fails(t, git.Options{URL: repo.Dir()}, source.Broken, "web/f", "missing", "git fsck")
	})
}

// Things that answer and are no Git server.
func TestNotGit(t *testing.T) {
	s, _ := filled(t)
	for name, serve := range map[string]http.HandlerFunc{
		"a web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in") },
		"a redirect to a login": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				_, _ = io.WriteString(w, "<html>log in")
				return
			}
			http.Redirect(w, r, "/login", http.StatusFound)
		},
		"rubbish": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, "001e# service=git-upload-pack\nzzzz")
		},
		"a bad request": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "what?", http.StatusBadRequest) },
	} {
		t.Run(name, func(t *testing.T) {
			url := faulty(t, s, func(w http.ResponseWriter, r *http.Request, _ http.Handler) { serve(w, r) })
			fails(t, git.Options{URL: url}, source.Broken)
		})
	}
}

// A moved repository is followed; credentials stay with the server they are for.
func TestRedirects(t *testing.T) {
	s, _ := filled(t)
	s.Users = map[string]string{"ann": secret}
	o := git.Options{Username: "ann", Password: secret, Branch: "main"}

	o.URL = strings.Replace(faulty(t, s, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/old.git/info/refs") {
			http.Redirect(w, r, "/shop.git/info/refs?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		real.ServeHTTP(w, r)
	}), "shop", "old", 1)
	r := open(t, o)
	snapshot(t, r, snapshot(t, r, nil))

	var leaked string
	other := faulty(t, s, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
		leaked += r.Header.Get("Authorization")
		real.ServeHTTP(w, r)
	})
	o.URL = faulty(t, s, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, other+"/info/refs?"+r.URL.RawQuery, http.StatusMovedPermanently)
	})
	fails(t, o, source.Unauthorized)
	if leaked != "" {
		t.Error("the other server got the credentials")
	}

	o.URL = faulty(t, s, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, r.URL.String(), http.StatusFound)
	})
	fails(t, o, source.Broken, "redirect")
}

// A server that goes silent holds nobody: neither past the call's own limit nor past the caller's.
func TestSilence(t *testing.T) {
	s, _ := filled(t)
	asked := make(chan struct{}, 64) // a server's signs of life
	hold := make(chan struct{})
	silent := func(part string, first string) string {
		return faulty(t, s, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
			if !strings.HasSuffix(r.URL.Path, part) {
				real.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			if first != "" {
				_, _ = io.WriteString(w, first)
				_ = http.NewResponseController(w).Flush()
			}
			asked <- struct{}{}
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // a server that takes connections and says nothing
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked <- struct{}{}
			go func() { <-hold; c.Close() }()
		}
	}()
	t.Cleanup(func() { l.Close() })
	t.Cleanup(func() { close(hold) })
	key, _ := newKey(t, "")
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for name, o := range map[string]git.Options{
		"no answer":            {URL: silent("/info/refs", "")},
		"in the references":    {URL: silent("/info/refs", "001e# service=git-upload-pack\n0000")},
		"no pack":              {URL: silent("/git-upload-pack", "")},
		"in the pack":          {URL: silent("/git-upload-pack", "0000")},
		"TCP and no TLS":       {URL: "https://" + l.Addr().String() + "/shop.git"},
		"TCP and no handshake": {URL: "ssh://git@" + l.Addr().String() + "/shop.git", SSHKey: key, KnownHosts: []string{known}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error)
			go func() {
				_, err := open(t, o).Snapshot(ctx, nil)
				result <- err
			}()
			<-asked
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			o.Timeout = 50 * time.Millisecond
			_, err := open(t, o).Snapshot(t.Context(), nil)
			if state(t, err, source.Unreachable); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("timed out: %v", err)
			}
			for len(asked) > 0 {
				<-asked
			}
		})
	}
}

func TestLimits(t *testing.T) {
	s, repo := filled(t) // manifest.yml, web, web/f: 3 entries and 22 bytes
	for _, way := range []git.Options{{URL: repo.Dir()}, {URL: overHTTP(t, s)}, overSSH(t, s)} {
		way.MaxFiles, way.MaxBytes = 2, 1000
		fails(t, way, source.TooLarge, "more than 2 files")
		way.MaxFiles, way.MaxBytes = 3, 21
		fails(t, way, source.TooLarge, "larger than 21 bytes")
	}
	way := git.Options{URL: overHTTP(t, s), MaxFiles: 3, MaxBytes: 22}
	snapshot(t, open(t, way), nil)

	// A pack that unpacks to far more than agreed is given up on the way.
	commit(t, repo, gittest.Change{Files: map[string]string{"zeros": strings.Repeat("\x00", 8<<20)}})
	way.MaxBytes = 1 << 20
	fails(t, way, source.TooLarge)
}
