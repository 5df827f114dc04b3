package tenancy

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerDomains(s *cc.Server) {
	s.Read("GET /v3/domains", listDomains)
	s.Write("POST /v3/domains", createDomain)
	s.Read("GET /v3/domains/{guid}", showDomain)
	s.Write("PATCH /v3/domains/{guid}", updateDomain)
	s.Write("DELETE /v3/domains/{guid}", deleteDomain)
	s.Write("POST /v3/domains/{guid}/relationships/shared_organizations", shareDomain)
	s.Write("DELETE /v3/domains/{guid}/relationships/shared_organizations/{org}", unshareDomain)
	s.Job("domain.delete", func(tx *cc.Tx, j *world.Job) error {
		RemoveDomain(tx, j.Args["guid"])
		return nil
	})
}

func domainList(extra ...cc.Filter[*world.Domain]) *cc.List[*world.Domain] {
	return &cc.List[*world.Domain]{
		Filters: append(append([]cc.Filter[*world.Domain]{
			cc.Fold("names", func(_ *cc.Req, d *world.Domain) string { return d.Name }),
		}, extra...),
			cc.In("organization_guids", func(_ *cc.Req, d *world.Domain) string { return d.Org }),
			cc.Labels[*world.Domain]()),
		Show: func(q *cc.Req, d *world.Domain) any { return PresentDomain(q, d) },
	}
}

// Observed fact: the controller names guids twice when it lists the parameters.
var domains = domainList(cc.Param[*world.Domain]("guids"))

// SeesDomain says which domains the caller may read: shared ones, and private ones of readable organizations.
func SeesDomain(q *cc.Req) func(*world.Domain) bool {
	sees := q.Sees()
	return func(d *world.Domain) bool {
		return d.Org == "" || sees.Org(d.Org) || slices.ContainsFunc(d.SharedOrgs, sees.Org)
	}
}

func listDomains(q *cc.Req) (*cc.Reply, error) {
	return domains.Answer(q, q.W.Domains.All(), SeesDomain(q))
}

// PresentDomain shows a domain. Organizations with which it is shared are shown as far as the caller sees them.
func PresentDomain(q *cc.Req, d *world.Domain) tree.Obj {
	self := "/v3/domains/" + d.GUID
	links := tree.O("self", q.Link(self), "route_reservations", q.Link(self+"/route_reservations"))
	if d.Org != "" {
		links.Set("organization", q.Link("/v3/organizations/"+d.Org))
		links.Set("shared_organizations", q.Link(self+"/relationships/shared_organizations"))
	}
	var shared []string
	for _, o := range d.SharedOrgs {
		if q.ReadsOrg(o) {
			shared = append(shared, o)
		}
	}
	var group any
	protocols := []string{"http"}
	if d.RouterGroup != "" {
		group, protocols = tree.O("guid", d.RouterGroup), []string{"tcp"}
	}
	return cc.Head(&d.Base,
		"name", d.Name, "internal", d.Internal, "router_group", group, "supported_protocols", protocols,
		"relationships", tree.O("organization", cc.One(d.Org), "shared_organizations", cc.Many(shared)),
		"metadata", cc.Meta(&d.Base), "links", links)
}

func findDomain(q *cc.Req) (*world.Domain, error) {
	d, ok := q.W.Domains.Get(q.Var("guid"))
	if !ok || !SeesDomain(q)(d) {
		return nil, cc.NotFound("Domain")
	}
	return d, nil
}

func showDomain(q *cc.Req) (*cc.Reply, error) {
	d, err := findDomain(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(PresentDomain(q, d)), nil
}

var (
	rfc1035     = regexp.MustCompile(`(?i)\A(?:[a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])(?:\.(?:[a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9]))+\z`)
	domainChars = regexp.MustCompile(`(?i)\A[a-z0-9.-]*\z`)
)

func domainName(b *cc.Body) string {
	v := b.Get("name")
	name, ok := v.(string)
	if v == nil {
		b.Add("Name can't be blank")
	}
	if !ok {
		b.Add("Name must be a string")
	}
	b.Length("Name", name, 3, 253)
	if len(name) > 253 {
		return name
	}
	if !rfc1035.MatchString(name) {
		b.Add("Name does not comply with RFC 1035 standards")
	}
	if !strings.Contains(name, ".") {
		b.Add(`Name must contain at least one "."`)
	}
	if !domainChars.MatchString(name) {
		b.Add("Name must consist of alphanumeric characters and hyphens")
	}
	return name
}

func createDomain(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("name", "internal", "relationships", "router_group", "metadata")
	if err != nil {
		return nil, err
	}
	name := domainName(b)
	internal, _ := b.OptBool("internal")
	var org string
	var shared []string
	if b.Get("relationships") != nil {
		rel := b.Relationships(nil, "organization", "shared_organizations")
		org = cc.RelGUID(rel, "organization")
		shared, _ = cc.GUIDs(rel.Path("shared_organizations", "data"))
		if internal && org != "" {
			b.Add("Cannot associate an internal domain with an organization")
		}
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if org == "" {
		if err := q.MayAdmin(); err != nil {
			return nil, err
		}
	} else {
		if _, ok := q.W.Orgs.Get(org); !ok || !q.ReadsOrg(org) {
			return nil, cc.Unprocessable("Organization with guid '%s' does not exist or you do not have access to it.", org)
		}
		if err := q.MayWriteOrg(org); err != nil {
			return nil, err
		}
		if err := q.Feature("private_domain_creation"); err != nil {
			return nil, err
		}
	}
	if b.Get("router_group") != nil {
		return nil, cc.NewError(503, 10015, "ServiceUnavailable", "The Routing API is disabled.")
	}
	if err := domainFree(q, name, org); err != nil {
		return nil, err
	}
	if p := quotas.Domain(&q.Tx, org); org != "" && p != "" {
		return nil, cc.Unprocessable("%s", p)
	}
	d := &world.Domain{Base: q.W.Base(), Name: name, Internal: internal, Org: org, SharedOrgs: shared}
	if err := m.Check(&d.Base); err != nil {
		return nil, err
	}
	m.Apply(&d.Base)
	q.W.Domains.Insert(d)
	return cc.Created(PresentDomain(q, d)), nil
}

// domainFree refuses a name in use, and names below (or above) another organization's private domain.
func domainFree(q *cc.Req, name, org string) error {
	lower := strings.ToLower(name)
	for d := range q.W.Domains.All() {
		other := strings.ToLower(d.Name)
		if other == lower {
			return cc.Unprocessable("The domain name %q is already in use", name)
		}
		if d.Org != "" && d.Org != org && (strings.HasSuffix(lower, "."+other) || strings.HasSuffix(other, "."+lower)) {
			return cc.Unprocessable("The domain name %q cannot be created because %q is already reserved by another domain", name, d.Name)
		}
	}
	return nil
}

// mayWriteDomain: managers of the owning organization; administrators for shared domains.
func mayWriteDomain(q *cc.Req, d *world.Domain) error {
	if d.Org == "" {
		return q.MayAdmin()
	}
	return q.MayWriteOrg(d.Org)
}

func updateDomain(q *cc.Req) (*cc.Reply, error) {
	d, err := findDomain(q)
	if err != nil {
		return nil, err
	}
	if err := mayWriteDomain(q, d); err != nil {
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
	if err := m.Check(&d.Base); err != nil {
		return nil, err
	}
	m.Apply(&d.Base)
	q.Touch(&d.Base)
	return cc.OK(PresentDomain(q, d)), nil
}

func deleteDomain(q *cc.Req) (*cc.Reply, error) {
	d, err := findDomain(q)
	if err != nil {
		return nil, err
	}
	if err := mayWriteDomain(q, d); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "domain.delete", Args: map[string]string{"guid": d.GUID}})), nil
}

// RemoveDomain takes a domain away with its routes.
func RemoveDomain(tx *cc.Tx, guid string) {
	tx.Gone("domain", guid)
	tx.W.Domains.Delete(guid)
}

func shareDomain(q *cc.Req) (*cc.Reply, error) {
	d, err := findDomain(q)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("data")
	if err != nil {
		return nil, err
	}
	guids, ok := cc.GUIDs(b.Get("data"))
	if !ok {
		b.Add("Data must be an array")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if d.Org == "" {
		return nil, cc.Unprocessable("Domains cannot be shared with other organizations unless they are scoped to an organization.")
	}
	if err := mayWriteDomain(q, d); err != nil {
		return nil, err
	}
	for _, g := range guids {
		if _, ok := q.W.Orgs.Get(g); !ok || !q.ReadsOrg(g) {
			return nil, cc.Unprocessable("Organization with guid '%s' does not exist, or you do not have access to it.", g)
		}
		if err := q.MayWriteOrg(g); err != nil {
			return nil, err
		}
		if g == d.Org {
			return nil, cc.Unprocessable("Domain cannot be shared with owning organization.")
		}
	}
	for _, g := range guids {
		if !slices.Contains(d.SharedOrgs, g) {
			d.SharedOrgs = append(slices.Clone(d.SharedOrgs), g)
		}
	}
	return cc.OK(cc.Many(d.SharedOrgs)), nil
}

func unshareDomain(q *cc.Req) (*cc.Reply, error) {
	d, err := findDomain(q)
	if err != nil {
		return nil, err
	}
	org, ok := q.W.Orgs.Get(q.Var("org"))
	if !ok || !q.ReadsOrg(org.GUID) {
		return nil, cc.Unprocessable("Organization with guid '%s' does not exist, or you do not have access to it.", q.Var("org"))
	}
	if !q.Admin() && !q.HasOrgRole(d.Org, world.OrgManager) && !q.HasOrgRole(org.GUID, world.OrgManager) {
		return nil, cc.NotAuthorized()
	}
	i := slices.Index(d.SharedOrgs, org.GUID)
	if i < 0 {
		return nil, cc.Unprocessable("Unable to unshare domain from organization with name '%s'. Ensure the domain is shared to this organization.", org.Name)
	}
	d.SharedOrgs = slices.Delete(slices.Clone(d.SharedOrgs), i, i+1)
	return cc.NoContent(), nil
}

var domainsOfOrg = domainList()

func orgDomains(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	return domainsOfOrg.Answer(q, q.W.Domains.All(), func(d *world.Domain) bool {
		return d.Org == "" || d.Org == o.GUID || slices.Contains(d.SharedOrgs, o.GUID)
	})
}

// DefaultDomain is the first shared domain that is not internal, else the first private one of the organization.
func DefaultDomain(tx *cc.Tx, org string) *world.Domain {
	var private *world.Domain
	for d := range tx.W.Domains.All() {
		if d.Org == "" && !d.Internal && d.RouterGroup == "" {
			return d
		}
		if private == nil && d.Org == org && !d.Internal {
			private = d
		}
	}
	return private
}

func orgDefaultDomain(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	d := DefaultDomain(&q.Tx, o.GUID)
	if d == nil {
		return nil, cc.NotFound("Domain")
	}
	return cc.OK(PresentDomain(q, d)), nil
}
