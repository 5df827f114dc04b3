// Package routing holds routes and their destinations.
//
// It says which address leads to which process of which app, and never carries a request there.
package routing

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/routes", listRoutes)
	s.Write("POST /v3/routes", createRoute)
	s.Read("GET /v3/routes/{guid}", showRoute)
	s.Write("PATCH /v3/routes/{guid}", updateRoute)
	s.Write("DELETE /v3/routes/{guid}", deleteRoute)
	s.Write("DELETE /v3/spaces/{guid}/routes", deleteUnmapped)
	s.Read("GET /v3/apps/{guid}/routes", appRoutes)
	s.Read("GET /v3/domains/{guid}/route_reservations", reservations)
	registerDestinations(s)
	registerSharing(s)
	s.Job("route.delete", func(tx *cc.Tx, j *world.Job) error {
		Remove(tx, j.Args["guid"])
		return nil
	})
	s.Job("space.delete_unmapped_routes", func(tx *cc.Tx, j *world.Job) error {
		for _, r := range tx.W.Routes.By("space", j.Args["space"]) {
			if _, used := tx.W.Destinations.First("route", r.GUID); !used && len(tx.W.RouteBindings.By("route", r.GUID)) == 0 {
				Remove(tx, r.GUID)
			}
		}
		return nil
	})
	s.OnDelete("app", func(tx *cc.Tx, guid string) {
		a, _ := tx.W.Apps.Get(guid)
		for _, d := range tx.W.Destinations.By("app", guid) {
			if r, ok := tx.W.Routes.Get(d.Route); ok {
				unmap(tx, r, a, d, false)
			}
		}
	})
	s.OnDelete("space", func(tx *cc.Tx, guid string) {
		for _, r := range tx.W.Routes.By("space", guid) {
			Remove(tx, r.GUID)
		}
	})
	s.OnDelete("domain", func(tx *cc.Tx, guid string) {
		for _, r := range tx.W.Routes.By("domain", guid) {
			Remove(tx, r.GUID)
		}
	})
}

var list = &cc.List[*world.Route]{
	Filters: []cc.Filter[*world.Route]{
		cc.Fold("hosts", func(_ *cc.Req, r *world.Route) string { return r.Host }),
		cc.Any("space_guids", func(_ *cc.Req, r *world.Route) []string { return append([]string{r.Space}, r.SharedSpaces...) }),
		cc.In("organization_guids", func(q *cc.Req, r *world.Route) string { return apps.OrgOf(&q.Tx, r.Space) }),
		cc.In("domain_guids", func(_ *cc.Req, r *world.Route) string { return r.Domain }),
		cc.Fold("paths", func(_ *cc.Req, r *world.Route) string { return r.Path }),
		cc.Any("app_guids", func(q *cc.Req, r *world.Route) []string {
			var out []string
			for _, d := range q.W.Destinations.By("route", r.GUID) {
				out = append(out, d.App)
			}
			return out
		}),
		cc.Include[*world.Route]("domain", "space", "space.organization"),
		cc.Labels[*world.Route](),
		cc.In("ports", func(_ *cc.Req, r *world.Route) string {
			if r.Port == nil {
				return ""
			}
			return string(tree.JSON(*r.Port))
		}),
		cc.Any("service_instance_guids", func(q *cc.Req, r *world.Route) []string {
			var out []string
			for _, b := range q.W.RouteBindings.By("route", r.GUID) {
				out = append(out, b.ServiceInstance)
			}
			return out
		}),
	},
	Show:     func(q *cc.Req, r *world.Route) any { return Present(q, r) },
	Included: included,
}

func included(q *cc.Req, include []string, rows []*world.Route) tree.Obj {
	var spaces []string
	for _, r := range rows {
		spaces = append(spaces, r.Space)
	}
	out := tree.Obj{}
	for _, i := range include {
		if i != "domain" {
			for _, f := range tenancy.SpacesAndOrgs(q, []string{i}, spaces) {
				out.Set(f.Key, f.Value)
			}
			continue
		}
		seen, domains := map[string]bool{}, []any{}
		for _, r := range rows {
			if d, ok := q.W.Domains.Get(r.Domain); ok && !seen[r.Domain] {
				seen[r.Domain] = true
				domains = append(domains, tenancy.PresentDomain(q, d))
			}
		}
		out.Set("domains", domains)
	}
	return out
}

// sees: who reads the route's space, or one with which it is shared; auditors of the organization as well.
func sees(q *cc.Req) func(*world.Route) bool {
	v := q.Sees()
	if v.All {
		return func(*world.Route) bool { return true }
	}
	return func(r *world.Route) bool {
		return v.Space(r.Space) || slices.ContainsFunc(r.SharedSpaces, v.Space) || q.HasOrgRole(apps.OrgOf(&q.Tx, r.Space), world.OrgAuditor)
	}
}

func listRoutes(q *cc.Req) (*cc.Reply, error) { return list.Answer(q, q.W.Routes.All(), sees(q)) }

func appRoutes(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.Find(q)
	if err != nil {
		return nil, err
	}
	q.Query.Set("app_guids", a.GUID) // observed fact: the links show the filter
	in := map[string]bool{}
	for _, d := range q.W.Destinations.By("app", a.GUID) {
		in[d.Route] = true
	}
	return list.Answer(q, q.W.Routes.All(), func(r *world.Route) bool { return in[r.GUID] })
}

// Present shows a route.
func Present(q *cc.Req, r *world.Route) tree.Obj {
	self := "/v3/routes/" + r.GUID
	return cc.Head(&r.Base,
		"protocol", Protocol(&q.Tx, r), "host", r.Host, "path", r.Path, "port", r.Port, "url", apps.RouteURL(&q.Tx, r),
		"destinations", presentDestinations(q, r, nil), "options", cc.StringMap(r.Options), "metadata", cc.Meta(&r.Base),
		"relationships", tree.O("space", cc.One(r.Space), "domain", cc.One(r.Domain)),
		"links", tree.O("self", q.Link(self), "space", q.Link("/v3/spaces/"+r.Space), "destinations", q.Link(self+"/destinations"), "domain", q.Link("/v3/domains/"+r.Domain)))
}

// Protocol is what a route speaks, http or tcp, by its domain.
func Protocol(tx *cc.Tx, r *world.Route) string {
	if d, ok := tx.W.Domains.Get(r.Domain); ok && d.RouterGroup != "" {
		return "tcp"
	}
	return "http"
}

func find(q *cc.Req) (*world.Route, error) {
	r, ok := q.W.Routes.Get(q.Var("guid"))
	if !ok || !sees(q)(r) {
		return nil, cc.NotFound("Route")
	}
	return r, nil
}

var writers = []string{world.SpaceDeveloper, world.SpaceSupporter}

func findForWrite(q *cc.Req) (*world.Route, error) {
	r, err := find(q)
	if err != nil {
		return nil, err
	}
	return r, q.MayWriteSpace(r.Space, writers...)
}

func showRoute(q *cc.Req) (*cc.Reply, error) {
	r, err := find(q)
	if err != nil {
		return nil, err
	}
	inc := q.Included()
	if p := cc.IncludeProblem(inc, "domain", "space", "space.organization"); p != "" {
		return nil, cc.BadQuery(p)
	}
	o := Present(q, r)
	if inc != nil {
		o.Set("included", included(q, inc, []*world.Route{r}))
	}
	return cc.OK(o), nil
}

var hostChars = regexp.MustCompile(`\A(?:\*|[A-Za-z0-9_-]*)\z`)

func readHost(b *cc.Body) string {
	v, ok := b.Lookup("host")
	if !ok || v == nil {
		return ""
	}
	h, isText := v.(string)
	if !isText {
		b.Add("Host must be a string")
		return ""
	}
	if utf8.RuneCountInString(h) > 63 {
		b.Add("Host is too long (maximum is 63 characters)")
	}
	if !hostChars.MatchString(h) {
		b.Add(`Host must be either "*" or contain only alphanumeric characters, "_", or "-"`)
	}
	return h
}

func readPath(b *cc.Body) string {
	v, ok := b.Lookup("path")
	if !ok || v == nil || v == "" {
		return ""
	}
	p, isText := v.(string)
	if !isText {
		b.Add("Path must be a string")
		return ""
	}
	if utf8.RuneCountInString(p) > 128 {
		b.Add("Path is too long (maximum is 128 characters)")
	}
	if !strings.HasPrefix(p, "/") {
		b.Add("Path must begin with /")
	}
	if strings.Contains(p, "?") {
		b.Add("Path cannot contain ?")
	}
	if p == "/" {
		b.Add("Path cannot be exactly /")
	}
	return p
}

// Balancings are the allowed values of the option loadbalancing.
func Balancings(tx *cc.Tx) []string {
	out := []string{"round-robin", "least-connection"}
	if f, ok := tx.W.Flags.Get("hash_based_routing"); ok && f.Enabled {
		out = append(out, "hash")
	}
	return out
}

// OptionKeys are the allowed options of a route.
func OptionKeys(tx *cc.Tx) []string {
	if len(Balancings(tx)) > 2 {
		return []string{"loadbalancing", "hash_header", "hash_balance"}
	}
	return []string{"loadbalancing"}
}

func readOptions(q *cc.Req, b *cc.Body) tree.Obj {
	v, ok := b.Lookup("options")
	if !ok {
		return nil
	}
	o, isObj := v.(tree.Obj)
	if !isObj {
		b.Add("Options 'options' is not a valid object")
		return nil
	}
	if lb, ok := o.Lookup("loadbalancing"); ok && lb != nil {
		if s, _ := lb.(string); !slices.Contains(Balancings(&q.Tx), s) {
			b.Add("Options Loadbalancing must be one of '%s' if present", strings.Join(Balancings(&q.Tx), ", "))
		}
	}
	if u := cc.UnknownFields(o, OptionKeys(&q.Tx)...); u != "" {
		b.Add("Options %s", u)
	}
	return o
}

// SetOptions merges options into those of a route; null removes.
func SetOptions(r *world.Route, o tree.Obj) {
	if len(o) > 0 {
		r.Options = apps.MergeVars(r.Options, o)
	}
}

func createRoute(q *cc.Req) (*cc.Reply, error) {
	if err := q.Feature("route_creation"); err != nil {
		return nil, err
	}
	o, err := q.JSON()
	if err != nil {
		return nil, err
	}
	b := &cc.Body{Obj: o} // the checks in the controller's order
	host, path := readHost(b), readPath(b)
	port := apps.Whole(b, "port", 0, "greater than or equal to 0", 65535)
	if v, _ := b.Get("relationships").(tree.Obj); len(v) == 0 {
		b.Add("Relationships can't be blank")
	}
	if u := cc.UnknownFields(o, "host", "path", "port", "options", "relationships", "metadata"); u != "" {
		b.Add("%s", u)
	}
	rel := b.Relationships([]string{"space", "domain"})
	options := readOptions(q, b)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	sp, ok := q.W.Spaces.Get(cc.RelGUID(rel, "space"))
	if !ok {
		return nil, cc.Unprocessable("Invalid space. Ensure that the space exists and you have access to it.")
	}
	d, ok := q.W.Domains.Get(cc.RelGUID(rel, "domain"))
	if !ok {
		return nil, cc.Unprocessable("Invalid domain. Ensure that the domain exists and you have access to it.")
	}
	if err := q.MayWriteSpace(sp.GUID, writers...); err != nil { // observed fact: 403, even if the space cannot be read
		return nil, err
	}
	if host == "*" && d.Org == "" && !q.Admin() {
		return nil, cc.Unprocessable("You do not have sufficient permissions to create a route with a wildcard host on a domain not scoped to an organization.")
	}
	n := New{Space: sp.GUID, Domain: d, Host: host, Path: path, Port: port, Options: options, Meta: m}
	if err := n.Check(&q.Tx); err != nil {
		return nil, err
	}
	if err := m.Check(&world.Base{}); err != nil {
		return nil, err
	}
	r := n.Create(&q.Tx, tree.O("request", b.Obj))
	return cc.Created(Present(q, r)), nil
}

// New is a route to be.
type New struct {
	Space, Host, Path string
	Domain            *world.Domain
	Port              *int
	Options           tree.Obj
	Meta              cc.Metadata
}

// Check looks whether such a route may be on its domain.
func (n New) Check(tx *cc.Tx) error {
	d, org := n.Domain, apps.OrgOf(tx, n.Space)
	o, _ := tx.W.Orgs.Get(org)
	switch {
	case d.Org != "" && d.Org != org && !slices.Contains(d.SharedOrgs, org):
		return cc.Unprocessable("Invalid domain. Domain '%s' is not available in organization '%s'.", d.Name, o.Name)
	case n.Port != nil && d.RouterGroup == "":
		return cc.Unprocessable("Routes with protocol 'http' do not support ports.")
	case n.Host == "" && d.Org == "" && d.RouterGroup == "":
		return cc.Unprocessable("Missing host. Routes in shared domains must have a host defined.")
	case d.Internal && n.Host == "*":
		return cc.Unprocessable("Wildcard hosts are not supported for internal domains.")
	case d.Internal && n.Path != "":
		return cc.Unprocessable("Paths are not supported for internal domains.")
	case len(n.Host)+1+len(d.Name) > 253:
		return cc.Unprocessable("Host combined with domain name must be no more than 253 characters.")
	}
	if Find(tx, d.GUID, n.Host, n.Path) != nil {
		text := "Route already exists"
		switch {
		case n.Host != "" && n.Path != "":
			text += " with host '" + n.Host + "' and path '" + n.Path + "'"
		case n.Host != "":
			text += " with host '" + n.Host + "'"
		case n.Path != "":
			text += " with path '" + n.Path + "'"
		}
		return cc.Unprocessable("%s for domain '%s'.", text, d.Name)
	}
	// Route#validate_host_and_domain_in_different_space of the controller: a private domain lets spaces share a host.
	for _, r := range tx.W.Routes.By("domain", d.GUID) {
		if d.Org == "" && r.Port == nil && r.Space != n.Space && strings.EqualFold(r.Host, n.Host) {
			return cc.Unprocessable("domain_id and host host_and_domain_taken_different_space")
		}
	}
	if n.Host != "" {
		for other := range tx.W.Domains.All() {
			if strings.EqualFold(other.Name, n.Host+"."+d.Name) {
				return cc.Unprocessable("Route conflicts with domain '%s'.", other.Name)
			}
		}
	}
	return quota(tx, n.Space, org)
}

// Find finds a route without regard to case.
func Find(tx *cc.Tx, domain, host, path string) *world.Route {
	for _, r := range tx.W.Routes.By("domain", domain) {
		if strings.EqualFold(r.Host, host) && strings.EqualFold(r.Path, path) {
			return r
		}
	}
	return nil
}

// Create makes the route; data is that of its event.
func (n New) Create(tx *cc.Tx, data tree.Obj) *world.Route {
	r := &world.Route{Base: tx.W.Base(), Space: n.Space, Domain: n.Domain.GUID, Host: n.Host, Path: n.Path, Port: n.Port}
	SetOptions(r, n.Options)
	n.Meta.Apply(&r.Base)
	tx.W.Routes.Insert(r)
	audit(tx, r, "audit.route.create", data)
	return r
}

func audit(tx *cc.Tx, r *world.Route, typ string, data tree.Obj) {
	tx.Audit(typ, world.Target{GUID: r.GUID, Type: "route", Name: r.Host}, r.Space, "", data)
}

func updateRoute(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("options", "metadata")
	if err != nil {
		return nil, err
	}
	options := readOptions(q, b)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	if err := m.Check(&r.Base); err != nil {
		return nil, err
	}
	SetOptions(r, options)
	m.Apply(&r.Base)
	q.Touch(&r.Base) // observed fact: no event
	return cc.OK(Present(q, r)), nil
}

func deleteRoute(q *cc.Req) (*cc.Reply, error) {
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "route.delete", Args: map[string]string{"guid": r.GUID}})), nil
}

// Remove takes a route away with its destinations. Observed fact: no unmap-route events follow.
func Remove(tx *cc.Tx, guid string) {
	r, ok := tx.W.Routes.Get(guid)
	if !ok {
		return
	}
	tx.Gone("route", guid)
	audit(tx, r, "audit.route.delete-request", tree.O("request", tree.O("recursive", true)))
	for _, d := range tx.W.Destinations.By("route", guid) {
		tx.W.Destinations.Delete(d.GUID)
	}
	tx.W.Routes.Delete(guid)
}

func deleteUnmapped(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	var problems []string
	switch v, ok := q.Query["unmapped"]; {
	case !ok:
		problems = []string{"Unmapped can't be blank", "Mass delete not supported for routes. Use 'unmapped=true' parameter to delete all unmapped routes.", "Unmapped must be a boolean"}
	case v[0] == "false":
		problems = []string{"Mass delete not supported for routes. Use 'unmapped=true' parameter to delete all unmapped routes."}
	case v[0] != "true":
		problems = []string{"Mass delete not supported for routes. Use 'unmapped=true' parameter to delete all unmapped routes.", "Unmapped must be a boolean"}
	}
	if problems != nil {
		return nil, cc.Unprocessable("%s", strings.Join(problems, ", "))
	}
	if err := q.MayWriteSpace(s.GUID, writers...); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{
		Operation: "space.delete_unmapped_routes", Link: "space", LinkPath: "/v3/spaces/" + s.GUID, Args: map[string]string{"space": s.GUID},
	})), nil
}

func reservations(q *cc.Req) (*cc.Reply, error) {
	d, ok := q.W.Domains.Get(q.Var("guid"))
	if !ok || !tenancy.SeesDomain(q)(d) {
		return nil, cc.NotFound("Domain")
	}
	r := Find(&q.Tx, d.GUID, q.Query.Get("host"), q.Query.Get("path"))
	return cc.OK(tree.O("matching_route", r != nil)), nil
}
