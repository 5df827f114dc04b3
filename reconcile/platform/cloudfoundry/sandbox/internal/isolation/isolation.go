// Package isolation holds isolation segments: parts of the platform to which organizations are entitled, and of which
// each may have a default and each of its spaces an own one. The sandbox runs nothing, so they only have to be right on
// paper.
package isolation

import (
	"slices"
	"strings"
	"unicode"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/isolation_segments", list)
	s.Write("POST /v3/isolation_segments", create)
	s.Read("GET /v3/isolation_segments/{guid}", show)
	s.Write("PATCH /v3/isolation_segments/{guid}", update)
	s.Write("DELETE /v3/isolation_segments/{guid}", remove)
	s.Read("GET /v3/isolation_segments/{guid}/organizations", orgs)
	s.Read("GET /v3/isolation_segments/{guid}/relationships/organizations", relatedOrgs)
	s.Write("POST /v3/isolation_segments/{guid}/relationships/organizations", entitle)
	s.Write("DELETE /v3/isolation_segments/{guid}/relationships/organizations/{org}", revoke)
	s.Read("GET /v3/isolation_segments/{guid}/relationships/spaces", relatedSpaces)
	registerAssignments(s)
	s.OnDelete("organization", func(tx *cc.Tx, org string) {
		for i := range tx.W.IsolationSegments.All() {
			i.Orgs = without(i.Orgs, org)
		}
	})
}

// sharedGUID is that of the segment "shared", the rest of the platform, the same on every foundation (V3 reference,
// "Isolation Segments").
const sharedGUID = "933b4c58-120b-499a-b85d-4b6fc9e2903b"

// Seed makes the segment "shared".
func Seed(tx *cc.Tx) {
	i := &world.IsolationSegment{Base: tx.W.Base(), Name: "shared"}
	i.GUID = sharedGUID
	tx.W.IsolationSegments.Insert(i)
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

var segments = &cc.List[*world.IsolationSegment]{
	Filters: []cc.Filter[*world.IsolationSegment]{
		cc.Fold("names", func(_ *cc.Req, i *world.IsolationSegment) string { return i.Name }),
		cc.Any("organization_guids", func(_ *cc.Req, i *world.IsolationSegment) []string { return i.Orgs }),
		cc.Labels[*world.IsolationSegment](),
	},
	Orders: []cc.Order[*world.IsolationSegment]{{Name: "name", Compare: func(a, b *world.IsolationSegment) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, i *world.IsolationSegment) any { return present(q, i) },
}

func present(q *cc.Req, i *world.IsolationSegment) tree.Obj {
	self := "/v3/isolation_segments/" + i.GUID
	return cc.Head(&i.Base, "name", i.Name, "metadata", cc.Meta(&i.Base),
		"links", tree.O("self", q.Link(self), "organizations", q.Link(self+"/organizations")))
}

// sees: members of an entitled organization.
func sees(q *cc.Req) func(*world.IsolationSegment) bool {
	sight := q.Sees()
	return func(i *world.IsolationSegment) bool { return sight.All || slices.ContainsFunc(i.Orgs, sight.Org) }
}

func list(q *cc.Req) (*cc.Reply, error) {
	return segments.Answer(q, q.W.IsolationSegments.All(), sees(q))
}

func find(q *cc.Req, see func(*world.IsolationSegment) bool) (*world.IsolationSegment, error) {
	i, ok := q.W.IsolationSegments.Get(q.Var("guid"))
	if !ok || see != nil && !see(i) {
		return nil, cc.NotFound("Isolation segment")
	}
	return i, nil
}

func show(q *cc.Req) (*cc.Reply, error) {
	i, err := find(q, sees(q))
	if err != nil {
		return nil, err
	}
	return cc.OK(present(q, i)), nil
}

// segmentName checks the name as far as the body goes, and then as the record would have it.
func segmentName(b *cc.Body) string {
	v := b.Get("name")
	s, ok := v.(string)
	if v != nil && !ok {
		b.Add("Name must be a string")
	}
	return s
}

func checkName(q *cc.Req, name string, self *world.IsolationSegment) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return cc.Unprocessable("Isolation Segment names can only contain non-blank unicode characters")
	}
	for i := range q.W.IsolationSegments.All() {
		if i != self && strings.EqualFold(i.Name, name) {
			return cc.Unprocessable("Isolation Segment names are case insensitive and must be unique")
		}
	}
	return nil
}

func create(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "metadata")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	name := segmentName(b)
	if cc.IsEmpty(b.Get("name")) {
		b.Add("Name can't be blank")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	i := &world.IsolationSegment{Base: q.W.Base(), Name: name}
	if err := checkName(q, name, i); err != nil {
		return nil, err
	}
	if err := m.Check(&i.Base); err != nil {
		return nil, err
	}
	m.Apply(&i.Base)
	q.W.IsolationSegments.Insert(i)
	return cc.Created(present(q, i)), nil
}

func update(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	i, err := find(q, nil)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("name", "metadata")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	name := segmentName(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if i.GUID == sharedGUID {
		return nil, cc.Unprocessable("Cannot update the shared Isolation Segment")
	}
	if inUse(&q.Tx, i.GUID) {
		return nil, cc.Unprocessable("Cannot update Isolation Segments that are assigned as the default for an Organization or Space.")
	}
	if b.Has("name") {
		if err := checkName(q, name, i); err != nil {
			return nil, err
		}
		i.Name = name
	}
	if err := m.Check(&i.Base); err != nil {
		return nil, err
	}
	m.Apply(&i.Base)
	q.Touch(&i.Base)
	return cc.OK(present(q, i)), nil
}

func inUse(tx *cc.Tx, guid string) bool {
	for o := range tx.W.Orgs.All() {
		if o.IsolationSegment == guid {
			return true
		}
	}
	return len(spacesWith(tx, guid)) > 0
}

func spacesWith(tx *cc.Tx, guid string) (out []*world.Space) {
	for s := range tx.W.Spaces.All() {
		if s.IsolationSegment == guid {
			out = append(out, s)
		}
	}
	return out
}

func remove(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	i, err := find(q, nil)
	if err != nil {
		return nil, err
	}
	if i.GUID == sharedGUID {
		return nil, cc.Unprocessable("Cannot delete the %s Isolation Segment", i.Name)
	}
	if len(i.Orgs) > 0 || len(spacesWith(&q.Tx, i.GUID)) > 0 {
		return nil, cc.Unprocessable("Revoke the Organization entitlements for your Isolation Segment.")
	}
	q.W.IsolationSegments.Delete(i.GUID)
	return cc.NoContent(), nil
}

func orgs(q *cc.Req) (*cc.Reply, error) {
	i, err := find(q, sees(q))
	if err != nil {
		return nil, err
	}
	return tenancy.AnswerOrgs(q, func(o *world.Org) bool { return slices.Contains(i.Orgs, o.GUID) })
}

func presentOrgs(q *cc.Req, i *world.IsolationSegment) *cc.Reply {
	sight := q.Sees()
	guids := slices.DeleteFunc(slices.Clone(i.Orgs), func(g string) bool { return !sight.Org(g) })
	out, self := cc.Many(guids), "/v3/isolation_segments/"+i.GUID
	out.Set("links", tree.O("self", q.Link(self+"/relationships/organizations"), "related", q.Link(self+"/organizations")))
	return cc.OK(out)
}

func relatedOrgs(q *cc.Req) (*cc.Reply, error) {
	i, err := find(q, sees(q))
	if err != nil {
		return nil, err
	}
	return presentOrgs(q, i), nil
}

func relatedSpaces(q *cc.Req) (*cc.Reply, error) {
	i, err := find(q, sees(q))
	if err != nil {
		return nil, err
	}
	sight := q.Sees()
	var guids []string
	for _, s := range spacesWith(&q.Tx, i.GUID) {
		if sight.Space(s.GUID) {
			guids = append(guids, s.GUID)
		}
	}
	out := cc.Many(guids)
	out.Set("links", tree.O("self", q.Link("/v3/isolation_segments/"+i.GUID+"/relationships/spaces")))
	return cc.OK(out), nil
}

func entitle(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	i, err := find(q, nil)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("data")
	if err != nil {
		return nil, err
	}
	v := b.Get("data")
	if cc.IsEmpty(v) {
		b.Add("Data can't be blank")
	}
	l, ok := v.([]any)
	if !ok {
		b.Add("Data must be an array")
	}
	var guids, missing []string
	for _, e := range l {
		o, _ := e.(tree.Obj)
		g, ok := o.Get("guid").(string)
		if !ok {
			b.Add("Data %s not a string", rubyText(o.Get("guid")))
			continue
		}
		guids = append(guids, g)
		if _, ok := q.W.Orgs.Get(g); !ok {
			missing = append(missing, "'"+g+"'")
		}
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if missing != nil {
		return nil, cc.Unprocessable("Unable to entitle organizations [%s] for the isolation segment. Ensure the organizations exist.", strings.Join(missing, ", "))
	}
	for _, g := range guids {
		if !slices.Contains(i.Orgs, g) {
			i.Orgs = append(slices.Clone(i.Orgs), g)
		}
		if o, _ := q.W.Orgs.Get(g); o.IsolationSegment == "" && i.GUID == sharedGUID {
			o.IsolationSegment = i.GUID
		}
	}
	return presentOrgs(q, i), nil
}

// rubyText is how Ruby puts a value into a text: nothing for nil.
func rubyText(v any) string {
	if v == nil {
		return ""
	}
	return cc.Inspect(v)
}

func revoke(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	i, err := find(q, nil)
	if err != nil {
		return nil, err
	}
	o, ok := q.W.Orgs.Get(q.Var("org"))
	if !ok {
		return nil, cc.NotFound("Org")
	}
	if o.IsolationSegment == i.GUID {
		return nil, cc.Unprocessable("Cannot remove the entitlement while this Isolation Segment is assigned as the Default Isolation Segment for the Organization.")
	}
	var names []string
	for _, s := range spacesWith(&q.Tx, i.GUID) {
		if s.Org == o.GUID {
			names = append(names, "'"+s.Name+"'")
		}
	}
	if names != nil {
		return nil, cc.Unprocessable("Cannot remove the entitlement while this Isolation Segment is assigned to any Spaces. Currently assigned to: %s", strings.Join(names, ", "))
	}
	i.Orgs = without(i.Orgs, o.GUID)
	return cc.NoContent(), nil
}
