package cloudfoundry

import (
	"maps"
	"slices"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// manifestRequest gathers the objects that one apply_manifest carries for an app. A manifest is additive: what it leaves
// out stays (observed), so it names the whole of a new app, and of an existing one only what changes. That
// also keeps the manifest applicable while a deployment is in flight, when any process attribute, even an
// unchanged one, is refused.
type manifestRequest struct {
	app    *manifest.Object
	routes map[manifest.Ref]*manifest.Object
	binds  map[manifest.Ref]*manifest.Object
	mapped map[manifest.Ref]bool // routes that lead to the app already: a manifest would do nothing, or too much
}

// newManifestRequest starts a request that says nothing but the app's name.
func newManifestRequest(app manifest.Ref) *manifestRequest {
	return &manifestRequest{
		app:    &manifest.Object{Ref: app, Spec: map[string]any{}, Inputs: map[string]any{}},
		routes: map[manifest.Ref]*manifest.Object{},
		binds:  map[manifest.Ref]*manifest.Object{},
		mapped: map[manifest.Ref]bool{},
	}
}

// empty reports whether applying the request would change nothing.
func (m *manifestRequest) empty() bool {
	return len(m.app.Spec) == 0 && len(m.routes) == 0 && len(m.binds) == 0
}

// objects in the form that manifest.MarshalV1 takes.
func (m *manifestRequest) objects() []*manifest.Object {
	all := []*manifest.Object{m.app}
	all = append(all, slices.Collect(maps.Values(m.routes))...)
	all = append(all, slices.Collect(maps.Values(m.binds))...)
	slices.SortFunc(all, func(a, b *manifest.Object) int { return a.Ref.Compare(b.Ref) })
	return all
}

// annotate adds annotations of Fettle's own.
func (m *manifestRequest) annotate(annotations map[string]string) {
	for k, v := range annotations {
		set(m.app.Spec, v, "metadata", "annotations", k)
	}
}

// declare adds the whole declared app with its routes and bindings.
func (m *manifestRequest) declare(app *manifest.Object, desired manifest.Set) {
	m.app.Spec = clone(app.Spec).(map[string]any)
	for k, v := range app.Inputs {
		if slices.Contains([]string{"random_route", "default_route", "cnb_credentials"}, k) { // the others are of no use to the controller
			m.app.Inputs[k] = v
		}
	}
	for _, key := range []string{"state", "rollout", "droplet"} { // no attributes of a manifest
		delete(m.app.Spec, key)
	}
	for _, o := range desired.Objects() {
		switch o.Ref.Kind {
		case manifest.KindRoute:
			for key := range destinations(o) {
				m.route(o, key)
			}
		case manifest.KindServiceBinding:
			m.binds[o.Ref] = o
		}
	}
}

// change adds what c changes, with the values that source has: the declared objects to go forward, the live ones to
// go back. A manifest cannot remove; see remains.
func (m *manifestRequest) change(c diff.Change, source manifest.Set) {
	o := source.Get(c.Ref)
	if o == nil {
		return
	}
	keys := manifest.SplitPointer(c.Path)
	switch c.Ref.Kind {
	case manifest.KindApp:
		m.changeApp(keys, o)
	case manifest.KindServiceBinding:
		if len(keys) == 0 {
			m.binds[o.Ref] = o
		}
	case manifest.KindRoute:
		for key := range destinations(o) {
			if c.Op == diff.Add && (len(keys) == 0 || len(keys) == 2 && keys[1] == key) {
				m.route(o, key)
			}
		}
	}
}

// changeApp copies from o what stands at keys and what has to accompany it.
func (m *manifestRequest) changeApp(keys []string, o *manifest.Object) {
	if len(keys) == 0 {
		return
	}
	switch {
	case keys[0] == "package", keys[0] == "droplet", keys[0] == "state", keys[0] == "rollout":
		return // not the business of a manifest
	case keys[0] == "lifecycle":
		keys = keys[:1] // buildpacks and stack depend on each other
	case keys[0] == "routed":
		m.app.Inputs["random_route"], m.app.Inputs["default_route"] = o.Inputs["random_route"], o.Inputs["default_route"]
	case keys[0] == "sidecars":
		// A new sidecar needs all of its fields, and an existing one does not mind.
		keys = keys[:min(2, len(keys))]
	case keys[0] == "processes" && len(keys) > 2 && keys[2] == "metadata":
		return // a manifest knows none, see appRun.describe
	case keys[0] == "processes" && len(keys) > 3:
		// The endpoint is valid only beside type http, and leaving http drops it (observed).
		keys = keys[:3]
	}
	if v, ok := manifest.Lookup(o.Spec, manifest.Pointer(keys...)); ok {
		set(m.app.Spec, clone(v), keys...)
	}
}

// route adds a destination of route o, if it is one of this app that a manifest can express. The others are single calls.
func (m *manifestRequest) route(o *manifest.Object, key string) {
	app, _ := splitDestination(key)
	d, _ := destinations(o)[key].(map[string]any)
	if app != m.app.Ref.Name() || m.mapped[o.Ref] || !plainDestination(key, d) {
		return
	}
	r := m.routes[o.Ref]
	if r == nil {
		r = &manifest.Object{Ref: o.Ref, Origin: o.Origin, Inputs: o.Inputs, Spec: map[string]any{}}
		if options, ok := o.Spec["options"].(map[string]any); ok {
			r.Spec["options"] = clone(options)
		}
		m.routes[o.Ref] = r
	}
	set(r.Spec, clone(d), "destinations", key)
}

// plainDestination reports whether a manifest can express a destination: the web process, at the default port.
func plainDestination(key string, destination map[string]any) bool {
	_, process := splitDestination(key)
	return process == "web" && ordinaryPort(destination)
}

// ordinaryPort reports whether a destination has the port that it gets without being asked.
func ordinaryPort(destination map[string]any) bool {
	const shown = int64(8080) // for a destination without a port (observed)
	return destination["port"] == nil || destination["port"] == shown || destination["protocol"] == "tcp"
}

// set puts v at the path of keys, making the maps on the way.
func set(tree map[string]any, v any, keys ...string) {
	for _, k := range keys[:len(keys)-1] {
		child, ok := tree[k].(map[string]any)
		if !ok {
			child = map[string]any{}
			tree[k] = child
		}
		tree = child
	}
	last := keys[len(keys)-1]
	into, isMap := tree[last].(map[string]any)
	if from, ok := v.(map[string]any); ok && isMap {
		maps.Copy(into, from)
		return
	}
	tree[last] = v
}

// clone copies a canonical tree.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, child := range v {
			m[k] = clone(child)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, child := range v {
			l[i] = clone(child)
		}
		return l
	}
	return v
}

// webProcess is owned by nobody: every app has one, and a manifest that no longer says anything about it, because it
// dropped `memory`, does not want the app scaled to 0.
const webProcess = "/processes/web"

// ledgerKeys names what an app, its routes and its bindings declare, as the ledger keeps it.
func ledgerKeys(app *manifest.Object, set manifest.Set) []string {
	var keys []string
	for _, collection := range []string{"/environment_variables", "/metadata/labels", "/metadata/annotations", "/processes", "/sidecars"} {
		v, _ := manifest.Lookup(app.Spec, collection)
		elements, _ := v.(map[string]any)
		for name, element := range elements {
			if pointer := collection + manifest.Pointer(name); pointer != webProcess {
				keys = append(keys, pointer)
			}
			keys = append(keys, metadataKeys(collection+manifest.Pointer(name), mapOf(element))...)
		}
	}
	for pointer, secret := range app.Secrets {
		if secret {
			keys = append(keys, secretKey(pointer))
		}
	}
	for _, o := range set.Objects() {
		switch o.Ref.Kind {
		case manifest.KindRoute:
			for key := range destinations(o) {
				if name, process := splitDestination(key); name == app.Ref.Name() {
					keys = append(keys, routeKey(o.Ref.Name(), process))
				}
			}
		case manifest.KindServiceBinding:
			keys = append(keys, bindingKey(instanceName(o)))
		}
	}
	slices.Sort(keys)
	return keys
}

// owned lists, as ledger keys, what Fettle applied before of an app and of what hangs on it in set.
func owned(ledger diff.Ledger, app manifest.Ref, set manifest.Set) []string {
	var keys []string
	for pointer := range ledger[app] {
		if pointer != "" && pointer != webProcess {
			keys = append(keys, pointer)
		}
	}
	for _, o := range set.Objects() {
		switch o.Ref.Kind {
		case manifest.KindRoute:
			for key := range destinations(o) {
				name, process := splitDestination(key)
				if name == app.Name() && ledger.Owns(o.Ref, manifest.Pointer("destinations", key)) {
					keys = append(keys, routeKey(o.Ref.Name(), process))
				}
			}
		case manifest.KindServiceBinding:
			if ledger.Owns(o.Ref, "") {
				keys = append(keys, bindingKey(instanceName(o)))
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// instanceName is the service instance of a binding.
func instanceName(binding *manifest.Object) string {
	name, _ := binding.Spec["service_instance"].(string)
	return name
}
