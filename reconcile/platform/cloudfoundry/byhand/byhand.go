// Package byhand makes changes to a foundation as a person with an API client would, from one line of text each, so
// that tests can keep them in tables:
//
//	PATCH app:shop/environment_variables {var: {GREETING: bye}}
//	POST process:shop/web/actions/scale {instances: 5}
//	POST route:a.example.com/destinations {destinations: [{app: {guid: $app:other}}]}
//	push shop
//
// A line is a method, a resource and a body in YAML. It serves tests alone: nothing here is careful or fast.
package byhand

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Edit makes the changes, in their order, and waits until each is done.
//
// Resources are app:NAME, process:APP/TYPE, sidecar:APP/NAME, route:URL, destination:URL/APP, instance:NAME, binding:APP/INSTANCE,
// key:INSTANCE/NAME, routebinding:URL, deployment:APP (the active one), revision:APP/VERSION, plan:NAME, space:NAME, domain:NAME or a path
// of the API. In a body and in a path $KIND:NAME is the guid of one. Beside requests there are:
//
//	upload APP     a package is uploaded
//	push APP       the same, and it is staged and made current
//	restage APP    the newest package is staged once more and rolled out
//	manifest TEXT  a manifest of version 1 is applied to the space of the first app
func Edit(ctx context.Context, c *ccv3.Client, edits ...string) error {
	h := hand{ctx: ctx, c: c}
	for _, edit := range edits {
		if err := h.edit(edit); err != nil {
			return fmt.Errorf("%s: %w", edit, err)
		}
	}
	return nil
}

type hand struct {
	ctx context.Context
	c   *ccv3.Client
}

func (h hand) edit(text string) error {
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "upload":
		_, err := h.upload(rest)
		return err
	case "push":
		pkg, err := h.upload(rest)
		if err != nil {
			return err
		}
		return h.stage(rest, pkg)
	case "restage":
		return h.restage(rest)
	case "manifest":
		apps, _, err := ccv3.List[ccv3.App](h.ctx, h.c, "/v3/apps", nil)
		if err != nil || len(apps) == 0 {
			return fmt.Errorf("there is no app to find the space by: %w", err)
		}
		_, err = h.do(http.MethodPost, "/v3/spaces/"+apps[0].Relationships.Space.GUID()+"/actions/apply_manifest", ccv3.Body{ContentType: "application/x-yaml", Data: []byte(rest)})
		return err
	}
	where, body, _ := strings.Cut(rest, " ")
	path, err := h.path(where)
	if err != nil {
		return err
	}
	if body == "" {
		_, err = h.do(verb, path, nil)
		return err
	}
	if body, err = h.fill(body); err != nil {
		return err
	}
	var in any
	if err := yaml.Unmarshal([]byte(body), &in); err != nil {
		return fmt.Errorf("the body is not YAML: %w", err)
	}
	_, err = h.do(verb, path, in)
	return err
}

// do makes a request, waits for its job, and returns the guid in the answer.
func (h hand) do(method, path string, in any) (string, error) {
	var out ccv3.Resource
	var data []byte
	resp, err := h.c.Do(h.ctx, method, path, in, &data)
	if err != nil {
		return "", err
	}
	if strings.Contains(resp.Location(), "/v3/jobs/") {
		return "", h.c.Job(h.ctx, resp.Location())
	}
	_ = yaml.Unmarshal(data, &out) // an answer without a body has no guid
	return out.GUID, nil
}

var reference = regexp.MustCompile(`\$([a-z]+:[\w./-]*\w)`)

// fill puts guids in the place of $KIND:NAME.
func (h hand) fill(text string) (string, error) {
	var failed error
	filled := reference.ReplaceAllStringFunc(text, func(s string) string {
		path, err := h.path(s[1:])
		failed = errors.Join(failed, err)
		return path[strings.LastIndexByte(path, '/')+1:]
	})
	return filled, failed
}

// words says how many words of a path name a resource of a kind, whose own names may hold slashes.
var words = map[string]int{"process": 2, "sidecar": 2, "binding": 2, "key": 2, "revision": 2}

// path turns app:shop/features/ssh into /v3/apps/GUID/features/ssh.
func (h hand) path(where string) (string, error) {
	where, err := h.fill(where)
	if err != nil || strings.HasPrefix(where, "/") {
		return where, err
	}
	kind, rest, ok := strings.Cut(where, ":")
	if !ok {
		return "", fmt.Errorf("%q is no resource", where)
	}
	n := max(words[kind], 1)
	if kind == "route" || kind == "destination" || kind == "routebinding" {
		return h.routing(kind, rest)
	}
	parts := strings.Split(rest, "/")
	if len(parts) < n {
		return "", fmt.Errorf("%s:%s needs %d names", kind, rest, n)
	}
	path, err := h.find(kind, parts[:n])
	return strings.Join(append([]string{path}, parts[n:]...), "/"), err
}

func (h hand) find(kind string, names []string) (string, error) {
	name := names[0]
	one := func(collection string, query url.Values) (string, error) {
		found, _, err := ccv3.List[ccv3.Resource](h.ctx, h.c, "/v3/"+collection, query)
		if err != nil || len(found) == 0 {
			return "", errors.Join(fmt.Errorf("there is no %s:%s", kind, strings.Join(names, "/")), err)
		}
		top, _, _ := strings.Cut(collection, "?")
		return "/v3/" + top[strings.LastIndexByte(top, '/')+1:] + "/" + found[len(found)-1].GUID, nil
	}
	guidOf := func(app string) string {
		path, _ := h.find("app", []string{app})
		return path[strings.LastIndexByte(path, '/')+1:]
	}
	switch kind {
	case "app":
		return one("apps", url.Values{"names": {name}})
	case "process":
		return one("processes", url.Values{"app_guids": {guidOf(name)}, "types": {names[1]}})
	case "sidecar":
		return h.named("apps/"+guidOf(name)+"/sidecars", "sidecars", names[1])
	case "revision":
		return one("apps/"+guidOf(name)+"/revisions", url.Values{"versions": {names[1]}})
	case "deployment":
		return one("deployments", url.Values{"app_guids": {guidOf(name)}, "status_values": {"ACTIVE"}})
	case "instance":
		return one("service_instances", url.Values{"names": {name}})
	case "binding":
		return one("service_credential_bindings", url.Values{"app_guids": {guidOf(name)}, "service_instance_names": {names[1]}})
	case "key":
		return one("service_credential_bindings", url.Values{"names": {names[1]}, "type": {"key"}, "service_instance_names": {name}})
	case "plan":
		return one("service_plans", url.Values{"names": {name}})
	case "space":
		return one("spaces", url.Values{"names": {name}})
	case "domain":
		return one("domains", url.Values{"names": {name}})
	case "droplet":
		return one("droplets", url.Values{"app_guids": {guidOf(name)}})
	}
	return "", fmt.Errorf("%s is no kind of resource", kind)
}

// named is find for a list that cannot be filtered.
func (h hand) named(list, collection, name string) (string, error) {
	all, _, err := ccv3.List[ccv3.Sidecar](h.ctx, h.c, "/v3/"+list, nil)
	i := slices.IndexFunc(all, func(s ccv3.Sidecar) bool { return s.Name == name })
	if err != nil || i < 0 {
		return "", errors.Join(fmt.Errorf("there is no %s in %s", name, list), err)
	}
	return "/v3/" + collection + "/" + all[i].GUID, nil
}

// routing finds a route by the longest URL that rest begins with, and what belongs to it.
func (h hand) routing(kind, rest string) (string, error) {
	routes, _, err := ccv3.List[ccv3.Route](h.ctx, h.c, "/v3/routes", nil)
	if err != nil {
		return "", err
	}
	var route ccv3.Route
	for _, r := range routes {
		if (rest == r.URL || strings.HasPrefix(rest, r.URL+"/")) && len(r.URL) > len(route.URL) {
			route = r
		}
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, route.URL), "/")
	path := "/v3/routes/" + route.GUID
	switch {
	case route.GUID == "":
		return "", fmt.Errorf("there is no route %s", rest)
	case kind == "routebinding":
		found, _, err := ccv3.List[ccv3.Resource](h.ctx, h.c, "/v3/service_route_bindings", url.Values{"route_guids": {route.GUID}})
		if err != nil || len(found) == 0 {
			return "", errors.Join(fmt.Errorf("route %s is bound to nothing", route.URL), err)
		}
		path = "/v3/service_route_bindings/" + found[0].GUID
	case kind == "destination":
		name, more, _ := strings.Cut(rest, "/")
		app, err := h.find("app", []string{name})
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(route.Destinations, func(d ccv3.Destination) bool { return strings.HasSuffix(app, "/"+d.App.GUID) })
		if i < 0 {
			return "", fmt.Errorf("route %s does not lead to %s", route.URL, name)
		}
		path, rest = path+"/destinations/"+route.Destinations[i].GUID, more
	}
	if rest != "" {
		path += "/" + rest
	}
	return path, nil
}

func (h hand) upload(app string) (string, error) {
	guid, err := h.fill("$app:" + app)
	if err != nil {
		return "", err
	}
	pkg, err := h.do(http.MethodPost, "/v3/packages", map[string]any{"type": "bits", "relationships": map[string]any{"app": ccv3.To(guid)}})
	if err != nil {
		return "", err
	}
	if _, err := h.c.Upload(h.ctx, "/v3/packages/"+pkg+"/upload", "bits", "app.zip", func(w io.Writer) error {
		z := zip.NewWriter(w)
		file, err := z.Create("package.json")
		if err == nil {
			_, err = io.WriteString(file, `{"by": "hand"}`)
		}
		return errors.Join(err, z.Close())
	}, nil, nil); err != nil {
		return "", err
	}
	return pkg, h.until("/v3/packages/"+pkg, "READY")
}

// stage makes a droplet of a package, and the droplet current.
func (h hand) stage(app, pkg string) error {
	build, err := h.do(http.MethodPost, "/v3/builds", map[string]any{"package": map[string]any{"guid": pkg}})
	if err != nil {
		return err
	}
	if err := h.until("/v3/builds/"+build, "STAGED"); err != nil {
		return err
	}
	var b ccv3.Build
	if _, err := h.c.Do(h.ctx, http.MethodGet, "/v3/builds/"+build, nil, &b); err != nil {
		return err
	}
	return h.edit("PATCH app:" + app + "/relationships/current_droplet {data: {guid: " + b.Droplet.GUID + "}}")
}

func (h hand) restage(app string) error {
	guid, err := h.fill("$app:" + app)
	if err != nil {
		return err
	}
	packages, _, err := ccv3.List[ccv3.Package](h.ctx, h.c, "/v3/apps/"+guid+"/packages", nil)
	if err != nil || len(packages) == 0 {
		return errors.Join(errors.New("the app has no package"), err)
	}
	if err := h.stage(app, packages[len(packages)-1].GUID); err != nil {
		return err
	}
	return h.edit("POST app:" + app + "/actions/restart")
}

// until waits for a state.
func (h hand) until(path, state string) error {
	for range 1000 {
		var x struct{ State string }
		if _, err := h.c.Do(h.ctx, http.MethodGet, path, nil, &x); err != nil || x.State == state {
			return err
		}
		select {
		case <-h.ctx.Done():
			return h.ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not %s", path, state)
}
