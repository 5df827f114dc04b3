package services

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// where is the context object of the Open Service Broker API: who has the instance, and where.
func where(tx *cc.Tx, si *world.ServiceInstance) (context tree.Obj, org string) {
	s, ok := tx.W.Spaces.Get(si.Space)
	if !ok {
		return tree.O("platform", "cloudfoundry"), ""
	}
	name := ""
	annotations := func(b *world.Base) tree.Obj { return cc.StringMap(b.Annotations) }
	out := tree.O("platform", "cloudfoundry", "organization_guid", s.Org, "space_guid", s.GUID, "space_name", s.Name)
	if o, ok := tx.W.Orgs.Get(s.Org); ok {
		name = o.Name
		out.Set("organization_annotations", annotations(&o.Base))
	}
	out.Set("organization_name", name)
	out.Set("space_annotations", annotations(&s.Base))
	out.Set("instance_name", si.Name)
	out.Set("instance_annotations", annotations(&si.Base))
	return out, s.Org
}

func withParameters(o tree.Obj, parameters any) tree.Obj {
	if parameters != nil {
		o.Set("parameters", parameters)
	}
	return o
}

func provisionBody(tx *cc.Tx, op operation, o *world.ServiceOffering, p *world.ServicePlan) tree.Obj {
	context, org := where(tx, op.si)
	out := tree.O("service_id", o.CatalogID, "plan_id", p.CatalogID, "organization_guid", org, "space_guid", op.si.Space, "context", context)
	if op.si.MaintenanceInfo != nil {
		out.Set("maintenance_info", op.si.MaintenanceInfo)
	}
	return withParameters(out, op.request.Get("parameters"))
}

func updateBody(tx *cc.Tx, op operation, o *world.ServiceOffering, p *world.ServicePlan) tree.Obj {
	context, org := where(tx, op.si)
	if n, ok := op.request.Get("name").(string); ok {
		context.Set("instance_name", n)
	}
	previous := tree.O("service_id", o.CatalogID, "plan_id", p.CatalogID, "organization_id", org, "space_id", op.si.Space)
	if op.si.MaintenanceInfo != nil {
		previous.Set("maintenance_info", op.si.MaintenanceInfo)
	}
	out := tree.O("service_id", o.CatalogID, "context", context, "previous_values", previous)
	if next, ok := tx.W.ServicePlans.Get(cc.RelGUID(relationships(op.request), "service_plan")); ok {
		out.Set("plan_id", next.CatalogID)
		if info := versionOnly(next.MaintenanceInfo); info != nil && next != p {
			out.Set("maintenance_info", info)
		}
	}
	if info := op.request.Get("maintenance_info"); info != nil {
		out.Set("maintenance_info", info)
	}
	return withParameters(out, op.request.Get("parameters"))
}

func bindBody(tx *cc.Tx, op operation, o *world.ServiceOffering, p *world.ServicePlan) tree.Obj {
	context, _ := where(tx, op.si)
	resource := tree.Obj{}
	switch b := op.b.(type) {
	case credentialBinding:
		if a, ok := tx.W.Apps.Get(b.App); ok {
			resource = tree.O("app_guid", a.GUID, "space_guid", a.Space, "app_annotations", cc.StringMap(a.Annotations))
		} else {
			resource.Set("credential_client_id", "cc_service_key_client")
		}
	case routeBinding:
		if r, ok := tx.W.Routes.Get(b.Route); ok {
			url := r.Path
			if d, ok := tx.W.Domains.Get(r.Domain); ok {
				url = d.Name + url
			}
			if r.Host != "" {
				url = r.Host + "." + url
			}
			resource.Set("route", url)
		}
	}
	out := tree.O("service_id", o.CatalogID, "plan_id", p.CatalogID)
	if g := resource.Get("app_guid"); g != nil {
		out.Set("app_guid", g)
	}
	out.Set("bind_resource", resource)
	out.Set("context", context)
	return withParameters(out, op.request.Get("parameters"))
}
