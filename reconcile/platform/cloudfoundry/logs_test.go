package cloudfoundry_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// talking stands between the driver and Log Cache, for an app that says more than the sandbox's do. With a status, Log Cache
// answers that.
type talking struct {
	next   http.RoundTripper
	says   string
	status int
	asked  int
}

func (l *talking) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err != nil || !strings.HasPrefix(req.URL.Path, "/api/v1/read/") {
		return resp, err
	}
	l.asked++
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	silence := base64.StdEncoding.EncodeToString([]byte("It crashes on demand (FAULT_CRASH)."))
	body = bytes.ReplaceAll(body, []byte(silence), []byte(base64.StdEncoding.EncodeToString([]byte(l.says))))
	if l.status != 0 {
		resp.StatusCode = l.status
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// The end of the log is a part of the reason, without what nobody may see, in whatever form the app prints it.
func TestTheEndOfTheLog(t *testing.T) {
	const text = `
applications:
- name: web
  path: web
  env: {FAULT_CRASH: "yes", DB_PASSWORD: "open sesame/7", HINT: sealed-by-git}
`
	for name, c := range map[string]struct{ says, want string }{
		"plain":            {"no\n  such table: orders", "its log ends with: no such table: orders"},
		"secrets":          {"open sesame/7, open+sesame%2F7 and b3BlbiBzZXNhbWUvNw==, sealed-by-git", "its log ends with: (secret), (secret) and (secret), (secret)"},
		"of a service":     {"dial postgres://app:pw@db:5432/orders", "its log ends with: dial postgres://app:****@db:5432/orders"},
		"in an assignment": {"API_TOKEN=abc123", "its log ends with: API_TOKEN=****"},
		"long":             {strings.Repeat("x ", 300), strings.Repeat("x ", 99) + "x…"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				f.wire.next = &talking{next: f.wire.next, says: c.says}
				set := f.load(text)
				app := manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
				set.Get(app).Secrets = map[string]bool{"/environment_variables/HINT": true}
				p, d := f.prepareSet(t.Context(), set)
				f.apply(t.Context(), d, &p)
				if err := p.outcome.Err(); err == nil || !strings.Contains(err.Error(), c.want+" (the app's log says why") {
					t.Errorf("a person reads\n%v\nwithout\n%s", err, c.want)
				}
			})
		})
	}
}

// A log that cannot be read changes nothing about the failure.
func TestNoLogToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		wire := &talking{next: f.wire.next, status: http.StatusBadGateway}
		f.wire.next = wire
		_, e, _ := f.failed("applications: [{name: web, path: web, env: {FAULT_CRASH: 'yes'}}]")
		if e.Class != platform.Rollout || strings.Contains(e.Message, "log ends") || wire.asked != 1 {
			t.Errorf("%v, asked %d times", e, wire.asked)
		}
	})
}

// Instances of the old version serve on and write on: what they say is no reason.
func TestTheLogOfTheNewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		_, e, _ := f.failed(strings.Replace(web, "hello", "FAULT_CRASH", 1))
		if !strings.HasSuffix(e.Message, "; its log ends with: It crashes on demand (FAULT_CRASH).") {
			t.Error(e)
		}
	})
}
