package isolation

import (
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerAssignments(s *cc.Server) {
	s.Read("GET /v3/organizations/{guid}/relationships/default_isolation_segment", orgSegment)
	s.Write("PATCH /v3/organizations/{guid}/relationships/default_isolation_segment", setOrgSegment)
	s.Read("GET /v3/spaces/{guid}/relationships/isolation_segment", spaceSegment)
	s.Write("PATCH /v3/spaces/{guid}/relationships/isolation_segment", setSpaceSegment)
}

func assigned(q *cc.Req, path, guid string) *cc.Reply {
	out, links := cc.One(guid), tree.O("self", q.Link(path))
	if guid != "" {
		links.Set("related", q.Link("/v3/isolation_segments/"+guid))
	}
	out.Set("links", links)
	return cc.OK(out)
}

const (
	orgPath   = "/relationships/default_isolation_segment"
	spacePath = "/relationships/isolation_segment"
)

func orgSegment(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	return assigned(q, "/v3/organizations/"+o.GUID+orgPath, o.IsolationSegment), nil
}

func spaceSegment(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	return assigned(q, "/v3/spaces/"+s.GUID+spacePath, s.IsolationSegment), nil
}

// segment reads {"data": {"guid": …}} or {"data": null}; given says that there was a field "data" at all.
func segment(q *cc.Req) (guid string, given bool, body tree.Obj, err error) {
	b, err := q.Body("data")
	if err != nil {
		return "", false, nil, err
	}
	v, given := b.Lookup("data")
	o, isObj := v.(tree.Obj)
	if v != nil {
		if cc.IsEmpty(v) {
			b.Add("Data can't be blank")
		}
		if !isObj {
			b.Add("Data must be an object")
		}
		if isObj && len(o) != 1 {
			b.Add("Data can only accept one key")
		}
		if isObj && !o.Has("guid") {
			b.Add("Data can only accept key 'guid'")
		}
		g := o.Get("guid")
		s, isText := g.(string)
		if g != nil && !isText {
			b.Add("Data %s must be a string", cc.Inspect(g))
		}
		guid = s
	}
	return guid, given, b.Obj, b.Err()
}

func entitled(q *cc.Req, guid, org string) bool {
	i, ok := q.W.IsolationSegments.Get(guid)
	return ok && slices.Contains(i.Orgs, org)
}

func setOrgSegment(q *cc.Req) (*cc.Reply, error) {
	guid, given, _, err := segment(q)
	if err != nil {
		return nil, err
	}
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteOrg(o.GUID); err != nil {
		return nil, err
	}
	if guid != "" && !entitled(q, guid, o.GUID) {
		return nil, cc.Unprocessable("Unable to assign isolation segment with guid '%s'. Ensure it has been entitled to the organization.", guid)
	}
	if given {
		o.IsolationSegment = guid
		q.Touch(&o.Base)
	}
	return assigned(q, "/v3/organizations/"+o.GUID+orgPath, guid), nil
}

func setSpaceSegment(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteOrg(s.Org); err != nil {
		return nil, err
	}
	guid, _, body, err := segment(q)
	if err != nil {
		return nil, err
	}
	if guid != "" && !entitled(q, guid, s.Org) {
		return nil, cc.Unprocessable("Unable to assign isolation segment with guid '%s'. Ensure it has been entitled to the organization that this space belongs to.", guid)
	}
	s.IsolationSegment = guid
	q.Touch(&s.Base)
	q.Audit("audit.space.update", world.Target{GUID: s.GUID, Type: "space", Name: s.Name}, s.GUID, s.Org, tree.O("request", body))
	return assigned(q, "/v3/spaces/"+s.GUID+spacePath, guid), nil
}
