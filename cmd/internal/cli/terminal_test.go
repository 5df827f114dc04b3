package cli_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/cmd/internal/cli"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// At a terminal apply shows its plan and asks. No is an answer of its own: neither done nor failed.
func TestApplyAsksAtATerminal(t *testing.T) {
	manifest, env := firstApp(t, 50)
	const plan, question = "+ app acme/dev/shop", "Apply this plan? [y/N]"
	for _, c := range []struct {
		about, answer string
		flags         []string
		code          int
		out, err      []string // what is read on the two streams
	}{
		{"no", "n\n", nil, cli.ExitDifferent, []string{plan, question, "Nothing was changed."}, nil},
		{"silence is a no", "", nil, cli.ExitDifferent, []string{plan, question, "Nothing was changed."}, nil},
		{"for a machine the question is beside the answer", "n\n", []string{"--format", "json"}, cli.ExitDifferent, []string{`"declined": true`}, []string{plan, question}},
		{"yes", "y\n", nil, cli.ExitSame, []string{plan, question, "1 applied"}, nil},
		{"nothing to ask", "", nil, cli.ExitSame, []string{"No differences"}, nil},
	} {
		t.Run(c.about, func(t *testing.T) {
			var out, errs strings.Builder
			code := cli.Main(t.Context(), append([]string{"apply", "-f", manifest, "-o", "acme", "-s", "dev"}, c.flags...), cli.Env{
				In: strings.NewReader(c.answer), Out: &out, Err: &errs, Terminal: true, Getenv: env,
			})
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("standard output lacks %q", want)
				}
			}
			for _, want := range c.err {
				if !strings.Contains(errs.String(), want) || strings.Contains(out.String(), want) {
					t.Errorf("%q belongs to the error stream alone", want)
				}
			}
			if t.Failed() {
				t.Logf("%s\n--- error stream\n%s", out.String(), errs.String())
			}
		})
	}
}

// A misspelt subcommand is a mistake, not a wish for help.
func TestUnknownSubcommandFails(t *testing.T) {
	var out, errs strings.Builder
	code := cli.Main(t.Context(), []string{"drift", "lst"}, cli.Env{Out: &out, Err: &errs, Getenv: func(string) string { return "" }})
	if code != cli.ExitError || !strings.Contains(errs.String(), `unknown command "lst"`) {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}

// firstApp makes a foundation, and a manifest whose app it does not have yet; env says how to get there.
func firstApp(t *testing.T, speed float64) (manifest string, env func(string) string) {
	t.Helper()
	foundation := httptest.NewServer(sandbox.New(sandbox.Options{Speed: speed}))
	t.Cleanup(foundation.Close)
	admin, err := ccv3.New(ccv3.Config{API: foundation.URL, Username: "admin", Password: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	var org struct{ GUID string }
	if _, err := admin.Do(t.Context(), "POST", "/v3/organizations", map[string]any{"name": "acme"}, &org); err != nil {
		t.Fatal(err)
	}
	in := map[string]any{"organization": map[string]any{"data": map[string]any{"guid": org.GUID}}}
	if _, err := admin.Do(t.Context(), "POST", "/v3/spaces", map[string]any{"name": "dev", "relationships": in}, nil); err != nil {
		t.Fatal(err)
	}
	manifest = filepath.Join(t.TempDir(), "manifest.yml")
	for name, text := range map[string]string{
		manifest: "applications: [{name: shop, no-route: true}]\n",
		filepath.Join(filepath.Dir(manifest), "shop.txt"): "a shop\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vars := map[string]string{"CF_API": foundation.URL, "CF_USERNAME": "admin", "CF_PASSWORD": "admin", "HOME": t.TempDir()}
	return manifest, func(name string) string { return vars[name] }
}

// An apply that was told to stop has not done what it was asked for: a CI job that is cancelled must not look like one that
// succeeded.
func TestStoppedApplyFails(t *testing.T) {
	manifest, env := firstApp(t, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	errs := &atWord{word: "uploading", then: stop}
	var out strings.Builder
	code := cli.Main(ctx, []string{"apply", "-f", manifest, "-o", "acme", "-s", "dev", "--auto-approve"}, cli.Env{Out: &out, Err: errs, Getenv: env})
	if code != cli.ExitError || !strings.Contains(errs.said.String(), "apply again to go on") || !strings.Contains(out.String(), "1 abandoned") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.said.String())
	}
}

// atWord does something as soon as a word is written.
type atWord struct {
	said strings.Builder
	word string
	then func()
}

func (w *atWord) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.word) {
		w.then()
	}
	return w.said.Write(p)
}
