package sandbox_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// user talks to a sandbox without a socket, as one of its users.
type user struct {
	t     testing.TB
	http  *http.Client
	token string
}

const api = "http://api.sandbox.test"

func login(t testing.TB, s *sandbox.Sandbox, name, password string) *user {
	t.Helper()
	u := &user{t: t, http: s.Client()}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", api+"/uaa/oauth/token",
		strings.NewReader(url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("cf", "")
	res, err := u.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var got struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.AccessToken == "" {
		t.Fatalf("no token for %s: %d %v", name, res.StatusCode, err)
	}
	u.token = got.AccessToken
	return u
}

// object is a JSON answer.
type object map[string]any

// at follows a path like "resources.0.guid" and returns what is there as text.
func (o object) at(path string) string {
	var v any = map[string]any(o)
	for _, k := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[k]
		case []any:
			i := int(k[0] - '0')
			if i >= len(x) {
				return ""
			}
			v = x[i]
		default:
			return ""
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func (u *user) send(method, path, contentType string, body io.Reader) (*http.Response, object) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), method, api+path, body)
	if err != nil {
		u.t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer "+u.token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := u.http.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	o := object{}
	if strings.Contains(res.Header.Get("Content-Type"), "json") && len(b) > 0 {
		if err := json.Unmarshal(b, &o); err != nil {
			u.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	} else {
		o["text"] = string(b)
	}
	return res, o
}

// do sends JSON and insists on a status.
func (u *user) do(status int, method, path, body string) object {
	u.t.Helper()
	res, o := u.send(method, path, "application/json", strings.NewReader(body))
	if res.StatusCode != status {
		u.t.Fatalf("%s %s answered %d, not %d: %v", method, path, res.StatusCode, status, o)
	}
	return o
}

// job waits for the job of an answer and returns its end state and first error.
func (u *user) job(res *http.Response) (state, detail string) {
	u.t.Helper()
	path := strings.TrimPrefix(res.Header.Get("Location"), api)
	for range 100 {
		o := u.do(200, "GET", path, "")
		if s := o.at("state"); s == "COMPLETE" || s == "FAILED" {
			return s, o.at("errors.0.detail")
		}
		time.Sleep(20 * time.Millisecond)
	}
	u.t.Fatal("the job does not end")
	return "", ""
}

// until reads a path until a value is there.
func (u *user) until(path, where, want string) object {
	u.t.Helper()
	var o object
	for range 400 {
		o = u.do(200, "GET", path, "")
		if o.at(where) == want {
			return o
		}
		time.Sleep(10 * time.Millisecond)
	}
	u.t.Fatalf("%s of %s is %q, never %q", where, path, o.at(where), want)
	return nil
}

func (u *user) org(name string) (org, space string) {
	u.t.Helper()
	org = u.do(201, "POST", "/v3/organizations", `{"name":"`+name+`"}`).at("guid")
	space = u.do(201, "POST", "/v3/spaces", `{"name":"dev","relationships":{"organization":{"data":{"guid":"`+org+`"}}}}`).at("guid")
	return org, space
}

func (u *user) apply(space, manifest string) (state, detail string) {
	u.t.Helper()
	res, o := u.send("POST", "/v3/spaces/"+space+"/actions/apply_manifest", "application/x-yaml", strings.NewReader(manifest))
	if res.StatusCode != 202 {
		return fmt.Sprint(res.StatusCode), o.at("errors.0.detail")
	}
	return u.job(res)
}

// upload stages files for an app and makes the droplet current.
func (u *user) push(app string, files map[string]string) {
	u.t.Helper()
	pkg := u.do(201, "POST", "/v3/packages", `{"type":"bits","relationships":{"app":{"data":{"guid":"`+app+`"}}}}`).at("guid")
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, _ := w.CreateFormFile("bits", "bits.zip")
	z := zip.NewWriter(part)
	for name, text := range files {
		f, _ := z.Create(name)
		_, _ = io.WriteString(f, text)
	}
	_ = z.Close()
	_ = w.Close()
	if res, o := u.send("POST", "/v3/packages/"+pkg+"/upload", w.FormDataContentType(), &form); res.StatusCode != 200 {
		u.t.Fatalf("upload answered %d %v", res.StatusCode, o)
	}
	u.until("/v3/packages/"+pkg, "state", "READY")
	build := u.do(201, "POST", "/v3/builds", `{"package":{"guid":"`+pkg+`"}}`).at("guid")
	droplet := u.until("/v3/builds/"+build, "state", "STAGED").at("droplet.guid")
	u.do(200, "PATCH", "/v3/apps/"+app+"/relationships/current_droplet", `{"data":{"guid":"`+droplet+`"}}`)
}

func relation(app string) string { return `"relationships":{"app":{"data":{"guid":"` + app + `"}}}` }

func quick() *sandbox.Sandbox { return sandbox.New(sandbox.Options{Speed: 50}) }

// From a manifest and some files to a running app with a route, as `cf push` does it.
func TestPush(t *testing.T) {
	u := login(t, quick(), "admin", "admin")
	_, space := u.org("acme")
	if state, detail := u.apply(space, "applications: [{name: web, instances: 2, env: {COLOUR: blue}, default-route: true}]"); state != "COMPLETE" {
		t.Fatal(state, detail)
	}
	app := u.do(200, "GET", "/v3/apps?names=web", "").at("resources.0.guid")
	u.push(app, map[string]string{"index.html": "hello", "Procfile": "web: serve\nworker: work\n"})
	u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")
	u.until("/v3/apps/"+app+"/processes/web/stats", "resources.1.state", "RUNNING")
	if c := u.do(200, "GET", "/v3/apps/"+app+"/processes/worker", "").at("command"); c != "work" {
		t.Errorf("the command of the Procfile is %q", c)
	}
	if url := u.do(200, "GET", "/v3/apps/"+app+"/routes", "").at("resources.0.url"); url != "web.apps.sandbox.test" {
		t.Errorf("the route is %q", url)
	}
	if v := u.do(200, "GET", "/v3/apps/"+app+"/revisions", "").at("resources.0.description"); v != "Initial revision." {
		t.Errorf("the first revision is described as %q", v)
	}
}

// A broken release can lie in Git: uploaded bits with a file named FAULT_CRASH crash. The deployment does not fail by
// itself; cancelling it brings the old droplet and the old instances back.
func TestBrokenReleaseIsRolledBack(t *testing.T) {
	u := login(t, quick(), "admin", "admin")
	_, space := u.org("acme")
	u.apply(space, "applications: [{name: web, instances: 2}]")
	app := u.do(200, "GET", "/v3/apps?names=web", "").at("resources.0.guid")
	u.push(app, map[string]string{"index.html": "good"})
	good := u.do(200, "GET", "/v3/apps/"+app+"/droplets/current", "").at("guid")
	u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")
	u.until("/v3/apps/"+app+"/processes/web/stats", "resources.1.state", "RUNNING")

	u.push(app, map[string]string{"index.html": "bad", "FAULT_CRASH": ""})
	u.do(200, "PATCH", "/v3/apps/"+app+"/relationships/current_droplet", `{"data":{"guid":"`+good+`"}}`)
	bad := u.do(200, "GET", "/v3/droplets?app_guids="+app+"&order_by=-created_at", "").at("resources.0.guid")
	d := u.do(201, "POST", "/v3/deployments", `{"droplet":{"guid":"`+bad+`"},`+relation(app)+`}`).at("guid")
	u.until("/v3/apps/"+app+"/processes/web/stats", "resources.0.state", "CRASHED")
	if r := u.do(200, "GET", "/v3/deployments/"+d, "").at("status.reason"); r != "DEPLOYING" {
		t.Errorf("a crashing deployment is %s", r)
	}
	u.do(200, "POST", "/v3/deployments/"+d+"/actions/cancel", "")
	u.until("/v3/deployments/"+d, "status.reason", "CANCELED")
	u.until("/v3/apps/"+app+"/processes/web/stats", "resources.1.state", "RUNNING")
	if now := u.do(200, "GET", "/v3/apps/"+app+"/droplets/current", "").at("guid"); now != good {
		t.Errorf("the droplet after the cancellation is %s, not the good one", now)
	}
}

// Time is simulated under testing/synctest: nothing happens while nobody asks, and everything is caught up then, each at
// its own moment.
func TestTimeIsCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sandbox.New(sandbox.Options{Staging: 10 * time.Minute, Start: time.Minute, AccessTTL: 12 * time.Hour})
		u := login(t, s, "admin", "admin")
		_, space := u.org("acme")
		app := u.do(201, "POST", "/v3/apps", `{"name":"a","relationships":{"space":{"data":{"guid":"`+space+`"}}},"lifecycle":{"type":"buildpack","data":{}}}`).at("guid")
		pkg := u.do(201, "POST", "/v3/packages", `{"type":"bits",`+relation(app)+`}`).at("guid")
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, _ := w.CreateFormFile("bits", "bits.zip")
		_, _ = io.WriteString(part, "no zip, and nobody minds")
		_ = w.Close()
		u.send("POST", "/v3/packages/"+pkg+"/upload", w.FormDataContentType(), &form)
		time.Sleep(time.Second)
		build := u.do(201, "POST", "/v3/builds", `{"package":{"guid":"`+pkg+`"}}`).at("guid")
		began := time.Now()
		time.Sleep(9 * time.Minute)
		if s := u.do(200, "GET", "/v3/builds/"+build, "").at("state"); s != "STAGING" {
			t.Errorf("after nine of ten minutes the build is %s", s)
		}
		time.Sleep(time.Hour)
		b := u.do(200, "GET", "/v3/builds/"+build, "")
		if b.at("state") != "STAGED" {
			t.Errorf("after an hour the build is %s", b.at("state"))
		}
		if at := b.at("updated_at"); at != began.Add(10*time.Minute).UTC().Format(time.RFC3339) {
			t.Errorf("it was staged at %s, which is not ten minutes after %s", at, began.UTC())
		}
	})
}

// What a user may not see is 404, what may be seen but not changed 403.
func TestPermissions(t *testing.T) {
	s := quick()
	admin, dev := login(t, s, "admin", "admin"), login(t, s, "dev", "dev")
	org, space := admin.org("acme")
	app := admin.do(201, "POST", "/v3/apps", `{"name":"a","relationships":{"space":{"data":{"guid":"`+space+`"}}}}`).at("guid")
	dev.do(404, "GET", "/v3/apps/"+app, "")
	me := dev.do(200, "GET", "/v3/users?usernames=dev", "").at("resources.0.guid")
	grant := func(role, kind, guid string) {
		admin.do(201, "POST", "/v3/roles", `{"type":"`+role+`","relationships":{"user":{"data":{"guid":"`+me+`"}},"`+kind+`":{"data":{"guid":"`+guid+`"}}}}`)
	}
	grant("organization_user", "organization", org)
	grant("space_auditor", "space", space)
	dev.do(200, "GET", "/v3/apps/"+app, "")
	dev.do(403, "PATCH", "/v3/apps/"+app, `{"name":"b"}`)
	dev.do(403, "GET", "/v3/apps/"+app+"/env", "")
	grant("space_developer", "space", space)
	dev.do(200, "PATCH", "/v3/apps/"+app, `{"name":"b"}`)
	e := admin.do(200, "GET", "/v3/audit_events?target_guids="+app+"&types=audit.app.update", "")
	if who := e.at("resources.0.actor.name"); who != "dev" {
		t.Errorf("the trail says that %q did it", who)
	}
}

// The whole state can be written down and read back, with what is still to happen.
func TestStateSurvives(t *testing.T) {
	a := sandbox.New(sandbox.Options{Staging: 20 * time.Millisecond, Upload: time.Millisecond})
	u := login(t, a, "admin", "admin")
	_, space := u.org("acme")
	u.apply(space, "applications: [{name: web, metadata: {labels: {team: x}}}]")
	state, err := a.Dump()
	if err != nil {
		t.Fatal(err)
	}
	b := sandbox.New(sandbox.Options{})
	if err := b.Restore(state); err != nil {
		t.Fatal(err)
	}
	v := login(t, b, "admin", "admin")
	if got := v.do(200, "GET", "/v3/apps?label_selector=team=x", "").at("resources.0.name"); got != "web" {
		t.Errorf("the app did not survive: %q", got)
	}
}
