package git

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// go-git refuses multi_ack by default because its later fetches cannot use it; we only ever fetch into empty
// storage, where the answer is the same, and Azure DevOps serves no client without it (as go-git's
// documentation of packp.ServerResponse says). The variable is go-git's own switch for this.
func init() { transport.UnsupportedCapabilities = []capability.Capability{capability.ThinPack} }

const (
	maxErrorBody = 512       // bytes of a server's explanation
	maxRefs      = 256 << 20 // bytes of a list of references: some 4 million
)

func newHTTPClient(o *Options) (*http.Client, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 15 * time.Second,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if o.Proxy != "" {
		u, err := url.Parse(o.Proxy)
		if err != nil || u.Host == "" {
			return nil, errors.New("the proxy is not a URL of the form http://host:port")
		}
		t.Proxy = http.ProxyURL(u)
	}
	if len(o.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the CA holds no PEM certificate")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	if len(o.ClientCert) > 0 || len(o.ClientKey) > 0 {
		pair, err := tls.X509KeyPair(o.ClientCert, o.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("the client certificate and its key: %w", err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	if o.Token != "" && o.Password != "" {
		return nil, errors.New("give a password or a token, not both")
	}
	limit := maxRefs + 4*(o.MaxBytes+int64(o.MaxFiles)*256)
	return &http.Client{Transport: &guard{Transport: t, limit: limit}}, nil
}

// httpSession is go-git's session over HTTP; connections do not outlive it.
type httpSession struct {
	transport.UploadPackSession
	client *http.Client
}

func newHTTPSession(c *http.Client, ep *transport.Endpoint, o *Options) (transport.UploadPackSession, error) {
	var auth transport.AuthMethod
	switch {
	case o.Token != "":
		auth = &githttp.TokenAuth{Token: o.Token}
	case o.Username != "" || o.Password != "":
		auth = &githttp.BasicAuth{Username: o.Username, Password: o.Password}
	}
	s, err := githttp.NewClient(c).NewUploadPackSession(ep, auth)
	if err != nil {
		return nil, err
	}
	return &httpSession{s, c}, nil
}

func (s *httpSession) Close() error {
	err := s.UploadPackSession.Close()
	s.client.CloseIdleConnections()
	return err
}

// errNotGit says that something answers at the URL, and that it is not a Git server.
var errNotGit = errors.New("the server's answer is not Git's")

// guard keeps what a server sends within bounds: go-git reads the body of an error without limit and
// repeats it in its own error.
type guard struct {
	*http.Transport
	limit int64
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := g.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	switch {
	case res.StatusCode >= 400 && kind == "text/plain":
		res.Body = readCloser{io.LimitReader(res.Body, maxErrorBody), res.Body}
	case res.StatusCode >= 400: // HTML, most often
		res.Body = readCloser{strings.NewReader(""), res.Body}
	case res.StatusCode == http.StatusOK && !strings.HasPrefix(kind, "application/x-git-"):
		res.Body.Close()
		return nil, fmt.Errorf("%w: its content type is %q", errNotGit, kind)
	default:
		res.Body = readCloser{&boundedReader{res.Body, g.limit}, res.Body}
	}
	return res, nil
}

// readCloser joins a reader with what closes it.
type readCloser struct {
	io.Reader
	io.Closer
}

// boundedReader fails, where io.LimitReader would pretend that the end was reached.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errBudget
	}
	return n, err
}
