package cloudfoundry

import (
	"maps"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// asks are the questions that a plan, or a manifest, puts to the foundation.
type asks struct {
	stacks, buildpacks, flags []ask
	routes                    []ask // that have to be created; the name is the URL
	services                  []planAsk
	keys                      []ask                 // service keys that have to be created
	gone                      map[manifest.Kind]int // how many routes, service instances and keys the plan may delete
	places                    []ask                 // one for each step, or the first object of each space; the name is the space
	roles                     []ask                 // likewise, where nothing has shown yet that the user may write
	loads                     []load
	doomed                    map[string]bool // steps that are not tried anyway
}

func (a *asks) empty() bool {
	return len(a.stacks)+len(a.buildpacks)+len(a.flags)+len(a.routes)+len(a.services)+len(a.keys)+len(a.roles)+len(a.loads) == 0
}

func (a *asks) spaces() []string {
	var paths []string
	for _, list := range [][]ask{a.stacks, a.buildpacks, a.flags, a.routes, a.keys, a.places} {
		for _, x := range list {
			paths = append(paths, x.object.Ref.Space())
		}
	}
	for _, x := range a.services {
		paths = append(paths, x.object.Ref.Space())
	}
	return unique(paths)
}

// asksOf gathers what the steps of a plan touch.
func asksOf(in platform.PlanInput, plan platform.Plan) asks {
	a := asks{doomed: map[string]bool{}, gone: map[manifest.Kind]int{}}
	for _, p := range plan.Problems {
		if !p.Warning {
			a.doomed[p.Step] = true
		}
	}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		about := s.Desired.Get(s.Ref)
		if about == nil {
			about = &manifest.Object{Ref: s.Ref} // Git no longer declares it
		}
		a.places = append(a.places, ask{step: s.ID, object: about, name: s.Ref.Space()})
		if !mayWrite(in.Live, s.Ref.Space()) {
			a.roles = append(a.roles, ask{step: s.ID, object: about, name: s.Ref.Space()})
		}
		for _, c := range s.Changes {
			a.ofChange(in, s, c)
		}
		if data, ok := s.Data.(*appData); ok {
			a.ofApp(in, s, data)
		}
	}
	return a
}

// mayWrite reports whether the observation shows that the user may change the space: only who may do so reads the
// environment of an app.
func mayWrite(live platform.Observation, space string) bool {
	return slices.ContainsFunc(live.Live.Of(manifest.KindApp), func(o *manifest.Object) bool {
		return o.Ref.Space() == space && o.Spec["environment_variables"] != nil
	})
}

func (a *asks) ofChange(in platform.PlanInput, s *platform.Step, c diff.Change) {
	if c.Op == diff.Remove && c.Path == "" {
		a.gone[c.Ref.Kind]++
	}
	o := in.Desired.Get(c.Ref)
	if o == nil {
		if c.Ref.Kind == manifest.KindApp && c.Op == diff.Remove && strings.HasPrefix(c.Path, "/processes/") {
			a.flag(s.ID, &manifest.Object{Ref: c.Ref}, "", "app_scaling")
		}
		return
	}
	keys := manifest.SplitPointer(c.Path)
	switch c.Ref.Kind {
	case manifest.KindApp:
		switch {
		case len(keys) == 0 && c.Op == diff.Add:
			a.ofLifecycle(s.ID, o)
			a.ofCode(s.ID, o, nil)
		case len(keys) > 0 && keys[0] == "lifecycle":
			a.ofLifecycle(s.ID, o)
		case len(keys) > 0 && keys[0] == "package":
			a.ofCode(s.ID, o, in.Live.Live.Get(c.Ref))
		case len(keys) == 2 && keys[0] == "processes" && c.Op == diff.Remove:
			a.flag(s.ID, o, c.Path, "app_scaling")
		}
	case manifest.KindRoute:
		if len(keys) == 0 && c.Op == diff.Add && o.Inputs["shared"] == nil {
			a.ofRoute(s.ID, o)
		}
		if len(keys) == 0 || keys[0] == "options" {
			a.ofOptions(s.ID, o)
		}
	case manifest.KindServiceInstance:
		if c.Op != diff.Remove {
			a.ofService(s.ID, o, keys, c.Op)
		}
	case manifest.KindServiceBinding, manifest.KindServiceKey, manifest.KindServiceRouteBinding:
		if c.Op == diff.Add && len(keys) == 0 {
			if c.Ref.Kind == manifest.KindServiceKey {
				a.keys = append(a.keys, ask{step: s.ID, object: o})
			}
			a.ofBinding(s.ID, o, in.Desired)
		}
	}
}

// ofLifecycle asks for the stack and the buildpacks of an app. Where a buildpack comes from a URL, the controller does not
// look before it stages.
func (a *asks) ofLifecycle(step string, o *manifest.Object) {
	kind, _ := manifest.Lookup(o.Spec, "/lifecycle/type")
	if kind == "cnb" {
		a.flag(step, o, "/lifecycle", "diego_cnb")
	}
	if stack, _ := manifest.Lookup(o.Spec, "/lifecycle/stack"); stack != nil {
		if name, ok := stack.(string); ok && !o.IsSecret("/lifecycle/stack") {
			a.stacks = append(a.stacks, ask{step, o, "/lifecycle/stack", name})
		}
	}
	names, _ := manifest.Lookup(o.Spec, "/lifecycle/buildpacks")
	list, _ := names.([]any)
	for _, x := range list {
		name, _ := x.(string)
		if kind != "cnb" && !strings.ContainsAny(name, ":/@") && o.Inputs["buildpack_fallbacks"] == nil && !o.IsSecret("/lifecycle/buildpacks") {
			a.buildpacks = append(a.buildpacks, ask{step, o, "/lifecycle/buildpacks", name})
		}
	}
}

// ofCode asks whether the code may be brought. Files that are on the platform already need no upload, which is not known
// of an app that exists.
func (a *asks) ofCode(step string, o, live *manifest.Object) {
	switch kind, _ := manifest.Lookup(o.Spec, "/package/type"); {
	case kind == "docker":
		a.flag(step, o, "/package", "diego_docker")
	case kind == "bits" && live == nil && o.Inputs["path"] != nil:
		a.flag(step, o, "/package", "app_bits_upload")
	}
	if lifecycle, _ := manifest.Lookup(o.Spec, "/lifecycle/type"); lifecycle == "cnb" && live != nil {
		a.flag(step, o, "/package", "diego_cnb")
	}
}

func (a *asks) ofRoute(step string, o *manifest.Object) {
	a.routes = append(a.routes, ask{step: step, object: o, name: o.Ref.Name()})
	a.flag(step, o, "", "route_creation")
}

func (a *asks) ofOptions(step string, o *manifest.Object) {
	if balancing, _ := manifest.Lookup(o.Spec, "/options/loadbalancing"); balancing == "hash" {
		a.flag(step, o, "/options/loadbalancing", "hash_based_routing")
	}
}

// ofService asks for the offering and the plan of a managed service instance.
func (a *asks) ofService(step string, o *manifest.Object, keys []string, op diff.Op) {
	created := len(keys) == 0 && op == diff.Add
	if created {
		a.flag(step, o, "", "service_instance_creation")
	}
	if shares, _ := o.Spec["share_to"].(map[string]any); created && len(shares) > 0 || len(keys) > 0 && keys[0] == "share_to" {
		a.flag(step, o, "/share_to", "service_instance_sharing")
	}
	if o.Spec["type"] == "user-provided" {
		return
	}
	x := planAsk{ask: ask{step, o, "/service_plan", ""}, created: created, chosen: created || len(keys) > 0 && keys[0] == "service_plan"}
	x.name, _ = o.Spec["service_plan"].(string)
	x.offering, _ = o.Spec["service_offering"].(string)
	if o.Inputs["parameters"] != nil && (created || len(keys) > 0 && keys[0] == "parameters") {
		x.schema = func(p *servicePlan) any { return p.Schemas.Instance.Update.Parameters }
		if created {
			x.schema = func(p *servicePlan) any { return p.Schemas.Instance.Create.Parameters }
		}
	}
	if x.chosen || x.schema != nil {
		a.services = append(a.services, x)
	}
}

// ofBinding asks what the plan of the bound instance says of the parameters. An instance that Git does not declare has
// to be looked up first.
func (a *asks) ofBinding(step string, o *manifest.Object, desired manifest.Set) {
	if o.Inputs["parameters"] == nil {
		return
	}
	x := planAsk{ask: ask{step, o, "/parameters", ""}, schema: func(p *servicePlan) any { return p.Schemas.Binding.Create.Parameters }}
	if instance := desired.Get(o.Ref.Child(manifest.KindServiceInstance, instanceName(o))); instance == nil {
		x.instance = instanceName(o)
	} else {
		x.name, _ = instance.Spec["service_plan"].(string)
		x.offering, _ = instance.Spec["service_offering"].(string)
	}
	if x.instance != "" || x.offering != "" { // what users provide takes no parameters
		a.services = append(a.services, x)
	}
}

func (a *asks) flag(step string, o *manifest.Object, pointer, name string) {
	a.flags = append(a.flags, ask{step, o, pointer, name})
}

// load is what an app takes of the quotas: now, when it is as declared, and besides while it rolls.
type load struct {
	ask
	was, will, surge amount
	staging          int64    // MB that a build of its code needs
	changed          []string // pointers that the step changes
	stops            bool     // which no quota ever refuses
	sizes            []processSize
}

// amount is memory in MB, instances, and log lines in bytes per second.
type amount [3]int64

// The indices of an amount.
const (
	memoryMB = iota
	instances
	logBytes
)

// processSize is a process that will run with this memory and log rate for each of its instances; nil is not known.
type processSize struct {
	process         string
	memory, logRate *int64
}

// ofApp works out what an app's step takes. The values that Git leaves open and no live app shows, count as nothing:
// the API does not tell the controller's defaults.
func (a *asks) ofApp(in platform.PlanInput, s *platform.Step, data *appData) {
	if s.Desired.Get(s.Ref) == nil {
		return // only what hangs on it changes
	}
	r := newAppRun(nil, s, data, platform.ApplyOptions{Settings: in.Settings}, nil)
	if data.live != nil && (data.live.Spec["rollout"] == rolloutInProgress || data.live.Unobservable["/processes/web/instances"] != "") {
		return // how many instances it is heading for is not known
	}
	rolls := r.started && r.wantsStarted() && rolls(s)
	if settings := r.settings; settings != nil && (settings.BeforeRollout != "" || settings.AfterRollout != "") && (rolls || r.wantsStarted() && !r.started) {
		a.flag(s.ID, r.app, "", "task_creation")
	}
	l := load{ask: ask{step: s.ID, object: r.app, name: s.Ref.Space()}, stops: !r.wantsStarted()}
	for _, change := range s.Changes {
		if change.Ref == s.Ref {
			l.changed = append(l.changed, change.Path)
		}
	}
	before, after := processesOf(data.live), planned(s, data.live)
	if r.started {
		l.was = total(before)
	}
	if r.wantsStarted() {
		l.will = total(after)
		touched := maps.Clone(after)
		maps.DeleteFunc(touched, func(name string, p map[string]any) bool {
			return r.started && maps.Equal(before[name], p) && (name != "web" || !rolls)
		})
		l.sizes = sizesOf(touched)
	}
	if web := after["web"]; rolls && web != nil {
		l.surge = total(map[string]map[string]any{"web": web})
		n := l.surge[instances]
		for i := range l.surge {
			if n > 0 {
				l.surge[i] = l.surge[i] / n * surging(r.settings, n)
			}
		}
	}
	if memory := number64(after["web"]["memory_in_mb"]); memory != nil && *memory >= usualStaging && r.wantsCode() && r.app.Spec["droplet"] == nil {
		l.staging = *memory
	}
	if l.was != l.will || l.surge != (amount{}) || l.staging > 0 {
		a.loads = append(a.loads, l)
	}
}

// usualStaging is what every build is given, in MB, whatever the quota has left. Operators may have changed it. A web process
// with as much or more is what its build is given, and that has to fit (QuotaValidatingStagingMemoryCalculator).
const usualStaging = 1024

// surging is how many instances a deployment brings up beside the n old ones before the first of these goes.
func surging(s *manifest.Settings, n int64) int64 {
	switch {
	case s == nil:
		return min(1, n)
	case s.Strategy == "recreate":
		return 0
	case s.Strategy == "canary": // its first step may be one instance
		return min(1, n)
	}
	return min(int64(max(s.MaxInFlight, 1)), n)
}

// rolls reports whether a step is sure to replace the instances of a running app. One that only completes what a killed
// run began may find it done.
func rolls(s *platform.Step) bool {
	return slices.ContainsFunc(s.Changes, func(c diff.Change) bool { return c.Impact >= diff.ImpactRestart && c.Path != "/rollout" })
}

// processesOf are the processes of an app as they stand, by type.
func processesOf(o *manifest.Object) map[string]map[string]any {
	all := map[string]map[string]any{}
	if o == nil {
		return all
	}
	processes, _ := o.Spec["processes"].(map[string]any)
	for name, p := range processes {
		settings, _ := p.(map[string]any)
		all[name] = map[string]any{}
		for _, key := range []string{"instances", "memory_in_mb", "log_rate_limit_in_bytes_per_second"} {
			if v, ok := settings[key].(int64); ok {
				all[name][key] = v
			}
		}
	}
	return all
}

// planned are the processes as the step leaves them: what changes, and for the rest what is. What differs and is ignored
// stays as it is.
func planned(s *platform.Step, live *manifest.Object) map[string]map[string]any {
	if live == nil {
		return overlaid(nil, s.Desired.Get(s.Ref))
	}
	all := processesOf(live)
	for _, c := range s.Changes {
		keys := manifest.SplitPointer(c.Path)
		if c.Ref != s.Ref || len(keys) < 2 || keys[0] != "processes" {
			continue
		}
		if len(keys) == 2 {
			added := &manifest.Object{Spec: map[string]any{"processes": map[string]any{keys[1]: c.Value}}}
			all[keys[1]] = processesOf(added)[keys[1]]
			continue
		}
		if v, ok := c.Value.(int64); ok && len(keys) == 3 && all[keys[1]] != nil {
			all[keys[1]][keys[2]] = v
		}
	}
	return all
}

// overlaid are processes as they stand with all that an app declares of them.
func overlaid(now map[string]map[string]any, app *manifest.Object) map[string]map[string]any {
	all := processesOf(app)
	for name, p := range now {
		merged := maps.Clone(p)
		maps.Copy(merged, all[name])
		all[name] = merged
	}
	if all["web"] == nil {
		all["web"] = map[string]any{}
	}
	if all["web"]["instances"] == nil {
		all["web"]["instances"] = int64(1)
	}
	return all
}

func sizesOf(processes map[string]map[string]any) (all []processSize) {
	for _, name := range slices.Sorted(maps.Keys(processes)) {
		if p := processes[name]; p["instances"] != int64(0) && p["instances"] != nil {
			all = append(all, processSize{name, number64(p["memory_in_mb"]), number64(p["log_rate_limit_in_bytes_per_second"])})
		}
	}
	return all
}

func total(processes map[string]map[string]any) (sum amount) {
	for _, p := range processes {
		n, _ := p["instances"].(int64)
		memory, _ := p["memory_in_mb"].(int64)
		logs, _ := p["log_rate_limit_in_bytes_per_second"].(int64)
		sum[memoryMB] += n * memory
		sum[instances] += n
		sum[logBytes] += n * max(logs, 0)
	}
	return sum
}

func number64(v any) *int64 {
	if n, ok := v.(int64); ok {
		return &n
	}
	return nil
}
