package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// routeV2 reads one route with everything that it leads to.
func (d *document) routeV2(n *yaml.Node) {
	at := childOf(n, "url")
	text, ok := d.nameOf(at, "a route")
	if !ok {
		return
	}
	url, err := ParseRoute(text)
	if err != nil {
		d.bad(at, "route", fmt.Sprintf("the route %q: %v", shorten(text), err), "")
		return
	}
	ref := RouteRef(d.org+"/"+d.space, url)
	if first := d.objects[ref]; first != nil {
		d.bad(at, "duplicate-route", fmt.Sprintf("the route %s is declared twice in %s", url, ref.Space()), fmt.Sprintf("it is first declared at %s; write all destinations there", first.Origin))
		return
	}
	d.about(ref, "route "+shorten(url.String()), func() {
		o := d.newRoute(ref, url, n)
		protocol, _ := d.text(childOf(n, "protocol"))
		switch {
		case protocol == "tcp" && url.Port == 0:
			d.bad(childOf(n, "protocol"), "route-protocol", "the protocol is tcp, and the URL has no port", "write HOST:PORT")
		case protocol == "http" && url.Port != 0:
			d.bad(childOf(n, "protocol"), "route-protocol", "the URL has a port, so the protocol is tcp, got http", "remove the port or the protocol")
		}
		if list := childOf(n, "destinations"); list != nil && list.Kind == yaml.SequenceNode {
			d.collection(o, list, "destinations")
			for _, entry := range list.Content {
				if entry.Kind == yaml.MappingNode {
					d.destination(o, url, entry)
				}
			}
		}
		d.routeOptions(o, url, childOf(n, "options"))
		d.metadata(o, childOf(n, "metadata"))
		own(o, "destinations")
		ownMetadata(o)
		d.declare(o)
		if d.truth(childOf(n, "shared")) {
			o.Inputs["shared"] = true
		} else {
			d.elsewhere(at, ref)
		}
	})
}

// destination reads one place that route o leads to.
func (d *document) destination(o *Object, url RouteURL, n *yaml.Node) {
	at := below(n, "app", "name")
	app, ok := d.nameOf(at, "an app")
	if !ok {
		return
	}
	process := web
	if t := below(n, "app", "process", "type"); t != nil {
		if process, ok = d.nameOf(t, "a process type"); !ok {
			return
		}
		if strings.Contains(process, "/") {
			d.bad(t, "process-type", fmt.Sprintf("the process type %q contains a /; Cloud Foundry allows that, Fettle does not yet, because / separates the parts of its own names", shorten(process)), "")
			return
		}
	}
	key := app + "/" + process
	if first, twice := o.Fields[Pointer("destinations", key)]; twice {
		d.bad(n, "duplicate-destination", fmt.Sprintf("the process %s of app %s is a destination twice", shorten(process), shorten(app)), fmt.Sprintf("it is first declared at %s", first))
		return
	}
	d.put(o, map[string]any{}, n, "destinations", key)
	if port, ok := d.integer(childOf(n, "port")); ok {
		d.put(o, port, childOf(n, "port"), "destinations", key, "port")
	}
	if p := childOf(n, "protocol"); p != nil {
		switch protocol, ok := d.text(p); {
		case !ok:
		case protocol == "tcp" && url.Port == 0:
			d.bad(p, "route-protocol", fmt.Sprintf("the route %s has the protocol tcp and no port", url), "write HOST:PORT, or another protocol")
		case protocol != "tcp" && url.Port != 0:
			d.bad(p, "route-protocol", fmt.Sprintf("the route %s has a port, so its protocol is tcp, got %s", url, shorten(protocol)), "remove the port or the protocol")
		default:
			d.put(o, protocol, p, "destinations", key, "protocol")
		}
	}
	d.needsApp(o, at, app)
}

// needsApp makes o require the app, and checks later that some manifest declares it.
func (d *document) needsApp(o *Object, at *yaml.Node, name string) {
	ref := o.Ref.Child(KindApp, name)
	if slices.Contains(o.Requires, ref) {
		return
	}
	o.Requires = append(o.Requires, ref)
	d.checks = append(d.checks, func() {
		declared := d.apps[Ref{Kind: KindApp, Path: strings.ToLower(ref.Path)}]
		switch {
		case declared != nil && declared.Ref == ref:
		case declared != nil:
			d.about(o.Ref, o.Ref.words(), func() {
				d.bad(at, "unknown-app", fmt.Sprintf("the app %s is declared as %s, at %s", shorten(name), declared.Ref.Name(), declared.Origin), "write the name as it is declared")
			})
		default:
			var names []string
			for _, app := range d.apps {
				if app.Ref.Space() == ref.Space() {
					names = append(names, app.Ref.Name())
				}
			}
			slices.Sort(names)
			hint := "declare it, or correct the name"
			if near := nearest(name, names); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			d.about(o.Ref, o.Ref.words(), func() {
				d.bad(at, "unknown-app", fmt.Sprintf("no manifest of %s declares the app %s", ref.Space(), shorten(name)), hint)
			})
		}
	})
}

// words name the resource at the beginning of a message: "route shop.example.com".
func (r Ref) words() string {
	kinds := map[Kind]string{KindServiceInstance: "service instance", KindServiceBinding: "binding", KindServiceKey: "service key", KindServiceRouteBinding: "route binding"}
	if word := kinds[r.Kind]; word != "" {
		return word + " " + shorten(r.Name())
	}
	return string(r.Kind) + " " + shorten(r.Name())
}

// serviceInstance reads an instance of a plan, or one with credentials of the user's own.
func (d *document) serviceInstance(n *yaml.Node) {
	at := childOf(n, "name")
	name, ok := d.nameOf(at, "a service instance")
	if !ok {
		return
	}
	if strings.Contains(name, "/") {
		d.bad(at, "service-instance", fmt.Sprintf("the service instance name %q contains a /; Cloud Foundry allows that, Fettle does not yet, because / separates the parts of its own names", shorten(name)), "use - or _ instead")
		return
	}
	ref := Ref{Kind: KindServiceInstance, Path: d.org + "/" + d.space + "/" + name}
	o := d.newObject(ref, n)
	if first := d.objects[ref]; first != nil {
		d.bad(at, "duplicate-service-instance", fmt.Sprintf("the service instance %s is declared twice in %s", shorten(name), ref.Space()), fmt.Sprintf("it is first declared at %s", first.Origin))
		return
	}
	d.about(ref, ref.words(), func() {
		if d.truth(childOf(n, "shared")) {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if key := n.Content[i]; key.Value != "name" && key.Value != "shared" {
					d.bad(key, "shared-instance", key.Value+" is declared in the space that shares the instance", "remove it here")
				}
			}
			return // the instance is only there to be bound
		}
		d.instanceType(o, n)
		d.instanceValues(o, n)
		d.metadata(o, childOf(n, "metadata"))
		ownMetadata(o)
		d.declare(o)
	})
}

// What belongs to which type of service instance.
var (
	managedKeys      = []string{"service_offering", "service_plan", "parameters", "maintenance_info"}
	userProvidedKeys = []string{"credentials", "syslog_drain", "route_service"}
)

func (d *document) instanceType(o *Object, n *yaml.Node) {
	kind, typeAt := "managed", n
	if at := childOf(n, "type"); at != nil {
		text, ok := d.text(at)
		if !ok {
			return
		}
		kind, typeAt = text, at
	}
	others := userProvidedKeys
	if kind == "user-provided" {
		others = managedKeys
	}
	for _, key := range others {
		if at := childOf(n, key); at != nil {
			hint := "write type: user-provided"
			if kind == "user-provided" {
				hint = "remove it, or the type"
			}
			d.bad(at, "service-instance-type", fmt.Sprintf("%s does not belong to a service instance of type %s", key, kind), hint)
		}
	}
	d.put(o, kind, typeAt, "type")
	for _, key := range managedKeys[:2] {
		at := childOf(n, key)
		if name, ok := d.text(below(at, "name")); ok {
			d.put(o, name, childOf(at, "name"), key)
		} else if kind == "managed" && at == nil {
			d.bad(n, "required", fmt.Sprintf("the key %s is missing; a service instance needs it unless it is of type user-provided", key), fmt.Sprintf("write %s: with name: in it; `cf marketplace` lists what there is", key))
		}
	}
}

func (d *document) instanceValues(o *Object, n *yaml.Node) {
	d.parameters(o, n)
	if list := childOf(n, "tags"); list != nil && list.Kind == yaml.SequenceNode {
		var tags []string
		for _, t := range list.Content {
			if text, ok := d.text(t); ok && !slices.Contains(tags, text) {
				tags = append(tags, text)
			}
		}
		slices.Sort(tags)
		all := make([]any, len(tags)) // tags are a set; sorted, so that their order says nothing
		for i, t := range tags {
			all[i] = t
		}
		d.put(o, all, list, "tags")
	}
	for _, key := range []string{"syslog_drain", "route_service"} {
		at := below(n, key, "url")
		if text, ok := d.text(at); ok {
			d.put(o, text, at, key+"_url")
			if LooksSecret(key, text) {
				o.Secrets[Pointer(key+"_url")] = true
			}
		}
	}
	if at := below(n, "maintenance_info", "version"); at != nil {
		if text, ok := d.text(at); ok {
			d.put(o, text, at, "maintenance_info", "version")
		}
	}
	if c := childOf(n, "credentials"); c != nil && c.Kind == yaml.MappingNode {
		d.collection(o, c, "credentials")
		o.Secrets["/credentials"] = true
		d.wholeNumbers(c)
		for i := 0; i+1 < len(c.Content); i += 2 {
			d.put(o, Value(c.Content[i+1]), c.Content[i+1], "credentials", c.Content[i].Value)
		}
		ownWhole(o, o.Spec["credentials"], "credentials")
	}
	if list := childOf(n, "share_to"); list != nil && list.Kind == yaml.SequenceNode {
		d.collection(o, list, "share_to")
		o.Ownership["/share_to"] = Exact
		for _, s := range list.Content {
			org, okOrg := d.nameOf(childOf(s, "org"), "an organization")
			space, okSpace := d.nameOf(childOf(s, "space"), "a space")
			switch place := org + "/" + space; {
			case !okOrg || !okSpace:
			case place == o.Ref.Space():
				d.bad(s, "share-to", fmt.Sprintf("the instance lives in %s; it cannot be shared to there", place), "remove it")
			default:
				d.put(o, map[string]any{}, s, "share_to", place)
			}
		}
	}
}

// parameters are what a service broker is given. It may have something to say about each value in them, so that each
// one has its position.
func (d *document) parameters(o *Object, n *yaml.Node) {
	p := childOf(n, "parameters")
	if p == nil || p.Kind != yaml.MappingNode {
		return
	}
	o.Inputs["parameters"] = Value(p)
	var note func(at *yaml.Node, keys ...string)
	note = func(at *yaml.Node, keys ...string) {
		pointer := Pointer(keys...)
		o.Fields[pointer] = d.at(at)
		if d.isSecret(at) || at.Kind == yaml.ScalarNode && LooksSecret(keys[len(keys)-1], Value(at)) {
			o.Secrets[pointer] = true
		}
		for i, child := range at.Content {
			switch {
			case at.Kind == yaml.SequenceNode:
				note(child, slices.Concat(keys, []string{strconv.Itoa(i)})...)
			case at.Kind == yaml.MappingNode && i%2 == 1:
				note(child, slices.Concat(keys, []string{at.Content[i-1].Value})...)
			}
		}
	}
	note(p, "parameters")
}

// ownWhole makes the tree at keys exact, with all maps in it.
func ownWhole(o *Object, tree any, keys ...string) {
	m, ok := tree.(map[string]any)
	if !ok {
		return
	}
	o.Ownership[Pointer(keys...)] = Exact
	for k, child := range m {
		ownWhole(o, child, append(slices.Clone(keys), k)...)
	}
}

// wholeNumbers refuses fractions, which have no canonical form: JSON, YAML and Go spell them differently.
func (d *document) wholeNumbers(n *yaml.Node) {
	if _, isFloat := Value(n).(float64); isFloat && n.Kind == yaml.ScalarNode {
		d.bad(n, "credentials", "a number in credentials that is not whole, or very large", "quote it")
	}
	for _, c := range n.Content {
		d.wholeNumbers(c)
	}
}

// serviceBinding reads what is bound to a service instance, which may be declared or only exist.
func (d *document) serviceBinding(n *yaml.Node) {
	kind, _ := d.text(childOf(n, "type"))
	at := below(n, "service_instance", "name")
	instance, ok := d.nameOf(at, "a service instance")
	if !ok {
		return
	}
	needed, other := map[string]string{"app": "app", "key": "name", "route": "route"}[kind], map[string][]string{"app": {"route"}, "key": {"app", "route"}, "route": {"app", "name"}}[kind]
	for _, key := range other {
		if extra := childOf(n, key); extra != nil {
			d.bad(extra, "service-binding", fmt.Sprintf("the key %s does not belong to a binding of type %s", key, kind), "remove it, or correct the type")
		}
	}
	if needed == "" {
		return // the schema said so
	}
	if childOf(n, needed) == nil {
		d.bad(n, "required", fmt.Sprintf("the key %s is missing; a binding of type %s needs it", needed, kind), "")
		return
	}
	o := d.newObject(Ref{Kind: KindSpace, Path: d.org + "/" + d.space}, n)
	o.Requires = append(o.Requires, o.Ref.inSpace(KindServiceInstance, instance))
	var target string // what the instance is bound to
	var where *yaml.Node
	switch kind {
	case "app":
		where = below(n, "app", "name")
		if target, ok = d.nameOf(where, "an app"); ok {
			o.Ref = o.Ref.inSpace(KindServiceBinding, target+"/"+instance)
			o.Requires = o.Requires[1:] // the app requires the space
		}
	case "key":
		where = childOf(n, "name")
		if target, ok = d.nameOf(where, "a service key"); ok && strings.Contains(target, "/") {
			d.bad(where, "service-binding", fmt.Sprintf("the name %q contains a /; Cloud Foundry allows that, Fettle does not yet, because / separates the parts of its own names", shorten(target)), "use - or _ instead")
			return
		}
		o.Ref = o.Ref.inSpace(KindServiceKey, instance+"/"+target)
	case "route":
		where = below(n, "route", "url")
		if target, ok = d.nameOf(where, "a route"); ok {
			url, err := ParseRoute(target)
			if err != nil {
				d.bad(where, "route", fmt.Sprintf("the route %q: %v", shorten(target), err), "")
				return
			}
			target = url.Name()
			o.Requires = append(o.Requires, RouteRef(d.org+"/"+d.space, url))
		}
		o.Ref = o.Ref.inSpace(KindServiceRouteBinding, instance+"/"+target)
	}
	if !ok {
		return
	}
	if first := d.objects[o.Ref]; first != nil {
		d.bad(n, "duplicate-service", fmt.Sprintf("the %s is declared twice", o.Ref.words()), fmt.Sprintf("it is first declared at %s", first.Origin))
		return
	}
	d.about(o.Ref, o.Ref.words(), func() {
		d.put(o, instance, at, "service_instance")
		switch kind {
		case "app":
			d.put(o, target, where, "app")
			if name, ok := d.text(childOf(n, "name")); ok && name != "" {
				d.put(o, name, childOf(n, "name"), "name")
			}
			d.needsApp(o, where, target)
		case "key":
			d.put(o, target, where, "name")
		case "route":
			d.put(o, target, where, "route")
		}
		d.parameters(o, n)
		d.metadata(o, childOf(n, "metadata"))
		ownMetadata(o)
		d.declare(o)
		d.bindable(o, at, kind, instance)
	})
}

// inSpace is Child of a Ref that is the space itself.
func (r Ref) inSpace(kind Kind, name string) Ref { return Ref{Kind: kind, Path: r.Path + "/" + name} }

// bindable checks later, when every instance is known, what the API would refuse.
func (d *document) bindable(o *Object, at *yaml.Node, kind, instance string) {
	ref := o.Ref.Child(KindServiceInstance, instance)
	d.checks = append(d.checks, func() {
		declared := d.objects[ref]
		if declared == nil {
			return // it exists already, or is shared
		}
		_, isRouteService := declared.Spec["route_service_url"]
		switch userProvided := declared.Spec["type"] == "user-provided"; {
		case userProvided && kind == "key":
			d.about(o.Ref, o.Ref.words(), func() {
				d.bad(at, "service-binding", fmt.Sprintf("the service instance %s is user-provided, and such have no keys", shorten(instance)), "its credentials are what the manifest says")
			})
		case userProvided && kind == "route" && !isRouteService:
			d.about(o.Ref, o.Ref.words(), func() {
				d.bad(at, "service-binding", fmt.Sprintf("the service instance %s has no route_service: no route can be bound to it", shorten(instance)), "add route_service: with url: to it")
			})
		}
	})
}
