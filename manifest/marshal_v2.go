package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// MarshalV2 writes objects of one space as a manifest of version 2. Texts are quoted and there are no anchors, as in
// MarshalV1. Load reads the result back as the same objects, but for [NotInV2] and for ownership, which version 2 has
// exact. Neither the org nor the space is written, so that the manifest can be applied elsewhere.
//
// It writes the secrets that objects hold: environment variables, credentials, passwords of registries.
func MarshalV2(objects []*Object) ([]byte, error) {
	sorted := slices.SortedFunc(slices.Values(objects), func(a, b *Object) int { return a.Ref.Compare(b.Ref) })
	lists := map[string][]*yaml.Node{}
	for _, o := range sorted {
		if first := sorted[0].Ref.Space(); o.Ref.Space() != first {
			return nil, fmt.Errorf("a manifest of one space cannot hold %s and %s", sorted[0].Ref, o.Ref)
		}
		key, node, err := v2Entry(o)
		if err != nil {
			return nil, err
		}
		lists[key] = append(lists[key], node)
	}
	doc := mapNode("version", 2)
	if prune := prunedIn(sorted); len(prune.Content) > 0 {
		appendPair(doc, "meta", mapNode("prune", prune))
	}
	keys := []string{"apps", "routes", "service_instances", "service_bindings"}
	if len(sorted) == 0 {
		lists["apps"] = []*yaml.Node{}
	}
	for _, key := range keys {
		if list, ok := lists[key]; ok {
			appendPair(doc, key, quoted(list))
		}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(doc); err != nil {
		return nil, fmt.Errorf("writing a manifest of version 2: %w", err)
	}
	return out.Bytes(), nil
}

func v2Entry(o *Object) (list string, entry *yaml.Node, err error) {
	switch o.Ref.Kind {
	case KindApp:
		entry, err = v2App(o)
		return "apps", entry, err
	case KindRoute:
		return "routes", v2Route(o), nil
	case KindServiceInstance:
		return "service_instances", v2Instance(o), nil
	case KindServiceBinding, KindServiceKey, KindServiceRouteBinding:
		return "service_bindings", v2Binding(o), nil
	}
	return "", nil, fmt.Errorf("a manifest of version 2 cannot say %s", o.Ref)
}

// prunedIn makes meta.prune of what the objects say of themselves.
func prunedIn(objects []*Object) *yaml.Node {
	prune := mapNode()
	for _, key := range slices.Sorted(maps.Keys(prunedKinds)) {
		if slices.ContainsFunc(objects, func(o *Object) bool { return slices.Contains(prunedKinds[key], o.Ref.Kind) && o.Ownership[""] == Exact }) {
			appendPair(prune, key, true)
		}
	}
	return prune
}

// NotInV2 says what the objects, read from a manifest of version 1, declare and version 2 has no word for.
func NotInV2(objects []*Object) Problems {
	var lost Problems
	for _, o := range objects {
		note := func(pointer, message, hint string) {
			lost = append(lost, Problem{Origin: o.FieldOrigin(pointer), Severity: SeverityWarning, Rule: "not-carried-over", Ref: &o.Ref, Message: o.Ref.words() + ": " + message, Hint: hint})
		}
		if o.Ref.Kind != KindApp {
			continue
		}
		switch {
		case o.Inputs["random_route"] == true:
			note("/routed", "random-route is not carried over: version 2 names every route", "add the route under routes:, with this app as its destination")
		case o.Inputs["default_route"] == true:
			note("/routed", "default-route is not carried over: version 2 names every route", "add the route under routes:, with this app as its destination")
		case o.Spec["routed"] == false:
			note("/routed", "no-route is not carried over: in version 2 an app is unmapped by the routes", "write destinations: [] at the routes that shall not lead to it")
		}
	}
	return lost.sorted()
}

// pick copies values that are there, in the order of the pairs: the key to write, and where it stands in from.
func pick(into *yaml.Node, from map[string]any, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if v, ok := from[pairs[i+1]]; ok && v != nil && v != "" {
			appendPair(into, pairs[i], v)
		}
	}
}

// pickMetadata copies labels and annotations, if there are any.
func pickMetadata(into *yaml.Node, from map[string]any) {
	if m, _ := from["metadata"].(map[string]any); len(m) > 0 {
		appendPair(into, "metadata", m)
	}
}

func v2App(o *Object) (*yaml.Node, error) {
	n := mapNode("name", o.Ref.Name())
	pkg, hasPackage := o.Spec["package"].(map[string]any)
	droplet, hasDroplet := o.Spec["droplet"].(map[string]any)
	if state, ok := o.Spec["state"]; ok && (state != "STARTED" || !hasPackage && !hasDroplet) {
		appendPair(n, "state", state)
	}
	if hasPackage {
		entry := v2File(pkg, o.Inputs, "path", "package_credentials")
		if pkg["type"] == "docker" {
			docker := mapNode()
			pick(docker, pkg, "image", "image")
			credentials := map[string]any{}
			maps.Copy(credentials, map[string]any{"username": pkg["username"], "password": o.Inputs["docker_password"]})
			appendCredentials(docker, credentials)
			entry = mapNode("docker", docker)
		}
		pickMetadata(entry, pkg)
		if len(entry.Content) > 0 {
			appendPair(n, "package", entry)
		}
	}
	if hasDroplet {
		appendPair(n, "droplet", v2File(droplet, o.Inputs, "droplet_path", "droplet_credentials"))
	}
	lifecycle, err := v2Lifecycle(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Ref, err)
	}
	if len(lifecycle.Content) > 0 {
		appendPair(n, "lifecycle", lifecycle)
	}
	for _, key := range []string{"environment_variables", "features"} {
		if v, ok := o.Spec[key].(map[string]any); ok && (key != "features" || len(v) > 0) {
			appendPair(n, key, v)
		}
	}
	if m := withSettings(o.Spec["metadata"], o.Settings); len(m) > 0 {
		appendPair(n, "metadata", m)
	}
	if processes, ok := o.Spec["processes"].(map[string]any); ok {
		list := []*yaml.Node{}
		for _, name := range slices.Sorted(maps.Keys(processes)) {
			process, _ := processes[name].(map[string]any)
			list = append(list, v2Process(name, process))
		}
		appendPair(n, "processes", quoted(list))
	}
	if sidecars, ok := o.Spec["sidecars"].(map[string]any); ok {
		list := []*yaml.Node{}
		for _, name := range slices.Sorted(maps.Keys(sidecars)) {
			sidecar, _ := sidecars[name].(map[string]any)
			list = append(list, v2Sidecar(name, sidecar))
		}
		appendPair(n, "sidecars", quoted(list))
	}
	return n, nil
}

// v2File writes where the bits of a package or a droplet come from.
func v2File(spec, inputs map[string]any, path, credentials string) *yaml.Node {
	entry := mapNode()
	pick(entry, inputs, "path", path)
	if _, local := inputs[path]; local {
		return entry
	}
	pick(entry, spec, "path", "url")
	if sum, ok := spec["checksum"].(string); ok {
		appendPair(entry, "checksum", mapNode("type", "sha256", "value", strings.TrimPrefix(sum, "sha256:")))
	}
	if c, ok := inputs[credentials].(map[string]any); ok {
		appendCredentials(entry, c)
	}
	return entry
}

func appendCredentials(n *yaml.Node, c map[string]any) {
	entry := mapNode("type", "basic")
	pick(entry, c, "username", "username", "password", "password")
	if len(entry.Content) > 2 {
		appendPair(n, "access_credentials", quoted([]*yaml.Node{entry}))
	}
}

func v2Lifecycle(o *Object) (*yaml.Node, error) {
	n := mapNode()
	spec, _ := o.Spec["lifecycle"].(map[string]any)
	if spec["type"] != "docker" || o.Spec["droplet"] != nil {
		pick(n, spec, "type", "type")
	}
	if names, ok := spec["buildpacks"].([]any); ok {
		otherwise, _ := o.Inputs["buildpack_fallbacks"].(map[string]any)
		list := []*yaml.Node{}
		for _, b := range names {
			name, _ := b.(string)
			entry := mapNode("name", name)
			if strings.Contains(name, "://") {
				entry = mapNode("url", name)
			}
			pick(entry, otherwise, "url", name)
			list = append(list, entry)
		}
		appendPair(n, "buildpacks", quoted(list))
	}
	if stack, ok := spec["stack"]; ok && stack != nil {
		appendPair(n, "stack", mapNode("name", stack))
	}
	registries, ok := o.Inputs["cnb_credentials"].(map[string]any)
	if !ok {
		return n, nil
	}
	list := []*yaml.Node{}
	for _, host := range slices.Sorted(maps.Keys(registries)) {
		c, _ := registries[host].(map[string]any)
		kind := "basic"
		if c["token"] != nil {
			kind = "token"
		}
		needed := map[string][]string{"basic": {"password", "username"}, "token": {"token"}}[kind]
		if !slices.Equal(slices.Sorted(maps.Keys(c)), needed) {
			return nil, fmt.Errorf("version 2 knows credentials of registries with username and password or with token; those of %s have other keys", host)
		}
		entry := mapNode("type", kind, "url", host)
		pick(entry, c, "username", "username", "password", "password", "token", "token")
		list = append(list, entry)
	}
	if len(list) > 0 {
		appendPair(n, "access_credentials", quoted(list))
	}
	return n, nil
}

func v2Process(name string, process map[string]any) *yaml.Node {
	n := mapNode("type", name)
	if command, ok := process["command"]; ok && command != "" {
		appendPair(n, "command", command)
	}
	pick(n, process, "user", "user")
	scale := mapNode()
	pick(scale, process, "instances", "instances")
	for _, size := range [][2]string{{"memory", "memory_in_mb"}, {"disk", "disk_in_mb"}} {
		if mb, ok := process[size[1]].(int64); ok {
			appendPair(scale, size[0], FormatMegabytes(mb))
		}
	}
	if rate, ok := process["log_rate_limit_in_bytes_per_second"].(int64); ok {
		if rate > 0 {
			appendPair(scale, "log_rate_limit_per_second", FormatLogRate(rate))
		} else {
			appendPair(scale, "log_rate_limit_per_second", rate)
		}
	}
	checks := mapNode()
	for _, check := range [][2]string{{"liveness", "health_check"}, {"readiness", "readiness_health_check"}} {
		spec, _ := process[check[1]].(map[string]any)
		entry := mapNode()
		pick(entry, spec, "type", "type", "timeout", "timeout", "invocation_timeout", "invocation_timeout", "interval", "interval")
		if kind, ok := spec["type"]; !ok || kind == "http" {
			pick(entry, spec, "http_endpoint", "http_endpoint")
		}
		if len(entry.Content) > 0 {
			appendPair(checks, check[0], entry)
		}
	}
	if len(scale.Content) > 0 {
		appendPair(n, "scale", scale)
	}
	if len(checks.Content) > 0 {
		appendPair(n, "health_checks", checks)
	}
	pickMetadata(n, process)
	return n
}

func v2Sidecar(name string, sidecar map[string]any) *yaml.Node {
	n := mapNode("name", name)
	pick(n, sidecar, "command", "command")
	types, _ := sidecar["process_types"].([]any)
	list := []*yaml.Node{}
	for _, t := range types {
		list = append(list, mapNode("type", t))
	}
	appendPair(n, "processes", quoted(list))
	if mb, ok := sidecar["memory_in_mb"].(int64); ok {
		appendPair(n, "scale", mapNode("memory", FormatMegabytes(mb)))
	}
	return n
}

func v2Route(o *Object) *yaml.Node {
	var url any = o.Ref.Name()
	if written, ok := o.Inputs["url"]; ok {
		url = written
	}
	n := mapNode("url", url)
	pick(n, o.Inputs, "shared", "shared")
	if destinations, ok := o.Spec["destinations"].(map[string]any); ok {
		list := []*yaml.Node{}
		for _, key := range slices.Sorted(maps.Keys(destinations)) {
			i := strings.LastIndexByte(key, '/')
			app := mapNode("name", key[:max(i, 0)])
			if process := key[i+1:]; process != web {
				appendPair(app, "process", mapNode("type", process))
			}
			entry := mapNode("app", app)
			d, _ := destinations[key].(map[string]any)
			pick(entry, d, "port", "port", "protocol", "protocol")
			list = append(list, entry)
		}
		appendPair(n, "destinations", quoted(list))
	}
	if options, _ := o.Spec["options"].(map[string]any); len(options) > 0 {
		appendPair(n, "options", options)
	}
	pickMetadata(n, o.Spec)
	return n
}

func v2Instance(o *Object) *yaml.Node {
	n := mapNode("name", o.Ref.Name())
	if o.Spec["type"] != "managed" {
		pick(n, o.Spec, "type", "type")
	}
	for _, key := range managedKeys[:2] {
		if name, ok := o.Spec[key]; ok {
			appendPair(n, key, mapNode("name", name))
		}
	}
	pick(n, o.Inputs, "parameters", "parameters")
	pick(n, o.Spec, "maintenance_info", "maintenance_info", "tags", "tags", "credentials", "credentials")
	for _, key := range userProvidedKeys[1:] {
		if url, ok := o.Spec[key+"_url"]; ok {
			appendPair(n, key, mapNode("url", url))
		}
	}
	if spaces, ok := o.Spec["share_to"].(map[string]any); ok {
		list := []*yaml.Node{}
		for _, place := range slices.Sorted(maps.Keys(spaces)) {
			org, space, _ := strings.Cut(place, "/")
			list = append(list, mapNode("org", org, "space", space))
		}
		appendPair(n, "share_to", quoted(list))
	}
	pickMetadata(n, o.Spec)
	return n
}

func v2Binding(o *Object) *yaml.Node {
	kind := map[Kind]string{KindServiceBinding: "app", KindServiceKey: "key", KindServiceRouteBinding: "route"}[o.Ref.Kind]
	n := mapNode("type", kind, "service_instance", mapNode("name", o.Spec["service_instance"]))
	if app, ok := o.Spec["app"]; ok {
		appendPair(n, "app", mapNode("name", app))
	}
	if url, ok := o.Spec["route"]; ok {
		appendPair(n, "route", mapNode("url", url))
	}
	pick(n, o.Spec, "name", "name")
	pick(n, o.Inputs, "parameters", "parameters")
	pickMetadata(n, o.Spec)
	return n
}
