package settings

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerEnvGroups(s *cc.Server) {
	s.Read("GET /v3/environment_variable_groups/{name}", showEnvGroup)
	s.Write("PATCH /v3/environment_variable_groups/{name}", setEnvGroup)
}

func presentEnvGroup(q *cc.Req, g *world.EnvGroup) *cc.Reply {
	var at any
	if g.Touched {
		at = cc.Stamp(g.Updated)
	}
	return cc.OK(tree.O("updated_at", at, "name", g.GUID, "var", cc.StringMap(g.Vars),
		"links", tree.O("self", q.Link("/v3/environment_variable_groups/"+g.GUID))))
}

func showEnvGroup(q *cc.Req) (*cc.Reply, error) {
	g, ok := q.W.EnvGroups.Get(q.Var("name"))
	if !ok {
		return nil, cc.NotFound("Environment variable group")
	}
	return presentEnvGroup(q, g), nil
}

// setEnvGroup looks at the body first, then at the caller, then at the name (observed in the source of the controller).
func setEnvGroup(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("var")
	if err != nil {
		return nil, err
	}
	if len(b.Obj) == 0 {
		b.Set("var", tree.Obj{})
	}
	vars := apps.ReadVars(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	g, ok := q.W.EnvGroups.Get(q.Var("name"))
	if !ok {
		return nil, cc.NotFound("Environment variable group")
	}
	g.Vars, g.Touched = apps.MergeVars(g.Vars, vars), true
	q.Touch(&g.Base)
	return presentEnvGroup(q, g), nil
}
