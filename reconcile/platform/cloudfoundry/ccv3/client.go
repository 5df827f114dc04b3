package ccv3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Config says where the controller is, who we are, and how hard we may lean on it.
type Config struct {
	API string // "https://api.sys.example.com"; may be empty with a Session

	Username, Password     string
	ClientID, ClientSecret string     // without Username: client credentials; with it: the OAuth client (default "cf")
	Session                *CFSession // used when neither a user name nor a client is given

	SkipTLSVerify bool
	CA            []byte // PEM, added to the system's authorities

	UserAgent   string
	HTTP        http.RoundTripper // instead of the network, for example an in-process controller
	Timeout     time.Duration     // of one attempt; default 100 s, for a start may hang 63 s before its 503 (observed)
	Concurrency int               // requests at a time; default 8
	Budget      Budget
	Log         *slog.Logger // a debug line per attempt, without bodies and headers; may be nil
}

// Client is safe for use by many goroutines.
type Client struct {
	cfg    Config
	base   *url.URL
	http   *http.Client
	slots  chan struct{}
	auth   *tokens
	budget *budget
	count  atomic.Int64
	skew   atomic.Int64 // nanoseconds that the controller's clock is ahead of ours

	rootMu sync.Mutex
	root   *Root
}

// Body is a request body that is not JSON, or that may be sent twice.
type Body struct {
	ContentType string
	Data        []byte
	// Repeatable says that doing it twice is as good as once, so that even a POST may be tried again.
	Repeatable bool
}

// Response is what an answer says beside its body.
type Response struct {
	Status   int
	Header   http.Header
	Warnings []string // X-Cf-Warnings, decoded
}

// Location is where a 202 says its job is.
func (r *Response) Location() string { return r.Header.Get("Location") }

// New checks the configuration. It makes no request.
func New(cfg Config) (*Client, error) {
	if cfg.Session != nil {
		if cfg.API == "" {
			cfg.API = cfg.Session.Target
		}
		cfg.SkipTLSVerify = cfg.SkipTLSVerify || cfg.Session.SSLDisabled
	}
	if cfg.API == "" {
		return nil, errors.New("no API endpoint given: say which foundation, for example https://api.sys.example.com")
	}
	if !strings.Contains(cfg.API, "://") {
		cfg.API = "https://" + cfg.API
	}
	base, err := url.Parse(strings.TrimRight(cfg.API, "/"))
	switch {
	case err != nil:
		return nil, errors.New("the API endpoint is not a URL: write it like https://api.sys.example.com")
	case base.User != nil:
		return nil, fmt.Errorf("the API endpoint %s carries a user name: give credentials by themselves, for URLs end up in logs", base.Redacted())
	case base.Host == "" || base.Scheme != "https" && base.Scheme != "http":
		return nil, fmt.Errorf("the API endpoint %q is not a URL: write it like https://api.sys.example.com", cfg.API)
	}
	base.RawQuery, base.Fragment = "", ""
	if cfg.Timeout <= 0 {
		cfg.Timeout = 100 * time.Second
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 8
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "fettle (https://github.com/fettle-gitops/fettle)"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	transport := cfg.HTTP
	if transport == nil {
		if transport, err = Network(cfg); err != nil {
			return nil, err
		}
	}
	c := &Client{
		cfg:  cfg,
		base: base,
		// A redirect could carry the token to another host; the V3 API needs none.
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots:  make(chan struct{}, cfg.Concurrency),
		budget: newBudget(cfg.Budget),
	}
	if c.auth, err = newTokens(c, cfg); err != nil {
		return nil, err
	}
	return c, nil
}

// Network is the transport of a client that trusts whom cfg trusts.
func Network(cfg Config) (http.RoundTripper, error) {
	if cfg.Session != nil {
		cfg.SkipTLSVerify = cfg.SkipTLSVerify || cfg.Session.SSLDisabled
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = cfg.Concurrency
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.SkipTLSVerify} //nolint:gosec // the user asked for it
	if len(cfg.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(cfg.CA) {
			return nil, errors.New("the CA file holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// API is the controller's address.
func (c *Client) API() string { return c.base.String() }

// Requests counts the requests made to the controller so far, repeated ones included. Requests to
// the UAA are not counted: its limits are others.
func (c *Client) Requests() int64 { return c.count.Load() }

// Now is the time by the controller's clock, as the Date of its answers tells. Its audit events bear that time.
func (c *Client) Now() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }

// noteDate keeps the difference of the clocks where it is more than whole seconds and the way here explain.
func (c *Client) noteDate(h http.Header) {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		skew := time.Until(date)
		if skew.Abs() < 3*time.Second {
			skew = 0
		}
		c.skew.Store(int64(skew))
	}
}

// Do makes one request and waits for its answer. in is nil, a [Body], or a value that is sent as JSON; out is nil, a
// *[]byte for the answer as it is, or a pointer that JSON is decoded into. path is relative ("/v3/apps?x=y") or a
// link that the controller gave; only its path and query are used, so a token never goes to another host.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) (*Response, error) {
	r := request{method: method, path: path, timeout: c.cfg.Timeout, repeatable: method != http.MethodPost}
	switch in := in.(type) {
	case nil:
	case Body:
		r.contentType, r.repeatable = in.ContentType, r.repeatable || in.Repeatable
		r.body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(in.Data)), nil }
		r.size = int64(len(in.Data))
	default:
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encoding the request: %w", method, path, err)
		}
		r.contentType = "application/json"
		r.body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		r.size = int64(len(data))
	}
	resp, data, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp, decode(r, resp, data, out)
}

func decode(r request, resp *Response, data []byte, out any) error {
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = data
	default:
		if err := json.Unmarshal(data, out); err != nil {
			// Not even on a proxy's login page do we show the body: it might hold a secret.
			return &Error{
				Method: r.method, URL: withoutQuery(r.path), Status: resp.Status, sent: true,
				Err: fmt.Errorf("the answer (%s, %d bytes) is not the JSON that the V3 API describes: %w", resp.Header.Get("Content-Type"), len(data), err),
			}
		}
	}
	return nil
}

// request is one request that may take several attempts.
type request struct {
	method, path string
	body         func() (io.ReadCloser, error) // called once per attempt; nil: no body
	size         int64                         // of the body; -1 if unknown
	contentType  string
	timeout      time.Duration // per attempt
	repeatable   bool
}

const (
	maxTrouble   = 5         // attempts that may end in 5xx or a cut connection
	maxLimited   = 8         // attempts that may end in 429
	maxAnswer    = 256 << 20 // bytes; 5,000 apps are about 10 MB
	firstPause   = 500 * time.Millisecond
	longestPause = 15 * time.Second
)

// send tries until the request succeeds, cannot succeed, or has been tried often enough.
func (c *Client) send(ctx context.Context, r request) (*Response, []byte, error) {
	target, err := c.resolve(r.path)
	if err != nil {
		return nil, nil, err
	}
	pauses := growing(firstPause, longestPause)
	var trouble, limited, renewed int
	for {
		resp, data, usedToken, err := c.attempt(ctx, r, target)
		if err == nil {
			collect(ctx, resp.Warnings)
			return resp, data, nil
		}
		var e *Error
		if !errors.As(err, &e) || ctx.Err() != nil || usedToken == "" { // without a token, the login has tried often enough
			return nil, nil, err
		}
		var pause time.Duration
		switch {
		case e.Status == 0 && !e.Retryable():
			return nil, nil, err
		case e.Status == http.StatusUnauthorized && renewed == 0 && c.auth.renewable():
			// The controller may have lost its keys or the clocks differ. It did nothing, so any method may be repeated.
			renewed++
			c.auth.drop(usedToken)
			continue
		case e.Status == http.StatusTooManyRequests:
			limited++
			pause = max(e.RetryAfter, pauses.NextBackOff())
			if limited >= maxLimited || pause > c.budget.MaxWait {
				return nil, nil, err
			}
		case e.Status == 0 && !e.sent, (e.Status == 0 || retryableStatus(e.Status)) && r.repeatable:
			trouble++
			pause = max(e.RetryAfter, pauses.NextBackOff())
			if trouble >= maxTrouble || pause > c.budget.MaxWait {
				return nil, nil, err
			}
		default:
			return nil, nil, err
		}
		if sleep(ctx, pause) != nil {
			return nil, nil, err
		}
	}
}

// attempt makes one HTTP exchange and reads the whole answer.
func (c *Client) attempt(ctx context.Context, r request, target *url.URL) (_ *Response, _ []byte, token string, _ error) {
	fail := func(err error, sent bool) error { // without an answer it matters which server gave none
		return &Error{Method: r.method, URL: withoutQuery(target.String()), Err: plainCause(err), sent: sent}
	}
	if err := c.budget.wait(ctx); err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Method, e.URL = r.method, target.Path
			return nil, nil, "", e
		}
		return nil, nil, "", fail(err, false)
	}
	token, err := c.auth.get(ctx)
	if err != nil {
		return nil, nil, "", err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, nil, token, fail(ctx.Err(), false)
	}

	attemptCtx, cancel := context.WithTimeoutCause(ctx, r.timeout, fmt.Errorf("no answer within %s", r.timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(attemptCtx, r.method, target.String(), nil)
	if err != nil {
		return nil, nil, token, fail(err, false)
	}
	if r.body != nil {
		if req.Body, err = r.body(); err != nil {
			return nil, nil, token, fail(err, false)
		}
		defer req.Body.Close() // not every transport does, and an upload has a goroutine behind it
		req.ContentLength = r.size
		req.Header.Set("Content-Type", r.contentType)
	}
	req.Header.Set("Accept", "application/json, application/x-yaml;q=0.9, */*;q=0.5")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if token != "" {
		req.Header.Set("Authorization", "bearer "+token)
	}

	c.count.Add(1)
	began := time.Now()
	httpResp, data, err := exchange(c.http, req) //nolint:bodyclose // exchange reads and closes it
	status := 0
	if httpResp != nil {
		status = httpResp.StatusCode
	}
	c.cfg.Log.DebugContext(ctx, "controller request", "method", r.method, "path", target.Path,
		"query", target.RawQuery, "status", status, "bytes", len(data), "took", time.Since(began).Round(time.Millisecond))
	if httpResp != nil {
		c.budget.note(httpResp.Header)
		c.noteDate(httpResp.Header)
	}
	if err != nil {
		if cause := context.Cause(attemptCtx); cause != nil {
			err = cause
		}
		return nil, nil, token, fail(err, !isDialError(err))
	}
	if status < 200 || status > 299 {
		e := answerError(r.method, target.Path, httpResp, data)
		e.RetryAfter = c.budget.retryAfter(httpResp)
		return nil, nil, token, e
	}
	return &Response{Status: status, Header: httpResp.Header, Warnings: warnings(httpResp.Header)}, data, token, nil
}

// exchange sends req and reads the answer to its end. A body that breaks off is an error.
func exchange(client *http.Client, req *http.Request) (*http.Response, []byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d MB", maxAnswer>>20)
	}
	return resp, data, err
}

// resolve puts the path and query of a path or link onto the controller's address.
func (c *Client) resolve(path string) (*url.URL, error) {
	u, err := url.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("%q is no path of the V3 API", withoutQuery(path))
	}
	target := *c.base
	if u.Host == "" || c.base.Path == "" || !strings.HasPrefix(u.Path, c.base.Path+"/") {
		target.Path = c.base.Path + "/" + strings.TrimPrefix(u.Path, "/")
	} else {
		target.Path = u.Path // a link already carries the base path
	}
	target.RawQuery = u.RawQuery
	return &target, nil
}

// plainCause takes the net/http wrapping off, which repeats method and URL.
func plainCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// isDialError reports whether the request cannot have left this machine.
func isDialError(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return true
	}
	return isCertificateError(err)
}

// isCertificateError: asking again does not make a certificate trusted, nor a server speak TLS.
func isCertificateError(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &verify)
}

// growing gives pauses that double from first to longest, each moved at random by up to a half, so that
// many clients do not come back all at once.
func growing(first, longest time.Duration) *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{InitialInterval: first, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: longest}
	b.Reset()
	return b
}

func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
