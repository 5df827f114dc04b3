package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/net/proxy"
)

// sshDialer opens sessions with git-upload-pack over SSH. It is used in place of go-git's SSH transport, which
// waits without limit for a server that accepts a connection and then says nothing, and which reads
// ~/.ssh/config.
type sshDialer struct {
	user       string
	signer     ssh.Signer // nil: password or agent
	password   string
	knownHosts []string
	proxy      *url.URL
	limit      int64
}

func newSSHDialer(o *Options) (*sshDialer, error) {
	d := &sshDialer{user: o.Username, password: o.Password, knownHosts: o.KnownHosts, limit: maxRefs + 4*(o.MaxBytes+int64(o.MaxFiles)*256)}
	if d.user == "" {
		d.user = "git" // what every forge expects
	}
	if len(o.SSHKey) > 0 {
		var err error
		d.signer, err = ssh.ParsePrivateKey(o.SSHKey)
		var locked *ssh.PassphraseMissingError
		if errors.As(err, &locked) {
			if o.SSHPassphrase == "" {
				return nil, errors.New("the SSH key is protected by a passphrase, and none is given")
			}
			d.signer, err = ssh.ParsePrivateKeyWithPassphrase(o.SSHKey, []byte(o.SSHPassphrase))
		}
		if err != nil {
			return nil, errors.New("the SSH key cannot be read: it is no private key in PEM or OpenSSH format, or the passphrase is wrong")
		}
	}
	if o.Proxy != "" {
		u, err := url.Parse(o.Proxy)
		if err != nil || u.Scheme != "socks5" && u.Scheme != "socks5h" {
			return nil, errors.New("SSH goes through a socks5:// proxy only")
		}
		d.proxy = u
	}
	return d, nil
}

// hostKeyError says why the server's key was not accepted.
type hostKeyError struct {
	host, fingerprint string
	changed           bool
}

func (e *hostKeyError) Error() string {
	if e.changed {
		return fmt.Sprintf("the host key of %s is %s, which differs from the one in known_hosts", e.host, e.fingerprint)
	}
	return fmt.Sprintf("the host key of %s, %s, is not in known_hosts", e.host, e.fingerprint)
}

// errNoAuth says that there is nothing to log in with.
var errNoAuth = errors.New("no SSH key and no password is given, and no SSH agent runs (SSH_AUTH_SOCK is empty)")

// session connects, logs in and starts git-upload-pack. When ctx ends, the connection is closed, which ends
// whatever waits on it.
func (d *sshDialer) session(ctx context.Context, ep *transport.Endpoint) (_ *sshSession, err error) {
	port := ep.Port
	if port == 0 {
		port = 22
	}
	addr := net.JoinHostPort(strings.Trim(ep.Host, "[]"), strconv.Itoa(port))

	var dialer proxy.ContextDialer = &net.Dialer{}
	if d.proxy != nil {
		via, err := proxy.FromURL(d.proxy, &net.Dialer{})
		if err != nil {
			return nil, err
		}
		dialer = via.(proxy.ContextDialer) // the SOCKS dialer of x/net is one
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &sshSession{release: context.AfterFunc(ctx, func() { conn.Close() }), conn: conn, limit: d.limit}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()

	config := &ssh.ClientConfig{User: d.user}
	if config.Auth, err = d.auth(ctx, s); err != nil {
		return nil, err
	}
	known, err := d.known()
	if err != nil {
		return nil, err
	}
	config.HostKeyAlgorithms = known.HostKeyAlgorithms(addr)
	var refusal *hostKeyError
	config.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known.HostKeyCallback()(host, remote, key)
		if err != nil {
			refusal = &hostKeyError{host: addr, fingerprint: key.Type() + " " + ssh.FingerprintSHA256(key), changed: knownhosts.IsHostKeyChanged(err)}
		}
		return err
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, config)
	if refusal != nil {
		return nil, refusal
	}
	if err != nil {
		return nil, err
	}
	s.client = ssh.NewClient(c, chans, reqs)
	return s, s.start(ep.Path)
}

// known reads the known_hosts files; those of the default that do not exist are left out.
func (d *sshDialer) known() (*knownhosts.HostKeyDB, error) {
	files := d.knownHosts
	if len(files) == 0 {
		defaults := []string{"/etc/ssh/ssh_known_hosts"}
		if home, err := os.UserHomeDir(); err == nil {
			defaults = append(defaults, filepath.Join(home, ".ssh", "known_hosts"))
		}
		for _, f := range defaults {
			if _, err := os.Stat(f); err == nil {
				files = append(files, f)
			}
		}
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKnownHosts, err)
	}
	return db, nil
}

var errKnownHosts = errors.New("the known_hosts files cannot be read")

// auth offers the key, the password or the agent's keys.
func (d *sshDialer) auth(ctx context.Context, s *sshSession) ([]ssh.AuthMethod, error) {
	switch sock := os.Getenv("SSH_AUTH_SOCK"); {
	case d.signer != nil:
		return []ssh.AuthMethod{ssh.PublicKeys(d.signer)}, nil
	case d.password != "":
		return []ssh.AuthMethod{ssh.Password(d.password)}, nil
	case sock == "":
		return nil, errNoAuth
	default:
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", sock)
		if err != nil {
			return nil, fmt.Errorf("%w: the SSH agent does not answer: %w", errNoAuth, err)
		}
		s.agent = conn
		return []ssh.AuthMethod{ssh.PublicKeysCallback(agent.NewClient(conn).Signers)}, nil
	}
}

// sshSession is one run of git-upload-pack on the server.
type sshSession struct {
	release func() bool // stops watching the context
	conn    net.Conn
	agent   net.Conn
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	errs    stderr
	limit   int64
	refs    *packp.AdvRefs
}

func (s *sshSession) start(path string) (err error) {
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	if s.in, err = s.session.StdinPipe(); err != nil {
		return err
	}
	out, err := s.session.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = &boundedReader{out, s.limit}
	s.session.Stderr = &s.errs
	return s.session.Start("git-upload-pack " + quote(path))
}

// quote makes one word for the remote shell, as Git does (sq_quote_buf in quote.c).
func quote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

// AdvertisedReferences is part of transport.UploadPackSession and is not used.
func (s *sshSession) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

// AdvertisedReferencesContext reads the list that the server begins with.
func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	ar := packp.NewAdvRefs()
	switch err := ar.Decode(s.out); {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return nil, transport.ErrEmptyRemoteRepository
	case err != nil:
		return nil, s.because(err)
	case ar.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	}
	transport.FilterUnsupportedCapabilities(ar.Capabilities)
	s.refs = ar
	return ar, nil
}

// UploadPack sends the request and reads the answer up to where the pack begins.
func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	s.refs = nil // no longer to be ended with a flush
	if err := errors.Join(
		req.UploadRequest.Encode(s.in),
		pktline.NewEncoder(s.in).EncodeString("done\n"),
	); err != nil {
		return nil, s.because(err)
	}
	res := packp.NewUploadPackResponse(req)
	if err := res.Decode(io.NopCloser(s.out)); err != nil {
		return nil, s.because(err)
	}
	return res, nil
}

// because replaces "the stream ended" by what the server wrote to its error stream, which Git servers do
// before they hang up.
func (s *sshSession) because(err error) error {
	if s.session != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, packp.ErrEmptyInput)) {
		exit := s.session.Wait() // ends with the connection at the latest, and that with the context
		if said := s.errs.text(); said != "" {
			return &remoteError{said: said}
		}
		var missing *ssh.ExitMissingError
		if exit != nil && !errors.As(exit, &missing) {
			return fmt.Errorf("%w: %w", err, exit)
		}
	}
	return err
}

// Close ends the session and the connection.
func (s *sshSession) Close() error {
	if s.refs != nil { // the polite end without a request
		_ = pktline.NewEncoder(s.in).Flush()
	}
	if s.session != nil {
		_ = s.session.Close()
	}
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.agent != nil {
		_ = s.agent.Close()
	}
	_ = s.conn.Close()
	s.release()
	return nil
}

// remoteError is what the server wrote to its error stream.
type remoteError struct{ said string }

func (e *remoteError) Error() string { return "the server says: " + e.said }

// notFound reports whether the server speaks of a missing repository, in the words of Git itself, GitHub,
// Bitbucket, GitLab and Gitea.
func (e *remoteError) notFound() bool {
	said := strings.ToLower(e.said)
	for _, words := range []string{
		"not appear to be a git repository", "repository not found", "repository does not exist", "no such repository",
		"could not be found", "no such file or directory", "not a git repository", "cannot find repository",
	} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// stderr keeps the first bytes of an error stream and reads the rest away.
type stderr struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (e *stderr) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if room := maxErrorBody - e.buf.Len(); room > 0 {
		e.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (e *stderr) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.TrimSpace(e.buf.String())
}
