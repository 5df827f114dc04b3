// Package encrypted opens vars files that lie in Git encrypted: by SOPS or by age. It sees by itself which of them, if
// any, a file is, so that an encrypted file is listed among the vars files like any other.
//
// A SOPS file (YAML, JSON or dotenv, whatever keys it is encrypted to) is opened by the sops that is on the PATH, with the
// environment that fettle has: keys are found where sops finds them (SOPS_AGE_KEY_FILE, AWS_PROFILE, a GPG agent …).
// The file goes to sops through a pipe and its content comes back through another.
//
// An age file (armored or binary) is opened here, with identities that somebody hands over: native keys and SSH keys
// without a passphrase.
//
// What this package never does: write anything to a disk, encrypt, or repeat in an error what was in a file.
package encrypted

import (
	"bytes"
	"context"
	"regexp"
	"time"

	"github.com/fettle-gitops/fettle/source/secret"
)

// Format is how a file is encrypted.
type Format string

// The formats.
const (
	None Format = ""
	SOPS Format = "sops"
	Age  Format = "age"
)

// What sops writes into every file that it encrypts is a mapping "sops" with the encrypted "mac" of all values. In a
// YAML file it stands at the left margin, in JSON anywhere, in dotenv the two are one key.
var (
	sopsYAML   = regexp.MustCompile(`(?m)^["']?sops["']?:`)
	sopsJSON   = regexp.MustCompile(`^\s*\{[^\x00]*"sops"\s*:`)
	sopsMac    = regexp.MustCompile(`["']?\bmac["']?\s*:\s*["']?ENC\[`)
	sopsDotenv = regexp.MustCompile(`(?m)^sops_mac=["']?ENC\[`)
)

// Detect says how a file is encrypted, by looking at it.
func Detect(data []byte) Format {
	switch {
	case isAge(data):
		return Age
	case (sopsYAML.Match(data) || sopsJSON.Match(data)) && sopsMac.Match(data), sopsDotenv.Match(data):
		return SOPS
	}
	return None
}

// Opener opens encrypted files. The zero Opener opens SOPS files, and no age file.
type Opener struct {
	// Identities gives the text of an age identity file or of an SSH private key; nil when there is none. It is asked
	// only when there is an age file to open.
	Identities func() ([]byte, error)
	// IdentityHint says in errors where an identity is to be set.
	IdentityHint string

	Command string        // the sops to run; "sops" if empty
	Timeout time.Duration // of one sops; a minute if 0
}

// maxPlain is the size up to which a file is opened. It is the size up to which a manifest is read.
const maxPlain = 10 << 20

// Open returns the YAML of the file, and whether it was encrypted. A file that is not encrypted is returned as it is. Errors
// are *secret.Error.
func (o Opener) Open(ctx context.Context, name string, data []byte) (plain []byte, was bool, err error) {
	switch Detect(data) {
	case SOPS:
		plain, err = o.sops(ctx, name, data)
	case Age:
		plain, err = o.age(name, data)
	default:
		return data, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	return plain, true, nil
}

// problem is the error for the file name.
func problem(name, message, hint string, err error) *secret.Error {
	return &secret.Error{Place: "vars file " + name, Message: message, Hint: hint, Err: err}
}

// limited is a buffer that refuses to grow beyond max.
type limited struct {
	bytes.Buffer
	max     int
	dropped bool
}

// Write drops what is too much, so that the process on the other end goes on to its own end.
func (l *limited) Write(p []byte) (int, error) {
	room := l.max - l.Len()
	if len(p) > room {
		l.dropped = true
		l.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return l.Buffer.Write(p)
}
