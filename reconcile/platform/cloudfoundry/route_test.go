package cloudfoundry_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

// Routes in all that a manifest of version 2 can say of them.
const routesFirst = `
version: 2
apps:
- name: web
  package: {path: web}
  processes:
  - {type: web, scale: {memory: 64M}, metadata: {labels: {tier: front}, annotations: {note: a b}}}
  - {type: worker, command: work, scale: {instances: 1, memory: 32M}, metadata: {labels: {tier: back}}}
- name: other
  package: {path: go}
routes:
- url: plain.apps.sandbox.test
  destinations: [{app: {name: web}}]
- url: Waiting.apps.sandbox.test/Later
  metadata: {labels: {stage: one, gone: soon}, annotations: {owner: a b}}
- url: full.apps.sandbox.test
  options: {loadbalancing: least-connection}
  metadata: {labels: {stage: one}}
  destinations:
  - {app: {name: web}, protocol: http1}
  - {app: {name: web, process: {type: worker}}, port: 9090}
`

const routesSecond = `
version: 2
apps:
- name: web
  package: {path: web}
  processes: [{type: web, scale: {memory: 64M}, metadata: {labels: {tier: edge}}}, {type: worker, command: work, scale: {instances: 1, memory: 32M}}]
- name: other
  package: {path: go}
routes:
- url: plain.apps.sandbox.test
  destinations: [{app: {name: other}}]
- url: Waiting.apps.sandbox.test/Later
  metadata: {labels: {stage: two}, annotations: {owner: c}}
  destinations: [{app: {name: other}, port: 9191}]
- url: full.apps.sandbox.test
  options: {loadbalancing: round-robin}
  destinations:
  - {app: {name: web}, protocol: http2}
  - {app: {name: web, process: {type: worker}}, port: 9292}
  - {app: {name: other}}
`

// TestRoutesSuite is the suite of every driver, on routes: a run is killed at each of its requests.
func TestRoutesSuite(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 5
	}
	platformtest.Run(t, platformtest.Harness{Stride: stride, New: func(t *testing.T) platformtest.World {
		f := newFoundation(t)
		return platformtest.World{
			Driver:  func(*testing.T) platform.Driver { return f.driver() },
			Files:   f.files,
			First:   f.load(routesFirst),
			Second:  f.load(routesSecond),
			Failing: f.load(strings.Replace(routesFirst, "routes:", "- {name: broken, package: {path: go}}\nroutes:\n- {url: broken.nowhere.test, destinations: [{app: {name: broken}}]}", 1)),
			Broken:  manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/broken"},
			OnRequest: func(decide func(int) platformtest.Fate) {
				f.wire.install(decide)
			},
			Writes: f.writes,
			Check:  f.routesOnce,
		}
	}})
}

// routesOnce fails if a route, or a destination of one, is there twice.
func (f *foundation) routesOnce(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, line := range strings.FieldsFunc(f.drawn(), func(r rune) bool { return r == '\n' }) {
		parts := strings.Split(line, " → ")
		for _, to := range parts[1:] {
			key, _, _ := strings.Cut(parts[0]+to, ":")
			if seen[key] {
				t.Errorf("twice: %s", line)
			}
			seen[key] = true
		}
		if url := strings.ToLower(strings.Fields(line)[0]); seen[url] {
			t.Errorf("twice: %s", url)
		} else {
			seen[url] = true
		}
	}
}

// drawn is what the controller says of all routes, one line for each.
func (f *foundation) drawn() string {
	f.t.Helper()
	names := map[string]string{}
	for _, a := range list[ccv3.App](f, "/v3/apps") {
		names[a.GUID] = a.Name
	}
	var lines []string
	for _, r := range list[ccv3.Route](f, "/v3/routes") {
		line := r.URL
		for _, k := range []string{"stage", "gone"} {
			if v := r.Metadata.Labels[k]; v != nil {
				line += fmt.Sprintf(" %s=%s", k, *v)
			}
		}
		for k, v := range r.Options {
			line += fmt.Sprintf(" %s=%v", k, v)
		}
		var to []string
		for _, d := range r.Destinations {
			to = append(to, fmt.Sprintf(" → %s/%s:%d %s", names[d.App.GUID], d.App.Process.Type, *d.Port, *d.Protocol))
		}
		slices.Sort(to)
		lines = append(lines, line+strings.Join(to, ""))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (f *foundation) wantRoutes(want string) {
	f.t.Helper()
	if got := f.drawn(); got != strings.TrimSpace(want) {
		f.t.Errorf("the routes are\n%s\nwant\n%s", got, strings.TrimSpace(want))
	}
}

// tiers lists the label tier of the processes of web.
func (f *foundation) tiers() string {
	f.t.Helper()
	var all []string
	for _, p := range list[ccv3.Process](f, "/v3/apps/"+f.app("web")+"/processes") {
		tier := ""
		if v := p.Metadata.Labels["tier"]; v != nil {
			tier = *v
		}
		all = append(all, p.Type+"="+tier)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(routesFirst)
		f.converged(routesFirst)
		f.wantRoutes(`
Waiting.apps.sandbox.test/Later stage=one gone=soon
full.apps.sandbox.test stage=one loadbalancing=least-connection → web/web:8080 http1 → web/worker:9090 http1
plain.apps.sandbox.test → web/web:8080 http1`)
		if got := f.tiers(); got != "web=front worker=back" {
			t.Errorf("labels of the processes: %s", got)
		}
		f.mustRun(routesSecond)
		f.converged(routesSecond)
		if got := f.tiers(); got != "web=edge worker=" { // which Git no longer speaks of
			t.Errorf("labels of the processes: %s", got)
		}
		// Metadata that Git no longer speaks of goes, because Fettle had set it.
		f.wantRoutes(`
Waiting.apps.sandbox.test/Later stage=two → other/web:9191 http1
full.apps.sandbox.test loadbalancing=round-robin → other/web:8080 http1 → web/web:8080 http2 → web/worker:9292 http1
plain.apps.sandbox.test → other/web:8080 http1`)
	})
}

// While one app takes the place of another behind a route, the route leads somewhere all the time.
func TestARouteNeverLeadsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(routesFirst)
		p, d := f.prepare(t.Context(), routesSecond)
		var mu sync.Mutex         // requests are made from several goroutines
		seen := map[string]bool{} // other arrangements of destinations on the way
		f.wire.watch(func(call string) {
			for _, r := range list[ccv3.Route](f, "/v3/routes") {
				if !strings.EqualFold(r.Host, "waiting") && len(r.Destinations) == 0 {
					t.Errorf("after %s the route %s leads nowhere", call, r.URL)
				}
			}
			now := f.drawn()
			mu.Lock()
			defer mu.Unlock()
			seen[now] = true
		})
		f.apply(t.Context(), d, &p)
		f.wire.watch(nil)
		if err := errors.Join(p.err, p.outcome.Err()); err != nil {
			t.Fatal(err)
		}
		if len(seen) < 5 {
			t.Errorf("only %d states of the routes were seen on the way", len(seen))
		}
	})
}

// Where the manifest is exact, what others mapped goes; an app that Git does not declare keeps its other routes.
func TestUnmappingAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(routesFirst)
		var stranger ccv3.App
		f.do(http.MethodPost, "/v3/apps", map[string]any{"name": "stranger", "relationships": map[string]any{"space": ccv3.To(f.space)}}, &stranger)
		for _, r := range list[ccv3.Route](f, "/v3/routes") {
			if r.Host == "plain" || r.Host == "full" {
				f.do(http.MethodPost, "/v3/routes/"+r.GUID+"/destinations", map[string]any{"destinations": []any{map[string]any{"app": map[string]any{"guid": stranger.GUID}}}}, nil)
			}
		}
		p := f.mustRun(routesFirst)
		if len(p.plan.Steps) != 2 || p.plan.Steps[0].Ref.Kind != manifest.KindRoute {
			t.Errorf("steps %v, want one for each of the two routes", p.plan.Steps)
		}
		f.converged(routesFirst)
		if strings.Contains(f.drawn(), "stranger") {
			t.Error(f.drawn())
		}
	})
}

// A route that another space shares is mapped and never created; what the others map it to is none of ours.
func TestARouteOfAnotherSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		text := `
version: 2
apps: [{name: web, package: {path: web}}]
routes: [{url: common.apps.sandbox.test, shared: true, destinations: [{app: {name: web}}]}]
`
		p := f.run(t.Context(), text)
		if len(p.plan.Problems) != 1 || !strings.Contains(p.plan.Problems[0].Message, "no route common.apps.sandbox.test is shared with space acme/dev") {
			t.Fatalf("problems %v", p.plan.Problems)
		}
		f.do(http.MethodPatch, "/v3/feature_flags/route_sharing", map[string]any{"enabled": true}, nil)
		org := list[ccv3.Space](f, "/v3/spaces")[0].Relationships.Organization.GUID()
		var owner, theirs, route ccv3.Resource
		f.do(http.MethodPost, "/v3/spaces", map[string]any{"name": "owner", "relationships": map[string]any{"organization": ccv3.To(org)}}, &owner)
		f.do(http.MethodPost, "/v3/apps", map[string]any{"name": "theirs", "relationships": map[string]any{"space": ccv3.To(owner.GUID)}}, &theirs)
		f.do(http.MethodPost, "/v3/routes", map[string]any{"host": "common", "relationships": map[string]any{"space": ccv3.To(owner.GUID), "domain": ccv3.To(f.domain())}}, &route)
		f.do(http.MethodPost, "/v3/routes/"+route.GUID+"/destinations", map[string]any{"destinations": []any{map[string]any{"app": map[string]any{"guid": theirs.GUID}}}}, nil)
		f.do(http.MethodPost, "/v3/routes/"+route.GUID+"/relationships/shared_spaces", map[string]any{"data": []any{map[string]any{"guid": f.space}}}, nil)
		f.mustRun(text)
		f.converged(text)
		f.wantRoutes("common.apps.sandbox.test → theirs/web:8080 http1 → web/web:8080 http1")
		nowhere := strings.Replace(text, "{app: {name: web}}", "", 1)
		f.mustRun(nowhere)
		f.converged(nowhere)
		f.wantRoutes("common.apps.sandbox.test → theirs/web:8080 http1")
	})
}

// A new version that fails leaves the routes as they were, ports and protocols too.
func TestRoutesOfAFailedRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(routesFirst)
		before := f.drawn()
		f.files["bad/server.js"] = &fstest.MapFile{Data: []byte("// bad")}
		bad := strings.NewReplacer("port: 9090", "port: 9292", "protocol: http1", "protocol: http2", "package: {path: web}", "package: {path: bad}\n  environment_variables: {FAULT_CRASH: '1'}").Replace(routesFirst)
		if p := f.run(t.Context(), bad); p.outcome.Err() == nil {
			t.Fatal("it did not fail")
		}
		f.wantRoutes(before)
	})
}
