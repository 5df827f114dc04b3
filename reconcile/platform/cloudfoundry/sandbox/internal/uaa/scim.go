package uaa

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func scim(u *world.User) tree.Obj {
	return tree.O(
		"id", u.GUID, "userName", u.Username, "origin", u.Origin, "active", true, "verified", true, "zoneId", "uaa", "schemas", []string{"urn:scim:schemas:core:1.0"},
		"emails", []any{tree.O("value", u.Email, "primary", true)}, "name", personal(u), "groups", memberships(u),
		"meta", tree.O("version", 0, "created", cc.Stamp(u.Created), "lastModified", cc.Stamp(u.Updated)),
	)
}

// personal is the name of a person, of which nothing need be known.
func personal(u *world.User) tree.Obj {
	name := tree.Obj{}
	if u.GivenName != "" {
		name.Set("givenName", u.GivenName)
	}
	if u.FamilyName != "" {
		name.Set("familyName", u.FamilyName)
	}
	return name
}

func (s *Server) registerAccounts() {
	s.mux.HandleFunc("GET /Users", s.users)
	s.mux.HandleFunc("GET /ids/Users", s.names)
	s.mux.HandleFunc("POST /Users", s.createUser)
	s.mux.HandleFunc("GET /Users/{id}", s.showUser)
	s.mux.HandleFunc("PUT /Users/{id}", s.replaceUser)
	s.mux.HandleFunc("DELETE /Users/{id}", s.deleteUser)
	s.mux.HandleFunc("PUT /Users/{id}/password", s.changePassword)
	s.registerGroups()
}

// users lists whole accounts. It understands SCIM filters of the form `userName eq "x"`, joined by or / and, as cf and
// the controller send them.
func (s *Server) users(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, "scim.read"); ok {
		s.listUsers(w, r, scim)
	}
}

// names is the look-up that every user may make: the names and nothing else.
func (s *Server) names(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, ""); ok {
		s.listUsers(w, r, func(u *world.User) tree.Obj {
			return tree.O("id", u.GUID, "userName", u.Username, "origin", u.Origin)
		})
	}
}

func (s *Server) listUsers(w http.ResponseWriter, r *http.Request, present func(*world.User) tree.Obj) {
	match := scimFilter(r.URL.Query().Get("filter"))
	found := []any{}
	s.cc.View(func(tx *cc.Tx) {
		for u := range tx.W.Users.All() {
			if u.Username != "" && match(attributes{"username": u.Username, "id": u.GUID, "origin": u.Origin, "email": u.Email, "emails": u.Email, "emails.value": u.Email}) {
				found = append(found, present(u))
			}
		}
	})
	page(w, r, found)
}

// page answers the part of a list that was asked for.
func page(w http.ResponseWriter, r *http.Request, found []any) {
	whole := func(name string, fallback int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n > 0 {
			return n
		}
		return fallback
	}
	total, start, count := len(found), whole("startIndex", 1), whole("count", 100)
	from := min(start-1, total)
	found = found[from:min(from+count, total)]
	reply(w, http.StatusOK, tree.O("resources", found, "startIndex", start, "itemsPerPage", count, "totalResults", total, "schemas", []string{"urn:scim:schemas:core:1.0"}))
}

// attributes are what a filter can ask about, by their names in lower case.
type attributes map[string]string

func scimFilter(f string) func(attributes) bool {
	if strings.TrimSpace(f) == "" {
		return func(attributes) bool { return true }
	}
	clause := func(c string) func(attributes) bool {
		attr, value, _ := strings.Cut(strings.Trim(c, " ()"), " ")
		op, value, _ := strings.Cut(strings.TrimSpace(value), " ")
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		return func(a attributes) bool {
			have, want := strings.ToLower(a[strings.ToLower(attr)]), strings.ToLower(value)
			switch strings.ToLower(op) {
			case "eq":
				return have == want
			case "co":
				return strings.Contains(have, want)
			case "sw":
				return strings.HasPrefix(have, want)
			}
			return false
		}
	}
	return func(a attributes) bool {
		for alt := range strings.SplitSeq(f, " or ") {
			all := true
			for c := range strings.SplitSeq(alt, " and ") {
				all = all && clause(c)(a)
			}
			if all {
				return true
			}
		}
		return false
	}
}

// allowed refuses those who show no access token, or whose token lacks a scope ("" asks for none).
func (s *Server) allowed(w http.ResponseWriter, r *http.Request, scope string) (*claims, bool) {
	c, err := s.parse(bearer(r))
	if err != nil || c.Refresh {
		refuse(w, http.StatusUnauthorized, "unauthorized", "Full authentication is required to access this resource")
		return nil, false
	}
	if scope != "" && !slices.Contains(c.Scope, scope) {
		refuse(w, http.StatusForbidden, "insufficient_scope", "Insufficient scope for this resource")
		return nil, false
	}
	return c, true
}

// account is what a client says about a user.
type account struct {
	UserName string `json:"userName"`
	Password string `json:"password"`
	Origin   string `json:"origin"`
	Name     struct {
		Given  string `json:"givenName"`
		Family string `json:"familyName"`
	} `json:"name"`
	Emails []struct {
		Value string `json:"value"`
	} `json:"emails"`
}

func (a account) email() string {
	if len(a.Emails) > 0 {
		return a.Emails[0].Value
	}
	return a.UserName
}

func readAccount(w http.ResponseWriter, r *http.Request) (in account, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil || in.UserName == "" {
		refuse(w, http.StatusBadRequest, "invalid_scim_resource", "A username must be provided.")
		return in, false
	}
	return in, true
}

func (s *Server) createUser(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, "scim.write"); !ok {
		return
	}
	in, ok := readAccount(w, r)
	if !ok {
		return
	}
	var out tree.Obj
	s.cc.Update(func(tx *cc.Tx) {
		for u := range tx.W.Users.All() {
			if strings.EqualFold(u.Username, in.UserName) && u.Origin == cmp.Or(in.Origin, "uaa") {
				return
			}
		}
		u := AddUser(tx, in.UserName, in.Password, in.email(), in.Origin, nil)
		u.GivenName, u.FamilyName = in.Name.Given, in.Name.Family
		out = scim(u)
	})
	if out == nil {
		refuse(w, http.StatusConflict, "scim_resource_already_exists", "Username already in use: "+in.UserName)
		return
	}
	reply(w, http.StatusCreated, out)
}

// withUser does something with a user, with the lock held, and answers what it returns; 404 when there is no such user.
func (s *Server) withUser(w http.ResponseWriter, r *http.Request, f func(tx *cc.Tx, u *world.User) (status int, body any)) {
	status, body := http.StatusNotFound, any(tree.O("error", "scim_resource_not_found", "error_description", "User "+r.PathValue("id")+" does not exist"))
	s.cc.Update(func(tx *cc.Tx) {
		if u, ok := tx.W.Users.Get(r.PathValue("id")); ok && u.Username != "" {
			status, body = f(tx, u)
		}
	})
	reply(w, status, body)
}

func (s *Server) showUser(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, "scim.read"); !ok {
		return
	}
	s.withUser(w, r, func(_ *cc.Tx, u *world.User) (int, any) { return http.StatusOK, scim(u) })
}

func (s *Server) replaceUser(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, "scim.write"); !ok {
		return
	}
	in, ok := readAccount(w, r)
	if !ok {
		return
	}
	s.withUser(w, r, func(tx *cc.Tx, u *world.User) (int, any) {
		u.Username, u.Email, u.GivenName, u.FamilyName = in.UserName, in.email(), in.Name.Given, in.Name.Family
		tx.Touch(&u.Base)
		return http.StatusOK, scim(u)
	})
}

// deleteUser takes the account away. The controller still knows the guid, if it did before, but no longer a name for it.
func (s *Server) deleteUser(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, "scim.write"); !ok {
		return
	}
	s.withUser(w, r, func(tx *cc.Tx, u *world.User) (int, any) {
		out := scim(u)
		if u.Listed {
			u.Username, u.Email, u.GivenName, u.FamilyName, u.Password, u.Origin, u.Scopes = "", "", "", "", "", "", nil
		} else {
			tx.W.Users.Delete(u.GUID)
		}
		return http.StatusOK, out
	})
}

// changePassword is for oneself, with the old password, and for administrators of accounts.
func (s *Server) changePassword(w http.ResponseWriter, r *http.Request) {
	c, ok := s.allowed(w, r, "password.write")
	if !ok {
		return
	}
	var in struct {
		Password    string `json:"password"`
		OldPassword string `json:"oldPassword"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil || in.Password == "" {
		refuse(w, http.StatusBadRequest, "invalid_password", "Password must not be empty.")
		return
	}
	s.withUser(w, r, func(tx *cc.Tx, u *world.User) (int, any) {
		if !slices.Contains(c.Scope, "scim.write") && (c.UserID != u.GUID || in.OldPassword != u.Password) {
			return http.StatusUnauthorized, tree.O("error", "unauthorized", "error_description", "Old password is incorrect")
		}
		u.Password = in.Password
		tx.Touch(&u.Base)
		return http.StatusOK, tree.O("status", "ok", "message", "password updated")
	})
}
