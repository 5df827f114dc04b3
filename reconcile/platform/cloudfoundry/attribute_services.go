package cloudfoundry

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// instance finds the rules for a change of a service instance. What a broker is asked for leaves the event start_update,
// too; the names of both types of instances differ.
func (x *explanation) instance(c diff.Change, obs platform.Observation) {
	keys := manifest.SplitPointer(c.Path)
	guid := obs.IDs[c.Ref]
	of := func(what ...string) (types []string) {
		for _, w := range what {
			types = append(types, "audit.service_instance."+w, "audit.user_provided_service_instance."+w)
		}
		return types
	}
	about := func(match func(*event) clue) func(*event) clue {
		return func(e *event) clue {
			if guid == "" || e.Target.GUID != guid {
				return nothing
			}
			return match(e)
		}
	}
	switch {
	case len(keys) == 0 && c.Op == diff.Add:
		x.add("", func(e *event) clue { return when(strings.EqualFold(e.Target.Name, c.Ref.Name()), named) }, of("delete", "start_delete", "purge")...)
	case len(keys) == 0:
		x.add("", about(func(*event) clue { return named }), of("create", "start_create")...)
	case keys[0] == "share_to":
		x.add("the event does not name the space", about(func(*event) clue { return possible }), of("share", "unshare")...)
	case keys[0] == "service_plan" || keys[0] == "service_offering" || keys[0] == "maintenance_info":
		x.add("", about(func(e *event) clue {
			return when(e.request["relationships"] != nil || e.request["maintenance_info"] != nil, named)
		}), of("update", "start_update")...)
	case keys[0] == "credentials": // the event tells that, not which
		x.add("the event does not name the credential", about(func(e *event) clue {
			_, there := e.request["credentials"]
			return when(there, possible)
		}), of("update")...)
	default:
		x.add("", about(func(e *event) clue { return e.names(e.request, keys, c.Was) }), of("update", "start_update")...)
	}
}

// hanging finds the rules for a change of a service key or of a route binding.
func (x *explanation) hanging(c diff.Change, obs platform.Observation) {
	kind := map[manifest.Kind]string{manifest.KindServiceKey: "service_key", manifest.KindServiceRouteBinding: "service_route_binding"}[c.Ref.Kind]
	of := func(what ...string) (types []string) {
		for _, w := range what {
			types = append(types, "audit."+kind+"."+w)
		}
		return types
	}
	if c.Op == diff.Add && c.Path == "" {
		instance, rest, _ := strings.Cut(c.Ref.Name(), "/")
		route := obs.IDs[c.Ref.Child(manifest.KindRoute, rest)]
		guid := obs.IDs[c.Ref.Child(manifest.KindServiceInstance, instance)]
		x.silent = "perhaps it went with its route or its service instance"
		x.add("", func(e *event) clue {
			ids := []any{e.request["service_instance_guid"], e.request["route_guid"]}
			switch {
			case kind == "service_key" && e.Target.Name != rest, guid != "" && ids[0] != nil && ids[0] != guid, route != "" && ids[1] != nil && ids[1] != route:
				return nothing
			}
			return when(kind == "service_key" || slices.Contains(ids, any(route)) && route != "", named)
		}, of("delete", "start_delete")...)
		return
	}
	guid := obs.IDs[c.Ref]
	x.add("", func(e *event) clue { return when(guid != "" && e.Target.GUID == guid, named) }, of("create", "start_create", "update")...)
}
