package cloudfoundry

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// routeData is the Step.Data of a route's own step.
type routeData struct {
	guid  string                  // "" when it has to be created
	space string                  // guid of the space
	apps  map[manifest.Ref]string // guids of the live apps that the step unmaps
	// disown says, by the guid of an app, what its ledger no longer owns when the step is done.
	disown map[string][]string
}

// routeRun brings a route to what is declared, as far as that is not the business of one app: the route itself, its
// options and metadata, and destinations that no step of an app may take away (see planner.routeSteps).
//
// The annotation "applied" on the route is its owner's mark: Fettle has made it or taken it over. It lists, as the
// ledger of an app does, which labels and annotations Fettle gave it.
type routeRun struct {
	caller
	data  *routeData
	route *manifest.Object // as declared; nil when Git no longer declares it
	guid  string
}

func newRouteRun(d *Driver, s *platform.Step, data *routeData) *routeRun {
	return &routeRun{caller: caller{d: d, step: s}, data: data, route: s.Desired.Get(s.Ref), guid: data.guid}
}

func (r *routeRun) run(ctx context.Context) error {
	if err := impossible(r.step); err != nil {
		return err
	}
	switch {
	case deletes(r.step):
		return r.delete(ctx)
	case r.guid == "":
		return r.create(ctx)
	}
	if err := r.patch(ctx); err != nil {
		return err
	}
	if err := r.unmap(ctx); err != nil {
		return err
	}
	return r.disown(ctx)
}

// delete takes the route away with all that it leads to. The ledgers of the apps are narrowed afterwards: killed in
// between, the next run finds nothing to delete.
func (r *routeRun) delete(ctx context.Context) error {
	if err := r.remove(ctx, "deleting the route", "/v3/routes/"+r.guid); err != nil {
		return err
	}
	return r.disown(ctx)
}

// disown takes the destinations that are gone out of the ledgers of the apps.
func (r *routeRun) disown(ctx context.Context) error {
	const doing = "noting what is no longer owned"
	for _, guid := range slices.Sorted(maps.Keys(r.data.disown)) {
		var app ccv3.App
		_, err := r.d.client.Do(ctx, http.MethodGet, "/v3/apps/"+guid, nil, &app)
		if ccv3.IsNotFound(err) {
			continue
		} else if err != nil {
			return r.fail(doing, err)
		}
		was := app.Metadata.Annotation(appliedAnnotation)
		now := without(was, r.data.disown[guid]...)
		if now == was {
			continue
		}
		if err := r.do(ctx, doing, http.MethodPatch, "/v3/apps/"+guid, map[string]any{
			"metadata": ccv3.Metadata{Annotations: map[string]*string{appliedAnnotation: &now}},
		}); err != nil {
			return err
		}
	}
	return nil
}

// create makes the route without destinations: the apps map it, each in its own step. A killed run, or somebody else,
// may have made it since the plan was made.
func (r *routeRun) create(ctx context.Context) error {
	const doing = "creating the route"
	u := r.address()
	domain, host, err := r.domain(ctx, u)
	if err != nil {
		return err
	}
	metadata, _ := r.metadata()
	body := map[string]any{"relationships": map[string]any{"space": ccv3.To(r.data.space), "domain": ccv3.To(domain)}, "metadata": metadata}
	if host != "" {
		body["host"] = host
	}
	if u.Path != "" {
		body["path"] = u.Path
	}
	if u.Port != 0 {
		body["port"] = u.Port
	}
	if options, ok := r.route.Spec["options"].(map[string]any); ok && len(options) > 0 {
		body["options"] = options
	}
	look := func(ctx context.Context) (bool, error) {
		routes, _, err := ccv3.List[ccv3.Route](ctx, r.d.client, "/v3/routes", url.Values{"space_guids": {r.data.space}, "domain_guids": {domain}})
		for _, found := range routes {
			if strings.EqualFold(found.URL, r.step.Ref.Name()) {
				r.guid = found.GUID
			}
		}
		return r.guid != "", err
	}
	err = r.once(ctx, doing, func(ctx context.Context) error {
		_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/routes", body, nil)
		return err
	}, look)
	if err == nil || !strings.Contains(err.Error(), "Route already exists") {
		return err
	}
	if found, lookErr := look(ctx); lookErr != nil || !found {
		return cmp.Or(r.fail(doing, lookErr), err)
	}
	delete(body, "relationships")
	for _, fixed := range []string{"host", "path", "port"} {
		delete(body, fixed)
	}
	return r.do(ctx, doing, http.MethodPatch, "/v3/routes/"+r.guid, body)
}

// address is the URL in the case that Git writes it in.
func (r *routeRun) address() manifest.RouteURL {
	written, _ := r.route.Inputs["url"].(string)
	u, _ := manifest.ParseRoute(cmp.Or(written, r.route.Ref.Name())) // it was parsed before, when the manifest was read
	return u
}

// domain finds the domain of a URL, and the host on it. The controller takes the longest name that exists.
func (r *routeRun) domain(ctx context.Context, u manifest.RouteURL) (guid, host string, err error) {
	const doing = "looking for the route's domain"
	label, rest, _ := strings.Cut(u.Hostname, ".")
	domains, _, err := ccv3.List[ccv3.Domain](ctx, r.d.client, "/v3/domains", url.Values{"names": {ccv3.Filter(u.Hostname, rest)}})
	if err != nil {
		return "", "", r.fail(doing, err)
	}
	for _, d := range domains {
		switch {
		case strings.EqualFold(d.Name, u.Hostname):
			return d.GUID, "", nil
		case strings.EqualFold(d.Name, rest):
			guid, host = d.GUID, label
		}
	}
	if guid == "" {
		return "", "", &platform.Error{
			Class: platform.Missing, Ref: r.step.Ref, Origin: r.route.Origin, Doing: doing,
			Message: fmt.Sprintf("there is no domain %s, or the user cannot see it", rest),
			Hint:    fmt.Sprintf("use a domain that `cf domains` lists, or have %s created (cf create-private-domain %s %s)", rest, r.step.Ref.Org(), rest),
		}
	}
	return guid, host, nil
}

// metadata is what the route is to have besides what it has, the owner's mark included.
func (r *routeRun) metadata() (m ccv3.Metadata, changed bool) {
	m, changed = described(r.route, r.step.Changes)
	mark(m, r.route.Spec)
	return m, changed
}

// patch changes options and metadata in one request, if there is something to change.
func (r *routeRun) patch(ctx context.Context) error {
	options, body := map[string]any{}, map[string]any{}
	for _, c := range r.step.Changes {
		switch keys := manifest.SplitPointer(c.Path); {
		case len(keys) == 2 && keys[0] == "options":
			options[keys[1]] = c.Value // nil removes the option
		case len(keys) == 1 && keys[0] == "options":
			maps.Copy(options, mapOf(c.Value))
		}
	}
	if len(options) > 0 {
		body["options"] = options
	}
	if metadata, changed := r.metadata(); changed {
		body["metadata"] = metadata
	}
	if len(body) == 0 {
		return nil
	}
	return r.do(ctx, "changing the route", http.MethodPatch, "/v3/routes/"+r.guid, body)
}

// unmap takes away destinations. It comes last, and after the steps of the apps that the route is to lead to.
func (r *routeRun) unmap(ctx context.Context) error {
	for _, c := range r.step.Changes {
		keys := manifest.SplitPointer(c.Path)
		if c.Op != diff.Remove || len(keys) != 2 || keys[0] != "destinations" {
			continue
		}
		_, process := splitDestination(keys[1])
		if err := r.unmapFrom(ctx, r.guid, r.data.apps[destinationApp(c.Ref, keys[1])], process, nil); err != nil {
			return err
		}
	}
	return nil
}

// unmapFrom takes the destinations at a process of an app away from a route, all but the one with the port keep.
func (c caller) unmapFrom(ctx context.Context, route, app, process string, keep any) error {
	const doing = "unmapping the route"
	found, err := c.destinationsAt(ctx, doing, route, app, process)
	if err != nil {
		return err
	}
	for _, at := range found {
		if keep != nil && keep == number(at.Port) {
			continue
		}
		err := c.do(ctx, doing, http.MethodDelete, "/v3/routes/"+route+"/destinations/"+at.GUID, nil)
		if err != nil && !strings.Contains(err.Error(), "Ensure the route has a destination with this guid") { // 422 instead of 404 (observed)
			return err
		}
	}
	return nil
}

// destinationsAt lists where a route leads to at a process of an app.
func (c caller) destinationsAt(ctx context.Context, doing, route, app, process string) ([]ccv3.Destination, error) {
	var answer struct {
		Destinations []ccv3.Destination `json:"destinations"`
	}
	_, err := c.d.client.Do(ctx, http.MethodGet, "/v3/routes/"+route+"/destinations", nil, &answer)
	if ccv3.IsNotFound(err) {
		return nil, nil // the route is gone, and with it where it led to
	}
	var found []ccv3.Destination
	for _, at := range answer.Destinations {
		if at.App.GUID == app && (at.App.Process == nil && process == "web" || at.App.Process != nil && at.App.Process.Type == process) {
			found = append(found, at)
		}
	}
	return found, c.fail(doing, err)
}

// insert maps a route to a process of an app. A destination that exists already stays as it is (observed).
func (c caller) insert(ctx context.Context, doing, route, app, process string, spec map[string]any) error {
	at := map[string]any{"app": map[string]any{"guid": app, "process": map[string]any{"type": process}}}
	for _, k := range []string{"port", "protocol"} {
		if v := spec[k]; v != nil {
			at[k] = v
		}
	}
	return c.once(ctx, doing, func(ctx context.Context) error {
		_, err := c.d.client.Do(ctx, http.MethodPost, "/v3/routes/"+route+"/destinations", map[string]any{"destinations": []any{at}}, nil)
		return err
	}, nil)
}
