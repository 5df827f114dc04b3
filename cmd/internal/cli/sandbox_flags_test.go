package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/cmd/internal/cli"
)

// foundation is a "fettle sandbox" that runs.
type foundation struct {
	t    *testing.T
	url  string
	stop func() (code int, errs string)
}

func startSandbox(t *testing.T, flags ...string) foundation {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	var errs bytes.Buffer
	done := make(chan int, 1)
	go func() {
		code := cli.Main(ctx, append([]string{"sandbox", "--listen", "127.0.0.1:0"}, flags...), cli.Env{Out: w, Err: &errs, Getenv: func(string) string { return "" }})
		w.Close()
		done <- code
	}()
	f := foundation{t: t, stop: func() (int, string) { cancel(); code := <-done; done <- code; return code, errs.String() }}
	t.Cleanup(func() { f.stop() })
	lines := bufio.NewScanner(out)
	for f.url == "" && lines.Scan() {
		f.url, _ = strings.CutPrefix(lines.Text(), "  cf api ")
		if f.url == lines.Text() {
			f.url = ""
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if f.url == "" {
		code, errs := f.stop()
		t.Fatalf("the sandbox ended with %d before it listened:\n%s", code, errs)
	}
	return f
}

func (f foundation) do(method, path, token, kind, body string) (int, map[string]any) {
	f.t.Helper()
	req, _ := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	req.Header.Set("Content-Type", kind)
	if token != "" {
		req.Header.Set("Authorization", "bearer "+token)
	} else if strings.HasPrefix(path, "/uaa/") {
		req.SetBasicAuth("cf", "")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	out := map[string]any{}
	_ = json.NewDecoder(res.Body).Decode(&out)
	return res.StatusCode, out
}

func (f foundation) token(user, password string) (string, map[string]any) {
	f.t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	_, o := f.do("POST", "/uaa/oauth/token", "", "application/x-www-form-urlencoded", form.Encode())
	token, _ := o["access_token"].(string)
	if token == "" {
		f.t.Fatalf("%s cannot log in: %v", user, o)
	}
	return token, o
}

func (f foundation) total(path, token string) any {
	f.t.Helper()
	status, o := f.do("GET", path, token, "", "")
	if status != 200 {
		f.t.Fatalf("%s answers %d: %v", path, status, o)
	}
	return o["pagination"].(map[string]any)["total_results"]
}

// What was in a sandbox with --state is there again after a restart, and so is who was logged in. --seed begins with the
// same, and leaves its file alone.
func TestSandboxKeepsItsState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	first := startSandbox(t, "--state", file, "--seed-apps", "41")
	token, _ := first.token("admin", "admin")
	if n := first.total("/v3/spaces", token); n != 3.0 {
		t.Errorf("41 apps lie in %v spaces", n)
	}
	if status, o := first.do("POST", "/v3/organizations", token, "application/json", `{"name":"acme"}`); status != 201 {
		t.Fatal(status, o)
	}
	if code, errs := first.stop(); code != 0 || errs != "" {
		t.Errorf("it ends with %d: %s", code, errs)
	}

	second := startSandbox(t, "--state", file, "--seed-apps", "41", "--user", "admin:another")
	if n := second.total("/v3/organizations?names=acme", token); n != 1.0 {
		t.Errorf("after the restart there are %v organizations of the name", n)
	}
	if n := second.total("/v3/apps", token); n != 41.0 {
		t.Errorf("after the restart there are %v apps", n)
	}
	second.token("admin", "another")
	second.stop()

	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seeded := startSandbox(t, "--seed", file)
	if status, o := seeded.do("POST", "/v3/organizations", token, "application/json", `{"name":"other"}`); status != 201 {
		t.Fatal(status, o)
	}
	seeded.stop()
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the seed was written: %v", err)
	}
}

// Faults, the rate limit, the life of tokens and the request log can be set from the beginning.
func TestSandboxFlags(t *testing.T) {
	f := startSandbox(t, "--fault", "GET /v3/spaces status=503 times=1", "--rate-limit", "100/1h", "--token-ttl", "42s", "--log-requests")
	token, grant := f.token("dev", "dev")
	if grant["expires_in"] != 42.0 {
		t.Errorf("a token expires in %v s", grant["expires_in"])
	}
	if status, _ := f.do("GET", "/v3/spaces", token, "", ""); status != 503 {
		t.Errorf("the fault does not strike: %d", status)
	}
	if _, o := f.do("GET", "/sandbox/rate-limit", "", "", ""); o["general"] != 100.0 || o["window"] != "1h0m0s" {
		t.Errorf("the rate limit: %v", o)
	}
	if _, log := f.stop(); !strings.Contains(log, "GET    /v3/spaces 503 ") || strings.Contains(log, token) {
		t.Errorf("the request log:\n%s", log)
	}
}

// A flag that cannot be meant ends the program before it listens, and the error says what to write.
func TestSandboxFlagMistakes(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte("applications: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--fault", "GET /v3/apps"}, "does nothing: add status="},
		{[]string{"--rate-limit", "many"}, "write requests/window, such as 2000/1h"},
		{[]string{"--token-ttl", "1ms"}, "a second at least"},
		{[]string{"--user", "alice"}, "write name:password"},
		{[]string{"--speed", "0"}, "above 0"},
		{[]string{"--state", broken}, broken + ": this is not the state of a sandbox"},
		{[]string{"--state", filepath.Join(broken+".d", "state.json")}, "its folder does not exist"},
		{[]string{"--seed", broken + ".none"}, "no such file"},
		{[]string{"--seed", broken, "--seed-apps", "5"}, "seed-apps"},
	} {
		var out, errs bytes.Buffer
		code := cli.Main(t.Context(), append([]string{"sandbox", "--listen", "127.0.0.1:0"}, c.flags...), cli.Env{Out: &out, Err: &errs, Getenv: func(string) string { return "" }})
		if code == 0 || !strings.Contains(errs.String(), c.want) || out.Len() > 0 {
			t.Errorf("%v: exit code %d, not about %q:\n%s%s", c.flags, code, c.want, out.String(), errs.String())
		}
	}
}
