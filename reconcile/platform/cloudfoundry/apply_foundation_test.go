package cloudfoundry_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

// foundation is a sandbox with the space acme/dev, and a wire to it that tests can watch and cut. It works in a
// synctest bubble: waiting costs no time.
type foundation struct {
	t     *testing.T
	box   *sandbox.Sandbox
	wire  *wire
	files fstest.MapFS
	admin *ccv3.Client // not over the wire
	space string       // guid
	user  string       // whom the driver logs in as

	elsewhere elsewhere // other servers, by host
	resolve   bool      // the tags of images

	revision string             // of the files, where it matters
	probe    http.RoundTripper  // what answers for the apps
	settings *manifest.Settings // of the target
	parallel int                // steps at a time, as many as usual when 0
	sealer   *diff.Sealer       // nil is one with a key
}

func newFoundation(t *testing.T) *foundation {
	t.Helper()
	f := &foundation{t: t, box: sandbox.New(sandbox.Options{}), user: "admin"}
	f.wire = &wire{next: f.box.Client().Transport}
	f.files = fstest.MapFS{
		"web/package.json": {Data: []byte("{}")},
		"web/server.js":    {Data: []byte("// first")},
		"go/main.go":       {Data: []byte("package main")},
	}
	admin, err := ccv3.New(ccv3.Config{API: "http://sandbox.test", Username: "admin", Password: "admin", HTTP: f.box.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	f.admin = admin
	var org, space ccv3.Resource
	f.do(http.MethodPost, "/v3/organizations", map[string]any{"name": "acme"}, &org)
	f.do(http.MethodPost, "/v3/spaces", map[string]any{"name": "dev", "relationships": map[string]any{"organization": ccv3.To(org.GUID)}}, &space)
	f.space = space.GUID
	return f
}

// do makes a request as an administrator, beside the driver.
func (f *foundation) do(method, path string, in, out any) {
	f.t.Helper()
	if _, err := f.admin.Do(f.t.Context(), method, path, in, out); err != nil {
		f.t.Fatal(err)
	}
}

// as lets the driver be dev, who has one role in the space.
func (f *foundation) as(role string) {
	f.t.Helper()
	var space ccv3.Space
	f.do(http.MethodGet, "/v3/spaces/"+f.space, nil, &space)
	f.user = "dev"
	who := map[string]any{"data": map[string]any{"username": "dev"}}
	f.do(http.MethodPost, "/v3/roles", map[string]any{"type": "organization_user", "relationships": map[string]any{
		"user": who, "organization": ccv3.To(space.Relationships.Organization.GUID()),
	}}, nil)
	f.do(http.MethodPost, "/v3/roles", map[string]any{"type": role, "relationships": map[string]any{"user": who, "space": ccv3.To(f.space)}}, nil)
}

// list reads what there is.
func list[T any](f *foundation, path string) []T {
	f.t.Helper()
	all, _, err := ccv3.List[T](f.t.Context(), f.admin, path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// app is the guid of the app.
func (f *foundation) app(name string) string {
	f.t.Helper()
	for _, a := range list[ccv3.App](f, "/v3/apps") {
		if a.Name == name {
			return a.GUID
		}
	}
	f.t.Fatalf("there is no app %s", name)
	return ""
}

// domain is the guid of the shared domain.
func (f *foundation) domain() string {
	f.t.Helper()
	for _, d := range list[ccv3.Domain](f, "/v3/domains") {
		if d.Name == "apps.sandbox.test" {
			return d.GUID
		}
	}
	f.t.Fatal("there is no domain apps.sandbox.test")
	return ""
}

// env of an app, as it is stored.
func (f *foundation) env(name string) map[string]string {
	f.t.Helper()
	var answer struct{ Var map[string]string }
	f.do(http.MethodGet, "/v3/apps/"+f.app(name)+"/environment_variables", nil, &answer)
	return answer.Var
}

// dump is v as people compare it.
func dump(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// driver is a new one each time, as after a restart of the agent.
func (f *foundation) driver() *cloudfoundry.Driver {
	f.t.Helper()
	d, err := cloudfoundry.New(cloudfoundry.Config{
		Client: ccv3.Config{API: "http://sandbox.test", Username: f.user, Password: f.user, HTTP: f.wire},
		Remote: f.elsewhere, Probe: f.probe, ResolveImages: f.resolve,
		Sealer: *cmp.Or(f.sealer, &diff.Sealer{Key: []byte("of the tests")}), // quick
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// pass is one run of the reconciler's middle part.
type pass struct {
	changes  diff.Changes
	plan     platform.Plan
	outcome  platform.Outcome
	events   []string
	applying []string // the requests of Apply
	err      error
}

// run observes, compares, plans and applies.
func (f *foundation) run(ctx context.Context, text string) pass {
	f.t.Helper()
	p, d := f.prepare(ctx, text)
	if p.err != nil {
		return p
	}
	f.apply(ctx, d, &p)
	return p
}

func (f *foundation) apply(ctx context.Context, d *cloudfoundry.Driver, p *pass) {
	before := len(f.wire.log())
	var mu sync.Mutex
	p.outcome, p.err = d.Apply(ctx, p.plan, platform.ApplyOptions{Files: f.files, Revision: cmp.Or(f.revision, "c0ffee"), Settings: f.settings, Parallel: f.parallel, Report: func(e platform.Event) {
		mu.Lock()
		defer mu.Unlock()
		p.events = append(p.events, strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", e.Ref.Name(), e.Phase, e.Text), ": "))
	}})
	p.applying = f.wire.log()[before:]
}

func (f *foundation) prepare(ctx context.Context, text string) (pass, *cloudfoundry.Driver) {
	f.t.Helper()
	return f.prepareSet(ctx, f.load(text))
}

func (f *foundation) prepareSet(ctx context.Context, desired manifest.Set) (pass, *cloudfoundry.Driver) {
	f.t.Helper()
	d := f.driver()
	var p pass
	if desired, p.err = d.Prepare(ctx, desired, f.files); p.err != nil {
		return p, d
	}
	var live platform.Observation
	if live, p.err = d.Observe(ctx, desired); p.err != nil {
		return p, d
	}
	if p.changes, p.err = diff.Compare(desired, live.Live, live.Ledger); p.err != nil {
		return p, d
	}
	if p.changes, p.err = p.changes.WithInputs(desired, live.Seals); p.err != nil {
		return p, d
	}
	p.plan, p.err = d.Plan(ctx, platform.PlanInput{Desired: desired, Live: live, Changes: p.changes})
	return p, d
}

// load reads a manifest of the space acme/dev.
func (f *foundation) load(text string) manifest.Set {
	f.t.Helper()
	files := fstest.MapFS{"manifest.yml": {Data: []byte(text)}}
	for name, file := range f.files {
		files[name] = file
	}
	desired, problems := manifest.Load(files, "manifest.yml", manifest.Options{Org: "acme", Space: "dev"})
	if err := problems.Err(); err != nil {
		f.t.Fatal(err)
	}
	return desired
}

// mustRun is run where nothing may fail.
func (f *foundation) mustRun(text string) pass {
	f.t.Helper()
	p := f.run(f.t.Context(), text)
	if err := errors.Join(p.err, p.outcome.Err()); err != nil {
		f.t.Fatalf("%v\n%s", err, strings.Join(p.events, "\n"))
	}
	return p
}

// converged fails unless live state is what the manifest declares, and applying it once more makes no request.
func (f *foundation) converged(text string) {
	f.t.Helper()
	p := f.mustRun(text)
	for _, c := range p.changes.List {
		f.t.Errorf("still differs: %s: %v, declared %v", c, c.Was, c.Value)
	}
	for _, r := range p.applying {
		f.t.Errorf("nothing to do, and yet: %s", r)
	}
}

// wire carries requests to the sandbox, notes them, and may lose them.
type wire struct {
	next  http.RoundTripper
	bytes atomic.Int64 // of request bodies

	mu    sync.Mutex
	calls []string
	fault func(n int) platformtest.Fate // decides on each request to the API; may be nil
	since int                           // calls of which n counts
	after func(call string)             // after each answered request to the API; may be nil
}

// Fates that Cloud Foundry knows besides lost connections.
const (
	stored503  = platformtest.Unanswered + 1 + iota // the change is stored, and the answer is 503 (observed)
	refused500                                      // nothing happens
	limited429                                      // nothing happens, and may be asked again in 3 s
)

// install sets the fault; its n counts from now.
func (w *wire) install(fault func(n int) platformtest.Fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.since = fault, len(w.calls)
}

// watch has look called after each request, before its answer reaches the driver.
func (w *wire) watch(look func(call string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.after = look
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/v3/") {
		return w.next.RoundTrip(r)
	}
	w.mu.Lock()
	if r.Body != nil {
		r.Body = &counted{r.Body, &w.bytes}
	}
	w.calls = append(w.calls, r.Method+" "+r.URL.Path)
	n, fault, after := len(w.calls)-w.since, w.fault, w.after
	w.mu.Unlock()
	fate := platformtest.Answered
	if fault != nil {
		fate = fault(n)
	}
	if fate == platformtest.Lost || fate == refused500 || fate == limited429 {
		if r.Body != nil {
			_ = r.Body.Close()
		}
	}
	answer := func(status int) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	switch fate {
	case platformtest.Lost:
		return nil, errors.New("connection reset by peer")
	case refused500:
		return answer(http.StatusInternalServerError)
	case limited429:
		resp, err := answer(http.StatusTooManyRequests)
		resp.Header.Set("Retry-After", "3")
		return resp, err
	}
	resp, err := w.next.RoundTrip(r)
	if after != nil {
		after(r.Method + " " + r.URL.Path)
	}
	if err != nil || fate == platformtest.Answered {
		return resp, err
	}
	_ = resp.Body.Close()
	if fate == platformtest.Unanswered {
		return nil, errors.New("unexpected EOF")
	}
	return answer(http.StatusServiceUnavailable)
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (w *wire) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.calls...)
}

// polling are the requests that wait for the platform; how many it takes is the platform's affair.
var polling = regexp.MustCompile(`^GET /v3/(jobs/|builds/|packages/|deployments/|processes/.*/stats|apps/.*/stats|tasks/)`)

func besidePolling(calls []string) []string {
	var rest []string
	for _, c := range calls {
		if !polling.MatchString(c) {
			rest = append(rest, c)
		}
	}
	return rest
}
