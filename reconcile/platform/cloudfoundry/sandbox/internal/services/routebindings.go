package services

import (
	"cmp"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/routing"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerRouteBindings(s *cc.Server) {
	s.Read("GET /v3/service_route_bindings", listRouteBindings)
	s.Write("POST /v3/service_route_bindings", createRouteBinding)
	s.Read("GET /v3/service_route_bindings/{guid}", showRouteBinding)
	s.Write("PATCH /v3/service_route_bindings/{guid}", updateRouteBinding)
	s.Write("DELETE /v3/service_route_bindings/{guid}", deleteRouteBinding)
	s.Read("GET /v3/service_route_bindings/{guid}/parameters", routeBindingParameters)
	s.OnDelete("route", func(tx *cc.Tx, route string) {
		for _, b := range tx.W.RouteBindings.By("route", route) {
			removeRouteBinding(tx, b)
		}
	})
}

var routeBindings = &cc.List[*world.RouteBinding]{
	Filters: []cc.Filter[*world.RouteBinding]{
		cc.In("service_instance_guids", func(_ *cc.Req, b *world.RouteBinding) string { return b.ServiceInstance }),
		cc.In("service_instance_names", func(q *cc.Req, b *world.RouteBinding) string { return instanceOf(q, b.ServiceInstance).Name }),
		cc.In("route_guids", func(_ *cc.Req, b *world.RouteBinding) string { return b.Route }),
		cc.Include[*world.RouteBinding]("route", "service_instance"),
		cc.Labels[*world.RouteBinding](),
	},
	Show:     func(q *cc.Req, b *world.RouteBinding) any { return presentRouteBinding(q, b) },
	Included: includedRouteBindings,
}

func includedRouteBindings(q *cc.Req, include []string, rows []*world.RouteBinding) tree.Obj {
	out := tree.Obj{}
	for _, i := range include {
		seen, list := map[string]bool{}, []any{}
		for _, b := range rows {
			if i == "route" {
				if r, ok := q.W.Routes.Get(b.Route); ok && !seen[r.GUID] {
					seen[r.GUID] = true
					list = append(list, routing.Present(q, r))
				}
			} else if si, ok := q.W.ServiceInstances.Get(b.ServiceInstance); ok && !seen[si.GUID] {
				seen[si.GUID] = true
				list = append(list, PresentInstance(q, si))
			}
		}
		out.Set(i+"s", list)
	}
	return out
}

func listRouteBindings(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return routeBindings.Answer(q, q.W.RouteBindings.All(), func(b *world.RouteBinding) bool {
		return sees.Space(instanceOf(q, b.ServiceInstance).Space)
	})
}

func presentRouteBinding(q *cc.Req, b *world.RouteBinding) tree.Obj {
	self := "/v3/service_route_bindings/" + b.GUID
	o := tree.O("guid", b.GUID, "route_service_url", cc.OrNil(cmp.Or(b.RouteServiceURL, instanceOf(q, b.ServiceInstance).RouteServiceURL)))
	o = append(o, cc.Head(&b.Base)[1:]...)
	links := tree.O("self", q.Link(self), "service_instance", q.Link("/v3/service_instances/"+b.ServiceInstance), "route", q.Link("/v3/routes/"+b.Route))
	if instanceOf(q, b.ServiceInstance).Type == Managed {
		links.Set("parameters", q.Link(self+"/parameters"))
	}
	return append(o, tree.O("last_operation", presentOperation(b.LastOperation, false), "metadata", cc.Meta(&b.Base),
		"relationships", tree.O("service_instance", cc.One(b.ServiceInstance), "route", cc.One(b.Route)),
		"links", links)...)
}

func findRouteBinding(q *cc.Req) (*world.RouteBinding, *world.ServiceInstance, error) {
	b, ok := q.W.RouteBindings.Get(q.Var("guid"))
	if ok {
		if si, ok := q.W.ServiceInstances.Get(b.ServiceInstance); ok && q.ReadsSpace(si.Space) {
			return b, si, nil
		}
	}
	return nil, nil, cc.NotFound("Service route binding")
}

func showRouteBinding(q *cc.Req) (*cc.Reply, error) {
	b, _, err := findRouteBinding(q)
	if err != nil {
		return nil, err
	}
	inc := q.Included()
	if p := cc.IncludeProblem(inc, "route", "service_instance"); p != "" {
		return nil, cc.BadQuery(p)
	}
	o := presentRouteBinding(q, b)
	if inc != nil {
		o.Set("included", includedRouteBindings(q, inc, []*world.RouteBinding{b}))
	}
	return cc.OK(o), nil
}

func createRouteBinding(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("relationships", "parameters", "metadata")
	if err != nil {
		return nil, err
	}
	rel := b.Relationships([]string{"service_instance", "route"})
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	guid := cc.RelGUID(rel, "service_instance")
	si, ok := q.W.ServiceInstances.Get(guid)
	if !ok || !q.ReadsSpace(si.Space) {
		return nil, cc.Unprocessable("The service instance could not be found: %s", guid)
	}
	r, ok := q.W.Routes.Get(cc.RelGUID(rel, "route"))
	if !ok || !q.ReadsSpace(r.Space) {
		return nil, cc.Unprocessable("The route could not be found: %s", cc.RelGUID(rel, "route"))
	}
	if err := q.MayWriteSpace(si.Space, world.SpaceDeveloper, world.SpaceSupporter); err != nil {
		return nil, err
	}
	switch {
	case si.RouteServiceURL == "" && !requires(offeringOf(&q.Tx, si), "route_forwarding"):
		return nil, cc.Unprocessable("This service instance does not support route binding")
	case si.Type == Managed && !marketplace.Bindable(&q.Tx, planOf(&q.Tx, si)):
		return nil, cc.Unprocessable("This service instance does not support binding")
	case r.Space != si.Space:
		return nil, cc.Unprocessable("The service instance and the route are in different spaces")
	}
	if d, ok := q.W.Domains.Get(r.Domain); ok && d.Internal {
		return nil, cc.Unprocessable("Route services cannot be bound to internal routes")
	}
	for _, have := range q.W.RouteBindings.By("route", r.GUID) {
		if failedToCreate(have.LastOperation) && have.ServiceInstance == si.GUID {
			q.W.RouteBindings.Delete(have.GUID)
			continue
		}
		if have.ServiceInstance == si.GUID {
			return nil, cc.NewError(422, 130008, "ServiceInstanceAlreadyBoundToSameRoute", "The route and service instance are already bound.")
		}
		return nil, cc.Unprocessable("A route may only be bound to a single service instance")
	}
	if si.Type == Managed {
		return bindRouteManaged(q, b, si, r, m)
	}
	if b.Get("parameters") != nil {
		return nil, cc.Unprocessable("Binding parameters are not supported for user-provided service instances")
	}
	rb := &world.RouteBinding{Base: q.W.Base(), ServiceInstance: si.GUID, Route: r.GUID, LastOperation: succeeded(&q.Tx, "create", "")}
	if err := m.Check(&rb.Base); err != nil {
		return nil, err
	}
	m.Apply(&rb.Base)
	q.W.RouteBindings.Insert(rb)
	auditRouteBinding(&q.Tx, rb, "create", b.Obj)
	return cc.Created(presentRouteBinding(q, rb)), nil
}

func auditRouteBinding(tx *cc.Tx, b *world.RouteBinding, what string, request any) {
	space := ""
	if si, ok := tx.W.ServiceInstances.Get(b.ServiceInstance); ok {
		space = si.Space
	}
	tx.Audit("audit.service_route_binding."+what, world.Target{GUID: b.GUID, Type: "service_route_binding"}, space, "", tree.O("request", request))
}

func removeRouteBinding(tx *cc.Tx, b *world.RouteBinding) {
	auditRouteBinding(tx, b, "delete", tree.O("app_guid", nil, "route_guid", b.Route, "service_instance_guid", b.ServiceInstance))
	tx.W.RouteBindings.Delete(b.GUID)
}

func updateRouteBinding(q *cc.Req) (*cc.Reply, error) {
	b, si, err := findRouteBinding(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(si.Space); err != nil {
		return nil, err
	}
	body, err := q.Body("metadata")
	if err != nil {
		return nil, err
	}
	m := body.Metadata()
	if err := body.Err(); err != nil {
		return nil, err
	}
	if err := m.Check(&b.Base); err != nil {
		return nil, err
	}
	m.Apply(&b.Base)
	q.Touch(&b.Base)
	auditRouteBinding(&q.Tx, b, "update", body.Obj)
	return cc.OK(presentRouteBinding(q, b)), nil
}

func deleteRouteBinding(q *cc.Req) (*cc.Reply, error) {
	b, si, err := findRouteBinding(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(si.Space, world.SpaceDeveloper, world.SpaceSupporter); err != nil {
		return nil, err
	}
	if si.Type == Managed {
		return unbindManaged(q, si, routeBinding{b})
	}
	removeRouteBinding(&q.Tx, b)
	return cc.NoContent(), nil
}
