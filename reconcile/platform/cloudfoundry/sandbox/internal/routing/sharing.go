package routing

import (
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerSharing(s *cc.Server) {
	s.Read("GET /v3/routes/{guid}/relationships/shared_spaces", sharedSpaces)
	s.Write("POST /v3/routes/{guid}/relationships/shared_spaces", shareRoute)
	s.Write("DELETE /v3/routes/{guid}/relationships/shared_spaces/{space}", unshareRoute)
	s.Write("PATCH /v3/routes/{guid}/relationships/space", transferRoute)
}

func presentShared(q *cc.Req, r *world.Route) tree.Obj {
	o := cc.Many(r.SharedSpaces)
	o.Set("links", tree.O("self", q.Link("/v3/routes/"+r.GUID+"/relationships/shared_spaces")))
	return o
}

func sharedSpaces(q *cc.Req) (*cc.Reply, error) {
	if err := q.FeatureForAll("route_sharing"); err != nil { // observed fact: even for reading
		return nil, err
	}
	r, err := find(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentShared(q, r)), nil
}

func shareRoute(q *cc.Req) (*cc.Reply, error) {
	if err := q.FeatureForAll("route_sharing"); err != nil {
		return nil, err
	}
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("data")
	if err != nil {
		return nil, err
	}
	guids, ok := cc.GUIDs(b.Get("data"))
	if !ok {
		b.Add("Data must be an array")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	for _, g := range guids {
		if _, ok := q.W.Spaces.Get(g); !ok || !q.ReadsSpace(g) {
			return nil, cc.Unprocessable("Unable to share route %s with spaces [%s]. Ensure the spaces exist and that you have access to them.", "'"+r.GUID+"'", "'"+g+"'")
		}
		if q.MayWriteSpace(g, writers...) != nil {
			return nil, cc.Unprocessable("Unable to share route '%s' with spaces ['%s']. Write permission is required in order to share a route with a space.", r.GUID, g)
		}
		if g == r.Space {
			return nil, cc.Unprocessable("Unable to share route '%s' with space '%s'. Routes cannot be shared into the space where they were created.", r.GUID, g)
		}
	}
	for _, g := range guids {
		if !slices.Contains(r.SharedSpaces, g) {
			r.SharedSpaces = append(slices.Clone(r.SharedSpaces), g)
		}
	}
	audit(&q.Tx, r, "audit.route.share", tree.O("target_space_guids", guids))
	return cc.OK(presentShared(q, r)), nil
}

func unshareRoute(q *cc.Req) (*cc.Reply, error) {
	if err := q.FeatureForAll("route_sharing"); err != nil {
		return nil, err
	}
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	space := q.Var("space")
	if space == r.Space {
		return nil, cc.Unprocessable("Unable to unshare route '%s' from space '%s'. Routes cannot be removed from the space that owns them.", r.GUID, space)
	}
	if i := slices.Index(r.SharedSpaces, space); i >= 0 {
		r.SharedSpaces = slices.Delete(slices.Clone(r.SharedSpaces), i, i+1)
		audit(&q.Tx, r, "audit.route.unshare", tree.O("target_space_guid", space))
	}
	return cc.NoContent(), nil
}

func transferRoute(q *cc.Req) (*cc.Reply, error) {
	if err := q.FeatureForAll("route_sharing"); err != nil {
		return nil, err
	}
	r, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(r.Space); err != nil {
		return nil, err
	}
	b, err := q.Body("data")
	if err != nil {
		return nil, err
	}
	guid, _ := b.Path("data", "guid").(string)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if _, ok := q.W.Spaces.Get(guid); !ok || !q.ReadsSpace(guid) || q.MayWriteSpace(guid) != nil {
		return nil, cc.Unprocessable("Unable to transfer owner of route '%s' to space '%s'. Ensure the space exists and that you have access to it.", r.GUID, guid)
	}
	if guid != r.Space {
		old := r.Space
		n := *r
		n.SharedSpaces = []string{old}
		for _, s := range r.SharedSpaces {
			if s != guid && s != old {
				n.SharedSpaces = append(n.SharedSpaces, s)
			}
		}
		n.Space = guid
		q.W.Routes.Delete(r.GUID) // the index by space is made when a row is inserted
		q.W.Routes.Insert(&n)
		audit(&q.Tx, &n, "audit.route.transfer-owner", tree.O("target_space_guid", guid))
	}
	return cc.OK(tree.O("data", tree.O("guid", guid), "links", tree.O("self", q.Link("/v3/routes/"+r.GUID+"/relationships/space")))), nil
}
