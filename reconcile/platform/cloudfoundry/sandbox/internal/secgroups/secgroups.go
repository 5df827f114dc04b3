// Package secgroups holds security groups: rules for what may leave the containers of a space. They are checked as the
// controller checks them and enforced nowhere, because the sandbox has no containers.
package secgroups

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/security_groups", list)
	s.Write("POST /v3/security_groups", create)
	s.Read("GET /v3/security_groups/{guid}", show)
	s.Write("PATCH /v3/security_groups/{guid}", update)
	s.Write("DELETE /v3/security_groups/{guid}", remove)
	for _, p := range phases {
		path := "/v3/security_groups/{guid}/relationships/" + p.name + "_spaces"
		s.Write("POST "+path, p.bind)
		s.Write("DELETE "+path+"/{space}", p.unbind)
		s.Read("GET /v3/spaces/{guid}/"+p.name+"_security_groups", p.ofSpace)
	}
	s.Job("security_group.delete", func(tx *cc.Tx, j *world.Job) error {
		tx.W.SecurityGroups.Delete(j.Args["guid"])
		return nil
	})
	s.OnDelete("space", func(tx *cc.Tx, space string) {
		for g := range tx.W.SecurityGroups.All() {
			for _, p := range phases {
				p.set(g, slices.DeleteFunc(slices.Clone(p.spaces(g)), func(s string) bool { return s == space }))
			}
		}
	})
}

// Seed makes the two groups that foundations commonly come with.
func Seed(tx *cc.Tx) {
	public := `[{"protocol":"all","destination":"0.0.0.0-9.255.255.255"},{"protocol":"all","destination":"11.0.0.0-169.253.255.255"},` +
		`{"protocol":"all","destination":"169.255.0.0-172.15.255.255"},{"protocol":"all","destination":"172.32.0.0-192.167.255.255"},` +
		`{"protocol":"all","destination":"192.169.0.0-255.255.255.255"}]`
	dns := `[{"protocol":"tcp","destination":"0.0.0.0/0","ports":"53"},{"protocol":"udp","destination":"0.0.0.0/0","ports":"53"}]`
	for _, g := range []struct{ name, rules string }{{"public_networks", public}, {"dns", dns}} {
		tx.W.SecurityGroups.Insert(&world.SecurityGroup{Base: tx.W.Base(), Name: g.name, Rules: tree.Raw(g.rules), Running: true, Staging: true})
	}
}

// phase is running or staging: each group has spaces for either, and may be for all spaces.
type phase struct {
	name     string
	everyone func(*world.SecurityGroup) bool
	spaces   func(*world.SecurityGroup) []string
	set      func(*world.SecurityGroup, []string)
}

var (
	running = phase{
		"running", func(g *world.SecurityGroup) bool { return g.Running },
		func(g *world.SecurityGroup) []string { return g.RunningSpaces },
		func(g *world.SecurityGroup, s []string) { g.RunningSpaces = s },
	}
	staging = phase{
		"staging", func(g *world.SecurityGroup) bool { return g.Staging },
		func(g *world.SecurityGroup) []string { return g.StagingSpaces },
		func(g *world.SecurityGroup, s []string) { g.StagingSpaces = s },
	}
	phases = []phase{running, staging}
)

func named(_ *cc.Req, g *world.SecurityGroup) string { return g.Name }

// flag filters by a boolean that has to be written as true or false.
func flag(name string, value func(*world.SecurityGroup) bool) cc.Filter[*world.SecurityGroup] {
	return cc.Filter[*world.SecurityGroup]{Name: name, Make: func(_ *cc.Req, values []string) (func(*world.SecurityGroup) bool, string) {
		v := strings.Join(values, ",")
		if v != "true" && v != "false" {
			return nil, cc.Human(name) + " must be 'true' or 'false'"
		}
		return func(g *world.SecurityGroup) bool { return value(g) == (v == "true") }, ""
	}}
}

var groups = &cc.List[*world.SecurityGroup]{
	Unprocessable: true,
	Filters: []cc.Filter[*world.SecurityGroup]{
		cc.Fold("names", named),
		cc.Any("running_space_guids", func(_ *cc.Req, g *world.SecurityGroup) []string { return g.RunningSpaces }),
		cc.Any("staging_space_guids", func(_ *cc.Req, g *world.SecurityGroup) []string { return g.StagingSpaces }),
		flag("globally_enabled_running", running.everyone),
		flag("globally_enabled_staging", staging.everyone),
	},
	Show: func(q *cc.Req, g *world.SecurityGroup) any { return present(q, g, q.Sees().Space) },
}

func present(q *cc.Req, g *world.SecurityGroup, visible func(string) bool) tree.Obj {
	rel := tree.Obj{}
	for _, p := range phases {
		rel.Set(p.name+"_spaces", cc.Many(slices.DeleteFunc(slices.Clone(p.spaces(g)), func(s string) bool { return !visible(s) })))
	}
	return cc.Head(&g.Base, "name", g.Name, "rules", g.Rules,
		"globally_enabled", tree.O("running", g.Running, "staging", g.Staging),
		"relationships", rel, "links", tree.O("self", q.Link("/v3/security_groups/"+g.GUID)))
}

// sees: groups for everyone, and those of readable spaces.
func sees(q *cc.Req) func(*world.SecurityGroup) bool {
	sight := q.Sees()
	return func(g *world.SecurityGroup) bool {
		return sight.All || g.Running || g.Staging || slices.ContainsFunc(g.RunningSpaces, sight.Space) || slices.ContainsFunc(g.StagingSpaces, sight.Space)
	}
}

func list(q *cc.Req) (*cc.Reply, error) {
	return groups.Answer(q, q.W.SecurityGroups.All(), sees(q))
}

func find(q *cc.Req) (*world.SecurityGroup, error) {
	g, ok := q.W.SecurityGroups.Get(q.Var("guid"))
	if !ok || !sees(q)(g) {
		return nil, cc.NotFound("Security group")
	}
	return g, nil
}

func show(q *cc.Req) (*cc.Reply, error) {
	g, err := find(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(present(q, g, q.Sees().Space)), nil
}

// globally reads globally_enabled into g.
func globally(b *cc.Body, g *world.SecurityGroup) {
	v := b.Get("globally_enabled")
	if v == nil {
		return
	}
	o, ok := v.(tree.Obj)
	if !ok {
		b.Add("Globally enabled must be an object")
		return
	}
	if cc.UnknownFields(o, "running", "staging") != "" {
		b.Add("Globally enabled only allows keys 'running' or 'staging'")
		return
	}
	for _, f := range o {
		on, ok := f.Value.(bool)
		if !ok {
			b.Add("Globally enabled values must be booleans")
			return
		}
		if f.Key == "running" {
			g.Running = on
		} else {
			g.Staging = on
		}
	}
}

func taken(q *cc.Req, name string, self *world.SecurityGroup) error {
	for g := range q.W.SecurityGroups.All() {
		if g != self && g.Name == name {
			return cc.Unprocessable("Security group with name '%s' already exists.", name)
		}
	}
	return nil
}

func create(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "globally_enabled", "relationships", "rules")
	if err != nil {
		return nil, err
	}
	g := &world.SecurityGroup{Base: q.W.Base(), Rules: tree.Raw("[]")}
	bound := map[string][]string{}
	if b.Has("relationships") {
		if rel, ok := b.Related(); ok {
			for _, p := range phases {
				bound[p.name] = b.ToMany(rel, p.name+"_spaces")
			}
		}
	}
	if v, ok := b.Lookup("rules"); ok {
		checkRules(b, v)
		g.Rules = tree.JSON(v)
	}
	v := b.Get("name")
	if cc.IsEmpty(v) {
		b.Add("Name can't be blank")
	}
	name, ok := v.(string)
	if !ok {
		b.Add("Name must be a string")
	}
	b.Length("Name", name, 0, 250)
	globally(b, g)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := taken(q, name, nil); err != nil {
		return nil, err
	}
	g.Name = name
	for _, p := range []phase{staging, running} {
		var missing []string
		for _, s := range bound[p.name] {
			if _, ok := q.W.Spaces.Get(s); !ok {
				missing = append(missing, s)
			}
		}
		if missing != nil {
			return nil, cc.Unprocessable("Spaces with guids %s do not exist.", cc.Inspect(missing))
		}
		p.set(g, bound[p.name])
	}
	q.W.SecurityGroups.Insert(g)
	return cc.Created(present(q, g, q.Sees().Space)), nil
}

func update(q *cc.Req) (*cc.Reply, error) {
	g, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "globally_enabled", "rules")
	if err != nil {
		return nil, err
	}
	changed := *g
	if v, ok := b.Lookup("rules"); ok {
		checkRules(b, v)
		changed.Rules = tree.JSON(v)
	}
	globally(b, &changed)
	if v, ok := b.Lookup("name"); ok {
		name, isText := v.(string)
		if !isText {
			b.Add("Name must be a string")
		}
		b.Length("Name", name, 1, 250)
		changed.Name = name
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := taken(q, changed.Name, g); err != nil {
		return nil, err
	}
	*g = changed
	q.Touch(&g.Base)
	return cc.OK(present(q, g, q.Sees().Space)), nil
}

func remove(q *cc.Req) (*cc.Reply, error) {
	g, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "security_group.delete", Args: map[string]string{"guid": g.GUID}})), nil
}

func (p phase) bind(q *cc.Req) (*cc.Reply, error) {
	g, err := find(q)
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
	sight := q.Sees()
	var missing, hidden []string
	for _, s := range guids {
		if _, ok := q.W.Spaces.Get(s); !ok {
			missing = append(missing, s)
			continue
		}
		if err := q.MayWriteSpace(s, world.SpaceManager, world.OrgManager); err != nil {
			return nil, err
		}
		if !sight.Space(s) {
			hidden = append(hidden, s)
		}
	}
	if invalid := append(missing, hidden...); invalid != nil {
		return nil, cc.Unprocessable("Spaces with guids %s do not exist, or you do not have access to them.", cc.Inspect(invalid))
	}
	now := slices.Clone(p.spaces(g))
	for _, s := range guids {
		if !slices.Contains(now, s) {
			now = append(now, s)
		}
	}
	p.set(g, now)
	out := cc.Many(now)
	out.Set("links", tree.O("self", q.Link("/v3/security_groups/"+g.GUID+"/relationships/"+p.name+"_spaces")))
	return cc.OK(out), nil
}

func (p phase) unbind(q *cc.Req) (*cc.Reply, error) {
	g, err := find(q)
	if err != nil {
		return nil, err
	}
	s := q.Var("space")
	notBound := cc.Unprocessable("Unable to unbind security group from space with guid '%s'. Ensure the space is bound to this security group.", s)
	if _, ok := q.W.Spaces.Get(s); !ok {
		return nil, notBound
	}
	if err := q.MayWriteSpace(s, world.SpaceManager, world.OrgManager); err != nil {
		return nil, err
	}
	i := slices.Index(p.spaces(g), s)
	if i < 0 {
		return nil, notBound
	}
	p.set(g, slices.Delete(slices.Clone(p.spaces(g)), i, i+1))
	return cc.NoContent(), nil
}

// ofSpace lists the groups for a space. Observed in the source of the controller: of the spaces only this one is shown.
func (p phase) ofSpace(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	only := &cc.List[*world.SecurityGroup]{
		Unprocessable: true,
		Filters:       []cc.Filter[*world.SecurityGroup]{cc.Fold("names", named)},
		Show: func(q *cc.Req, g *world.SecurityGroup) any {
			return present(q, g, func(other string) bool { return other == s.GUID })
		},
	}
	return only.Answer(q, q.W.SecurityGroups.All(), func(g *world.SecurityGroup) bool {
		return p.everyone(g) || slices.Contains(p.spaces(g), s.GUID)
	})
}
