// Package settings holds what is set once for a whole installation: feature flags, stacks, groups of environment
// variables.
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
	registerStacks(s)
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
	b, err := q.Body("enabled", "custom_error_message")
	if err != nil {
		return nil, err
	}
	on, hasOn := b.OptBool("enabled")
	text, hasText := b.Lookup("custom_error_message")
	s, isText := text.(string)
	if hasText && text != nil && !isText {
		b.Add("Custom error message must be a string")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if hasOn {
		f.Enabled = on
	}
	if hasText {
		f.Message = s
	}
	f.Touched = true
	q.Touch(&f.Base)
	return cc.OK(presentFlag(q, f)), nil
}

func registerStacks(s *cc.Server) {
	s.Read("GET /v3/stacks", func(q *cc.Req) (*cc.Reply, error) { return stackList.Answer(q, q.W.Stacks.All(), nil) })
	s.Read("GET /v3/stacks/{guid}", showStack)
}

var stackList = &cc.List[*world.Stack]{
	Filters: []cc.Filter[*world.Stack]{
		cc.Fold("names", func(_ *cc.Req, s *world.Stack) string { return s.Name }),
		cc.In("default", func(_ *cc.Req, s *world.Stack) string {
			if s.Default {
				return "true"
			}
			return "false"
		}),
		cc.Labels[*world.Stack](),
	},
	Orders: []cc.Order[*world.Stack]{{Name: "name", Compare: func(a, b *world.Stack) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, s *world.Stack) any { return presentStack(q, s) },
}

func presentStack(q *cc.Req, s *world.Stack) tree.Obj {
	return cc.Head(&s.Base, "name", s.Name, "description", cc.OrNil(s.Description), "state", s.State, "state_reason", cc.OrNil(s.StateReason),
		"run_rootfs_image", s.Name, "build_rootfs_image", s.Name, "default", s.Default, "metadata", cc.Meta(&s.Base),
		"links", tree.O("self", q.Link("/v3/stacks/"+s.GUID)))
}

func showStack(q *cc.Req) (*cc.Reply, error) {
	s, ok := q.W.Stacks.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Stack")
	}
	return cc.OK(presentStack(q, s)), nil
}
