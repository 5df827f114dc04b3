package tenancy

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerUsers(s *cc.Server) {
	s.Read("GET /v3/users", listUsers)
	s.Read("GET /v3/users/{guid}", showUser)
}

var users = &cc.List[*world.User]{
	Unprocessable: true,
	Filters: []cc.Filter[*world.User]{
		cc.In("usernames", func(_ *cc.Req, u *world.User) string { return u.Username }),
		{Name: "partial_usernames", Make: func(_ *cc.Req, values []string) (func(*world.User) bool, string) {
			return func(u *world.User) bool {
				return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(u.Username, v) })
			}, ""
		}},
		cc.In("origins", func(_ *cc.Req, u *world.User) string { return u.Origin }),
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
		"metadata", cc.Meta(&u.Base), "links", tree.O("self", q.Link("/v3/users/"+u.GUID)))
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

func showUser(q *cc.Req) (*cc.Reply, error) {
	u, ok := q.W.Users.Get(q.Var("guid"))
	if !ok || !seesUser(q)(u) {
		return nil, cc.NotFound("User")
	}
	return cc.OK(PresentUser(q, u)), nil
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
