package marketplace

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerPlans(s *cc.Server) {
	s.Open("GET /v3/service_plans", listPlans)
	s.Open("GET /v3/service_plans/{guid}", showPlan)
	s.Write("PATCH /v3/service_plans/{guid}", updatePlan)
	s.Write("DELETE /v3/service_plans/{guid}", deletePlan)
}

var (
	planFields   = []cc.FieldRule{{Resource: "service_offering.service_broker", Keys: []string{"guid", "name"}}}
	planIncludes = []string{"space.organization", "service_offering"}
)

// ofOffering and ofBroker reach what is behind a plan.
func ofOffering(value func(*world.ServiceOffering) string) func(*cc.Req, *world.ServicePlan) string {
	return func(q *cc.Req, p *world.ServicePlan) string { o, _ := Of(&q.Tx, p); return value(o) }
}

func ofBroker(value func(*world.ServiceBroker) string) func(*cc.Req, *world.ServicePlan) string {
	return func(q *cc.Req, p *world.ServicePlan) string { _, b := Of(&q.Tx, p); return value(b) }
}

func planWhere(name string, where func(*cc.Tx, *world.ServicePlan, []string) bool) cc.Filter[*world.ServicePlan] {
	return cc.Filter[*world.ServicePlan]{Name: name, Make: func(q *cc.Req, values []string) (func(*world.ServicePlan) bool, string) {
		return func(p *world.ServicePlan) bool { return where(&q.Tx, p, values) }, ""
	}}
}

var plans = &cc.List[*world.ServicePlan]{
	Filters: []cc.Filter[*world.ServicePlan]{
		boolText("available", func(p *world.ServicePlan) bool { return p.Available }),
		cc.FieldsParam[*world.ServicePlan](planFields),
		cc.In("broker_catalog_ids", func(_ *cc.Req, p *world.ServicePlan) string { return p.CatalogID }),
		cc.Fold("names", func(_ *cc.Req, p *world.ServicePlan) string { return p.Name }),
		planWhere("organization_guids", inOrgs),
		cc.In("service_broker_guids", ofBroker(func(b *world.ServiceBroker) string { return b.GUID })),
		cc.In("service_broker_names", ofBroker(func(b *world.ServiceBroker) string { return b.Name })),
		planWhere("service_instance_guids", func(tx *cc.Tx, p *world.ServicePlan, guids []string) bool {
			return slices.ContainsFunc(guids, func(g string) bool { i, ok := tx.W.ServiceInstances.Get(g); return ok && i.Plan == p.GUID })
		}),
		cc.In("service_offering_guids", func(_ *cc.Req, p *world.ServicePlan) string { return p.Offering }),
		cc.In("service_offering_names", ofOffering(func(o *world.ServiceOffering) string { return o.Name })),
		planWhere("space_guids", inSpaces),
		cc.Include[*world.ServicePlan](planIncludes...),
		cc.Labels[*world.ServicePlan](),
	},
	Orders: []cc.Order[*world.ServicePlan]{{Name: "name", Compare: func(a, b *world.ServicePlan) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, p *world.ServicePlan) any { return PresentPlan(q, p) },
	Extra:  includedPlans,
}

// includedPlans is what include and fields ask for about plans; nil when they ask for nothing.
func includedPlans(q *cc.Req, rows []*world.ServicePlan) tree.Obj {
	var out tree.Obj
	var offers []*world.ServiceOffering
	seen := map[string]bool{}
	for _, p := range rows {
		if o, _ := Of(&q.Tx, p); !seen[o.GUID] {
			seen[o.GUID] = true
			offers = append(offers, o)
		}
	}
	for _, inc := range q.Included() {
		switch inc {
		case "space.organization":
			var spaces []string
			for _, o := range offers {
				if b, ok := q.W.ServiceBrokers.Get(o.Broker); ok && b.Space != "" {
					spaces = append(spaces, b.Space)
				}
			}
			out = append(out, tenancy.SpacesAndOrgs(q, []string{inc}, spaces)...)
		case "service_offering":
			shown := []any{}
			for _, o := range offers {
				shown = append(shown, PresentOffering(q, o))
			}
			out = append(out, tree.Field{Key: "service_offerings", Value: shown})
		}
	}
	if keys := q.Fields()["service_offering.service_broker"]; keys != nil {
		out = append(out, tree.Field{Key: "service_brokers", Value: BrokersOf(q, offers, keys)})
	}
	return out
}

func listPlans(q *cc.Req) (*cc.Reply, error) {
	if err := hidden(q); err != nil {
		return nil, err
	}
	return plans.Answer(q, q.W.ServicePlans.All(), see(q).plan)
}

// PresentPlan shows a plan.
func PresentPlan(q *cc.Req, p *world.ServicePlan) tree.Obj {
	_, b := Of(&q.Tx, p)
	meta, self := object(p.Metadata), "/v3/service_plans/"+p.GUID
	rel := tree.O("service_offering", cc.One(p.Offering))
	links := tree.O("self", q.Link(self), "service_offering", q.Link("/v3/service_offerings/"+p.Offering), "visibility", q.Link(self+"/visibility"))
	if b.Space != "" {
		rel.Set("space", cc.One(b.Space))
		links.Set("space", q.Link("/v3/spaces/"+b.Space))
	}
	schema := func(raw json.RawMessage) tree.Obj { return tree.O("parameters", object(raw)) }
	return cc.Head(&p.Base, "name", p.Name, "visibility_type", VisibilityType(&q.Tx, p), "available", p.Available, "free", p.Free,
		"costs", costs(meta), "description", p.Description, "maintenance_info", object(p.MaintenanceInfo),
		"broker_catalog", tree.O("id", p.CatalogID, "metadata", meta, "maximum_polling_duration", p.MaxPolling,
			"features", tree.O("bindable", Bindable(&q.Tx, p), "plan_updateable", PlanUpdateable(&q.Tx, p))),
		"schemas", tree.O(
			"service_instance", tree.O("create", schema(p.CreateSchema), "update", schema(p.UpdateSchema)),
			"service_binding", tree.O("create", schema(p.BindSchema))),
		"relationships", rel, "metadata", cc.Meta(&p.Base), "links", links)
}

// costs makes a list of what the catalog says about prices; a catalog that says it wrongly has no prices.
func costs(meta tree.Obj) []any {
	out := []any{}
	l, _ := meta.Get("costs").([]any)
	for _, e := range l {
		o, _ := e.(tree.Obj)
		amount, ok := o.Get("amount").(tree.Obj)
		unit, _ := o.Get("unit").(string)
		if !ok || len(amount) == 0 || unit == "" {
			return []any{}
		}
		for _, a := range amount {
			var n float64
			switch v := a.Value.(type) {
			case int64:
				n = float64(v)
			case float64:
				n = v
			default:
				return []any{}
			}
			if a.Key == "" {
				return []any{}
			}
			out = append(out, tree.O("currency", strings.ToUpper(a.Key), "amount", n, "unit", unit))
		}
	}
	return out
}

func findPlan(q *cc.Req) (*world.ServicePlan, error) {
	p, ok := q.W.ServicePlans.Get(q.Var("guid"))
	if !ok || !Visible(q, p) {
		return nil, cc.NotFound("Service plan")
	}
	return p, nil
}

func showPlan(q *cc.Req) (*cc.Reply, error) {
	if err := hidden(q); err != nil {
		return nil, err
	}
	if p := cc.IncludeProblem(q.Included(), planIncludes...); p != "" {
		return nil, cc.BadQuery(p)
	}
	if p := q.FieldsProblem(planFields); p != "" {
		return nil, cc.BadQuery(p)
	}
	p, err := findPlan(q)
	if err != nil {
		return nil, err
	}
	out := PresentPlan(q, p)
	if inc := includedPlans(q, []*world.ServicePlan{p}); inc != nil {
		out.Set("included", inc)
	}
	return cc.OK(out), nil
}

func writablePlan(q *cc.Req) (*world.ServicePlan, error) {
	p, ok := q.W.ServicePlans.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Service plan")
	}
	_, b := Of(&q.Tx, p)
	switch {
	case mayWrite(q, b):
		return p, nil
	case Visible(q, p):
		return nil, cc.NotAuthorized()
	}
	return nil, cc.NotFound("Service plan")
}

func updatePlan(q *cc.Req) (*cc.Reply, error) {
	p, err := writablePlan(q)
	if err != nil {
		return nil, err
	}
	if err := metadataOnly(q, &p.Base); err != nil {
		return nil, err
	}
	return cc.OK(PresentPlan(q, p)), nil
}

func deletePlan(q *cc.Req) (*cc.Reply, error) {
	p, err := writablePlan(q)
	if err != nil {
		return nil, err
	}
	if instances(&q.Tx, p.GUID) > 0 {
		return nil, cc.Unprocessable("Please delete the service_instances associations for your service_plans.")
	}
	q.W.ServicePlans.Delete(p.GUID)
	q.Audit("audit.service_plan.delete", world.Target{GUID: p.GUID, Type: "service_plan", Name: p.Name}, "", "", tree.O("request", tree.Obj{}))
	return cc.NoContent(), nil
}
