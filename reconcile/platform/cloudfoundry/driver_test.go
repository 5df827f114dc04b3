package cloudfoundry_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// What a person sees when the way into the foundation is not as it should be.
func TestTheWayIn(t *testing.T) {
	f := newTown(t)
	f.space("acme/production")
	tests := []struct {
		name   string
		user   string
		change func(*ccv3.Config)
		spaces []string
		class  platform.ErrorClass // "" for success
		want   string
	}{
		{name: "all is well", user: "dev", spaces: []string{"acme/dev", "acme/production"}},
		{name: "names ignore case", user: "dev", spaces: []string{"Acme/DEV"}},
		{
			name: "wrong password", user: "dev", change: func(c *ccv3.Config) { c.Password = "guess" }, class: platform.Unauthorized,
			want: "logging in at https://api.sandbox.test: unauthorized: Bad credentials (check the user name and password, or the client's id and secret)",
		},
		{
			name: "unknown client", change: func(c *ccv3.Config) { c.Username, c.Password, c.ClientID, c.ClientSecret = "", "", "ci", "x" }, class: platform.Unauthorized,
			want: "logging in at https://api.sandbox.test: unauthorized: Bad credentials (check the user name and password, or the client's id and secret)",
		},
		{
			name: "an organization that is not there", user: "dev", spaces: []string{"acne/dev"}, class: platform.Missing,
			want: `org acne: looking for the organization: "acne" does not exist or dev cannot see it (did you mean "acme"? If not, create it with ` + "`cf create-org acne`" + `, or check the spelling and the user's roles)`,
		},
		{
			name: "an organization that we may not see", user: "nobody", spaces: []string{"acme/dev"}, class: platform.Missing,
			want: `org acme: looking for the organization: "acme" does not exist or nobody cannot see it (create it with ` + "`cf create-org acme`" + `, or check the spelling and the user's roles)`,
		},
		{
			name: "a space that is not there", user: "dev", spaces: []string{"acme/dev", "acme/prodution"}, class: platform.Missing,
			want: `space acme/prodution: looking for the space: "prodution" does not exist in the organization "acme" or dev cannot see it (did you mean "production"? If not, create it with ` + "`cf create-space prodution -o acme`" + `, or check the spelling and the user's roles)`,
		},
		{
			name: "one space spelled in two ways", user: "dev", spaces: []string{"Acme/dev", "acme/dev"}, class: platform.Invalid,
			want: "space acme/dev: looking for the space: Acme/dev and acme/dev are the same space (spell it alike everywhere)",
		},
		{
			name: "not a controller", user: "dev", change: func(c *ccv3.Config) { c.HTTP = stranger(http.StatusOK) }, class: platform.Internal,
			want: "logging in to https://api.sandbox.test: this is not a Cloud Controller: its root document lists no links",
		},
		{
			name: "no such address", user: "dev", change: func(c *ccv3.Config) { c.HTTP = stranger(http.StatusNotFound) }, class: platform.Missing,
			want: "logging in to https://api.sandbox.test: Not Found (check the API endpoint)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := f.config(tt.user)
			if tt.change != nil {
				tt.change(&cfg)
			}
			d, err := cloudfoundry.New(cloudfoundry.Config{Client: cfg})
			if err != nil {
				t.Fatal(err)
			}
			err = d.Check(t.Context(), tt.spaces)
			if tt.class == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *platform.Error
			if !errors.As(err, &e) || e.Class != tt.class || err.Error() != tt.want {
				t.Errorf("%v\nwant %s: %s", err, tt.class, tt.want)
			}
		})
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	_, err := cloudfoundry.New(cloudfoundry.Config{Client: ccv3.Config{API: "https://api.test"}})
	want := "connecting to the foundation: no credentials given: a user name and password, client credentials, or the session of `cf login` (set CF_USERNAME and CF_PASSWORD, or CF_CLIENT_ID and CF_CLIENT_SECRET, or run `cf login`)"
	var e *platform.Error
	if !errors.As(err, &e) || e.Class != platform.Unauthorized || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestCertificates(t *testing.T) {
	f := newTown(t)
	server := httptest.NewUnstartedServer(f.sandbox)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // "TLS handshake error", as intended
	server.StartTLS()
	defer server.Close()
	identify := func(change func(*ccv3.Config)) error {
		cfg := f.config("dev")
		cfg.API, cfg.HTTP = server.URL, nil
		change(&cfg)
		d, err := cloudfoundry.New(cloudfoundry.Config{Client: cfg})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Identity(t.Context())
		return err
	}
	err := identify(func(*ccv3.Config) {})
	want := "logging in to " + server.URL + ": tls: failed to verify certificate: x509: certificate signed by unknown authority (give the foundation's CA certificate, or for a test foundation skip TLS verification)"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := identify(func(c *ccv3.Config) { c.CA = ca }); err != nil {
		t.Error("with the CA:", err)
	}
	if err := identify(func(c *ccv3.Config) { c.SkipTLSVerify = true }); err != nil {
		t.Error("without verification:", err)
	}
}

func TestIdentity(t *testing.T) {
	f := newTown(t)
	id, err := f.driver("eve").Identity(t.Context())
	if err != nil || id.Name != "eve" || id.Mail != "eve@acme.test" || id.GUID == "" {
		t.Errorf("%+v %v", id, err)
	}
}

func TestNothingToObserve(t *testing.T) {
	f := newTown(t)
	obs, err := f.driver("dev").Observe(t.Context(), manifest.Set{})
	if err != nil || obs.Live.Len() != 0 {
		t.Errorf("%+v %v", obs, err)
	}
}

// stranger is somebody else's server.
func stranger(status int) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
