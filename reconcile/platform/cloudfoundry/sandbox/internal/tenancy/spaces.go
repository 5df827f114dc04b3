package tenancy

import (
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerSpaces(s *cc.Server) {
	s.Read("GET /v3/spaces", listSpaces)
	s.Write("POST /v3/spaces", createSpace)
	s.Read("GET /v3/spaces/{guid}", showSpace)
	s.Write("PATCH /v3/spaces/{guid}", updateSpace)
	s.Write("DELETE /v3/spaces/{guid}", deleteSpace)
	s.Read("GET /v3/spaces/{guid}/features", spaceFeatures)
	s.Read("GET /v3/spaces/{guid}/features/{name}", spaceFeature)
	s.Write("PATCH /v3/spaces/{guid}/features/{name}", setSpaceFeature)
	s.Read("GET /v3/spaces/{guid}/users", spaceUsers)
	s.Job("space.delete", func(tx *cc.Tx, j *world.Job) error {
		if err := deleteSpaceNow(tx, j.Args["guid"]); err != nil {
			return err
		}
		return nil
	})
}

var spaces = &cc.List[*world.Space]{
	Filters: []cc.Filter[*world.Space]{
		cc.Fold("names", func(_ *cc.Req, s *world.Space) string { return s.Name }),
		cc.In("organization_guids", func(_ *cc.Req, s *world.Space) string { return s.Org }),
		cc.Include[*world.Space]("org", "organization"),
		cc.Labels[*world.Space](),
	},
	Orders: []cc.Order[*world.Space]{{Name: "name", Compare: func(a, b *world.Space) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, s *world.Space) any { return PresentSpace(q, s) },
	Included: func(q *cc.Req, _ []string, rows []*world.Space) tree.Obj {
		return tree.O("organizations", OrgsOf(q, rows))
	},
}

// OrgsOf presents the organizations of spaces, each once.
func OrgsOf(q *cc.Req, rows []*world.Space) []any {
	seen, out := map[string]bool{}, []any{}
	for _, s := range rows {
		if o, ok := q.W.Orgs.Get(s.Org); ok && !seen[s.Org] {
			seen[s.Org] = true
			out = append(out, PresentOrg(q, o))
		}
	}
	return out
}

// SpacesAndOrgs presents what include=space,space.organization asks for about some spaces.
func SpacesAndOrgs(q *cc.Req, include, guids []string) tree.Obj {
	var rows []*world.Space
	seen, shown := map[string]bool{}, []any{}
	for _, g := range guids {
		if s, ok := q.W.Spaces.Get(g); ok && !seen[g] {
			seen[g] = true
			rows = append(rows, s)
			shown = append(shown, PresentSpace(q, s))
		}
	}
	out := tree.Obj{}
	for _, i := range include {
		switch i {
		case "space":
			out.Set("spaces", shown)
		case "org", "organization", "space.organization":
			out.Set("spaces", shown)
			out.Set("organizations", OrgsOf(q, rows))
		}
	}
	return out
}

func listSpaces(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return spaces.Answer(q, q.W.Spaces.All(), func(s *world.Space) bool { return sees.Space(s.GUID) })
}

// PresentSpace shows a space.
func PresentSpace(q *cc.Req, s *world.Space) tree.Obj {
	self := "/v3/spaces/" + s.GUID
	links := tree.O("self", q.Link(self), "organization", q.Link("/v3/organizations/"+s.Org), "features", q.Link(self+"/features"),
		"apply_manifest", q.Action(self+"/actions/apply_manifest", "POST"))
	if s.Quota != "" {
		links.Set("quota", q.Link("/v3/space_quotas/"+s.Quota))
	}
	return cc.Head(&s.Base,
		"name", s.Name, "suspended", s.Suspended, // observed fact: that its organization is suspended does not show here
		"relationships", tree.O("organization", cc.One(s.Org), "quota", cc.One(s.Quota)),
		"metadata", cc.Meta(&s.Base), "links", links)
}

func showSpace(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	inc := q.Included()
	if p := cc.IncludeProblem(inc, "org", "organization"); p != "" {
		return nil, cc.BadQuery(p)
	}
	o := PresentSpace(q, s)
	if inc != nil {
		o.Set("included", tree.O("organizations", OrgsOf(q, []*world.Space{s})))
	}
	return cc.OK(o), nil
}

func createSpace(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("name", "relationships", "suspended", "metadata")
	if err != nil {
		return nil, err
	}
	org := ""
	if rel, ok := b.Related(); ok {
		if p := cc.UnknownFields(rel, "organization"); p != "" {
			b.Add("Relationships %s", p)
		}
		org = b.ToOne(rel, "organization", true)
	}
	name := spaceName(b)
	suspended, hasSuspended := b.OptBool("suspended")
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	o, ok := q.W.Orgs.Get(org)
	if !ok || !q.ReadsOrg(org) {
		return nil, cc.Unprocessable("Invalid organization. Ensure the organization exists and you have access to it.")
	}
	if err := q.MayWriteOrg(org); err != nil {
		return nil, err
	}
	if hasSuspended && !q.Admin() && !q.HasOrgRole(org, world.OrgManager) {
		return nil, cc.NotAuthorized()
	}
	if spaceByName(&q.Tx, org, name) != nil {
		return nil, cc.Unprocessable("Name must be unique per organization")
	}
	s := &world.Space{Base: q.W.Base(), Name: name, Org: o.GUID, Suspended: suspended}
	if err := m.Check(&s.Base); err != nil {
		return nil, err
	}
	m.Apply(&s.Base)
	q.W.Spaces.Insert(s)
	q.Audit("audit.space.create", spaceTarget(s), s.GUID, org, tree.O("request", b.Obj))
	return cc.Created(PresentSpace(q, s)), nil
}

// spaceName checks the name of a new space. Presence comes first here, and there is no shortest length.
func spaceName(b *cc.Body) string {
	v := b.Get("name")
	name, ok := v.(string)
	if cc.IsEmpty(v) {
		b.Add("Name can't be blank")
	}
	if v == nil {
		return ""
	}
	if !ok {
		b.Add("Name must be a string")
		return ""
	}
	b.Length("Name", name, 0, 255)
	if !escaped.MatchString(name) {
		b.Add("Name must not contain escaped characters")
	}
	return name
}

func spaceByName(tx *cc.Tx, org, name string) *world.Space {
	for _, s := range tx.W.Spaces.By("org", org) {
		if strings.EqualFold(s.Name, name) {
			return s
		}
	}
	return nil
}

func spaceTarget(s *world.Space) world.Target {
	return world.Target{GUID: s.GUID, Type: "space", Name: s.Name}
}

func updateSpace(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(s.GUID, world.SpaceManager, world.OrgManager); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "suspended", "metadata")
	if err != nil {
		return nil, err
	}
	name := orgName(b, false)
	suspended, hasSuspended := b.OptBool("suspended")
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if hasSuspended && !q.Admin() && !q.HasOrgRole(s.Org, world.OrgManager) {
		return nil, cc.NotAuthorized()
	}
	if other := spaceByName(&q.Tx, s.Org, name); name != "" && other != nil && other != s {
		o, _ := q.W.Orgs.Get(s.Org)
		return nil, cc.Unprocessable("Organization '%s' already contains a space with name '%s'.", o.Name, name)
	}
	if err := m.Check(&s.Base); err != nil {
		return nil, err
	}
	if name != "" {
		s.Name = name
	}
	if hasSuspended {
		s.Suspended = suspended
	}
	m.Apply(&s.Base)
	q.Touch(&s.Base)
	q.Audit("audit.space.update", spaceTarget(s), s.GUID, s.Org, tree.O("request", b.Obj))
	return cc.OK(PresentSpace(q, s)), nil
}

func deleteSpace(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteOrg(s.Org); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "space.delete", Args: map[string]string{"guid": s.GUID}})), nil
}

// deleteSpaceNow takes a space away unless something in it cannot be deleted yet, which then is done all the same.
func deleteSpaceNow(tx *cc.Tx, guid string) *cc.Error {
	s, ok := tx.W.Spaces.Get(guid)
	if !ok {
		return nil
	}
	if why := tx.Stays("space", guid); why != nil {
		return cc.NewError(502, 290008, "SpaceDeletionFailed", "Deletion of space %s failed because one or more resources within could not be deleted.\n\n\t%s",
			s.Name, strings.Join(why, "\n\n\t"))
	}
	RemoveSpace(tx, guid)
	return nil
}

// RemoveSpace takes a space away with all that is in it.
func RemoveSpace(tx *cc.Tx, guid string) {
	s, ok := tx.W.Spaces.Get(guid)
	if !ok {
		return
	}
	tx.Gone("space", guid)
	for _, r := range tx.W.Roles.By("space", guid) {
		tx.W.Roles.Delete(r.GUID)
	}
	tx.Audit("audit.space.delete-request", spaceTarget(s), guid, s.Org, tree.O("request", tree.O("recursive", true)))
	tx.W.Spaces.Delete(guid)
}

func presentSSH(s *world.Space) tree.Obj {
	return tree.O("name", "ssh", "description", "Enable SSHing into apps in the space.", "enabled", !s.SSHDisabled)
}

func spaceFeatures(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	return cc.OK(tree.O("resources", []any{presentSSH(s)})), nil
}

func spaceFeature(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if q.Var("name") != "ssh" {
		return nil, cc.NotFound("Feature")
	}
	return cc.OK(presentSSH(s)), nil
}

func setSpaceFeature(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(s.GUID, world.SpaceManager, world.OrgManager); err != nil {
		return nil, err
	}
	if q.Var("name") != "ssh" {
		return nil, cc.NotFound("Feature")
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
	s.SSHDisabled = !on
	q.Touch(&s.Base)
	return cc.OK(presentSSH(s)), nil
}
