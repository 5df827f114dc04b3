package cloudfoundry

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// picture brings readings into the canonical form that manifest/kinds.go describes.
type picture struct {
	*readings
	desired manifest.Set
	spaces  map[string]place              // by guid
	apps    map[string]manifest.Ref       // by guid
	spelled map[manifest.Ref]manifest.Ref // names in lower case → as Git spells them
}

func newPicture(r *readings, desired manifest.Set) *picture {
	p := &picture{readings: r, desired: desired, spaces: map[string]place{}, apps: map[string]manifest.Ref{}, spelled: map[manifest.Ref]manifest.Ref{}}
	for _, o := range desired.Objects() {
		switch o.Ref.Kind {
		case manifest.KindServiceInstance:
			p.spelled[lower(o.Ref)] = o.Ref
		case manifest.KindServiceBinding, manifest.KindServiceKey, manifest.KindServiceRouteBinding:
			p.spelled[lower(o.Ref)] = o.Ref
			instance := o.Ref.Child(manifest.KindServiceInstance, instanceName(o))
			p.spelled[lower(instance)] = instance
		}
	}
	for _, place := range r.places {
		p.spaces[place.space] = place
	}
	for _, app := range r.apps {
		// The declared spelling, so that both sides have the same Ref.
		if o := r.declared[app.GUID]; o != nil {
			p.apps[app.GUID] = o.Ref
		} else if place, ok := p.spaces[app.Relationships.Space.GUID()]; ok {
			p.apps[app.GUID] = manifest.Ref{Kind: manifest.KindApp, Path: place.path + "/" + app.Name}
		}
	}
	return p
}

func (p *picture) draw(obs *platform.Observation) {
	for _, place := range p.places {
		org, _, _ := strings.Cut(place.path, "/")
		obs.IDs[manifest.Ref{Kind: manifest.KindOrg, Path: org}] = place.org
		obs.IDs[manifest.Ref{Kind: manifest.KindSpace, Path: place.path}] = place.space
	}
	routes, routed := p.drawRoutes(obs)
	p.drawServices(obs)
	bindings := p.drawBindings(obs)
	for _, app := range p.readings.apps {
		ref, known := p.apps[app.GUID]
		if d := p.details[app.GUID]; !known || d != nil && d.gone {
			continue
		}
		o := p.app(app, ref)
		o.Spec["routed"] = routed[app.GUID]
		obs.Live.Put(o)
		obs.IDs[ref] = app.GUID
		owned := app.Metadata.Annotation(appliedAnnotation)
		if _, pruned := p.desired.Pruned(ref.Space(), manifest.KindApp); pruned && p.declared[app.GUID] == nil && decodeLedger(owned) != nil {
			obs.Ledger.Own(ref, "")
			readLedger(obs.Ledger, owned, o, routes[app.GUID], nil)
		}
		if p.declared[app.GUID] != nil {
			readLedger(obs.Ledger, app.Metadata.Annotation(appliedAnnotation), o, routes[app.GUID], bindings[app.GUID])
		}
	}
	p.ownRoutes(obs)
}

// app makes the object of one app.
func (p *picture) app(app ccv3.App, ref manifest.Ref) *manifest.Object {
	o := &manifest.Object{Ref: ref, Spec: map[string]any{}, Unobservable: map[string]string{}}
	active := len(p.deployments[app.GUID]) > 0
	o.Spec["state"] = app.State
	o.Spec["rollout"] = rolloutComplete
	switch {
	case active:
		o.Spec["rollout"] = rolloutInProgress
	case app.State == "STARTED" && app.Metadata.Annotation(pendingAnnotation) != "": // a stopped app has no instance that could lag behind
		o.Spec["rollout"] = rolloutPending
	}
	o.Spec["metadata"] = metadata(app.Resource)
	lifecycle := map[string]any{"type": app.Lifecycle.Type}
	if app.Lifecycle.Type != "docker" {
		lifecycle["buildpacks"] = list(app.Lifecycle.Data.Buildpacks)
		lifecycle["stack"] = app.Lifecycle.Data.Stack
	}
	o.Spec["lifecycle"] = lifecycle
	p.processes(o, app.GUID, active)
	if d := p.details[app.GUID]; d != nil {
		p.pack(o, app)
		d.describe(o, active)
	}
	return o
}

// processes fills in all but the commands, which lists hide. While a deployment is active there are two web processes:
// the newer one is what will stay; how many instances it is to have in the end, the API does not say.
func (p *picture) processes(o *manifest.Object, guid string, active bool) {
	all := map[string]any{}
	for _, process := range p.readings.processes[guid] { // oldest first
		all[process.Type] = map[string]any{
			"metadata": map[string]any{
				"labels": published(process.Metadata.Labels), "annotations": published(process.Metadata.Annotations),
			},
			"user":                               text(process.User),
			"instances":                          process.Instances,
			"memory_in_mb":                       process.MemoryInMB,
			"disk_in_mb":                         process.DiskInMB,
			"log_rate_limit_in_bytes_per_second": process.LogRateLimit,
			"health_check": map[string]any{
				"type":               process.HealthCheck.Type,
				"timeout":            number(process.HealthCheck.Data.Timeout),
				"invocation_timeout": number(process.HealthCheck.Data.InvocationTimeout),
				"interval":           number(process.HealthCheck.Data.Interval),
				"http_endpoint":      text(process.HealthCheck.Data.Endpoint),
			},
			"readiness_health_check": map[string]any{
				"type":               process.ReadinessHealthCheck.Type,
				"invocation_timeout": number(process.ReadinessHealthCheck.Data.InvocationTimeout),
				"interval":           number(process.ReadinessHealthCheck.Data.Interval),
				"http_endpoint":      text(process.ReadinessHealthCheck.Data.Endpoint),
			},
		}
	}
	if active {
		o.Unobservable["/processes/web/instances"] = "a deployment is in progress, and the API does not say how many instances it is heading for"
	}
	o.Spec["processes"] = all
}

// pack says which code the app runs: the package of its current droplet.
func (p *picture) pack(o *manifest.Object, app ccv3.App) {
	guid := app.Relationships.CurrentDroplet.GUID()
	droplet, ok := p.droplets[guid]
	if !ok {
		if guid != "" {
			o.Unobservable["/package"] = "the app's current droplet could not be read"
			o.Unobservable["/droplet"] = o.Unobservable["/package"]
		}
		return
	}
	code := map[string]any{}
	pkg, known := p.packages[droplet.Links["package"].GUID()]
	if app.Lifecycle.Type == "docker" {
		code["type"] = "docker"
		code["image"] = cmp.Or(pkg.Data.Image, deref(droplet.Image))
		if name := deref(pkg.Data.Username); name != "" {
			code["username"] = name
		}
	} else {
		code["type"] = "bits"
		if known && pkg.Metadata.Annotation(digestAnnotation) != "" { // else it was not uploaded by Fettle, and nobody knows
			code["digest"] = pkg.Metadata.Annotation(digestAnnotation)
		}
	}
	o.Spec["package"] = code
	if declared := p.declared[app.GUID]; declared.Spec["droplet"] != nil {
		o.Spec["droplet"] = map[string]any{"digest": dropletDigest(&droplet)}
	}
}

// describe adds the details to the object of an app.
func (d *details) describe(o *manifest.Object, active bool) {
	if d.broken {
		o.Unobservable[""] = d.why
		return
	}
	features, sidecars := map[string]any{}, map[string]any{}
	processes, _ := o.Spec["processes"].(map[string]any)
	if d.why != "" {
		o.Unobservable["/environment_variables"] = d.why
		for name := range processes {
			o.Unobservable[manifest.Pointer("processes", name, "command")] = d.why
		}
		if lifecycle := o.Spec["lifecycle"].(map[string]any); slices.ContainsFunc(asList(lifecycle["buildpacks"]), hidden) {
			o.Unobservable["/lifecycle/buildpacks"] = "a buildpack URL with credentials is shown without them to this role"
		}
		for _, f := range d.features {
			features[f.Name] = f.Enabled
		}
		for _, s := range d.sidecars {
			sidecars[s.Name] = sidecar(s.Command, s.ProcessTypes, number(s.MemoryInMB))
		}
		for pointer, unread := range map[string]bool{"/features": d.features == nil, "/sidecars": d.sidecars == nil} {
			if unread {
				o.Unobservable[pointer] = d.why
			}
		}
		o.Spec["features"], o.Spec["sidecars"] = features, sidecars
		return
	}
	env := map[string]any{}
	for name, value := range d.manifest.Env {
		env[name] = value
	}
	for name, on := range d.manifest.Features {
		features[name] = on
	}
	for _, s := range d.manifest.Sidecars {
		var memory any
		if mb, err := manifest.ParseMegabytes(s.Memory); err == nil {
			memory = mb
		}
		sidecars[s.Name] = sidecar(s.Command, s.ProcessTypes, memory)
	}
	if lifecycle := o.Spec["lifecycle"].(map[string]any); lifecycle["type"] != "docker" {
		lifecycle["buildpacks"] = list(d.manifest.Buildpacks)
	}
	o.Spec["environment_variables"], o.Spec["features"], o.Spec["sidecars"] = env, features, sidecars
	d.commands(o, processes, active)
}

// commands fills in the start commands; nil where staging detects it. While a deployment is active the
// manifest has two entries for web in no known order.
func (d *details) commands(o *manifest.Object, processes map[string]any, active bool) {
	for _, process := range processes {
		process.(map[string]any)["command"] = nil
	}
	seen := map[string]bool{}
	for _, g := range d.manifest.Processes {
		process, ok := processes[g.Type].(map[string]any)
		if !ok {
			continue // appeared since the list was read
		}
		if active && seen[g.Type] && process["command"] != text(g.Command) {
			o.Unobservable[manifest.Pointer("processes", g.Type, "command")] = "a deployment is in progress, and the API does not say which of the two commands is the new one"
		}
		process["command"] = text(g.Command)
		seen[g.Type] = true
	}
}

func sidecar(command string, types []string, memory any) map[string]any {
	return map[string]any{"command": command, "process_types": list(slices.Sorted(slices.Values(types))), "memory_in_mb": memory}
}

// drawRoutes makes the objects of all routes of the spaces, and of those that other spaces share and Git declares. It
// returns them by the guids of the apps that they lead to, and whether any route leads to an app.
func (p *picture) drawRoutes(obs *platform.Observation) (byApp map[string][]*manifest.Object, routed map[string]bool) {
	byApp, routed = map[string][]*manifest.Object{}, map[string]bool{}
	for _, route := range p.routes {
		for _, dest := range route.Destinations {
			routed[dest.App.GUID] = true
		}
		for _, ref := range p.routeRefs(route) {
			o := p.route(route, ref)
			for _, dest := range route.Destinations {
				if of := byApp[dest.App.GUID]; p.apps[dest.App.GUID].Space() == ref.Space() && !slices.Contains(of, o) {
					byApp[dest.App.GUID] = append(of, o)
				}
			}
			obs.Live.Put(o)
			obs.IDs[ref] = route.GUID
			readRouteLedger(obs.Ledger, route.Metadata.Annotation(appliedAnnotation), o)
		}
	}
	return byApp, routed
}

// ownRoutes finds the routes that are Fettle's as a whole, and may be deleted where routes are pruned: those with its
// mark, and those that lead to apps of its own alone. A manifest of version 1 creates routes without a mark; what is
// known of them is in the ledgers of the apps. One destination that somebody else made, perhaps in another space, and
// the route is not Fettle's alone.
func (p *picture) ownRoutes(obs *platform.Observation) {
	for _, route := range p.routes {
		home, ok := p.spaces[route.Relationships.Space.GUID()]
		if !ok {
			continue
		}
		ref := manifest.Ref{Kind: manifest.KindRoute, Path: home.path + "/" + strings.ToLower(route.URL)}
		if _, pruned := p.desired.Pruned(home.path, manifest.KindRoute); !pruned {
			continue
		}
		ours := func(d ccv3.Destination) bool {
			app := p.apps[d.App.GUID]
			process := "web"
			if d.App.Process != nil {
				process = d.App.Process.Type
			}
			return app.Space() == ref.Space() && obs.Ledger.Owns(ref, manifest.Pointer("destinations", app.Name()+"/"+process))
		}
		marked := decodeLedger(route.Metadata.Annotation(appliedAnnotation)) != nil
		strange := slices.ContainsFunc(route.Destinations, func(d ccv3.Destination) bool { return !ours(d) })
		if !strange && (marked || len(route.Destinations) > 0) {
			obs.Ledger.Own(ref, "")
		}
	}
}

// routeRefs names a route as the space that it belongs to does, and as those do that it is shared with.
func (p *picture) routeRefs(route ccv3.Route) []manifest.Ref {
	name := strings.ToLower(route.URL)
	var refs []manifest.Ref
	home, ok := p.spaces[route.Relationships.Space.GUID()]
	if ok {
		refs = append(refs, manifest.Ref{Kind: manifest.KindRoute, Path: home.path + "/" + name})
	}
	for _, o := range p.desired.Of(manifest.KindRoute) {
		if isShared(o) && o.Ref.Name() == name && o.Ref.Space() != home.path {
			refs = append(refs, o.Ref)
		}
	}
	return refs
}

// route makes the object of one route, as the space of ref sees it.
func (p *picture) route(route ccv3.Route, ref manifest.Ref) *manifest.Object {
	all := map[string]any{}
	for _, dest := range route.Destinations {
		app, known := p.apps[dest.App.GUID]
		if !known || app.Space() != ref.Space() {
			continue // a shared route also leads to apps of other spaces, which are none of ours
		}
		process := "web"
		if dest.App.Process != nil {
			process = dest.App.Process.Type
		}
		key := app.Name() + "/" + process
		if _, twice := all[key]; twice {
			// Two ports of one process: the one that Git does not declare is shown, so that the difference is seen.
			want, _ := manifest.Lookup(specOf(p.desired.Get(ref)), manifest.Pointer("destinations", key, "port"))
			if want == number(dest.Port) {
				continue
			}
		}
		all[key] = map[string]any{"port": number(dest.Port), "protocol": text(dest.Protocol)}
	}
	return &manifest.Object{Ref: ref, Spec: map[string]any{
		"destinations": all, "options": plain(route.Options),
		"metadata": metadata(route.Resource),
	}}
}

// specOf is the Spec of an object that may be nil.
func specOf(o *manifest.Object) map[string]any {
	if o == nil {
		return nil
	}
	return o.Spec
}

// drawBindings makes the objects of the declared apps' bindings, and returns them by app guid.
func (p *picture) drawBindings(obs *platform.Observation) map[string][]*manifest.Object {
	names := map[string]string{}
	for _, instance := range p.bound {
		names[instance.GUID] = instance.Name
		if place, ok := p.spaces[instance.Relationships.Space.GUID()]; ok {
			obs.IDs[p.spelling(manifest.Ref{Kind: manifest.KindServiceInstance, Path: place.path + "/" + instance.Name})] = instance.GUID
		}
	}
	byApp := map[string][]*manifest.Object{}
	for _, binding := range p.bindings {
		app, known := p.apps[binding.Relationships.App.GUID()]
		name := names[binding.Relationships.ServiceInstance.GUID()]
		if !known || name == "" || failedToCreate(binding.LastOperation) {
			continue
		}
		name = p.spelling(app.Child(manifest.KindServiceInstance, name)).Name()
		o := &manifest.Object{
			Ref:  p.spelling(app.Child(manifest.KindServiceBinding, app.Name()+"/"+name)),
			Spec: map[string]any{"app": app.Name(), "service_instance": name, "name": text(binding.Name), "metadata": metadata(binding.Resource)},
		}
		obs.IDs[o.Ref] = binding.GUID
		if !established(binding.LastOperation) {
			continue
		}
		obs.Live.Put(o)
		p.noteSeal(obs, o.Ref, binding.Resource)
		byApp[binding.Relationships.App.GUID()] = append(byApp[binding.Relationships.App.GUID()], o)
	}
	return byApp
}

// failedToCreate: such a thing serves nobody, and the controller replaces it when it is asked for again.
func failedToCreate(op *ccv3.LastOperation) bool {
	return op != nil && op.Type == "create" && op.State == "failed"
}

// spelling is ref as Git spells it, for names match without regard to case.
func (p *picture) spelling(ref manifest.Ref) manifest.Ref { return cmp.Or(p.spelled[lower(ref)], ref) }

func lower(ref manifest.Ref) manifest.Ref {
	ref.Path = strings.ToLower(ref.Path)
	return ref
}

// published leaves out what Fettle itself keeps in labels and annotations.
func published(m map[string]*string) map[string]any {
	all := map[string]any{}
	for k, v := range m {
		if !strings.HasPrefix(k, manifest.MetadataPrefix) && v != nil {
			all[k] = *v
		}
	}
	return all
}

// plain copies a map that came as JSON; numbers become the text that people write (hash_balance: 1.25).
func plain(m map[string]any) map[string]any {
	all := make(map[string]any, len(m))
	for k := range maps.Keys(m) {
		switch v := m[k].(type) {
		case nil:
		case string:
			all[k] = v
		case bool:
			all[k] = v
		case map[string]any:
			all[k] = plain(v)
		default:
			if data, err := json.Marshal(v); err == nil {
				all[k] = string(data)
			}
		}
	}
	return all
}

// hidden recognises the placeholder that the controller puts in the place of credentials in a URL.
func hidden(v any) bool {
	s, _ := v.(string)
	return strings.Contains(s, "***")
}

func list(all []string) []any {
	l := make([]any, len(all))
	for i, s := range all {
		l[i] = s
	}
	return l
}

func asList(v any) []any { l, _ := v.([]any); return l }

func text(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func number(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
