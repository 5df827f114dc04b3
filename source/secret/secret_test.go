package secret_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/source/secret"
)

// read is the document as manifests read it: as YAML 1.1.
func read(t interface{ Fatal(...any) }, doc []byte) any {
	nodes, problems := manifest.ParseYAML("secrets", doc)
	if problems.Err() != nil || len(nodes) != 1 {
		t.Fatal("the document is not read: ", problems.Text(), "\n", string(doc))
	}
	return manifest.Value(nodes[0])
}

// TestTextsStayTexts: what looks like something else in YAML 1.1 is the favourite of password generators.
func TestTextsStayTexts(t *testing.T) {
	texts := []any{
		"012", "0x1F", "1e3", "1,000", "12:30", "yes", "off", "null", "~", "", " ", "2020-01-02", "((x))", "a: b", "# no comment", "-", "@x", "%x",
		"two\nlines\n", "tab\tand\rreturn", "\u0085\u2028\ufeff\u007f\u0000", "😀", `back\slash "quote"`, "-----BEGIN RSA PRIVATE KEY-----\nMII=\n-----END RSA PRIVATE KEY-----\n",
	}
	doc, err := secret.Document(secret.Variables{"texts": texts, "y": "n"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"texts": texts, "y": "n"}
	if diff := cmp.Diff(any(want), read(t, doc)); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, doc)
	}
}

// TestEveryTextStaysItself is the same for texts that nobody thought of.
func TestEveryTextStaysItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, value := rapid.String().Draw(t, "key"), rapid.String().Draw(t, "value")
		doc, err := secret.Document(secret.Variables{key: value})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(any(map[string]any{key: value}), read(t, doc)); diff != "" {
			t.Fatalf("(-want +got)\n%s\n%s", diff, doc)
		}
	})
}

func TestNumbersAndTheRest(t *testing.T) {
	doc, err := secret.Document(secret.Variables{
		"int": json.Number("5432"), "negative": json.Number("-1"), "long": json.Number("12345678901234567890"),
		"fraction": json.Number("1.5"), "power": json.Number("1e3"), "yes": true, "nothing": nil, "map": map[string]any{"list": []any{json.Number("1"), "a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"int": int64(5432), "negative": int64(-1), "fraction": 1.5, "power": 1000.0, "yes": true, "nothing": nil, "map": map[string]any{"list": []any{int64(1), "a"}},
	}
	got := read(t, doc).(map[string]any)
	delete(got, "long") // the manifest decides what becomes of more digits than a number has
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestBytesThatAreNoText(t *testing.T) {
	_, err := secret.Document(secret.Variables{"db": map[string]any{"key": "hunter2\xff"}})
	if err == nil || !strings.Contains(err.Error(), "the value of db.key holds bytes that are no text") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestEnv(t *testing.T) {
	world := map[string]string{
		"FETTLE_VAR_exact": "1", "FETTLE_VAR_DB_PASSWORD": "012", "FETTLE_VAR_EMPTY": "", "OTHER": "x", "MAPPED": "y", "FETTLE_VAR_unasked": "z",
	}
	env := secret.Env{Prefix: secret.DefaultEnvPrefix, Names: map[string]string{"mapped": "MAPPED", "gone": "GONE"}, Getenv: func(name string) string { return world[name] }}
	got, err := env.Lookup(t.Context(), []string{"exact", "db-password", "empty", "other", "mapped", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(secret.Variables{"exact": "1", "db-password": "012", "mapped": "y"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	_, err = env.Lookup(t.Context(), []string{"gone"})
	want := "environment FETTLE_VAR_*: the variable gone is to come from GONE, which is not set (set GONE where fettle runs)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestDir reads a folder made the way Kubernetes mounts a Secret: each name is a symlink into a hidden folder, and that one is
// behind a symlink which is swapped when the Secret changes.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	write := func(version, name, value string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, version, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"password": "012\n", "lines": "one\ntwo\n\n", "tls.crt": "CERT", "tls.key": "KEY", "db.user.name": "u", "empty": "", "unasked": "x", "windows": "w\r\n",
	} {
		write("..2026_01", name, value)
		link("..data/"+name, name)
	}
	link("..2026_01", "..data")
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}

	d := secret.Dir{Path: dir}
	names := []string{"password", "lines", "tls", "db", "empty", "folder", "absent", "windows", "..", ""}
	got, err := d.Lookup(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	want := secret.Variables{
		"password": "012", "lines": "one\ntwo\n", "empty": "", "windows": "w",
		"tls": map[string]any{"crt": "CERT", "key": "KEY"}, "db": map[string]any{"user": map[string]any{"name": "u"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	// The Secret is rotated.
	write("..2026_02", "password", "013")
	if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	link("..2026_02", "..data")
	if got, err = d.Lookup(t.Context(), []string{"password"}); err != nil || got["password"] != "013" {
		t.Errorf("after the rotation: %v, %v", got, err)
	}

	// tls.crt now leads nowhere, and password has a double.
	if _, err = d.Lookup(t.Context(), []string{"tls"}); err == nil || !strings.Contains(err.Error(), "the file tls.crt cannot be read") {
		t.Errorf("a file that is gone: %v", err)
	}
	write("", "password.old", "hunter2")
	if _, err = d.Lookup(t.Context(), []string{"password"}); err == nil || !strings.Contains(err.Error(), "the file password.old stands beside") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("two meanings: %v", err)
	}
	write("", "large", strings.Repeat("x", 1<<20+1))
	if _, err = d.Lookup(t.Context(), []string{"large"}); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("too large: %v", err)
	}
	if _, err = (secret.Dir{Path: filepath.Join(dir, "nowhere")}).Lookup(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("no folder: %v", err)
	}
}
