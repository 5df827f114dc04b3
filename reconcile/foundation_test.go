package reconcile_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
	"github.com/fettle-gitops/fettle/source/dir"
)

// foundation is a sandbox with org acme, space dev, the agent's user fettle and a colleague alex, all real but the socket.
type foundation struct {
	t       *testing.T
	sandbox *sandbox.Sandbox
	folder  string // what Git would hold
	history history.Store
	db      string
	target  *reconcile.Target
	rec     *reconcile.Reconciler
}

func newFoundation(t *testing.T) *foundation {
	t.Helper()
	f := &foundation{t: t, folder: t.TempDir(), db: filepath.Join(t.TempDir(), "history.db")}
	f.sandbox = sandbox.New(sandbox.Options{Speed: 50, Users: []sandbox.User{
		{Name: "admin", Password: "admin", Scopes: sandbox.AdminScopes},
		{Name: "fettle", Password: "fettle", Email: "fettle@example.com"},
		{Name: "alex", Password: "alex", Email: "alex@example.com"},
		{Name: "sam", Password: "sam", Email: "sam@example.com"},
	}})
	var org, space struct {
		GUID string `json:"guid"`
	}
	f.do("admin", "POST", "/v3/organizations", map[string]any{"name": "acme"}, &org)
	f.do("admin", "POST", "/v3/spaces", map[string]any{"name": "dev", "relationships": map[string]any{"organization": to(org.GUID)}}, &space)
	for _, user := range []string{"fettle", "alex", "sam"} {
		who := map[string]any{"data": map[string]any{"username": user, "origin": "uaa"}}
		f.do("admin", "POST", "/v3/roles", map[string]any{"type": "organization_user", "relationships": map[string]any{"user": who, "organization": to(org.GUID)}}, nil)
		f.do("admin", "POST", "/v3/roles", map[string]any{"type": "space_developer", "relationships": map[string]any{"user": who, "space": to(space.GUID)}}, nil)
	}
	store, err := sqlite.Open(t.Context(), f.db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	f.history = store
	driver, err := cloudfoundry.New(cloudfoundry.Config{Client: f.config("fettle")})
	if err != nil {
		t.Fatal(err)
	}
	src, err := dir.New(dir.Options{Path: f.folder})
	if err != nil {
		t.Fatal(err)
	}
	f.target = &reconcile.Target{
		Name: "shop-dev", Source: src, Path: "manifest.yml", Driver: driver, Mode: reconcile.ModeApply,
		Options: manifest.Options{Org: "acme", Space: "dev"},
	}
	f.rec = &reconcile.Reconciler{History: store, Key: []byte("a key for tests")}
	return f
}

func to(guid string) map[string]any { return map[string]any{"data": map[string]any{"guid": guid}} }

func (f *foundation) config(user string) ccv3.Config {
	return ccv3.Config{
		API: "http://api.sandbox.test", Username: user, Password: user, UserAgent: "test/" + user,
		HTTP: f.sandbox.Client().Transport, Timeout: 20 * time.Second,
	}
}

// do makes one request as somebody.
func (f *foundation) do(user, method, path string, in, out any) {
	f.t.Helper()
	c, err := ccv3.New(f.config(user))
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := c.Do(f.t.Context(), method, path, in, out)
	if err != nil {
		f.t.Fatalf("%s as %s: %v", path, user, err)
	}
	if loc := resp.Location(); loc != "" && strings.Contains(loc, "/v3/jobs/") {
		if err := c.Job(f.t.Context(), loc); err != nil {
			f.t.Fatalf("%s as %s: %v", path, user, err)
		}
	}
}

// app is the guid of an app.
func (f *foundation) app(name string) string {
	f.t.Helper()
	c, err := ccv3.New(f.config("admin"))
	if err != nil {
		f.t.Fatal(err)
	}
	apps, _, err := ccv3.List[ccv3.App](f.t.Context(), c, "/v3/apps", url.Values{"names": {name}})
	if err != nil || len(apps) != 1 {
		f.t.Fatalf("app %s: %v, %v", name, apps, err)
	}
	return apps[0].GUID
}

// count is how many resources a list has.
func (f *foundation) count(path string) int {
	f.t.Helper()
	var page struct {
		Pagination struct {
			Total int `json:"total_results"`
		} `json:"pagination"`
	}
	f.do("admin", "GET", path, nil, &page)
	return page.Pagination.Total
}

func (f *foundation) write(name, text string) {
	f.t.Helper()
	file := filepath.Join(f.folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// run makes one run and expects a result.
func (f *foundation) run(want history.Result) *reconcile.Run {
	f.t.Helper()
	run, err := f.rec.Run(f.t.Context(), f.target, history.ByHand, nil)
	if run.Record.Result != want {
		f.t.Fatalf("the run ended as %q (%s, %v), expected %q; changes: %v", run.Record.Result, run.Record.Error, err, want, run.Changes.List)
	}
	return run
}

// drift lists the records, all of them.
func (f *foundation) drift() []history.Drift {
	f.t.Helper()
	all, err := f.history.Drift(context.WithoutCancel(f.t.Context()), history.DriftFilter{})
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

func (f *foundation) scale(user, app string, mb int) {
	f.t.Helper()
	f.do(user, "POST", "/v3/apps/"+f.app(app)+"/processes/web/actions/scale", map[string]any{"memory_in_mb": mb}, nil)
}

func (f *foundation) setEnv(user, app, name string, value any) {
	f.t.Helper()
	f.do(user, "PATCH", "/v3/apps/"+f.app(app)+"/environment_variables", map[string]any{"var": map[string]any{name: value}}, nil)
}
