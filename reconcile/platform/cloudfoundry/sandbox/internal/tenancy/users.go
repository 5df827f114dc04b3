package tenancy

import (
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerUsers(s *cc.Server) {
	s.Read("GET /v3/users", listUsers)
	s.Write("POST /v3/users", createUser)
	s.Read("GET /v3/users/{guid}", showUser)
	s.Write("PATCH /v3/users/{guid}", updateUser)
	s.Write("DELETE /v3/users/{guid}", deleteUser)
	s.Job("user.delete", removeUser)
}

var users = &cc.List[*world.User]{
	Unprocessable: true,
	Filters: []cc.Filter[*world.User]{
		{Name: "usernames", Make: func(q *cc.Req, values []string) (func(*world.User) bool, string) {
			if q.Query.Has("partial_usernames") {
				return nil, "Usernames filter cannot be provided with both usernames and partial_usernames filter."
			}
			return func(u *world.User) bool {
				return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(u.Username, v) })
			}, ""
		}},
		{Name: "partial_usernames", Make: func(_ *cc.Req, values []string) (func(*world.User) bool, string) {
			return func(u *world.User) bool {
				return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(u.Username, v) })
			}, ""
		}},
		{Name: "origins", Make: func(q *cc.Req, values []string) (func(*world.User) bool, string) {
			if !q.Query.Has("usernames") && !q.Query.Has("partial_usernames") {
				return nil, "Origins filter cannot be provided without usernames or partial_usernames filter."
			}
			return func(u *world.User) bool { return slices.Contains(values, u.Origin) }, ""
		}},
		cc.Labels[*world.User](),
	},
	Show: func(q *cc.Req, u *world.User) any { return PresentUser(q, u) },
}

// PresentUser shows a user. Users without a name (granted a role by guid alone, or clients) are presented by guid.
func PresentUser(q *cc.Req, u *world.User) tree.Obj {
	name := u.Username
	if name == "" {
		name = u.GUID
	}
	return cc.Head(&u.Base,
		"username", cc.OrNil(u.Username), "presentation_name", name, "origin", cc.OrNil(u.Origin),
		"metadata", cc.Meta(&u.Base), "links", tree.O("self", q.Link("/v3/users/"+url.QueryEscape(u.GUID))))
}

// seesUser: oneself, and who shares an organization with the caller.
func seesUser(q *cc.Req) func(*world.User) bool {
	if q.ReadsAll() {
		return func(u *world.User) bool { return u.Listed }
	}
	sees := q.Sees()
	return func(u *world.User) bool {
		if !u.Listed {
			return false
		}
		if u.GUID == q.Token.UserID {
			return true
		}
		return slices.ContainsFunc(q.W.Roles.By("user", u.GUID), func(r *world.Role) bool {
			return r.Org != "" && sees.Org(r.Org) || r.Space != "" && sees.Space(r.Space)
		})
	}
}

func listUsers(q *cc.Req) (*cc.Reply, error) { return users.Answer(q, q.W.Users.All(), seesUser(q)) }

func findUser(q *cc.Req) (*world.User, error) {
	u, ok := q.W.Users.Get(q.Var("guid"))
	if !ok || !seesUser(q)(u) {
		return nil, cc.NotFound("User")
	}
	return u, nil
}

func showUser(q *cc.Req) (*cc.Reply, error) {
	u, err := findUser(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(PresentUser(q, u)), nil
}

// createUser makes a user known to the controller: by guid, whoever that may be, or by name and origin, for whom UAA then
// has a shadow user.
func createUser(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("guid", "origin", "username", "metadata")
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	m := b.Metadata()
	read := func(key string) (s string, has bool) {
		v := b.Get(key)
		s, ok := v.(string)
		if v != nil && !ok {
			b.Add("%s must be a string", cc.Human(key))
		}
		return s, v != nil
	}
	guid, byGUID := read("guid")
	if byGUID && (len(guid) < 1 || len(guid) > 200) {
		b.Add("Guid must be between 1 and 200 characters")
	}
	origin, hasOrigin := read("origin")
	name, hasName := read("username")
	switch {
	case byGUID:
		if hasName {
			b.Add("Username cannot be provided with 'guid'")
		}
		if hasOrigin {
			b.Add("Origin cannot be provided with 'guid'")
		}
	case hasName || hasOrigin:
		if !hasName {
			b.Add("Origin can only be provided together with 'username'")
		}
		if !hasOrigin {
			b.Add("Username can only be provided together with 'origin'")
		}
		if origin == "uaa" {
			b.Add("Origin cannot be 'uaa' when creating a user by username")
		}
	default:
		b.Add("Guid or 'username' and 'origin' must be provided")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	taken := cc.Unprocessable("User with guid '%s' already exists.", guid)
	if !byGUID {
		taken = cc.Unprocessable("User with username '%s' and origin '%s' already exists.", name, origin)
		guid = world.GUID()
		for u := range q.W.Users.All() {
			if strings.EqualFold(u.Username, name) && u.Origin == origin {
				guid = u.GUID
			}
		}
	}
	if u, ok := q.W.Users.Get(guid); ok && u.Listed {
		return nil, taken
	}
	if err := m.Check(&world.Base{}); err != nil {
		return nil, err
	}
	u := list(q, guid)
	if !byGUID && u.Username == "" {
		u.Username, u.Email, u.Origin = name, name, origin
	}
	m.Apply(&u.Base)
	return cc.Created(PresentUser(q, u)), nil
}

func updateUser(q *cc.Req) (*cc.Reply, error) {
	u, err := findUser(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
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
	if err := m.Check(&u.Base); err != nil {
		return nil, err
	}
	m.Apply(&u.Base)
	q.Touch(&u.Base)
	return cc.OK(PresentUser(q, u)), nil
}

func deleteUser(q *cc.Req) (*cc.Reply, error) {
	u, err := findUser(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "user.delete", Args: map[string]string{"guid": u.GUID}})), nil
}

// removeUser makes the controller forget a user. UAA still knows those who can log in.
func removeUser(tx *cc.Tx, j *world.Job) error {
	u, ok := tx.W.Users.Get(j.Args["guid"])
	if !ok {
		return nil
	}
	for _, r := range tx.W.Roles.By("user", u.GUID) {
		tx.W.Roles.Delete(r.GUID)
	}
	if u.Username == "" {
		tx.W.Users.Delete(u.GUID)
	}
	u.Listed, u.Labels, u.Annotations = false, nil, nil
	return nil
}

// members lists the users with a role of the given ones.
func members(q *cc.Req, roles []*world.Role) (*cc.Reply, error) {
	in := map[string]bool{}
	for _, r := range roles {
		in[r.User] = true
	}
	return users.Answer(q, q.W.Users.All(), func(u *world.User) bool { return in[u.GUID] })
}

func orgUsers(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	return members(q, q.W.Roles.By("org", o.GUID))
}

func spaceUsers(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	return members(q, q.W.Roles.By("space", s.GUID))
}
