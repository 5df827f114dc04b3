package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/manifest"
)

const head = `foundations:
  dev: {api: https://api.example.com, username: u, password: {env: FETTLE_TEST_PASSWORD}}
sources:
  shop: {dir: .}
targets:
  shop-dev:
    source: shop
    foundation: dev
    org: acme
    space: dev
`

// configured writes a fettle.yml with the lines in its target, at four spaces.
func configured(t *testing.T, lines string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fettle.yml")
	text := head + "    " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n    ") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestMistakesOfSecretVars: every mistake is refused with its position.
func TestMistakesOfSecretVars(t *testing.T) {
	for _, test := range []struct {
		name, lines string
		want        []string
	}{
		{"unknown place", "secret_vars:\n- valut: {address: https://v}", []string{"fettle.yml:12:7: ", "valut", "did you mean vault?"}},
		{"two places in one", "secret_vars:\n- sops: a.yml\n  dir: b", []string{"fettle.yml:12:7: ", "expected only one of the keys sops, dir"}},
		{"none", "secret_vars:\n- {}", []string{"fettle.yml:12:7: "}},
		{"not a list", "secret_vars: {sops: a.yml}", []string{"fettle.yml:11:18: ", "expected a list of places"}},
		{"identity of a sops file", "secret_vars:\n- sops: a.yml\n  identity: {env: X}", []string{"fettle.yml:12:7: ", "age"}},
		{"identity in clear", "age_identity: AGE-SECRET-KEY-1HUNTER2", []string{"fettle.yml:11:19: ", "{env: NAME} or {file: PATH}"}},
		{"token in clear", "secret_vars:\n- vault: {address: https://v, path: x, token: hunter2}", []string{"fettle.yml:12:", "{env: NAME} or {file: PATH}"}},
		{"a password in the address", "secret_vars:\n- vault: {address: \"https://u:hunter2@v\", path: x, token: {env: X}}", []string{"fettle.yml:12:", "without a user"}},
		{"neither path nor folder", "secret_vars:\n- vault: {address: https://v, token: {env: X}}", []string{"fettle.yml:12:14: ", "path", "folder"}},
		{"token and AppRole", "secret_vars:\n- vault: {address: https://v, path: x, token: {env: X}, app_role: {role_id: x}}", []string{"fettle.yml:12:14: ", "token", "app_role"}},
		{"a CredHub without a client", "secret_vars:\n- credhub: {address: https://c, folder: /x}", []string{"fettle.yml:12:16: ", "client_id", "certificate_file"}},
		{"a client without its secret", "secret_vars:\n- credhub: {address: https://c, folder: /x, client_id: x}", []string{"fettle.yml:12:16: ", "client_secret"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(configured(t, test.lines))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q:\n%v", want, err)
				}
			}
			if strings.Contains(strings.ToLower(err.Error()), "hunter2") {
				t.Errorf("the message shows a secret: %v", err)
			}
			t.Log(err)
		})
	}
}

// TestSecretVars: the places are asked in their order, only for what the manifests mention, and later ones win; a secret that
// cannot be read is told when it is needed, with the place in the configuration.
func TestSecretVars(t *testing.T) {
	t.Setenv("FETTLE_TEST_PASSWORD", "p")
	t.Setenv("SHOP_A", "from the environment")
	t.Setenv("SHOP_B", "from the environment")
	file := configured(t, `
secret_vars:
- env_prefix: SHOP_
- dir: mounted
- age: secrets.age
`)
	mounted := filepath.Join(filepath.Dir(file), "mounted")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"b": "from the folder", "c": "from the folder", "unasked": "x"} {
		if err := os.WriteFile(filepath.Join(mounted, name), []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	a, store, err := c.Build(t.Context(), "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	target := a.Targets[0].Target

	files := fstest.MapFS{"secrets.age": {Data: []byte("age-encryption.org/v1\n")}}
	_, err = target.Values(t.Context(), files, []string{"a", "b", "c"})
	want := "vars file secrets.age: the file is encrypted with age, and no identity is given to open it (add identity beside age, or age_identity to the target)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	files["secrets.age"].Data = []byte("d: in clear\n")
	_, err = target.Values(t.Context(), files, []string{"a"})
	want = "vars file secrets.age: the file is not encrypted with age (encrypt it; and since it is in the repository in clear, change the secrets in it)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	delete(files, "secrets.age")
	_, err = target.Values(t.Context(), files, []string{"a"})
	want = "vars file secrets.age: the file cannot be read from the source: file does not exist (the path begins at the root of the source)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	// Without the age file.
	target.Values = nil
	tt := c.Targets["shop-dev"]
	tt.SecretVars = tt.SecretVars[:2]
	if err := c.secretVars("shop-dev", tt, target); err != nil {
		t.Fatal(err)
	}
	got, err := target.Values(t.Context(), files, []string{"a", "b", "c", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]manifest.VarsFile{
		{Name: "environment SHOP_*", Data: []byte("\"a\": \"from the environment\"\n\"b\": \"from the environment\"\n"), Secret: true},
		{Name: "folder " + mounted, Data: []byte("\"b\": \"from the folder\"\n\"c\": \"from the folder\"\n"), Secret: true},
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
