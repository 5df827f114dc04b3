package routing

import (
	"fmt"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// defaultPort is the port of an app that names none.
const defaultPort = 8080

func registerDestinations(s *cc.Server) {
	s.Read("GET /v3/routes/{guid}/destinations", listDestinations)
	s.Write("POST /v3/routes/{guid}/destinations", insertDestinations)
	s.Write("PATCH /v3/routes/{guid}/destinations", replaceDestinations)
	s.Write("PATCH /v3/routes/{guid}/destinations/{dest}", updateDestination)
	s.Write("DELETE /v3/routes/{guid}/destinations/{dest}", deleteDestination)
}

func port(d *world.Destination) int {
	if d.Port == nil {
		return defaultPort
	}
	return *d.Port
}

func presentDestination(d *world.Destination) tree.Obj {
	return tree.O("guid", d.GUID, "app", tree.O("guid", d.App, "process", tree.O("type", d.Process)), "weight", d.Weight, "port", port(d),
		"protocol", d.Protocol, "created_at", cc.Stamp(d.Created), "updated_at", cc.Stamp(d.Updated))
}

func presentDestinations(q *cc.Req, r *world.Route, keep func(*world.Destination) bool) []any {
	out := []any{}
	for _, d := range q.W.Destinations.By("route", r.GUID) {
		if keep == nil || keep(d) {
			out = append(out, presentDestination(d))
		}
	}
	return out
}

func answer(q *cc.Req, r *world.Route, keep func(*world.Destination) bool) *cc.Reply {
	self := "/v3/routes/" + r.GUID
	return cc.OK(tree.O("destinations", presentDestinations(q, r, keep), "links", tree.O("self", q.Link(self+"/destinations"), "route", q.Link(self))))
}

func listDestinations(q *cc.Req) (*cc.Reply, error) {
	r, err := find(q)
	if err != nil {
		return nil, err
	}
	for k := range q.Query {
		if k != "guids" && k != "app_guids" {
			return nil, cc.BadQuery("Unknown query parameter(s): '" + k + "'. Valid parameters are: 'guids', 'app_guids'")
		}
	}
	guids, appGUIDs := q.Values("guids"), q.Values("app_guids")
	return answer(q, r, func(d *world.Destination) bool {
		return (guids == nil || slices.Contains(guids, d.GUID)) && (appGUIDs == nil || slices.Contains(appGUIDs, d.App))
	}), nil
}

// readDestinations checks the list of a body; replace allows none, and weights.
func readDestinations(q *cc.Req, replace bool) ([]*world.Destination, error) {
	b, err := q.Body("destinations")
	if err != nil {
		return nil, err
	}
	l, ok := b.Get("destinations").([]any)
	if !ok || len(l) > 100 || len(l) == 0 && !replace {
		if replace {
			b.Add("Destinations must be an array containing between 0 and 100 destination objects.")
		} else {
			b.Add("Destinations must be an array containing between 1 and 100 destination objects.")
		}
		return nil, b.Err()
	}
	var out []*world.Destination
	weighted := 0
	for i, e := range l {
		d, problem := readDestination(e, replace)
		if problem != "" {
			b.Add("Destinations[%d]: %s", i, problem)
			continue
		}
		if d.Weight != nil {
			weighted++
		}
		out = append(out, d)
	}
	if weighted > 0 && weighted < len(out) {
		b.Add("Destinations cannot contain both weighted and unweighted destinations.")
	}
	if weighted == len(out) && weighted > 0 {
		total := 0
		for _, d := range out {
			total += *d.Weight
		}
		if total != 100 {
			b.Add("Destinations must have weights that add up to 100.")
		}
	}
	return out, b.Err()
}

func readDestination(v any, replace bool) (*world.Destination, string) {
	o, ok := v.(tree.Obj)
	if !ok {
		return nil, "must be a hash."
	}
	if cc.UnknownFields(o, "app", "weight", "port", "protocol") != "" {
		return nil, `must have only "app" and optionally "weight", "port" or "protocol".`
	}
	d := &world.Destination{Process: "web", Protocol: "http1"}
	app, ok := o.Lookup("app")
	if !ok {
		return nil, `must have an "app".`
	}
	ao, _ := app.(tree.Obj)
	d.App, ok = ao.Get("guid").(string)
	if !ok || cc.UnknownFields(ao, "guid", "process") != "" {
		return nil, `app must have the structure {"guid": "app_guid"}`
	}
	if p, ok := ao.Lookup("process"); ok {
		po, _ := p.(tree.Obj)
		t, _ := po.Get("type").(string)
		if t == "" || len(po) != 1 {
			return nil, `process must have the structure {"type": "process_type"}`
		}
		d.Process = t
	}
	if w, ok := o.Lookup("weight"); ok && w != nil {
		if !replace {
			return nil, "weighted destinations can only be used when replacing all destinations."
		}
		n, isInt := w.(int64)
		if !isInt || n < 1 || n > 100 {
			return nil, "weight must be a positive integer between 1 and 100."
		}
		i := int(n)
		d.Weight = &i
	}
	if p, ok := o.Lookup("port"); ok && p != nil {
		n, isInt := p.(int64)
		if !isInt || n < 1024 || n > 65535 {
			return nil, "port must be a positive integer between 1024 and 65535 inclusive."
		}
		i := int(n)
		d.Port = &i
	}
	if p, ok := o.Lookup("protocol"); ok && p != nil {
		s, _ := p.(string)
		if s != "http1" && s != "http2" && s != "tcp" {
			return nil, "protocol must be 'http1', 'http2' or 'tcp'."
		}
		d.Protocol = s
	}
	return d, ""
}

func same(a, b *world.Destination) bool {
	return a.App == b.App && a.Process == b.Process && port(a) == port(b)
}

// mappable looks whether all apps exist where the route may lead.
func mappable(q *cc.Req, r *world.Route, dests []*world.Destination) error {
	for i, d := range dests {
		a, ok := q.W.Apps.Get(d.App)
		if !ok || !q.ReadsSpace(a.Space) {
			return cc.Unprocessable("App(s) with guid(s) %q do not exist.", d.App)
		}
		if a.Space != r.Space && !slices.Contains(r.SharedSpaces, a.Space) {
			return cc.Unprocessable("Routes cannot be mapped to destinations in different spaces")
		}
		if d.Protocol == "tcp" {
			return cc.Unprocessable("Destination protocol must be 'http1' or 'http2' if the parent route's protocol is 'http'")
		}
		for _, other := range dests[:i] {
			if same(d, other) {
				return cc.Unknown() // observed fact: a breach of uniqueness that nobody foresaw
			}
		}
	}
	return nil
}

func insertDestinations(q *cc.Req) (*cc.Reply, error) {
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	dests, err := readDestinations(q, false)
	if err != nil {
		return nil, err
	}
	if err := mappable(q, r, dests); err != nil {
		return nil, err
	}
	if len(q.W.Destinations.By("route", r.GUID))+len(dests) > 100 {
		return nil, cc.Unprocessable("Routes can be mapped to at most 100 destinations.")
	}
	for _, d := range q.W.Destinations.By("route", r.GUID) {
		if d.Weight != nil {
			return nil, cc.Unprocessable("Destinations cannot be inserted when there are weighted destinations already configured.")
		}
	}
	for _, d := range dests {
		Map(&q.Tx, r, *d, false)
	}
	q.Touch(&r.Base)
	return answer(q, r, nil), nil
}

// Map adds a destination; one that exists is left alone, save its protocol when a manifest changes it.
func Map(tx *cc.Tx, r *world.Route, d world.Destination, manifest bool) {
	for _, have := range tx.W.Destinations.By("route", r.GUID) {
		if same(have, &d) {
			if manifest && d.Protocol != "" && have.Protocol != d.Protocol {
				have.Protocol = d.Protocol
				tx.Touch(&have.Base)
			}
			return
		}
	}
	if d.Protocol == "" {
		d.Protocol = "http1"
	}
	d.Base, d.Route = tx.W.Base(), r.GUID
	tx.W.Destinations.Insert(&d)
	if a, ok := tx.W.Apps.Get(d.App); ok {
		runtime.Audit(tx, a, "audit.app.map-route", apps.Triggered(mapping(r, &d), manifest))
	}
}

func mapping(r *world.Route, d *world.Destination) tree.Obj {
	o := tree.O("route_guid", r.GUID, "app_port", port(d), "route_mapping_guid", d.GUID, "destination_guid", d.GUID,
		"process_type", d.Process, "weight", d.Weight, "protocol", d.Protocol)
	if len(r.Options) > 0 {
		o.Set("route_options", cc.StringMap(r.Options))
	}
	return o
}

func unmap(tx *cc.Tx, r *world.Route, a *world.App, d *world.Destination, manifest bool) {
	tx.W.Destinations.Delete(d.GUID)
	runtime.Audit(tx, a, "audit.app.unmap-route", apps.Triggered(mapping(r, d), manifest))
}

// UnmapAll removes every destination of an app; its routes stay.
func UnmapAll(tx *cc.Tx, a *world.App, manifest bool) {
	for _, d := range tx.W.Destinations.By("app", a.GUID) {
		if r, ok := tx.W.Routes.Get(d.Route); ok {
			unmap(tx, r, a, d, manifest)
		}
	}
}

func replaceDestinations(q *cc.Req) (*cc.Reply, error) {
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	dests, err := readDestinations(q, true)
	if err != nil {
		return nil, err
	}
	if err := mappable(q, r, dests); err != nil {
		return nil, err
	}
	stays := func(have *world.Destination) bool {
		return slices.ContainsFunc(dests, func(d *world.Destination) bool {
			return same(d, have) && d.Protocol == have.Protocol && fmt.Sprint(weight(d)) == fmt.Sprint(weight(have))
		})
	}
	for _, have := range q.W.Destinations.By("route", r.GUID) {
		if a, ok := q.W.Apps.Get(have.App); ok && !stays(have) {
			unmap(&q.Tx, r, a, have, false)
		}
	}
	for _, d := range dests {
		Map(&q.Tx, r, *d, false)
	}
	q.Touch(&r.Base)
	return answer(q, r, nil), nil
}

func weight(d *world.Destination) int {
	if d.Weight == nil {
		return 0
	}
	return *d.Weight
}

func findDestination(q *cc.Req, r *world.Route) (*world.Destination, error) {
	d, ok := q.W.Destinations.Get(q.Var("dest"))
	if !ok || d.Route != r.GUID {
		return nil, cc.Unprocessable("Unable to unmap route from destination. Ensure the route has a destination with this guid.")
	}
	return d, nil
}

func updateDestination(q *cc.Req) (*cc.Reply, error) {
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("protocol")
	if err != nil {
		return nil, err
	}
	p, ok := b.Lookup("protocol")
	s, _ := p.(string)
	if ok && p != nil && s != "http1" && s != "http2" && s != "tcp" {
		b.Add("Destination protocol must be 'http1', 'http2' or 'tcp'.")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	d, err := findDestination(q, r)
	if err != nil {
		return nil, err
	}
	if s == "tcp" {
		return nil, cc.Unprocessable("Destination protocol must be 'http1' or 'http2' if the parent route's protocol is 'http'")
	}
	if s == "" {
		s = "http1"
	}
	d.Protocol = s
	q.Touch(&d.Base)
	self := "/v3/routes/" + r.GUID
	o := presentDestination(d)
	o.Set("links", tree.O("destinations", q.Link(self+"/destinations"), "route", q.Link(self)))
	return cc.OK(o), nil
}

func deleteDestination(q *cc.Req) (*cc.Reply, error) {
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	d, err := findDestination(q, r)
	if err != nil {
		return nil, err
	}
	if a, ok := q.W.Apps.Get(d.App); ok {
		unmap(&q.Tx, r, a, d, false)
	}
	q.Touch(&r.Base)
	return cc.NoContent(), nil
}
