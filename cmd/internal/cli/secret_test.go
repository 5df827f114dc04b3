package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fettle-gitops/fettle/source/git/gittest"
	"github.com/fettle-gitops/fettle/source/secret/credhub/credhubtest"
	"github.com/fettle-gitops/fettle/source/secret/vault/vaulttest"
)

// TestSecretsStaySecret runs testdata/secret/*.txtar: values from every place reach the app, and nothing that a person or a
// program can read of Fettle. The commands beside those of TestScripts:
//
//	key FILE            makes an age identity; $RECIPIENT is its other half
//	age FILE            encrypts a file to $RECIPIENT, in place
//	vault PATH JSON     starts a Vault with one secret: $VAULT; its token is hvs.token-of-vault
//	credhub JSON        starts a CredHub with credentials by name: $CREDHUB; its client is fettle, with client-of-credhub
//	hides TEXT FILE…    none of the files holds TEXT; one that does not exist holds nothing
//	every COMMAND…      runs the command with every --format of `fettle diff`; none of them shows "hunter"
func TestSecretsStaySecret(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/secret",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			w := &world{repos: map[string]*gittest.Repo{}}
			e.Values["world"] = w
			e.Defer(w.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sandbox": cmdSandbox, "api": cmdAPI, "repo": cmdRepo, "push": cmdPush, "until": cmdUntil, "envfile": cmdEnvFile,
			"key": cmdKey, "age": cmdAge, "vault": cmdVault, "credhub": cmdCredHub, "hides": cmdHides, "every": cmdEvery,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func cmdKey(ts *testscript.TestScript, _ bool, args []string) {
	identity, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(identity.String()+"\n"), 0o600))
	ts.Setenv("RECIPIENT", identity.Recipient().String())
}

func cmdAge(ts *testscript.TestScript, _ bool, args []string) {
	to, err := age.ParseX25519Recipient(ts.Getenv("RECIPIENT"))
	ts.Check(err)
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	in, err := age.Encrypt(armored, to)
	ts.Check(err)
	_, err = io.WriteString(in, ts.ReadFile(args[0]))
	ts.Check(err)
	ts.Check(in.Close())
	ts.Check(armored.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
}

func cmdVault(ts *testscript.TestScript, _ bool, args []string) {
	var values map[string]any
	ts.Check(json.Unmarshal([]byte(args[1]), &values))
	server := httptest.NewServer(&vaulttest.Server{
		Secrets: map[string]map[string]any{args[0]: values}, Tokens: map[string]string{"hvs.token-of-vault": args[0]},
	})
	of(ts).stop = append(of(ts).stop, server.Close)
	ts.Setenv("VAULT", server.URL)
}

func cmdCredHub(ts *testscript.TestScript, _ bool, args []string) {
	s := &credhubtest.Server{ClientID: "fettle", ClientSecret: "client-of-credhub", Credentials: map[string]credhubtest.Credential{}}
	var values map[string]any
	ts.Check(json.Unmarshal([]byte(args[0]), &values))
	for name, value := range values {
		s.Credentials[name] = credhubtest.Credential{Type: "json", Value: value}
	}
	server := httptest.NewServer(s)
	of(ts).stop = append(of(ts).stop, server.Close)
	ts.Setenv("CREDHUB", server.URL)
}

func cmdHides(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args[1:] {
		data, err := os.ReadFile(ts.MkAbs(file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		ts.Check(err)
		if bytes.Contains(data, []byte(args[0])) {
			ts.Fatalf("%s holds %q", file, args[0])
		}
	}
}

func cmdEvery(ts *testscript.TestScript, _ bool, args []string) {
	for _, format := range []string{"text", "markdown", "json", "v3", "junit", "sarif"} {
		_ = ts.Exec(args[0], append(args[1:len(args):len(args)], "--format", format)...) // it says that something differs
		out, errs := ts.ReadFile("stdout"), ts.ReadFile("stderr")
		if out == "" {
			ts.Fatalf("format %s is empty: %s", format, errs)
		}
		if strings.Contains(out+errs, "hunter") {
			ts.Fatalf("format %s shows a secret:\n%s\n%s", format, out, errs)
		}
	}
}
