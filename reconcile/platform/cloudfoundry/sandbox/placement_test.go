package sandbox_test

import "testing"

// Instances run in the isolation segment of their space, from their next start on.
func TestIsolationSegmentOfInstances(t *testing.T) {
	u := login(t, quick(), "admin", "admin")
	org, space := u.org("acme")
	u.apply(space, "applications: [{name: web}]")
	app := u.do(200, "GET", "/v3/apps?names=web", "").at("resources.0.guid")
	u.push(app, map[string]string{"index.html": "hello"})
	u.do(200, "POST", "/v3/apps/"+app+"/actions/start", "")

	segment := u.do(201, "POST", "/v3/isolation_segments", `{"name":"secure"}`).at("guid")
	u.do(200, "POST", "/v3/isolation_segments/"+segment+"/relationships/organizations", `{"data":[{"guid":"`+org+`"}]}`)
	u.do(200, "PATCH", "/v3/spaces/"+space+"/relationships/isolation_segment", `{"data":{"guid":"`+segment+`"}}`)
	placed := func() string {
		return u.until("/v3/apps/"+app+"/processes/web/stats", "resources.0.state", "RUNNING").at("resources.0.isolation_segment")
	}
	if s := placed(); s != "" {
		t.Errorf("a running instance moved to %q", s)
	}
	u.do(200, "POST", "/v3/apps/"+app+"/actions/restart", "")
	if s := placed(); s != "secure" {
		t.Errorf("after a restart the instance is in %q", s)
	}
}
