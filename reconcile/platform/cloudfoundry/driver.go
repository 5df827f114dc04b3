package cloudfoundry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/remote"
)

// Config says where the foundation is and who we are.
type Config struct {
	Client ccv3.Config

	// Settle is how long instances have to keep running after a rollout before it counts as good, where the app's settings
	// do not say; default 2 s.
	Settle time.Duration

	// ResolveImages has every run ask the registry what the tag of a docker image stands for, and deploys that digest: a tag
	// that moved is a difference. Otherwise an image is its name.
	ResolveImages bool
	// Remote is how archives and registries are reached; nil is the network.
	Remote http.RoundTripper
	// Probe carries the requests of the setting health-url; the default is the network, with the certificates of Client.
	Probe http.RoundTripper

	// Sealer stands in for what cannot be read back, see package diff.
	Sealer diff.Sealer
}

// Driver speaks to one foundation as one user. It keeps nothing between calls but the login, for some minutes
// what a foundation offers (see memory), and what it has learned of revisions, which never change.
type Driver struct {
	client *ccv3.Client
	cfg    Config
	probe  *http.Client
	memory memory // for preflight

	compared comparisons // of revisions with live configuration
}

var _ platform.Counter = (*Driver)(nil)

// New checks the configuration. It makes no request.
func New(cfg Config) (*Driver, error) {
	client, err := ccv3.New(cfg.Client)
	if err == nil && cfg.Probe == nil {
		cfg.Probe, err = ccv3.Network(cfg.Client)
	}
	if err != nil {
		class, hint := platform.Invalid, ""
		if cfg.Client.Username == "" && cfg.Client.ClientID == "" && cfg.Client.Session == nil {
			class, hint = platform.Unauthorized, "set CF_USERNAME and CF_PASSWORD, or CF_CLIENT_ID and CF_CLIENT_SECRET, or run `cf login`"
		}
		return nil, &platform.Error{Class: class, Doing: "connecting to the foundation", Message: err.Error(), Hint: hint, Err: err}
	}
	return &Driver{client: client, cfg: cfg, probe: &http.Client{Transport: cfg.Probe, Timeout: probeTimeout}}, nil
}

// Requests counts the requests made to the controller so far.
func (d *Driver) Requests() int64 { return d.client.Requests() }

func (d *Driver) sealer() sealer { return sealer{d.cfg.Sealer} }

// API is the address of the foundation.
func (d *Driver) API() string { return d.client.API() }

// remote reads what lies neither in the snapshot nor on the foundation.
func (d *Driver) remote() *remote.Client {
	return &remote.Client{HTTP: d.cfg.Remote, UserAgent: d.cfg.Client.UserAgent}
}

// Identity is who the foundation takes us for. Asking is also the cheapest way to find out whether the
// endpoint and the credentials are right.
func (d *Driver) Identity(ctx context.Context) (ccv3.Identity, error) {
	id, err := d.client.Identity(ctx)
	if err != nil {
		return id, explain(manifest.Ref{}, "logging in to "+d.client.API(), err)
	}
	return id, nil
}

// Check finds out whether the foundation can be reached, lets us in, and has the spaces ("ORG/SPACE").
func (d *Driver) Check(ctx context.Context, spaces []string) error {
	if _, err := d.Identity(ctx); err != nil {
		return err
	}
	_, err := d.places(ctx, spaces)
	return err
}

// explain turns what the client reports into what the reconciler decides on and a person understands. An error
// that is a *platform.Error already stays as it is.
func explain(ref manifest.Ref, doing string, err error) error {
	var done *platform.Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	p := &platform.Error{Class: platform.Internal, Ref: ref, Doing: doing, Message: err.Error(), Err: err}
	var e *ccv3.Error
	if !errors.As(err, &e) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			p.Class = platform.Unavailable
		}
		return p
	}
	p.Message = e.Message()
	login := strings.Contains(e.URL, "/oauth/token")
	switch {
	case e.Status == 0:
		p.Class = platform.Unavailable
		if at := server(e.URL); at != "" && !strings.Contains(doing, at) {
			p.Message = at + " cannot be reached: " + p.Message
		}
		p.Hint = "check the API endpoint and the network"
		var certificate *tls.CertificateVerificationError
		var record tls.RecordHeaderError
		switch {
		case errors.Is(err, context.Canceled):
			p.Message, p.Hint = "told to stop", ""
		case errors.As(err, &certificate):
			p.Hint = "give the foundation's CA certificate, or for a test foundation skip TLS verification"
		case errors.As(err, &record), strings.Contains(p.Message, "server gave HTTP response to HTTPS client"):
			p.Hint = "the server does not speak TLS: write http:// in the API address if that is meant, else check the port"
		case strings.HasPrefix(e.URL, "http://") && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)):
			p.Hint = "does the server want https://? Otherwise check the API address and the network"
		}
	case e.Status == http.StatusBadRequest && strings.HasPrefix(e.URL, "http://") && len(e.Errors) == 0:
		p.Class, p.Hint = platform.Unavailable, "no Cloud Controller answers so, but a server that speaks only TLS does: write https:// in the API address"
	case e.Status == http.StatusUnauthorized && login || e.Status == http.StatusBadRequest && login:
		p.Class, p.Doing = platform.Unauthorized, strings.TrimSuffix("logging in at "+server(e.URL), " at ")
		p.Hint = "check the user name and password, or the client's id and secret"
		if ccv3.Is(err, "invalid_token") {
			p.Hint = "run `cf login` again"
		}
	case e.Status == http.StatusUnauthorized:
		p.Class, p.Hint = platform.Unauthorized, "log in again"
	case e.Status == http.StatusForbidden:
		p.Class, p.Hint = platform.Forbidden, "grant the user a role that allows it, usually space developer"
		if ccv3.Is(err, "CF-OrgSuspended") {
			p.Hint = "the organization is suspended: ask the platform's operators"
		}
	case e.Status == http.StatusNotFound:
		p.Class = platform.Missing
		if len(e.Errors) == 0 { // not the controller's way of saying so
			p.Hint = "check the API endpoint"
		}
	case e.Status == http.StatusTooManyRequests:
		p.Class = platform.RateLimited
		if e.RetryAfter > 0 {
			p.Hint = fmt.Sprintf("the platform allows more requests in %s", e.RetryAfter.Round(time.Second))
		}
	case e.Status >= 500:
		p.Class = platform.Unavailable
		if e.RequestID != "" {
			p.Hint = "operators find it in the controller's log as request " + e.RequestID
		}
	case isQuota(e):
		p.Class, p.Hint = platform.Quota, "ask for less, or ask the operators to raise the quota"
	case len(e.Errors) > 0:
		p.Class = platform.Invalid
	}
	return p
}

// server is the part of a URL that a person gave: scheme and host. It is "" for a mere path.
func server(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// isQuota recognises the controller's words for a used-up quota: "memory quota_exceeded", "memory
// space_quota_exceeded", "You have exceeded the total routes for your organization's quota." (observed).
func isQuota(e *ccv3.Error) bool {
	return slices.ContainsFunc(e.Errors, func(d ccv3.Detail) bool {
		text := strings.ToLower(d.Title + " " + d.Detail)
		return strings.Contains(text, "quota") && strings.Contains(text, "exceed")
	})
}
