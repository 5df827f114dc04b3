package apps

import (
	"slices"
	"strconv"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerRevisions(s *cc.Server) {
	s.Read("GET /v3/apps/{guid}/revisions", appRevisions)
	s.Read("GET /v3/apps/{guid}/revisions/deployed", deployedRevisions)
	s.Read("GET /v3/revisions/{guid}", showRevision)
	s.Write("GET /v3/revisions/{guid}/environment_variables", revisionVars)
	s.Write("PATCH /v3/revisions/{guid}", updateRevision)
}

func revisionList(deployed bool) *cc.List[*world.Revision] {
	l := &cc.List[*world.Revision]{
		Filters: []cc.Filter[*world.Revision]{
			cc.In("versions", func(_ *cc.Req, r *world.Revision) string { return strconv.Itoa(r.Version) }),
			cc.Labels[*world.Revision](),
		},
		Show: func(q *cc.Req, r *world.Revision) any { return presentRevision(q, r) },
	}
	if deployed {
		l.Filters = l.Filters[1:]
	}
	return l
}

var (
	revisions = revisionList(false)
	deployed  = revisionList(true)
)

func presentRevision(q *cc.Req, r *world.Revision) tree.Obj {
	self := "/v3/revisions/" + r.GUID
	procs := tree.Obj{}
	types := make([]string, 0, len(r.Commands))
	for t := range r.Commands {
		types = append(types, t)
	}
	slices.Sort(types)
	for _, t := range types {
		procs.Set(t, tree.O("command", cc.OrNil(r.Commands[t])))
	}
	side := []any{}
	for _, s := range r.Sidecars {
		side = append(side, tree.O("name", s.Name, "command", s.Command, "memory_in_mb", s.Memory, "process_types", s.ProcessTypes))
	}
	_, deployable := q.W.Droplets.Get(r.Droplet)
	return tree.O("guid", r.GUID, "version", r.Version, "droplet", tree.O("guid", r.Droplet), "processes", procs, "sidecars", side,
		"description", r.Description, "relationships", tree.O("app", cc.One(r.App)),
		"created_at", cc.Stamp(r.Created), "updated_at", cc.Stamp(r.Updated),
		"links", tree.O("self", q.Link(self), "app", q.Link("/v3/apps/"+r.App), "environment_variables", q.Link(self+"/environment_variables")),
		"metadata", cc.Meta(&r.Base), "deployable", deployable)
}

func appRevisions(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	return revisions.Answer(q, slices.Values(q.W.Revisions.By("app", a.GUID)), nil)
}

// deployedRevisions lists those that running processes have.
func deployedRevisions(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	in := map[string]bool{}
	for _, p := range q.W.Processes.By("app", a.GUID) {
		if runtime.Healthy(&q.Tx, p) > 0 {
			in[p.Revision] = true
		}
	}
	return deployed.Answer(q, slices.Values(q.W.Revisions.By("app", a.GUID)), func(r *world.Revision) bool { return in[r.GUID] })
}

func findRevision(q *cc.Req) (*world.Revision, *world.App, error) {
	r, ok := q.W.Revisions.Get(q.Var("guid"))
	if ok {
		if a, err := Visible(q, r.App); err == nil {
			return r, a, nil
		}
	}
	return nil, nil, cc.NotFound("Revision")
}

func showRevision(q *cc.Req) (*cc.Reply, error) {
	r, _, err := findRevision(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentRevision(q, r)), nil
}

func revisionVars(q *cc.Req) (*cc.Reply, error) {
	r, a, err := findRevision(q)
	if err != nil {
		return nil, err
	}
	if !q.Secrets(a.Space) {
		return nil, cc.NotAuthorized()
	}
	runtime.Audit(&q.Tx, a, "audit.app.revision.environment_variables.show", tree.O("revision_guid", r.GUID, "revision_version", r.Version))
	self := "/v3/revisions/" + r.GUID
	return cc.OK(tree.O("var", cc.StringMap(r.Env), "links", tree.O(
		"self", q.Link(self+"/environment_variables"), "revision", q.Link(self), "app", q.Link("/v3/apps/"+a.GUID)))), nil
}

func updateRevision(q *cc.Req) (*cc.Reply, error) {
	r, a, err := findRevision(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
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
	if err := m.Check(&r.Base); err != nil {
		return nil, err
	}
	m.Apply(&r.Base)
	q.Touch(&r.Base)
	return cc.OK(presentRevision(q, r)), nil
}
