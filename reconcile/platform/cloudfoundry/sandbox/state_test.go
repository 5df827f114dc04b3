package sandbox_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// A state that is kept holds what there is after every pause, not only at the end: who is killed loses a moment.
func TestKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	synctest.Test(t, func(t *testing.T) {
		a := sandbox.New(sandbox.Options{AccessTTL: time.Hour})
		u := login(t, a, "admin", "admin")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Keep(ctx, file, time.Second, func(err error) { t.Error(err) }) }()
		u.org("first")
		time.Sleep(2 * time.Second)
		synctest.Wait()

		killed := sandbox.New(sandbox.Options{Users: []sandbox.User{{Name: "dev", Password: "another"}, {Name: "new", Password: "new"}}})
		if err := killed.Load(file); err != nil {
			t.Fatal(err)
		}
		v := &user{t: t, http: killed.Client(), token: u.token} // the session goes on
		if n := v.do(200, "GET", "/v3/organizations?names=first", "").at("pagination.total_results"); n != "1" {
			t.Errorf("of the first organization there are %s", n)
		}
		login(t, killed, "admin", "admin")
		login(t, killed, "dev", "another") // as the options say
		login(t, killed, "new", "new")

		u.org("second")
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ended := sandbox.New(sandbox.Options{})
		if err := ended.Load(file); err != nil {
			t.Fatal(err)
		}
		if n := login(t, ended, "admin", "admin").do(200, "GET", "/v3/organizations?names=second", "").at("pagination.total_results"); n != "1" {
			t.Errorf("of the second organization there are %s", n)
		}
	})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("it holds passwords, and is %v %v", info.Mode(), err)
	}
	if rest, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
}

// A file that is no state changes nothing, and the error says what is wrong with which file.
func TestNoState(t *testing.T) {
	s := quick()
	u := login(t, s, "admin", "admin")
	u.org("acme")
	for text, want := range map[string]string{
		`applications: []`:     "not the state of a sandbox",
		`{"organizations":[]}`: "not the state of a sandbox",
		`{"format":"fettle-sandbox-1","world":{"organizations":{}}}`: "cannot be read",
	} {
		file := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Load(file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if n := u.do(200, "GET", "/v3/organizations?names=acme", "").at("pagination.total_results"); n != "1" {
		t.Errorf("afterwards there are %s organizations", n)
	}
}

// The request log names method, path, status and who; never a token, a password or a body.
func TestRequestLog(t *testing.T) {
	var log bytes.Buffer
	s := sandbox.New(sandbox.Options{RequestLog: &log, Users: []sandbox.User{{Name: "ada", Password: "lovelace", Scopes: sandbox.AdminScopes}}})
	u := login(t, s, "ada", "lovelace")
	u.send("GET", "/uaa/oauth/token?password=lovelace", "", nil)
	u.do(200, "GET", "/v3/apps?names=web", "")
	u.do(404, "PATCH", "/v3/apps/none", `{"name":"secret-name"}`)
	s.SetFaults(faults(t, "GET /v3/spaces cut")...)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", api+"/v3/spaces", nil)
	if res, err := u.http.Do(req); err == nil {
		t.Errorf("the connection was not cut: %d", res.StatusCode)
	}
	for _, want := range []string{"POST   /uaa/oauth/token 200 ", "GET    /v3/apps?names=web 200 ", "PATCH  /v3/apps/none 404 ", "GET    /v3/spaces cut ", " ada\n"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is missing in\n%s", want, log.String())
		}
	}
	for _, secret := range []string{"lovelace", "secret-name", u.token} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is told in\n%s", secret, log.String())
		}
	}
}

// The speed can be changed while a sandbox runs.
func TestSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sandbox.New(sandbox.Options{Job: time.Hour, AccessTTL: 24 * time.Hour})
		u := login(t, s, "admin", "admin")
		org, _ := u.org("acme")
		if o := u.do(200, "PUT", "/sandbox/speed", `{"speed": 3600}`); o.at("speed") != "3600" {
			t.Errorf("the speed is %v", o)
		}
		res, _ := u.send("DELETE", "/v3/organizations/"+org, "", nil)
		time.Sleep(time.Second)
		if state, _ := u.job(res); state != "COMPLETE" {
			t.Errorf("the job is %s", state)
		}
		u.do(400, "PUT", "/sandbox/speed", `{"speed": 0}`)
		u.do(400, "PUT", "/sandbox/speed", `{"sped": 1}`)
	})
}
