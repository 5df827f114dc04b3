package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// TestKilledAgentConverges kills the agent with SIGKILL right after each writing request of a first deployment in turn, and
// in the middle of the next ones, starts it again, and expects one app, one package, one build, and nothing done twice.
func TestKilledAgentConverges(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some twenty processes")
	}
	for _, moment := range []string{"before", "after"} {
		// The writes of a first deployment: manifest, package, bits, build, droplet, start, and a few more where it polls.
		for position := int64(1); position <= 8; position++ {
			t.Run(fmt.Sprintf("%s write %d", moment, position), func(t *testing.T) {
				t.Parallel()
				killAndRestart(t, position, moment == "after")
			})
		}
	}
}

func killAndRestart(t *testing.T, position int64, after bool) {
	var victim atomic.Pointer[os.Process]
	var writes atomic.Int64
	box := sandbox.New(sandbox.Options{Speed: 20, Users: []sandbox.User{
		{Name: "admin", Password: "admin", Scopes: sandbox.AdminScopes},
		{Name: "fettle", Password: "fettle-password"},
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mine := strings.HasPrefix(r.UserAgent(), "fettle/") && r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, "/v3/")
		p := victim.Load()
		hit := mine && p != nil && writes.Add(1) == position
		if hit && !after {
			_ = p.Kill()
			return
		}
		box.ServeHTTP(w, r)
		if hit {
			_ = p.Kill()
		}
	}))
	defer server.Close()
	admin, err := ccv3.New(ccv3.Config{API: server.URL, Username: "admin", Password: "admin", UserAgent: "test/admin"})
	if err != nil {
		t.Fatal(err)
	}
	makeSpace(t, admin)

	dir := t.TempDir()
	write(t, dir, "shop/manifest.yml", "applications:\n- name: shop\n  memory: 64M\n  env: {COLOUR: green}\n  routes:\n  - route: shop.apps.sandbox.test\n")
	write(t, dir, "shop/index.html", "<h1>Shop</h1>\n")
	write(t, dir, "password", "fettle-password")
	config := write(t, dir, "fettle.yml", fmt.Sprintf(`foundations:
  sandbox: {api: %q, username: fettle, password: {file: password}}
sources:
  shop: {dir: shop, poll: 200ms}
targets:
  shop-dev: {source: shop, foundation: sandbox, org: acme, space: dev, mode: apply, schedule: "@every 1s"}
`, server.URL))

	first := startAgent(t, config)
	victim.Store(first.Process)
	waitFor(t, "the agent to be killed or to finish", func() bool {
		return writes.Load() >= position || inSync(t, filepath.Join(dir, "fettle.db"))
	})
	_ = first.Process.Kill()
	_ = first.Wait()
	victim.Store(nil)

	second := startAgent(t, config)
	defer func() {
		_ = second.Process.Signal(os.Interrupt)
		_ = second.Wait()
	}()
	waitFor(t, "the second agent to converge", func() bool { return inSync(t, filepath.Join(dir, "fettle.db")) })

	for path, want := range map[string]int{"/v3/apps": 1, "/v3/packages": 1, "/v3/builds": 1, "/v3/droplets": 1, "/v3/routes": 1} {
		all, _, err := ccv3.List[ccv3.Resource](context.Background(), admin, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != want {
			t.Errorf("%s: there are %d, expected %d", path, len(all), want)
		}
	}
	deployments, _, err := ccv3.List[ccv3.Resource](context.Background(), admin, "/v3/deployments", nil)
	if err != nil || len(deployments) > 1 {
		t.Errorf("%d deployments (%v), expected one at the most", len(deployments), err)
	}
	apps, _, err := ccv3.List[ccv3.App](context.Background(), admin, "/v3/apps", nil)
	if err != nil || len(apps) != 1 || apps[0].State != "STARTED" {
		t.Errorf("the app is not started: %+v, %v", apps, err)
	}
	for key := range apps[0].Metadata.Annotations {
		if strings.HasSuffix(key, "/pending") {
			t.Error("the app is still marked as pending")
		}
	}
}

func makeSpace(t *testing.T, admin *ccv3.Client) {
	t.Helper()
	var org, space ccv3.Resource
	to := func(guid string) map[string]any { return map[string]any{"data": map[string]any{"guid": guid}} }
	do := func(path string, in, out any) {
		if _, err := admin.Do(t.Context(), "POST", path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	do("/v3/organizations", map[string]any{"name": "acme"}, &org)
	do("/v3/spaces", map[string]any{"name": "dev", "relationships": map[string]any{"organization": to(org.GUID)}}, &space)
	who := map[string]any{"data": map[string]any{"username": "fettle", "origin": "uaa"}}
	do("/v3/roles", map[string]any{"type": "organization_user", "relationships": map[string]any{"user": who, "organization": to(org.GUID)}}, nil)
	do("/v3/roles", map[string]any{"type": "space_developer", "relationships": map[string]any{"user": who, "space": to(space.GUID)}}, nil)
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startAgent starts the real program: this test binary under the name fettle, see TestMain.
func startAgent(t *testing.T, config string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"fettle", "agent", "--config", config}
	log, err := os.OpenFile(config+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		log.Close()
		if text, _ := os.ReadFile(config + ".log"); t.Failed() {
			t.Logf("the agents' log:\n%s", text)
		}
	})
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// inSync reports whether the last run of the history found nothing to do.
func inSync(t *testing.T, db string) bool {
	if _, err := os.Stat(db); err != nil {
		return false
	}
	store, err := sqlite.Open(t.Context(), db)
	if err != nil {
		return false // it is just being made
	}
	defer store.Close()
	runs, err := store.Runs(t.Context(), history.RunFilter{Limit: 1})
	return err == nil && len(runs) == 1 && runs[0].Result == history.InSync
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
