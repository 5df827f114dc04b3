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

// SeesDomain says which domains the caller may read: shared ones, and private ones of organizations in which the caller
// is manager or auditor or has a role in a space. Being a member of the organization is not enough.
func SeesDomain(q *cc.Req) func(*world.Domain) bool {
	if q.ReadsAll() {
		return func(*world.Domain) bool { return true }
	}
	orgs := map[string]bool{}
	for _, r := range q.W.Roles.By("user", q.Token.UserID) {
		if s, ok := q.W.Spaces.Get(r.Space); ok {
			orgs[s.Org] = true
		}
		if r.Type == world.OrgManager || r.Type == world.OrgAuditor {
			orgs[r.Org] = true
		}
	}
	return func(d *world.Domain) bool {
		return d.Org == "" || orgs[d.Org] || slices.ContainsFunc(d.SharedOrgs, func(o string) bool { return orgs[o] })
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
	out := cc.Head(&d.Base, "name", d.Name, "internal", d.Internal, "router_group", group, "supported_protocols", protocols)
	if d.EnforceRoutePol {
		out = append(out, tree.O("enforce_route_policies", true, "route_policies_scope", cc.OrNil(d.PolicyScope))...)
	}
	return append(out, tree.O("relationships", tree.O("organization", cc.One(d.Org), "shared_organizations", cc.Many(shared)),
		"metadata", cc.Meta(&d.Base), "links", links)...)
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
	if slices.ContainsFunc(strings.Split(name, "."), func(l string) bool { return len(l) > 63 }) {
		b.Add("Name subdomains must each be at most 63 characters")
	}
	if !domainChars.MatchString(name) {
		b.Add("Name must consist of alphanumeric characters and hyphens")
	}
	return name
}

func createDomain(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("name", "internal", "relationships", "router_group", "enforce_route_policies", "route_policies_scope", "metadata")
	if err != nil {
		return nil, err
	}
	var org string
	var shared []string
	if b.Has("relationships") {
		if rel, ok := b.Related(); ok {
			if p := cc.UnknownFields(rel, "organization", "shared_organizations"); p != "" {
				b.Add("Relationships %s", p)
			}
			if rel.Get("organization") != nil {
				org = b.ToOne(rel, "organization", false)
			}
			shared = b.ToMany(rel, "shared_organizations")
			if rel.Has("shared_organizations") && !rel.Has("organization") {
				b.Add("Relationships cannot contain shared_organizations without an owning organization.")
			}
		}
	}
	name := domainName(b)
	d := &world.Domain{Base: q.W.Base(), Name: name}
	domainKind(b, d)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if !b.Has("relationships") {
		if err := q.MayAdmin(); err != nil {
			return nil, err
		}
	} else {
		if _, ok := q.W.Orgs.Get(org); !ok {
			return nil, cc.Unprocessable("Organization with guid '%s' does not exist or you do not have access to it.", org)
		}
		if err := q.MayWriteOrg(org); err != nil {
			return nil, err
		}
		if err := q.Feature("private_domain_creation"); err != nil {
			return nil, err
		}
		if err := mayShare(q, shared, org); err != nil {
			return nil, err
		}
	}
	if guid, _ := b.Path("router_group", "guid").(string); guid != "" {
		return nil, cc.NewError(503, 10015, "ServiceUnavailable", "The Routing API is disabled.")
	}
	if err := domainFree(q, name, org); err != nil {
		return nil, err
	}
	if p := quotas.Domain(&q.Tx, org); org != "" && p != "" {
		return nil, cc.Unprocessable("%s", p)
	}
	d.Org, d.SharedOrgs = org, shared
	if err := m.Check(&d.Base); err != nil {
		return nil, err
	}
	m.Apply(&d.Base)
	q.W.Domains.Insert(d)
	return cc.Created(PresentDomain(q, d)), nil
}

// domainKind reads what kind of domain it is to be, and notes what excludes what.
func domainKind(b *cc.Body, d *world.Domain) {
	group := b.Get("router_group")
	if group != nil {
		o, ok := group.(tree.Obj)
		if !ok {
			b.Add("Router group must be an object")
		} else {
			if p := cc.UnknownFields(o, "guid"); p != "" {
				b.Add("Router group %s", p)
			}
			if _, ok := o.Get("guid").(string); !ok {
				b.Add("Router group guid must be a string")
			}
		}
	}
	internal, enforce := b.Get("internal") == true, b.Get("enforce_route_policies") == true
	if internal {
		if b.Has("relationships") {
			b.Add("Cannot associate an internal domain with an organization")
		}
		if b.Has("router_group") {
			b.Add("Internal domains cannot be associated to a router group.")
		}
		if enforce {
			b.Add("Internal domains cannot have route policy enforcement. Internal routes bypass GoRouter.")
		}
	}
	if b.Has("router_group") && enforce {
		b.Add("Domains with a router group cannot have route policy enforcement. TCP routes do not support mTLS policy enforcement.")
	}
	if b.Has("relationships") && b.Has("router_group") {
		b.Add("Domains scoped to an organization cannot be associated to a router group.")
	}
	d.Internal, _ = b.OptBool("internal")
	d.EnforceRoutePol, _ = b.OptBool("enforce_route_policies")
	v := b.Get("route_policies_scope")
	d.PolicyScope, _ = v.(string)
	if v != nil && !slices.Contains([]string{"any", "org", "space"}, d.PolicyScope) {
		b.Add("Route policies scope must be one of 'any', 'org', 'space'")
	}
	if enforce && d.PolicyScope == "" {
		b.Add("Route policies scope is required when enforce_route_policies is true")
	}
}

// mayShare says why a domain of an organization may not be shared with others.
func mayShare(q *cc.Req, orgs []string, owner string) error {
	for _, g := range orgs {
		if _, ok := q.W.Orgs.Get(g); !ok {
			return cc.Unprocessable("Organization with guid '%s' does not exist, or you do not have access to it.", g)
		}
	}
	for _, g := range orgs {
		o, _ := q.W.Orgs.Get(g)
		switch {
		case !q.ReadsOrg(g):
			return cc.Unprocessable("Organization with guid '%s' either does not exist, or you do not have access to it.", g)
		case !q.Admin() && !q.HasOrgRole(g, world.OrgManager):
			return cc.Unprocessable("You do not have sufficient permissions for organization '%s' to share domain.", o.Name)
		case !q.Admin() && o.Suspended:
			return cc.Unprocessable("Organization '%s' is suspended.", o.Name)
		}
	}
	if slices.Contains(orgs, owner) {
		return cc.Unprocessable("Domain cannot be shared with owning organization.")
	}
	return nil
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
	if len(d.SharedOrgs) > 0 {
		return nil, cc.Unprocessable("This domain is shared with other organizations. Unshare before deleting.")
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "domain.delete", Args: map[string]string{"guid": d.GUID}})), nil
}

// RemoveDomain takes a domain away with its routes.
func RemoveDomain(tx *cc.Tx, guid string) {
	tx.Gone("domain", guid)
	tx.W.Domains.Delete(guid)
}

func shareDomain(q *cc.Req) (*cc.Reply, error) {
	o, err := q.JSON() // unknown fields are not looked for
	if err != nil {
		return nil, err
	}
	guids, ok := cc.GUIDs(o.Get("data"))
	if !ok || slices.ContainsFunc(guids, func(g string) bool { return g == "" || len(g) > 200 }) {
		return nil, cc.Unprocessable(`Data must have the structure "data": [{"guid": shared_org_guid_1}, {"guid": shared_org_guid_2}]`)
	}
	d, err := findDomain(q)
	if err != nil {
		return nil, err
	}
	if err := mayWriteDomain(q, d); err != nil {
		return nil, err
	}
	if err := mayShare(q, guids, d.Org); err != nil {
		return nil, err
	}
	if d.Org == "" {
		return nil, cc.Unprocessable("Domains cannot be shared with other organizations unless they are scoped to an organization.")
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
	gone := cc.Unprocessable("Organization with guid '%s' does not exist or you do not have access to it.", q.Var("org"))
	org, ok := q.W.Orgs.Get(q.Var("org"))
	if !ok {
		return nil, gone
	}
	if err := mayWriteDomain(q, d); err != nil { // either end may loosen the tie
		if err := q.MayWriteOrg(org.GUID); err != nil {
			return nil, err
		}
	}
	if !q.ReadsOrg(org.GUID) {
		return nil, gone
	}
	i := slices.Index(d.SharedOrgs, org.GUID)
	if i < 0 {
		return nil, cc.Unprocessable("Unable to unshare domain from organization with name '%s'. Ensure the domain is shared to this organization.", org.Name)
	}
	for _, r := range q.W.Routes.By("domain", d.GUID) {
		if s, ok := q.W.Spaces.Get(r.Space); ok && s.Org == org.GUID {
			return nil, cc.Unprocessable("This domain has associated routes in this organization. Delete the routes before unsharing.")
		}
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
	sees := SeesDomain(q)
	return domainsOfOrg.Answer(q, q.W.Domains.All(), func(d *world.Domain) bool {
		return d.Org == "" || sees(d) && (d.Org == o.GUID || slices.Contains(d.SharedOrgs, o.GUID))
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
	if d == nil || !SeesDomain(q)(d) {
		return nil, cc.NotFound("Domain")
	}
	return cc.OK(PresentDomain(q, d)), nil
}
