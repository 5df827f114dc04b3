package cloudfoundry_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

const small = "applications:\n- name: web\n  path: web\n  no-route: true\n  memory: 64M\n"

// quota allows the space 256 MB.
func (f *foundation) quota() {
	f.t.Helper()
	var space ccv3.Space
	f.do(http.MethodGet, "/v3/spaces/"+f.space, nil, &space)
	f.do(http.MethodPost, "/v3/space_quotas", map[string]any{
		"name": "small", "apps": map[string]any{"total_memory_in_mb": 256},
		"relationships": map[string]any{
			"organization": ccv3.To(space.Relationships.Organization.GUID()),
			"spaces":       map[string]any{"data": []any{map[string]any{"guid": f.space}}},
		},
	}, nil)
}

// What a person reads when applying fails: where it is declared, which app, what was attempted, why, and what next.
func TestWhatAPersonReads(t *testing.T) {
	tests := []struct {
		name       string
		before     func(*foundation)
		text       string
		class      platform.ErrorClass
		quarantine bool
		want       string
	}{
		{
			name:  "missing domain",
			text:  "applications:\n- name: web\n  path: web\n  routes:\n  - route: shop.nowhere.test\n",
			class: platform.Missing,
			want: "manifest.yml:5:5: app acme/dev/web: creating the app: No domains exist for route shop.nowhere.test " +
				"(use a domain that `cf domains` lists, or have nowhere.test created (cf create-private-domain acme nowhere.test))",
		},
		{
			name:  "unknown service instance",
			text:  "applications:\n- name: web\n  path: web\n  no-route: true\n  services:\n  - ledger-db\n",
			class: platform.Missing,
			want: "manifest.yml:6:5: app acme/dev/web: creating the app: CF-ResourceNotFound: Service instance 'ledger-db' not found " +
				"(create it (cf create-service or cf create-user-provided-service), or correct the name; `cf services` lists what exists)",
		},
		{
			name: "a feature that is switched off",
			before: func(f *foundation) {
				f.do(http.MethodPatch, "/v3/feature_flags/diego_docker", map[string]any{"enabled": false}, nil)
			},
			text:  "applications:\n- name: web\n  docker: {image: registry.example.com/web}\n  no-route: true\n",
			class: platform.Invalid,
			want: "manifest.yml:2:3: app acme/dev/web: creating the app: Feature Disabled: diego_docker " +
				"(the foundation does not allow it: have an administrator enable it (cf enable-feature-flag diego_docker))",
		},
		{
			name:  "unknown stack",
			text:  "applications:\n- name: web\n  path: web\n  no-route: true\n  stack: cflinuxfs99\n",
			class: platform.Invalid,
			want: "manifest.yml:5:10: app acme/dev/web: creating the app: Stack must be an existing stack " +
				"(`cf stacks` lists the stacks that exist)",
		},
		{
			name:  "unknown buildpack",
			text:  "applications:\n- name: web\n  path: web\n  no-route: true\n  buildpacks: [cobol_buildpack]\n",
			class: platform.Invalid,
			want: "manifest.yml:5:15: app acme/dev/web: creating the app: Specified unknown buildpack name: \"cobol_buildpack\" " +
				"(`cf buildpacks` lists the buildpacks that exist; a Git URL is accepted too)",
		},
		{
			name:   "quota of the space exceeded by an app that runs",
			before: func(f *foundation) { f.mustRun(small); f.quota() },
			text:   strings.Replace(small, "64M", "512M", 1),
			class:  platform.Quota,
			want: "manifest.yml:2:3: app acme/dev/web: applying the manifest: memory space_quota_exceeded " +
				"(the quota of space acme/dev has no room for that much memory (see `cf space dev`): ask for less, stop something else, or have the quota raised)",
		},
		{
			name:   "quota of the space exceeded by a new app",
			before: (*foundation).quota,
			text:   strings.Replace(small, "64M", "512M", 1),
			class:  platform.Quota,
			want: "manifest.yml:2:3: app acme/dev/web: starting: memory space_quota_exceeded " +
				"(the quota of space acme/dev has no room for that much memory (see `cf space dev`): ask for less, stop something else, or have the quota raised)",
		},
		{
			name:   "staging fails",
			before: func(f *foundation) { f.files["web/FAULT_STAGE_FAIL"] = f.files["web/server.js"] },
			text:   "applications:\n- name: web\n  path: web\n  no-route: true\n",
			class:  platform.Staging, quarantine: true,
			want: "manifest.yml:3:9: app acme/dev/web: staging: NoAppDetectedError - An app was not successfully detected by any available buildpack" +
				"; its log ends with: **ERROR** Unable to detect a supported application type " +
				"(no buildpack recognises the files: declare `buildpacks`, and check that `path` is the folder of the app's code)",
		},
		{
			name:  "instances crash",
			text:  "applications:\n- name: web\n  path: web\n  no-route: true\n  env: {MODE: FAULT_CRASH}\n",
			class: platform.Rollout, quarantine: true,
			want: "manifest.yml:2:3: app acme/dev/web: starting: instance 0 of process web is CRASHED: APP/PROC/WEB: Exited with status 1" +
				"; its log ends with: It crashes on demand (FAULT_CRASH). (the app's log says why: cf logs web --recent)",
		},
		{
			name: "the role does not allow it",
			before: func(f *foundation) {
				f.as("space_auditor")
			},
			text:  "applications:\n- name: web\n  path: web\n  no-route: true\n",
			class: platform.Forbidden,
			want: "manifest.yml:2:3: app acme/dev/web: creating the app: CF-NotAuthorized: You are not authorized to perform the requested action " +
				"(grant the user a role that allows it, usually space developer)",
		},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				if c.before != nil {
					c.before(f)
				}
				s, e, _ := f.failed(c.text)
				if e.Error() != c.want {
					t.Errorf("a person reads\n%s\nwant\n%s", e, c.want)
				}
				if e.Class != c.class || s.Quarantine != c.quarantine {
					t.Errorf("class %s, quarantine %v; want %s, %v", e.Class, s.Quarantine, c.class, c.quarantine)
				}
			})
		})
	}
}

// Refused credentials end the run: no step after it can fare better, and what it did not begin is left alone.
func TestTokenThatIsNoLongerGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		p, d := f.prepare(t.Context(), "applications:\n- {name: a, path: web}\n- {name: b, path: web}\n")
		f.wire.next = refusing{f.wire.next}
		out, err := d.Apply(t.Context(), p.plan, platform.ApplyOptions{Files: f.files, Parallel: 1})
		if err == nil || out.Err() == nil {
			t.Fatalf("error %v, outcome %v", err, out.Err())
		}
		want := "manifest.yml:2:3: app acme/dev/a: creating the app: CF-InvalidAuthToken: Invalid Auth Token (log in again)"
		if got := strings.Replace(err.Error(), "acme/dev/b", "acme/dev/a", 1); strings.Replace(got, ":3:3:", ":2:3:", 1) != want {
			t.Errorf("a person reads\n%s\nwant\n%s", err, want)
		}
		abandoned := 0
		for _, s := range out.Steps {
			if s.Phase == platform.Abandoned {
				abandoned++
			}
		}
		if abandoned != 1 {
			t.Errorf("%d steps were abandoned, want the other one: %+v", abandoned, out.Steps)
		}
	})
}

// refusing answers every request that writes as a controller whose keys have changed.
type refusing struct{ next http.RoundTripper }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet || !strings.HasPrefix(req.URL.Path, "/v3/") {
		return r.next.RoundTrip(req)
	}
	_, _ = io.Copy(io.Discard, req.Body)
	_ = req.Body.Close()
	return &http.Response{
		StatusCode: http.StatusUnauthorized, Header: http.Header{}, Request: req,
		Body: io.NopCloser(strings.NewReader(`{"errors":[{"code":1000,"title":"CF-InvalidAuthToken","detail":"Invalid Auth Token"}]}`)),
	}, nil
}

// Told to stop in the middle, a run ends soon, as abandoned, and the next one completes it.
func TestToldToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		p, d := f.prepare(t.Context(), web)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		f.wire.install(func(int) platformtest.Fate {
			if calls := f.wire.log(); calls[len(calls)-1] == "POST /v3/builds" {
				stop()
			}
			return platformtest.Answered
		})
		f.apply(ctx, d, &p)
		f.wire.install(nil)
		if calls := p.applying; calls[len(calls)-1] != "POST /v3/builds" {
			t.Errorf("it went on: %v", calls)
		}
		if n := len(list[ccv3.Build](f, "/v3/builds")); n != 1 {
			t.Errorf("%d builds, want 1: a request that is on its way is finished", n)
		}
		if s := p.outcome.Steps[0]; s.Phase != platform.Abandoned || s.Err != nil || p.err != nil {
			t.Errorf("%s, %v, %v; want abandoned", s.Phase, s.Err, p.err)
		}
		f.mustRun(web)
		f.converged(web)
		f.nothingTwice(t)
	})
}
