package marketplace

import (
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerVisibility(s *cc.Server) {
	const path = "/v3/service_plans/{guid}/visibility"
	s.Read("GET "+path, showVisibility)
	s.Write("PATCH "+path, func(q *cc.Req) (*cc.Reply, error) { return setVisibility(q, false) })
	s.Write("POST "+path, func(q *cc.Req) (*cc.Reply, error) { return setVisibility(q, true) })
	s.Write("DELETE "+path+"/{org}", removeVisibility)
}

// presentVisibility shows the kind of visibility, and of the organizations those that the caller sees.
func presentVisibility(q *cc.Req, p *world.ServicePlan, orgs bool) tree.Obj {
	kind := VisibilityType(&q.Tx, p)
	out := tree.O("type", kind)
	_, b := Of(&q.Tx, p)
	if s, ok := q.W.Spaces.Get(b.Space); ok && kind == "space" {
		out.Set("space", tree.O("guid", s.GUID, "name", s.Name))
	}
	if kind == "organization" && orgs {
		list := []any{}
		for _, g := range p.Orgs {
			if o, ok := q.W.Orgs.Get(g); ok && q.ReadsOrg(g) {
				list = append(list, tree.O("guid", g, "name", o.Name))
			}
		}
		out.Set("organizations", list)
	}
	return out
}

func showVisibility(q *cc.Req) (*cc.Reply, error) {
	p, err := findPlan(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentVisibility(q, p, true)), nil
}

func visibilityEvent(q *cc.Req, what string, p *world.ServicePlan, org string, request tree.Obj) {
	q.Audit("audit.service_plan_visibility."+what, world.Target{GUID: p.GUID, Type: "service_plan_visibility"}, "", org, tree.O("request", request))
}

// visibilityPlan finds a plan whose visibility the caller may change.
func visibilityPlan(q *cc.Req) (*world.ServicePlan, error) {
	p, err := findPlan(q)
	if err != nil {
		return nil, err
	}
	if _, b := Of(&q.Tx, p); !mayWrite(q, b) {
		return nil, cc.NotAuthorized()
	}
	return p, nil
}

// setVisibility replaces the visibility of a plan or, with POST, adds organizations to those that have it. What is wrong
// with the body is a 400 here.
func setVisibility(q *cc.Req, add bool) (*cc.Reply, error) {
	p, err := visibilityPlan(q)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("type", "organizations")
	if err != nil {
		return nil, err
	}
	kind, _ := b.Str("type")
	if !slices.Contains([]string{"public", "admin", "organization"}, kind) {
		b.Add("Type must be one of 'public', 'admin', 'organization'")
	}
	guids := visibilityOrgs(b, kind)
	if b.Problems != nil {
		text := b.Problems[0]
		for _, t := range b.Problems[1:] {
			text += ", " + t
		}
		return nil, cc.BadRequest("%s", text)
	}
	if VisibilityType(&q.Tx, p) == "space" {
		return nil, cc.Unprocessable("cannot update plans with visibility type 'space'")
	}
	for _, g := range guids {
		if _, ok := q.W.Orgs.Get(g); !ok {
			return nil, cc.Unprocessable("Could not find Organization with guid: %s", g)
		}
	}
	switch {
	case kind != "organization":
		p.Orgs = nil
	case !add:
		p.Orgs = slices.Compact(guids)
	default:
		p.Orgs = slices.Clone(p.Orgs)
		for _, g := range guids {
			if !slices.Contains(p.Orgs, g) {
				p.Orgs = append(p.Orgs, g)
			}
		}
	}
	p.Public = kind == "public"
	visibilityEvent(q, "update", p, "", b.Obj)
	return cc.OK(presentVisibility(q, p, !add)), nil
}

func visibilityOrgs(b *cc.Body, kind string) []string {
	v := b.Get("organizations")
	if kind != "organization" {
		if !cc.IsEmpty(v) {
			b.Add("Organizations must be blank")
		}
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		b.Add("Organizations must be an array")
	}
	if cc.IsEmpty(v) {
		b.Add("Organizations can't be blank")
	}
	var guids []string
	for _, e := range l {
		o, _ := e.(tree.Obj)
		g, ok := o.Get("guid").(string)
		if !ok {
			b.Add(`Organizations organizations list must be structured like this: "organizations": [{"guid": "valid-guid"}]`)
			return nil
		}
		guids = append(guids, g)
	}
	return guids
}

func removeVisibility(q *cc.Req) (*cc.Reply, error) {
	p, err := visibilityPlan(q)
	if err != nil {
		return nil, err
	}
	if VisibilityType(&q.Tx, p) != "organization" {
		return nil, cc.Unprocessable("Cannot delete visibilities from non-org-restricted plans")
	}
	org := q.Var("org")
	if _, ok := q.W.Orgs.Get(org); !ok {
		return nil, cc.NotFound("Organization")
	}
	i := slices.Index(p.Orgs, org)
	if i < 0 {
		return nil, cc.NotFound("Service plan visibility")
	}
	p.Orgs = slices.Delete(slices.Clone(p.Orgs), i, i+1)
	visibilityEvent(q, "delete", p, org, tree.Obj{})
	return cc.NoContent(), nil
}
