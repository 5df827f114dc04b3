package encrypted

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// ageIntro is the first line of a binary age file (https://age-encryption.org/v1).
const ageIntro = "age-encryption.org/v1\n"

func isAge(data []byte) bool {
	return bytes.HasPrefix(data, []byte(ageIntro)) || bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header))
}

func (o Opener) age(name string, data []byte) ([]byte, error) {
	var key []byte
	if o.Identities != nil {
		var err error
		if key, err = o.Identities(); err != nil {
			return nil, problem(name, "the age identity cannot be read", o.IdentityHint, err)
		}
	}
	if len(bytes.TrimSpace(key)) == 0 {
		return nil, problem(name, "the file is encrypted with age, and no identity is given to open it", o.IdentityHint, nil)
	}
	identities, err := parseIdentities(key)
	if err != nil {
		return nil, problem(name, "the age identity cannot be used", o.IdentityHint, err)
	}
	var in io.Reader = bytes.NewReader(data)
	if !bytes.HasPrefix(data, []byte(ageIntro)) {
		in = armor.NewReader(bytes.NewReader(bytes.TrimSpace(data)))
	}
	plain, err := age.Decrypt(in, identities...)
	var noMatch *age.NoIdentityMatchError
	switch {
	case errors.As(err, &noMatch) && slices.Contains(noMatch.StanzaTypes, "scrypt"):
		return nil, problem(name, "the file is encrypted with a passphrase, which nobody is there to type", "encrypt it to the recipient of the identity: age -r RECIPIENT", nil)
	case errors.As(err, &noMatch):
		return nil, problem(name, "none of the age identities given can open the file", "encrypt it to their recipients too, or give another identity", nil)
	case err != nil:
		return nil, problem(name, "the age file is damaged", "encrypt it anew", err)
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxPlain+1))
	if err != nil {
		return nil, problem(name, "the age file is damaged", "encrypt it anew", err)
	}
	if len(text) > maxPlain {
		return nil, problem(name, fmt.Sprintf("the file holds more than %d MiB", maxPlain>>20), "", nil)
	}
	return text, nil
}

// parseIdentities reads an age identity file or an SSH private key. What it says of a mistake never repeats the text.
func parseIdentities(key []byte) ([]age.Identity, error) {
	switch {
	case isAge(key):
		return nil, errors.New("it is itself encrypted with a passphrase, which nobody is there to type; use one that is not")
	case bytes.Contains(key, []byte("-----BEGIN")):
		identity, err := agessh.ParseIdentity(append(bytes.TrimSpace(key), '\n'))
		var locked *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			return nil, errors.New("the SSH key has a passphrase, which nobody is there to type; use a key without one")
		case err != nil:
			return nil, errors.New("it is no SSH private key of type ed25519 or RSA")
		}
		return []age.Identity{identity}, nil
	}
	if strings.Contains(string(key), "AGE-PLUGIN-") {
		return nil, errors.New("it is an identity of an age plugin; only native age keys and SSH keys are supported")
	}
	identities, err := age.ParseIdentities(bytes.NewReader(key))
	if err != nil {
		return nil, errors.New("expected lines that begin with AGE-SECRET-KEY-1, as age-keygen writes them, or an SSH private key")
	}
	return identities, nil
}
