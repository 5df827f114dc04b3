package routing

import (
	"errors"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
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

// closed says why somebody may not bring a route into a space or take it out there, "" when he may.
func closed(q *cc.Req, space string, roles ...string) string {
	if _, ok := q.W.Spaces.Get(space); !ok || !q.ReadsSpace(space) {
		return "Ensure the space exists and that you have access to it."
	}
	var e *cc.Error
	switch err := q.MayWriteSpace(space, roles...); {
	case err == nil:
		return ""
	case errors.As(err, &e) && e.Title == cc.OrgSuspended().Title:
		return "The target organization or space is suspended."
	}
	return "You don't have write permission for the target space."
}

// shareable looks whether a route may be shared into all the spaces.
func shareable(q *cc.Req, r *world.Route, guids []string) error {
	url := apps.RouteURL(&q.Tx, r)
	quoted := func(l []string) string { return "'" + strings.Join(l, "', '") + "'" }
	var unreadable, unwritable, problems []string
	for _, g := range guids {
		if _, ok := q.W.Spaces.Get(g); !ok || !q.ReadsSpace(g) {
			unreadable = append(unreadable, g)
		} else if q.MayWriteSpace(g) != nil {
			unwritable = append(unwritable, g)
		}
	}
	if unreadable != nil {
		problems = append(problems, "Unable to share route "+url+" with spaces ["+quoted(unreadable)+"]. Ensure the spaces exist and that you have access to them.")
	}
	if unwritable != nil {
		problems = append(problems, "Unable to share route "+url+" with spaces ["+quoted(unwritable)+
			"]. Write permission is required in order to share a route with a space and the containing organization must not be suspended.")
	}
	if problems != nil {
		return cc.Unprocessable("%s", strings.Join(problems, "\n"))
	}
	if slices.Contains(guids, r.Space) {
		return cc.Unprocessable("Unable to share route '%s' with space '%s'. Routes cannot be shared into the space where they were created.", url, r.Space)
	}
	return nil
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
	guids := b.DataGUIDs()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := shareable(q, r, guids); err != nil {
		return nil, err
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
	url := apps.RouteURL(&q.Tx, r)
	if p := closed(q, space, writers...); p != "" {
		return nil, cc.Unprocessable("Unable to unshare route '%s' from space '%s'. %s", url, space, p)
	}
	if space == r.Space {
		return nil, cc.Unprocessable("Unable to unshare route '%s' from space '%s'. Routes cannot be removed from the space that owns them.", url, space)
	}
	if i := slices.Index(r.SharedSpaces, space); i >= 0 {
		r.SharedSpaces = slices.Delete(slices.Clone(r.SharedSpaces), i, i+1)
		audit(&q.Tx, r, "audit.route.unshare", tree.O("target_space_guid", space))
	}
	return cc.NoContent(), nil
}

// readOwner reads the body of a transfer.
func readOwner(b *cc.Body) string {
	v := b.Get("data")
	if cc.IsEmpty(v) {
		b.Add("Data can't be blank")
	}
	o, ok := v.(tree.Obj)
	if !ok {
		b.Add("Data must be an object")
		return ""
	}
	if len(o) != 1 {
		b.Add("Data can only accept one key")
	}
	if !o.Has("guid") {
		b.Add("Data can only accept key 'guid'")
	}
	guid := o.Get("guid")
	s, isText := guid.(string)
	switch {
	case guid == nil || guid == false:
	case !isText:
		b.Add("Data %s must be a string", cc.Inspect(guid))
	case s == "":
		b.Add("Data guid can't be blank")
	}
	return s
}

func transferRoute(q *cc.Req) (*cc.Reply, error) {
	if err := q.FeatureForAll("route_sharing"); err != nil {
		return nil, err
	}
	b, err := q.Body("data")
	if err != nil {
		return nil, err
	}
	guid := readOwner(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	r, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(r.Space); err != nil {
		return nil, err
	}
	url := apps.RouteURL(&q.Tx, r)
	if p := closed(q, guid, writers...); p != "" {
		return nil, cc.Unprocessable("Unable to transfer owner of route '%s' to space '%s'. %s", url, guid, p)
	}
	org := apps.OrgOf(&q.Tx, guid)
	if d, ok := q.W.Domains.Get(r.Domain); ok && d.Org != "" && d.Org != org && !slices.Contains(d.SharedOrgs, org) {
		return nil, cc.Unprocessable("Unable to transfer owner of route '%s' to space '%s'. Target space does not have access to route's domain", url, guid)
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
		audit(&q.Tx, r, "audit.route.transfer-owner", tree.O("target_space_guid", guid))
	}
	return cc.OK(tree.O("status", "ok")), nil
}
