package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// envelopes reads log lines as log-cache hands them out, as "SOURCE/INSTANCE KIND text".
func envelopes(t *testing.T, u *user, app string, query url.Values) (lines, times []string) {
	t.Helper()
	batch, _ := u.do(200, "GET", "/api/v1/read/"+app+"?"+query.Encode(), "")["envelopes"].(map[string]any)["batch"].([]any)
	for _, x := range batch {
		e := object(x.(map[string]any))
		text, err := base64.StdEncoding.DecodeString(e.at("log.payload"))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s/%s %s %s", e.at("tags.source_type"), e.at("instance_id"), e.at("log.type"), text))
		times = append(times, e.at("timestamp"))
	}
	return lines, times
}

// The log of an app tells its staging and its start, each line at its time, and nothing before it happened.
func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := login(t, sandbox.New(sandbox.Options{}), "admin", "admin")
		_, space := u.org("acme")
		u.apply(space, "applications: [{name: web, env: {SECRET: sesame}}]")
		app := u.do(200, "GET", "/v3/apps?names=web", "").at("resources.0.guid")
		u.push(app, map[string]string{"Procfile": "web: serve --password sesame"})
		u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")

		all := url.Values{"limit": {"1000"}, "start_time": {"-6795364578871345152"}} // cf sends the zero time
		before, _ := envelopes(t, u, app, all)
		for _, l := range before {
			if strings.Contains(l, "became healthy") {
				t.Errorf("logged before it happened: %s", l)
			}
		}
		time.Sleep(time.Second)
		lines, times := envelopes(t, u, app, all)
		log := strings.Join(lines, "\n")
		for _, want := range []string{
			"API/0 OUT Created app with guid " + app, "STG/0 OUT Downloaded app package (", "STG/0 OUT Uploading complete",
			"API/0 OUT Starting app with guid " + app, "APP/PROC/WEB/0 OUT Invoking start command.", "CELL/0 OUT Container became healthy",
		} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is missing in\n%s", want, log)
			}
		}
		if strings.Contains(log, "sesame") {
			t.Errorf("a secret in\n%s", log)
		}

		// Who pages on, one nanosecond after the last line, sees every line once.
		var paged []string
		next := url.Values{"limit": {"3"}, "envelope_types": {"LOG"}}
		for {
			l, at := envelopes(t, u, app, next)
			if len(l) == 0 {
				break
			}
			paged = append(paged, l...)
			var n int64
			fmt.Sscan(at[len(at)-1], &n)
			next.Set("start_time", fmt.Sprint(n+1))
		}
		if strings.Join(paged, "\n") != log {
			t.Errorf("page by page the log is\n%s\nnot\n%s", strings.Join(paged, "\n"), log)
		}

		last, _ := envelopes(t, u, app, url.Values{"limit": {"1"}, "descending": {"true"}})
		if len(last) != 1 || last[0] != lines[len(lines)-1] {
			t.Errorf("the newest line is %q, not %q", last, lines[len(lines)-1])
		}
		if metrics, _ := envelopes(t, u, app, url.Values{"envelope_types": {"GAUGE"}}); len(metrics) > 0 {
			t.Errorf("logs among metrics: %q", metrics)
		}
		if newest := u.do(200, "GET", "/api/v1/meta", "").at("meta." + app + ".newest_timestamp"); newest != times[len(times)-1] {
			t.Errorf("meta says that the newest line is of %s, not %s", newest, times[len(times)-1])
		}
	})
}

// Crashes are in the log; logs of others are not found, as are those of nothing.
func TestLogsOfCrashesAndOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sandbox.New(sandbox.Options{AccessTTL: time.Hour})
		u := login(t, s, "admin", "admin")
		_, space := u.org("acme")
		u.apply(space, "applications: [{name: web, command: FAULT_CRASH}]")
		app := u.do(200, "GET", "/v3/apps?names=web", "").at("resources.0.guid")
		u.push(app, map[string]string{"index.html": "hello"})
		u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")
		time.Sleep(time.Second)
		lines, _ := envelopes(t, u, app, nil)
		log := strings.Join(lines, "\n")
		for _, want := range []string{"APP/PROC/WEB/0 ERR ", `API/0 OUT Process has crashed with type: "web"`} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is missing in\n%s", want, log)
			}
		}
		login(t, s, "dev", "dev").do(404, "GET", "/api/v1/read/"+app, "")
		u.do(404, "GET", "/api/v1/read/nothing", "")
		u.do(400, "GET", "/api/v1/read/"+app+"?limit=1001", "")
		u.do(400, "GET", "/api/v1/read/"+app+"?start_time=2&end_time=1", "")
		if v := u.do(200, "GET", "/api/v1/info", "").at("vm_uptime"); v == "" {
			t.Error("no uptime")
		}
	})
}

// Network policies are kept, found by either end, gone with an app, and only set between apps that one develops.
func TestNetworkPolicies(t *testing.T) {
	s := quick()
	u := login(t, s, "admin", "admin")
	_, space := u.org("acme")
	u.apply(space, "applications: [{name: a}, {name: b}]")
	guid := func(name string) string {
		return u.do(200, "GET", "/v3/apps?names="+name, "").at("resources.0.guid")
	}
	const path = "/networking/v1/external/policies"
	policy := func(from, to, ports string) string {
		return `{"policies":[{"source":{"id":"` + from + `"},"destination":{"id":"` + to + `","protocol":"tcp","ports":` + ports + `}}]}`
	}
	one := policy(guid("a"), guid("b"), `{"start":8080,"end":8090}`)
	total := func(query string) string { return u.do(200, "GET", path+query, "").at("total_policies") }

	if n := total(""); n != "0" {
		t.Errorf("%s policies at the beginning", n)
	}
	u.do(200, "POST", path, one)
	u.do(200, "POST", path, one) // once more makes no difference
	for query, want := range map[string]string{
		"": "1", "?id=" + guid("b"): "1", "?source_id=" + guid("a"): "1", "?source_id=" + guid("b"): "0", "?dest_id=" + guid("b"): "1",
	} {
		if n := total(query); n != want {
			t.Errorf("%s policies with %q, not %s", n, query, want)
		}
	}
	u.do(400, "POST", path, policy(guid("a"), guid("b"), `{"start":9,"end":8}`))
	u.do(400, "POST", path, `{"policies":[]}`)
	dev := login(t, s, "dev", "dev")
	dev.do(403, "POST", path, one)
	if n := dev.do(200, "GET", path, "").at("total_policies"); n != "0" {
		t.Errorf("a stranger sees %s policies", n)
	}

	u.do(200, "POST", path+"/delete", one)
	if n := total(""); n != "0" {
		t.Errorf("%s policies after the deletion", n)
	}
	u.do(200, "POST", path, one)
	res, _ := u.send("DELETE", "/v3/apps/"+guid("b"), "", nil)
	u.job(res)
	if n := total(""); n != "0" {
		t.Errorf("%s policies after an end is gone", n)
	}
}
