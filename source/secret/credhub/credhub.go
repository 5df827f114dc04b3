// Package credhub reads values from CredHub (https://docs.cloudfoundry.org/api/credhub). Each variable is a
// credential below one folder: ((db-password)) is the credential FOLDER/db-password. Credentials of several
// parts are maps, as their API shows them: ((db.username)) of a user, ((tls.private_key)) of a certificate, any key of a json.
//
// It logs in as a UAA client, at the account server that CredHub itself names, or by mutual TLS. What it needs in CredHub is
// the permission "read" on FOLDER/*, and nothing else. It never writes, generates or lists, and never shows what it has read.
package credhub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/internal/rest"
)

// Options say which CredHub, which credentials in it, and who asks.
type Options struct {
	Address string // https://credhub.example.com:8844
	Folder  string // such as /fettle/shop

	ClientID     string
	ClientSecret func() (string, error) // asked for each login
	Certificate  []byte                 // PEM; with Key instead of a client
	Key          []byte                 // PEM

	CA      []byte        // PEM, beside the system's authorities, for CredHub and its account server
	Timeout time.Duration // of one request; 30 s if 0
}

// parallel is how many credentials are read at a time.
const parallel = 4

// renewAhead is how long before its end a token is replaced.
const renewAhead = 30 * time.Second

// CredHub is a secret.Provider. It may be used from many goroutines.
type CredHub struct {
	o    Options
	rest *rest.Client

	login   sync.Mutex // held while logging in, so that lookups at the same time share one token
	token   string
	expires time.Time
}

// New checks the options and makes no request.
func New(o Options) (*CredHub, error) {
	o.Folder = "/" + strings.Trim(o.Folder, "/")
	c := &CredHub{o: o}
	fail := func(message, hint string, err error) (*CredHub, error) {
		return nil, &secret.Error{Place: c.String(), Message: message, Hint: hint, Err: err}
	}
	address, err := rest.Address(o.Address)
	if err != nil {
		c.o.Address = "" // it may hold a password
		return fail("the address cannot be used", "write it like https://credhub.example.com:8844", err)
	}
	c.o.Address = address
	client, certificate := o.ClientID != "" || o.ClientSecret != nil, len(o.Certificate) > 0 || len(o.Key) > 0
	switch {
	case client == certificate:
		return fail("expected either a UAA client or a client certificate to log in with", "", nil)
	case client && (o.ClientID == "" || o.ClientSecret == nil):
		return fail("a UAA client needs both its id and its secret", "", nil)
	case slices.Contains(strings.Split(o.Folder, "/"), ".."):
		return fail("a folder cannot contain ..", "", nil)
	}
	if c.rest, err = rest.New(rest.Options{CA: o.CA, Certificate: o.Certificate, Key: o.Key, Timeout: o.Timeout}); err != nil {
		return fail("the connection cannot be set up", "", err)
	}
	return c, nil
}

// String reads "credhub https://credhub.example.com:8844 /fettle/shop/*".
func (c *CredHub) String() string {
	return strings.Join(strings.Fields("credhub "+c.o.Address+" "+strings.TrimRight(c.o.Folder, "/")+"/*"), " ")
}

// Lookup reads the current version of each credential. CredHub answers alike for a credential that does not exist and for one
// that must not be read; both are left out.
func (c *CredHub) Lookup(ctx context.Context, names []string) (secret.Variables, error) {
	found := secret.Variables{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, name := range names {
		group.Go(func() error {
			value, ok, err := c.read(ctx, strings.TrimRight(c.o.Folder, "/")+"/"+name)
			if err != nil || !ok {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			found[name] = value
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

func (c *CredHub) read(ctx context.Context, name string) (value any, ok bool, err error) {
	query := url.Values{"name": {name}, "current": {"true"}}
	response, err := c.authorized(ctx, c.o.Address+"/api/v1/data?"+query.Encode())
	if err != nil {
		return nil, false, err
	}
	switch response.Status {
	case http.StatusNotFound:
		return nil, false, nil
	case http.StatusOK:
	default:
		return nil, false, c.refused(response, "the client needs the permission to read "+strings.TrimRight(c.o.Folder, "/")+"/*")
	}
	var answer struct {
		Data []struct {
			Value any `json:"value"`
		} `json:"data"`
	}
	if err := decode(response.Body, &answer); err != nil || answer.Data == nil {
		return nil, false, c.problem("the answer is not that of a CredHub", "check the address", nil, false)
	}
	if len(answer.Data) == 0 {
		return nil, false, nil
	}
	return answer.Data[0].Value, true, nil
}

// authorized makes a GET, with a new token if the one at hand is refused.
func (c *CredHub) authorized(ctx context.Context, address string) (*rest.Response, error) {
	for renewed := false; ; renewed = true {
		header := http.Header{}
		token, fresh, err := c.currentToken(ctx)
		if err != nil {
			return nil, err
		}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
		response, err := c.rest.Do(ctx, rest.Request{Method: http.MethodGet, URL: address, Header: header})
		if err != nil {
			return nil, c.unreachable(ctx, err)
		}
		if response.Status != http.StatusUnauthorized || token == "" || renewed || fresh {
			return response, nil
		}
		c.drop(token)
	}
}

// currentToken gives a token, or "" where the certificate says who we are; fresh says that it was made just now.
func (c *CredHub) currentToken(ctx context.Context) (token string, fresh bool, err error) {
	if c.o.ClientID == "" {
		return "", false, nil
	}
	c.login.Lock()
	defer c.login.Unlock()
	if c.token != "" && time.Until(c.expires) > renewAhead {
		return c.token, false, nil
	}
	if err := c.clientCredentials(ctx); err != nil {
		return "", false, err
	}
	return c.token, true, nil
}

func (c *CredHub) drop(token string) {
	c.login.Lock()
	defer c.login.Unlock()
	if c.token == token {
		c.token = ""
	}
}

// clientCredentials gets a token from the account server (RFC 6749 section 4.4).
func (c *CredHub) clientCredentials(ctx context.Context) error {
	server, err := c.accountServer(ctx)
	if err != nil {
		return err
	}
	password, err := c.o.ClientSecret()
	if err != nil {
		return c.problem("the secret of the UAA client cannot be read", "", err, false)
	}
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(url.QueryEscape(c.o.ClientID), url.QueryEscape(password)) // RFC 6749 section 2.3.1
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form := url.Values{"grant_type": {"client_credentials"}, "response_type": {"token"}}
	response, err := c.rest.Do(ctx, rest.Request{Method: http.MethodPost, URL: server + "/oauth/token", Header: request.Header, Body: []byte(form.Encode())})
	if err != nil {
		return c.unreachable(ctx, fmt.Errorf("its account server %s: %w", server, err))
	}
	if response.Status != http.StatusOK {
		return c.refused(response, "the account server "+server+" refuses the client "+c.o.ClientID+": check its id and its secret")
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := decode(response.Body, &answer); err != nil || answer.AccessToken == "" {
		return c.problem("the account server "+server+" answers without a token", "", nil, false)
	}
	c.token, c.expires = answer.AccessToken, time.Now().Add(time.Duration(answer.ExpiresIn)*time.Second)
	return nil
}

// accountServer asks CredHub where its UAA is.
func (c *CredHub) accountServer(ctx context.Context) (string, error) {
	response, err := c.rest.Do(ctx, rest.Request{Method: http.MethodGet, URL: c.o.Address + "/info"})
	if err != nil {
		return "", c.unreachable(ctx, err)
	}
	if response.Status != http.StatusOK {
		return "", c.refused(response, "check the address")
	}
	var info struct {
		AuthServer struct {
			URL string `json:"url"`
		} `json:"auth-server"`
	}
	if err := decode(response.Body, &info); err != nil || info.AuthServer.URL == "" {
		return "", c.problem("/info names no account server", "check the address", nil, false)
	}
	server, err := rest.Address(info.AuthServer.URL)
	if err != nil {
		return "", c.problem("/info names an account server that cannot be used", "", err, false)
	}
	if strings.HasPrefix(c.o.Address, "https:") && !strings.HasPrefix(server, "https:") {
		return "", c.problem("/info names the account server "+server+", to which the client's secret would go unencrypted", "", nil, false)
	}
	return server, nil
}

func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return d.Decode(into)
}

func (c *CredHub) problem(message, hint string, err error, temporary bool) *secret.Error {
	return &secret.Error{Place: c.String(), Message: message, Hint: hint, Err: err, Temporary: temporary}
}

func (c *CredHub) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.problem("no answer", "check the address and the network", err, !rest.Permanent(err))
}

// refused says what CredHub ("error") or the UAA ("error_description") says, in a sentence that never holds a value.
func (c *CredHub) refused(response *rest.Response, hint string) error {
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = decode(response.Body, &answer) // a body that is no JSON says nothing
	if rest.Busy(response.Status) {
		hint = "it will be asked again"
	}
	var said error
	if text := rest.Sentence(answer.Error + " " + answer.Description); text != "" {
		said = errors.New(text)
	}
	return c.problem(fmt.Sprintf("%d %s", response.Status, http.StatusText(response.Status)), hint, said, rest.Busy(response.Status))
}
