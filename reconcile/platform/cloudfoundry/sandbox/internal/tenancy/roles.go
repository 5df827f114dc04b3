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
		if r, ok := tx.W.Roles.Get(j.Args["guid"]); ok {
			auditRole(tx, r, "_remove", tree.Obj{})
			tx.W.Roles.Delete(r.GUID)
		}
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
	inc := q.Included()
	for k := range q.Query {
		if k != "include" {
			return nil, cc.Unprocessable("Unknown query parameter(s): '%s'. Valid parameters are: 'include'", k)
		}
	}
	if p := cc.IncludeProblem(inc, "user", "organization", "space"); p != "" {
		return nil, cc.Unprocessable("%s", p)
	}
	r, ok := q.W.Roles.Get(q.Var("guid"))
	if !ok || !seesRole(q)(r) {
		return nil, cc.NotFound("Role")
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
	typ, _ := b.Str("type")
	var who roleUser
	var org, space string
	if rel, ok := b.Related(); ok {
		who, org, space = readRole(b, rel, typ)
	}
	if !slices.Contains(roleTypes, typ) {
		b.Add("Type must be one of the allowed types %s", cc.Inspect(roleTypes))
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	r := &world.Role{Base: q.W.Base(), Type: typ}
	if space != "" {
		err = spaceRole(q, r, who, space, b.Obj)
	} else {
		err = orgRole(q, r, who, org, b.Obj)
	}
	if err != nil {
		return nil, err
	}
	q.W.Roles.Insert(r)
	return cc.Created(presentRole(q, r)), nil
}

// roleUser is how a request names a user: by guid, or by name and perhaps origin.
type roleUser struct{ guid, name, origin string }

// readRole notes the problems with the relationships of a role in the order in which the controller does.
func readRole(b *cc.Body, rel tree.Obj, typ string) (u roleUser, org, space string) {
	if p := cc.UnknownFields(rel, "space", "user", "organization"); p != "" {
		b.Add("Relationships %s", p)
	}
	user := rel.Get("user")
	if cc.IsEmpty(user) {
		b.Add("Relationships User can't be blank")
	}
	data, _ := rel.Path("user", "data").(tree.Obj)
	n := len(b.Problems)
	if data.Has("guid") && data.Has("username") {
		b.Add("Relationships Username cannot be specified when identifying user by guid")
	}
	if data.Has("guid") && data.Has("origin") {
		b.Add("Relationships User origin cannot be specified when identifying user by guid")
	}
	if !data.Has("username") && data.Has("origin") {
		b.Add("Relationships User origin cannot be specified without specifying the username")
	}
	if !data.Has("username") && !data.Has("guid") {
		b.Add("Relationships User must have a username or guid specified")
	}
	userOK := len(b.Problems) == n && !cc.IsEmpty(user)
	n = len(b.Problems)
	hasSpace, hasOrg := rel.Path("space", "data") != nil, rel.Path("organization", "data") != nil
	if !hasSpace && !hasOrg {
		b.Add("Relationships must specify either a space or an organization.")
	}
	if hasSpace && strings.HasPrefix(typ, "organization_") && slices.Contains(roleTypes, typ) {
		b.Add("Relationships Space cannot be provided with the organization role type: '%s'.", typ)
	}
	if hasOrg && strings.HasPrefix(typ, "space_") && slices.Contains(roleTypes, typ) {
		b.Add("Relationships Organization cannot be provided with the space role type: '%s'.", typ)
	}
	if hasSpace && hasOrg {
		b.Add("Relationships cannot specify both an organization and a space.")
	}
	if len(b.Problems) == n {
		if rel.Get("organization") == nil {
			space = b.ToOne(rel, "space", true)
		}
		if rel.Get("space") == nil {
			org = b.ToOne(rel, "organization", true)
		}
	}
	if !userOK {
		return u, org, space
	}
	if data.Has("guid") {
		u.guid = b.ToOne(rel, "user", false)
		return u, org, space
	}
	var ok bool
	if u.name, ok = data.Get("username").(string); !ok {
		b.Add("Relationships Username must be a string")
	}
	if v := data.Get("origin"); v != nil {
		if u.origin, ok = v.(string); !ok {
			b.Add("Relationships User origin must be a string")
		}
	}
	return u, org, space
}

const notInOrg = "Users cannot be assigned roles in a space if they do not have a role in that space's organization."

// find is the guid of the user; a name is looked up, which a feature flag can forbid.
func (u roleUser) find(q *cc.Req, forSpace bool) (string, error) {
	if u.name == "" {
		return u.guid, nil
	}
	if err := q.FeatureForAll("set_roles_by_username"); err != nil {
		return "", err
	}
	var guids, origins []string
	for x := range q.W.Users.All() {
		if strings.EqualFold(x.Username, u.name) && (u.origin == "" || x.Origin == u.origin) {
			guids, origins = append(guids, x.GUID), append(origins, x.Origin)
		}
	}
	switch {
	case len(guids) > 1:
		slices.Sort(origins)
		return "", cc.Unprocessable("Ambiguous user. User with username '%s' exists in the following origins: %s. Specify an origin to disambiguate.", u.name, strings.Join(origins, ", "))
	case len(guids) == 1:
		return guids[0], nil
	case forSpace:
		return "", cc.Unprocessable(notInOrg)
	case u.origin != "":
		return "", cc.Unprocessable("No user exists with the username '%s' and origin '%s'.", u.name, u.origin)
	}
	return "", cc.Unprocessable("No user exists with the username '%s'.", u.name)
}

func spaceRole(q *cc.Req, r *world.Role, who roleUser, space string, request tree.Obj) error {
	const invalid = "Invalid space. Ensure that the space exists and you have access to it."
	s, ok := q.W.Spaces.Get(space)
	if !ok {
		return cc.Unprocessable(invalid)
	}
	if err := q.MayWriteSpace(s.GUID, world.SpaceManager, world.OrgManager); err != nil {
		return err
	}
	user, err := who.find(q, true)
	if err != nil {
		return err
	}
	u, ok := q.W.Users.Get(user)
	if !ok || !seesUser(q)(u) || !hasRole(q.W.Roles.By("org", s.Org), user, world.OrgUser) {
		return cc.Unprocessable(notInOrg)
	}
	r.User, r.Space = user, s.GUID
	auditRole(&q.Tx, r, "_add", request) // observed fact: even if the user has the role already
	if hasRole(q.W.Roles.By("space", s.GUID), user, r.Type) {
		return cc.Unprocessable("User '%s' already has '%s' role in space '%s'.", userName(q, user), r.Type, s.Name)
	}
	return nil
}

func orgRole(q *cc.Req, r *world.Role, who roleUser, org string, request tree.Obj) error {
	o, ok := q.W.Orgs.Get(org)
	if !ok {
		return cc.Unprocessable("Invalid organization. Ensure that the organization exists and you have access to it.")
	}
	if err := q.MayWriteOrg(o.GUID); err != nil {
		return err
	}
	user, err := who.find(q, false)
	if err != nil {
		return err
	}
	list(q, user)
	r.User, r.Org = user, o.GUID
	auditRole(&q.Tx, r, "_add", request)
	if hasRole(q.W.Roles.By("org", o.GUID), user, r.Type) {
		return cc.Unprocessable("User '%s' already has '%s' role in organization '%s'.", userName(q, user), r.Type, o.Name)
	}
	return nil
}

// list makes a user known to the controller, whether UAA knows such a user or not (observed fact).
func list(q *cc.Req, guid string) *world.User {
	u, ok := q.W.Users.Get(guid)
	if !ok {
		u = &world.User{Base: q.W.Base()}
		u.GUID = guid
		q.W.Users.Insert(u)
	}
	u.Listed = true
	return u
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
func auditRole(tx *cc.Tx, r *world.Role, what string, request tree.Obj) {
	name := ""
	if u, ok := tx.W.Users.Get(r.User); ok {
		name = u.Username
	}
	tx.Audit("audit.user."+r.Type+what, world.Target{GUID: r.User, Type: "user", Name: name}, r.Space, r.Org, tree.O("request", request))
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
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "role.delete", Args: map[string]string{"guid": r.GUID}})), nil
}
