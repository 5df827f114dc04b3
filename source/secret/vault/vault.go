// Package vault reads values from HashiCorp Vault or OpenBao: the KV secrets engine, version 2, over its HTTP API
// (https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2).
//
// Values are kept in one of two ways. With a Path, one secret holds them all, and its keys are the variables. With
// a Folder, each variable is a secret of its own below it: ((db.password)) is the key password of the secret FOLDER/db.
//
// It logs in with a token, which is read anew for each lookup so that an agent beside us may renew it, or with AppRole. What it
// needs in Vault is a policy with "read" on MOUNT/data/PATH or MOUNT/data/FOLDER/*, and nothing else. It never writes, never lists,
// and never shows what it has read.
package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/internal/rest"
)

// Options say which Vault, which values in it, and who asks.
type Options struct {
	Address   string // https://vault.example.com:8200
	Namespace string // of Vault Enterprise and OpenBao
	Mount     string // of the KV engine; "secret" if empty
	Path      string // of one secret whose keys are the variables
	Folder    string // or of the folder in which each variable is a secret

	Token   func() (string, error) // asked for each lookup
	AppRole *AppRole               // instead of Token

	CA      []byte        // PEM, beside the system's authorities
	Timeout time.Duration // of one request; 30 s if 0
}

// AppRole is how a machine logs in (https://developer.hashicorp.com/vault/api-docs/auth/approle).
type AppRole struct {
	Mount    string // "approle" if empty
	RoleID   string
	SecretID func() (string, error) // asked for each login; nil where the role needs none
}

// parallel is how many secrets of a folder are read at a time.
const parallel = 4

// renewAhead is how long before its end a token is replaced.
const renewAhead = 30 * time.Second

// Vault is a secret.Provider. It may be used from many goroutines.
type Vault struct {
	o    Options
	rest *rest.Client

	login   sync.Mutex // held while logging in, so that lookups at the same time share one token
	token   string
	expires time.Time // zero: never
}

// New checks the options and makes no request.
func New(o Options) (*Vault, error) {
	if o.Mount == "" {
		o.Mount = "secret"
	}
	v := &Vault{o: o}
	fail := func(message, hint string, err error) (*Vault, error) {
		return nil, &secret.Error{Place: v.String(), Message: message, Hint: hint, Err: err}
	}
	address, err := rest.Address(o.Address)
	if err != nil {
		v.o.Address = "" // it may hold a password
		return fail("the address cannot be used", "write it like https://vault.example.com:8200", err)
	}
	v.o.Address = address
	switch {
	case (o.Path == "") == (o.Folder == ""):
		return fail("expected either a path (one secret with all the variables) or a folder (one secret for each variable)", "", nil)
	case (o.Token == nil) == (o.AppRole == nil):
		return fail("expected either a token or an AppRole to log in with", "", nil)
	case slices.Contains(strings.Split(o.Path+o.Folder, "/"), ".."):
		return fail("a path cannot contain ..", "", nil)
	}
	if v.rest, err = rest.New(rest.Options{CA: o.CA, Timeout: o.Timeout}); err != nil {
		return fail("the connection cannot be set up", "", err)
	}
	return v, nil
}

// String reads "vault https://vault.example.com:8200 secret/shop".
func (v *Vault) String() string {
	where := strings.Trim(v.o.Path, "/")
	if where == "" {
		where = strings.Trim(v.o.Folder, "/") + "/*"
	}
	return strings.Join(strings.Fields("vault "+v.o.Address+" "+strings.Trim(v.o.Mount, "/")+"/"+where), " ")
}

// Lookup reads the newest versions. It makes no request when there is no name to look up.
func (v *Vault) Lookup(ctx context.Context, names []string) (secret.Variables, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if v.o.Path != "" {
		return v.keys(ctx, names)
	}
	found := secret.Variables{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, name := range names {
		group.Go(func() error {
			value, err := v.read(ctx, strings.Trim(v.o.Folder, "/")+"/"+name)
			if err != nil || value == nil {
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

// keys reads the one secret and takes what is asked for.
func (v *Vault) keys(ctx context.Context, names []string) (secret.Variables, error) {
	all, err := v.read(ctx, v.o.Path)
	if err != nil {
		return nil, err
	}
	if all == nil {
		return nil, v.problem("there is no such secret, or its newest version is deleted",
			"check the path; it begins after the mount ("+v.o.Mount+", which must be a KV engine of version 2) and has no data/ in it", nil, false)
	}
	found := secret.Variables{}
	for _, name := range names {
		if value, ok := all[name]; ok {
			found[name] = value
		}
	}
	return found, nil
}

// read fetches the newest version of one secret; nil means that there is none.
func (v *Vault) read(ctx context.Context, path string) (map[string]any, error) {
	url := v.o.Address + "/v1/" + rest.Segments(v.o.Mount) + "/data/" + rest.Segments(path)
	response, err := v.authorized(ctx, url)
	if err != nil {
		return nil, err
	}
	switch response.Status {
	case http.StatusNotFound: // also for a version that is deleted or destroyed, then with its metadata
		return nil, nil
	case http.StatusOK:
	default:
		return nil, v.refused(response, `the policy of the token needs "read" on `+strings.Trim(v.o.Mount, "/")+"/data/"+strings.Trim(path, "/"))
	}
	var answer struct {
		Data *struct {
			Data     map[string]any  `json:"data"`
			Metadata json.RawMessage `json:"metadata"`
		} `json:"data"`
	}
	if err := decode(response.Body, &answer); err != nil || answer.Data == nil || answer.Data.Metadata == nil {
		return nil, v.problem("the answer is not that of a KV engine of version 2", "check the address and the mount", nil, false)
	}
	return answer.Data.Data, nil
}

// authorized makes a GET with a token, and once more with a new one when an AppRole's token has come to its end
// before its time (revoked, or used up).
func (v *Vault) authorized(ctx context.Context, url string) (*rest.Response, error) {
	for renewed := false; ; renewed = true {
		token, fresh, err := v.currentToken(ctx)
		if err != nil {
			return nil, err
		}
		header := v.header()
		header.Set("X-Vault-Token", token)
		response, err := v.rest.Do(ctx, rest.Request{Method: http.MethodGet, URL: url, Header: header})
		if err != nil {
			return nil, v.unreachable(ctx, err)
		}
		if response.Status != http.StatusForbidden || v.o.AppRole == nil || renewed || fresh {
			return response, nil
		}
		v.drop(token)
	}
}

func (v *Vault) header() http.Header {
	h := http.Header{"X-Vault-Request": {"true"}}
	if v.o.Namespace != "" {
		h.Set("X-Vault-Namespace", v.o.Namespace)
	}
	return h
}

// currentToken gives a token; fresh says that it was made just now.
func (v *Vault) currentToken(ctx context.Context) (token string, fresh bool, err error) {
	if v.o.AppRole == nil {
		token, err := v.o.Token()
		if err != nil {
			return "", false, v.problem("the token cannot be read", "", err, false)
		}
		if token = strings.TrimSpace(token); token == "" {
			return "", false, v.problem("the token is empty", "", nil, false)
		}
		return token, false, nil
	}
	v.login.Lock()
	defer v.login.Unlock()
	if v.token != "" && (v.expires.IsZero() || time.Until(v.expires) > renewAhead) {
		return v.token, false, nil
	}
	if err := v.appRole(ctx); err != nil {
		return "", false, err
	}
	return v.token, true, nil
}

func (v *Vault) drop(token string) {
	v.login.Lock()
	defer v.login.Unlock()
	if v.token == token {
		v.token = ""
	}
}

// appRole logs in.
func (v *Vault) appRole(ctx context.Context) error {
	role := v.o.AppRole
	body := map[string]string{"role_id": role.RoleID}
	if role.SecretID != nil {
		id, err := role.SecretID()
		if err != nil {
			return v.problem("the secret_id of the AppRole cannot be read", "", err, false)
		}
		body["secret_id"] = strings.TrimSpace(id)
	}
	mount := role.Mount
	if mount == "" {
		mount = "approle"
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	header := v.header()
	header.Set("Content-Type", "application/json")
	response, err := v.rest.Do(ctx, rest.Request{Method: http.MethodPost, URL: v.o.Address + "/v1/auth/" + rest.Segments(mount) + "/login", Header: header, Body: data})
	if err != nil {
		return v.unreachable(ctx, err)
	}
	if response.Status != http.StatusOK {
		return v.refused(response, "the AppRole cannot log in: check role_id and secret_id, and whether the secret_id has expired")
	}
	var answer struct {
		Auth struct {
			ClientToken   string `json:"client_token"`
			LeaseDuration int    `json:"lease_duration"`
		} `json:"auth"`
	}
	if err := decode(response.Body, &answer); err != nil || answer.Auth.ClientToken == "" {
		return v.problem("the login was answered without a token", "check the address and the mount of the AppRole", nil, false)
	}
	v.token, v.expires = answer.Auth.ClientToken, time.Time{}
	if answer.Auth.LeaseDuration > 0 {
		v.expires = time.Now().Add(time.Duration(answer.Auth.LeaseDuration) * time.Second)
	}
	return nil
}

func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return d.Decode(into)
}

func (v *Vault) problem(message, hint string, err error, temporary bool) *secret.Error {
	return &secret.Error{Place: v.String(), Message: message, Hint: hint, Err: err, Temporary: temporary}
}

func (v *Vault) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return v.problem("no answer", "check the address and the network", err, !rest.Permanent(err))
}

// refused says what Vault says: a list of short sentences in "errors", which never hold a value.
func (v *Vault) refused(response *rest.Response, hint string) error {
	var answer struct {
		Errors []string `json:"errors"`
	}
	_ = decode(response.Body, &answer) // a body that is no JSON says nothing
	message := fmt.Sprintf("%d %s", response.Status, http.StatusText(response.Status))
	if rest.Busy(response.Status) {
		hint = "Vault is busy, sealed or on standby; it will be asked again"
	}
	var said error
	if text := rest.Sentence(strings.Join(answer.Errors, "; ")); text != "" {
		said = errors.New(text)
	}
	return v.problem(message, hint, said, rest.Busy(response.Status))
}
