// Package routepolicies holds route policies: who may reach a route of a domain that enforces such policies. They are
// kept and shown; the sandbox routes no requests, so there is nothing to enforce.
package routepolicies

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/routing"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/route_policies", listPolicies)
	s.Write("POST /v3/route_policies", create)
	s.Read("GET /v3/route_policies/{guid}", show)
	s.Write("PATCH /v3/route_policies/{guid}", update)
	s.Write("DELETE /v3/route_policies/{guid}", remove)
	s.OnDelete("route", func(tx *cc.Tx, route string) {
		for _, p := range tx.W.RoutePolicies.By("route", route) {
			tx.W.RoutePolicies.Delete(p.GUID)
		}
	})
}

const everyone = "cf:any"

var sourceForm = regexp.MustCompile(`\A(?:cf:(?:app|space|org):[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|cf:any)\z`)

// source splits cf:app:GUID; both are empty for cf:any.
func source(p *world.RoutePolicy) (kind, guid string) {
	parts := strings.SplitN(p.Source, ":", 3)
	if len(parts) < 3 {
		return "", ""
	}
	return parts[1], parts[2]
}

var includes = []string{"source", "route"}

var list = &cc.List[*world.RoutePolicy]{
	Filters: []cc.Filter[*world.RoutePolicy]{
		cc.Param[*world.RoutePolicy]("guids"), // the controller names guids twice
		cc.In("route_guids", func(_ *cc.Req, p *world.RoutePolicy) string { return p.Route }),
		cc.In("space_guids", func(q *cc.Req, p *world.RoutePolicy) string { return spaceOf(q, p) }),
		{Name: "sources", Make: func(_ *cc.Req, values []string) (func(*world.RoutePolicy) bool, string) {
			var bad []string
			for _, v := range values {
				if !sourceForm.MatchString(v) {
					bad = append(bad, v)
				}
			}
			if bad != nil {
				return nil, "Sources contains invalid source format: " + strings.Join(bad, ", ")
			}
			return func(p *world.RoutePolicy) bool { return slices.Contains(values, p.Source) }, ""
		}},
		cc.In("source_guids", func(_ *cc.Req, p *world.RoutePolicy) string { _, g := source(p); return g }),
		cc.Include[*world.RoutePolicy](includes...),
		cc.Labels[*world.RoutePolicy](),
	},
	Show:     func(q *cc.Req, p *world.RoutePolicy) any { return present(q, p) },
	Included: included,
}

func spaceOf(q *cc.Req, p *world.RoutePolicy) string {
	if r, ok := q.W.Routes.Get(p.Route); ok {
		return r.Space
	}
	return ""
}

// sees: who sees the route.
func sees(q *cc.Req) func(*world.RoutePolicy) bool {
	sight := q.Sees()
	return func(p *world.RoutePolicy) bool {
		g := spaceOf(q, p)
		s, ok := q.W.Spaces.Get(g)
		return ok && (sight.Space(g) || q.HasOrgRole(s.Org, world.OrgAuditor))
	}
}

func listPolicies(q *cc.Req) (*cc.Reply, error) {
	return list.Answer(q, q.W.RoutePolicies.All(), sees(q))
}

func present(q *cc.Req, p *world.RoutePolicy) tree.Obj {
	rel := tree.O("route", cc.One(p.Route))
	links := tree.O("self", q.Link("/v3/route_policies/"+p.GUID), "route", q.Link("/v3/routes/"+p.Route))
	kind, guid := source(p)
	for _, k := range []struct{ kind, name, path string }{{"app", "app", "/v3/apps/"}, {"space", "space", "/v3/spaces/"}, {"org", "organization", "/v3/organizations/"}} {
		if k.kind != kind {
			rel.Set(k.name, cc.One(""))
			continue
		}
		rel.Set(k.name, cc.One(guid))
		links.Set(k.name, q.Link(k.path+guid))
	}
	return cc.Head(&p.Base, "source", p.Source, "metadata", cc.Meta(&p.Base), "relationships", rel, "links", links)
}

// included presents the routes of policies, or what they let through, as far as the caller sees that.
func included(q *cc.Req, include []string, rows []*world.RoutePolicy) tree.Obj {
	out := tree.Obj{}
	for _, inc := range include {
		seen := map[string]bool{}
		routes, appList, spaces, orgs := []any{}, []any{}, []any{}, []any{}
		for _, p := range rows {
			kind, guid := source(p)
			if inc == "route" {
				kind, guid = "route", p.Route
			}
			if seen[guid] {
				continue
			}
			seen[guid] = true
			switch kind {
			case "route":
				if r, ok := q.W.Routes.Get(guid); ok {
					routes = append(routes, routing.Present(q, r))
				}
			case "app":
				if a, err := apps.Visible(q, guid); err == nil {
					appList = append(appList, apps.Present(q, a))
				}
			case "space":
				if s, err := q.BodySpace(guid); err == nil {
					spaces = append(spaces, tenancy.PresentSpace(q, s))
				}
			case "org":
				if o, ok := q.W.Orgs.Get(guid); ok && q.ReadsOrg(guid) {
					orgs = append(orgs, tenancy.PresentOrg(q, o))
				}
			}
		}
		if inc == "route" {
			out.Set("routes", routes)
		} else {
			out = append(out, tree.O("apps", appList, "spaces", spaces, "organizations", orgs)...)
		}
	}
	return out
}

func find(q *cc.Req) (*world.RoutePolicy, error) {
	p, ok := q.W.RoutePolicies.Get(q.Var("guid"))
	if !ok || !sees(q)(p) {
		return nil, cc.NotFound("Route policy")
	}
	return p, nil
}

func show(q *cc.Req) (*cc.Reply, error) {
	if p := cc.IncludeProblem(q.Included(), includes...); p != "" {
		return nil, cc.Unprocessable("%s", p)
	}
	p, err := find(q)
	if err != nil {
		return nil, err
	}
	o := present(q, p)
	if inc := q.Included(); inc != nil {
		o.Set("included", included(q, inc, []*world.RoutePolicy{p}))
	}
	return cc.OK(o), nil
}

func audit(q *cc.Req, p *world.RoutePolicy, what string, data tree.Obj) {
	q.Audit("audit.route_policy."+what, world.Target{GUID: p.GUID, Type: "route_policy", Name: p.Source}, spaceOf(q, p), "", data)
}

func create(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("source", "relationships", "metadata")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	route := ""
	if rel, ok := b.Related(); ok {
		if p := cc.UnknownFields(rel, "route"); p != "" {
			b.Add("Relationships %s", p)
		}
		route = b.ToOne(rel, "route", true)
	}
	v := b.Get("source")
	text, isText := v.(string)
	if cc.IsEmpty(v) {
		b.Add("Source can't be blank")
	}
	if !isText {
		b.Add("Source must be a string")
	} else if !sourceForm.MatchString(text) {
		b.Add("Source must be in format 'cf:app:<uuid>', 'cf:space:<uuid>', 'cf:org:<uuid>', or 'cf:any'")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	r, ok := q.W.Routes.Get(route)
	if !ok || !q.ReadsSpace(r.Space) {
		return nil, cc.NotFound("Route")
	}
	if err := q.MayWriteSpace(r.Space); err != nil {
		return nil, err
	}
	if err := allowed(q, r, text); err != nil {
		return nil, err
	}
	p := &world.RoutePolicy{Base: q.W.Base(), Route: r.GUID, Source: text}
	if err := m.Check(&p.Base); err != nil {
		return nil, err
	}
	m.Apply(&p.Base)
	q.W.RoutePolicies.Insert(p)
	audit(q, p, "create", tree.O("request", tree.O("source", text, "route_guid", r.GUID)))
	return cc.Created(present(q, p)), nil
}

// allowed says why a route cannot have such a policy: its domain has to enforce them, and cf:any stands alone.
func allowed(q *cc.Req, r *world.Route, source string) error {
	d, ok := q.W.Domains.Get(r.Domain)
	switch {
	case ok && d.Internal:
		return cc.Unprocessable("Cannot create route policies for routes on internal domains. Internal routes use container-to-container networking and bypass GoRouter.")
	case !ok || !d.EnforceRoutePol:
		return cc.Unprocessable("Cannot create route policies for route '%s': the route's domain does not have enforce_route_policies enabled.", r.GUID)
	case d.PolicyScope == "space" && strings.HasPrefix(source, "cf:org:"):
		return cc.Unprocessable("Source '%s' is not allowed: domain's route_policies_scope is 'space'.", source)
	}
	for _, p := range q.W.RoutePolicies.By("route", r.GUID) {
		switch {
		case source == everyone && p.Source != everyone:
			return cc.Unprocessable("source 'cf:any' cannot coexist with other route policies on the same route")
		case source != everyone && p.Source == everyone:
			return cc.Unprocessable("source cannot coexist with the existing 'cf:any' policy on this route")
		case p.Source == source:
			return cc.Unprocessable("A route policy with source '%s' already exists for this route.", source)
		}
	}
	return nil
}

// writable finds a policy that the caller may change.
func writable(q *cc.Req) (*world.RoutePolicy, error) {
	p, err := find(q)
	if err != nil {
		return nil, err
	}
	return p, q.MayWriteSpace(spaceOf(q, p))
}

func update(q *cc.Req) (*cc.Reply, error) {
	p, err := writable(q)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("metadata")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := m.Check(&p.Base); err != nil {
		return nil, err
	}
	m.Apply(&p.Base)
	q.Touch(&p.Base)
	audit(q, p, "update", tree.O("request", b.Obj))
	return cc.OK(present(q, p)), nil
}

func remove(q *cc.Req) (*cc.Reply, error) {
	p, err := writable(q)
	if err != nil {
		return nil, err
	}
	audit(q, p, "delete", nil)
	q.W.RoutePolicies.Delete(p.GUID)
	return cc.NoContent(), nil
}
