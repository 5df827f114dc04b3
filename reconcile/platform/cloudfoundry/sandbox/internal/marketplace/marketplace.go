// Package marketplace holds service brokers, what they offer, and who may see it: service offerings and plans come from
// the catalogs of brokers, which are read when a broker is registered or changed. Service instances and bindings are the
// business of package services, which asks here for the plan and for the broker behind it.
package marketplace

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	registerBrokers(s)
	registerOfferings(s)
	registerPlans(s)
	registerVisibility(s)
	s.OnDelete("organization", func(tx *cc.Tx, org string) {
		for p := range tx.W.ServicePlans.All() {
			p.Orgs = slices.DeleteFunc(slices.Clone(p.Orgs), func(o string) bool { return o == org })
		}
	})
	s.OnDelete("space", func(tx *cc.Tx, space string) {
		for b := range tx.W.ServiceBrokers.All() {
			if b.Space == space {
				RemoveBroker(tx, b)
			}
		}
	})
}

// Seed makes the built-in brokers with their catalogs. Everybody may use their plans, save those of the chaos service,
// which an administrator has to enable.
func Seed(tx *cc.Tx) {
	for _, name := range osb.BuiltinNames() {
		b := &world.ServiceBroker{Base: tx.W.Base(), Name: name, URL: "https://" + name + ".sandbox.test", Builtin: true, State: world.BrokerAvailable}
		tx.W.ServiceBrokers.Insert(b)
		c, err := Broker(tx, b).Catalog(context.Background())
		if err != nil {
			continue // it never fails
		}
		store(tx, b, c)
		for _, o := range tx.W.ServiceOfferings.By("broker", b.GUID) {
			for _, p := range tx.W.ServicePlans.By("offering", o.GUID) {
				p.Public = name != "sandbox-chaos"
			}
		}
	}
	for e := range tx.W.AuditEvents.All() { // nobody did this
		tx.W.AuditEvents.Delete(e.GUID)
	}
}

// Broker is what answers for a broker.
func Broker(tx *cc.Tx, b *world.ServiceBroker) osb.Broker {
	if b.Builtin {
		return &osb.Builtin{Name: b.Name, Now: tx.S.Now, Scale: tx.Scaled}
	}
	return &osb.HTTP{URL: b.URL, Username: b.Username, Password: b.Password, Client: tx.S.Outbound}
}

// Of finds the offering and the broker of a plan.
func Of(tx *cc.Tx, p *world.ServicePlan) (*world.ServiceOffering, *world.ServiceBroker) {
	o, ok := tx.W.ServiceOfferings.Get(p.Offering)
	if !ok {
		return &world.ServiceOffering{}, &world.ServiceBroker{}
	}
	b, ok := tx.W.ServiceBrokers.Get(o.Broker)
	if !ok {
		return o, &world.ServiceBroker{}
	}
	return o, b
}

// Bindable reports whether instances of a plan can be bound.
func Bindable(tx *cc.Tx, p *world.ServicePlan) bool {
	if p.Bindable != nil {
		return *p.Bindable
	}
	o, _ := Of(tx, p)
	return o.Bindable
}

// PlanUpdateable reports whether instances of a plan can change to another one.
func PlanUpdateable(tx *cc.Tx, p *world.ServicePlan) bool {
	if p.PlanUpdateable != nil {
		return *p.PlanUpdateable
	}
	o, _ := Of(tx, p)
	return o.PlanUpdateable
}

// Shareable reports whether the catalog lets instances be shared with other spaces.
func Shareable(o *world.ServiceOffering) bool { return object(o.Metadata).Get("shareable") == true }

// VisibilityType is space, public, organization or admin.
func VisibilityType(tx *cc.Tx, p *world.ServicePlan) string {
	_, b := Of(tx, p)
	switch {
	case b.Space != "":
		return "space"
	case p.Public:
		return "public"
	case len(p.Orgs) > 0:
		return "organization"
	}
	return "admin"
}

// sight answers fast whether the caller sees a plan.
type sight struct {
	q     *cc.Req
	all   bool
	orgs  func(string) bool
	space func(string) bool
}

func see(q *cc.Req) sight {
	v := q.Sees()
	return sight{q: q, all: v.All, orgs: v.Org, space: func(g string) bool { return q.HasSpaceRole(g) }}
}

func (v sight) plan(p *world.ServicePlan) bool {
	if v.all || p.Public || slices.ContainsFunc(p.Orgs, v.orgs) {
		return true
	}
	_, b := Of(&v.q.Tx, p)
	return b.Space != "" && v.space(b.Space)
}

func (v sight) offering(o *world.ServiceOffering) bool {
	return v.all || slices.ContainsFunc(v.q.W.ServicePlans.By("offering", o.GUID), v.plan)
}

// Visible reports whether the caller sees a plan.
func Visible(q *cc.Req, p *world.ServicePlan) bool { return see(q).plan(p) }

// InSpace reports whether a plan may be used in a space, whoever asks.
func InSpace(tx *cc.Tx, p *world.ServicePlan, s *world.Space) bool {
	_, b := Of(tx, p)
	if b.Space != "" {
		return b.Space == s.GUID
	}
	return p.Public || slices.Contains(p.Orgs, s.Org)
}

// inSpaces and inOrgs are filters by where plans can be used.
func inSpaces(tx *cc.Tx, p *world.ServicePlan, guids []string) bool {
	return slices.ContainsFunc(guids, func(g string) bool {
		s, ok := tx.W.Spaces.Get(g)
		return ok && InSpace(tx, p, s)
	})
}

func inOrgs(tx *cc.Tx, p *world.ServicePlan, guids []string) bool {
	if p.Public {
		return true
	}
	_, b := Of(tx, p)
	if s, ok := tx.W.Spaces.Get(b.Space); ok && slices.Contains(guids, s.Org) {
		return true
	}
	return slices.ContainsFunc(p.Orgs, func(o string) bool { return slices.Contains(guids, o) })
}

// mayWrite: administrators, and developers of the space for which alone a broker is there.
func mayWrite(q *cc.Req, b *world.ServiceBroker) bool {
	return q.Admin() || b.Space != "" && q.HasSpaceRole(b.Space, world.SpaceDeveloper)
}

// hidden refuses the marketplace to those without a token, where a feature flag says so.
func hidden(q *cc.Req) error {
	f, ok := q.W.Flags.Get("hide_marketplace_from_unauthenticated_users")
	if q.HTTP.Header.Get("Authorization") == "" && ok && f.Enabled {
		return cc.NewError(401, 10002, "NotAuthenticated", "Authentication error")
	}
	return nil
}

// object reads what a catalog says in JSON; empty when it is no object.
func object(raw json.RawMessage) tree.Obj {
	v, err := tree.Parse(raw)
	if o, ok := v.(tree.Obj); err == nil && ok {
		return o
	}
	return tree.Obj{}
}

// boolText filters by a parameter that has to be true or false.
func boolText[R world.Row](name string, value func(R) bool) cc.Filter[R] {
	return cc.Filter[R]{Name: name, Make: func(_ *cc.Req, values []string) (func(R) bool, string) {
		if len(values) != 1 || values[0] != "true" && values[0] != "false" {
			return nil, cc.Human(name) + " must be 'true' or 'false'"
		}
		return func(r R) bool { return value(r) == (values[0] == "true") }, ""
	}}
}
