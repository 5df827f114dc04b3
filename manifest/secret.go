package manifest

import (
	"regexp"
	"strings"
)

var (
	secretName = regexp.MustCompile(`(?i)(passw(or)?d|passphrase|secret|token|credential|api[-_.]?key|private[-_.]?key|access[-_.]?key|signing[-_.]?key|encryption[-_.]?key|connection[-_.]?string|[-_.]pwd$|(^|[-_.])dsn$)|^apikey$`)
	// What betrays itself: a URL with a password in the userinfo (also without a user: redis://:pw@host), a
	// PEM private key, and the prefixes that well-known issuers give their tokens so that they are recognised.
	secretURL   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@?#]*:[^\s/@]+@`)
	secretPEM   = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)
	secretToken = regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{16}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.)`)
)

// LooksSecret guesses whether a value should never be shown: by the name it goes by (DB_PASSWORD, API_KEY, …)
// or by what it looks like (a URL with a password, a private key, a well-known kind of token). Maps and lists are
// secret when something inside of them is. Booleans, nothing and the empty text are never secret: they tell
// nobody anything.
func LooksSecret(key string, value any) bool {
	switch v := value.(type) {
	case nil, bool:
		return false
	case string:
		if v == "" || v == "true" || v == "false" {
			return false
		}
		return secretName.MatchString(key) || secretText(v)
	case []any:
		for _, e := range v {
			if LooksSecret(key, e) {
				return true
			}
		}
		return false
	case map[string]any:
		for k, e := range v {
			if LooksSecret(k, e) || LooksSecret(key, e) {
				return true
			}
		}
		return false
	}
	return secretName.MatchString(key)
}

func secretText(s string) bool {
	return strings.Contains(s, "://") && secretURL.MatchString(s) || strings.Contains(s, "-----BEGIN") && secretPEM.MatchString(s) || secretToken.MatchString(s)
}

var (
	sourcePair = regexp.MustCompile(`([A-Za-z0-9_.-]+)["']?\s*(?::\s+|=)`)
	sourceBlob = regexp.MustCompile(`^\s*[A-Za-z0-9+/=_-]{40,}\s*$`)
)

const masked = "****"

// MaskLine hides what looks secret in a line of text: of a manifest that is shown beside a problem, of a log. Columns before
// the secret stay where they are.
func MaskLine(line string) string {
	if sourceBlob.MatchString(line) || secretPEM.MatchString(line) { // inside of a key or a certificate
		return line[:len(line)-len(strings.TrimLeft(line, " \t"))] + masked
	}
	for _, m := range sourcePair.FindAllStringSubmatchIndex(line, -1) {
		value := strings.TrimSpace(line[m[1]:])
		if strings.HasPrefix(value, "((") && strings.HasSuffix(value, "))") || value == "true" || value == "false" {
			continue // the name of a variable is no secret
		}
		if value != "" && secretName.MatchString(line[m[2]:m[3]]) {
			return line[:m[1]] + masked
		}
	}
	if secretText(line) {
		line = secretURL.ReplaceAllStringFunc(line, func(u string) string {
			return u[:strings.LastIndexByte(u, ':')+1] + masked + "@"
		})
		line = secretToken.ReplaceAllString(line, masked)
	}
	return line
}

// SplitPassword takes the password out of a text that holds one URL with a password (“postgres://shop:PASSWORD@host/db”).
func SplitPassword(text string) (before, password, after string, ok bool) {
	found := secretURL.FindAllString(text, 2)
	if len(found) != 1 {
		return "", "", "", false
	}
	before, after, _ = strings.Cut(text, found[0])
	url := strings.TrimSuffix(found[0], "@")
	colon := strings.Index(url, "://") + len("://")
	colon += strings.IndexByte(url[colon:], ':') + 1
	return before + url[:colon], url[colon:], "@" + after, true
}
