package quotas

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerOrgQuotas(s *cc.Server) {
	s.Read("GET /v3/organization_quotas", listOrgQuotas)
	s.Write("POST /v3/organization_quotas", createOrgQuota)
	s.Read("GET /v3/organization_quotas/{guid}", showOrgQuota)
	s.Write("PATCH /v3/organization_quotas/{guid}", updateOrgQuota)
	s.Write("DELETE /v3/organization_quotas/{guid}", deleteOrgQuota)
	s.Write("POST /v3/organization_quotas/{guid}/relationships/organizations", applyOrgQuota)
	s.Job("organization_quota.delete", func(tx *cc.Tx, j *world.Job) error {
		if o, ok := tx.W.OrgQuotas.Get(j.Args["guid"]); ok {
			tx.Audit("audit.organization_quota.delete", orgQuotaTarget(o), "", "", nil)
			tx.W.OrgQuotas.Delete(o.GUID)
		}
		return nil
	})
}

var orgQuotas = &cc.List[*world.OrgQuota]{
	Filters: []cc.Filter[*world.OrgQuota]{
		cc.Fold("names", func(_ *cc.Req, o *world.OrgQuota) string { return o.Name }),
		cc.Any("organization_guids", func(q *cc.Req, o *world.OrgQuota) []string { return readable(q, orgsOf(&q.Tx, o.GUID)) }),
	},
	Orders: []cc.Order[*world.OrgQuota]{{Name: "name", Compare: func(a, b *world.OrgQuota) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, o *world.OrgQuota) any { return presentOrgQuota(q, o) },
}

func orgsOf(tx *cc.Tx, quota string) []string {
	var out []string
	for o := range tx.W.Orgs.All() {
		if o.Quota == quota {
			out = append(out, o.GUID)
		}
	}
	return out
}

func readable(q *cc.Req, orgs []string) []string {
	return slices.DeleteFunc(orgs, func(g string) bool { return !q.ReadsOrg(g) })
}

func orgQuotaTarget(o *world.OrgQuota) world.Target {
	return world.Target{GUID: o.GUID, Type: "organization_quota", Name: o.Name}
}

// presentOrgQuota shows a quota; of the organizations only those that the caller sees.
func presentOrgQuota(q *cc.Req, o *world.OrgQuota) tree.Obj {
	out := cc.Head(&o.Base, "name", o.Name)
	out = append(out, presentLimits(&o.Limits, true)...)
	return append(out, tree.O(
		"relationships", tree.O("organizations", cc.Many(readable(q, orgsOf(&q.Tx, o.GUID)))),
		"links", tree.O("self", q.Link("/v3/organization_quotas/"+o.GUID)))...)
}

// Every user may read every organization quota.
func listOrgQuotas(q *cc.Req) (*cc.Reply, error) {
	return orgQuotas.Answer(q, q.W.OrgQuotas.All(), nil)
}

func findOrgQuota(q *cc.Req) (*world.OrgQuota, error) {
	o, ok := q.W.OrgQuotas.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Organization quota")
	}
	return o, nil
}

func showOrgQuota(q *cc.Req) (*cc.Reply, error) {
	o, err := findOrgQuota(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentOrgQuota(q, o)), nil
}

func createOrgQuota(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body(fields(true, "relationships")...)
	if err != nil {
		return nil, err
	}
	o := &world.OrgQuota{Base: q.W.Base(), Limits: world.Limits{PaidServices: true}}
	o.Name = name(b)
	readLimits(b, &o.Limits)
	var orgs []string
	if b.Has("relationships") {
		if rel, ok := b.Related(); ok {
			orgs = b.ToMany(rel, "organizations")
		}
	}
	if strings.TrimSpace(o.Name) == "" {
		b.Add("Name can't be blank")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := checkOrgQuota(q, o, o); err != nil {
		return nil, err
	}
	if missing := missingOrgs(q, orgs); missing != nil {
		return nil, cc.Unprocessable("Organizations with guids %s do not exist, or you do not have access to them.", cc.Inspect(missing))
	}
	q.W.OrgQuotas.Insert(o)
	for _, g := range orgs {
		setOrgQuota(q, g, o.GUID)
	}
	q.Audit("audit.organization_quota.create", orgQuotaTarget(o), "", "", tree.O("request", b.Obj))
	return cc.Created(presentOrgQuota(q, o)), nil
}

// checkOrgQuota looks for another quota of that name, and at the reserved ports. self is the quota as it is stored.
func checkOrgQuota(q *cc.Req, o, self *world.OrgQuota) error {
	for other := range q.W.OrgQuotas.All() {
		if other != self && strings.EqualFold(other.Name, o.Name) {
			return cc.Unprocessable("Organization Quota '%s' already exists.", o.Name)
		}
	}
	if !reserved(&o.Limits) {
		return cc.Unprocessable("Total reserved ports must be -1, 0, or a positive integer, and must be less than or equal to total routes.")
	}
	return nil
}

func missingOrgs(q *cc.Req, guids []string) (missing []string) {
	for _, g := range guids {
		if _, ok := q.W.Orgs.Get(g); !ok {
			missing = append(missing, g)
		}
	}
	return missing
}

func setOrgQuota(q *cc.Req, org, quota string) *world.Org {
	o, ok := q.W.Orgs.Get(org)
	if ok {
		o.Quota = quota
		q.Touch(&o.Base)
	}
	return o
}

func updateOrgQuota(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body(fields(true)...)
	if err != nil {
		return nil, err
	}
	changed := world.OrgQuota{}
	o, ok := q.W.OrgQuotas.Get(q.Var("guid"))
	if ok {
		changed = *o
	}
	if n := name(b); n != "" {
		changed.Name = n
	}
	readLimits(b, &changed.Limits)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, cc.NotFound("Organization quota")
	}
	if b.Path("apps", "log_rate_limit_in_bytes_per_second") != nil {
		if names := orgsWithUnlimitedLogs(q, orgsOf(&q.Tx, o.GUID)); names != nil {
			return nil, cc.Unprocessable("Current usage exceeds new quota values. This quota is applied to %s apps running with an unlimited log rate limit.", namesSome("org", names))
		}
	}
	if err := checkOrgQuota(q, &changed, o); err != nil {
		return nil, err
	}
	*o = changed
	q.Touch(&o.Base)
	q.Audit("audit.organization_quota.update", orgQuotaTarget(o), "", "", tree.O("request", b.Obj))
	return cc.OK(presentOrgQuota(q, o)), nil
}

func orgsWithUnlimitedLogs(q *cc.Req, orgs []string) (names []string) {
	for _, g := range orgs {
		o, ok := q.W.Orgs.Get(g)
		if ok && slices.ContainsFunc(q.W.Spaces.By("org", g), func(s *world.Space) bool { return unlimitedLogs(&q.Tx, s.GUID) }) {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return names
}

func deleteOrgQuota(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	o, err := findOrgQuota(q)
	if err != nil {
		return nil, err
	}
	if len(orgsOf(&q.Tx, o.GUID)) > 0 {
		return nil, cc.Unprocessable("This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.")
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "organization_quota.delete", Args: map[string]string{"guid": o.GUID}})), nil
}

func applyOrgQuota(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("data")
	if err != nil {
		return nil, err
	}
	orgs := b.DataGUIDs()
	if err := b.Err(); err != nil {
		return nil, err
	}
	o, err := findOrgQuota(q)
	if err != nil {
		return nil, err
	}
	if missing := missingOrgs(q, orgs); missing != nil {
		return nil, cc.Unprocessable("Organizations with guids %s do not exist", cc.Inspect(missing))
	}
	if o.LogRateLimit != nil && orgsWithUnlimitedLogs(q, orgs) != nil {
		return nil, cc.Unprocessable("Current usage exceeds new quota values. The org(s) being assigned this quota contain apps running with an unlimited log rate limit.")
	}
	for _, g := range orgs {
		org := setOrgQuota(q, g, o.GUID)
		q.Audit("audit.organization_quota.apply", orgQuotaTarget(o), "", g, tree.O("organization_guid", g, "organization_name", org.Name))
	}
	out := cc.Many(orgsOf(&q.Tx, o.GUID))
	out.Set("links", tree.O("self", q.Link("/v3/organization_quotas/"+o.GUID+"/relationships/organizations")))
	return cc.OK(out), nil
}
