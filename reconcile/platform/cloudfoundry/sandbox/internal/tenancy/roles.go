package tenancy

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerRoles(s *cc.Server) {
	s.Read("GET /v3/roles", listRoles)
	s.Write("POST /v3/roles", createRole)
	s.Read("GET /v3/roles/{guid}", showRole)
	s.Write("DELETE /v3/roles/{guid}", deleteRole)
	s.Job("role.delete", func(tx *cc.Tx, j *world.Job) error {
		tx.W.Roles.Delete(j.Args["guid"])
		return nil
	})
}

var roleTypes = []string{
	world.OrgAuditor, world.OrgManager, world.OrgBillingManager, world.OrgUser,
	world.SpaceAuditor, world.SpaceManager, world.SpaceDeveloper, world.SpaceSupporter,
}

var roles = &cc.List[*world.Role]{
	Unprocessable: true, Default: "created_at",
	Filters: []cc.Filter[*world.Role]{
		cc.In("organization_guids", func(_ *cc.Req, r *world.Role) string { return r.Org }),
		cc.In("space_guids", func(_ *cc.Req, r *world.Role) string { return r.Space }),
		cc.In("user_guids", func(_ *cc.Req, r *world.Role) string { return r.User }),
		cc.In("types", func(_ *cc.Req, r *world.Role) string { return r.Type }),
		cc.Include[*world.Role]("user", "organization", "space"),
	},
	Show:     func(q *cc.Req, r *world.Role) any { return presentRole(q, r) },
	Included: includeOfRoles,
}

func includeOfRoles(q *cc.Req, include []string, rows []*world.Role) tree.Obj {
	out := tree.Obj{}
	for _, i := range include {
		seen, list := map[string]bool{}, []any{}
		for _, r := range rows {
			switch i {
			case "user":
				if u, ok := q.W.Users.Get(r.User); ok && !seen[r.User] {
					seen[r.User] = true
					list = append(list, PresentUser(q, u))
				}
			case "organization":
				if o, ok := q.W.Orgs.Get(r.Org); ok && !seen[r.Org] {
					seen[r.Org] = true
					list = append(list, PresentOrg(q, o))
				}
			case "space":
				if s, ok := q.W.Spaces.Get(r.Space); ok && !seen[r.Space] {
					seen[r.Space] = true
					list = append(list, PresentSpace(q, s))
				}
			}
		}
		out.Set(i+"s", list)
	}
	return out
}

func presentRole(q *cc.Req, r *world.Role) tree.Obj {
	links := tree.O("self", q.Link("/v3/roles/"+r.GUID), "user", q.Link("/v3/users/"+r.User))
	if r.Org != "" {
		links.Set("organization", q.Link("/v3/organizations/"+r.Org))
	} else {
		links.Set("space", q.Link("/v3/spaces/"+r.Space))
	}
	return cc.Head(&r.Base, "type", r.Type,
		"relationships", tree.O("user", cc.One(r.User), "organization", cc.One(r.Org), "space", cc.One(r.Space)), "links", links)
}

func seesRole(q *cc.Req) func(*world.Role) bool {
	sees := q.Sees()
	return func(r *world.Role) bool {
		if r.Org != "" {
			return sees.Org(r.Org)
		}
		return sees.Space(r.Space)
	}
}

func listRoles(q *cc.Req) (*cc.Reply, error) { return roles.Answer(q, q.W.Roles.All(), seesRole(q)) }

func showRole(q *cc.Req) (*cc.Reply, error) {
	r, ok := q.W.Roles.Get(q.Var("guid"))
	if !ok || !seesRole(q)(r) {
		return nil, cc.NotFound("Role")
	}
	inc := q.Included()
	if p := cc.IncludeProblem(inc, "user", "organization", "space"); p != "" {
		return nil, cc.BadQuery(p)
	}
	o := presentRole(q, r)
	if inc != nil {
		o.Set("included", includeOfRoles(q, inc, []*world.Role{r}))
	}
	return cc.OK(o), nil
}

func createRole(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("type", "relationships")
	if err != nil {
		return nil, err
	}
	rel := b.Relationships(nil, "user", "organization", "space")
	typ, _ := b.Str("type")
	if !slices.Contains(roleTypes, typ) {
		b.Add("Type must be one of the allowed types %s", cc.Inspect(roleTypes))
	}
	userGUID := roleUser(q, b, rel)
	if err := b.Err(); err != nil {
		return nil, err
	}
	r := &world.Role{Base: q.W.Base(), Type: typ, User: userGUID}
	if strings.HasPrefix(typ, "organization_") {
		o, ok := q.W.Orgs.Get(cc.RelGUID(rel, "organization"))
		if !ok || !q.ReadsOrg(o.GUID) {
			return nil, cc.Unprocessable("Invalid organization. Ensure that the organization exists and you have access to it.")
		}
		if err := q.MayWriteOrg(o.GUID); err != nil {
			return nil, err
		}
		if hasRole(q.W.Roles.By("org", o.GUID), userGUID, typ) {
			return nil, cc.Unprocessable("User '%s' already has '%s' role in organization '%s'.", userName(q, userGUID), typ, o.Name)
		}
		r.Org = o.GUID
	} else {
		s, err := q.BodySpace(cc.RelGUID(rel, "space"))
		if err != nil {
			return nil, err
		}
		if err := q.MayWriteSpace(s.GUID, world.SpaceManager, world.OrgManager); err != nil {
			return nil, err
		}
		if !hasRole(q.W.Roles.By("org", s.Org), userGUID, world.OrgUser) {
			return nil, cc.Unprocessable("Users cannot be assigned roles in a space if they do not have a role in that space's organization.")
		}
		if hasRole(q.W.Roles.By("space", s.GUID), userGUID, typ) {
			return nil, cc.Unprocessable("User '%s' already has '%s' role in space '%s'.", userName(q, userGUID), typ, s.Name)
		}
		r.Space = s.GUID
	}
	if u, ok := q.W.Users.Get(userGUID); ok {
		u.Listed = true
	} else {
		u := &world.User{Base: q.W.Base(), Listed: true}
		u.GUID = userGUID
		q.W.Users.Insert(u)
	}
	q.W.Roles.Insert(r)
	auditRole(&q.Tx, r, "_add")
	return cc.Created(presentRole(q, r)), nil
}

// roleUser checks how the user is named, by guid or by name, and returns the guid.
func roleUser(q *cc.Req, b *cc.Body, rel tree.Obj) string {
	typ, _ := b.Str("type")
	if len(rel) > 0 && slices.Contains(roleTypes, typ) {
		orgRole := strings.HasPrefix(typ, "organization_")
		if orgRole && rel.Has("space") {
			b.Add("Relationships Space cannot be provided with the organization role type: '%s'.", typ)
		}
		if !orgRole && rel.Has("organization") {
			b.Add("Relationships Organization cannot be provided with the space role type: '%s'.", typ)
		}
		if rel.Has("space") && rel.Has("organization") {
			b.Add("Relationships cannot specify both an organization and a space.")
		}
		if !rel.Has("user") {
			b.Add("Relationships User can't be blank")
		}
	}
	guid, name := cc.RelGUID(rel, "user"), ""
	name, _ = rel.Path("user", "data", "username").(string)
	switch {
	case len(rel) == 0:
	case guid == "" && name == "":
		b.Add("Relationships User must have a username or guid specified")
	case guid != "" && name != "":
		b.Add("Relationships Username cannot be specified when identifying user by guid")
	case guid == "":
		for u := range q.W.Users.All() {
			if strings.EqualFold(u.Username, name) {
				return u.GUID
			}
		}
		b.Add("No user exists with the username '%s'.", name)
	}
	return guid
}

func hasRole(have []*world.Role, user, typ string) bool {
	return slices.ContainsFunc(have, func(r *world.Role) bool { return r.User == user && r.Type == typ })
}

func userName(q *cc.Req, guid string) string {
	if u, ok := q.W.Users.Get(guid); ok && u.Username != "" {
		return u.Username
	}
	return guid
}

// auditRole leaves audit.user.ROLE_add or _remove; its target is the user.
func auditRole(tx *cc.Tx, r *world.Role, what string) {
	name := ""
	if u, ok := tx.W.Users.Get(r.User); ok {
		name = u.Username
	}
	tx.Audit("audit.user."+r.Type+what, world.Target{GUID: r.User, Type: "user", Name: name}, r.Space, r.Org, nil)
}

func deleteRole(q *cc.Req) (*cc.Reply, error) {
	r, ok := q.W.Roles.Get(q.Var("guid"))
	if !ok || !seesRole(q)(r) {
		return nil, cc.NotFound("Role")
	}
	if r.Org != "" {
		if err := q.MayWriteOrg(r.Org); err != nil {
			return nil, err
		}
	} else if err := q.MayWriteSpace(r.Space, world.SpaceManager, world.OrgManager); err != nil {
		return nil, err
	}
	if r.Type == world.OrgUser {
		for _, s := range q.W.Spaces.By("org", r.Org) {
			if slices.ContainsFunc(q.W.Roles.By("space", s.GUID), func(x *world.Role) bool { return x.User == r.User }) {
				return nil, cc.Unprocessable("Cannot delete organization_user role while user has roles in spaces in that organization.")
			}
		}
	}
	auditRole(&q.Tx, r, "_remove")
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "role.delete", Args: map[string]string{"guid": r.GUID}})), nil
}
