package uaa

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// A group of UAA is a scope: its members get it into their tokens. So membership is kept where the tokens take it from,
// in [world.User.Scopes], and the groups themselves are fixed: those that a foundation begins with, and whatever scope a
// user was seeded with.
var known = []string{
	"cloud_controller.admin", "cloud_controller.admin_read_only", "cloud_controller.global_auditor", "cloud_controller.read", "cloud_controller.write",
	"clients.read", "clients.write", "network.admin", "network.write", "openid", "password.write", "routing.router_groups.read", "scim.create",
	"scim.invite", "scim.read", "scim.userids", "scim.write", "uaa.admin", "uaa.user",
}

// groupID makes a guid of a name, so that nothing needs to be kept.
func groupID(name string) string {
	b := sha256.Sum256([]byte("group " + name))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // version 8: of a maker's own
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// memberships shows the groups of a user.
func memberships(u *world.User) []any {
	out := []any{}
	for _, name := range u.Scopes {
		out = append(out, tree.O("value", groupID(name), "display", name, "type", "DIRECT"))
	}
	return out
}

func (s *Server) registerGroups() {
	s.mux.HandleFunc("GET /Groups", s.groups)
	s.mux.HandleFunc("GET /Groups/{id}", s.showGroup)
	s.mux.HandleFunc("GET /Groups/{id}/members", s.members)
	s.mux.HandleFunc("POST /Groups/{id}/members", s.addMember)
	s.mux.HandleFunc("DELETE /Groups/{id}/members/{member}", s.removeMember)
}

// groupNames lists all groups in the order of their names.
func groupNames(tx *cc.Tx) []string {
	names := slices.Clone(known)
	for u := range tx.W.Users.All() {
		names = append(names, u.Scopes...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func membersOf(tx *cc.Tx, group string) []any {
	out := []any{}
	for u := range tx.W.Users.All() {
		if slices.Contains(u.Scopes, group) {
			out = append(out, tree.O("origin", u.Origin, "type", "USER", "value", u.GUID))
		}
	}
	return out
}

func showGroup(tx *cc.Tx, name string) tree.Obj {
	return tree.O("id", groupID(name), "displayName", name, "zoneId", "uaa", "meta", tree.O("version", 0), "members", membersOf(tx, name),
		"schemas", []string{"urn:scim:schemas:core:1.0"})
}

func (s *Server) groups(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, "scim.read"); !ok {
		return
	}
	match := scimFilter(r.URL.Query().Get("filter"))
	found := []any{}
	s.cc.View(func(tx *cc.Tx) {
		for _, name := range groupNames(tx) {
			if match(attributes{"id": groupID(name), "displayname": name}) {
				found = append(found, showGroup(tx, name))
			}
		}
	})
	page(w, r, found)
}

// withGroup does something with a group, with the lock held, and answers what it returns; 404 when there is no such group.
func (s *Server) withGroup(w http.ResponseWriter, r *http.Request, scope string, f func(tx *cc.Tx, group string) (status int, body any)) {
	if _, ok := s.allowed(w, r, scope); !ok {
		return
	}
	id := r.PathValue("id")
	status, body := http.StatusNotFound, any(tree.O("error", "scim_resource_not_found", "error_description", "Group "+id+" does not exist"))
	s.cc.Update(func(tx *cc.Tx) {
		names := groupNames(tx)
		if i := slices.IndexFunc(names, func(name string) bool { return groupID(name) == id }); i >= 0 {
			status, body = f(tx, names[i])
		}
	})
	reply(w, status, body)
}

func (s *Server) showGroup(w http.ResponseWriter, r *http.Request) {
	s.withGroup(w, r, "scim.read", func(tx *cc.Tx, group string) (int, any) { return http.StatusOK, showGroup(tx, group) })
}

func (s *Server) members(w http.ResponseWriter, r *http.Request) {
	s.withGroup(w, r, "scim.read", func(tx *cc.Tx, group string) (int, any) { return http.StatusOK, membersOf(tx, group) })
}

func (s *Server) addMember(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Value string `json:"value"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in)
	s.withGroup(w, r, "scim.write", func(tx *cc.Tx, group string) (int, any) {
		u, ok := tx.W.Users.Get(in.Value)
		switch {
		case err != nil || !ok || u.Username == "":
			return http.StatusNotFound, tree.O("error", "scim_resource_not_found", "error_description", "User "+in.Value+" does not exist")
		case slices.Contains(u.Scopes, group):
			return http.StatusConflict, tree.O("error", "member_already_exists", "error_description", "The user is already a member of the group")
		}
		u.Scopes = append(slices.Clone(u.Scopes), group)
		tx.Touch(&u.Base)
		return http.StatusCreated, tree.O("origin", u.Origin, "type", "USER", "value", u.GUID)
	})
}

func (s *Server) removeMember(w http.ResponseWriter, r *http.Request) {
	s.withGroup(w, r, "scim.write", func(tx *cc.Tx, group string) (int, any) {
		u, ok := tx.W.Users.Get(r.PathValue("member"))
		if !ok || !slices.Contains(u.Scopes, group) {
			return http.StatusNotFound, tree.O("error", "member_not_found", "error_description", "The user is no member of the group")
		}
		u.Scopes = slices.DeleteFunc(slices.Clone(u.Scopes), func(have string) bool { return have == group })
		tx.Touch(&u.Base)
		return http.StatusOK, tree.O("origin", u.Origin, "type", "USER", "value", u.GUID)
	})
}
