// Package settings holds what is set once for a whole installation: feature flags, groups of environment variables,
// stacks and buildpacks. What they mean for an app is the business of the areas that ask for them.
package settings

import (
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	registerFlags(s)
	registerEnvGroups(s)
	registerStacks(s)
	registerBuildpacks(s)
}

// flags as shipped (V3 reference, "List of feature flags"; diego_cnb and hash_based_routing came later).
var flags = []struct {
	name string
	on   bool
}{
	{"app_bits_upload", true},
	{"app_scaling", true},
	{"diego_cnb", false},
	{"diego_docker", false},
	{"env_var_visibility", true},
	{"hash_based_routing", false},
	{"hide_marketplace_from_unauthenticated_users", false},
	{"private_domain_creation", true},
	{"resource_matching", true},
	{"route_creation", true},
	{"route_sharing", false},
	{"service_instance_creation", true},
	{"service_instance_sharing", false},
	{"set_roles_by_username", true},
	{"space_developer_env_var_visibility", true},
	{"space_scoped_private_broker_creation", true},
	{"task_creation", true},
	{"unset_roles_by_username", true},
	{"user_org_creation", false},
}

// Seed fills a new world with the settings as shipped and one stack.
func Seed(tx *cc.Tx, stack string) {
	for _, f := range flags {
		b := tx.W.Base()
		b.GUID = f.name
		tx.W.Flags.Insert(&world.Flag{Base: b, Enabled: f.on})
	}
	for _, name := range []string{"running", "staging"} {
		b := tx.W.Base()
		b.GUID = name
		tx.W.EnvGroups.Insert(&world.EnvGroup{Base: b})
	}
	seedBuildpacks(tx, stack)
	tx.W.Stacks.Insert(&world.Stack{Base: tx.W.Base(), Name: stack, Description: "test " + stack + " entry", State: "ACTIVE", Default: true})
}

func registerFlags(s *cc.Server) {
	s.Read("GET /v3/feature_flags", func(q *cc.Req) (*cc.Reply, error) { return flagList.Answer(q, q.W.Flags.All(), nil) })
	s.Read("GET /v3/feature_flags/{name}", showFlag)
	s.Write("PATCH /v3/feature_flags/{name}", setFlag)
}

var flagList = &cc.List[*world.Flag]{
	OnlyOrders: true,
	Orders:     []cc.Order[*world.Flag]{{Name: "name", Compare: func(a, b *world.Flag) int { return strings.Compare(a.GUID, b.GUID) }}},
	Show:       func(q *cc.Req, f *world.Flag) any { return presentFlag(q, f) },
}

func presentFlag(q *cc.Req, f *world.Flag) tree.Obj {
	var at any
	if f.Touched {
		at = cc.Stamp(f.Updated)
	}
	return tree.O("name", f.GUID, "enabled", f.Enabled, "updated_at", at, "custom_error_message", cc.OrNil(f.Message),
		"links", tree.O("self", q.Link("/v3/feature_flags/"+f.GUID)))
}

func showFlag(q *cc.Req) (*cc.Reply, error) {
	f, ok := q.W.Flags.Get(q.Var("name"))
	if !ok {
		return nil, cc.NotFound("Feature flag")
	}
	return cc.OK(presentFlag(q, f)), nil
}

func setFlag(q *cc.Req) (*cc.Reply, error) {
	f, ok := q.W.Flags.Get(q.Var("name"))
	if !ok {
		return nil, cc.NotFound("Feature flag")
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("enabled", "custom_error_message", "metadata") // metadata is taken, to no effect
	if err != nil {
		return nil, err
	}
	v, hasOn := b.Lookup("enabled")
	on, isBool := v.(bool)
	if hasOn && !isBool {
		b.Add("Enabled must be a boolean")
	}
	v, hasText := b.Lookup("custom_error_message")
	text, isText := v.(string)
	if v != nil {
		if !isText {
			b.Add("Custom error message must be a string")
		}
		b.Length("Custom error message", text, 1, 250)
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if hasOn {
		f.Enabled = on
	}
	if hasText {
		f.Message = text
	}
	f.Touched = true
	q.Touch(&f.Base)
	return cc.OK(presentFlag(q, f)), nil
}
