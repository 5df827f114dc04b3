// Package vaulttest is a small Vault for tests: a KV engine of version 2, tokens, AppRole and namespaces, answering as
// https://developer.hashicorp.com/vault/api-docs says for what package vault asks. It is written from that documentation, not
// from package vault, and keeps everything in memory.
package vaulttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Server is the handler. Fill its fields before the first request; the methods may be called at any time.
type Server struct {
	Mount     string                    // of the KV engine, "secret" if empty
	Namespace string                    // that requests must name, if any
	Secrets   map[string]map[string]any // newest version by path
	Deleted   map[string]bool           // paths whose newest version is deleted
	Tokens    map[string]string         // token → the path, or the folder with a / at its end, that it may read
	RoleID    string                    // of the one AppRole
	SecretID  string
	TokenUses int // how often a token of the AppRole can be used; 0 is without end

	mu       sync.Mutex
	requests []string
	trouble  []trouble
	issued   int
	uses     map[string]int
}

type trouble struct {
	status int
	header http.Header
}

// Fail lets the next request fail with a status, such as 503 of a Vault that is sealed.
func (s *Server) Fail(status int, header http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = append(s.trouble, trouble{status, header})
}

// Revoke ends all tokens of the AppRole.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses = nil
}

// Requests lists what was asked, as "GET /v1/…".
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
		t := s.trouble[0]
		s.trouble = s.trouble[1:]
		for key, values := range t.header {
			w.Header()[key] = values
		}
		refuse(w, t.status, "Vault is sealed")
		return
	}
	mount := s.Mount
	if mount == "" {
		mount = "secret"
	}
	path, isKV := strings.CutPrefix(r.URL.Path, "/v1/"+mount+"/data/")
	switch {
	case r.Header.Get("X-Vault-Namespace") != s.Namespace:
		refuse(w, http.StatusNotFound, "no handler for route")
	case r.Method == http.MethodPost && r.URL.Path == "/v1/auth/approle/login":
		s.login(w, r)
	case r.Method == http.MethodGet && isKV:
		s.read(w, r, path)
	default: // as Vault says it, also to those without a token
		refuse(w, http.StatusForbidden, "permission denied")
	}
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RoleID   string `json:"role_id"`
		SecretID string `json:"secret_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || s.RoleID == "" || in.RoleID != s.RoleID || in.SecretID != s.SecretID {
		refuse(w, http.StatusBadRequest, "invalid role or secret ID")
		return
	}
	s.issued++
	token := fmt.Sprintf("hvs.role-token-%d", s.issued)
	if s.uses == nil {
		s.uses = map[string]int{}
	}
	s.uses[token] = s.TokenUses
	answer(w, http.StatusOK, map[string]any{
		"auth": map[string]any{"client_token": token, "accessor": "a", "policies": []string{"default"}, "lease_duration": 1200, "renewable": true},
		"data": nil, "lease_id": "", "lease_duration": 0, "renewable": false, "warnings": nil,
	})
}

func (s *Server) read(w http.ResponseWriter, r *http.Request, path string) {
	token := r.Header.Get("X-Vault-Token")
	scope, known := s.Tokens[token]
	if left, role := s.uses[token]; role {
		known, scope = true, ""
		if s.TokenUses > 0 {
			if s.uses[token] = left - 1; left == 1 {
				delete(s.uses, token)
			}
		}
	}
	within := scope == "" || path == scope || strings.HasSuffix(scope, "/") && strings.HasPrefix(path, scope)
	if !known || !within {
		refuse(w, http.StatusForbidden, "permission denied")
		return
	}
	metadata := map[string]any{"created_time": "2026-01-02T03:04:05.6Z", "custom_metadata": nil, "deletion_time": "", "destroyed": false, "version": 2}
	data, ok := s.Secrets[path]
	switch {
	case s.Deleted[path]:
		metadata["deletion_time"] = "2026-02-02T03:04:05.6Z"
		answer(w, http.StatusNotFound, map[string]any{"data": map[string]any{"data": nil, "metadata": metadata}})
	case !ok:
		answer(w, http.StatusNotFound, map[string]any{"errors": []string{}})
	default:
		answer(w, http.StatusOK, map[string]any{
			"request_id": "r", "lease_id": "", "renewable": false, "lease_duration": 0, "wrap_info": nil, "warnings": nil, "auth": nil,
			"data": map[string]any{"data": data, "metadata": metadata},
		})
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"errors": []string{message}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
