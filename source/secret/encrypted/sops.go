package encrypted

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fettle-gitops/fettle/source/secret"
)

// sopsNoKey is the exit code of sops when none of its key services gave the file's key. It cannot tell a key that is
// missing from a service that is out of reach (github.com/getsops/sops, cmd/sops/codes).
const sopsNoKey = 128

var laterDocument = regexp.MustCompile(`\n---[ \t\r]*\n`)

func (o Opener) sops(ctx context.Context, name string, data []byte) ([]byte, error) {
	command := o.Command
	if command == "" {
		command = "sops"
	}
	binary, err := exec.LookPath(command)
	if err != nil {
		return nil, problem(name, "the file is encrypted with SOPS, and there is no sops to open it", "install sops (https://getsops.io) and put it on the PATH", err)
	}
	// JSON tells texts from numbers for certain, which YAML does only between programs that read the same YAML. It has
	// one document.
	format := inputType(name, data)
	if format == "yaml" && laterDocument.Match(data) {
		return nil, problem(name, "the file holds several YAML documents", "make it one document", nil)
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = time.Minute
	}
	limitedCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(limitedCtx, binary, "--decrypt", "--input-type", format, "--output-type", "json", "/dev/stdin")
	cmd.Stdin = bytes.NewReader(data)
	out, said := &limited{max: maxPlain}, &limited{max: 64 << 10}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = 5 * time.Second // a gpg-agent that sops has started may hold the pipe
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limitedCtx.Err() != nil:
		p := problem(name, fmt.Sprintf("sops gave no answer within %s", timeout), "look whether its key service can be reached", nil)
		p.Temporary = true
		return nil, p
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		p := problem(name, "sops cannot open the file", "", errors.New(harmless(said.String(), err)))
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == sopsNoKey {
			p.Hint, p.Temporary = "sops looks for keys in its own environment: SOPS_AGE_KEY_FILE, cloud credentials, a GPG agent", true
		}
		return nil, p
	case out.dropped:
		return nil, problem(name, fmt.Sprintf("the file holds more than %d MiB", maxPlain>>20), "", nil)
	}
	return fromJSON(name, data, out.Bytes())
}

// fromJSON turns what sops wrote into YAML in which each variable has the line that it has in the encrypted file, so that
// messages about it point there.
func fromJSON(name string, sealed, opened []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(opened))
	decoder.UseNumber()
	var values secret.Variables
	if err := decoder.Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, problem(name, "expected a map of variables to values in the opened file", "", nil)
	}
	at := linesOf(sealed)
	keys := slices.SortedFunc(maps.Keys(values), func(a, b string) int { return cmp.Or(cmp.Compare(at[a], at[b]), cmp.Compare(a, b)) })
	var doc bytes.Buffer
	line := 1
	for _, key := range keys {
		entry, err := secret.Document(secret.Variables{key: values[key]})
		if err != nil {
			return nil, problem(name, "the opened file cannot be used", "", err)
		}
		for ; line < at[key]; line++ {
			doc.WriteByte('\n')
		}
		doc.Write(entry)
		line += bytes.Count(entry, []byte("\n"))
	}
	return doc.Bytes(), nil
}

// topKey is a key at the top of a file as sops writes it: YAML at the left margin, JSON after one tab, dotenv before =.
var topKey = regexp.MustCompile(`(?m)^(?:\t?"([^"\\]+)"|'([^']+)'|([^\s"'#{}=:][^\s=:]*))[:=]`)

// linesOf finds the lines of the keys. A key that it does not find comes first in the document, which is no harm.
func linesOf(sealed []byte) map[string]int {
	at := map[string]int{}
	line, from := 1, 0
	for _, m := range topKey.FindAllSubmatchIndex(sealed, -1) {
		line += bytes.Count(sealed[from:m[0]], []byte("\n"))
		from = m[0]
		for i := 2; i < len(m); i += 2 {
			if m[i] >= 0 {
				at[string(sealed[m[i]:m[i+1]])] = line
			}
		}
	}
	return at
}

// inputType is what sops calls the format of the file, which it cannot see on a pipe.
func inputType(name string, data []byte) string {
	switch {
	case sopsDotenv.Match(data):
		return "dotenv"
	case path.Ext(name) == ".json" || bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return "json"
	}
	return "yaml"
}

// What sops may say that helps an attacker: keys, and the digest of all values ("computed …" after a mismatch), with which
// guesses could be tried.
var (
	keyMaterial = regexp.MustCompile(`AGE-SECRET-KEY-[0-9A-Z-]+|(?s)-----BEGIN.*?(-----END[^\n]*|$)`)
	digest      = regexp.MustCompile(`\b[0-9A-Fa-f]{40,}\b`)
	credential  = regexp.MustCompile(`(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIALS)`)
)

// harmless is the end of what sops said, without credentials and control characters.
func harmless(said string, err error) string {
	said = keyMaterial.ReplaceAllString(said, "****")
	for _, pair := range os.Environ() {
		// A path to a key file is no secret, and helps.
		if name, value, _ := strings.Cut(pair, "="); credential.MatchString(name) && len(value) >= 6 && !strings.HasSuffix(name, "_FILE") && !strings.HasPrefix(value, "/") {
			said = strings.ReplaceAll(said, value, "****")
		}
	}
	said = digest.ReplaceAllStringFunc(said, func(hex string) string {
		if len(hex) == 40 { // the fingerprint of a PGP key
			return hex
		}
		return "****"
	})
	said = strings.ReplaceAll(said, "/dev/stdin", "the file")
	words := strings.FieldsFunc(said, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '|' })
	said = strings.ToValidUTF8(strings.Join(words, " "), "")
	if said == "" {
		return err.Error()
	}
	const most = 1000
	if r := []rune(said); len(r) > most {
		said = string(r[:most]) + "…"
	}
	return said
}
