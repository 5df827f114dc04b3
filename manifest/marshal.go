package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// MarshalV1 writes one app, with the routes and the service bindings among objects that belong to it, as a v1
// manifest. Every text is quoted, so that each reader of YAML, of whatever version, gets the same values, and
// there are no anchors. Load reads the result back as the same objects.
//
// What a v1 manifest cannot say is an error where it would change what is applied: a destination that is not
// the process web, or its port. What only Fettle knows (state, rollout, the package's digest) is left out.
func MarshalV1(objects []*Object) ([]byte, error) {
	var app *Object
	for _, o := range objects {
		if o.Ref.Kind == KindApp {
			if app != nil {
				return nil, fmt.Errorf("a v1 manifest of one app cannot hold %s and %s", app.Ref, o.Ref)
			}
			app = o
		}
	}
	if app == nil {
		return nil, fmt.Errorf("a v1 manifest needs an app, and there is none among %d objects", len(objects))
	}
	w := v1Writer{name: app.Ref.Name(), app: app}
	node := w.application()
	if err := w.attached(node, objects); err != nil {
		return nil, fmt.Errorf("%s: %w", app.Ref, err)
	}
	doc := mapNode("version", 1, "applications", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{node}})
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(doc); err != nil {
		return nil, fmt.Errorf("%s: %w", app.Ref, err)
	}
	return out.Bytes(), nil
}

type v1Writer struct {
	name string
	app  *Object
}

// mapNode makes a mapping of keys, which are written plainly, and values.
func mapNode(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i+1 < len(pairs); i += 2 {
		appendPair(n, pairs[i].(string), pairs[i+1])
	}
	return n
}

func appendPair(n *yaml.Node, key string, value any) {
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: tagStr, Value: key}, quoted(value))
}

// quoted makes a node whose texts, keys of maps too, are in double quotes.
func quoted(value any) *yaml.Node {
	switch v := value.(type) {
	case *yaml.Node:
		return v
	case []*yaml.Node:
		return &yaml.Node{Kind: yaml.SequenceNode, Content: v}
	}
	n := nodeOf(value)
	if (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}

// field is the value at keys of the app's Spec.
func (w *v1Writer) field(keys ...string) (any, bool) { return Lookup(w.app.Spec, Pointer(keys...)) }

func (w *v1Writer) application() *yaml.Node {
	n := mapNode("name", w.name)
	copyField := func(key string, at ...string) {
		if v, ok := w.field(at...); ok {
			appendPair(n, key, v)
		}
	}
	if p, ok := w.app.Inputs["path"]; ok {
		appendPair(n, "path", p)
	}
	if kind, _ := w.field("lifecycle", "type"); kind != nil && kind != "docker" {
		appendPair(n, "lifecycle", kind)
	}
	copyField("buildpacks", "lifecycle", "buildpacks")
	copyField("stack", "lifecycle", "stack")
	if c, ok := w.app.Inputs["cnb_credentials"]; ok {
		appendPair(n, "cnb-credentials", c)
	}
	if kind, _ := w.field("package", "type"); kind == "docker" {
		docker := mapNode()
		for _, key := range []string{"image", "username"} {
			if v, ok := w.field("package", key); ok && v != "" {
				appendPair(docker, key, v)
			}
		}
		appendPair(n, "docker", docker)
	}
	if env, ok := w.field("environment_variables"); ok {
		appendPair(n, "env", env)
	}
	if features, ok := w.field("features"); ok && len(features.(map[string]any)) > 0 {
		appendPair(n, "features", features)
	}
	metadata, _ := w.field("metadata")
	if m := withSettings(metadata, w.app.Settings); len(m) > 0 {
		appendPair(n, "metadata", m)
	}
	w.processes(n)
	w.sidecars(n)
	w.routed(n)
	return n
}

func (w *v1Writer) routed(n *yaml.Node) {
	switch routed, ok := w.field("routed"); {
	case !ok:
	case routed == false:
		appendPair(n, "no-route", true)
	case w.app.Inputs["random_route"] == true:
		appendPair(n, "random-route", true)
	case w.app.Inputs["default_route"] == true:
		appendPair(n, "default-route", true)
	}
}

// What a process's fields are called in a v1 manifest, in the order in which they are written.
var v1ProcessFields = []struct {
	key string
	at  []string
}{
	{"command", []string{"command"}},
	{"user", []string{"user"}},
	{"instances", []string{"instances"}},
	{"memory", []string{"memory_in_mb"}},
	{"disk_quota", []string{"disk_in_mb"}},
	{"log-rate-limit-per-second", []string{"log_rate_limit_in_bytes_per_second"}},
	{"timeout", []string{"health_check", "timeout"}},
	{"health-check-type", []string{"health_check", "type"}},
	{"health-check-http-endpoint", []string{"health_check", "http_endpoint"}},
	{"health-check-invocation-timeout", []string{"health_check", "invocation_timeout"}},
	{"health-check-interval", []string{"health_check", "interval"}},
	{"readiness-health-check-type", []string{"readiness_health_check", "type"}},
	{"readiness-health-check-http-endpoint", []string{"readiness_health_check", "http_endpoint"}},
	{"readiness-health-check-invocation-timeout", []string{"readiness_health_check", "invocation_timeout"}},
	{"readiness-health-check-interval", []string{"readiness_health_check", "interval"}},
}

// V1ProcessPointer is where a process's field of a v1 manifest stands in canonical form, as a JSON pointer into the process:
// of "memory" it is "/memory_in_mb". It is "" for what is no such field.
func V1ProcessPointer(key string) string {
	for _, f := range v1ProcessFields {
		if f.key == key {
			return Pointer(f.at...)
		}
	}
	return ""
}

func (w *v1Writer) processes(n *yaml.Node) {
	processes, ok := w.field("processes")
	if !ok {
		return
	}
	list := []*yaml.Node{}
	for _, name := range slices.Sorted(maps.Keys(processes.(map[string]any))) {
		process, _ := processes.(map[string]any)[name].(map[string]any)
		entry := mapNode("type", name)
		for _, f := range v1ProcessFields {
			v, ok := Lookup(process, Pointer(f.at...))
			if !ok || v == nil && f.key != "command" || v == "" {
				continue
			}
			if f.key == "health-check-http-endpoint" || f.key == "readiness-health-check-http-endpoint" {
				if kind, ok := Lookup(process, Pointer(f.at[0], "type")); ok && kind != "http" {
					continue // refused by the controller, and without a meaning
				}
			}
			switch number, _ := v.(int64); f.key {
			case "memory", "disk_quota":
				v = FormatMegabytes(number)
			case "log-rate-limit-per-second":
				if v = FormatLogRate(number); number <= 0 {
					v = number
				}
			}
			appendPair(entry, f.key, v)
		}
		list = append(list, entry)
	}
	appendPair(n, "processes", quoted(list))
}

func (w *v1Writer) sidecars(n *yaml.Node) {
	sidecars, ok := w.field("sidecars")
	if !ok {
		return
	}
	list := []*yaml.Node{}
	for _, name := range slices.Sorted(maps.Keys(sidecars.(map[string]any))) {
		sidecar, _ := sidecars.(map[string]any)[name].(map[string]any)
		entry := mapNode("name", name)
		for _, key := range []string{"command", "process_types"} {
			if v, ok := sidecar[key]; ok {
				appendPair(entry, key, v)
			}
		}
		if mb, ok := sidecar["memory_in_mb"].(int64); ok {
			appendPair(entry, "memory", FormatMegabytes(mb))
		}
		list = append(list, entry)
	}
	appendPair(n, "sidecars", quoted(list))
}

// attached adds the routes and services of the app.
func (w *v1Writer) attached(n *yaml.Node, objects []*Object) error {
	var routes, services []*yaml.Node
	sorted := slices.SortedFunc(slices.Values(objects), func(a, b *Object) int { return a.Ref.Compare(b.Ref) })
	for _, o := range sorted {
		switch o.Ref.Kind {
		case KindRoute:
			entry, err := w.route(o)
			if err != nil {
				return err
			}
			if entry != nil {
				routes = append(routes, entry)
			}
		case KindServiceBinding:
			if o.Spec["app"] == w.name && o.Ref.Space() == w.app.Ref.Space() {
				services = append(services, w.service(o))
			}
		}
	}
	if len(routes) > 0 {
		appendPair(n, "routes", quoted(routes))
	}
	if len(services) > 0 {
		appendPair(n, "services", quoted(services))
	}
	return nil
}

// defaultPort is what the platform shows for a destination without a port of its own.
const defaultPort = 8080

func (w *v1Writer) route(o *Object) (*yaml.Node, error) {
	if o.Ref.Space() != w.app.Ref.Space() {
		return nil, nil
	}
	destinations, _ := o.Spec["destinations"].(map[string]any)
	var mine map[string]any
	for _, key := range slices.Sorted(maps.Keys(destinations)) {
		process, ours := strings.CutPrefix(key, w.name+"/")
		if !ours {
			continue
		}
		if process != web {
			return nil, fmt.Errorf("the route %s leads to the process %s; a v1 manifest can only say %s", o.Ref.Name(), process, web)
		}
		mine, _ = destinations[key].(map[string]any)
		if port, ok := mine["port"].(int64); ok && port != defaultPort && mine["protocol"] != "tcp" {
			return nil, fmt.Errorf("the route %s leads to port %s; a v1 manifest cannot say the port", o.Ref.Name(), strconv.FormatInt(port, 10))
		}
		if mine == nil {
			mine = map[string]any{}
		}
	}
	if mine == nil {
		return nil, nil
	}
	var url any = o.Ref.Name()
	if written, ok := o.Inputs["url"]; ok {
		url = written
	}
	entry := mapNode("route", url)
	if protocol, ok := mine["protocol"]; ok {
		appendPair(entry, "protocol", protocol)
	}
	if options, _ := o.Spec["options"].(map[string]any); len(options) > 0 {
		appendPair(entry, "options", options)
	}
	return entry, nil
}

func (w *v1Writer) service(o *Object) *yaml.Node {
	entry := mapNode("name", o.Spec["service_instance"])
	if name, ok := o.Spec["name"]; ok && name != nil && name != "" {
		appendPair(entry, "binding_name", name)
	}
	if p, ok := o.Inputs["parameters"]; ok {
		appendPair(entry, "parameters", p)
	}
	return entry
}
