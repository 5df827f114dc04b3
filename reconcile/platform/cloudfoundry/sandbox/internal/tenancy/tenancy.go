// Package tenancy holds organizations, spaces, domains, roles and users: who owns what, and who may come near it.
//
// It knows nothing of apps, routes or services. Those register with cc.Server.OnDelete to go along when their space or
// domain goes, and fill the counters of usage summaries through Usage.
package tenancy

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	registerOrgs(s)
	registerSpaces(s)
	registerDomains(s)
	registerRoles(s)
	registerUsers(s)
}
