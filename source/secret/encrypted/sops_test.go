package encrypted_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/encrypted"
)

// sops encrypts with the real program, to a key in a file that SOPS_AGE_KEY_FILE names.
func sops(t *testing.T, file, content string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("sops"); err != nil {
		t.Skip("there is no sops on the PATH: go install github.com/getsops/sops/v3/cmd/sops@latest")
	}
	identity := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	dir := t.TempDir()
	key, plain := filepath.Join(dir, "key.txt"), filepath.Join(dir, file)
	for name, text := range map[string]string{key: identity.String(), plain: content} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOPS_AGE_KEY_FILE", key)
	cmd := exec.CommandContext(t.Context(), "sops", append(append([]string{"--encrypt", "--age", identity.Recipient().String()}, args...), plain)...)
	cmd.Stderr = os.Stderr
	return must[[]byte](t)(cmd.Output())
}

func TestSOPS(t *testing.T) {
	const yamlVars = "# comment\ndb: {password: \"012\", port: 5432}\nodd: [\"12:30\", \"1,000\", \"yes\", 1.5, true, null]\nkey: |\n  one\n  two\n"
	values := map[string]any{
		"db": map[string]any{"password": "012", "port": int64(5432)}, "odd": []any{"12:30", "1,000", "yes", 1.5, true, nil}, "key": "one\ntwo\n",
	}
	for _, c := range []struct {
		name, file, content string
		args                []string
		want                any
	}{
		{"YAML", "s.yml", yamlVars, nil, values},
		{"JSON", "s.json", `{"db": {"password": "012", "port": 5432}}`, nil, map[string]any{"db": map[string]any{"password": "012", "port": int64(5432)}}},
		{"JSON in a file that says YAML", "s.yml", yamlVars, []string{"--output-type", "json"}, values},
		{"dotenv", "s.env", "PASSWORD=012 \"x\"\nEMPTY=\n", nil, map[string]any{"PASSWORD": `012 "x"`, "EMPTY": ""}},
		{"partly encrypted", "s.yml", "host: shop\nsecret_key: x\n", []string{"--encrypted-regex", "^secret_"}, map[string]any{"host": "shop", "secret_key": "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := sops(t, c.file, c.content, c.args...)
			if is := encrypted.Detect(data); is != encrypted.SOPS {
				t.Fatalf("detected as %q:\n%s", is, data)
			}
			plain, was, err := encrypted.Opener{}.Open(t.Context(), c.file, data)
			if err != nil || !was {
				t.Fatal(was, err)
			}
			nodes, problems := manifest.ParseYAML(c.file, plain)
			if problems.Err() != nil || len(nodes) != 1 {
				t.Fatal(problems.Text())
			}
			if diff := cmp.Diff(c.want, manifest.Value(nodes[0])); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestLines: a message about a variable points at the line of the file in Git. The values are those of a program that takes the
// place of sops, so that this holds on every machine.
func TestLines(t *testing.T) {
	const sealedYAML = "# comment\n\nb:\n    c: ENC[AES256_GCM,data:A]\n'quoted': ENC[AES256_GCM,data:A]\n\n\na: ENC[AES256_GCM,data:A]\nsops:\n    mac: ENC[AES256_GCM,data:A]\n"
	const sealedJSON = "{\n\t\"b\": {\n\t\t\"c\": \"ENC[AES256_GCM,data:A]\"\n\t},\n\t\"quoted\": \"ENC[AES256_GCM,data:A]\",\n\n\n\t\"a\": \"ENC[AES256_GCM,data:A]\",\n\t\"sops\": {\"mac\": \"ENC[AES256_GCM,data:A]\"}\n}\n"
	const sealedDotenv = "#ENC[x]\n\nb=ENC[AES256_GCM,data:A]\n\nquoted=ENC[AES256_GCM,data:A]\n\n\na=ENC[AES256_GCM,data:A]\nsops_mac=ENC[AES256_GCM,data:A]\n"
	o := encrypted.Opener{Command: stand(t, `printf '%s' '{"a": "1\n2", "b": {"c": [1, "x"]}, "quoted": true}'`)}
	for sealed, lines := range map[string]map[string]int{
		sealedYAML: {"b": 3, "quoted": 5, "a": 8}, sealedJSON: {"b": 2, "quoted": 5, "a": 8}, sealedDotenv: {"b": 3, "quoted": 5, "a": 8},
	} {
		plain, _, err := o.Open(t.Context(), "s", []byte(sealed))
		if err != nil {
			t.Fatal(err)
		}
		nodes, problems := manifest.ParseYAML("s", plain)
		if problems.Err() != nil || len(nodes) != 1 {
			t.Fatal(problems.Text())
		}
		got := map[string]int{}
		for i := 0; i < len(nodes[0].Content); i += 2 {
			got[nodes[0].Content[i].Value] = nodes[0].Content[i].Line
		}
		if diff := cmp.Diff(lines, got); diff != "" {
			t.Errorf("lines (-want +got)\n%s\n%s", diff, sealed)
		}
		want := map[string]any{"a": "1\n2", "b": map[string]any{"c": []any{int64(1), "x"}}, "quoted": true}
		if diff := cmp.Diff(any(want), manifest.Value(nodes[0])); diff != "" {
			t.Errorf("values (-want +got)\n%s", diff)
		}
	}
}

// TestSOPSMistakes lets the real sops fail: without the key, with a file that was changed.
func TestSOPSMistakes(t *testing.T) {
	data := sops(t, "s.yml", "a: hunter2\nb: x\n")

	changed := strings.Replace(string(data), "\nb: ENC", "\nB: ENC", 1)
	_, _, err := encrypted.Opener{}.Open(t.Context(), "s.yml", []byte(changed))
	var typed *secret.Error
	if !errors.As(err, &typed) || typed.Retryable() || !strings.Contains(err.Error(), "vars file s.yml: sops cannot open the file: ") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a changed file: %v", err)
	}
	t.Log(err)

	t.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(t.TempDir(), "none"))
	_, _, err = encrypted.Opener{}.Open(t.Context(), "s.yml", data)
	if !errors.As(err, &typed) || !typed.Retryable() || !strings.Contains(err.Error(), "SOPS_AGE_KEY_FILE") {
		t.Errorf("without the key: %v", err)
	}
	t.Log(err)
}

// A file as sops writes it, for tests that need no sops.
const sopsFile = "password: ENC[AES256_GCM,data:hunter2,type:str]\nsops:\n    mac: ENC[AES256_GCM,data:AAAA,type:str]\n"

// stand makes a program that takes the place of sops and does what the script says: what the real one does only when its
// key service is in trouble.
func stand(t *testing.T, script string) string {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh")
	}
	file := filepath.Join(t.TempDir(), "sops")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWhenSOPSFails(t *testing.T) {
	t.Setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-1QQQQQQ")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "aws-hunter2")
	for _, c := range []struct {
		name, script, err string
		again             bool
	}{
		{"not installed", "", "vars file s.yml: the file is encrypted with SOPS, and there is no sops to open it: exec: \"/nowhere/sops\": stat /nowhere/sops: no such file or directory (install sops (https://getsops.io) and put it on the PATH)", false},
		{"no key", "echo 'Group 0: FAILED\n  - | arn:aws:kms:x: denied' >&2; exit 128", "vars file s.yml: sops cannot open the file: Group 0: FAILED - arn:aws:kms:x: denied (sops looks for keys in its own environment: SOPS_AGE_KEY_FILE, cloud credentials, a GPG agent)", true},
		{
			"says too much",
			`printf 'bad %s and %s, \033[31mcomputed 2186548931D0FC7504327E5C579B4A83BB4F5C515EBB3279B54C38C882D8339C\033[0m in /dev/stdin' "$SOPS_AGE_KEY" "$AWS_SECRET_ACCESS_KEY" >&2; exit 51`,
			"vars file s.yml: sops cannot open the file: bad **** and ****, [31mcomputed **** [0m in the file", false,
		},
		{"says nothing", "exit 3", "vars file s.yml: sops cannot open the file: exit status 3", false},
		{"answers with something else", "echo 1", "vars file s.yml: expected a map of variables to values in the opened file", false},
		{"hangs", "exec sleep 600", "vars file s.yml: sops gave no answer within 200ms (look whether its key service can be reached)", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := encrypted.Opener{Command: "/nowhere/sops", Timeout: time.Minute}
			if c.script != "" {
				o.Command = stand(t, c.script)
			}
			if c.name == "hangs" {
				o.Timeout = 200 * time.Millisecond
			}
			_, _, err := o.Open(t.Context(), "s.yml", []byte(sopsFile))
			var typed *secret.Error
			if !errors.As(err, &typed) || err.Error() != c.err || typed.Retryable() != c.again {
				t.Errorf("got  %v (again: %v)\nwant %s", err, typed.Retryable(), c.err)
			}
		})
	}
	t.Run("told to stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := (encrypted.Opener{Command: stand(t, "cat")}).Open(ctx, "s.yml", []byte(sopsFile)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("several documents", func(t *testing.T) {
		_, _, err := encrypted.Opener{Command: stand(t, "cat")}.Open(t.Context(), "s.yml", []byte("a: 1\n---\n"+sopsFile))
		if err == nil || err.Error() != "vars file s.yml: the file holds several YAML documents (make it one document)" {
			t.Errorf("got %v", err)
		}
	})
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       encrypted.Format
	}{
		{"plain", "a: 1\n", encrypted.None},
		{"empty", "", encrypted.None},
		{"YAML", sopsFile, encrypted.SOPS},
		{"JSON on one line", `{"a":"ENC[x]","sops":{"mac":"ENC[AES256_GCM,data:A]"}}`, encrypted.SOPS},
		{"dotenv", "A=ENC[x]\nsops_mac=ENC[AES256_GCM,data:A]\n", encrypted.SOPS},
		{"a variable with that name", "sops: installed\nmac: \"00:00\"\n", encrypted.None},
		{"a text about it", "doc: |\n  sops:\n    mac: ENC[x]\n", encrypted.None},
		{"age", "age-encryption.org/v1\n-> X25519 x\n", encrypted.Age},
		{"armored age", "-----BEGIN AGE ENCRYPTED FILE-----\n", encrypted.Age},
		{"a text about age", "doc: |\n  -----BEGIN AGE ENCRYPTED FILE-----\n", encrypted.None},
	} {
		if got := encrypted.Detect([]byte(c.data)); got != c.want {
			t.Errorf("%s: got %q, expected %q", c.name, got, c.want)
		}
	}
	plain, was, err := encrypted.Opener{}.Open(t.Context(), "a.yml", []byte("a: 1\n"))
	if string(plain) != "a: 1\n" || was || err != nil {
		t.Errorf("what is not encrypted is left as it is: %q, %v, %v", plain, was, err)
	}
}
