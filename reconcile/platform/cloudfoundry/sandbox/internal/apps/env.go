package apps

import (
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/vcap"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Hidden stands in audit events for what is secret.
const Hidden = "[PRIVATE DATA HIDDEN]"

// ReservedEnv lists the reserved names among environment variables, in the controller's words, without their subject.
// Case does not matter (observed fact), and CF_ is free.
func ReservedEnv(vars tree.Obj) []string {
	var out []string
	for _, f := range vars {
		up := strings.ToUpper(f.Key)
		switch {
		case f.Key == "":
			out = append(out, "key must be a minimum length of 1")
		case strings.HasPrefix(up, "VCAP_"):
			out = append(out, "cannot start with VCAP_")
		case strings.HasPrefix(up, "VMC"):
			out = append(out, "cannot start with VMC_")
		case up == "PORT":
			out = append(out, "cannot set PORT")
		}
	}
	return out
}

// ReadVars checks {"var": {…}} of an update: values are strings, null removes.
func ReadVars(b *cc.Body) tree.Obj {
	vars, ok := b.Get("var").(tree.Obj)
	if !ok {
		b.Add("Var must be an object")
		return nil
	}
	for _, p := range ReservedEnv(vars) {
		b.Add("Var %s", p)
	}
	for _, f := range vars {
		switch f.Value.(type) {
		case string, nil:
		default:
			b.Add("Non-string value in environment variable for key '%s', value '%s'", f.Key, string(tree.JSON(f.Value)))
		}
	}
	return vars
}

// MergeVars returns the variables with the changes made; null removes.
func MergeVars(have map[string]string, changes tree.Obj) map[string]string {
	out := make(map[string]string, len(have)+len(changes))
	for k, v := range have {
		out[k] = v
	}
	for _, f := range changes {
		switch v := f.Value.(type) {
		case nil:
			delete(out, f.Key)
		case string:
			out[f.Key] = v
		default:
			out[f.Key] = string(tree.JSON(v))
		}
	}
	return out
}

func registerEnv(s *cc.Server) {
	s.Write("GET /v3/apps/{guid}/environment_variables", showVars) // reading secrets leaves an event
	s.Write("PATCH /v3/apps/{guid}/environment_variables", setVars)
	s.Write("GET /v3/apps/{guid}/env", showEnv)
}

// mayReadEnv: those who see secrets, and supporters; the feature flags may close it for all but administrators.
func mayReadEnv(q *cc.Req, a *world.App) error {
	if !q.Secrets(a.Space) && !q.HasSpaceRole(a.Space, world.SpaceSupporter) {
		return cc.NotAuthorized()
	}
	if err := q.Feature("env_var_visibility"); err != nil {
		return err
	}
	return q.Feature("space_developer_env_var_visibility")
}

func presentVars(q *cc.Req, a *world.App) tree.Obj {
	return tree.O("var", cc.StringMap(a.Env), "links", tree.O(
		"self", q.Link("/v3/apps/"+a.GUID+"/environment_variables"), "app", q.Link("/v3/apps/"+a.GUID)))
}

func showVars(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	if err := mayReadEnv(q, a); err != nil {
		return nil, err
	}
	runtime.Audit(&q.Tx, a, "audit.app.environment_variables.show", nil)
	return cc.OK(presentVars(q, a)), nil
}

func setVars(q *cc.Req) (*cc.Reply, error) {
	a, err := FindForWrite(q, world.SpaceDeveloper, world.SpaceSupporter)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("var")
	if err != nil {
		return nil, err
	}
	vars := ReadVars(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	SetVars(&q.Tx, a, vars, false)
	return cc.OK(presentVars(q, a)), nil
}

// SetVars changes environment variables; the event says so even if nothing differs (observed fact).
func SetVars(tx *cc.Tx, a *world.App, vars tree.Obj, manifest bool) {
	if len(vars) > 0 { // until a variable is set, there are none: null, not {} (observed fact)
		a.Env = MergeVars(a.Env, vars)
	}
	tx.Touch(&a.Base)
	runtime.Audit(tx, a, "audit.app.update", Triggered(tree.O("request", tree.O("environment_variables", Hidden)), manifest))
}

// Triggered adds to the data of an event that a manifest was its cause.
func Triggered(data tree.Obj, manifest bool) tree.Obj {
	if manifest {
		data.Set("manifest_triggered", true)
	}
	return data
}

func groupVars(tx *cc.Tx, name string) tree.Obj {
	if g, ok := tx.W.EnvGroups.Get(name); ok {
		return cc.StringMap(g.Vars)
	}
	return tree.Obj{}
}

func showEnv(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	if err := mayReadEnv(q, a); err != nil {
		return nil, err
	}
	runtime.Audit(&q.Tx, a, "audit.app.environment.show", nil)
	var env any
	if a.Env != nil {
		env = cc.StringMap(a.Env)
	}
	var system any = tree.O("VCAP_SERVICES", vcap.Services(q.W, a.GUID))
	if !q.Secrets(a.Space) { // a supporter: system_env_json is redacted (V3 reference, "Get environment for an app")
		system = tree.O("redacted_message", Hidden)
	}
	sp, _ := q.W.Spaces.Get(a.Space)
	org, _ := q.W.Orgs.Get(sp.Org)
	uris := AppURIs(&q.Tx, a)
	return cc.OK(tree.O(
		"environment_variables", env,
		"staging_env_json", groupVars(&q.Tx, "staging"), "running_env_json", groupVars(&q.Tx, "running"),
		"system_env_json", system,
		"application_env_json", tree.O("VCAP_APPLICATION", tree.O(
			"cf_api", q.Base, "limits", tree.O("fds", runtime.FileDescs), "application_name", a.Name, "application_uris", uris, "name", a.Name,
			"space_name", sp.Name, "space_id", sp.GUID, "organization_id", org.GUID, "organization_name", org.Name, "uris", uris, "users", nil,
			"application_id", a.GUID)),
	)), nil
}

// AppURIs lists the URLs of an app's routes.
func AppURIs(tx *cc.Tx, a *world.App) []string {
	out := []string{}
	seen := map[string]bool{}
	for _, d := range tx.W.Destinations.By("app", a.GUID) {
		r, ok := tx.W.Routes.Get(d.Route)
		if !ok || seen[r.GUID] {
			continue
		}
		seen[r.GUID] = true
		out = append(out, RouteURL(tx, r))
	}
	return out
}

// RouteURL is the address of a route without a scheme.
func RouteURL(tx *cc.Tx, r *world.Route) string {
	d, ok := tx.W.Domains.Get(r.Domain)
	if !ok {
		return ""
	}
	u := d.Name
	if r.Host != "" {
		u = r.Host + "." + u
	}
	if r.Port != nil {
		u += ":" + string(tree.JSON(*r.Port))
	}
	return u + r.Path
}
