package ccv3

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// renewAhead is how long before its end a token is replaced, so that it does not expire on the way.
const renewAhead = 30 * time.Second

// tokens holds the access token and gets a new one when it is needed: by refresh token where there is one,
// else by the credentials.
type tokens struct {
	c      *Client
	grant  url.Values // password or client_credentials; nil when there is only a session
	client string     // OAuth client and its secret, for HTTP Basic
	secret string

	flight singleflight.Group

	mu      sync.Mutex
	access  string
	refresh string
	expires time.Time // zero: unknown, used until the controller refuses it
}

func newTokens(c *Client, cfg Config) (*tokens, error) {
	t := &tokens{c: c, client: cfg.ClientID, secret: cfg.ClientSecret}
	switch {
	case cfg.Username != "":
		if cfg.Password == "" {
			return nil, fmt.Errorf("no password given for the user %s", cfg.Username)
		}
		if t.client == "" {
			t.client = "cf" // the cf CLI's client; it has no secret
		}
		t.grant = url.Values{"grant_type": {"password"}, "username": {cfg.Username}, "password": {cfg.Password}}
	case cfg.ClientID != "":
		t.grant = url.Values{"grant_type": {"client_credentials"}}
	case cfg.Session != nil:
		if t.client, t.secret = cfg.Session.UAAOAuthClient, cfg.Session.UAAOAuthClientSecret; t.client == "" {
			t.client = "cf"
		}
		_, t.access, _ = strings.Cut(cfg.Session.AccessToken, " ")
		t.refresh = cfg.Session.RefreshToken
		t.expires = claimsOf(t.access).expires()
	default:
		return nil, errors.New("no credentials given: a user name and password, client credentials, or the session of `cf login`")
	}
	return t, nil
}

// renewable reports whether we could get another token.
func (t *tokens) renewable() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.grant != nil || t.refresh != ""
}

// drop forgets a token that was refused, unless it was replaced in the meantime.
func (t *tokens) drop(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.access == token {
		t.access = ""
	}
}

// get returns a token that is good for a while. Many callers at once share one request to the UAA, which
// goes on when the caller that began it gives up, because the others wait for it.
func (t *tokens) get(ctx context.Context) (string, error) {
	if token := t.current(); token != "" {
		return token, nil
	}
	got := t.flight.DoChan("token", func() (any, error) {
		if token := t.current(); token != "" { // another flight landed just before
			return token, nil
		}
		return t.fetch(context.WithoutCancel(ctx)) // each attempt has its time limit, and their number is bounded
	})
	select {
	case r := <-got:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", &Error{Method: http.MethodPost, URL: "/oauth/token", Err: ctx.Err()}
	}
}

func (t *tokens) current() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.access != "" && (t.expires.IsZero() || time.Until(t.expires) > renewAhead) {
		return t.access
	}
	return ""
}

// fetch gets a new token. A refresh token that is refused is forgotten; the credentials are tried next.
func (t *tokens) fetch(ctx context.Context) (string, error) {
	t.mu.Lock()
	refresh := t.refresh
	t.mu.Unlock()
	if refresh != "" {
		token, err := t.post(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
		if err == nil || t.grant == nil || Retryable(err) {
			return token, err
		}
		t.mu.Lock()
		t.refresh = ""
		t.mu.Unlock()
	}
	if t.grant == nil {
		return "", &Error{
			Method: http.MethodPost, URL: "/oauth/token", Status: http.StatusUnauthorized,
			Errors: []Detail{{Title: "invalid_token", Detail: "the session of `cf login` has expired"}},
		}
	}
	return t.post(ctx, t.grant)
}

// post asks the UAA's token endpoint. Asking twice is harmless, so trouble is tried again a few times.
func (t *tokens) post(ctx context.Context, form url.Values) (string, error) {
	root, err := t.c.Root(ctx)
	if err != nil {
		return "", err
	}
	endpoint := strings.TrimRight(root.UAA(), "/") + "/oauth/token"
	encoded := form.Encode()
	data, err := t.c.plain(ctx, http.MethodPost, endpoint, func(req *http.Request) {
		req.Body = io.NopCloser(strings.NewReader(encoded))
		req.ContentLength = int64(len(encoded))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(url.QueryEscape(t.client), url.QueryEscape(t.secret)) // RFC 6749 section 2.3.1
	})
	if err != nil {
		return "", err
	}
	var answer struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"`
	}
	if json.Unmarshal(data, &answer) != nil || answer.AccessToken == "" {
		return "", &Error{Method: http.MethodPost, URL: endpoint, Status: http.StatusOK, Err: errors.New("the UAA's answer holds no access token")}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.access = answer.AccessToken
	if answer.RefreshToken != "" {
		t.refresh = answer.RefreshToken
	}
	t.expires = time.Time{}
	if answer.ExpiresIn > 0 {
		// A very short life still leaves the token usable for a part of it.
		life := time.Duration(answer.ExpiresIn) * time.Second
		t.expires = time.Now().Add(max(life, renewAhead+life/2))
	}
	return t.access, nil
}

// Root is what the controller's root document says.
type Root struct {
	Links map[string]*struct {
		Href string `json:"href"`
		Meta struct {
			Version string `json:"version"`
		} `json:"meta"`
	} `json:"links"`
}

// UAA is the address of the UAA.
func (r *Root) UAA() string { return r.link("uaa", "login") }

// Version of the V3 API, such as "3.228.0".
func (r *Root) Version() string {
	if l := r.Links["cloud_controller_v3"]; l != nil {
		return l.Meta.Version
	}
	return ""
}

func (r *Root) link(names ...string) string {
	for _, name := range names {
		if l := r.Links[name]; l != nil && l.Href != "" {
			return l.Href
		}
	}
	return ""
}

// Root reads the root document, once. It needs no login.
func (c *Client) Root(ctx context.Context) (*Root, error) {
	c.rootMu.Lock()
	defer c.rootMu.Unlock()
	if c.root != nil {
		return c.root, nil
	}
	data, err := c.plain(ctx, http.MethodGet, c.base.String()+"/", func(*http.Request) { c.count.Add(1) })
	if err != nil {
		return nil, err
	}
	var root Root
	notAController := func(what string) error {
		return &Error{Method: http.MethodGet, URL: c.base.String() + "/", Status: http.StatusOK, sent: true, Err: errors.New(what)}
	}
	if json.Unmarshal(data, &root) != nil || len(root.Links) == 0 {
		return nil, notAController("this is not a Cloud Controller: its root document lists no links")
	}
	uaa, err := url.Parse(root.UAA())
	switch {
	case err != nil || uaa.Host == "":
		return nil, notAController("the root document does not say where to log in (links uaa, login)")
	case c.base.Scheme == "https" && uaa.Scheme != "https":
		return nil, notAController("the root document wants the login over plain http: the password would travel unprotected")
	}
	c.root = &root
	return c.root, nil
}

// plain makes a request outside the V3 API, to the root document or the UAA. All of them are harmless to
// repeat, so trouble is tried again a few times.
func (c *Client) plain(ctx context.Context, method, address string, prepare func(*http.Request)) ([]byte, error) {
	pauses := growing(firstPause, longestPause)
	for attempt := 1; ; attempt++ {
		data, err := c.plainOnce(ctx, method, address, prepare)
		var e *Error
		if err == nil || !errors.As(err, &e) || !e.Retryable() || attempt >= maxTrouble || ctx.Err() != nil {
			return data, err
		}
		if pause := max(e.RetryAfter, pauses.NextBackOff()); pause > c.budget.MaxWait || sleep(ctx, pause) != nil {
			return nil, err
		}
	}
}

func (c *Client) plainOnce(ctx context.Context, method, address string, prepare func(*http.Request)) ([]byte, error) {
	attemptCtx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, fmt.Errorf("no answer within %s", c.cfg.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(attemptCtx, method, address, nil)
	if err != nil {
		return nil, &Error{Method: method, URL: address, Err: plainCause(err)}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	prepare(req)
	began := time.Now()
	resp, data, err := exchange(c.http, req) //nolint:bodyclose // exchange reads and closes it
	if err != nil {
		sent := !isDialError(err)
		if cause := context.Cause(attemptCtx); cause != nil {
			err = cause
		}
		return nil, &Error{Method: method, URL: address, Err: plainCause(err), sent: sent}
	}
	c.cfg.Log.DebugContext(ctx, "request", "method", method, "url", address, "status", resp.StatusCode, "took", time.Since(began).Round(time.Millisecond))
	if resp.StatusCode != http.StatusOK {
		e := answerError(method, address, resp, data)
		e.RetryAfter = c.budget.retryAfter(resp)
		return nil, e
	}
	return data, nil
}

// Identity is who the controller takes us for, and whom audit events will name.
type Identity struct {
	GUID string // of the user; for a client its id
	Name string // user name, or the client's id
	Mail string // audit events name the actor by this

	Scopes []string // of the token; nothing where it does not tell
}

// Identity reads the token's claims, or asks the UAA when the token is opaque. The claims are not verified: the
// token came from the UAA itself and nothing is permitted on their word.
func (c *Client) Identity(ctx context.Context) (Identity, error) {
	token, err := c.auth.get(ctx)
	if err != nil {
		return Identity{}, err
	}
	if claims := claimsOf(token); claims.UserID != "" {
		return Identity{GUID: claims.UserID, Name: claims.UserName, Mail: claims.Email, Scopes: claims.Scopes}, nil
	} else if claims.ClientID != "" {
		return Identity{GUID: claims.ClientID, Name: claims.ClientID, Scopes: claims.Scopes}, nil
	}
	root, err := c.Root(ctx)
	if err != nil {
		return Identity{}, err
	}
	data, err := c.plain(ctx, http.MethodGet, strings.TrimRight(root.UAA(), "/")+"/userinfo", func(req *http.Request) {
		req.Header.Set("Authorization", "bearer "+token)
	})
	if err != nil {
		return Identity{}, err
	}
	var info claims
	if err := json.Unmarshal(data, &info); err != nil || info.UserID == "" {
		return Identity{}, errors.New("the UAA does not say who we are")
	}
	return Identity{GUID: info.UserID, Name: info.UserName, Mail: info.Email}, nil
}

type claims struct {
	UserID   string `json:"user_id"`
	UserName string `json:"user_name"`
	Email    string `json:"email"`
	ClientID string `json:"client_id"`
	Exp      int64  `json:"exp"`

	Scopes []string `json:"scope"`
}

func (c claims) expires() time.Time {
	if c.Exp == 0 {
		return time.Time{}
	}
	return time.Unix(c.Exp, 0)
}

func claimsOf(token string) claims {
	var c claims
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "=")); err == nil {
			_ = json.Unmarshal(payload, &c) // an opaque token has no claims
		}
	}
	return c
}
