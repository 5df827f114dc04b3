package marketplace

import (
	"fmt"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// problems says in the controller's form what is wrong with a catalog.
func problems(c *osb.Catalog) string {
	var out strings.Builder
	line := func(depth int, format string, a ...any) {
		fmt.Fprintf(&out, "%s"+format+"\n", append([]any{strings.Repeat("  ", depth)}, a...)...)
	}
	if len(c.Services) == 0 {
		return "Service broker must provide at least one service"
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for _, s := range c.Services {
		if ids[s.ID] {
			line(0, "Service ids must be unique")
		}
		if names[s.Name] {
			line(0, "Service names must be unique within a broker")
		}
		ids[s.ID], names[s.Name] = true, true
		var bad []string
		for field, v := range map[string]string{"id": s.ID, "name": s.Name, "description": s.Description} {
			if v == "" {
				bad = append(bad, "Service "+field+" must be a string, but has value nil")
			}
		}
		if len(s.Plans) == 0 {
			bad = append(bad, "At least one plan is required")
		}
		if bad != nil {
			line(0, "Service %s", s.Name)
			for _, b := range bad {
				line(1, "%s", b)
			}
		}
		planIDs, planNames := map[string]bool{}, map[string]bool{}
		for _, p := range s.Plans {
			switch {
			case planIDs[p.ID]:
				line(0, "Plan ids must be unique")
			case planNames[p.Name]:
				line(0, "Plan names must be unique within a service. Service %s already has a plan named %s", s.Name, p.Name)
			case p.ID == "" || p.Name == "":
				line(0, "Service %s\n  Plan %s\n    Plan id must be a string, but has value nil", s.Name, p.Name)
			}
			planIDs[p.ID], planNames[p.Name] = true, true
		}
	}
	return strings.TrimRight(out.String(), "\n")
}

// store brings offerings and plans of a broker in line with its catalog. What is no longer in it goes, or, where there
// are instances of it, becomes unavailable. The broker itself is the actor of the events.
func store(tx *cc.Tx, b *world.ServiceBroker, c *osb.Catalog) {
	actor := tx.Actor
	defer func() { tx.Actor = actor }()
	tx.Actor = world.Actor{GUID: b.GUID, Name: b.Name, Kind: "service_broker"}

	seen := map[string]bool{}
	for _, s := range c.Services {
		o := offeringByID(tx, b.GUID, s.ID)
		what := "update"
		if o == nil {
			o, what = &world.ServiceOffering{Base: tx.W.Base(), Broker: b.GUID, CatalogID: s.ID}, "create"
			tx.W.ServiceOfferings.Insert(o)
		}
		o.Name, o.Description, o.Available, o.Tags, o.Requires, o.Metadata = s.Name, s.Description, true, s.Tags, s.Requires, s.Metadata
		o.Bindable, o.PlanUpdateable, o.AllowContextUpdates = s.Bindable, s.PlanUpdateable, s.AllowContextUpdates
		o.InstancesRetrievable, o.BindingsRetrievable = s.InstancesRetrievable, s.BindingsRetrievable
		tx.Touch(&o.Base)
		seen[o.GUID] = true
		tx.Audit("audit.service."+what, world.Target{GUID: o.GUID, Type: "service", Name: o.Name}, "", "", tree.O(
			"service_broker_guid", b.GUID, "unique_id", o.CatalogID, "label", o.Name, "description", o.Description, "bindable", o.Bindable, "active", true))
		storePlans(tx, o, s.Plans, seen)
	}
	for _, o := range tx.W.ServiceOfferings.By("broker", b.GUID) {
		for _, p := range tx.W.ServicePlans.By("offering", o.GUID) {
			if seen[p.GUID] {
				continue
			}
			if p.Available = false; instances(tx, p.GUID) == 0 {
				tx.Audit("audit.service_plan.delete", world.Target{GUID: p.GUID, Type: "service_plan", Name: p.Name}, "", "", nil)
				tx.W.ServicePlans.Delete(p.GUID)
			}
		}
		if seen[o.GUID] {
			continue
		}
		if o.Available = false; len(tx.W.ServicePlans.By("offering", o.GUID)) == 0 {
			tx.Audit("audit.service.delete", world.Target{GUID: o.GUID, Type: "service", Name: o.Name}, "", "", nil)
			tx.W.ServiceOfferings.Delete(o.GUID)
		}
	}
}

func storePlans(tx *cc.Tx, o *world.ServiceOffering, plans []osb.Plan, seen map[string]bool) {
	for _, in := range plans {
		p := planByID(tx, o.GUID, in.ID)
		what := "update"
		if p == nil {
			p, what = &world.ServicePlan{Base: tx.W.Base(), Offering: o.GUID, CatalogID: in.ID}, "create"
			tx.W.ServicePlans.Insert(p)
		}
		p.Name, p.Description, p.Available, p.Free = in.Name, in.Description, true, in.Free == nil || *in.Free
		p.Bindable, p.PlanUpdateable, p.MaxPolling = in.Bindable, in.PlanUpdateable, in.MaximumPollingDuration
		p.Metadata, p.MaintenanceInfo = in.Metadata, in.MaintenanceInfo
		p.CreateSchema, p.UpdateSchema = in.Schemas.ServiceInstance.Create.Parameters, in.Schemas.ServiceInstance.Update.Parameters
		p.BindSchema = in.Schemas.ServiceBinding.Create.Parameters
		tx.Touch(&p.Base)
		seen[p.GUID] = true
		tx.Audit("audit.service_plan."+what, world.Target{GUID: p.GUID, Type: "service_plan", Name: p.Name}, "", "", tree.O(
			"name", p.Name, "free", p.Free, "description", p.Description, "service_guid", o.GUID, "unique_id", p.CatalogID, "public", p.Public, "active", true))
	}
}

func offeringByID(tx *cc.Tx, broker, id string) *world.ServiceOffering {
	for _, o := range tx.W.ServiceOfferings.By("broker", broker) {
		if o.CatalogID == id {
			return o
		}
	}
	return nil
}

func planByID(tx *cc.Tx, offering, id string) *world.ServicePlan {
	for _, p := range tx.W.ServicePlans.By("offering", offering) {
		if p.CatalogID == id {
			return p
		}
	}
	return nil
}

// instances counts the instances of a plan.
func instances(tx *cc.Tx, plan string) (n int) {
	for i := range tx.W.ServiceInstances.All() {
		if i.Plan == plan {
			n++
		}
	}
	return n
}
