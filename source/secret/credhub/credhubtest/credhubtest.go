// Package credhubtest is a small CredHub for tests, with the account server (UAA) that it names: reading credentials by name with
// a token or a client certificate, answering as https://docs.cloudfoundry.org/api/credhub says for what package credhub asks. It
// is written from that documentation, not from package credhub, and keeps everything in memory.
package credhubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Server is the handler of both. Fill its fields before the first request; the methods may be called at any time.
type Server struct {
	UAA          string                // address of the account server; this server itself, under /uaa, if empty
	ClientID     string                // of the one client; if empty, a client certificate is asked for
	ClientSecret string                // its secret
	Credentials  map[string]Credential // by name, such as /shop/db-password
	Folder       string                // that the client may read; everything if empty

	mu       sync.Mutex
	requests []string
	tokens   map[string]bool
	issued   int
	trouble  []int
}

// Credential is one credential; its value is a string or a map, as its type has it.
type Credential struct {
	Type  string
	Value any
}

// Fail lets the next request fail with a status.
func (s *Server) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = append(s.trouble, status)
}

// Revoke ends all tokens.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = nil
}

// Requests lists what was asked, as "GET /info".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	if len(s.trouble) > 0 {
		status := s.trouble[0]
		s.trouble = s.trouble[1:]
		w.Header().Set("Retry-After", "0")
		answer(w, status, map[string]any{"error": "An application error occurred."})
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /info":
		uaa := s.UAA
		if uaa == "" {
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			uaa = scheme + "://" + r.Host + "/uaa"
		}
		answer(w, http.StatusOK, map[string]any{"auth-server": map[string]any{"url": uaa}, "app": map[string]any{"name": "CredHub"}})
	case "POST /uaa/oauth/token":
		s.token(w, r)
	case "GET /api/v1/data":
		s.data(w, r)
	default:
		answer(w, http.StatusNotFound, map[string]any{"error": "Not Found"})
	}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth() // both are form-encoded first (RFC 6749 section 2.3.1)
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if r.FormValue("grant_type") != "client_credentials" || s.ClientID == "" || id != s.ClientID || secret != s.ClientSecret {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "unauthorized", "error_description": "Bad credentials"})
		return
	}
	s.issued++
	token := fmt.Sprintf("token-%d", s.issued)
	if s.tokens == nil {
		s.tokens = map[string]bool{}
	}
	s.tokens[token] = true
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "bearer", "expires_in": 3600, "scope": "credhub.read", "jti": "j"})
}

func (s *Server) data(w http.ResponseWriter, r *http.Request) {
	if s.ClientID == "" {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			answer(w, http.StatusUnauthorized, map[string]any{"error": "unauthorized", "error_description": "Full authentication is required to access this resource"})
			return
		}
	} else if !s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token", "error_description": "The request token has expired or is not valid."})
		return
	}
	name := r.URL.Query().Get("name")
	c, ok := s.Credentials[name]
	if !ok || !strings.HasPrefix(name, s.Folder) {
		answer(w, http.StatusNotFound, map[string]any{"error": "The request could not be completed because the credential does not exist or you do not have sufficient authorization."})
		return
	}
	current := map[string]any{"type": c.Type, "version_created_at": "2026-01-02T03:04:05Z", "id": "i", "name": name, "metadata": nil, "value": c.Value}
	versions := []any{current}
	if r.URL.Query().Get("current") != "true" { // all versions are shown, newest first
		versions = append(versions, map[string]any{"type": c.Type, "version_created_at": "2025-01-02T03:04:05Z", "id": "h", "name": name, "value": "an old value"})
	}
	answer(w, http.StatusOK, map[string]any{"data": versions})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
