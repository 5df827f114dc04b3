// Package quotas holds the limits of organizations and spaces.
package quotas

import (
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/organization_quotas", listOrgQuotas)
	s.Read("GET /v3/organization_quotas/{guid}", showOrgQuota)
}

// Seed makes the quota "default", which every new organization gets.
func Seed(tx *cc.Tx) {
	tx.W.OrgQuotas.Insert(&world.OrgQuota{Base: tx.W.Base(), Name: "default", PaidServices: true})
}

var orgQuotas = &cc.List[*world.OrgQuota]{
	Filters: []cc.Filter[*world.OrgQuota]{
		cc.Fold("names", func(_ *cc.Req, o *world.OrgQuota) string { return o.Name }),
		cc.Any("organization_guids", func(q *cc.Req, o *world.OrgQuota) []string { return orgsOf(&q.Tx, o.GUID) }),
	},
	Orders: []cc.Order[*world.OrgQuota]{{Name: "name", Compare: func(a, b *world.OrgQuota) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, o *world.OrgQuota) any { return presentOrgQuota(q, o) },
}

func orgsOf(tx *cc.Tx, quota string) []string {
	var out []string
	for o := range tx.W.Orgs.All() {
		if o.Quota == quota {
			out = append(out, o.GUID)
		}
	}
	return out
}

func presentOrgQuota(q *cc.Req, o *world.OrgQuota) tree.Obj {
	var orgs []string
	for _, g := range orgsOf(&q.Tx, o.GUID) {
		if q.ReadsOrg(g) {
			orgs = append(orgs, g)
		}
	}
	return cc.Head(&o.Base, "name", o.Name,
		"apps", tree.O("total_memory_in_mb", o.TotalMemory, "per_process_memory_in_mb", o.PerProcessMemory, "total_instances", o.TotalInstances,
			"per_app_tasks", o.PerAppTasks, "log_rate_limit_in_bytes_per_second", o.LogRateLimit),
		"services", tree.O("paid_services_allowed", o.PaidServices, "total_service_instances", o.TotalServiceInstances, "total_service_keys", o.TotalServiceKeys),
		"routes", tree.O("total_routes", o.TotalRoutes, "total_reserved_ports", o.TotalReservedPorts),
		"domains", tree.O("total_domains", o.TotalDomains),
		"relationships", tree.O("organizations", cc.Many(orgs)),
		"links", tree.O("self", q.Link("/v3/organization_quotas/"+o.GUID)))
}

// seesOrgQuota: a quota is seen by who sees an organization that has it.
func seesOrgQuota(q *cc.Req) func(*world.OrgQuota) bool {
	if q.ReadsAll() {
		return nil
	}
	sees, own := q.Sees(), map[string]bool{}
	for o := range q.W.Orgs.All() {
		if sees.Org(o.GUID) {
			own[o.Quota] = true
		}
	}
	return func(o *world.OrgQuota) bool { return own[o.GUID] }
}

func listOrgQuotas(q *cc.Req) (*cc.Reply, error) {
	return orgQuotas.Answer(q, q.W.OrgQuotas.All(), seesOrgQuota(q))
}

func showOrgQuota(q *cc.Req) (*cc.Reply, error) {
	o, ok := q.W.OrgQuotas.Get(q.Var("guid"))
	if see := seesOrgQuota(q); !ok || see != nil && !see(o) {
		return nil, cc.NotFound("Organization quota")
	}
	return cc.OK(presentOrgQuota(q, o)), nil
}
