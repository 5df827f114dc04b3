package cloudfoundry

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// ServerDiff asks the controller for its own comparison (POST /v3/spaces/:guid/manifest_diff, one request per space) and
// says where it differs from changes. It changes nothing, and needs the right to change the spaces all the same.
func (d *Driver) ServerDiff(ctx context.Context, desired manifest.Set, live platform.Observation, changes diff.Changes) (diff.Opinion, error) {
	o := opinion{Opinion: diff.Opinion{Disagreements: []diff.Disagreement{}, Unasked: []diff.Unasked{}}, desired: desired, live: live.Live}
	var said []saying
	for _, space := range desired.Spaces() {
		asked, text, err := o.manifest(space)
		if err != nil {
			return o.Opinion, err
		}
		if len(asked) == 0 {
			continue
		}
		var answer struct {
			Diff []struct {
				Op, Path   string
				Was, Value any
			}
		}
		path := "/v3/spaces/" + live.IDs[manifest.Ref{Kind: manifest.KindSpace, Path: space}] + "/manifest_diff"
		body := ccv3.Body{ContentType: "application/x-yaml", Data: text, Repeatable: true}
		if _, err := d.client.Do(ctx, http.MethodPost, path, body, &answer); err != nil {
			return o.Opinion, explain(manifest.Ref{Kind: manifest.KindSpace, Path: space}, "asking the controller for its own diff", err)
		}
		for _, e := range answer.Diff {
			said = append(said, locate(asked, e.Op, e.Path, e.Was, e.Value))
		}
	}
	o.compare(said, changes)
	return o.Opinion, nil
}

// opinion joins what the controller says with what Fettle says.
type opinion struct {
	diff.Opinion
	desired, live manifest.Set
}

// manifest writes everything of a space that a v1 manifest can say, and notes the rest as unasked.
func (o *opinion) manifest(space string) (asked []*manifest.Object, text []byte, err error) {
	var all struct {
		Version      int         `yaml:"version"`
		Applications []yaml.Node `yaml:"applications"`
	}
	all.Version = 1
	said := map[manifest.Ref]bool{}
	for _, app := range o.desired.Of(manifest.KindApp) {
		if app.Ref.Space() != space {
			continue
		}
		request := newManifestRequest(app.Ref)
		request.declare(app, o.hanging(app.Ref))
		one, err := manifest.MarshalV1(request.objects())
		if err != nil {
			return nil, nil, err
		}
		for ref := range request.routes {
			said[ref] = true
		}
		for ref := range request.binds {
			said[ref] = true
		}
		var doc struct{ Applications []yaml.Node }
		if err := yaml.Unmarshal(one, &doc); err != nil {
			return nil, nil, err
		}
		all.Applications = append(all.Applications, doc.Applications...)
		asked = append(asked, app)
		said[app.Ref] = true
	}
	for _, object := range o.desired.Objects() {
		if object.Ref.Space() == space && !said[object.Ref] {
			o.Unasked = append(o.Unasked, diff.Unasked{Ref: object.Ref, Why: "a v1 manifest cannot declare it, and the controller compares no other"})
		}
	}
	var out bytes.Buffer
	err = yaml.NewEncoder(&out).Encode(all)
	return asked, out.Bytes(), err
}

// hanging is what hangs on an app.
func (o *opinion) hanging(app manifest.Ref) manifest.Set {
	var set manifest.Set
	for _, object := range o.desired.Objects() {
		if hangsOn(object, app) {
			set.Put(object)
		}
	}
	return set
}

// saying is one difference that the controller sees, at a place in canonical form. Routes and bindings of an app, of which
// the controller speaks by their position, have the places /routes and /services.
type saying struct {
	app        manifest.Ref
	op, path   string
	key        string // of the manifest
	was, value any
}

func locate(asked []*manifest.Object, op, path string, was, value any) saying {
	s := saying{op: op, path: path, was: was, value: value}
	keys := manifest.SplitPointer(path)
	if len(keys) < 3 || keys[0] != "applications" {
		return s
	}
	n, err := strconv.Atoi(keys[1])
	if err != nil || n < 0 || n >= len(asked) {
		return s
	}
	app := asked[n]
	s.app, s.key = app.Ref, keys[2]
	below := manifest.Pointer(keys[3:]...)
	switch s.key {
	case "name":
		s.path = ""
	case "env":
		s.path = "/environment_variables" + below
	case "routes", "services":
		s.path = "/" + s.key
	case "no-route", "random-route", "default-route":
		s.path = "/routed"
	case "buildpacks", "stack":
		s.path = "/lifecycle/" + s.key
	case "lifecycle":
		s.path = "/lifecycle/type"
	case "docker":
		s.path = "/package" + below
	case "sidecars":
		s.path = "/sidecars" + element(app, "/sidecars", keys[3:])
	case "processes":
		s.path = "/processes" + element(app, "/processes", keys[3:])
		if len(keys) == 5 {
			s.path += manifest.V1ProcessPointer(keys[4])
		}
	default: // metadata and features, which are called alike
		s.path = "/" + s.key + below
	}
	return s
}

// element is the name of the element of a list: they are written in the order of their names.
func element(app *manifest.Object, collection string, keys []string) string {
	v, _ := manifest.Lookup(app.Spec, collection)
	elements, _ := v.(map[string]any)
	names := make([]string, 0, len(elements))
	for name := range elements {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(keys) == 0 {
		return ""
	}
	if n, err := strconv.Atoi(keys[0]); err == nil && n >= 0 && n < len(names) {
		return manifest.Pointer(names[n])
	}
	return ""
}

// compare finds what only one of the two sees. A difference is the same when one stands at or below the other.
func (o *opinion) compare(said []saying, changes diff.Changes) {
	seen := make([]bool, len(changes.List))
	for _, s := range said {
		agreed := false
		for i, c := range changes.List {
			for _, at := range o.places(c) {
				if at.app == s.app && (within(at.path, s.path) || within(s.path, at.path)) {
					seen[i], agreed = true, true
				}
			}
		}
		if agreed {
			o.Agreed++
			continue
		}
		o.Disagreements = append(o.Disagreements, diff.Disagreement{Ref: s.app, Path: s.path, Platform: s.op, Why: o.why(s)})
	}
	for i, c := range changes.List {
		if !seen[i] && !slices.ContainsFunc(o.Unasked, func(u diff.Unasked) bool { return u.Ref == c.Ref }) {
			o.Disagreements = append(o.Disagreements, diff.Disagreement{Ref: c.Ref, Path: c.Path, Fettle: c.Op, Why: unseen(c)})
		}
	}
}

// places are where the controller would speak of a change.
func (o *opinion) places(c diff.Change) []saying {
	switch c.Ref.Kind {
	case manifest.KindApp:
		return []saying{{app: c.Ref, path: c.Path}}
	case manifest.KindServiceBinding:
		return []saying{{app: c.App(), path: "/services"}}
	case manifest.KindRoute:
		var all []saying
		keys := manifest.SplitPointer(c.Path)
		for _, set := range []manifest.Set{o.desired, o.live} {
			route := set.Get(c.Ref)
			if route == nil {
				continue
			}
			for key := range destinations(route) {
				if len(keys) < 2 || keys[0] != "destinations" || keys[1] == key {
					all = append(all, saying{app: destinationApp(c.Ref, key), path: "/routes"})
				}
			}
		}
		return all
	}
	return nil
}

func within(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }

// why explains a difference that only the controller sees, by what is known of its comparison (observed).
func (o *opinion) why(s saying) string {
	same := fmt.Sprint(s.was) == fmt.Sprint(s.value)
	switch {
	case strings.HasPrefix(s.path, manifest.Pointer("metadata", "annotations", manifest.MetadataPrefix)):
		return "Fettle keeps notes of its own there; applying removes nothing that a manifest leaves out"
	case s.op == "move":
		return "the controller compares lists by position, and their order means nothing"
	case s.key == "no-route" || s.key == "random-route" || s.key == "default-route":
		return "the controller always shows " + s.key + " as added, because no live app has such an attribute"
	case s.key == "services" && (s.op != "remove" || o.desired.Get(s.app.Child(manifest.KindServiceBinding, fmt.Sprint(s.app.Name(), "/", s.was))) != nil):
		return "the controller stores the name of a service and compares it with the object that declares it"
	case s.key == "env" && same:
		return "the controller compares a number or a switch with the text that it is stored as"
	case s.key == "processes" && strings.HasSuffix(s.path, "/log_rate_limit_in_bytes_per_second") && same:
		return "the controller compares the number -1 with the text that it shows"
	case s.key == "processes" && s.was == nil && s.value == nil:
		return "the controller calls a reset that has nothing to reset a difference"
	case s.op == "remove":
		return "the controller calls removed what a manifest leaves out, although applying it removes nothing"
	case s.key == "routes" && strings.EqualFold(fmt.Sprint(s.was), fmt.Sprint(s.value)):
		return "the controller compares routes with regard to case, which they do not have"
	case s.key == "routes" || s.key == "processes" || s.key == "sidecars":
		if s.op == "add" {
			return "the controller matches elements of a list by their position"
		}
	case s.key == "lifecycle" && s.op == "add":
		return "the controller shows a declared lifecycle as added, because its generated manifest lacks it"
	}
	return ""
}

// unseen explains a difference that the controller does not see.
func unseen(c diff.Change) string {
	keys := manifest.SplitPointer(c.Path)
	switch {
	case c.Ref.Kind == manifest.KindRoute && len(keys) > 0 && keys[0] == "destinations" && len(keys) > 2:
		return "a manifest does not say the port of a destination, and leaves its protocol alone"
	case c.Op == diff.Remove:
		return "a manifest cannot remove, so the controller sees nothing to remove"
	case c.Ref.Kind != manifest.KindApp || len(keys) == 0:
		return ""
	case keys[0] == "package":
		return "a manifest says nothing of the app's code"
	case keys[0] == "state":
		return "whether an app runs is no attribute of a manifest"
	case keys[0] == "rollout":
		return "the controller compares configuration, not what the running instances have seen of it"
	case len(keys) == 3 && keys[0] == "processes" && (keys[2] == "memory_in_mb" || keys[2] == "disk_in_mb"):
		return "the controller does not compare memory and disk of a process that it does not list"
	}
	return ""
}
