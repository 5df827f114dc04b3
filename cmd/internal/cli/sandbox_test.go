package cli_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/cmd/internal/cli"
)

// A sandbox tells how to reach it, and what it tells works as it stands, for a user and for a client.
func TestSandboxTellsWhatToType(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		code := cli.Main(ctx, []string{"sandbox", "--listen", "127.0.0.1:0", "--user", "alice:alice-password", "--client", "ci:ci-secret"},
			cli.Env{Out: w, Err: w, Getenv: func(string) string { return "" }})
		w.Close()
		done <- code
	}()
	defer func() {
		stop()
		go io.Copy(io.Discard, r)
		if code := <-done; code != 0 {
			t.Errorf("the sandbox ended with exit code %d", code)
		}
	}()

	var greeting strings.Builder
	for lines := bufio.NewScanner(r); lines.Scan(); {
		greeting.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Apps get the domain") {
			break
		}
	}
	manifest := filepath.Join(t.TempDir(), "manifest.yml")
	if err := os.WriteFile(manifest, []byte("applications: [{name: web, docker: {image: r.example.com/web}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exports := regexp.MustCompile(`(?m)^  export (.*)$`).FindAllStringSubmatch(greeting.String(), -1)
	if len(exports) != 2 {
		t.Fatalf("want the environment of a user and of a client, got\n%s", greeting.String())
	}
	for _, export := range exports {
		vars := map[string]string{"HOME": t.TempDir()}
		for _, pair := range strings.Fields(export[1]) {
			name, value, _ := strings.Cut(pair, "=")
			vars[name] = value
		}
		var out, errs strings.Builder
		code := cli.Main(ctx, []string{"diff", "-f", manifest, "-o", "acme", "-s", "dev"},
			cli.Env{Out: &out, Err: &errs, Getenv: func(name string) string { return vars[name] }})
		// Logged in, and so far that the organization is missing: it has still to be made.
		if code != cli.ExitError || !strings.Contains(errs.String(), "cf create-org acme") {
			t.Errorf("with %s: exit code %d\n%s%s", export[1], code, out.String(), errs.String())
		}
	}
	if !strings.Contains(greeting.String(), "cf auth alice alice-password") {
		t.Errorf("the administrator is not named:\n%s", greeting.String())
	}
}
