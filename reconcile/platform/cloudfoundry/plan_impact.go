package cloudfoundry

import (
	"fmt"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// judge says what a change costs the people who use the app, and why where that is not obvious. The source is
// the section "Updating Actual State" of the V3 reference: whatever is not named there takes a restart.
func judge(c diff.Change) (diff.Impact, string) {
	keys := manifest.SplitPointer(c.Path)
	switch c.Ref.Kind {
	case manifest.KindApp:
		return judgeApp(c, keys)
	case manifest.KindRoute:
		return judgeRoute(c, keys)
	case manifest.KindServiceBinding:
		return judgeBinding(keys)
	}
	return diff.ImpactImpossible, fmt.Sprintf("a %s is not managed yet; create or change it by hand", c.Ref.Kind)
}

func judgeApp(c diff.Change, keys []string) (diff.Impact, string) {
	if len(keys) == 0 {
		if c.Op == diff.Remove {
			return diff.ImpactInPlace, "deletes the app; its routes stay, unless they are deleted too"
		}
		return diff.ImpactInPlace, "creates the app"
	}
	switch keys[0] {
	case "lifecycle":
		if was, value, changed := lifecycleTypes(c, keys); changed {
			return diff.ImpactImpossible, fmt.Sprintf("an app of lifecycle %s cannot become one of lifecycle %s; "+
				"declare it under another name, or delete the app (cf delete %s) and apply again", was, value, c.Ref.Name())
		}
		return diff.ImpactRestage, ""
	case "package":
		return diff.ImpactRestage, ""
	case "droplet":
		return diff.ImpactRestart, "rolls out another droplet, without staging"
	case "metadata":
		return diff.ImpactNone, ""
	case "features":
		if len(keys) > 1 && keys[1] == "revisions" {
			return diff.ImpactInPlace, "counts from the next revision on"
		}
		return diff.ImpactRestart, ""
	case "processes":
		return judgeProcess(c, keys)
	case "routed":
		if c.Value == false {
			return diff.ImpactInPlace, "unmaps every route of the app; the routes themselves stay"
		}
		return diff.ImpactInPlace, ""
	case "state":
		if c.Value == "STOPPED" {
			return diff.ImpactInPlace, "stops the app"
		}
		return diff.ImpactInPlace, "starts the app"
	case "rollout":
		if c.Was == rolloutInProgress {
			return diff.ImpactInPlace, "waits for the deployment that is in progress"
		}
		return diff.ImpactRestart, "running instances have not seen the last change of the configuration"
	}
	return diff.ImpactRestart, "" // environment variables, sidecars
}

// lifecycleTypes finds both lifecycle types where a change replaces one by another.
func lifecycleTypes(c diff.Change, keys []string) (was, value any, changed bool) {
	switch {
	case len(keys) == 2 && keys[1] == "type":
		was, value = c.Was, c.Value
	case len(keys) == 1:
		if m, ok := c.Was.(map[string]any); ok {
			was = m["type"]
		}
		if m, ok := c.Value.(map[string]any); ok {
			value = m["type"]
		}
	}
	return was, value, was != nil && value != nil && was != value
}

func judgeProcess(c diff.Change, keys []string) (diff.Impact, string) {
	switch {
	case len(keys) == 2 && c.Op == diff.Remove && keys[1] == "web":
		return diff.ImpactImpossible, "every app has a process web; declare `instances: 0` if it shall not run"
	case len(keys) == 2 && c.Op == diff.Remove:
		return diff.ImpactInPlace, "scaled to 0 instances: the API cannot delete a process type"
	case len(keys) == 2 && c.Op == diff.Add:
		return diff.ImpactInPlace, "starts beside the other processes"
	case len(keys) > 2 && keys[2] == "metadata":
		return diff.ImpactNone, ""
	case len(keys) == 3 && keys[2] == "instances":
		return diff.ImpactInPlace, ""
	}
	return diff.ImpactRestart, ""
}

func judgeRoute(c diff.Change, keys []string) (diff.Impact, string) {
	switch {
	case len(keys) == 0 && c.Op == diff.Add:
		if spec, ok := c.Value.(map[string]any); ok {
			if all, ok := spec["destinations"].(map[string]any); ok && anyPort(all) {
				return diff.ImpactRestart, "a destination with a port of its own"
			}
		}
		return diff.ImpactInPlace, "creates the route"
	case len(keys) == 0:
		return diff.ImpactInPlace, "deletes the route"
	case keys[0] == "metadata":
		return diff.ImpactNone, ""
	case keys[0] != "destinations":
		return diff.ImpactInPlace, ""
	case c.Op == diff.Remove && len(keys) <= 2:
		return diff.ImpactInPlace, "unmaps the route; the route itself stays"
	case len(keys) == 3 && keys[2] == "port":
		return diff.ImpactRestart, "a destination with a port of its own"
	case len(keys) == 2:
		if d, ok := c.Value.(map[string]any); ok && !ordinaryPort(d) {
			return diff.ImpactRestart, "a destination with a port of its own"
		}
	}
	return diff.ImpactInPlace, ""
}

func anyPort(destinations map[string]any) bool {
	for _, v := range destinations {
		if d, ok := v.(map[string]any); ok && !ordinaryPort(d) {
			return true
		}
	}
	return false
}

func judgeBinding(keys []string) (diff.Impact, string) {
	switch {
	case len(keys) == 0:
		return diff.ImpactRestart, ""
	case keys[0] == "metadata":
		return diff.ImpactNone, ""
	}
	if keys[0] == parametersInput {
		return diff.ImpactRecreate, "a binding takes parameters only when it is made: it is made anew, then the app restarts"
	}
	return diff.ImpactRecreate, "a binding is renamed by making it anew, then the app restarts"
}
