package cloudfoundry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

var _ platform.Validator = (*Driver)(nil)

// Validate asks the foundation for what no manifest says: orgs and spaces that do not exist, and for everything declared
// what Preflight asks for the changes of a plan. It costs about a dozen lists and two requests for each org and space, and one for each route
// that does not exist yet, however many apps there are.
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
	const doing = "reading what the foundation offers"
	if err := v.read(ctx); err != nil {
		return nil, explain(manifest.Ref{}, doing, err)
	}
	c := &checks{driver: d, asks: v.asks()}
	if err := c.run(ctx); err != nil {
		return nil, explain(manifest.Ref{}, doing, err)
	}
	for _, p := range v.places {
		v.bindings(c, p)
	}
	for _, f := range c.found {
		if f.object != nil { // in which order things are done, a manifest does not say
			v.problems = append(v.problems, f.problem())
		}
	}
	slices.SortStableFunc(v.problems, func(a, b manifest.Problem) int { return cmpOrigin(a.Origin, b.Origin) })
	return v.problems, nil
}

// problem is the finding in the form of a manifest's problem.
func (f finding) problem() manifest.Problem {
	severity := manifest.SeverityError
	if f.warning {
		severity = manifest.SeverityWarning
	}
	at := f.object.FieldOrigin(f.pointer)
	return manifest.Problem{
		Origin: at, Severity: severity, Rule: f.rule, Ref: &f.object.Ref, Message: f.object.Ref.String() + ": " + f.message, Hint: f.hint,
	}
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

type validation struct {
	driver   *Driver
	desired  manifest.Set
	places   []place
	problems manifest.Problems

	readings readings
	exists   map[manifest.Ref]bool // routes and service instances, in lower case
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

// read makes one request per kind, at once: what the declared apps take already, and what need not be created.
func (v *validation) read(ctx context.Context) error {
	client, r := v.driver.client, &v.readings
	var spaces []string
	paths := map[string]string{}
	for _, p := range v.places {
		spaces = append(spaces, p.space)
		paths[p.space] = p.path
	}
	var routes []ccv3.Route
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		r.apps, _, err = ccv3.ListBy[ccv3.App](ctx, client, "/v3/apps", nil, "space_guids", spaces)
		return err
	})
	group.Go(func() error {
		all, _, err := ccv3.ListBy[ccv3.Process](ctx, client, "/v3/processes", nil, "space_guids", spaces)
		r.processes = groupBy(all, func(p ccv3.Process) string { return p.Relationships.App.GUID() })
		return err
	})
	group.Go(func() (err error) {
		r.instances, _, err = ccv3.ListBy[ccv3.ServiceInstance](ctx, client, "/v3/service_instances", nil, "space_guids", spaces)
		return err
	})
	group.Go(func() (err error) {
		routes, _, err = ccv3.ListBy[ccv3.Route](ctx, client, "/v3/routes", nil, "space_guids", spaces)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	r.places, r.declared = v.places, map[string]*manifest.Object{}
	r.declare(v.desired)
	v.exists = map[manifest.Ref]bool{}
	for _, x := range routes {
		for _, p := range v.places { // a shared one may be in several
			if x.Relationships.Space.GUID() == p.space {
				v.exists[lower(manifest.Ref{Kind: manifest.KindRoute, Path: p.path + "/" + x.URL})] = true
			}
		}
	}
	for _, x := range r.instances {
		v.exists[lower(manifest.Ref{Kind: manifest.KindServiceInstance, Path: paths[x.Relationships.Space.GUID()] + "/" + x.Name})] = true
	}
	return nil
}

// asks are about everything that is declared.
func (v *validation) asks() asks {
	var a asks
	for _, p := range v.places {
		first := ask{object: firstIn(v.desired, p.path), name: p.path}
		a.places, a.roles = append(a.places, first), append(a.roles, first)
	}
	live := map[manifest.Ref]ccv3.App{}
	for _, app := range v.readings.apps {
		if o := v.readings.declared[app.GUID]; o != nil {
			live[o.Ref] = app
		}
	}
	for _, o := range v.desired.Objects() {
		if !slices.ContainsFunc(v.places, func(p place) bool { return p.path == o.Ref.Space() }) {
			continue
		}
		switch o.Ref.Kind {
		case manifest.KindApp:
			app, exists := live[o.Ref]
			a.ofLifecycle("", o)
			a.ofCode("", o, map[bool]*manifest.Object{true: o}[exists])
			a.loads = append(a.loads, v.load(o, app))
		case manifest.KindRoute:
			if !v.exists[lower(o.Ref)] && o.Inputs["shared"] == nil {
				a.ofRoute("", o)
			}
			a.ofOptions("", o)
		case manifest.KindServiceInstance:
			if v.exists[lower(o.Ref)] {
				a.ofService("", o, []string{"parameters"}, diff.Update)
			} else {
				a.ofService("", o, nil, diff.Add)
			}
		case manifest.KindServiceBinding, manifest.KindServiceKey, manifest.KindServiceRouteBinding:
			a.ofBinding("", o, v.desired)
		}
	}
	return a
}

// load is what an app will take, beside what it takes now. How it gets there a plan tells, not a manifest.
func (v *validation) load(o *manifest.Object, app ccv3.App) load {
	now := map[string]map[string]any{}
	for _, p := range v.readings.processes[app.GUID] {
		now[p.Type] = map[string]any{"instances": p.Instances, "memory_in_mb": p.MemoryInMB, "log_rate_limit_in_bytes_per_second": p.LogRateLimit}
	}
	l := load{ask: ask{object: o, name: o.Ref.Space()}}
	if app.State == "STARTED" {
		l.was = total(now)
	}
	if o.Spec["state"] == "STOPPED" {
		l.stops = true
		return l
	}
	will := overlaid(now, o)
	l.will, l.sizes = total(will), sizesOf(will)
	return l
}

func firstIn(set manifest.Set, space string) *manifest.Object {
	objects := slices.DeleteFunc(set.Objects(), func(o *manifest.Object) bool { return o.Ref.Space() != space })
	slices.SortStableFunc(objects, func(a, b *manifest.Object) int { return cmpOrigin(a.Origin, b.Origin) })
	return objects[0]
}

func (v *validation) bindings(c *checks, p place) {
	var names []string
	for _, i := range v.readings.instances {
		if i.Relationships.Space.GUID() == p.space {
			names = append(names, i.Name)
		}
	}
	for _, o := range v.desired.Of(manifest.KindServiceBinding) {
		name, _ := o.Spec["service_instance"].(string)
		declared := v.desired.Get(o.Ref.Child(manifest.KindServiceInstance, name)) != nil
		if o.Ref.Space() == p.path && name != "" && !declared && !slices.Contains(names, name) {
			c.unknown(ask{object: o, pointer: "/service_instance"}, "unknown-service-instance", fmt.Sprintf("there is no service instance %s in %s", name, p.path), name, names)
		}
	}
}
