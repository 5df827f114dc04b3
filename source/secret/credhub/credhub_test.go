package credhub_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/credhub"
	"github.com/fettle-gitops/fettle/source/secret/credhub/credhubtest"
)

const clientSecret = "hunter2 :+%"

func server(t *testing.T, s *credhubtest.Server) string {
	t.Helper()
	s.ClientID, s.ClientSecret = "fettle", clientSecret
	s.Credentials = credentials
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return h.URL
}

var credentials = map[string]credhubtest.Credential{
	"/shop/value":       {Type: "value", Value: "v"},
	"/shop/db-password": {Type: "password", Value: "012"},
	"/shop/settings":    {Type: "json", Value: map[string]any{"port": 5432, "list": []any{true, nil}}},
	"/shop/user":        {Type: "user", Value: map[string]any{"username": "u", "password": "p", "password_hash": "$6$x"}},
	"/shop/tls":         {Type: "certificate", Value: map[string]any{"ca": "CA", "certificate": "CERT", "private_key": "KEY"}},
	"/shop/rsa":         {Type: "rsa", Value: map[string]any{"public_key": "PUB", "private_key": "KEY"}},
	"/other/value":      {Type: "value", Value: "v"},
}

func fixed(value string) func() (string, error) { return func() (string, error) { return value, nil } }

func open(t *testing.T, o credhub.Options) *credhub.CredHub {
	t.Helper()
	if o.ClientID == "" && len(o.Certificate) == 0 {
		o.ClientID, o.ClientSecret = "fettle", fixed(clientSecret)
	}
	c, err := credhub.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryType(t *testing.T) {
	s := &credhubtest.Server{}
	c := open(t, credhub.Options{Address: server(t, s), Folder: "shop/"})
	got, err := c.Lookup(t.Context(), []string{"value", "db-password", "settings", "user", "tls", "rsa", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	want := secret.Variables{
		"value": "v", "db-password": "012", "settings": map[string]any{"port": json.Number("5432"), "list": []any{true, nil}},
		"user": map[string]any{"username": "u", "password": "p", "password_hash": "$6$x"},
		"tls":  map[string]any{"ca": "CA", "certificate": "CERT", "private_key": "KEY"},
		"rsa":  map[string]any{"public_key": "PUB", "private_key": "KEY"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := len(s.Requests()); n != 9 { // info, token, and one for each name
		t.Errorf("%d requests: %v", n, s.Requests())
	}
	if !strings.HasSuffix(c.String(), " /shop/*") {
		t.Errorf("it calls itself %s", c)
	}
}

// TestTokens: one login is enough, until the token is refused.
func TestTokens(t *testing.T) {
	s := &credhubtest.Server{}
	c := open(t, credhub.Options{Address: server(t, s), Folder: "/shop"})
	for i, want := range []int{3, 4, 8} { // info, token, data; data; data (refused), info, token, data
		if i == 2 {
			s.Revoke()
		}
		if got, err := c.Lookup(t.Context(), []string{"value"}); err != nil || got["value"] != "v" {
			t.Fatal(got, err)
		}
		if n := len(s.Requests()); n != want {
			t.Errorf("%d requests after lookup %d, expected %d: %v", n, i+1, want, s.Requests())
		}
	}
}

func TestMutualTLS(t *testing.T) {
	certificate, key := selfSigned(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	h := httptest.NewUnstartedServer(&credhubtest.Server{Credentials: credentials})
	h.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	h.StartTLS()
	t.Cleanup(h.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	c := open(t, credhub.Options{Address: h.URL, Folder: "/shop", Certificate: certificate, Key: key, CA: ca})
	if got, err := c.Lookup(t.Context(), []string{"value"}); err != nil || got["value"] != "v" {
		t.Error(got, err)
	}
}

func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fettle"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestTroubleThatPasses(t *testing.T) {
	s := &credhubtest.Server{}
	c := open(t, credhub.Options{Address: server(t, s), Folder: "/shop"})
	s.Fail(http.StatusBadGateway)
	s.Fail(http.StatusTooManyRequests)
	if got, err := c.Lookup(t.Context(), []string{"value"}); err != nil || got["value"] != "v" {
		t.Error(got, err)
	}
}

func TestMistakes(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>hunter2</html>")) }))
	t.Cleanup(page.Close)
	plainUAA := httptest.NewTLSServer(&credhubtest.Server{UAA: "http://uaa.example.com"})
	t.Cleanup(plainUAA.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: plainUAA.Certificate().Raw})
	closed := httptest.NewServer(nil)
	closed.Close()

	for _, c := range []struct {
		name   string
		server *credhubtest.Server
		fail   int
		o      credhub.Options
		want   string
		again  bool
	}{
		{name: "a bad secret", o: credhub.Options{ClientID: "fettle", ClientSecret: fixed("hunter2")}, want: "credhub SERVER /shop/*: 401 Unauthorized: unauthorized Bad credentials (the account server SERVER/uaa refuses the client fettle: check its id and its secret)"},
		{name: "a secret that cannot be read", o: credhub.Options{ClientID: "fettle", ClientSecret: func() (string, error) { return "", errors.New("no such file") }}, want: "the secret of the UAA client cannot be read: no such file"},
		{name: "the account server is not there", server: &credhubtest.Server{UAA: closed.URL}, want: "no answer: its account server " + closed.URL, again: true},
		{name: "the account server without TLS", o: credhub.Options{Address: plainUAA.URL, CA: ca}, want: "/info names the account server http://uaa.example.com, to which the client's secret would go unencrypted"},
		{name: "down", fail: http.StatusServiceUnavailable, want: "503 Service Unavailable: An application error occurred. (it will be asked again)", again: true},
		{name: "no CredHub", o: credhub.Options{Address: page.URL}, want: "/info names no account server (check the address)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.server == nil {
				c.server = &credhubtest.Server{}
			}
			for range 4 {
				if c.fail != 0 {
					c.server.Fail(c.fail)
				}
			}
			if c.o.Address == "" {
				c.o.Address = server(t, c.server)
			}
			c.o.Folder = "/shop"
			_, err := open(t, c.o).Lookup(t.Context(), []string{"value"})
			var typed *secret.Error
			if !errors.As(err, &typed) {
				t.Fatalf("got %v", err)
			}
			got := strings.ReplaceAll(err.Error(), c.o.Address, "SERVER")
			if !strings.Contains(got, c.want) || typed.Retryable() != c.again {
				t.Errorf("got  %s (again: %v)\nwant %s", got, typed.Retryable(), c.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("it shows a secret: %s", got)
			}
		})
	}
	t.Run("not allowed", func(t *testing.T) { // as CredHub has it: the same as not there
		c := open(t, credhub.Options{Address: server(t, &credhubtest.Server{Folder: "/shop/"}), Folder: "/other"})
		if got, err := c.Lookup(t.Context(), []string{"value"}); err != nil || len(got) != 0 {
			t.Error(got, err)
		}
	})
	t.Run("told to stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := open(t, credhub.Options{Address: server(t, &credhubtest.Server{})}).Lookup(ctx, []string{"a", "b"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]credhub.Options{
		"credhub /x/*: the address cannot be used: the address holds a user":                                {Address: "https://u:hunter2@c", Folder: "x", ClientID: "a", ClientSecret: fixed("b")},
		"credhub https://c /x/*: expected either a UAA client or a client certificate to log in with":       {Address: "https://c", Folder: "x"},
		"credhub https://c /x/*: a UAA client needs both its id and its secret":                             {Address: "https://c", Folder: "x", ClientID: "a"},
		"credhub https://c /x/../y/*: a folder cannot contain ..":                                           {Address: "https://c", Folder: "x/../y", ClientID: "a", ClientSecret: fixed("b")},
		"credhub https://c /x/*: the connection cannot be set up: the client certificate and its key: tls:": {Address: "https://c", Folder: "x", Certificate: []byte("x"), Key: []byte("y")},
	} {
		if _, err := credhub.New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
