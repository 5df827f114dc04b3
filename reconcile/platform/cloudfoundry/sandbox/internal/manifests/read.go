package manifests

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// entry is one application of a manifest, understood.
type entry struct {
	raw       tree.Obj
	name      string
	index     int
	processes []process
	sidecars  []sidecar
	features  tree.Obj
	lifecycle *apps.Lifecycle // nil when nothing is said about it
	docker    bool
	meta      cc.Metadata
	hasMeta   bool
	env       tree.Obj
	routes    []route
	noRoute   bool
	random    bool
	fallback  bool // default-route
	services  []service
	problems  []string
}

type process struct {
	typ     string
	scale   apps.Scale
	sized   bool // a size is named
	update  apps.ProcessUpdate
	updates bool
	request tree.Obj // of the update, as the audit event says it
}

type sidecar struct {
	name, command string
	types         []string
	memory        *int
}

type route struct {
	text, protocol     string
	options            tree.Obj
	host, domain, path string // path with its slash, port apart
	port               *int
}

type service struct {
	name, binding string
	parameters    any
}

// fatal is what makes the controller break: a 500.
type fatal struct{}

func (fatal) Error() string { return "the manifest cannot be digested" }

func (e *entry) add(format string, a ...any) {
	b := cc.Body{}
	b.Add(format, a...)
	e.problems = append(e.problems, b.Problems...)
}

// label names the entry in messages.
func (e *entry) label() string {
	if e.name == "" {
		return "For application at index " + strconv.Itoa(e.index) + ": "
	}
	return "For application '" + e.name + "': "
}

// read understands one entry. Problems are noted in the order in which the controller lists them.
func read(tx *cc.Tx, o tree.Obj, index int) (e *entry, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(fatal)
			if !ok {
				panic(r)
			}
			e, err = nil, f
		}
	}()
	e = &entry{raw: o, index: index}
	name := o.Get("name")
	e.name = psych.Text(name)
	if e.name == "" {
		e.add("Name must not be empty")
	}
	if _, ok := name.(string); !ok {
		e.add("Name must be a string")
	}
	e.readProcesses(o)
	e.readSidecars(o)
	e.readLifecycle(tx, o)
	e.readServices(o)
	e.readEnv(o)
	e.readRoutes(tx, o)
	if v, ok := o.Lookup("metadata"); ok {
		m, problems := cc.ReadMetadata(v)
		e.meta, e.hasMeta = m, true
		e.problems = append(e.problems, problems...)
	}
	e.readFeatures(o)
	return e, nil
}

var (
	scaleKeys  = []string{"instances", "memory", "disk_quota", "disk-quota", "log-rate-limit-per-second"}
	updateKeys = []string{
		"command", "health-check-type", "health-check-http-endpoint", "health-check-invocation-timeout", "health-check-interval",
		"readiness-health-check-type", "readiness-health-check-http-endpoint", "readiness-health-check-invocation-timeout",
		"readiness-health-check-interval", "timeout",
	}
)

func hasAny(o tree.Obj, keys []string) bool {
	return slices.ContainsFunc(o, func(f tree.Field) bool { return slices.Contains(keys, f.Key) })
}

// readProcesses reads the list of processes, and the attributes of the entry itself, which mean the web process unless the
// list has one (observed fact: then they are hidden altogether).
func (e *entry) readProcesses(o tree.Obj) {
	v, has := o.Lookup("processes")
	l, isList := v.([]any)
	if has && !isList {
		e.add("Processes must be an array of process configurations")
	}
	seen := map[string]bool{}
	var listed []process
	for _, item := range l {
		p, ok := item.(tree.Obj)
		if !ok {
			e.add("Processes must be an array of process configurations")
			return
		}
		typ := psych.Text(p.Get("type"))
		if typ == "" {
			e.add("All Processes must specify a type")
			continue
		}
		if seen[typ] {
			e.add("Process %q may only be present once", typ)
			continue
		}
		seen[typ] = true
		listed = append(listed, e.readProcess(p, typ, true))
	}
	if !seen["web"] && (hasAny(o, scaleKeys) || hasAny(o, updateKeys)) {
		e.processes = append(e.processes, e.readProcess(o, "web", false))
	}
	e.processes = append(e.processes, listed...)
}

func (e *entry) readProcess(o tree.Obj, typ string, listed bool) process {
	p := process{typ: typ}
	note := func(label, problem string) {
		if problem != "" {
			e.add("Process %q: %s %s", typ, label, problem)
		}
	}
	var problem string
	p.scale.Memory, problem = megabytes(o.Get("memory"))
	note("Memory", problem)
	disk, ok := o.Lookup("disk_quota")
	if !ok {
		disk = o.Get("disk-quota")
	}
	p.scale.Disk, problem = megabytes(disk)
	note("Disk quota", problem)
	p.scale.LogRate, problem = logRate(o.Get("log-rate-limit-per-second"))
	note("Log rate limit per second", problem)
	p.scale.Instances, problem = number(o.Get("instances"), 0, 2000000)
	note("Instances", problem)
	p.sized = hasAny(o, scaleKeys) && len(p.scale.Request()) > 0
	p.updates = listed || hasAny(o, updateKeys)
	if p.updates {
		e.readUpdate(o, &p, listed, note)
	}
	return p
}

// number reads a whole number, which may be quoted; null is none.
func number(v any, lowest, highest int64) (*int, string) {
	var n int64
	switch x := v.(type) {
	case nil:
		return nil, ""
	case int64:
		n = x
	case string:
		i, err := strconv.ParseInt(x, 10, 64)
		if err != nil {
			return nil, "is not a number"
		}
		n = i
	case float64:
		return nil, "must be an integer"
	default:
		return nil, "is not a number"
	}
	if n < lowest {
		return nil, "must be greater than or equal to " + strconv.FormatInt(lowest, 10)
	}
	if n > highest {
		return nil, "must be less than or equal to " + strconv.FormatInt(highest, 10)
	}
	i := int(n)
	return &i, ""
}

var uriPath = regexp.MustCompile(`\A/[A-Za-z0-9\-._~%!$&'()*+,;=:@/?#]*\z`)

func (e *entry) readUpdate(o tree.Obj, p *process, listed bool, note func(label, problem string)) {
	if v, ok := o.Lookup("command"); ok {
		s, isText := v.(string)
		switch {
		case v == nil || s == "null" || s == "default":
			s = ""
			p.update.Command = &s
		case !isText:
			note("Command", "must be a string")
		case s == "" || len([]rune(s)) > 4096:
			note("Command", "must be between 1 and 4096 characters")
		default:
			p.update.Command = &s
		}
	}
	if v, ok := o.Lookup("user"); ok && v != nil && listed { // observed fact: at the top level it means nothing
		s, isText := v.(string)
		if !isText {
			note("User", "must be a string")
		}
		p.update.User = &s
	}
	p.update.Health = e.readHealth(o, "", "Health check", note)
	p.update.Readiness = e.readHealth(o, "readiness-", "Readiness health check", note)
	t, problem := number(o.Get("timeout"), 1, math.MaxInt32)
	note("Timeout", problem)
	if t != nil {
		if p.update.Health == nil {
			p.update.Health = &apps.HealthUpdate{}
		}
		p.update.Health.Timeout = t
	}
	p.request = updateRequest(o, p, listed)
}

func (e *entry) readHealth(o tree.Obj, prefix, label string, note func(label, problem string)) *apps.HealthUpdate {
	u := &apps.HealthUpdate{}
	given := false
	if v, ok := o.Lookup(prefix + "health-check-type"); ok && v != nil {
		given = true
		u.Type, _ = v.(string)
		if u.Type == "none" && prefix == "" {
			u.Type = "process" // the old name (observed fact)
		}
		if !slices.Contains([]string{"port", "process", "http"}, u.Type) {
			note(label, `type must be "port", "process", or "http"`)
		}
	}
	if v, ok := o.Lookup(prefix + "health-check-http-endpoint"); ok && v != nil {
		given = true
		s, _ := v.(string)
		if !uriPath.MatchString(s) {
			note(label, "http endpoint must be a valid URI path")
		} else if u.Type != "" && u.Type != "http" {
			note(label, `type must be "http" to set a health check HTTP endpoint`)
		}
		u.HasEndpoint, u.Endpoint = true, &s
	}
	for _, f := range []struct {
		key, label string
		to         **int
	}{{"health-check-invocation-timeout", "invocation timeout", &u.InvocationTimeout}, {"health-check-interval", "interval", &u.Interval}} {
		v, ok := o.Lookup(prefix + f.key)
		if !ok || v == nil {
			continue
		}
		given = true
		n, problem := number(v, 1, math.MaxInt32)
		note(label+" "+f.label, problem)
		*f.to = n
	}
	if !given {
		return nil
	}
	return u
}

// updateRequest is what the audit event of an update by manifest says: the given attributes, and what they are called
// inside the controller (observed fact).
func updateRequest(o tree.Obj, p *process, listed bool) tree.Obj {
	r := tree.Obj{}
	for _, f := range o {
		if !slices.Contains(updateKeys, f.Key) && (f.Key != "user" || !listed) {
			continue
		}
		key, v := strings.ReplaceAll(f.Key, "-", "_"), f.Value
		switch {
		case key == "command":
			v = apps.Hidden
		case key == "health_check_type" && v == "none":
			v = "process"
		}
		r.Set(key, v)
	}
	r.Set("type", p.typ)
	for _, alias := range [][2]string{
		{"timeout", "health_check_timeout"}, {"health_check_http_endpoint", "health_check_endpoint"},
		{"readiness_health_check_http_endpoint", "readiness_health_check_endpoint"},
	} {
		if v, ok := r.Lookup(alias[0]); ok {
			r.Set(alias[1], v)
		}
	}
	return r
}

func (e *entry) readSidecars(o tree.Obj) {
	v, has := o.Lookup("sidecars")
	if !has {
		return
	}
	l, ok := v.([]any)
	if !ok {
		e.add("Sidecars must be an array of sidecar configurations")
		return
	}
	for _, item := range l {
		so, ok := item.(tree.Obj)
		if !ok {
			e.add("Sidecars must be an array of sidecar configurations")
			return
		}
		name, isText := so.Get("name").(string)
		if !isText || name == "" {
			e.add("Sidecar name can't be blank")
			if !isText {
				e.add("Sidecar name must be a string")
			}
			continue
		}
		s := sidecar{name: name}
		command, isText := so.Get("command").(string)
		if command == "" {
			e.add("Sidecar %q: Command can't be blank", name)
		}
		if !isText {
			e.add("Sidecar %q: Command must be a string", name)
		}
		s.command = command
		types, isList := so.Get("process_types").([]any)
		if !isList {
			e.add("Sidecar %q: Process types must be an array", name)
		}
		if len(types) == 0 {
			e.add("Sidecar %q: Process types must have at least 1 process_type", name)
		}
		for _, t := range types {
			s.types = append(s.types, psych.Text(t))
		}
		var problem string
		if s.memory, problem = megabytes(so.Get("memory")); problem != "" {
			e.add("Sidecar %q: Memory %s", name, problem)
		}
		e.sidecars = append(e.sidecars, s)
	}
}

// readLifecycle reads lifecycle, buildpack, buildpacks, stack and docker.
func (e *entry) readLifecycle(tx *cc.Tx, o tree.Obj) {
	l := &apps.Lifecycle{}
	given := false
	if t, _ := o.Get("lifecycle").(string); slices.Contains([]string{world.Buildpack, world.Docker, world.CNB}, t) {
		l.Type, given = t, true // anything else is ignored (observed fact)
	}
	bp, hasOne := o.Lookup("buildpack")
	bps, hasMany := o.Lookup("buildpacks")
	names := []string{}
	switch {
	case hasOne && hasMany:
		e.add("Buildpack and Buildpacks fields cannot be used together.")
	case hasMany:
		list, ok := bps.([]any)
		if !ok && bps != nil {
			e.add("Buildpacks must be an array")
		}
		for _, b := range list {
			s, ok := b.(string)
			if !ok {
				e.add("Buildpacks can only contain strings")
				break
			}
			names = append(names, s)
		}
		l.Buildpacks, given = &names, true
	case hasOne:
		s, ok := bp.(string)
		if !ok && bp != nil {
			e.add("Buildpacks can only contain strings")
		}
		if s != "" && s != "default" && s != "null" {
			names = []string{s}
		}
		l.Buildpacks, given = &names, true
	}
	if v, ok := o.Lookup("stack"); ok && v != nil {
		s, isText := v.(string)
		if !isText {
			e.add("Stack must be a string")
		}
		l.Stack, given = &s, true
	}
	if _, ok := o.Lookup("docker"); ok {
		e.docker, given = true, true
		if len(names) > 0 {
			e.add("Cannot specify both buildpack(s) and docker keys")
		}
		if err := tx.FeatureForAll("diego_docker"); err != nil {
			if f, ok := err.(*cc.Error); ok {
				e.add("%s", f.Detail)
			}
		}
	}
	if given {
		e.lifecycle = l
	}
}

func (e *entry) readServices(o tree.Obj) {
	v, has := o.Lookup("services")
	if !has {
		return
	}
	l, ok := v.([]any)
	if !ok {
		e.add("Services must be a list of service instances")
		return
	}
	for _, item := range l {
		switch s := item.(type) {
		case string:
			e.services = append(e.services, service{name: s})
			continue
		case tree.Obj:
			if name, ok := s.Get("name").(string); ok {
				binding, _ := s.Get("binding_name").(string)
				e.services = append(e.services, service{name: name, binding: binding, parameters: s.Get("parameters")})
				continue
			}
		}
		e.add("Services must be a list of service instances")
		return
	}
}

func (e *entry) readEnv(o tree.Obj) {
	v, has := o.Lookup("env")
	if !has {
		return
	}
	env, ok := v.(tree.Obj)
	if !ok {
		e.add("Env must be an object of keys and values")
		return
	}
	for _, f := range env {
		if strings.HasPrefix(f.Key, psych.Odd) {
			e.add("Env key must be a string")
		}
	}
	for _, p := range apps.ReservedEnv(env) {
		e.add("Env %s", p)
	}
	e.env = tree.Obj{}
	for _, f := range env {
		e.env = append(e.env, tree.Field{Key: f.Key, Value: psych.Text(f.Value)})
	}
}

func (e *entry) readFeatures(o tree.Obj) {
	v, has := o.Lookup("features")
	if !has {
		return
	}
	f, ok := v.(tree.Obj)
	for _, x := range f {
		_, isBool := x.Value.(bool)
		_, err := apps.FindFeature(x.Key)
		ok = ok && isBool && err == nil
	}
	if !ok {
		e.add("Features must be a map of valid feature names to booleans (true = enabled, false = disabled)")
	}
	e.features = f
}
