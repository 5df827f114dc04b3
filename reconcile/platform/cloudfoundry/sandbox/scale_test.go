package sandbox_test

import (
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// largePages are the lists that agents read of a whole foundation.
var largePages = []string{
	"/v3/apps?per_page=5000",
	"/v3/apps?per_page=5000&include=space.organization",
	"/v3/apps?per_page=5000&label_selector=team=team-07",
	"/v3/apps?per_page=5000&order_by=name",
	"/v3/processes?per_page=5000",
	"/v3/routes?per_page=5000",
	"/v3/droplets?per_page=5000",
	"/v3/packages?per_page=5000",
	"/v3/audit_events?per_page=5000",
	"/v3/audit_events?per_page=5000&order_by=-created_at",
	"/v3/app_usage_events?per_page=5000",
	"/v3/spaces?per_page=5000",
}

// A population is what people would have pushed: apps that run, with routes, 20 in a space, 50 spaces in an organization.
func TestPopulate(t *testing.T) {
	s := sandbox.New(sandbox.Options{})
	s.Populate(1001)
	u := login(t, s, "admin", "admin")
	for path, want := range map[string]string{
		"/v3/apps": "1001", "/v3/spaces": "51", "/v3/organizations": "2", "/v3/routes": "1001", "/v3/processes": "1001", "/v3/droplets": "1001",
		"/v3/audit_events?types=audit.app.map-route": "1001", "/v3/app_usage_events": "1001",
	} {
		if got := u.do(200, "GET", path, "").at("pagination.total_results"); got != want {
			t.Errorf("%s has %s results, not %s", path, got, want)
		}
	}
	app := u.do(200, "GET", "/v3/apps?names=app-01001&include=space.organization", "")
	if app.at("resources.0.state") != "STARTED" || app.at("included.spaces.0.name") != "space-0051" || app.at("included.organizations.0.name") != "org-0002" {
		t.Errorf("the last app: %v", app)
	}
	guid := app.at("resources.0.guid")
	u.until("/v3/apps/"+guid+"/processes/web/stats", "resources.0.state", "RUNNING")
	if url := u.do(200, "GET", "/v3/apps/"+guid+"/routes", "").at("resources.0.url"); url != "app-01001.apps.sandbox.test" {
		t.Errorf("its route: %s", url)
	}
	if v := u.do(200, "GET", "/v3/apps/"+guid+"/revisions", "").at("resources.0.deployable"); v != "true" {
		t.Errorf("its revision: deployable is %s", v)
	}
	u.do(422, "DELETE", "/v3/organization_quotas/"+u.do(200, "GET", "/v3/organization_quotas?names=unlimited", "").at("resources.0.guid"), "")
}

// Baselines, of
//
//	go test ./reconcile/platform/cloudfoundry/sandbox -run ^$ -bench . -benchtime 10x
//
// with go1.26 on two cores of an AMD EPYC at a load of about 1 (a page of apps took 188 ms at a load of 14):
//
//	Populate                        277 ms, 80 MiB held
//	Page apps                        48 ms      with spaces and organizations 45 ms, one label 2 ms, by name 43 ms
//	Page processes                   27 ms
//	Page routes                      26 ms
//	Page droplets                    28 ms
//	Page packages                    19 ms
//	Page audit_events                14 ms      newest first 15 ms
//	Page app_usage_events            16 ms
//	Page spaces (all 500)             1 ms
//	Dump                            747 ms, 52 MiB

// BenchmarkPopulate makes 10,000 apps in 500 spaces; the budget is 20 s and 1 GiB.
func BenchmarkPopulate(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := sandbox.New(sandbox.Options{})
		s.Populate(10000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-held")
		runtime.KeepAlive(s)
	}
}

// BenchmarkPage reads pages of 5,000 out of 10,000 apps; the budget is 150 ms.
func BenchmarkPage(b *testing.B) {
	s := sandbox.New(sandbox.Options{AccessTTL: time.Hour})
	s.Populate(10000)
	u := login(b, s, "admin", "admin")
	for _, path := range largePages {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				req, _ := http.NewRequestWithContext(b.Context(), "GET", api+path, nil)
				req.Header.Set("Authorization", "bearer "+u.token)
				res, err := u.http.Do(req)
				if err != nil || res.StatusCode != 200 {
					b.Fatal(res, err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
			}
		})
	}
}

// BenchmarkDump writes the state of 10,000 apps.
func BenchmarkDump(b *testing.B) {
	s := sandbox.New(sandbox.Options{})
	s.Populate(10000)
	for b.Loop() {
		state, err := s.Dump()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(state))/(1<<20), "MiB")
	}
}
