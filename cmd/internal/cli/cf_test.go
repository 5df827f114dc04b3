package cli_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// TestCF drives the sandbox with the cf CLI itself: testdata/cf/*.txtar, a script for each group of its commands. It is
// the proof that people can type what they are used to. cf waits three seconds wherever it waits, so these scripts take
// a while. The commands beside those of testscript, TestScripts tells what sandbox, api and until do:
//
//	login USER           cf api, auth and target acme/dev
//	keep NAME REGEXP     puts what the first group of REGEXP matches in the last output into $NAME
//	package APP          lists mode, name and content of what was uploaded for an app
//	broker               starts an OSBAPI service broker: $BROKER
func TestCF(t *testing.T) {
	if testing.Short() {
		t.Skip("cf waits in seconds")
	}
	requireCF(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/cf",
		Setup: func(e *testscript.Env) error {
			for k, v := range map[string]string{"HOME": e.WorkDir, "CF_HOME": e.WorkDir, "CF_COLOR": "false", "LC_ALL": "C", "TZ": "UTC"} {
				e.Setenv(k, v)
			}
			w := &world{}
			e.Values["world"] = w
			e.Defer(w.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sandbox": cmdSandbox, "api": cmdAPI, "login": cmdLogin, "keep": cmdKeep, "broker": cmdBroker, "until": cmdUntil, "package": cmdPackage,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// requireCF skips unless a cf of version 8 or newer is on the PATH. A cf that was built from its source without a
// version says 0.0.0 and is taken for a new one.
func requireCF(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("cf")
	if err != nil {
		t.Skip("no cf on the PATH: with the cf CLI, version 8 or newer, this test drives the sandbox by it")
	}
	cmd := exec.CommandContext(t.Context(), path, "version")
	cmd.Env = append(os.Environ(), "CF_HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("%s version: %v", path, err)
	}
	m := regexp.MustCompile(`(\d+)\.\d+\.\d+`).FindStringSubmatch(string(out))
	if m == nil {
		t.Skipf("%s does not tell its version: %s", path, out)
	}
	if major, _ := strconv.Atoi(m[1]); major != 0 && major < 8 {
		t.Skipf("%s is version %s: the V3 API needs 8 or newer", path, m[0])
	}
}

func cmdLogin(ts *testscript.TestScript, neg bool, args []string) {
	user, password := args[0], args[0]+"-password"
	if user == "admin" {
		password = "admin"
	}
	for _, line := range [][]string{{"api", ts.Getenv("CF_API")}, {"auth", user, password}, {"target", "-o", "acme", "-s", "dev"}} {
		ts.Check(ts.Exec("cf", line...))
	}
}

func cmdKeep(ts *testscript.TestScript, neg bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	out := ts.ReadFile("stdout")
	m := re.FindStringSubmatch(out)
	if len(m) < 2 {
		ts.Fatalf("%q matches nothing to keep in\n%s", args[1], out)
	}
	ts.Setenv(args[0], m[1])
}

func cmdPackage(ts *testscript.TestScript, neg bool, args []string) {
	api := client(ts, "admin")
	packages, _, err := ccv3.List[ccv3.Package](context.Background(), api, resolve(ts, api, "/v3/apps/{app:"+args[0]+"}/packages"), nil)
	ts.Check(err)
	var data []byte
	_, err = api.Do(context.Background(), "GET", "/v3/packages/"+packages[0].GUID+"/download", nil, &data)
	ts.Check(err)
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	ts.Check(err)
	var lines []string
	for _, f := range z.File {
		if f.Mode().IsDir() { // cf push has them, Git does not know them, the controller drops them
			continue
		}
		r, err := f.Open()
		ts.Check(err)
		content, err := io.ReadAll(r)
		ts.Check(err)
		lines = append(lines, fmt.Sprintf("%s %s %s", f.Mode(), f.Name, bytes.TrimSpace(content)))
	}
	slices.Sort(lines)
	fmt.Fprintln(ts.Stdout(), strings.Join(lines, "\n"))
}

// cmdBroker starts a broker of one offering with two free plans, which does everything at once.
func cmdBroker(ts *testscript.TestScript, neg bool, args []string) {
	plan := func(name string) map[string]any {
		return map[string]any{"id": "plan-" + name, "name": name, "description": "Plan " + name, "free": true}
	}
	catalog := map[string]any{"services": []any{map[string]any{
		"id": "offering-weather", "name": "weather", "description": "Tells the weather", "bindable": true, "plan_updateable": true,
		"plans": []any{plan("sunny"), plan("rainy")},
	}}}
	mux := http.NewServeMux()
	answer := func(pattern string, status int, body any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "broker" || password != "broker-password" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body)
		})
	}
	none := map[string]any{}
	answer("GET /v2/catalog", http.StatusOK, catalog)
	answer("PUT /v2/service_instances/{id}", http.StatusCreated, none)
	answer("PATCH /v2/service_instances/{id}", http.StatusOK, none)
	answer("DELETE /v2/service_instances/{id}", http.StatusOK, none)
	answer("PUT /v2/service_instances/{id}/service_bindings/{binding}", http.StatusCreated, map[string]any{"credentials": map[string]any{"uri": "weather://here"}})
	answer("DELETE /v2/service_instances/{id}/service_bindings/{binding}", http.StatusOK, none)
	server := httptest.NewServer(mux)
	w := of(ts)
	w.stop = append(w.stop, server.Close)
	ts.Setenv("BROKER", server.URL)
}
