package encrypted_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"

	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/encrypted"
)

const plainVars = "db:\n  password: hunter2\n"

func seal(t *testing.T, armored bool, to ...age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = nopCloser{&out}
	if armored {
		w = armor.NewWriter(&out)
	}
	in, err := age.Encrypt(w, to...)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { _, err := io.WriteString(in, plainVars); return err }, in.Close, w.Close,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// sshKey makes a key pair, of which the private part may have a passphrase.
func sshKey(t *testing.T, key any, passphrase string) (private string, to age.Recipient) {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if to, err = agessh.ParseRecipient(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), to
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestAge(t *testing.T) {
	native := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	hybrid := must[*age.HybridIdentity](t)(age.GenerateHybridIdentity())
	other := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	passphrase := must[*age.ScryptRecipient](t)(age.NewScryptRecipient("hunter3"))
	passphrase.SetWorkFactor(10)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edKey, edTo := sshKey(t, ed, "")
	rsaKey, rsaTo := sshKey(t, must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)), "")
	lockedKey, lockedTo := sshKey(t, ed, "hunter3")
	file := seal(t, true, native.Recipient())

	for _, c := range []struct {
		name     string
		file     []byte
		identity string
		err      string // "" for success
	}{
		{name: "armored", file: file, identity: native.String()},
		{name: "binary", file: seal(t, false, native.Recipient()), identity: "# created: today\n" + native.String() + "\n"},
		{name: "armored, with empty lines around and Windows newlines", file: []byte("\n" + strings.ReplaceAll(string(file), "\n", "\r\n") + "\n"), identity: native.String()},
		{name: "one of several identities", file: file, identity: other.String() + "\n" + native.String()},
		{name: "one of several recipients", file: seal(t, true, other.Recipient(), native.Recipient()), identity: native.String()},
		{name: "a hybrid key", file: seal(t, true, hybrid.Recipient()), identity: hybrid.String()},
		{name: "an SSH key, ed25519", file: seal(t, true, edTo), identity: edKey},
		{name: "an SSH key, RSA, without its last newline", file: seal(t, true, rsaTo), identity: strings.TrimSpace(rsaKey)},

		{name: "no identity", file: file, err: "vars file s.yml.age: the file is encrypted with age, and no identity is given to open it (name it with --age-identity FILE)"},
		{name: "another identity", file: file, identity: other.String(), err: "vars file s.yml.age: none of the age identities given can open the file (encrypt it to their recipients too, or give another identity)"},
		{name: "a passphrase", file: seal(t, true, passphrase), identity: native.String(), err: "vars file s.yml.age: the file is encrypted with a passphrase, which nobody is there to type (encrypt it to the recipient of the identity: age -r RECIPIENT)"},
		{name: "an SSH key with a passphrase", file: seal(t, true, lockedTo), identity: lockedKey, err: "vars file s.yml.age: the age identity cannot be used: the SSH key has a passphrase, which nobody is there to type; use a key without one (name it with --age-identity FILE)"},
		{name: "an identity with a passphrase", file: file, identity: string(seal(t, true, passphrase)), err: "vars file s.yml.age: the age identity cannot be used: it is itself encrypted with a passphrase, which nobody is there to type; use one that is not (name it with --age-identity FILE)"},
		{name: "a broken identity", file: file, identity: strings.Replace(native.String(), "1", "2", 1), err: "vars file s.yml.age: the age identity cannot be used: expected lines that begin with AGE-SECRET-KEY-1, as age-keygen writes them, or an SSH private key (name it with --age-identity FILE)"},
		{name: "a plugin", file: file, identity: "AGE-PLUGIN-YUBIKEY-1QQ", err: "vars file s.yml.age: the age identity cannot be used: it is an identity of an age plugin; only native age keys and SSH keys are supported (name it with --age-identity FILE)"},
		{name: "another kind of key", file: file, identity: "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", err: "vars file s.yml.age: the age identity cannot be used: it is no SSH private key of type ed25519 or RSA (name it with --age-identity FILE)"},
		{name: "cut short", file: seal(t, false, native.Recipient())[:230], identity: native.String(), err: "vars file s.yml.age: the age file is damaged: failed to decrypt and authenticate payload chunk, file may be corrupted or tampered with (encrypt it anew)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if is := encrypted.Detect(c.file); is != encrypted.Age {
				t.Fatalf("detected as %q", is)
			}
			o := encrypted.Opener{IdentityHint: "name it with --age-identity FILE"}
			if c.identity != "" {
				o.Identities = func() ([]byte, error) { return []byte(c.identity), nil }
			}
			plain, was, err := o.Open(t.Context(), "s.yml.age", c.file)
			if !was {
				t.Error("it was encrypted")
			}
			if c.err == "" {
				if err != nil || string(plain) != plainVars {
					t.Errorf("got %q, %v", plain, err)
				}
				return
			}
			if err == nil || err.Error() != c.err {
				t.Errorf("got  %v\nwant %s", err, c.err)
			}
			var typed *secret.Error
			if plain != nil || !errors.As(err, &typed) || typed.Retryable() {
				t.Errorf("got %q, %#v", plain, err)
			}
		})
	}
}

func TestAgeIdentityThatCannotBeRead(t *testing.T) {
	file := seal(t, true, must[*age.X25519Identity](t)(age.GenerateX25519Identity()).Recipient())
	o := encrypted.Opener{IdentityHint: "set age_identity", Identities: func() ([]byte, error) { return nil, errors.New("the environment variable AGE is not set") }}
	_, _, err := o.Open(t.Context(), "s.age", file)
	if want := "vars file s.age: the age identity cannot be read: the environment variable AGE is not set (set age_identity)"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
