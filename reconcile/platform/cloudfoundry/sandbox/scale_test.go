package sandbox_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// A page of 5,000 apps must not take longer than a person notices; the budget is 150 ms, generous here for slow machines
// and the race detector.
func TestLargePage(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 5,000 apps")
	}
	u := login(t, sandbox.New(sandbox.Options{}), "admin", "admin")
	_, space := u.org("big")
	var manifest strings.Builder
	manifest.WriteString("applications:\n")
	for i := range 5000 {
		fmt.Fprintf(&manifest, "- name: app-%04d\n  env: {A: b}\n  metadata: {labels: {team: t%d}}\n", i, i%50)
	}
	began := time.Now()
	if state, detail := u.apply(space, manifest.String()); state != "COMPLETE" {
		t.Fatal(state, detail)
	}
	t.Logf("applying 5,000 apps took %v", time.Since(began))
	for _, path := range []string{"/v3/apps?per_page=5000", "/v3/processes?per_page=5000", "/v3/apps?per_page=5000&label_selector=team=t7", "/v3/audit_events?per_page=5000"} {
		began := time.Now()
		o := u.do(200, "GET", path, "")
		took := time.Since(began)
		t.Logf("%s: %s results in %v, with the reading of it", path, o.at("pagination.total_results"), took)
		if took > 3*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
}
