package routing

import (
	"fmt"
	"slices"
	"strings"

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
			return nil, cc.Unprocessable("Unknown query parameter(s): '%s'. Valid parameters are: 'guids', 'app_guids'", k)
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
	ports := map[string]int{}
	total, weighted := 0, 0
	for i, e := range l {
		d, problems := readDestination(e, replace)
		for _, p := range problems {
			b.Add("Destinations[%d]: %s", i, p)
		}
		if problems != nil {
			continue
		}
		if ports[d.App+"/"+d.Process]++; ports[d.App+"/"+d.Process] == 11 {
			b.Add("Process must have at most 10 exposed ports.")
		}
		if d.Weight != nil {
			weighted++
			total += *d.Weight
		}
		out = append(out, d)
	}
	switch {
	case len(b.Problems) > 0 || weighted == 0:
	case weighted < len(out):
		b.Add("Destinations cannot contain both weighted and unweighted destinations.")
	case total != 100:
		b.Add("Destinations must have weights that sum to 100.")
	}
	return out, b.Err()
}

func readDestination(v any, replace bool) (*world.Destination, []string) {
	o, ok := v.(tree.Obj)
	if !ok {
		return nil, []string{"must be an object."}
	}
	if !o.Has("app") {
		return nil, []string{`must have an "app".`}
	}
	if cc.UnknownFields(o, "app", "weight", "port", "protocol") != "" {
		return nil, []string{`must have only "app" and optionally "weight", "port" or "protocol".`}
	}
	d := &world.Destination{Process: "web"}
	var problems []string
	add := func(text string) { problems = append(problems, text) }
	ao, _ := o.Get("app").(tree.Obj)
	if d.App, _ = ao.Get("guid").(string); d.App == "" || len(d.App) > 199 {
		add(`app must have the structure {"guid": "app_guid"}`)
	} else if p := ao.Get("process"); p != nil {
		po, _ := p.(tree.Obj)
		if d.Process, _ = po.Get("type").(string); d.Process == "" || len(po) != 1 {
			add(`process must have the structure {"type": "process_type"}`)
		}
	}
	number := func(v any, lowest, highest int64) (*int, bool) {
		n, isInt := v.(int64)
		i := int(n)
		return &i, isInt && n >= lowest && n <= highest
	}
	if w := o.Get("weight"); w != nil && w != false {
		n, ok := number(w, 1, 100)
		switch {
		case !replace:
			add("weighted destinations can only be used when replacing all destinations.")
		case !ok:
			add("weight must be a positive integer between 1 and 100.")
		}
		d.Weight = n
	}
	if p := o.Get("port"); p != nil && p != false {
		n, ok := number(p, 1024, 65535)
		if !ok {
			add("port must be a positive integer between 1024 and 65535 inclusive.")
		}
		d.Port = n
	}
	if p := o.Get("protocol"); p != nil && p != false {
		if d.Protocol, _ = p.(string); d.Protocol != "http1" && d.Protocol != "http2" && d.Protocol != "tcp" {
			add("protocol must be 'http1', 'http2' or 'tcp'.")
		}
	}
	return d, problems
}

func same(a, b *world.Destination) bool {
	return a.App == b.App && a.Process == b.Process && port(a) == port(b)
}

// mappable looks whether all apps exist where the route may lead.
func mappable(q *cc.Req, r *world.Route, dests []*world.Destination) error {
	var absent, hidden []string
	elsewhere := false
	for _, d := range dests {
		a, ok := q.W.Apps.Get(d.App)
		switch {
		case !ok:
			absent = append(absent, d.App)
		case !q.ReadsSpace(a.Space):
			hidden = append(hidden, d.App)
		}
		elsewhere = elsewhere || ok && a.Space != r.Space && !slices.Contains(r.SharedSpaces, a.Space)
	}
	switch {
	case absent != nil:
		return cc.Unprocessable(`App(s) with guid(s) "%s" do not exist.`, strings.Join(absent, `", "`))
	case hidden != nil:
		return cc.Unprocessable(`App(s) with guid(s) "%s" you do not have access.`, strings.Join(hidden, `", "`))
	case elsewhere:
		return cc.Unprocessable("Routes destinations must be in either the route's space or the route's shared spaces")
	}
	return nil
}

// twice reports whether a list names the same destination again.
func twice(dests []*world.Destination) bool {
	for i, d := range dests {
		for _, other := range dests[:i] {
			if same(d, other) && d.Protocol == other.Protocol && fmt.Sprint(weight(d)) == fmt.Sprint(weight(other)) {
				return true
			}
		}
	}
	return false
}

// unspeakable is the error about a destination whose protocol is not one of its route; nil when there is none.
func unspeakable(tx *cc.Tx, r *world.Route, dests []*world.Destination) error {
	route, valid := Protocol(tx, r), "http1, http2"
	if route == "tcp" {
		valid = "tcp"
	}
	for _, d := range dests {
		if (d.Protocol == "tcp") != (route == "tcp") {
			return cc.Unprocessable("Cannot use '%s' protocol for %s routes; valid options are: [%s].", d.Protocol, route, valid)
		}
	}
	return nil
}

// speak gives destinations that name no protocol the usual one of their route.
func speak(tx *cc.Tx, r *world.Route, dests []*world.Destination) {
	for _, d := range dests {
		if d.Protocol == "" {
			d.Protocol = "http1"
			if Protocol(tx, r) == "tcp" {
				d.Protocol = "tcp"
			}
		}
	}
}

func insertDestinations(q *cc.Req) (*cc.Reply, error) {
	dests, err := readDestinations(q, false)
	if err != nil {
		return nil, err
	}
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	if err := mappable(q, r, dests); err != nil {
		return nil, err
	}
	speak(&q.Tx, r, dests)
	if len(q.W.Destinations.By("route", r.GUID))+len(dests) > 100 {
		return nil, cc.Unprocessable("Routes can be mapped to at most 100 destinations.")
	}
	if twice(dests) {
		return nil, cc.Unknown() // observed fact: here, unlike when replacing, nobody foresaw it
	}
	for _, d := range q.W.Destinations.By("route", r.GUID) {
		if d.Weight != nil {
			return nil, cc.Unprocessable("Destinations cannot be inserted when there are weighted destinations already configured.")
		}
	}
	if err := unspeakable(&q.Tx, r, added(&q.Tx, r, dests)); err != nil {
		return nil, err
	}
	for _, d := range dests {
		for _, have := range q.W.Destinations.By("route", r.GUID) {
			if same(have, d) && have.Protocol != d.Protocol {
				return nil, cc.Unprocessable("Cannot add destination with protocol: %s. Destination already exists for route: %s, app: %s, process: %s, and protocol: %s.",
					d.Protocol, apps.RouteURL(&q.Tx, r), d.App, d.Process, have.Protocol)
			}
		}
	}
	for _, d := range dests {
		Map(&q.Tx, r, *d, false)
	}
	q.Touch(&r.Base)
	return answer(q, r, nil), nil
}

// added are the destinations that a route does not have yet.
func added(tx *cc.Tx, r *world.Route, dests []*world.Destination) (out []*world.Destination) {
	for _, d := range dests {
		if !slices.ContainsFunc(tx.W.Destinations.By("route", r.GUID), func(have *world.Destination) bool { return same(have, d) }) {
			out = append(out, d)
		}
	}
	return out
}

// MapWeb maps a route to the web process of an app, as manifests do. A mapping to any process of the app is good enough;
// but with another protocol all destinations of the route, those of other apps too, give way to the new one.
func MapWeb(tx *cc.Tx, r *world.Route, a *world.App, protocol string) {
	d := world.Destination{App: a.GUID, Process: "web", Protocol: protocol}
	all := tx.W.Destinations.By("route", r.GUID)
	i := slices.IndexFunc(all, func(have *world.Destination) bool { return have.App == a.GUID })
	switch {
	case i < 0:
		Map(tx, r, d, true)
	case protocol != "" && all[i].Protocol != protocol:
		for _, have := range slices.Clone(all) {
			if other, ok := tx.W.Apps.Get(have.App); ok {
				unmap(tx, r, other, have, true)
			}
		}
		Map(tx, r, d, true)
	}
}

// Map adds a destination; one that exists is left alone.
func Map(tx *cc.Tx, r *world.Route, d world.Destination, manifest bool) {
	for _, have := range tx.W.Destinations.By("route", r.GUID) {
		if same(have, &d) {
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
	dests, err := readDestinations(q, true)
	if err != nil {
		return nil, err
	}
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	if err := mappable(q, r, dests); err != nil {
		return nil, err
	}
	speak(&q.Tx, r, dests)
	if twice(dests) {
		return nil, cc.Unprocessable("Destinations cannot contain duplicate entries")
	}
	if unspeakable(&q.Tx, r, dests) != nil {
		return nil, cc.Unknown() // only duplicates are expected here, so this one surfaces as it is
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
	b, err := q.Body("protocol")
	if err != nil {
		return nil, err
	}
	p, ok := b.Lookup("protocol")
	s, _ := p.(string)
	if ok && s != "http1" && s != "http2" && s != "tcp" {
		b.Add("Destination protocol must be 'http1', 'http2' or 'tcp'.")
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	r, err := findForWrite(q)
	if err != nil {
		return nil, err
	}
	d, err := findDestination(q, r)
	if err != nil {
		return nil, err
	}
	switch tcp := Protocol(&q.Tx, r) == "tcp"; {
	case tcp && s != "tcp":
		return nil, cc.Unprocessable("Destination protocol must be 'tcp' if the parent route's protocol is 'tcp'")
	case !tcp && s == "tcp":
		return nil, cc.Unprocessable("Destination protocol must be 'http1' or 'http2' if the parent route's protocol is 'http'")
	}
	if ok {
		d.Protocol = s
	}
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
	if d.Weight != nil {
		return nil, cc.Unprocessable("Weighted destinations cannot be deleted individually.")
	}
	if a, ok := q.W.Apps.Get(d.App); ok {
		unmap(&q.Tx, r, a, d, false)
	}
	q.Touch(&r.Base)
	return cc.NoContent(), nil
}
