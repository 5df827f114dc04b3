package vault_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/vault"
	"github.com/fettle-gitops/fettle/source/secret/vault/vaulttest"
)

const token = "hvs.token-of-the-test"

func server(t *testing.T, s *vaulttest.Server) string {
	t.Helper()
	if s.Secrets == nil {
		s.Secrets = map[string]map[string]any{
			"shop/dev":    {"password": "hunter2", "port": 5432, "db": map[string]any{"user": "u"}, "unasked": "x"},
			"shop/dev/db": {"password": "hunter2", "user": "u"}, "shop/dev/key with space": {"value": "x"},
		}
	}
	if s.Tokens == nil {
		s.Tokens = map[string]string{token: ""}
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return h.URL
}

func fixed(value string) func() (string, error) { return func() (string, error) { return value, nil } }

func open(t *testing.T, o vault.Options) *vault.Vault {
	t.Helper()
	v, err := vault.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOneSecretWithAllVariables(t *testing.T) {
	s := &vaulttest.Server{Tokens: map[string]string{token: "shop/dev"}}
	v := open(t, vault.Options{Address: server(t, s) + "/", Path: "/shop/dev/", Token: fixed(token + "\n")})
	got, err := v.Lookup(t.Context(), []string{"password", "port", "db", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	want := secret.Variables{"password": "hunter2", "port": json.Number("5432"), "db": map[string]any{"user": "u"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"GET /v1/secret/data/shop/dev"}, s.Requests()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, err := v.Lookup(t.Context(), nil); len(got) != 0 || err != nil || len(s.Requests()) != 1 {
		t.Errorf("nothing asked is no request: %v, %v, %v", got, err, s.Requests())
	}
}

func TestAFolderWithASecretForEachVariable(t *testing.T) {
	s := &vaulttest.Server{Mount: "kv/team", Namespace: "shop", Tokens: map[string]string{token: "shop/dev/"}, Deleted: map[string]bool{"shop/dev/gone": true}}
	v := open(t, vault.Options{Address: server(t, s), Namespace: "shop", Mount: "kv/team", Folder: "shop/dev", Token: fixed(token)})
	got, err := v.Lookup(t.Context(), []string{"db", "absent", "gone", "a", "b", "c", "d"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(secret.Variables{"db": map[string]any{"password": "hunter2", "user": "u"}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := len(s.Requests()); n != 7 {
		t.Errorf("%d requests for 7 names", n)
	}
}

// TestAppRole logs in once for many lookups, and again when the token was revoked or used up.
func TestAppRole(t *testing.T) {
	s := &vaulttest.Server{RoleID: "role", SecretID: "secret-id"}
	v := open(t, vault.Options{Address: server(t, s), Folder: "shop/dev", AppRole: &vault.AppRole{RoleID: "role", SecretID: fixed("secret-id\n")}})
	logins := func() int {
		n := 0
		for _, r := range s.Requests() {
			if r == "POST /v1/auth/approle/login" {
				n++
			}
		}
		return n
	}
	look := func() {
		t.Helper()
		if got, err := v.Lookup(t.Context(), []string{"db", "x", "y", "z"}); err != nil || got["db"] == nil {
			t.Fatal(got, err)
		}
	}
	look()
	look()
	if logins() != 1 {
		t.Errorf("%d logins for two lookups", logins())
	}
	s.Revoke()
	look()
	if logins() != 2 {
		t.Errorf("%d logins after the token was revoked once", logins())
	}

	s = &vaulttest.Server{RoleID: "role", SecretID: "secret-id", TokenUses: 1}
	v = open(t, vault.Options{Address: server(t, s), Path: "shop/dev", AppRole: &vault.AppRole{RoleID: "role", SecretID: fixed("secret-id")}})
	for range 3 {
		if _, err := v.Lookup(t.Context(), []string{"password"}); err != nil {
			t.Fatal(err)
		}
	}
	if logins() != 3 {
		t.Errorf("%d logins with tokens that are good for one request", logins())
	}
}

// TestTroubleThatPasses: a Vault that is sealed for a moment, or asks for patience, is asked again.
func TestTroubleThatPasses(t *testing.T) {
	s := &vaulttest.Server{}
	s.Fail(http.StatusServiceUnavailable, nil)
	s.Fail(http.StatusTooManyRequests, http.Header{"Retry-After": {"0"}})
	v := open(t, vault.Options{Address: server(t, s), Path: "shop/dev", Token: fixed(token)})
	if got, err := v.Lookup(t.Context(), []string{"password"}); err != nil || got["password"] != "hunter2" || len(s.Requests()) != 3 {
		t.Errorf("got %v, %v after %v", got, err, s.Requests())
	}
}

func TestMistakes(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/redirect"):
			http.Redirect(w, r, "https://elsewhere.example.com/v1/", http.StatusTemporaryRedirect)
		case strings.HasSuffix(r.URL.Path, "/kv1"):
			w.Write([]byte(`{"data": {"password": "hunter2"}}`))
		default:
			w.Write([]byte("<html>hunter2</html>"))
		}
	}))
	t.Cleanup(other.Close)
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(nil)
	closed.Close()

	for _, c := range []struct {
		name   string
		server *vaulttest.Server
		fail   []int
		o      vault.Options
		want   string
		again  bool
	}{
		{name: "no such secret", o: vault.Options{Path: "shop/prod"}, want: "SERVER secret/shop/prod: there is no such secret, or its newest version is deleted (check the path; it begins after the mount (secret, which must be a KV engine of version 2) and has no data/ in it)"},
		{name: "deleted", server: &vaulttest.Server{Deleted: map[string]bool{"shop/dev": true}}, o: vault.Options{Path: "shop/dev"}, want: "there is no such secret, or its newest version is deleted"},
		{name: "not allowed", server: &vaulttest.Server{Tokens: map[string]string{token: "elsewhere"}}, o: vault.Options{Path: "shop/dev"}, want: `SERVER secret/shop/dev: 403 Forbidden: permission denied (the policy of the token needs "read" on secret/data/shop/dev)`},
		{name: "not allowed in the folder", server: &vaulttest.Server{Tokens: map[string]string{token: "elsewhere"}}, o: vault.Options{Folder: "shop"}, want: `SERVER secret/shop/*: 403 Forbidden: permission denied (the policy of the token needs "read" on secret/data/shop/password)`},
		{name: "a bad AppRole", server: &vaulttest.Server{RoleID: "r", SecretID: "s"}, o: vault.Options{Path: "shop/dev", AppRole: &vault.AppRole{RoleID: "r", SecretID: fixed("hunter2")}}, want: "400 Bad Request: invalid role or secret ID (the AppRole cannot log in: check role_id and secret_id, and whether the secret_id has expired)"},
		{name: "no token", o: vault.Options{Path: "shop/dev", Token: fixed(" \n")}, want: "the token is empty"},
		{name: "a token that cannot be read", o: vault.Options{Path: "shop/dev", Token: func() (string, error) { return "", errors.New("no such file") }}, want: "the token cannot be read: no such file"},
		{name: "sealed", fail: []int{503, 503, 503, 503}, o: vault.Options{Path: "shop/dev"}, want: "SERVER secret/shop/dev: 503 Service Unavailable: Vault is sealed (Vault is busy, sealed or on standby; it will be asked again)", again: true},
		{name: "not there", o: vault.Options{Address: closed.URL, Path: "shop/dev"}, want: "connection refused (check the address and the network)", again: true},
		{name: "an unknown certificate", o: vault.Options{Address: secure.URL, Path: "shop/dev"}, want: "certificate signed by unknown authority"},
		{name: "a redirect", o: vault.Options{Address: other.URL, Path: "redirect"}, want: "it answers with a redirect to https://elsewhere.example.com, which is not followed with a token in hand; use that address if it is right"},
		{name: "KV version 1", o: vault.Options{Address: other.URL, Path: "kv1"}, want: "the answer is not that of a KV engine of version 2 (check the address and the mount)"},
		{name: "no Vault", o: vault.Options{Address: other.URL, Path: "x"}, want: "the answer is not that of a KV engine of version 2 (check the address and the mount)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.server == nil {
				c.server = &vaulttest.Server{}
			}
			for _, status := range c.fail {
				c.server.Fail(status, http.Header{"Retry-After": {"0"}})
			}
			if c.o.Address == "" {
				c.o.Address = server(t, c.server)
			}
			if c.o.Token == nil && c.o.AppRole == nil {
				c.o.Token = fixed(token)
			}
			_, err := open(t, c.o).Lookup(t.Context(), []string{"password"})
			var typed *secret.Error
			if !errors.As(err, &typed) {
				t.Fatalf("got %v", err)
			}
			got := strings.ReplaceAll(err.Error(), c.o.Address, "SERVER")
			if !strings.Contains(got, c.want) || typed.Retryable() != c.again {
				t.Errorf("got  %s (again: %v)\nwant %s", got, typed.Retryable(), c.want)
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, token) {
				t.Errorf("it shows a secret: %s", got)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]vault.Options{
		"the address is no http:// or https:// address":                                                              {Address: "vault.example.com", Path: "x", Token: fixed("x")},
		"vault secret/x: the address cannot be used: the address holds a user":                                       {Address: "https://u:hunter2@vault.example.com", Path: "x", Token: fixed("x")},
		"expected either a path (one secret with all the variables) or a folder (one secret for each variable)":      {Address: "https://v", Token: fixed("x")},
		"vault https://v secret/x: expected either a token or an AppRole to log in with":                             {Address: "https://v", Path: "x"},
		"vault https://v secret/../sys: a path cannot contain ..":                                                    {Address: "https://v", Path: "../sys", Token: fixed("x")},
		"vault https://v secret/x: the connection cannot be set up: the certificate authority is no PEM certificate": {Address: "https://v", Path: "x", Token: fixed("x"), CA: []byte("x")},
	} {
		if _, err := vault.New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestItsOwnAuthority(t *testing.T) {
	s := &vaulttest.Server{Secrets: map[string]map[string]any{"x": {"a": "b"}}, Tokens: map[string]string{token: ""}}
	h := httptest.NewTLSServer(s)
	t.Cleanup(h.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	got, err := open(t, vault.Options{Address: h.URL, Path: "x", Token: fixed(token), CA: ca}).Lookup(t.Context(), []string{"a"})
	if err != nil || got["a"] != "b" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestToldToStop: who waits for a Vault that does not answer can give up.
func TestToldToStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(h.Close)
	for _, o := range []vault.Options{{Path: "x", Token: fixed("x")}, {Folder: "x", AppRole: &vault.AppRole{RoleID: "r"}}} {
		o.Address = h.URL
		if _, err := open(t, o).Lookup(ctx, []string{"a", "b"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// TestConcurrentLookups share one login.
func TestConcurrentLookups(t *testing.T) {
	s := &vaulttest.Server{RoleID: "r"}
	v := open(t, vault.Options{Address: server(t, s), Folder: "shop/dev", AppRole: &vault.AppRole{RoleID: "r"}})
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := v.Lookup(t.Context(), []string{"db", "a", "b", "c", "d", "e"})
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	logins := slices.DeleteFunc(s.Requests(), func(r string) bool { return !strings.HasPrefix(r, "POST") })
	if len(logins) != 1 {
		t.Errorf("%d logins", len(logins))
	}
}
