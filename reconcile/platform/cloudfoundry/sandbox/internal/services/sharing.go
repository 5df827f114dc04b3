package services

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

const sharedPath = "/relationships/shared_spaces"

func registerSharing(s *cc.Server) {
	s.Read("GET /v3/service_instances/{guid}"+sharedPath, sharedSpaces)
	s.Write("POST /v3/service_instances/{guid}"+sharedPath, share)
	s.Write("DELETE /v3/service_instances/{guid}"+sharedPath+"/{space}", unshare)
	s.Read("GET /v3/service_instances/{guid}"+sharedPath+"/usage_summary", sharedUsage)
	s.OnDelete("space", func(tx *cc.Tx, space string) {
		for si := range tx.W.ServiceInstances.All() {
			if slices.Contains(si.SharedSpaces, space) {
				unshareFrom(tx, si, space)
			}
		}
	})
}

func auditShare(tx *cc.Tx, si *world.ServiceInstance, what string, data tree.Obj) {
	tx.Audit("audit.service_instance."+what, world.Target{GUID: si.GUID, Type: "service_instance", Name: si.Name}, si.Space, "", data)
}

var sharedFields = []cc.FieldRule{
	{Resource: "space", Keys: []string{"name", "guid", "relationships.organization"}},
	{Resource: "space.organization", Keys: []string{"name", "guid"}},
}

func presentShared(q *cc.Req, si *world.ServiceInstance) tree.Obj {
	out := cc.Many(si.SharedSpaces)
	out.Set("links", tree.O("self", q.Link("/v3/service_instances/"+si.GUID+sharedPath)))
	return out
}

func sharedSpaces(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if p := q.FieldsProblem(sharedFields); p != "" {
		return nil, cc.BadQuery(p)
	}
	out := presentShared(q, si)
	if fields := q.Fields(); len(fields) > 0 {
		out.Set("included", includedSpaces(q, fields, si.SharedSpaces))
	}
	return cc.OK(out), nil
}

// includedSpaces presents what fields[space] and fields[space.organization] ask for.
func includedSpaces(q *cc.Req, fields map[string][]string, guids []string) tree.Obj {
	spaces, orgs, seen := []any{}, []any{}, map[string]bool{}
	for _, g := range guids {
		s, ok := q.W.Spaces.Get(g)
		if !ok || seen[g] {
			continue
		}
		seen[g] = true
		spaces = append(spaces, pick(fields["space"], tree.O("guid", s.GUID, "name", s.Name), "organization", s.Org))
		if o, ok := q.W.Orgs.Get(s.Org); ok && !seen[o.GUID] {
			seen[o.GUID] = true
			orgs = append(orgs, pick(fields["space.organization"], tree.O("guid", o.GUID, "name", o.Name), "", ""))
		}
	}
	out := tree.Obj{}
	if fields["space"] != nil {
		out.Set("spaces", spaces)
	}
	if fields["space.organization"] != nil {
		out.Set("organizations", orgs)
	}
	return out
}

// pick keeps the asked-for keys; relationships.NAME stands for a relationship to guid.
func pick(keys []string, o tree.Obj, name, guid string) tree.Obj {
	out := cc.Pick(o, keys)
	if name != "" && slices.Contains(keys, "relationships."+name) {
		out.Set("relationships", tree.O(name, cc.One(guid)))
	}
	return out
}

func share(q *cc.Req) (*cc.Reply, error) {
	if err := q.FeatureForAll("service_instance_sharing"); err != nil {
		return nil, err
	}
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(si.Space); err != nil {
		return nil, err
	}
	b, err := q.Body("data")
	if err != nil {
		return nil, err
	}
	guids := b.DataGUIDs()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := targets(q, si, guids); err != nil {
		return nil, err
	}
	if err := shareable(&q.Tx, si, guids); err != nil {
		return nil, err
	}
	for _, g := range guids {
		if !slices.Contains(si.SharedSpaces, g) {
			si.SharedSpaces = append(slices.Clone(si.SharedSpaces), g)
		}
	}
	auditShare(&q.Tx, si, "share", tree.O("target_space_guids", guids))
	return cc.OK(presentShared(q, si)), nil
}

// targets refuses spaces that the caller cannot see, or cannot write in.
func targets(q *cc.Req, si *world.ServiceInstance, guids []string) error {
	quote := func(l []string) string { return "'" + strings.Join(l, "', '") + "'" }
	var unknown, unreadable, readonly []string
	for _, g := range guids {
		switch _, ok := q.W.Spaces.Get(g); {
		case !ok:
			unknown = append(unknown, g)
		case !q.ReadsSpace(g):
			unreadable = append(unreadable, g)
		case q.MayWriteSpace(g) != nil:
			readonly = append(readonly, g)
		}
	}
	var why []string
	if l := append(unknown, unreadable...); l != nil {
		why = append(why, "Unable to share service instance "+si.Name+" with spaces ["+quote(l)+"]. Ensure the spaces exist and that you have access to them.")
	}
	if readonly != nil {
		why = append(why, "Unable to share service instance "+si.Name+" with spaces ["+quote(readonly)+"]. Write permission is required in order to share a service instance with a space.")
	}
	if why != nil {
		return cc.Unprocessable("%s", strings.Join(why, "\n"))
	}
	return nil
}

// shareable says why an instance cannot be shared with some spaces.
func shareable(tx *cc.Tx, si *world.ServiceInstance, guids []string) error {
	plan := planOf(tx, si)
	offering := offeringOf(tx, si)
	switch {
	case si.RouteServiceURL != "" || requires(offering, "route_forwarding"):
		return cc.Unprocessable("Route services cannot be shared.")
	case si.Type == UserProvided:
		return cc.Unprocessable("User-provided services cannot be shared.")
	case !marketplace.Shareable(offering):
		return cc.Unprocessable("The %s service does not support service instance sharing.", offering.Name)
	case slices.Contains(guids, si.Space):
		return cc.Unprocessable("Unable to share service instance '%s' with space '%s'. Service instances cannot be shared into the space where they were created.", si.Name, si.Space)
	case !plan.Available:
		return cc.Unprocessable("The service instance could not be shared as the %s plan is inactive.", plan.Name)
	}
	for _, g := range guids {
		s, _ := tx.W.Spaces.Get(g)
		if !marketplace.InSpace(tx, plan, s) {
			org := ""
			if o, ok := tx.W.Orgs.Get(s.Org); ok {
				org = o.Name
			}
			return cc.Unprocessable("Access to service %s and plan %s is not enabled in %s/%s.", offering.Name, plan.Name, org, s.Name)
		}
		for other := range tx.W.ServiceInstances.All() {
			switch {
			case other.Name != si.Name:
			case other.Space == g:
				return cc.Unprocessable("A service instance called %s already exists in %s.", si.Name, s.Name)
			case slices.Contains(other.SharedSpaces, g):
				return cc.Unprocessable("A service instance called %s has already been shared with %s.", si.Name, s.Name)
			}
		}
	}
	switch l := si.LastOperation; {
	case failedToCreate(l):
		return cc.NewError(404, 60004, "ServiceInstanceNotFound", "The service instance could not be found: %s", si.Name)
	case l.Type == "create" && l.State != osb.Succeeded:
		return cc.Unprocessable("Service instance is currently being created. It can be shared after its creation succeeded.")
	case l.Type == "delete" && busy(l):
		return cc.Unprocessable("The service instance is getting deleted.")
	}
	return nil
}

func unshare(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(si.Space); err != nil {
		return nil, err
	}
	s := q.Var("space")
	if _, ok := q.W.Spaces.Get(s); !ok {
		return nil, cc.Unprocessable("Unable to unshare service instance from space %s. Ensure the space exists.", s)
	}
	unshareFrom(&q.Tx, si, s)
	return cc.NoContent(), nil
}

// unshareFrom takes an instance away from a space, with the bindings of the apps there.
func unshareFrom(tx *cc.Tx, si *world.ServiceInstance, space string) {
	for _, b := range tx.W.ServiceBindings.By("instance", si.GUID) {
		if a, ok := tx.W.Apps.Get(b.App); ok && a.Space == space {
			RemoveBinding(tx, b)
		}
	}
	si.SharedSpaces = slices.DeleteFunc(slices.Clone(si.SharedSpaces), func(s string) bool { return s == space })
	auditShare(tx, si, "unshare", tree.O("target_space_guid", space))
}

func sharedUsage(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, s := range si.SharedSpaces {
		n := 0
		for _, b := range q.W.ServiceBindings.By("instance", si.GUID) {
			if a, ok := q.W.Apps.Get(b.App); ok && a.Space == s {
				n++
			}
		}
		list = append(list, tree.O("space", tree.O("guid", s), "bound_app_count", n))
	}
	self := "/v3/service_instances/" + si.GUID
	return cc.OK(tree.O("usage_summary", list, "links", tree.O("self", q.Link(self+sharedPath+"/usage_summary"),
		"shared_spaces", q.Link(self+sharedPath), "service_instance", q.Link(self)))), nil
}
