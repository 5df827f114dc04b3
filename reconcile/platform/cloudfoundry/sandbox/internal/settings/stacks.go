package settings

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerStacks(s *cc.Server) {
	s.Read("GET /v3/stacks", func(q *cc.Req) (*cc.Reply, error) { return stackList.Answer(q, q.W.Stacks.All(), nil) })
	s.Write("POST /v3/stacks", createStack)
	s.Read("GET /v3/stacks/{guid}", showStack)
	s.Write("PATCH /v3/stacks/{guid}", updateStack)
	s.Write("DELETE /v3/stacks/{guid}", deleteStack)
	s.Read("GET /v3/stacks/{guid}/apps", stackApps)
}

var stackList = &cc.List[*world.Stack]{
	Filters: []cc.Filter[*world.Stack]{
		cc.Fold("names", func(_ *cc.Req, s *world.Stack) string { return s.Name }),
		{Name: "default", Make: func(_ *cc.Req, values []string) (func(*world.Stack) bool, string) {
			v := strings.Join(values, ",")
			if v != "true" && v != "false" {
				return nil, "Default must be 'true' or 'false'"
			}
			return func(s *world.Stack) bool { return s.Default == (v == "true") }, ""
		}},
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

func stackTarget(s *world.Stack) world.Target {
	return world.Target{GUID: s.GUID, Type: "stack", Name: s.Name}
}

func findStack(q *cc.Req) (*world.Stack, error) {
	s, ok := q.W.Stacks.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Stack")
	}
	return s, nil
}

func showStack(q *cc.Req) (*cc.Reply, error) {
	s, err := findStack(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentStack(q, s)), nil
}

var stackStates = []string{"ACTIVE", "RESTRICTED", "DEPRECATED", "DISABLED"}

// readState reads state and its reason into s; what the body does not name stays.
func readState(b *cc.Body, s *world.Stack) {
	if v, ok := b.Lookup("state"); ok {
		state, _ := v.(string)
		if !slices.Contains(stackStates, state) {
			b.Add("State must be one of %s", strings.Join(stackStates, ", "))
		}
		s.State = state
	}
	if v, ok := b.Lookup("state_reason"); ok {
		s.StateReason, _ = v.(string)
		b.Length("State reason", s.StateReason, 0, 5000)
	}
}

// createStack lets unknown fields pass: the controller does not look for them here.
func createStack(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	o, err := q.JSON()
	if err != nil {
		return nil, err
	}
	b := &cc.Body{Obj: o}
	s := &world.Stack{Base: q.W.Base(), State: "ACTIVE"}
	m := b.Metadata()
	if cc.IsEmpty(b.Get("name")) {
		b.Add("Name can't be blank")
	}
	s.Name, _ = b.Str("name")
	s.Name = strings.TrimSpace(s.Name)
	b.Length("Name", s.Name, 0, 250)
	s.Description, _ = b.Str("description")
	b.Length("Description", s.Description, 0, 250)
	readState(b, s)
	if err := b.Err(); err != nil {
		return nil, err
	}
	for other := range q.W.Stacks.All() {
		if strings.EqualFold(other.Name, s.Name) {
			return nil, cc.Unprocessable("Name must be unique")
		}
	}
	if err := m.Check(&s.Base); err != nil {
		return nil, err
	}
	m.Apply(&s.Base)
	q.W.Stacks.Insert(s)
	q.Audit("audit.stack.create", stackTarget(s), "", "", tree.O("request", b.Obj))
	return cc.Created(presentStack(q, s)), nil
}

func updateStack(q *cc.Req) (*cc.Reply, error) {
	s, err := findStack(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("state", "state_reason", "metadata")
	if err != nil {
		return nil, err
	}
	changed := *s
	m := b.Metadata()
	readState(b, &changed)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := m.Check(&changed.Base); err != nil {
		return nil, err
	}
	m.Apply(&changed.Base)
	*s = changed
	q.Touch(&s.Base)
	q.Audit("audit.stack.update", stackTarget(s), "", "", tree.O("request", b.Obj))
	rep := cc.OK(presentStack(q, s))
	if s.Default && b.Has("state") {
		rep.Warnings = []string{"Changing state on the default stack '" + s.Name + "' may affect new application deployments."}
	}
	return rep, nil
}

func deleteStack(q *cc.Req) (*cc.Reply, error) {
	s, err := findStack(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	for a := range q.W.Apps.All() {
		if a.Lifecycle != world.Docker && a.Stack == s.Name {
			return nil, cc.Unprocessable("Cannot delete stack '%s' because apps are currently using the stack.", s.Name)
		}
	}
	q.Audit("audit.stack.delete", stackTarget(s), "", "", nil)
	q.W.Stacks.Delete(s.GUID)
	return cc.NoContent(), nil
}

func stackApps(q *cc.Req) (*cc.Reply, error) {
	s, err := findStack(q)
	if err != nil {
		return nil, err
	}
	return apps.Answer(q, func(a *world.App) bool { return a.Stack == s.Name })
}
