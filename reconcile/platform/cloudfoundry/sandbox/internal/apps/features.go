package apps

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Feature is one of the four switches of an app.
type Feature struct {
	Name, Description string
	On                func(*world.App) bool
	Set               func(*world.App, bool)
}

// Features in the order in which the controller lists them.
var Features = []Feature{
	{"ssh", "Enable SSHing into the app.", func(a *world.App) bool { return !a.SSHDisabled }, func(a *world.App, on bool) { a.SSHDisabled = !on }},
	{"revisions", "Enable versioning of an application", func(a *world.App) bool { return !a.RevisionsDisabled }, func(a *world.App, on bool) { a.RevisionsDisabled = !on }},
	{"service-binding-k8s", "Enable k8s service bindings for the app", func(a *world.App) bool { return a.BindingK8s }, func(a *world.App, on bool) { a.BindingK8s = on }},
	{"file-based-vcap-services", "Enable file-based VCAP service bindings for the app", func(a *world.App) bool { return a.FileBased }, func(a *world.App, on bool) { a.FileBased = on }},
}

func registerFeatures(s *cc.Server) {
	s.Read("GET /v3/apps/{guid}/features", listFeatures)
	s.Read("GET /v3/apps/{guid}/features/{name}", showFeature)
	s.Write("PATCH /v3/apps/{guid}/features/{name}", setFeature)
	s.Read("GET /v3/apps/{guid}/ssh_enabled", sshEnabled)
	s.Read("GET /v3/apps/{guid}/permissions", permissions)
}

// FindFeature finds a feature by name.
func FindFeature(name string) (Feature, error) {
	for _, f := range Features {
		if f.Name == name {
			return f, nil
		}
	}
	return Feature{}, cc.NotFound("Feature")
}

func (f Feature) present(a *world.App) tree.Obj {
	return tree.O("name", f.Name, "description", f.Description, "enabled", f.On(a))
}

func listFeatures(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, f := range Features {
		out = append(out, f.present(a))
	}
	here := tree.O("href", "/v3/apps/"+a.GUID+"/features") // observed fact: without the base URL
	return cc.OK(tree.O("resources", out, "pagination", tree.O(
		"total_results", len(out), "total_pages", 1, "first", here, "last", here, "next", nil, "previous", nil))), nil
}

func showFeature(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	f, err := FindFeature(q.Var("name"))
	if err != nil {
		return nil, err
	}
	return cc.OK(f.present(a)), nil
}

func setFeature(q *cc.Req) (*cc.Reply, error) {
	roles := []string{world.SpaceDeveloper}
	if q.Var("name") == "revisions" {
		roles = append(roles, world.SpaceSupporter)
	}
	a, err := FindForWrite(q, roles...)
	if err != nil {
		return nil, err
	}
	f, err := FindFeature(q.Var("name"))
	if err != nil {
		return nil, err
	}
	b, err := q.Body("enabled")
	if err != nil {
		return nil, err
	}
	on, ok := b.Get("enabled").(bool)
	if !ok {
		b.Add("Enabled must be a boolean")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	was := f.On(a)
	f.Set(a, on)
	if a.BindingK8s && a.FileBased {
		f.Set(a, was)
		return nil, cc.Unprocessable("'file-based-vcap-services' and 'service-binding-k8s' features cannot be enabled at the same time.")
	}
	q.Touch(&a.Base)
	return cc.OK(f.present(a)), nil
}

func sshEnabled(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	s, _ := q.W.Spaces.Get(a.Space)
	switch {
	case s.SSHDisabled:
		return cc.OK(tree.O("enabled", false, "reason", "ssh is disabled for space '"+s.Name+"'")), nil
	case a.SSHDisabled:
		return cc.OK(tree.O("enabled", false, "reason", "ssh is disabled for app")), nil
	}
	return cc.OK(tree.O("enabled", true, "reason", "")), nil
}

func permissions(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(tree.O("read_basic_data", true, "read_sensitive_data", q.Secrets(a.Space))), nil
}
