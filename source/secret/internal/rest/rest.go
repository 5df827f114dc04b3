// Package rest makes the few HTTP requests that asking for a secret takes, with what each of them needs: a time limit, a
// bounded number of attempts, an own certificate authority, and answers that are small.
//
// What it never does: follow a redirect (net/http would carry a token header of our own to any other host), show a
// body, or know what an answer means.
package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Limits of every request.
const (
	DefaultTimeout = 30 * time.Second // of one attempt
	attempts       = 4
	firstWait      = 250 * time.Millisecond // doubled each time
	longestWait    = 30 * time.Second       // a server that asks for more is not waited for
	maxBody        = 4 << 20
)

// Options of a client.
type Options struct {
	CA          []byte // PEM, beside the system's authorities
	Certificate []byte // PEM, of a client that identifies itself by mutual TLS
	Key         []byte // PEM
	Timeout     time.Duration
}

// Client makes requests. It may be used from many goroutines.
type Client struct {
	http    *http.Client
	timeout time.Duration
}

// New checks the certificates and makes no request.
func New(o Options) (*Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(o.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the certificate authority is no PEM certificate")
		}
		config.RootCAs = pool
	}
	if len(o.Certificate) > 0 || len(o.Key) > 0 {
		pair, err := tls.X509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, fmt.Errorf("the client certificate and its key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Client{timeout: timeout, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Address checks the address of a server and cuts a slash at its end.
func Address(address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("the address is no http:// or https:// address")
	case u.User != nil:
		return "", errors.New("the address holds a user or a password, which belong elsewhere")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("the address holds a query, which it must not")
	}
	return strings.TrimRight(address, "/"), nil
}

// Segments escapes every segment of a path for use in a URL.
func Segments(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// Request is one question.
type Request struct {
	Method string
	URL    string
	Header http.Header
	Body   []byte
}

// Response is a whole answer, whatever its status.
type Response struct {
	Status int
	Body   []byte
}

// Do asks until there is an answer other than 429 and 5xx, at most four times. The last answer of these kinds is
// returned as it is. An error means that there was no answer; it does not name the request.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	for attempt := 1; ; attempt++ {
		response, after, err := c.once(ctx, r)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		again := err != nil && !permanent(err) || err == nil && Busy(response.Status)
		if !again || attempt == attempts || after > longestWait {
			return response, err
		}
		if after < 0 {
			wait := firstWait << (attempt - 1)
			after = wait/2 + rand.N(wait)
		}
		timer := time.NewTimer(after)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// Busy reports whether a status says that the same request may succeed later.
func Busy(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError && status != http.StatusNotImplemented
}

// once makes one attempt. after is how long the server asks to wait, or negative if it does not say.
func (c *Client) once(ctx context.Context, r Request) (_ *Response, after time.Duration, _ error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, -1, plain(err)
	}
	for key, values := range r.Header {
		req.Header[key] = values
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "fettle")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, -1, plain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, -1, fmt.Errorf("the answer broke off: %w", plain(err))
	case len(body) > maxBody:
		return nil, -1, &permanentError{fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, -1, &permanentError{redirected(resp)}
	}
	return &Response{Status: resp.StatusCode, Body: body}, retryAfter(resp), nil
}

// retryAfter reads Retry-After in seconds (RFC 9110 section 10.2.3; neither Vault nor CredHub writes a date).
func retryAfter(resp *http.Response) time.Duration {
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n >= 0 {
		return time.Duration(n) * time.Second
	}
	return -1
}

func redirected(resp *http.Response) error {
	to := "another address"
	if u, err := resp.Location(); err == nil {
		to = u.Scheme + "://" + u.Host
	}
	return fmt.Errorf("it answers with a redirect to %s, which is not followed with a token in hand; use that address if it is right", to)
}

// plain leaves out the URL, which *url.Error repeats: whoever asked names the place better.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return errors.New("no answer within the time limit")
		}
		return u.Err
	}
	return err
}

// permanentError is trouble that the next attempt would only repeat.
type permanentError struct{ error }

func permanent(err error) bool {
	var p *permanentError
	var unknown x509.UnknownAuthorityError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &p) || errors.As(err, &unknown) || errors.As(err, &verify)
}

// Permanent reports whether err is trouble that trying again would only repeat.
func Permanent(err error) bool { return permanent(err) }

// Sentence is what a server says of a mistake, in one line of bearable length.
func Sentence(said string) string {
	said = strings.Join(strings.FieldsFunc(said, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if r := []rune(strings.ToValidUTF8(said, "")); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return strings.ToValidUTF8(said, "")
}
