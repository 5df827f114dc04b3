package sandbox_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

func faults(t *testing.T, rules ...string) (out []sandbox.Fault) {
	t.Helper()
	for _, r := range rules {
		f, err := sandbox.ParseFault(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// The rate limiter as it was observed: administrators and the root documents are exempt, an estimate of what is left goes
// with every answer, and beyond it there is a 429 whose body is JSON and says that it is text.
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sandbox.New(sandbox.Options{RateLimit: sandbox.RateLimit{General: 20, Window: time.Minute}, AccessTTL: time.Hour})
		dev, admin := login(t, s, "dev", "dev"), login(t, s, "admin", "admin")
		var last *http.Response
		for range 20 {
			last, _ = dev.send("GET", "/v3/apps", "", nil)
		}
		if last.StatusCode != 200 || last.Header.Get("X-RateLimit-Remaining") != "0" {
			t.Fatalf("the twentieth: %d, %s left", last.StatusCode, last.Header.Get("X-RateLimit-Remaining"))
		}
		res, o := dev.send("GET", "/v3/apps", "", nil)
		if res.StatusCode != 429 || res.Header.Get("Retry-After") == "" || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" ||
			!strings.Contains(o.at("text"), `"code":10013`) {
			t.Errorf("the next: %d %v %v", res.StatusCode, res.Header, o)
		}
		if res, _ := dev.send("GET", "/v3", "", nil); res.StatusCode != 200 {
			t.Errorf("/v3 answers %d", res.StatusCode)
		}
		if res, _ := admin.send("GET", "/v3/apps", "", nil); res.StatusCode != 200 || res.Header.Get("X-RateLimit-Limit") != "" {
			t.Errorf("an administrator: %d %v", res.StatusCode, res.Header)
		}
		time.Sleep(time.Minute)
		dev.do(200, "GET", "/v3/apps", "")
	})
}

// Faults strike by rule, as often as the rule says. A 503 "after" is that of a runtime which cannot be reached: refused,
// and done all the same.
func TestFaults(t *testing.T) {
	s := quick()
	u := login(t, s, "admin", "admin")
	_, space := u.org("acme")
	u.apply(space, "applications: [{name: web}, {name: api}]")
	app := u.do(200, "GET", "/v3/apps?names=web", "").at("resources.0.guid")
	u.push(app, map[string]string{"index.html": "x"})

	s.SetFaults(faults(t, "POST /v3/apps/*/actions/start status=503 after times=1", "GET /v3/apps page=1", "JOB *.delete times=1")...)
	u.do(503, "POST", "/v3/apps/"+app+"/actions/start", "")
	if o := u.do(200, "GET", "/v3/apps/"+app, ""); o.at("state") != "STARTED" {
		t.Errorf("the app is %s", o.at("state"))
	}
	u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")
	if o := u.do(200, "GET", "/v3/apps?per_page=50", ""); o.at("resources.1.guid") != "" || o.at("pagination.total_pages") != "2" {
		t.Errorf("a page has more than one entry: %v", o["pagination"])
	}
	for _, want := range []string{"FAILED", "COMPLETE"} {
		res, _ := u.send("DELETE", "/v3/apps/"+app, "", nil)
		if state, _ := u.job(res); state != want {
			t.Errorf("deleting ends %s, not %s", state, want)
		}
	}

	s.SetFaults(faults(t, "* /v3/spaces/** cut")...)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", api+"/v3/spaces/"+space, nil)
	if res, err := u.http.Do(req); err == nil {
		t.Errorf("the connection was not cut: %d", res.StatusCode)
		res.Body.Close()
	}
}

// Rules that cannot be meant are refused, saying what is wrong with them.
func TestParseFault(t *testing.T) {
	for rule, want := range map[string]string{
		"GET":                       "write METHOD PATH",
		"GET apps status=503":       "does not begin with a slash",
		"GET /v3/apps":              "does nothing",
		"GET /v3/apps status=200":   "not between 400 and 599",
		"GET /v3/apps p=2 cut":      "not between 0 and 1",
		"GET /v3/apps sometimes":    "known are p, times",
		"GET /v3/apps latency=fast": "latency=fast",
		"JOB app.delete status=500": "takes only p and times",
	} {
		if _, err := sandbox.ParseFault(rule); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// Quotas bind started apps only, and say which of them is exceeded: that of the space or that of the organization.
func TestQuotas(t *testing.T) {
	u := login(t, quick(), "admin", "admin")
	org, space := u.org("acme")
	quota := u.do(201, "POST", "/v3/organization_quotas", `{"name":"small","apps":{"total_memory_in_mb":2048},"relationships":{"organizations":{"data":[{"guid":"`+org+`"}]}}}`).at("guid")
	u.do(201, "POST", "/v3/space_quotas", `{"name":"tiny","apps":{"total_memory_in_mb":1024},"relationships":{"organization":{"data":{"guid":"`+org+`"}},"spaces":{"data":[{"guid":"`+space+`"}]}}}`)
	u.apply(space, "applications: [{name: web, memory: 512M}]")
	app := u.do(200, "GET", "/v3/apps?names=web", "").at("resources.0.guid")
	scale := func(status int, instances string) string {
		return u.do(status, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"instances":`+instances+`}`).at("errors.0.detail")
	}
	scale(202, "9") // it is stopped
	scale(202, "2")
	u.push(app, map[string]string{"index.html": "x"})
	u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")
	if d := scale(422, "3"); d != "memory space_quota_exceeded" {
		t.Error(d)
	}
	if d := scale(422, "5"); d != "memory space_quota_exceeded, memory quota_exceeded" {
		t.Error(d)
	}
	if d := u.do(422, "DELETE", "/v3/organization_quotas/"+quota, "").at("errors.0.detail"); !strings.HasPrefix(d, "This quota is applied to one or more organizations.") {
		t.Error(d)
	}
	if o := u.do(200, "GET", "/v3/spaces/"+space+"/usage_summary", ""); o.at("usage_summary.memory_in_mb") != "1024" {
		t.Errorf("used: %v", o)
	}
}

// Requests are counted by endpoint, whoever makes them.
func TestRequestCounter(t *testing.T) {
	s := quick()
	u := login(t, s, "admin", "admin")
	s.ResetRequests()
	u.do(404, "GET", "/v3/apps/one", "")
	u.do(404, "GET", "/v3/apps/two", "")
	if n := s.Requests()["GET /v3/apps/{guid}"]; n != 2 {
		t.Errorf("counted %d: %v", n, s.Requests())
	}
}

// A list says all that is wrong with its parameters at once, in the order of the controller's validators.
func TestListProblems(t *testing.T) {
	s := quick()
	u := login(t, s, "admin", "admin")
	const unknown = "Unknown query parameter(s): 'x'. Valid parameters are: 'page', 'per_page', 'order_by', 'created_ats', 'updated_ats', 'guids', " +
		"'names', 'organization_guids', 'label_selector'"
	for query, want := range map[string]string{
		"page=0&per_page=0":           "Page must be a positive integer, Per page must be a positive integer",
		"x=1&order_by=size":           "Order by can only be: 'created_at', 'updated_at', 'name', " + unknown,
		"x=1&label_selector=!!":       "Invalid label_selector value, " + unknown,
		"per_page=5001&created_ats=1": "Per page must be between 1 and 5000, Created ats has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'",
	} {
		if got := u.do(400, "GET", "/v3/isolation_segments?"+query, "").at("errors.0.detail"); !strings.HasSuffix(got, ": "+want) && got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	u.do(200, "GET", "/v3/isolation_segments?order_by=%2Bname&per_page=5x", "")
}
