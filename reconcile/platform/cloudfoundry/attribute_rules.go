package cloudfoundry

import (
	"encoding/json"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Which events explain which field (observed on a controller of API 3.228; an applied manifest leaves the events of
// its parts too, marked manifest_triggered, so that it has to be looked into only for what has no event of its own):
//
//	field                                        event                                        it tells
//	app gone                                     audit.app.delete-request                     the name
//	environment_variables                        audit.app.update, apply_manifest             that, not which
//	metadata, lifecycle                          audit.app.update                             key and value
//	processes: instances, sizes                  audit.app.process.scale, deployment.create   key and value
//	processes: command, user, health checks      audit.app.process.update                     the key
//	features, sidecars                           apply_manifest, else none                    the key
//	package                                      audit.app.droplet.mapped                     that
//	state                                        audit.app.stop, start, restart               all
//	rollout                                      audit.app.deployment.create                  that
//	routes and destinations                      audit.route.*, audit.app.(un)map-route       route, app, process
//	options, metadata, protocols of these        none since V3
//	service bindings                             audit.service_binding.*                      app, instance
//	service instances, keys, route bindings      audit.(user_provided_)service_*              key and value, not which credential
//	service bindings of an app that was deleted  audit.app.delete-request                     the name
//
// A deployment of type rollback resets environment, commands, sidecars and droplet.
func explanationOf(c diff.Change, obs platform.Observation) explanation {
	x := explanation{space: obs.IDs[manifest.Ref{Kind: manifest.KindSpace, Path: c.Ref.Space()}]}
	switch c.Ref.Kind {
	case manifest.KindApp:
		x.app(c, obs.IDs[c.Ref])
	case manifest.KindRoute:
		x.route(c, obs)
	case manifest.KindServiceBinding:
		x.binding(c, obs)
	case manifest.KindServiceInstance:
		x.instance(c, obs)
	case manifest.KindServiceKey, manifest.KindServiceRouteBinding:
		x.hanging(c, obs)
	}
	return x
}

const (
	appUpdate     = "audit.app.update"
	applyManifest = "audit.app.apply_manifest"
	deployment    = "audit.app.deployment.create"
	processScale  = "audit.app.process.scale"
	processUpdate = "audit.app.process.update"
	processCreate = "audit.app.process.create"
	mapRoute      = "audit.app.map-route"
	unmapRoute    = "audit.app.unmap-route"
)

func (x *explanation) add(note string, match func(*event) clue, types ...string) {
	x.rules = append(x.rules, rule{types: types, match: match, note: note})
}

// app finds the rules for a change of an app.
func (x *explanation) app(c diff.Change, guid string) {
	keys := manifest.SplitPointer(c.Path)
	if len(keys) == 0 {
		x.silent = "perhaps it was renamed, or never was there"
		x.add("", func(e *event) clue { return when(strings.EqualFold(e.Target.Name, c.Ref.Name()), named) }, "audit.app.delete-request")
		return
	}
	about := func(match func(*event) clue) func(*event) clue {
		return func(e *event) clue {
			if e.Target.GUID != guid {
				return nothing
			}
			return match(e)
		}
	}
	rollback := func() {
		x.add("the app was rolled back to an earlier revision, which resets this too",
			about(func(e *event) clue { return when(deref(e.Data.Type) == "rollback", possible) }), deployment)
	}
	switch keys[0] {
	case "environment_variables":
		x.add("the event does not name the variable", about(func(e *event) clue {
			_, there := e.request["environment_variables"]
			return when(there && !e.Data.ManifestTriggered, possible)
		}), appUpdate)
		x.add("the event does not name the variable", about(func(e *event) clue { return when(e.applied("env") != nil, possible) }), applyManifest)
		rollback()
	case "metadata", "lifecycle":
		x.appUpdate(c, keys, about)
	case "features":
		x.silent = "switching a feature leaves no audit event"
		x.add("", about(func(e *event) clue { return e.names(e.applied("features"), keys[1:], c.Was) }), applyManifest)
	case "sidecars":
		x.silent = "changing a sidecar leaves no audit event"
		x.add("", about(func(e *event) clue { return e.lists(e.applied("sidecars"), "name", keys[1:]) }), applyManifest)
		rollback()
	case "processes":
		x.process(c, keys, about)
		rollback()
	case "package", "droplet":
		x.add("", about(func(*event) clue { return named }), "audit.app.droplet.mapped")
		x.add("a deployment may bring another droplet", about(func(*event) clue { return possible }), deployment)
	case "state":
		if c.Was == "STOPPED" {
			x.add("", about(func(*event) clue { return proven }), "audit.app.stop")
			x.silent = "perhaps it was never started"
		} else {
			x.add("", about(func(*event) clue { return proven }), "audit.app.start", "audit.app.restart")
			x.add("a deployment starts an app that is stopped", about(func(*event) clue { return possible }), deployment)
		}
	case "rollout":
		x.add("", about(func(*event) clue { return named }), deployment)
	case "routed":
		x.add("", about(func(*event) clue { return named }), mapRoute, unmapRoute)
	}
}

// appUpdate: labels, annotations, buildpacks and stack stand in the event as they were asked for.
func (x *explanation) appUpdate(c diff.Change, keys []string, about func(func(*event) clue) func(*event) clue) {
	inRequest := keys
	if keys[0] == "lifecycle" && len(keys) > 1 && keys[1] != "type" {
		inRequest = append([]string{"lifecycle", "data"}, keys[1:]...)
	}
	x.add("", about(func(e *event) clue { return e.names(e.request[inRequest[0]], inRequest[1:], c.Was) }), appUpdate)
	if keys[0] == "lifecycle" {
		x.add("the manifest names buildpacks or the stack", about(func(e *event) clue {
			return when(e.applied("buildpacks") != nil || e.applied("buildpack") != nil || e.applied("stack") != nil, possible)
		}), applyManifest)
	}
}

// process finds the rules for a change below /processes/TYPE.
func (x *explanation) process(c diff.Change, keys []string, about func(func(*event) clue) func(*event) clue) {
	ofType := func(match func(*event) clue) func(*event) clue {
		return about(func(e *event) clue {
			if len(keys) > 1 && e.Data.ProcessType != keys[1] {
				return nothing
			}
			return match(e)
		})
	}
	if len(keys) < 3 {
		x.add("", ofType(func(*event) clue { return named }), processCreate, "audit.app.process.delete")
		x.add("a new droplet brings its own process types", about(func(*event) clue { return possible }), "audit.app.droplet.mapped")
		return
	}
	switch field := keys[2]; field {
	case "instances", "memory_in_mb", "disk_in_mb", "log_rate_limit_in_bytes_per_second":
		x.add("", ofType(func(e *event) clue { return e.names(e.request, []string{field}, c.Was) }), processScale)
		if keys[1] == "web" {
			option := strings.Replace(field, "instances", "web_instances", 1)
			x.add("", about(func(e *event) clue { return e.names(e.request["options"], []string{option}, c.Was) }), deployment)
		}
	default:
		// By itself {"health_check": {"type": …}}, from a manifest {"health_check_type": …}.
		x.add("", ofType(func(e *event) clue {
			for key := range e.request {
				if key == field || strings.HasPrefix(key, field+"_") {
					return named
				}
			}
			return nothing
		}), processUpdate)
	}
}

// route finds the rules for a change of a route. Events of destinations have the app as target.
func (x *explanation) route(c diff.Change, obs platform.Observation) {
	guid := obs.IDs[c.Ref]
	keys := manifest.SplitPointer(c.Path)
	onRoute := func(e *event) clue { return when(guid != "" && e.Target.GUID == guid, named) }
	switch {
	case len(keys) == 0 && c.Op == diff.Add: // the route is gone; its event knows the host alone
		host, _, _ := strings.Cut(c.Ref.Name(), ".")
		x.add("the event names the host and not the domain", func(e *event) clue {
			return when(strings.EqualFold(e.Target.Name, host), possible)
		}, "audit.route.delete-request")
	case len(keys) == 0:
		x.add("", onRoute, "audit.route.create")
		x.add("", func(e *event) clue { return when(guid != "" && e.Data.RouteGUID == guid, named) }, mapRoute)
	case keys[0] == "destinations":
		var app, process string
		if len(keys) > 1 {
			var name string
			name, process = splitDestination(keys[1])
			app = obs.IDs[c.Ref.Child(manifest.KindApp, name)]
		}
		types := []string{mapRoute}
		if c.Op == diff.Add && len(keys) < 3 {
			types = []string{unmapRoute}
		} else if len(keys) > 2 {
			types = []string{mapRoute, unmapRoute} // another port is another destination
			if keys[2] == "protocol" {
				x.silent = "changing the protocol of a destination leaves no audit event"
			}
		}
		x.add("", func(e *event) clue {
			if guid == "" || e.Data.RouteGUID != guid || app != "" && e.Target.GUID != app || process != "" && e.Data.ProcessType != process {
				return nothing
			}
			return named
		}, types...)
	default:
		x.silent = "changing options or metadata of a route leaves no audit event"
		x.add("", func(e *event) clue {
			if onRoute(e) == nothing {
				return nothing
			}
			return max(possible, e.names(e.request[keys[0]], keys[1:], c.Was))
		}, "audit.route.update")
	}
}

// binding finds the rules for a change of a service binding.
func (x *explanation) binding(c diff.Change, obs platform.Observation) {
	app, instance, _ := strings.Cut(c.Ref.Name(), "/")
	appGUID := obs.IDs[c.Ref.Child(manifest.KindApp, app)]
	instanceGUID := obs.IDs[c.Ref.Child(manifest.KindServiceInstance, instance)]
	if c.Op == diff.Add {
		x.add("the service instance is gone as well, so the event may be about another binding of the app", func(e *event) clue {
			switch {
			case appGUID == "" || e.request["app_guid"] != appGUID:
				return nothing
			case instanceGUID == "":
				return possible
			}
			return when(e.request["service_instance_guid"] == instanceGUID, named)
		}, "audit.service_binding.delete", "audit.service_binding.start_delete")
		x.add("", func(e *event) clue {
			return when(e.Target.GUID != appGUID && strings.EqualFold(e.Target.Name, app), named)
		}, "audit.app.delete-request")
		return
	}
	guid := obs.IDs[c.Ref]
	x.add("", func(e *event) clue { return when(guid != "" && e.Target.GUID == guid, named) },
		"audit.service_binding.create", "audit.service_binding.start_create", "audit.service_binding.update")
}

func when(is bool, c clue) clue {
	if is {
		return c
	}
	return nothing
}

// event is an audit event with its request taken apart.
type event struct {
	ccv3.AuditEvent
	request  map[string]any // JSON
	manifest map[string]any // of apply_manifest: the app's part
}

func newEvent(e ccv3.AuditEvent) *event {
	ev := &event{AuditEvent: e}
	_ = json.Unmarshal(e.Data.Request, &ev.request) // some events have none, or null
	if text, ok := ev.request["manifest"].(string); ok && e.Type == applyManifest {
		var doc struct {
			Applications []map[string]any `yaml:"applications"`
		}
		if yaml.Unmarshal([]byte(text), &doc) == nil && len(doc.Applications) > 0 {
			ev.manifest = doc.Applications[0]
		}
	}
	return ev
}

// applied is what an applied manifest said of a key.
func (e *event) applied(key string) any { return e.manifest[key] }

// names reports whether the tree holds the keys, and whether it sets there the value that lives now. A removal
// stands there as null.
func (e *event) names(tree any, keys []string, live any) clue {
	if tree == nil {
		return nothing
	}
	for _, k := range keys {
		m, ok := tree.(map[string]any)
		if !ok {
			return nothing
		}
		if tree, ok = m[k]; !ok {
			return nothing
		}
	}
	if sameValue(tree, live) {
		return proven
	}
	return named
}

// lists reports whether a list of maps has an element whose key is the first of keys.
func (e *event) lists(tree any, key string, keys []string) clue {
	elements, _ := tree.([]any)
	if len(elements) == 0 {
		return nothing
	}
	return when(len(keys) == 0 || slices.ContainsFunc(elements, func(v any) bool {
		m, _ := v.(map[string]any)
		return m[key] == keys[0]
	}), named)
}

// sameValue compares what came as JSON with a value in canonical form. Maps are compared by nobody: an update names
// only a part of them.
func sameValue(v, live any) bool {
	switch v := v.(type) {
	case float64:
		n, ok := live.(int64)
		return ok && float64(n) == v
	case []any:
		l, ok := live.([]any)
		return ok && slices.EqualFunc(v, l, sameValue)
	case map[string]any:
		return false
	}
	if _, isMap := live.(map[string]any); isMap {
		return false
	}
	if _, isList := live.([]any); isList {
		return false
	}
	return v == live
}
