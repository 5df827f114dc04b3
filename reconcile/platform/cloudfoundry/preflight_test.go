package cloudfoundry_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
)

// Each rule twice: told where it must be, silent where all is well. And each time the plan is then applied although it
// was warned of: what is refused must fail, and what is not must succeed.
func TestPreflight(t *testing.T) {
	const app = "applications:\n- name: web\n  path: app\n  no-route: true\n"
	sized := func(memory string, n int) string {
		return fmt.Sprintf("%s  memory: %s\n  instances: %d\n", app, memory, n)
	}
	stopped := func(memory string) string {
		return "version: 2\napps: [{name: web, state: STOPPED, processes: [{type: web, scale: {memory: " + memory + "}}]}]\n"
	}
	spaceQuota := func(limits body) func(*town) { return func(f *town) { f.spaceQuota("acme/dev", limits) } }
	memory := func(mb int) func(*town) { return spaceQuota(body{"apps": body{"total_memory_in_mb": mb}}) }
	flag := func(name string, on bool) func(*town) {
		return func(f *town) { f.do(f.root, "PATCH", "/v3/feature_flags/"+name, body{"enabled": on}) }
	}
	theirs := func(path string) func(*town) {
		return func(f *town) {
			f.hidden("other/secret")
			f.do(f.root, "POST", "/v3/routes", body{"host": "shop", "path": path, "relationships": body{"space": related(f.spaces["other/secret"]), "domain": related(f.domain())}})
		}
	}
	routed := func(route string) string {
		return "applications:\n- name: web\n  path: app\n  routes: [{route: " + route + "}]\n"
	}
	preflightTests{
		{name: "stack exists", manifest: app + "  stack: cflinuxfs4\n"},
		{name: "no such stack", manifest: app + "  stack: cflinuxfs5\n", want: []string{"web: manifest.yml:5:10: there is no stack cflinuxfs5 (did you mean cflinuxfs4?)"}},
		{name: "buildpack exists", manifest: app + "  buildpacks: [go_buildpack]\n"},
		{name: "buildpack from a URL", manifest: app + "  buildpacks: ['https://github.com/cloudfoundry/go-buildpack']\n"},
		{name: "no such buildpack", manifest: app + "  buildpacks: [go_buildpak]\n", want: []string{"web: manifest.yml:5:15: there is no buildpack go_buildpak (did you mean go_buildpack?)"}},
		{name: "no such buildpack of an app that exists", before: app, manifest: app + "  buildpacks: [go_buildpak]\n", want: []string{"web: manifest.yml:5:15: there is no buildpack go_buildpak (did you mean go_buildpack?)"}},

		{name: "docker allowed", setup: flag("diego_docker", true), manifest: "applications: [{name: web, no-route: true, docker: {image: acme/web}}]"},
		{
			name: "docker switched off", setup: flag("diego_docker", false), manifest: "applications: [{name: web, no-route: true, docker: {image: acme/web}}]",
			want: []string{"web: manifest.yml:1:52: this foundation does not allow docker images (operators allow it with the feature flag diego_docker (cf enable-feature-flag diego_docker))"},
		},
		{
			name: "routes switched off", setup: flag("route_creation", false), manifest: routed("shop.apps.sandbox.test"),
			want: []string{"web: manifest.yml:4:12: route acme/dev/shop.apps.sandbox.test: this foundation does not allow to create routes (operators allow it with the feature flag route_creation (cf enable-feature-flag route_creation))"},
		},
		{name: "routes switched off, and there is none to create", before: routed("shop.apps.sandbox.test"), setup: flag("route_creation", false), manifest: routed("shop.apps.sandbox.test") + "  memory: 64M\n"},
		{
			name: "uploads switched off", setup: flag("app_bits_upload", false), manifest: app,
			want: []string{"web: manifest.yml:3:9: this foundation does not accept the files of apps (operators allow it with the feature flag app_bits_upload (cf enable-feature-flag app_bits_upload))"},
		},
		{name: "uploads switched off, for others than administrators", user: "root", setup: flag("app_bits_upload", false), manifest: app},

		{name: "route is free", manifest: routed("shop.apps.sandbox.test")},
		{name: "no such domain", manifest: routed("shop.app.sandbox.test"), want: []string{
			"web: manifest.yml:4:12: route acme/dev/shop.app.sandbox.test: there is no domain for it that the organization acme can use (did you mean apps.sandbox.test?)",
		}},
		{name: "route of a space that nobody sees", setup: theirs(""), manifest: routed("shop.apps.sandbox.test"), want: []string{
			"web: manifest.yml:4:12: route acme/dev/shop.apps.sandbox.test: the route exists in a space that this user cannot see (choose another host, or remove the route there)",
		}},
		{name: "host of a space that nobody sees", setup: theirs(""), manifest: routed("shop.apps.sandbox.test/cart"), want: []string{
			"web: manifest.yml:4:12: route acme/dev/shop.apps.sandbox.test/cart: on the shared domain apps.sandbox.test the host shop belongs to a space that this user cannot see (choose another host, or remove the route there)",
		}},
		{name: "path below a host of the space itself", before: routed("shop.apps.sandbox.test"), manifest: routed("shop.apps.sandbox.test}, {route: shop.apps.sandbox.test/cart")},
		{name: "as many routes as allowed", setup: spaceQuota(body{"routes": body{"total_routes": 1}}), manifest: routed("shop.apps.sandbox.test")},
		{name: "more routes than allowed", setup: spaceQuota(body{"routes": body{"total_routes": 1}}), manifest: routed("shop.apps.sandbox.test}, {route: second.apps.sandbox.test"), want: []string{
			"web: manifest.yml:4:12: route acme/dev/shop.apps.sandbox.test: the space quota small allows 1 route, of which 0 are in use; with this plan there would be 2 (remove routes that nothing uses (cf delete-orphaned-routes), or have the quota raised)",
		}},

		{name: "memory fits", setup: memory(512), manifest: sized("256M", 2)},
		{name: "memory does not fit", setup: memory(511), manifest: sized("256M", 2), want: []string{
			"web: manifest.yml:5:11: it needs 512M more; the space quota small has 511M left (511M in all, 0M in use) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "a stopped app takes nothing", setup: memory(100), manifest: stopped("1G")},
		{name: "stopping frees", setup: memory(100), before: sized("128M", 1), manifest: stopped("128M")},
		{name: "stops before it grows", setup: memory(512), before: sized("128M", 1), manifest: stopped("513M")},
		{name: "scaled within", setup: memory(512), before: sized("128M", 1), manifest: sized("128M", 4)},
		{name: "scaled beyond", setup: memory(512), before: sized("128M", 1), manifest: sized("128M", 5), want: []string{
			"web: manifest.yml:6:14: it needs 512M more; the space quota small has 384M left (512M in all, 128M in use) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "room to roll", setup: memory(384), before: sized("128M", 2), manifest: sized("128M", 2) + "  env: {A: b}\n"},
		{name: "no room to roll", setup: memory(383), before: sized("128M", 2), manifest: sized("128M", 2) + "  env: {A: b}\n", want: []string{
			"web: manifest.yml:5:11: it needs 128M more while it rolls; the space quota small has 127M left (383M in all, 256M in use) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "grows and has room to roll", setup: memory(768), before: sized("128M", 2), manifest: sized("256M", 2)},
		{name: "grows and has no room to roll", setup: memory(767), before: sized("128M", 2), manifest: sized("256M", 2), want: []string{
			"web: manifest.yml:5:11: it needs 512M more while it rolls; the space quota small has 511M left (767M in all, 256M in use) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "metadata needs no room", setup: memory(256), before: sized("128M", 2), manifest: sized("128M", 2) + "  metadata: {labels: {a: b}}\n"},
		{name: "instances fit", setup: spaceQuota(body{"apps": body{"total_instances": 3}}), before: sized("64M", 2), manifest: sized("64M", 3)},
		{name: "instances do not fit", setup: spaceQuota(body{"apps": body{"total_instances": 3}}), before: sized("64M", 2), manifest: sized("64M", 4), want: []string{
			"web: manifest.yml:6:14: it needs 2 instances more; the space quota small has 1 instance left (3 instances in all, 2 instances in use) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "large enough a process", setup: spaceQuota(body{"apps": body{"per_process_memory_in_mb": 256}}), manifest: sized("256M", 1)},
		{name: "too large a process", setup: spaceQuota(body{"apps": body{"per_process_memory_in_mb": 256}}), manifest: sized("257M", 1), want: []string{
			"web: manifest.yml:5:11: an instance of the process web needs 257M; the space quota small allows 256M (ask for less, or have the quota raised)",
		}},
		{name: "log rate fits", setup: spaceQuota(body{"apps": body{"log_rate_limit_in_bytes_per_second": 2048}}), manifest: sized("64M", 2) + "  log-rate-limit-per-second: 1K\n"},
		{name: "log rate does not fit", setup: spaceQuota(body{"apps": body{"log_rate_limit_in_bytes_per_second": 2047}}), manifest: sized("64M", 2) + "  log-rate-limit-per-second: 1K\n", want: []string{
			"web: manifest.yml:7:30: its log needs 2048 B/s more; the space quota small has 2047 B/s left (2047 B/s in all, 0 B/s in use) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "log rate must have a limit", setup: spaceQuota(body{"apps": body{"log_rate_limit_in_bytes_per_second": 4096}}), manifest: sized("64M", 2) + "  log-rate-limit-per-second: -1\n", want: []string{
			"web: manifest.yml:7:30: the log rate of the process web is unlimited, which the space quota small does not allow (declare log-rate-limit-per-second)",
		}},
		{name: "a quota of the organization", setup: func(f *town) { f.orgQuota("acme", body{"apps": body{"total_memory_in_mb": 255}}) }, manifest: sized("256M", 1), want: []string{
			"web: manifest.yml:5:11: it needs 256M more; the organization quota tight has 255M left (255M in all, 0M in use) (ask for less, stop something else, or have the quota raised)",
		}},

		{name: "a role that may only look", user: "aud", manifest: app, want: []string{
			"web: manifest.yml:2:3: aud has only the roles organization_user, space_auditor in acme/dev, which do not allow to apply (grant space_developer)",
		}},
	}.run(t)
}

type preflightTests []struct {
	name     string
	user     string // dev
	before   string // is applied before
	setup    func(*town)
	manifest string
	want     []string // the problems
	fails    bool     // although it is only warned of
}

func (tests preflightTests) run(t *testing.T) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, func(t *testing.T, f *town) {
				if tt.before != "" {
					p := f.plan("dev", tt.before)
					if err := p.apply(); err != nil {
						t.Fatal(err)
					}
				}
				if tt.setup != nil {
					tt.setup(f)
				}
				p := f.plan(cmp.Or(tt.user, "dev"), tt.manifest)
				if d := gocmp.Diff(tt.want, p.preflight()); d != "" {
					t.Error(d)
				}
				err := p.apply()
				refused := tt.fails || slices.ContainsFunc(tt.want, func(line string) bool { return !strings.HasPrefix(line, "warning: ") })
				if refused != (err != nil) {
					t.Errorf("refused: %v; applied without asking: %v", refused, err)
				}
				t.Log(err)
			})
		})
	}
}

// What fits one by one and not together is refused as far as it does not fit, and the rest goes ahead. What others in
// the plan give back counts, and so do tasks.
func TestPreflightTogether(t *testing.T) {
	apps := func(sizes ...string) string {
		text := "applications:\n"
		for i, size := range sizes {
			text += fmt.Sprintf("- {name: %c, path: app, no-route: true, memory: %s}\n", 'a'+i, size)
		}
		return text
	}
	for _, tt := range []struct {
		name, before, manifest string
		quota                  int
		task                   bool
		either                 bool // it depends on the order
		want                   []string
	}{
		{name: "all fit", quota: 768, manifest: apps("256M", "256M", "256M")},
		{name: "one does not fit", quota: 600, manifest: apps("256M", "300M", "256M"), want: []string{
			"c: manifest.yml:4:48: it needs 256M more; the space quota small has 44M left (600M in all, 0M in use, 556M for the rest of this plan) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "one shrinks, one grows", quota: 896, before: apps("256M", "64M"), manifest: apps("64M", "256M")},
		{name: "one grows only after the other has shrunk", quota: 640, before: apps("256M", "64M"), manifest: apps("64M", "256M"), either: true, want: []string{
			"warning: whole plan: : the space quota small has 320M left, and at the worst moment this plan may need 512M more (if a step fails for that, apply again: what has shrunk by then makes room)",
		}},
		{name: "one shrinks, one grows too much", quota: 639, before: apps("256M", "64M"), manifest: apps("64M", "288M"), want: []string{
			"b: manifest.yml:3:48: it needs 512M more while it rolls; the space quota small has 511M left (639M in all, 320M in use, 192M given back by this plan) (ask for less, stop something else, or have the quota raised)",
		}},
		{name: "a task takes its part", quota: 512, before: apps("256M"), manifest: apps("256M", "128M"), task: true, want: []string{
			"b: manifest.yml:3:48: it needs 128M more; the space quota small has 56M left (512M in all, 456M in use) (ask for less, stop something else, or have the quota raised)",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, func(t *testing.T, f *town) {
				if tt.before != "" {
					p := f.plan("dev", tt.before)
					if err := p.apply(); err != nil {
						t.Fatal(err)
					}
				}
				if tt.task {
					f.do(f.root, "POST", "/v3/apps/"+f.app("acme/dev", "a")+"/tasks", body{"command": "sleep 3600", "memory_in_mb": 200})
				}
				f.spaceQuota("acme/dev", body{"apps": body{"total_memory_in_mb": tt.quota}})
				p := f.plan("dev", tt.manifest)
				if d := gocmp.Diff(tt.want, p.preflight()); d != "" {
					t.Error(d)
				}
				p.plan.Steps = slices.DeleteFunc(p.plan.Steps, func(s platform.Step) bool {
					return slices.ContainsFunc(p.problems, func(x platform.Problem) bool { return x.Step == s.ID && !x.Warning })
				})
				if err := p.apply(); err != nil && !tt.either {
					t.Errorf("what was not refused: %v", err)
				}
				if err := f.plan("dev", tt.manifest).apply(); tt.either && err != nil {
					t.Errorf("once more: %v", err)
				}
			})
		})
	}
}

// Only what the plan touches is asked about, and what changes seldom is remembered for a while.
func TestPreflightCost(t *testing.T) {
	inTown(t, func(t *testing.T, f *town) {
		const web = "applications:\n- {name: web, path: app, memory: 64M, routes: [{route: web.apps.sandbox.test}]}\n"
		cost := func(p *townPlan) string {
			t.Helper()
			p.calls.made = nil
			if problems := p.preflight(); problems != nil {
				t.Error(problems)
			}
			slices.Sort(p.calls.made)
			return guids.ReplaceAllString(strings.Join(p.calls.made, "\n"), "GUID")
		}
		check := func(what, got string, want ...string) {
			t.Helper()
			if d := gocmp.Diff(strings.Join(want, "\n"), got); d != "" {
				t.Errorf("%s: %s", what, d)
			}
		}
		first := f.plan("dev", web)
		check("the first deployment", cost(first),
			"GET /v3/domains/GUID/route_reservations", "GET /v3/feature_flags", "GET /v3/organization_quotas/GUID",
			"GET /v3/organizations/GUID/domains", "GET /v3/organizations/GUID/usage_summary", "GET /v3/roles")
		check("once more", cost(first), "GET /v3/domains/GUID/route_reservations", "GET /v3/organizations/GUID/usage_summary", "GET /v3/roles")
		first.calls.made = nil
		if err := first.apply(); err != nil {
			t.Fatal(err)
		}
		// With the reservation, the flags, the quota and the domains it makes 12. The other two observe: what is used, and, where
		// no app has shown it yet, which roles the user has.
		if n := len(besidePolling(first.calls.made)); n > 8 {
			t.Errorf("applying took %d requests beside polling, want at most 8", n)
		}
		check("a label", cost(f.plan("dev", strings.Replace(web, "memory", "metadata: {labels: {a: b}}, memory", 1))))
		check("a variable, which rolls", cost(f.plan("dev", strings.Replace(web, "memory", "env: {A: b}, memory", 1))), "GET /v3/organization_quotas/GUID", "GET /v3/organizations/GUID/usage_summary")
		check("nothing", cost(f.plan("dev", web)))

		f.orgQuota("acme", body{"name": "unlimited"})
		check("without a limit", cost(f.plan("dev", strings.Replace(web, "64M", "128M", 1))), "GET /v3/organization_quotas/GUID")
	})
}

// What is remembered lets a plan pass and never refuses one.
func TestPreflightReadsAgainBeforeItRefuses(t *testing.T) {
	inTown(t, func(t *testing.T, f *town) {
		f.do(f.root, "PATCH", "/v3/feature_flags/route_creation", body{"enabled": false})
		p := f.plan("dev", "applications: [{name: web, path: app, routes: [{route: web.apps.sandbox.test}]}]")
		if len(p.preflight()) != 1 {
			t.Error(p.problems)
		}
		f.do(f.root, "PATCH", "/v3/feature_flags/route_creation", body{"enabled": true})
		if problems := p.preflight(); problems != nil {
			t.Error(problems)
		}
	})
}

// A user who may not ask is told nothing, and nothing stops.
func TestPreflightWithoutRights(t *testing.T) {
	inTown(t, func(t *testing.T, f *town) {
		f.orgQuota("acme", body{"apps": body{"total_memory_in_mb": 64}})
		f.spaceQuota("acme/dev", body{"apps": body{"total_memory_in_mb": 64}})
		p := f.plan("dev", "applications: [{name: web, path: app, memory: 64M, stack: cflinuxfs4, routes: [{route: web.apps.sandbox.test}]}]")
		p.calls.refuse = []string{"_quotas", "/usage_summary", "/feature_flags", "/stacks", "/domains", "/roles"}
		if problems := p.preflight(); problems != nil {
			t.Error(problems)
		}
	})
}

// townPlan is a plan of somebody, for acme/dev.
type townPlan struct {
	f        *town
	driver   *cloudfoundry.Driver
	calls    *calls
	in       platform.PlanInput
	plan     platform.Plan
	problems []platform.Problem
}

var appFiles = fstest.MapFS{"app/main.go": {Data: []byte("package main")}}

func (f *town) plan(user, text string) *townPlan {
	f.t.Helper()
	files := fstest.MapFS{"manifest.yml": {Data: []byte(text)}}
	for name, file := range appFiles {
		files[name] = file
	}
	desired, problems := manifest.Load(files, "manifest.yml", manifest.Options{Org: "acme", Space: "dev"})
	if problems.Err() != nil {
		f.t.Fatal(problems)
	}
	p := &townPlan{f: f, calls: &calls{next: f.sandbox.Client().Transport}}
	cfg := f.config(user)
	cfg.HTTP = p.calls
	ctx := f.t.Context()
	var err error
	if p.driver, err = cloudfoundry.New(cloudfoundry.Config{Client: cfg}); err != nil {
		f.t.Fatal(err)
	}
	p.in.Desired, err = p.driver.Prepare(ctx, desired, files)
	if err == nil {
		p.in.Live, err = p.driver.Observe(ctx, p.in.Desired)
	}
	if err == nil {
		p.in.Changes, err = diff.Compare(p.in.Desired, p.in.Live.Live, p.in.Live.Ledger)
	}
	if err == nil {
		p.plan, err = p.driver.Plan(ctx, p.in)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	p.calls.made = nil
	return p
}

// preflight gives the problems as lines.
func (p *townPlan) preflight() []string {
	p.f.t.Helper()
	found, err := p.driver.Preflight(p.f.t.Context(), p.in, p.plan)
	if err != nil {
		p.f.t.Fatal(err)
	}
	p.problems = found
	var lines []string
	for _, x := range found {
		step := cmp.Or(x.Step, "whole plan")
		step = step[strings.LastIndexByte(x.Step, '/')+1:]
		line := fmt.Sprintf("%s: %s: %s (%s)", step, x.Origin, x.Message, x.Hint)
		if x.Warning {
			line = "warning: " + line
		}
		lines = append(lines, line)
	}
	return lines
}

// apply goes ahead whatever preflight said.
func (p *townPlan) apply() error {
	outcome, err := p.driver.Apply(p.f.t.Context(), p.plan, platform.ApplyOptions{Files: appFiles, Parallel: 1})
	return errors.Join(err, outcome.Err())
}

// calls notes requests to the API.
type calls struct {
	next http.RoundTripper

	mu     sync.Mutex
	made   []string
	refuse []string // parts of paths that the user may not read
}

func (c *calls) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, "/v3/") {
		c.mu.Lock()
		c.made = append(c.made, r.Method+" "+r.URL.Path)
		c.mu.Unlock()
		if slices.ContainsFunc(c.refuse, func(part string) bool { return strings.Contains(r.URL.Path, part) }) {
			const text = `{"errors": [{"code": 10003, "title": "CF-NotAuthorized", "detail": "You are not authorized to perform the requested action"}]}`
			return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		}
	}
	return c.next.RoundTrip(r)
}

func (f *town) domain() string {
	return f.only("/v3/domains", map[string][]string{"names": {"apps.sandbox.test"}})
}

func (f *town) spaceQuota(space string, limits body) {
	limits["name"], limits["relationships"] = "small", body{"organization": related(f.orgs["acme"]), "spaces": body{"data": []body{{"guid": f.spaces[space]}}}}
	f.do(f.root, "POST", "/v3/space_quotas", limits)
}

func (f *town) orgQuota(org string, limits body) {
	limits["name"], limits["relationships"] = "tight", body{"organizations": body{"data": []body{{"guid": f.orgs[org]}}}}
	f.do(f.root, "POST", "/v3/organization_quotas", limits)
}

// hidden makes a space in which only the administrator has anything to say.
func (f *town) hidden(path string) {
	org, name, _ := strings.Cut(path, "/")
	f.orgs[org] = f.do(f.root, "POST", "/v3/organizations", body{"name": org})
	f.spaces[path] = f.do(f.root, "POST", "/v3/spaces", body{"name": name, "relationships": body{"organization": related(f.orgs[org])}})
}

var guids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
