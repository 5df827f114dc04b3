package services

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// listFields and showFields are what fields[…] may ask for about service instances (V3 reference, "Fields parameter"): a
// list also lets one follow the relationships.
var (
	listFields = []cc.FieldRule{
		{Resource: "space", Keys: []string{"guid", "name", "relationships.organization"}},
		{Resource: "space.organization", Keys: []string{"name", "guid"}},
		{Resource: "service_plan", Keys: []string{"guid", "name", "relationships.service_offering"}},
		{Resource: "service_plan.service_offering", Keys: []string{"name", "guid", "description", "documentation_url", "tags", "relationships.service_broker"}},
		{Resource: "service_plan.service_offering.service_broker", Keys: []string{"name", "guid"}},
	}
	showFields = []cc.FieldRule{
		{Resource: "space", Keys: []string{"name", "guid"}},
		{Resource: "space.organization", Keys: []string{"name", "guid"}},
		{Resource: "service_plan", Keys: []string{"name", "guid"}},
		{Resource: "service_plan.service_offering", Keys: []string{"name", "guid", "description", "tags", "documentation_url"}},
		{Resource: "service_plan.service_offering.service_broker", Keys: []string{"name", "guid"}},
	}
)

// includedInstances is what fields[…] ask for about instances; nil when they ask for nothing.
func includedInstances(q *cc.Req, rows []*world.ServiceInstance) tree.Obj {
	fields := q.Fields()
	if len(fields) == 0 {
		return nil
	}
	var spaces []string
	seen := map[string]bool{}
	plans, offerings := []any{}, []any{}
	var offers []*world.ServiceOffering
	for _, si := range rows {
		spaces = append(spaces, si.Space)
		p, ok := q.W.ServicePlans.Get(si.Plan)
		if !ok || seen[p.GUID] {
			continue
		}
		seen[p.GUID] = true
		plans = append(plans, pick(fields["service_plan"], tree.O("guid", p.GUID, "name", p.Name), "service_offering", p.Offering))
		if o, _ := marketplace.Of(&q.Tx, p); !seen[o.GUID] {
			seen[o.GUID] = true
			offers = append(offers, o)
			shown := marketplace.PresentOffering(q, o)
			view := tree.O("name", o.Name, "guid", o.GUID, "description", o.Description, "tags", shown.Get("tags"), "documentation_url", shown.Get("documentation_url"))
			offerings = append(offerings, pick(fields["service_plan.service_offering"], view, "service_broker", o.Broker))
		}
	}
	out := includedSpaces(q, fields, spaces)
	if fields["service_plan"] != nil && len(plans) > 0 {
		out.Set("service_plans", plans)
	}
	if fields["service_plan.service_offering"] != nil && len(plans) > 0 {
		out.Set("service_offerings", offerings)
	}
	if keys := fields["service_plan.service_offering.service_broker"]; keys != nil && len(plans) > 0 {
		out.Set("service_brokers", marketplace.BrokersOf(q, offers, keys))
	}
	return out
}
