package uaa

import (
	"crypto/rand"
	"encoding/hex"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// JWTBearer is the grant of RFC 7523: a signed assertion instead of a password.
const JWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// codeTTL is how long a temporary authentication code can be used, once.
const codeTTL = 5 * time.Minute

// newCode makes a code that stands for a user.
func (s *Server) newCode(user string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	code := hex.EncodeToString(b[:])
	s.codesMu.Lock()
	defer s.codesMu.Unlock()
	if s.codes == nil {
		s.codes = map[string]temporary{}
	}
	for c, t := range s.codes { // whoever asks for one clears away what is over
		if s.Now().After(t.until) {
			delete(s.codes, c)
		}
	}
	s.codes[code] = temporary{user: user, until: s.Now().Add(codeTTL)}
	return code
}

type temporary struct {
	user  string
	until time.Time
}

// takeCode is the user for whom a code stands; it is used up by that.
func (s *Server) takeCode(code string) *world.User {
	s.codesMu.Lock()
	t, ok := s.codes[code]
	delete(s.codes, code)
	s.codesMu.Unlock()
	if !ok || s.Now().After(t.until) {
		return nil
	}
	return s.userBy(func(u *world.User) bool { return u.GUID == t.user })
}

// passcode shows a temporary authentication code to who logs in with a name and a password (cf login --sso sends people
// here; their browser asks for both).
func (s *Server) passcode(w http.ResponseWriter, r *http.Request) {
	name, password, _ := r.BasicAuth()
	u := s.userBy(func(u *world.User) bool {
		return strings.EqualFold(u.Username, name) && u.Password != "" && u.Password == password
	})
	if u == nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="the sandbox"`)
		refuse(w, http.StatusUnauthorized, "unauthorized", "Log in with the name and the password of a user")
		return
	}
	code := s.newCode(u.GUID)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		reply(w, http.StatusOK, tree.O("passcode", code))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!doctype html><title>Temporary Authentication Code</title><h1>Temporary Authentication Code</h1><p>" +
		html.EscapeString(u.Username) + ", your code is <code>" + code + "</code>; it can be used once within five minutes.</p>\n"))
}

func (s *Server) passcodeGrant(w http.ResponseWriter, r *http.Request, client *world.Client, code string) {
	u := s.takeCode(code)
	if u == nil {
		refuse(w, http.StatusUnauthorized, "unauthorized", "Invalid passcode")
		return
	}
	s.grant(w, r, client, u, "password")
}

// assertionGrant takes a token that this server has signed, for want of another identity provider that it could trust.
func (s *Server) assertionGrant(w http.ResponseWriter, r *http.Request, client *world.Client) {
	c, err := s.parse(r.Form.Get("assertion"))
	if err != nil || c.Refresh {
		refuse(w, http.StatusUnauthorized, "invalid_grant", "The assertion is no valid token of this server")
		return
	}
	u := s.userBy(func(u *world.User) bool { return u.GUID == c.UserID && c.UserID != "" })
	if u == nil {
		refuse(w, http.StatusUnauthorized, "invalid_grant", "The assertion names no user")
		return
	}
	s.grant(w, r, client, u, JWTBearer)
}

// authorizeCode gives a code to the bearer of a token, as cf ssh-code asks for.
func (s *Server) authorizeCode(w http.ResponseWriter, r *http.Request) {
	c, err := s.parse(bearer(r))
	if err != nil || c.UserID == "" {
		refuse(w, http.StatusUnauthorized, "unauthorized", "Full authentication is required to access this resource")
		return
	}
	q := url.Values{"code": {s.newCode(c.UserID)}}
	http.Redirect(w, r, cc.BaseURL(r)+s.Path+"/login?"+q.Encode(), http.StatusFound)
}
