package manifests

import (
	"errors"
	"regexp"
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
	listed    bool // routes are listed, if only an empty list
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
	text, protocol string
	options        tree.Obj
	domain, path   string // path with its slash, port apart
	port           *int
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
				panic(r) //nolint:forbidigo // not ours: it goes on
			}
			e, err = nil, f
		}
	}()
	e = &entry{raw: o, index: index}
	o = canonical(o)
	name := o.Get("name")
	if e.name = psych.Text(name); strings.TrimSpace(e.name) == "" || name == false {
		e.name = ""
		e.add("Name must not be empty")
	}
	if _, ok := name.(string); !ok {
		e.add("Name must be a string")
	}
	e.checkSizes(o, "web") // whether or not they mean anything (as the controller does)
	listed := e.checkList(o)
	e.readSidecars(o)
	e.readProcesses(o, listed)
	e.readLifecycle(o)
	if v, ok := o.Lookup("metadata"); ok && v != nil {
		m, problems := cc.ReadMetadata(v)
		e.meta, e.hasMeta = m, true
		e.problems = append(e.problems, problems...)
	}
	e.checkKinds(tx, o)
	e.readServices(o)
	e.readEnv(o)
	e.checkBuildpack(o)
	e.readRoutes(tx, o)
	e.readFeatures(o)
	return e, nil
}

// canonical spells keys with underscores. They may also be written with dashes or capitals in the midst.
func canonical(o tree.Obj) tree.Obj {
	out := tree.Obj{}
	for _, f := range o {
		key := strings.ReplaceAll(f.Key, "-", "_")
		key = strings.ToLower(inner.ReplaceAllString(key, "${1}_${2}"))
		out.Set(key, f.Value)
	}
	return out
}

var inner = regexp.MustCompile(`([a-z\d])([A-Z])`)

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
			panic(fatal{}) //nolint:forbidigo // recovered by read
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
		n, given, problem := bytesOf(so.Get("memory"))
		mb := int(n >> 20)
		switch {
		case problem != "":
			e.add("Sidecar %q: Memory in mb is not a number", name)
		case given && mb < 1:
			e.add("Sidecar %q: Memory in mb must be greater than 0", name)
		case given:
			s.memory = &mb
		}
		e.sidecars = append(e.sidecars, s)
	}
}

// readLifecycle reads lifecycle, buildpack, buildpacks, stack and docker.
func (e *entry) readLifecycle(o tree.Obj) {
	l := &apps.Lifecycle{}
	given := false
	if t, _ := o.Get("lifecycle").(string); t == world.Buildpack || t == world.CNB {
		l.Type, given = t, true // anything else is ignored (observed fact)
	}
	if o.Has("docker") && l.Type == "" {
		e.docker, e.lifecycle = true, l
		return // nothing else of the lifecycle counts then
	}
	if s, isText := o.Get("stack").(string); o.Get("stack") != nil {
		switch {
		case !isText:
			e.add("Stack must be a string")
		case s == "" || len([]rune(s)) > 4096:
			e.add("Stack must be between 1 and 4096 characters")
		}
		l.Stack, given = &s, true
	}
	if bps, ok := o.Lookup("buildpacks"); ok && bps != nil {
		list, isList := bps.([]any)
		if !isList {
			e.add("Buildpacks must be an array")
		}
		l.Buildpacks, given = e.readBuildpacks(list), true
	} else if bp, one := o.Lookup("buildpack"); one && !ok {
		names := []string{}
		if s, _ := bp.(string); s != "" && s != "default" && s != "null" {
			names = []string{s}
		}
		l.Buildpacks, given = &names, true
	}
	if given {
		e.lifecycle = l
	}
}

func (e *entry) readBuildpacks(list []any) *[]string {
	names := []string{}
	wrong, long := false, false
	for _, b := range list {
		s, ok := b.(string)
		wrong = wrong || !ok
		long = long || ok && (strings.TrimSpace(s) == "" || len([]rune(s)) > 4096)
		names = append(names, s)
	}
	if wrong {
		e.add("Buildpacks can only contain strings")
	}
	if long {
		e.add("Buildpacks entries must be between 1 and 4096 characters")
	}
	return &names
}

// checkKinds looks at which ways of staging are named together, and whether the platform has them.
func (e *entry) checkKinds(tx *cc.Tx, o tree.Obj) {
	if o.Has("buildpack") && o.Has("buildpacks") {
		e.add("Buildpack and Buildpacks fields cannot be used together.")
	}
	feature := func(used bool, name string) {
		if !used {
			return
		}
		if f, ok := errors.AsType[*cc.Error](tx.FeatureForAll(name)); ok {
			e.add("%s", f.Detail)
		}
	}
	feature(o.Has("docker"), "diego_docker")
	feature(o.Get("lifecycle") == world.CNB, "diego_cnb")
	if o.Has("docker") && (o.Has("buildpack") || o.Has("buildpacks")) {
		e.add("Cannot specify both buildpack(s) and docker keys")
	}
}

// checkBuildpack looks at the single buildpack, the old way.
func (e *entry) checkBuildpack(o tree.Obj) {
	v := o.Get("buildpack")
	s, isText := v.(string)
	switch {
	case v == nil:
	case !isText:
		e.add("Buildpack must be a string")
	case s == "" || len([]rune(s)) > 4096:
		e.add("Buildpack must be between 1 and 4096 characters")
	}
}

func (e *entry) readServices(o tree.Obj) {
	v, has := o.Lookup("services")
	if !has {
		return
	}
	l, ok := v.([]any)
	for _, item := range l {
		x, good := readService(item)
		ok = ok && good
		e.services = append(e.services, x)
	}
	if !ok {
		e.add("Services must be a list of service instances")
	}
}

// readService reads a name, or an object of a name and at most parameters and the name of the binding.
func readService(item any) (x service, ok bool) {
	if s, ok := item.(string); ok {
		return service{name: s}, true
	}
	o, isObj := item.(tree.Obj)
	if !isObj || !o.Has("name") || cc.UnknownFields(o, "name", "parameters", "binding_name") != "" {
		return x, false
	}
	x = service{name: psych.Text(o.Get("name"))}
	if p, has := o.Lookup("parameters"); has {
		if _, isObj := p.(tree.Obj); !isObj {
			return x, false
		}
		x.parameters = p
	}
	if b, has := o.Lookup("binding_name"); has {
		if x.binding, ok = b.(string); !ok {
			return x, false
		}
	}
	return x, true
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
	ok = ok && len(f) > 0
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
