package git

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/fettle-gitops/fettle/source"
)

// explain turns whatever went wrong into the source.Error that a caller decides on.
func (r *Repository) explain(ctx context.Context, err error) error {
	var known *source.Error
	if errors.As(err, &known) {
		return known
	}
	e := &source.Error{Source: r.name}
	err = bare(err)
	var (
		hostKey *hostKeyError
		remote  *remoteError
		status  *githttp.Err
		ca      x509.UnknownAuthorityError
		cert    *tls.CertificateVerificationError
		dns     *net.DNSError
		netErr  net.Error
	)
	// Once the context ended, every other error is only its consequence: a connection that we closed.
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		e.State, e.Err = source.Unreachable, &failure{"no complete answer in time", context.DeadlineExceeded}
		e.Hint = fmt.Sprintf("the server or the network is slow, or the repository is large: the limit was %s", r.opts.Timeout)
	case cause != nil:
		e.State, e.Err, e.Hint = source.Unreachable, &failure{"the call was cancelled", cause}, ""

	case errors.As(err, &hostKey):
		e.State, e.Err = source.Unauthorized, r.plain(err)
		e.Hint = "compare the fingerprint with the one that the server's operator publishes, then add the line that ssh-keyscan prints to known_hosts"
		if hostKey.changed {
			e.Hint = "either the server has a new key or somebody is in between: ask the server's operator before changing known_hosts"
		}
	case errors.Is(err, errKnownHosts):
		e.State, e.Err, e.Hint = source.Unauthorized, r.plain(err), "without known_hosts no SSH server can be trusted"
	case errors.Is(err, errNoAuth):
		e.State, e.Err, e.Hint = source.Unauthorized, r.plain(err), "give an SSH key"
	case errors.Is(err, transport.ErrAuthenticationRequired), strings.Contains(err.Error(), "ssh: unable to authenticate"):
		e.State, e.Err = source.Unauthorized, errors.New("the server refuses the credentials")
		e.Hint = "check the user, and that the password, token or key is still valid and may read this repository"
		if r.anonymous() {
			e.Err, e.Hint = errors.New("the server asks for credentials and none are given"), "give a username with a password or access token (some servers also ask when the repository does not exist)"
		}
	case errors.Is(err, transport.ErrAuthorizationFailed):
		e.State, e.Err, e.Hint = source.Unauthorized, r.plain(err), "the credentials are valid and may not read this repository: grant read access"
	case errors.Is(err, transport.ErrRepositoryNotFound), errors.As(err, &remote) && remote.notFound():
		e.State, e.Err = source.NotFound, errors.New("the server knows no such repository")
		e.Hint = "check the URL; some servers say this of a repository that the credentials may not see"
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return r.empty()
	case errors.As(err, &status):
		code := status.StatusCode()
		e.State, e.Err = source.Broken, fmt.Errorf("HTTP status %d %s", code, http.StatusText(code))
		e.Hint = "check the URL: this is not how a Git server answers"
		if code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout {
			e.State, e.Hint = source.Unreachable, "the server has trouble of its own; it is tried again"
		}

	case errors.Is(err, errNotGit):
		e.State, e.Err, e.Hint = source.Broken, r.plain(err), "check the URL: a web page answers there, perhaps a login form"
	case strings.Contains(err.Error(), "http redirect: "): // go-git's words; it has no type for them
		e.State, e.Err, e.Hint = source.Broken, r.plain(err), "the server sends elsewhere: check the URL, and log in where it leads"
	case errors.Is(err, errBudget):
		return r.tooLarge("the answer is far larger than %d bytes", r.opts.MaxBytes)
	case errors.As(err, &ca), errors.As(err, &cert):
		e.State, e.Err = source.Unreachable, r.plain(err)
		e.Hint = "if the server's certificate is issued by a private authority, add that authority's certificate as CA"
	case errors.As(err, &dns):
		e.State, e.Err, e.Hint = source.Unreachable, r.plain(dns), "check the host name in the URL"
	case errors.As(err, &netErr), strings.Contains(err.Error(), "ssh: handshake failed"):
		e.State, e.Err, e.Hint = source.Unreachable, r.plain(err), "check that the server runs and that this machine may connect to it"
	case errors.Is(err, os.ErrPermission):
		e.State, e.Err, e.Hint = source.Unauthorized, r.plain(err), "let the user that runs this process read the repository"
	default:
		e.State, e.Err, e.Hint = source.Broken, r.plain(err), "the answer was cut short or damaged; it is fetched anew"
		if r.local != "" {
			e.Hint = "run \"git fsck\" in the repository"
		}
	}
	return e
}

func (r *Repository) anonymous() bool {
	return r.http != nil && r.opts.Username == "" && r.opts.Password == "" && r.opts.Token == ""
}

func (r *Repository) empty() error {
	return &source.Error{
		Source: r.name, State: source.Empty,
		Err: errors.New("the repository has no branch and no commit"), Hint: "push a first commit",
	}
}

func (r *Repository) tooLarge(format string, limit int64) error {
	return &source.Error{
		Source: r.name, State: source.TooLarge,
		Err: fmt.Errorf(format, limit), Hint: "keep build results and data out of the repository, or raise the limit",
	}
}

// bare takes off what net/http and go-git put around an error: a *url.Error repeats the URL and calls
// everything a network error, and plumbing.UnexpectedError does not unwrap.
func bare(err error) error {
	for {
		var u *url.Error
		var unexpected *plumbing.UnexpectedError
		var permanent *plumbing.PermanentError
		switch {
		case errors.As(err, &u):
			err = u.Err
		case errors.As(err, &unexpected):
			err = unexpected.Err
		case errors.As(err, &permanent):
			err = permanent.Err
		default:
			return err
		}
	}
}

// failure is an error that keeps only its words and one cause that callers test for.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// plain keeps the words of err, without credentials and without what a server may have put in
// to play with a terminal. It cuts the chain, so that nothing can be dug out of it.
func (r *Repository) plain(err error) error {
	text := err.Error()
	for _, s := range r.secrets {
		text = strings.ReplaceAll(text, s, "[redacted]")
	}
	text = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return ' '
		}
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	const longest = 400
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return errors.New(text)
}

// rememberSecrets notes every form in which a credential could come back in an error.
func (r *Repository) rememberSecrets() {
	o := r.opts
	given := []string{o.Password, o.Token, o.SSHPassphrase}
	if u, err := url.Parse(o.Proxy); err == nil {
		if p, ok := u.User.Password(); ok {
			given = append(given, p)
		}
	}
	for _, s := range given {
		if s == "" {
			continue
		}
		r.secrets = append(r.secrets, s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(o.Username+":"+s)))
	}
}
