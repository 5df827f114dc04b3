package tenancy

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerOrgs(s *cc.Server) {
	s.Read("GET /v3/organizations", listOrgs)
	s.Write("POST /v3/organizations", createOrg)
	s.Read("GET /v3/organizations/{guid}", showOrg)
	s.Write("PATCH /v3/organizations/{guid}", updateOrg)
	s.Write("DELETE /v3/organizations/{guid}", deleteOrg)
	s.Read("GET /v3/organizations/{guid}/domains", orgDomains)
	s.Read("GET /v3/organizations/{guid}/domains/default", orgDefaultDomain)
	s.Read("GET /v3/organizations/{guid}/users", orgUsers)
	s.Job("organization.delete", func(tx *cc.Tx, j *world.Job) error {
		return deleteOrgNow(tx, j.Args["guid"])
	})
}

var orgs = &cc.List[*world.Org]{
	Filters: []cc.Filter[*world.Org]{
		cc.Fold("names", func(_ *cc.Req, o *world.Org) string { return o.Name }),
		cc.In("isolation_segment_guid", func(_ *cc.Req, o *world.Org) string { return o.IsolationSegment }),
		cc.Labels[*world.Org](),
	},
	Orders: []cc.Order[*world.Org]{{Name: "name", Compare: func(a, b *world.Org) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, o *world.Org) any { return PresentOrg(q, o) },
}

func listOrgs(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return orgs.Answer(q, q.W.Orgs.All(), func(o *world.Org) bool { return sees.Org(o.GUID) })
}

// AnswerOrgs lists some of the organizations that the caller sees, under a path of another area.
func AnswerOrgs(q *cc.Req, keep func(*world.Org) bool) (*cc.Reply, error) {
	sees := q.Sees()
	return orgs.Answer(q, q.W.Orgs.All(), func(o *world.Org) bool { return sees.Org(o.GUID) && keep(o) })
}

// PresentOrg shows an organization.
func PresentOrg(q *cc.Req, o *world.Org) tree.Obj {
	self := "/v3/organizations/" + o.GUID
	return cc.Head(&o.Base,
		"name", o.Name, "suspended", o.Suspended,
		"relationships", tree.O("quota", cc.One(o.Quota)),
		"metadata", cc.Meta(&o.Base),
		"links", tree.O("self", q.Link(self), "domains", q.Link(self+"/domains"), "default_domain", q.Link(self+"/domains/default"),
			"quota", q.Link("/v3/organization_quotas/"+o.Quota)))
}

func showOrg(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	return cc.OK(PresentOrg(q, o)), nil
}

var escaped = regexp.MustCompile(`\A[[:alnum:][:punct:][:print:]\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}]+\z`)

// orgName checks the name of an organization or space in a request.
func orgName(b *cc.Body, create bool) string {
	v, there := b.Lookup("name")
	if v == nil {
		if create || there {
			b.Add("Name can't be blank")
		}
		return ""
	}
	name, ok := v.(string)
	if !ok {
		b.Add("Name must be a string")
		return ""
	}
	b.Length("Name", name, 1, 255)
	if !escaped.MatchString(name) {
		b.Add("Name must not contain escaped characters")
	}
	if name == "" && create {
		b.Add("Name can't be blank")
	}
	return name
}

func createOrg(q *cc.Req) (*cc.Reply, error) {
	if !q.Admin() {
		if f, ok := q.W.Flags.Get("user_org_creation"); !ok || !f.Enabled {
			return nil, cc.NotAuthorized()
		}
	}
	b, err := q.Body("name", "relationships", "metadata", "suspended")
	if err != nil {
		return nil, err
	}
	suspended, _ := b.OptBool("suspended")
	name := orgName(b, true)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if suspended && !q.Admin() {
		return nil, cc.NotAuthorized()
	}
	if orgByName(&q.Tx, name) != nil {
		return nil, cc.Unprocessable("Organization '%s' already exists.", name)
	}
	o := &world.Org{Base: q.W.Base(), Name: name, Suspended: suspended, Quota: defaultQuota(&q.Tx)}
	if err := m.Check(&o.Base); err != nil {
		return nil, err
	}
	m.Apply(&o.Base)
	q.W.Orgs.Insert(o)
	q.Audit("audit.organization.create", orgTarget(o), "", o.GUID, tree.O("request", b.Obj))
	if !q.Admin() && q.Token.UserID != "" { // observed fact: the creator becomes user and manager
		for _, t := range []string{world.OrgUser, world.OrgManager} {
			r := &world.Role{Base: q.W.Base(), Type: t, User: q.Token.UserID, Org: o.GUID}
			q.W.Roles.Insert(r)
			auditRole(&q.Tx, r, "_add", b.Obj)
		}
	}
	return cc.Created(PresentOrg(q, o)), nil
}

func defaultQuota(tx *cc.Tx) string {
	for qt := range tx.W.OrgQuotas.All() {
		if qt.Name == "default" {
			return qt.GUID
		}
	}
	return ""
}

func orgByName(tx *cc.Tx, name string) *world.Org {
	for o := range tx.W.Orgs.All() {
		if strings.EqualFold(o.Name, name) {
			return o
		}
	}
	return nil
}

func orgTarget(o *world.Org) world.Target {
	return world.Target{GUID: o.GUID, Type: "organization", Name: o.Name}
}

func updateOrg(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteOrg(o.GUID); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "metadata", "suspended")
	if err != nil {
		return nil, err
	}
	suspended, hasSuspended := b.OptBool("suspended")
	name := orgName(b, false)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if hasSuspended && suspended && !q.Admin() {
		return nil, cc.NotAuthorized()
	}
	if other := orgByName(&q.Tx, name); name != "" && other != nil && other != o {
		return nil, cc.Unprocessable("Organization '%s' already exists.", name)
	}
	if err := m.Check(&o.Base); err != nil {
		return nil, err
	}
	if name != "" {
		o.Name = name
	}
	if hasSuspended {
		o.Suspended = suspended
	}
	m.Apply(&o.Base)
	q.Touch(&o.Base)
	q.Audit("audit.organization.update", orgTarget(o), "", o.GUID, tree.O("request", b.Obj))
	return cc.OK(PresentOrg(q, o)), nil
}

func deleteOrg(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "organization.delete", Args: map[string]string{"guid": o.GUID}})), nil
}

// deleteOrgNow empties the spaces first; what then stands in the way of the organization leaves it, without spaces.
func deleteOrgNow(tx *cc.Tx, guid string) error {
	o, ok := tx.W.Orgs.Get(guid)
	if !ok {
		return nil
	}
	failed := func(why []string) error {
		return cc.NewError(502, 290010, "OrganizationDeletionFailed", "Deletion of organization %s failed because one or more resources within could not be deleted.\n\n%s",
			o.Name, strings.Join(why, "\n\n"))
	}
	var why []string
	for _, s := range tx.W.Spaces.By("org", guid) {
		if err := deleteSpaceNow(tx, s.GUID); err != nil {
			why = append(why, err.Detail)
		}
	}
	if why != nil {
		return failed(why)
	}
	for d := range tx.W.Domains.All() {
		if d.Org == guid && len(d.SharedOrgs) > 0 {
			why = append(why, "Domain '"+d.Name+"' is shared with other organizations. Unshare before deleting.")
		}
	}
	if why != nil {
		return failed(why)
	}
	RemoveOrg(tx, guid)
	return nil
}

// RemoveOrg takes an organization away with all that is in it.
func RemoveOrg(tx *cc.Tx, guid string) {
	o, ok := tx.W.Orgs.Get(guid)
	if !ok {
		return
	}
	for _, s := range tx.W.Spaces.By("org", guid) {
		RemoveSpace(tx, s.GUID)
	}
	tx.Gone("organization", guid)
	for d := range tx.W.Domains.All() {
		d.SharedOrgs = slices.DeleteFunc(slices.Clone(d.SharedOrgs), func(o string) bool { return o == guid })
	}
	for d := range tx.W.Domains.All() {
		if d.Org == guid {
			RemoveDomain(tx, d.GUID)
		}
	}
	for _, r := range tx.W.Roles.By("org", guid) {
		tx.W.Roles.Delete(r.GUID)
	}
	tx.W.Orgs.Delete(guid)
	tx.Audit("audit.organization.delete-request", orgTarget(o), "", guid, tree.O("request", tree.O("recursive", true)))
}
