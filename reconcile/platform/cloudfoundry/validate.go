package cloudfoundry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

var _ platform.Validator = (*Driver)(nil)

// Validate asks the foundation for what no manifest says: orgs, spaces, domains, stacks, buildpacks and service
// instances that do not exist, routes of other spaces, docker apps where they are not allowed, limits of quotas, and
// whether the user has a role that can apply. It costs about a dozen
// lists and two requests for each org and space, however many apps there are.
//
// Every problem stands at the field that causes it. What the user may not see counts as absent, as it does when
// applying; what the user may not ask (a quota, usage) is passed over.
func (d *Driver) Validate(ctx context.Context, desired manifest.Set) (manifest.Problems, error) {
	v := &validation{driver: d, desired: desired}
	if err := v.findPlaces(ctx); err != nil {
		return nil, err
	}
	if len(v.places) == 0 {
		return v.problems, nil
	}
	if err := v.read(ctx); err != nil {
		return nil, explain(manifest.Ref{}, "reading what the foundation offers", err)
	}
	for _, p := range v.places {
		v.roles(p)
		v.apps(p)
		v.routes(p)
		v.bindings(p)
		v.quotas(p)
	}
	slices.SortStableFunc(v.problems, func(a, b manifest.Problem) int {
		return cmpOrigin(a.Origin, b.Origin)
	})
	return v.problems, nil
}

func cmpOrigin(a, b manifest.Origin) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Column - b.Column
}

// quota is the part of an organization's or a space's quota that an app can meet. Null is unlimited.
type quota struct {
	ccv3.Resource
	Name string `json:"name"`
	Apps struct {
		TotalMemory      *int64 `json:"total_memory_in_mb"`
		PerProcessMemory *int64 `json:"per_process_memory_in_mb"`
		TotalInstances   *int64 `json:"total_instances"`
	} `json:"apps"`
	Routes struct {
		Total *int64 `json:"total_routes"`
	} `json:"routes"`
}

// offer is something that apps name: a stack, a buildpack.
type offer struct {
	ccv3.Resource
	Name string `json:"name"`
}

type role struct {
	ccv3.Resource
	Type          string             `json:"type"`
	Relationships ccv3.Relationships `json:"relationships"`
}

type validation struct {
	driver   *Driver
	desired  manifest.Set
	places   []place
	problems manifest.Problems

	domains            map[string][]ccv3.Domain // by the guid of the org
	stacks, buildpacks []string
	docker             bool
	instances          []ccv3.ServiceInstance
	found              []ccv3.Route // with one of the declared hosts, wherever the user may look
	spaces             map[string]string
	mine               []role
	me                 string
	limits             map[string][]limit // by the guid of the space
	running            map[string]usage   // of the declared apps, by the guid of the space
}

// limit is a quota and who shares it.
type limit struct {
	kind string // "organization", "space"
	quota
	used usage
}

// usage is what runs.
type usage struct {
	Memory    int64 `json:"memory_in_mb"`
	Instances int64 `json:"started_instances"`
}

func (v *validation) add(o *manifest.Object, pointer string, severity manifest.Severity, rule, message, hint string) {
	v.problems = append(v.problems, manifest.Problem{
		Origin: o.FieldOrigin(pointer), Severity: severity, Rule: rule, Ref: &o.Ref, Message: o.Ref.String() + ": " + message, Hint: hint,
	})
}

// unknown says that a name does not exist, and which one is meant most likely.
func (v *validation) unknown(o *manifest.Object, pointer, rule, message, name string, known []string) {
	hint := ""
	if near := manifest.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	} else if 0 < len(known) && len(known) <= 12 {
		known = slices.Sorted(slices.Values(known))
		hint = "there are " + strings.Join(slices.Compact(known), ", ")
	}
	v.add(o, pointer, manifest.SeverityError, rule, message, hint)
}

// findPlaces finds the spaces. One that is missing is a problem of the first resource in it; the others are looked at.
func (v *validation) findPlaces(ctx context.Context) error {
	paths := v.desired.Spaces()
	for len(paths) > 0 {
		places, err := v.driver.places(ctx, paths)
		var e *platform.Error
		switch {
		case err == nil:
			v.places = places
			return nil
		case !errors.As(err, &e) || e.Class != platform.Missing || e.Ref.Path == "":
			return err
		}
		kept := paths[:0:0]
		for _, path := range paths {
			if path != e.Ref.Path && !strings.HasPrefix(path, e.Ref.Path+"/") {
				kept = append(kept, path)
				continue
			}
			for _, o := range v.desired.Objects() {
				if o.Ref.Space() == path {
					v.problems = append(v.problems, manifest.Problem{
						Origin: o.Origin, Severity: manifest.SeverityError, Rule: "unknown-" + string(e.Ref.Kind), Ref: &o.Ref,
						Message: fmt.Sprintf("the %s %s", e.Ref.Kind, e.Message), Hint: e.Hint,
					})
					break
				}
			}
		}
		if len(kept) == len(paths) {
			return err
		}
		paths = kept
	}
	return nil
}

// read makes one request per kind, at once.
func (v *validation) read(ctx context.Context) error {
	c := v.driver.client
	var spaces, orgs []string
	for _, p := range v.places {
		spaces, orgs = append(spaces, p.space), append(orgs, p.org)
	}
	orgs = unique(orgs)
	who, err := c.Identity(ctx)
	if err != nil {
		return err
	}
	v.me = who.Name
	group, ctx := errgroup.WithContext(ctx)
	list := func(into *[]string, path string) {
		group.Go(func() error {
			all, _, err := ccv3.List[offer](ctx, c, path, nil)
			for _, x := range all {
				*into = append(*into, x.Name)
			}
			return err
		})
	}
	list(&v.stacks, "/v3/stacks")
	list(&v.buildpacks, "/v3/buildpacks")
	group.Go(func() (err error) {
		v.instances, _, err = ccv3.ListBy[ccv3.ServiceInstance](ctx, c, "/v3/service_instances", nil, "space_guids", spaces)
		return err
	})
	group.Go(func() error {
		var flag struct {
			Enabled bool `json:"enabled"`
		}
		_, err := c.Do(ctx, "GET", "/v3/feature_flags/diego_docker", nil, &flag)
		v.docker = flag.Enabled
		return err
	})
	group.Go(func() (err error) {
		v.mine, _, err = ccv3.List[role](ctx, c, "/v3/roles", url.Values{"user_guids": {who.GUID}})
		return err
	})
	group.Go(func() error {
		v.domains = map[string][]ccv3.Domain{}
		for _, org := range orgs { // those that are shared with the org are in no other list
			all, _, err := ccv3.List[ccv3.Domain](ctx, c, "/v3/organizations/"+org+"/domains", nil)
			if err != nil {
				return err
			}
			v.domains[org] = all
		}
		return v.readRoutes(ctx)
	})
	group.Go(func() error { return v.readQuotas(ctx, spaces, orgs) })
	return group.Wait()
}

// readRoutes looks for the declared hosts in every space that the user sees.
func (v *validation) readRoutes(ctx context.Context) error {
	var hosts []string
	for _, p := range v.places {
		for _, o := range v.in(p, manifest.KindRoute) {
			if _, host, ok := v.domain(p, routeOf(o)); ok {
				hosts = append(hosts, host)
			}
		}
	}
	found, in, err := ccv3.ListBy[ccv3.Route](ctx, v.driver.client, "/v3/routes", url.Values{"include": {"space"}}, "hosts", unique(hosts))
	v.found, v.spaces = found, map[string]string{}
	for _, s := range in.Spaces {
		v.spaces[s.GUID] = s.Name
	}
	return err
}

func (v *validation) readQuotas(ctx context.Context, spaces, orgs []string) error {
	v.limits = map[string][]limit{}
	if err := v.readRunning(ctx, spaces); err != nil {
		return err
	}
	for _, ask := range []struct {
		kind, path, filter, of string
		owners                 []string
	}{
		{"organization", "/v3/organization_quotas", "organization_guids", "/v3/organizations/", orgs},
		{"space", "/v3/space_quotas", "space_guids", "/v3/spaces/", spaces},
	} {
		for _, owner := range ask.owners {
			all, _, err := ccv3.List[quota](ctx, v.driver.client, ask.path, url.Values{ask.filter: {owner}})
			if ccv3.IsForbidden(err) || ccv3.IsNotFound(err) {
				continue
			} else if err != nil {
				return err
			}
			var answer struct {
				Usage usage `json:"usage_summary"`
			}
			if len(all) > 0 {
				_, err := v.driver.client.Do(ctx, "GET", ask.of+owner+"/usage_summary", nil, &answer)
				if err != nil && !ccv3.IsForbidden(err) && !ccv3.IsNotFound(err) {
					return err
				}
			}
			for _, q := range all {
				for _, p := range v.places {
					if p.org == owner || p.space == owner {
						v.limits[p.space] = append(v.limits[p.space], limit{ask.kind, q, answer.Usage})
					}
				}
			}
		}
	}
	return nil
}

// readRunning adds up what the declared apps use already: they give it back.
func (v *validation) readRunning(ctx context.Context, spaces []string) error {
	r := &readings{places: v.places, declared: map[string]*manifest.Object{}}
	var err error
	if r.apps, _, err = ccv3.ListBy[ccv3.App](ctx, v.driver.client, "/v3/apps", nil, "space_guids", spaces); err != nil {
		return err
	}
	r.declare(v.desired)
	where := map[string]string{}
	for _, app := range r.apps {
		if r.declared[app.GUID] != nil && app.State == "STARTED" {
			where[app.GUID] = app.Relationships.Space.GUID()
		}
	}
	processes, _, err := ccv3.ListBy[ccv3.Process](ctx, v.driver.client, "/v3/processes", nil, "app_guids", slices.Sorted(maps.Keys(where)))
	v.running = map[string]usage{}
	for _, p := range processes {
		at := where[p.Relationships.App.GUID()]
		u := v.running[at]
		v.running[at] = usage{u.Memory + p.MemoryInMB*p.Instances, u.Instances + p.Instances}
	}
	return err
}

// in lists what is declared of a kind in one space.
func (v *validation) in(p place, kind manifest.Kind) []*manifest.Object {
	return slices.DeleteFunc(v.desired.Of(kind), func(o *manifest.Object) bool { return o.Ref.Space() != p.path })
}

// roles warns a user who can see the space and not write to it. An administrator needs no role, and no request tells
// who is one: hence a warning, and none for who has no role at all.
func (v *validation) roles(p place) {
	var here []string
	for _, r := range v.mine {
		if r.Relationships.Space.GUID() == p.space || r.Relationships.Organization.GUID() == p.org {
			here = append(here, r.Type)
		}
	}
	slices.Sort(here)
	first := firstIn(v.desired, p.path)
	if p.suspended {
		v.add(first, "", manifest.SeverityError, "org-suspended", "the organization is suspended", "ask the platform's operators")
	}
	if len(here) > 0 && !slices.Contains(here, "space_developer") {
		v.add(first, "", manifest.SeverityWarning, "role-missing",
			fmt.Sprintf("%s has only the roles %s in %s, which do not allow to apply", v.me, strings.Join(here, ", "), p.path),
			"grant space_developer, unless this user is an administrator")
	}
}

func firstIn(set manifest.Set, space string) *manifest.Object {
	objects := slices.DeleteFunc(set.Objects(), func(o *manifest.Object) bool { return o.Ref.Space() != space })
	slices.SortStableFunc(objects, func(a, b *manifest.Object) int { return cmpOrigin(a.Origin, b.Origin) })
	return objects[0]
}

func (v *validation) apps(p place) {
	for _, o := range v.in(p, manifest.KindApp) {
		if stack, _ := manifest.Lookup(o.Spec, "/lifecycle/stack"); stack != nil && !slices.Contains(v.stacks, stack.(string)) {
			v.unknown(o, "/lifecycle/stack", "unknown-stack", fmt.Sprintf("there is no stack %v", stack), stack.(string), v.stacks)
		}
		kind, _ := manifest.Lookup(o.Spec, "/lifecycle/type")
		if pkg, _ := manifest.Lookup(o.Spec, "/package/type"); pkg == "docker" && !v.docker {
			v.add(o, "/package", manifest.SeverityError, "docker-disabled", "this foundation does not allow docker images", "operators allow them with the feature flag diego_docker")
		}
		names, _ := manifest.Lookup(o.Spec, "/lifecycle/buildpacks")
		list, _ := names.([]any)
		for _, x := range list {
			name, _ := x.(string)
			if kind == "cnb" || strings.Contains(name, "://") || slices.Contains(v.buildpacks, name) || o.IsSecret("/lifecycle/buildpacks") {
				continue
			}
			v.unknown(o, "/lifecycle/buildpacks", "unknown-buildpack", fmt.Sprintf("there is no buildpack %s", name), name, v.buildpacks)
		}
	}
}

func routeOf(o *manifest.Object) manifest.RouteURL {
	u, _ := manifest.ParseRoute(o.Ref.Name()) // it was parsed before, when the manifest was read
	return u
}

// domain finds the domain of a route as the controller does: the longest one with at most one label before it.
func (v *validation) domain(p place, u manifest.RouteURL) (d ccv3.Domain, host string, ok bool) {
	label, rest, _ := strings.Cut(u.Hostname, ".")
	for _, candidate := range v.domains[p.org] {
		switch {
		case strings.EqualFold(candidate.Name, u.Hostname):
			return candidate, "", true
		case strings.EqualFold(candidate.Name, rest):
			d, host, ok = candidate, label, true
		}
	}
	return d, host, ok
}

func (v *validation) routes(p place) {
	var names []string
	for _, d := range v.domains[p.org] {
		names = append(names, d.Name)
	}
	for _, o := range v.in(p, manifest.KindRoute) {
		u := routeOf(o)
		d, host, ok := v.domain(p, u)
		if !ok {
			_, rest, _ := strings.Cut(u.Hostname, ".")
			v.unknown(o, "", "unknown-domain", fmt.Sprintf("there is no domain for it that the organization %s can use", o.Ref.Org()), rest, names)
			continue
		}
		tcp := slices.Contains(d.SupportedProtocols, "tcp")
		switch {
		case tcp && u.Port == 0:
			v.add(o, "", manifest.SeverityError, "route-port", fmt.Sprintf("the domain %s is for TCP routes, and the port is missing", d.Name), fmt.Sprintf("write %s:PORT", u.Hostname))
		case !tcp && u.Port != 0 && len(d.SupportedProtocols) > 0:
			v.add(o, "", manifest.SeverityError, "route-port", fmt.Sprintf("the domain %s is for HTTP routes, which have no port", d.Name), "leave the port out")
		case !tcp && host == "" && d.Relationships.Organization.GUID() == "":
			v.add(o, "", manifest.SeverityError, "route-host", fmt.Sprintf("%s is a shared domain, and a route on it needs a host", d.Name), "write HOST."+d.Name)
		}
		for _, r := range v.found {
			same := r.Relationships.Domain.GUID() == d.GUID && strings.EqualFold(r.Host, host) && strings.EqualFold(r.Path, u.Path) && (r.Port == nil || int(*r.Port) == u.Port)
			if other := r.Relationships.Space.GUID(); same && other != p.space {
				where := "another space"
				if name := v.spaces[other]; name != "" {
					where = "the space " + name
				}
				v.add(o, "", manifest.SeverityError, "route-elsewhere", "the route exists in "+where, "choose another host, or remove the route there")
			}
		}
	}
}

func (v *validation) bindings(p place) {
	var names []string
	for _, i := range v.instances {
		names = append(names, i.Name)
	}
	for _, o := range v.in(p, manifest.KindServiceBinding) {
		name, _ := o.Spec["service_instance"].(string)
		declared := v.desired.Get(o.Ref.Child(manifest.KindServiceInstance, name)) != nil
		if name != "" && !declared && !slices.Contains(names, name) {
			v.unknown(o, "/service_instance", "unknown-service-instance", fmt.Sprintf("there is no service instance %s in %s", name, p.path), name, names)
		}
	}
}

// quotas compares what is declared, and what others use already, with the limits. Apps in spaces that are declared as well
// count as others.
func (v *validation) quotas(p place) {
	apps := v.in(p, manifest.KindApp)
	for _, l := range v.limits[p.space] {
		var memory, instances int64
		for _, o := range apps {
			processes, _ := o.Spec["processes"].(map[string]any)
			for kind, x := range processes {
				settings, _ := x.(map[string]any)
				each, hasMemory := settings["memory_in_mb"].(int64)
				n, hasInstances := settings["instances"].(int64)
				if !hasInstances && kind == "web" {
					n = 1
				}
				memory, instances = memory+each*n, instances+n
				if most := l.Apps.PerProcessMemory; hasMemory && most != nil && each > *most {
					v.add(o, manifest.Pointer("processes", kind, "memory_in_mb"), manifest.SeverityError, "quota",
						fmt.Sprintf("an instance of %s asks for %d MB; the %s quota %s allows %d MB", kind, each, l.kind, l.Name, *most), "ask for less, or ask the operators to raise the quota")
				}
			}
		}
		over := func(most *int64, asked, others int64, what string) {
			if most == nil || asked == 0 || asked+others <= *most {
				return
			}
			used := ""
			if others > 0 {
				used = fmt.Sprintf(", of which others use %d", others)
			}
			v.add(firstIn(v.desired, p.path), "", manifest.SeverityError, "quota",
				fmt.Sprintf("the declared apps of %s ask for %d %s in all; the %s quota %s allows %d%s", p.path, asked, what, l.kind, l.Name, *most, used),
				"ask for less, or ask the operators to raise the quota")
		}
		mine := v.running[p.space]
		over(l.Apps.TotalMemory, memory, max(l.used.Memory-mine.Memory, 0), "MB")
		over(l.Apps.TotalInstances, instances, max(l.used.Instances-mine.Instances, 0), "instances")
		over(l.Routes.Total, int64(len(v.in(p, manifest.KindRoute))), 0, "routes")
	}
}
