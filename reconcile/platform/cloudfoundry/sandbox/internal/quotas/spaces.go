package quotas

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerSpaceQuotas(s *cc.Server) {
	s.Read("GET /v3/space_quotas", listSpaceQuotas)
	s.Write("POST /v3/space_quotas", createSpaceQuota)
	s.Read("GET /v3/space_quotas/{guid}", showSpaceQuota)
	s.Write("PATCH /v3/space_quotas/{guid}", updateSpaceQuota)
	s.Write("DELETE /v3/space_quotas/{guid}", deleteSpaceQuota)
	s.Write("POST /v3/space_quotas/{guid}/relationships/spaces", applySpaceQuota)
	s.Write("DELETE /v3/space_quotas/{guid}/relationships/spaces/{space}", unapplySpaceQuota)
	s.Job("space_quota.delete", func(tx *cc.Tx, j *world.Job) error {
		if o, ok := tx.W.SpaceQuotas.Get(j.Args["guid"]); ok {
			tx.Audit("audit.space_quota.delete", spaceQuotaTarget(o), "", o.Org, nil)
			tx.W.SpaceQuotas.Delete(o.GUID)
		}
		return nil
	})
	s.OnDelete("organization", func(tx *cc.Tx, org string) {
		for _, o := range tx.W.SpaceQuotas.By("org", org) {
			tx.W.SpaceQuotas.Delete(o.GUID)
		}
	})
}

var spaceQuotas = &cc.List[*world.SpaceQuota]{
	Unprocessable: true,
	Filters: []cc.Filter[*world.SpaceQuota]{
		cc.Fold("names", func(_ *cc.Req, o *world.SpaceQuota) string { return o.Name }),
		cc.In("organization_guids", func(_ *cc.Req, o *world.SpaceQuota) string { return o.Org }),
		cc.Any("space_guids", func(q *cc.Req, o *world.SpaceQuota) []string { return spacesOf(&q.Tx, o) }),
	},
	Orders: []cc.Order[*world.SpaceQuota]{{Name: "name", Compare: func(a, b *world.SpaceQuota) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, o *world.SpaceQuota) any { return presentSpaceQuota(q, o) },
}

func spacesOf(tx *cc.Tx, o *world.SpaceQuota) []string {
	var out []string
	for _, s := range tx.W.Spaces.By("org", o.Org) {
		if s.Quota == o.GUID {
			out = append(out, s.GUID)
		}
	}
	return out
}

func spaceQuotaTarget(o *world.SpaceQuota) world.Target {
	return world.Target{GUID: o.GUID, Type: "space_quota", Name: o.Name}
}

func presentSpaceQuota(q *cc.Req, o *world.SpaceQuota) tree.Obj {
	sees := q.Sees()
	spaces := slices.DeleteFunc(spacesOf(&q.Tx, o), func(g string) bool { return !sees.Space(g) })
	out := cc.Head(&o.Base, "name", o.Name)
	out = append(out, presentLimits(&o.Limits, false)...)
	return append(out, tree.O(
		"relationships", tree.O("organization", cc.One(o.Org), "spaces", cc.Many(spaces)),
		"links", tree.O("self", q.Link("/v3/space_quotas/"+o.GUID), "organization", q.Link("/v3/organizations/"+o.Org)))...)
}

// seesSpaceQuota: managers of its organization, and members of a space that has it.
func seesSpaceQuota(q *cc.Req, o *world.SpaceQuota) bool {
	return q.ReadsAll() || q.HasOrgRole(o.Org, world.OrgManager) ||
		slices.ContainsFunc(spacesOf(&q.Tx, o), func(g string) bool { return q.HasSpaceRole(g) })
}

func listSpaceQuotas(q *cc.Req) (*cc.Reply, error) {
	return spaceQuotas.Answer(q, q.W.SpaceQuotas.All(), func(o *world.SpaceQuota) bool { return seesSpaceQuota(q, o) })
}

func findSpaceQuota(q *cc.Req) (*world.SpaceQuota, error) {
	o, ok := q.W.SpaceQuotas.Get(q.Var("guid"))
	if !ok || !seesSpaceQuota(q, o) {
		return nil, cc.NotFound("Space quota")
	}
	return o, nil
}

func writableSpaceQuota(q *cc.Req) (*world.SpaceQuota, error) {
	o, err := findSpaceQuota(q)
	if err != nil {
		return nil, err
	}
	return o, q.MayWriteOrg(o.Org)
}

func showSpaceQuota(q *cc.Req) (*cc.Reply, error) {
	o, err := findSpaceQuota(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentSpaceQuota(q, o)), nil
}

func createSpaceQuota(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body(fields(false, "relationships")...)
	if err != nil {
		return nil, err
	}
	o := &world.SpaceQuota{Base: q.W.Base(), Limits: world.Limits{PaidServices: true}}
	o.Name = name(b)
	readLimits(b, &o.Limits)
	var spaces []string
	if rel, ok := b.Related(); ok {
		o.Org = b.ToOne(rel, "organization", false)
		spaces = b.ToMany(rel, "spaces")
	}
	if strings.TrimSpace(o.Name) == "" {
		b.Add("Name can't be blank")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	org, ok := q.W.Orgs.Get(o.Org)
	if !ok {
		return nil, cc.Unprocessable("Organization with guid '%s' does not exist, or you do not have access to it.", o.Org)
	}
	if err := q.MayWriteOrg(org.GUID); err != nil {
		return nil, err
	}
	if err := checkSpaceQuota(q, o, o); err != nil {
		return nil, err
	}
	var missing []string
	for _, g := range spaces {
		if s, ok := q.W.Spaces.Get(g); !ok || s.Org != o.Org {
			missing = append(missing, g)
		}
	}
	if missing != nil {
		return nil, cc.Unprocessable("Spaces with guids %s do not exist within the organization specified, or you do not have access to them.", cc.Inspect(missing))
	}
	q.W.SpaceQuotas.Insert(o)
	for _, g := range spaces {
		s, _ := q.W.Spaces.Get(g)
		s.Quota = o.GUID
	}
	q.Audit("audit.space_quota.create", spaceQuotaTarget(o), "", o.Org, tree.O("request", b.Obj))
	return cc.Created(presentSpaceQuota(q, o)), nil
}

// checkSpaceQuota looks for another quota of that name in the organization, and at the reserved ports.
func checkSpaceQuota(q *cc.Req, o, self *world.SpaceQuota) error {
	for _, other := range q.W.SpaceQuotas.By("org", o.Org) {
		if other != self && strings.EqualFold(other.Name, o.Name) {
			return cc.Unprocessable("Space Quota '%s' already exists.", o.Name)
		}
	}
	org := orgLimits(&q.Tx, o.Org)
	beyond := o.TotalReservedPorts != nil && org != nil && org.TotalReservedPorts != nil && *o.TotalReservedPorts > *org.TotalReservedPorts
	if beyond || !reserved(&o.Limits) {
		return cc.Unprocessable("Total reserved ports must be -1, 0, or a positive integer, must be less than or equal to total routes, " +
			"and must be less than or equal to total reserved ports for the organization quota.")
	}
	return nil
}

func updateSpaceQuota(q *cc.Req) (*cc.Reply, error) {
	o, err := writableSpaceQuota(q)
	if err != nil {
		return nil, err
	}
	b, err := q.Body(fields(true)...)
	if err != nil {
		return nil, err
	}
	changed := *o
	if n := name(b); n != "" {
		changed.Name = n
	}
	readLimits(b, &changed.Limits)
	changed.TotalDomains = nil
	if err := b.Err(); err != nil {
		return nil, err
	}
	if b.Path("apps", "log_rate_limit_in_bytes_per_second") != nil {
		if names := spacesWithUnlimitedLogs(q, spacesOf(&q.Tx, o)); names != nil {
			return nil, cc.Unprocessable("Current usage exceeds new quota values. This quota is applied to %s apps running with an unlimited log rate limit.", namesSome("space", names))
		}
	}
	if err := checkSpaceQuota(q, &changed, o); err != nil {
		return nil, err
	}
	*o = changed
	q.Touch(&o.Base)
	q.Audit("audit.space_quota.update", spaceQuotaTarget(o), "", o.Org, tree.O("request", b.Obj))
	return cc.OK(presentSpaceQuota(q, o)), nil
}

func spacesWithUnlimitedLogs(q *cc.Req, spaces []string) (names []string) {
	for _, g := range spaces {
		if s, ok := q.W.Spaces.Get(g); ok && unlimitedLogs(&q.Tx, g) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func deleteSpaceQuota(q *cc.Req) (*cc.Reply, error) {
	o, err := writableSpaceQuota(q)
	if err != nil {
		return nil, err
	}
	if len(spacesOf(&q.Tx, o)) > 0 {
		return nil, cc.Unprocessable("This quota is applied to one or more spaces. Remove this quota from all spaces before deleting.")
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "space_quota.delete", Args: map[string]string{"guid": o.GUID}})), nil
}

func applySpaceQuota(q *cc.Req) (*cc.Reply, error) {
	o, err := writableSpaceQuota(q)
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
	sees := q.Sees()
	var missing, hidden []string
	outside := false
	for _, g := range guids {
		switch s, ok := q.W.Spaces.Get(g); {
		case !ok:
			missing = append(missing, g)
		case !sees.Space(g):
			hidden = append(hidden, g)
		default:
			outside = outside || s.Org != o.Org
		}
	}
	if invalid := append(missing, hidden...); invalid != nil {
		return nil, cc.Unprocessable("Spaces with guids %s do not exist, or you do not have access to them.", cc.Inspect(invalid))
	}
	if outside {
		return nil, cc.Unprocessable("Space quotas cannot be applied outside of their owning organization.")
	}
	if o.LogRateLimit != nil && spacesWithUnlimitedLogs(q, guids) != nil {
		return nil, cc.Unprocessable("Current usage exceeds new quota values. The space(s) being assigned this quota contain apps running with an unlimited log rate limit.")
	}
	for _, g := range guids {
		s, _ := q.W.Spaces.Get(g)
		s.Quota = o.GUID
		q.Audit("audit.space_quota.apply", spaceQuotaTarget(o), g, o.Org, tree.O("space_guid", g, "space_name", s.Name))
	}
	out := cc.Many(spacesOf(&q.Tx, o))
	out.Set("links", tree.O("self", q.Link("/v3/space_quotas/"+o.GUID+"/relationships/spaces")))
	return cc.OK(out), nil
}

func unapplySpaceQuota(q *cc.Req) (*cc.Reply, error) {
	o, err := writableSpaceQuota(q)
	if err != nil {
		return nil, err
	}
	s, ok := q.W.Spaces.Get(q.Var("space"))
	if !ok || s.Quota != o.GUID {
		return nil, cc.Unprocessable("Unable to remove quota from space with guid '%s'. Ensure the space quota is applied to this space.", q.Var("space"))
	}
	s.Quota = ""
	q.Audit("audit.space_quota.remove", spaceQuotaTarget(o), s.GUID, o.Org, tree.O("space_guid", s.GUID, "space_name", s.Name))
	return cc.NoContent(), nil
}
