package marketplace

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerOfferings(s *cc.Server) {
	s.Open("GET /v3/service_offerings", listOfferings)
	s.Open("GET /v3/service_offerings/{guid}", showOffering)
	s.Write("PATCH /v3/service_offerings/{guid}", updateOffering)
	s.Write("DELETE /v3/service_offerings/{guid}", deleteOffering)
}

var offeringFields = []cc.FieldRule{{Resource: "service_broker", Keys: []string{"guid", "name"}}}

func brokerName(q *cc.Req, guid string) string {
	b, _ := q.W.ServiceBrokers.Get(guid)
	if b == nil {
		return ""
	}
	return b.Name
}

// offeringWhere filters by where some plan of an offering can be used.
func offeringWhere(name string, where func(*cc.Tx, *world.ServicePlan, []string) bool) cc.Filter[*world.ServiceOffering] {
	return cc.Filter[*world.ServiceOffering]{Name: name, Make: func(q *cc.Req, values []string) (func(*world.ServiceOffering) bool, string) {
		return func(o *world.ServiceOffering) bool {
			return slices.ContainsFunc(q.W.ServicePlans.By("offering", o.GUID), func(p *world.ServicePlan) bool { return where(&q.Tx, p, values) })
		}, ""
	}}
}

var offerings = &cc.List[*world.ServiceOffering]{
	Filters: []cc.Filter[*world.ServiceOffering]{
		boolText("available", func(o *world.ServiceOffering) bool { return o.Available }),
		cc.FieldsParam[*world.ServiceOffering](offeringFields),
		cc.In("broker_catalog_ids", func(_ *cc.Req, o *world.ServiceOffering) string { return o.CatalogID }),
		cc.In("service_broker_guids", func(_ *cc.Req, o *world.ServiceOffering) string { return o.Broker }),
		cc.In("service_broker_names", func(q *cc.Req, o *world.ServiceOffering) string { return brokerName(q, o.Broker) }),
		cc.Fold("names", func(_ *cc.Req, o *world.ServiceOffering) string { return o.Name }),
		offeringWhere("space_guids", inSpaces),
		offeringWhere("organization_guids", inOrgs),
		cc.Labels[*world.ServiceOffering](),
	},
	Orders: []cc.Order[*world.ServiceOffering]{{Name: "name", Compare: func(a, b *world.ServiceOffering) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, o *world.ServiceOffering) any { return PresentOffering(q, o) },
	Extra: func(q *cc.Req, rows []*world.ServiceOffering) tree.Obj {
		if keys := q.Fields()["service_broker"]; keys != nil {
			return tree.O("service_brokers", BrokersOf(q, rows, keys))
		}
		return nil
	},
}

// BrokersOf presents the asked-for keys of the brokers of offerings, each once.
func BrokersOf(q *cc.Req, rows []*world.ServiceOffering, keys []string) []any {
	seen, out := map[string]bool{}, []any{}
	for _, o := range rows {
		if b, ok := q.W.ServiceBrokers.Get(o.Broker); ok && !seen[b.GUID] {
			seen[b.GUID] = true
			out = append(out, cc.Pick(tree.O("guid", b.GUID, "name", b.Name), keys))
		}
	}
	return out
}

func listOfferings(q *cc.Req) (*cc.Reply, error) {
	if err := hidden(q); err != nil {
		return nil, err
	}
	return offerings.Answer(q, q.W.ServiceOfferings.All(), see(q).offering)
}

// PresentOffering shows an offering.
func PresentOffering(q *cc.Req, o *world.ServiceOffering) tree.Obj {
	meta := object(o.Metadata)
	docs, _ := meta.Get("documentationUrl").(string)
	return cc.Head(&o.Base, "name", o.Name, "description", o.Description, "available", o.Available,
		"tags", list(o.Tags), "requires", list(o.Requires), "shareable", Shareable(o), "documentation_url", docs,
		"broker_catalog", tree.O("id", o.CatalogID, "metadata", meta, "features", tree.O(
			"plan_updateable", o.PlanUpdateable, "bindable", o.Bindable, "instances_retrievable", o.InstancesRetrievable,
			"bindings_retrievable", o.BindingsRetrievable, "allow_context_updates", o.AllowContextUpdates)),
		"relationships", tree.O("service_broker", cc.One(o.Broker)), "metadata", cc.Meta(&o.Base),
		"links", tree.O("self", q.Link("/v3/service_offerings/"+o.GUID),
			"service_plans", q.Link("/v3/service_plans?service_offering_guids="+o.GUID),
			"service_broker", q.Link("/v3/service_brokers/"+o.Broker)))
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func findOffering(q *cc.Req) (*world.ServiceOffering, error) {
	o, ok := q.W.ServiceOfferings.Get(q.Var("guid"))
	if !ok || !see(q).offering(o) {
		return nil, cc.NotFound("Service offering")
	}
	return o, nil
}

func showOffering(q *cc.Req) (*cc.Reply, error) {
	if err := hidden(q); err != nil {
		return nil, err
	}
	o, err := findOffering(q)
	if err != nil {
		return nil, err
	}
	if p := q.FieldsProblem(offeringFields); p != "" {
		return nil, cc.BadQuery(p)
	}
	out := PresentOffering(q, o)
	if keys := q.Fields()["service_broker"]; keys != nil {
		out.Set("included", tree.O("service_brokers", BrokersOf(q, []*world.ServiceOffering{o}, keys)))
	}
	return cc.OK(out), nil
}

func writableOffering(q *cc.Req) (*world.ServiceOffering, error) {
	o, ok := q.W.ServiceOfferings.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Service offering")
	}
	b, _ := q.W.ServiceBrokers.Get(o.Broker)
	switch {
	case b != nil && mayWrite(q, b):
		return o, nil
	case see(q).offering(o):
		return nil, cc.NotAuthorized()
	}
	return nil, cc.NotFound("Service offering")
}

// metadataOnly reads and applies a body that may hold nothing but metadata.
func metadataOnly(q *cc.Req, base *world.Base) error {
	b, err := q.Body("metadata")
	if err != nil {
		return err
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return err
	}
	if err := m.Check(base); err != nil {
		return err
	}
	m.Apply(base)
	q.Touch(base)
	return nil
}

func updateOffering(q *cc.Req) (*cc.Reply, error) {
	o, err := writableOffering(q)
	if err != nil {
		return nil, err
	}
	if err := metadataOnly(q, &o.Base); err != nil {
		return nil, err
	}
	return cc.OK(PresentOffering(q, o)), nil
}

// deleteOffering takes an offering away. With purge=true its plans and instances go, too, and no broker is asked.
func deleteOffering(q *cc.Req) (*cc.Reply, error) {
	o, err := writableOffering(q)
	if err != nil {
		return nil, err
	}
	target := world.Target{GUID: o.GUID, Type: "service", Name: o.Name}
	plans := q.W.ServicePlans.By("offering", o.GUID)
	if q.Query.Get("purge") != "true" {
		if len(plans) > 0 {
			return nil, cc.Unprocessable("Please delete the service_plans associations for your services.")
		}
		q.W.ServiceOfferings.Delete(o.GUID)
		q.Audit("audit.service.delete", target, "", "", tree.O("request", tree.Obj{}))
		return cc.NoContent(), nil
	}
	for _, p := range plans {
		q.Gone("service_plan", p.GUID)
		q.W.ServicePlans.Delete(p.GUID)
	}
	q.W.ServiceOfferings.Delete(o.GUID)
	q.Audit("audit.service.delete", target, "", "", tree.O("request", tree.O("purge", true)))
	return cc.NoContent(), nil
}
