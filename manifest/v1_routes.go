package manifest

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

var (
	hostForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	hostChars = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// routes reads what leads to the app. no-route wins over everything; routes wins over random-route and
// default-route, which only mean "some route" and leave it to the platform which.
func (a *v1App) routes() {
	f := a.fields
	none, random, byName := a.truth(f.get("no_route")), a.truth(f.get("random_route")), a.truth(f.get("default_route"))
	var list []*yaml.Node
	if n := f.get("routes"); n != nil && n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	if random && byName {
		a.bad(f["random_route"].key, "random-and-default", "random-route and default-route cannot be used together", "keep one of them")
	}
	switch {
	case none:
		a.put(false, f.get("no_route"), "routed")
		for _, key := range []string{"routes", "random_route", "default_route"} {
			if v, ok := f[key]; ok && (key != "routes" || len(list) > 0) && (key == "routes" || a.truth(v.value)) {
				a.warn(v.key, "no-effect", fmt.Sprintf("%s has no effect beside no-route: true", v.key.Value), "remove one of them")
			}
		}
		return
	case len(list) > 0:
	case random:
		a.put(true, f.get("random_route"), "routed")
		a.object.Inputs["random_route"] = true
		a.randomHost(f.get("random_route"))
	case byName:
		a.put(true, f.get("default_route"), "routed")
		a.object.Inputs["default_route"] = true
		if !hostForm.MatchString(a.name) {
			a.bad(f.get("default_route"), "default-route", fmt.Sprintf("the name %q cannot be the host of a route: at most 63 letters, digits, - and _", shorten(a.name)), "write routes: with a host of your choice")
		}
	}
	for _, n := range list {
		if n.Kind == yaml.MappingNode {
			a.route(n)
		}
	}
}

// What the controller appends to an app's name for random-route: -adjective-noun-xx, of words of 3 to 12 letters.
const (
	shortestSuffix = 11
	longestSuffix  = 29
	longestHost    = 63
)

// randomHost checks that the name can begin the host that the controller makes for random-route, if the app has no route.
func (a *v1App) randomHost(at *yaml.Node) {
	const hint = "write routes: with a host of your choice"
	switch n := len(a.name); {
	case !hostChars.MatchString(a.name):
		a.bad(at, "random-route", fmt.Sprintf("the name %q cannot begin the host of a route: letters, digits, - and _ only", shorten(a.name)), hint)
	case n+shortestSuffix > longestHost:
		a.bad(at, "random-route", fmt.Sprintf("the name has %d characters; with the words that random-route appends, the host is longer than %d", n, longestHost), hint)
	case n+longestSuffix > longestHost:
		a.warn(at, "random-route", fmt.Sprintf("the name has %d characters; with the words that random-route appends, the host may become longer than %d, which fails", n, longestHost), hint)
	}
}

// route reads one entry of routes. Apps of one space may share a route: its destinations come together.
func (a *v1App) route(n *yaml.Node) {
	at := childOf(n, "route")
	text, ok := a.text(at)
	if !ok || text == "" {
		return
	}
	if a.secret[at] {
		a.bad(at, "secret-name", "a secret cannot be part of a route", "routes are shown everywhere")
		return
	}
	url, err := ParseRoute(text)
	if err != nil {
		a.bad(at, "route", fmt.Sprintf("the route %q: %v", shorten(text), err), "")
		return
	}
	protocol, _ := a.text(childOf(n, "protocol"))
	switch {
	case protocol == "tcp" && url.Port == 0:
		a.bad(childOf(n, "protocol"), "route-protocol", fmt.Sprintf("the route %s has the protocol tcp and no port", url), "write HOST:PORT, or another protocol")
		return
	case protocol != "" && protocol != "tcp" && url.Port != 0:
		a.bad(childOf(n, "protocol"), "route-protocol", fmt.Sprintf("the route %s has a port, so its protocol is tcp, got %s", url, protocol), "remove the port or the protocol")
		return
	}

	ref := RouteRef(a.object.Ref.Space(), url)
	destination := a.name + "/" + web
	o := a.objects[ref]
	if o == nil {
		o = a.newRoute(ref, url, n)
		o.Ownership = map[string]Ownership{"": ThreeWay, "/destinations": ThreeWay}
		a.declare(o)
		a.elsewhere(at, ref)
	} else if o.Ownership["/destinations"] == Exact {
		a.bad(at, "duplicate-route", fmt.Sprintf("the route %s is declared at %s by a manifest of version 2, which names all of its destinations", url, o.Origin), "name this app there")
		return
	} else if first, twice := o.Fields[Pointer("destinations", destination)]; twice {
		a.bad(at, "duplicate-route", fmt.Sprintf("the route %s is declared twice for the app", url), fmt.Sprintf("it is first declared at %s", first))
		return
	}
	o.Requires = append(o.Requires, a.object.Ref)
	a.document.put(o, map[string]any{}, at, "destinations", destination)
	if protocol != "" {
		a.document.put(o, protocol, childOf(n, "protocol"), "destinations", destination, "protocol")
	}
	a.routeOptions(o, url, childOf(n, "options"))
}

func (d *document) newRoute(ref Ref, url RouteURL, n *yaml.Node) *Object {
	o := d.newObject(ref, n)
	if written := url.String(); written != url.Name() {
		o.Inputs["url"] = written
	}
	return o
}

// newObject makes an empty object that lives in a space.
func (d *document) newObject(ref Ref, n *yaml.Node) *Object {
	return &Object{
		Ref: ref, Spec: map[string]any{}, Inputs: map[string]any{}, Origin: d.at(n),
		Fields: map[string]Origin{}, Secrets: map[string]bool{},
		Requires: []Ref{{Kind: KindSpace, Path: ref.Space()}}, Ownership: map[string]Ownership{},
	}
}

// elsewhere warns of a route that a manifest of another space declares as well: a route lives in one space.
func (d *document) elsewhere(at *yaml.Node, ref Ref) {
	if d.routeSpaces == nil {
		d.routeSpaces = map[string]*Object{}
	}
	if first := d.routeSpaces[ref.Name()]; first != nil {
		d.warn(at, "route-elsewhere", fmt.Sprintf("the route %s is also declared in %s, at %s; a route lives in one space, unless it is shared", ref.Name(), first.Ref.Space(), first.Origin), "")
		return
	}
	d.routeSpaces[ref.Name()] = d.objects[ref]
}

func (d *document) routeOptions(o *Object, url RouteURL, n *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return
	}
	given := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		// hash_balance may be written as a number; the API shows it as a text.
		if text, ok := d.asText(n.Content[i+1]); ok && n.Content[i+1].Tag != tagNull {
			given[n.Content[i].Value] = text
		}
	}
	if balancing := given["loadbalancing"]; balancing != nil && balancing != "hash" {
		for _, key := range []string{"hash_header", "hash_balance"} {
			if given[key] != nil {
				d.bad(childOf(n, key), "route-options", fmt.Sprintf("the route %s: %s needs loadbalancing: hash", url, key), "")
			}
		}
	}
	if before, ok := o.Spec["options"].(map[string]any); ok {
		if !reflect.DeepEqual(before, given) {
			d.bad(n, "route-options", fmt.Sprintf("the route %s has other options at %s; options belong to the route and are the same for every app", url, o.Fields["/options"]), "write them once")
		}
		return
	}
	d.put(o, map[string]any{}, n, "options")
	for key, value := range given {
		d.put(o, value, childOf(n, key), "options", key)
	}
}

// services reads the bindings of the app to service instances.
func (a *v1App) services() {
	list := a.fields.get("services")
	if list == nil || list.Kind != yaml.SequenceNode {
		return
	}
	for _, n := range list.Content {
		at := n
		if n.Kind == yaml.MappingNode {
			at = childOf(n, "name")
		}
		instance, ok := a.text(at)
		if !ok || strings.TrimSpace(instance) == "" {
			continue
		}
		if a.secret[at] {
			a.bad(at, "secret-name", "a secret cannot be the name of a service instance", "names are shown everywhere")
			continue
		}
		ref := a.object.Ref.Child(KindServiceBinding, a.name+"/"+instance)
		if first := a.objects[ref]; first != nil {
			a.bad(at, "duplicate-service", fmt.Sprintf("the service %s is bound twice", shorten(instance)), fmt.Sprintf("it is first bound at %s", first.Origin))
			continue
		}
		o := &Object{
			Ref: ref, Spec: map[string]any{}, Inputs: map[string]any{}, Origin: a.at(at),
			Fields: map[string]Origin{}, Secrets: map[string]bool{},
			Requires:  []Ref{a.object.Ref, a.object.Ref.Child(KindServiceInstance, instance)},
			Ownership: map[string]Ownership{"": ThreeWay},
		}
		a.document.put(o, a.name, at, "app")
		a.document.put(o, instance, at, "service_instance")
		if n.Kind == yaml.MappingNode {
			if name, ok := a.text(childOf(n, "binding_name")); ok && name != "" {
				a.document.put(o, name, childOf(n, "binding_name"), "name")
			}
			a.parameters(o, n)
		}
		a.declare(o)
	}
}
