// Package git reads desired state from a Git repository over HTTPS, SSH or a file path.
//
// One call of Snapshot is one conversation with the server: it lists its references (what "git ls-remote"
// shows, a few milliseconds), and if the wanted one still names the known commit, that is all. If it moved,
// the same session fetches that one commit without history into fresh memory storage; nothing is kept between
// calls, so nothing piles up and a force-push is simply another commit. The whole tree is then walked
// once: an object that is missing makes the fetch fail, it never makes a file disappear.
//
// Servers that refuse a depth, or a commit that no reference names, are asked for more history, of which
// only the one tree is kept. A path on this machine is read directly and needs no git binary.
//
// What it never does: write to a repository, check out files to disk, run hooks or filters, read the
// user's Git or SSH configuration (other than known_hosts and the SSH agent), follow submodules
// (see [ErrSubmodule]), or fetch Git LFS objects (their pointer files are what the commit holds).
package git

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/internal/tree"
)

// Reasons, besides those of io/fs, why a path of a snapshot cannot be opened.
var (
	ErrOutside   = tree.ErrOutside   // a symlink leads out of the repository
	ErrSubmodule = tree.ErrSubmodule // the path is or lies in a submodule
)

// The limits of Options that are not set.
const (
	DefaultTimeout  = 2 * time.Minute
	DefaultMaxFiles = 100_000
	// DefaultMaxBytes bounds the memory of a snapshot, and so does not go to the 1 GB that
	// Cloud Foundry accepts for one app's package.
	DefaultMaxBytes = 512 << 20
)

// Options say which repository and which commit of it, and how to get in. Only URL is required.
type Options struct {
	// URL is https://…, http://…, ssh://…, user@host:path, file://… or a path. User and password
	// may stand in it; they are used, and never shown.
	URL string

	// At most one of these; none means the branch that the remote's HEAD names.
	Branch string // "main"
	Tag    string // "v1.2"
	Commit string // a full commit hash
	Ref    string // any other reference in full: "refs/pull/7/head"

	// For HTTP. Access tokens of the usual forges are the Password of some Username; Token is for servers
	// that want "Authorization: Bearer". Username and Password serve SSH as well.
	Username, Password string
	Token              string
	CA                 []byte // PEM certificates to trust besides the system's
	ClientCert         []byte // PEM, with ClientKey: mutual TLS
	ClientKey          []byte

	// For SSH. Without a key and a password the agent at SSH_AUTH_SOCK is asked.
	SSHKey        []byte // private key, PEM or OpenSSH
	SSHPassphrase string
	// KnownHosts are files in the format of OpenSSH. If empty: ~/.ssh/known_hosts and
	// /etc/ssh/ssh_known_hosts. A server whose key is not in them is refused.
	KnownHosts []string

	// Proxy is an http://, https:// or socks5:// URL; for SSH only socks5. If empty, HTTP follows
	// the environment (HTTPS_PROXY, NO_PROXY).
	Proxy string

	Timeout  time.Duration // for one whole call
	MaxFiles int           // entries in the tree, folders included
	MaxBytes int64         // content of the tree in all, which is kept in memory
}

// Repository is one branch, tag or commit of one repository. Its methods may be called from
// many goroutines.
type Repository struct {
	opts    Options
	name    string              // what String returns
	local   string              // the path, for a repository on this machine
	target  *transport.Endpoint // else the server; never holds a credential
	http    *http.Client        // for HTTP
	ssh     *sshDialer          // for SSH
	secrets []string            // what no error may hold
}

var _ source.Source = (*Repository)(nil)

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// New checks the options and touches neither network nor repository. Its errors are mistakes in the
// options.
func New(opts Options) (*Repository, error) {
	r := &Repository{opts: opts}
	if r.opts.Timeout == 0 {
		r.opts.Timeout = DefaultTimeout
	}
	if r.opts.MaxFiles == 0 {
		r.opts.MaxFiles = DefaultMaxFiles
	}
	if r.opts.MaxBytes == 0 {
		r.opts.MaxBytes = DefaultMaxBytes
	}
	named := slices.DeleteFunc([]string{opts.Branch, opts.Tag, opts.Commit, opts.Ref}, func(s string) bool { return s == "" })
	switch {
	case opts.URL == "":
		return nil, errors.New("git source: the URL of the repository is missing")
	case len(named) > 1:
		return nil, fmt.Errorf("git source: give one of branch, tag, commit and ref, not several (%s)", strings.Join(named, ", "))
	case opts.Commit != "" && !fullHash.MatchString(opts.Commit):
		return nil, fmt.Errorf("git source: the commit %q is not a full hash of 40 hexadecimal digits in lower case", opts.Commit)
	case opts.Ref != "" && !strings.HasPrefix(opts.Ref, "refs/"):
		return nil, fmt.Errorf("git source: the ref %q does not begin with \"refs/\"", opts.Ref)
	}
	if err := r.locate(); err != nil {
		return nil, err
	}
	switch {
	case opts.Branch != "":
		r.name += " (" + opts.Branch + ")"
	case opts.Tag != "":
		r.name += " (tag " + opts.Tag + ")"
	case opts.Commit != "":
		r.name += " (commit " + opts.Commit[:12] + ")"
	case opts.Ref != "":
		r.name += " (" + opts.Ref + ")"
	}
	r.rememberSecrets()
	return r, nil
}

// locate finds out where the URL leads and prepares the client for it.
func (r *Repository) locate() error {
	raw := r.opts.URL
	// Windows paths (C:\x) and plain ones have no scheme; "host:path" without a slash before
	// the colon is SSH, as for Git.
	scheme, _, hasScheme := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case hasScheme && scheme == "file":
		u, err := url.Parse(raw)
		if err != nil || (u.Host != "" && u.Host != "localhost") || u.Path == "" {
			return errors.New("git source: a file URL has the form file:///path/to/repository")
		}
		r.local, r.name = filepath.FromSlash(u.Path), "file://"+u.Path
		return nil
	case !hasScheme && !isSCP(raw):
		path, err := filepath.Abs(raw)
		if err != nil {
			return fmt.Errorf("git source: %w", err)
		}
		r.local, r.name = path, path
		return nil
	}

	if hasScheme {
		// url.Parse's own error would repeat the URL with its password.
		if u, err := url.Parse(raw); err != nil || u.Host == "" {
			return errors.New("git source: the URL cannot be parsed (it is not shown, because it may hold a password): percent-encode special characters in user and password")
		} else if u.RawQuery != "" || u.Fragment != "" {
			return errors.New("git source: the URL of a repository has no query and no fragment")
		}
	}
	ep, err := transport.NewEndpoint(raw)
	if err != nil {
		return errors.New("git source: the URL cannot be parsed")
	}
	if r.opts.Username == "" {
		r.opts.Username = ep.User
	}
	if r.opts.Password == "" {
		r.opts.Password = ep.Password
	}
	ep.User, ep.Password = "", ""
	r.target, r.name = ep, ep.String()

	switch ep.Protocol {
	case "http", "https":
		r.http, err = newHTTPClient(&r.opts)
	case "ssh":
		r.ssh, err = newSSHDialer(&r.opts)
	case "git":
		err = errors.New("the git:// protocol neither encrypts nor authenticates; use https:// or ssh://")
	default:
		err = fmt.Errorf("unknown scheme %q; use https, ssh or file", ep.Protocol)
	}
	if err != nil {
		return fmt.Errorf("git source %s: %w", r.name, err)
	}
	return nil
}

// isSCP reports whether s is the short form of an SSH address, "git@host:path".
func isSCP(s string) bool {
	host, _, ok := strings.Cut(s, ":")
	if !ok || strings.ContainsAny(host, `/\`) || len(host) == 1 {
		return false
	}
	_, err := os.Stat(s) // an existing path wins, as it does for Git
	return err != nil
}

// String names the repository and what of it is read, without credentials.
func (r *Repository) String() string { return r.name }

// RemoteRevision asks for the newest revision without fetching it. For an annotated tag on a server that
// does not tell the commit behind, it is the hash of the tag.
func (r *Repository) RemoteRevision(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	rev, err := r.remoteRevision(ctx)
	if err != nil {
		return "", r.explain(ctx, err)
	}
	return rev, nil
}

func (r *Repository) remoteRevision(ctx context.Context) (string, error) {
	if r.local != "" {
		_, commit, err := r.openLocal()
		return commit.String(), err
	}
	if r.opts.Commit != "" {
		return r.opts.Commit, nil
	}
	s, err := r.connect(ctx)
	if err != nil {
		return "", err
	}
	defer s.Close()
	ar, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return "", err
	}
	w, err := r.choose(ar)
	return w.commit().String(), err
}

// Snapshot returns the files of the newest commit, or known if that is still the newest.
// Errors are *source.Error.
func (r *Repository) Snapshot(ctx context.Context, known *source.Snapshot) (*source.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	snap, err := r.snapshot(ctx, known)
	if errors.Is(err, errMoved) { // somebody pushed between our question and our request
		snap, err = r.snapshot(ctx, known)
	}
	if err != nil {
		err = r.explain(ctx, err)
		var e *source.Error
		if errors.As(err, &e) && e.State == source.Empty && known != nil { // it had commits when we last looked
			err = r.gone("the repository has no branch any more", nil, "all of its branches were deleted: push the branch again")
		}
		return nil, err
	}
	return snap, nil
}

func (r *Repository) snapshot(ctx context.Context, known *source.Snapshot) (*source.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if known != nil && known.Revision != "" && known.Revision == r.opts.Commit {
		return known, nil // a commit cannot change
	}
	if r.local != "" {
		repo, commit, err := r.openLocal()
		if err != nil {
			return nil, err
		}
		if known != nil && known.Revision == commit.String() {
			return known, nil
		}
		return r.extract(ctx, repo, commit)
	}

	s, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	ar, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, err
	}
	w, err := r.choose(ar)
	if err != nil {
		return nil, err
	}
	if known != nil && (known.Revision == w.commit().String() || cameFrom(known, w.hash)) {
		return known, nil
	}
	return r.fetch(ctx, s, ar, w)
}

// connect opens a session with git-upload-pack on the server.
func (r *Repository) connect(ctx context.Context) (transport.UploadPackSession, error) {
	ep := *r.target // the HTTP session writes redirects into its endpoint
	if r.ssh != nil {
		return r.ssh.session(ctx, &ep)
	}
	return newHTTPSession(r.http, &ep, &r.opts)
}
