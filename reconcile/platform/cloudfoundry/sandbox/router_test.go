package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// visit asks an app, as somebody on the internet would, and says in a line what came back.
func (u *user) visit(url string, headers ...string) string {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		u.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := u.http.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	if code := res.Header.Get("X-Cf-Routererror"); code != "" {
		return fmt.Sprintf("%d %s", res.StatusCode, code)
	}
	var said struct {
		App      struct{ Name string }
		Instance int
		Revision int
	}
	if err := json.Unmarshal(body, &said); err != nil {
		u.t.Fatalf("%s: %d %s", url, res.StatusCode, body)
	}
	return fmt.Sprintf("%d %s/%d revision %d", res.StatusCode, said.App.Name, said.Instance, said.Revision)
}

func TestRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := login(t, quick(), "admin", "admin")
		_, space := u.org("acme")
		state, detail := u.apply(space, `applications:
- {name: web, instances: 2, routes: [{route: web.apps.sandbox.test}, {route: both.apps.sandbox.test}]}
- {name: api, routes: [{route: both.apps.sandbox.test/api}]}
- {name: sick, env: {X: FAULT_SICK}, routes: [{route: sick.apps.sandbox.test}]}
- {name: dead, env: {X: FAULT_CRASH}, routes: [{route: dead.apps.sandbox.test}]}
- {name: flappy, env: {X: FAULT_FLAP}, routes: [{route: flappy.apps.sandbox.test}]}
`)
		if state != "COMPLETE" {
			t.Fatal(state, detail)
		}
		start := func(name string) string {
			app := u.do(200, "GET", "/v3/apps?names="+name, "").at("resources.0.guid")
			u.push(app, map[string]string{"index.html": "hello"})
			u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")
			return app
		}
		domain := u.do(200, "GET", "/v3/domains?names=apps.sandbox.test", "").at("resources.0.guid")
		wildcard := u.do(201, "POST", "/v3/routes", fmt.Sprintf(`{"host": "*", "relationships": {"space": {"data": {"guid": %q}}, "domain": {"data": {"guid": %q}}}}`, space, domain)).at("guid")
		expect := func(url, want string, headers ...string) {
			t.Helper()
			if got := u.visit(url, headers...); got != want {
				t.Errorf("%s: %s, want %s", url, got, want)
			}
		}
		expect("http://web.apps.sandbox.test", "503 no_endpoints")
		web := start("web")
		expect("http://web.apps.sandbox.test", "503 no_endpoints") // starting still
		u.do(200, "POST", "/v3/routes/"+wildcard+"/destinations", fmt.Sprintf(`{"destinations": [{"app": {"guid": %q}}]}`, start("api")))
		for _, name := range []string{"sick", "dead", "flappy"} {
			start(name)
		}
		time.Sleep(30 * time.Millisecond)
		expect("http://web.apps.sandbox.test", "200 web/0 revision 1")
		expect("http://WEB.apps.sandbox.test:8181/some/where", "200 web/1 revision 1")
		expect("http://web.apps.sandbox.test", "200 web/1 revision 1", "X-Cf-App-Instance", web+":1")
		expect("http://web.apps.sandbox.test", "200 web/1 revision 1", "X-Cf-Process-Instance", web+":1")
		expect("http://web.apps.sandbox.test", "400 unknown_route", "X-Cf-App-Instance", web+":2")
		expect("http://both.apps.sandbox.test/apix", "200 web/0 revision 1")
		expect("http://both.apps.sandbox.test/api/x", "200 api/0 revision 1")
		expect("http://whatever.apps.sandbox.test", "200 api/0 revision 1") // the wildcard
		expect("http://sub.web.apps.sandbox.test", "404 unknown_route")
		expect("http://sick.apps.sandbox.test", "500 sick/0 revision 1")
		expect("http://dead.apps.sandbox.test", "503 no_endpoints")

		seen := map[string]bool{}
		for range 100 {
			seen[strings.Fields(u.visit("http://flappy.apps.sandbox.test"))[0]] = true
			time.Sleep(10 * time.Millisecond)
		}
		if !seen["200"] || !seen["502"] || !seen["503"] {
			t.Errorf("flappy answers %v; want 200, then 502 until the crash is noticed, then 503", seen)
		}

		u.do(200, "POST", "/v3/apps/"+web+"/actions/stop", "")
		expect("http://web.apps.sandbox.test", "503 no_endpoints")
		route := u.do(200, "GET", "/v3/routes?hosts=web", "").at("resources.0.guid")
		u.do(202, "DELETE", "/v3/routes/"+route, "")
		time.Sleep(time.Second)
		expect("http://web.apps.sandbox.test", "200 api/0 revision 1")
	})
}
