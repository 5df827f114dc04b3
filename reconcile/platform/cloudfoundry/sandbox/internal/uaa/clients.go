package uaa

import (
	"net/http"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// showClient answers the look-up that cf makes before it gives a role to a client. The secret is never told.
func (s *Server) showClient(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.allowed(w, r, "clients.read"); !ok {
		return
	}
	id := r.PathValue("id")
	var found tree.Obj
	s.cc.View(func(tx *cc.Tx) {
		for c := range tx.W.Clients.All() {
			if c.Name == id {
				found = tree.O("client_id", c.Name, "name", c.Name, "authorized_grant_types", c.GrantTypes, "authorities", c.Scopes,
					"scope", []string{"uaa.none"}, "resource_ids", []string{"none"}, "lastModified", c.Updated.UnixMilli())
			}
		}
	})
	if found == nil {
		refuse(w, http.StatusNotFound, "invalid_client", "No client with requested id: "+id)
		return
	}
	reply(w, http.StatusOK, found)
}
