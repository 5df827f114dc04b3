// Package quotas holds the limits of organizations and spaces, says what is used of them, and what would exceed them.
//
// Other areas ask it before they let something grow: a process (Process), a task, a route, a private domain, a service
// instance or key. It never stops or removes what is there already: lowering a quota below what is used is allowed.
package quotas

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	registerOrgQuotas(s)
	registerSpaceQuotas(s)
	s.Read("GET /v3/organizations/{guid}/usage_summary", orgUsage)
	s.Read("GET /v3/spaces/{guid}/usage_summary", spaceUsage)
	s.Read("GET /v3/info/usage_summary", platformUsage)
}

// Seed makes the quota "default", which every new organization gets.
func Seed(tx *cc.Tx) {
	memory := 100 << 10 // of usual installations
	tx.W.OrgQuotas.Insert(&world.OrgQuota{Base: tx.W.Base(), Name: "default", Limits: world.Limits{PaidServices: true, TotalMemory: &memory}})
}
