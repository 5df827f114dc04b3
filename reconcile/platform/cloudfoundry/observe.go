package cloudfoundry

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// readings is what the controller said, before it is brought into canonical form.
type readings struct {
	places      []place
	apps        []ccv3.App
	processes   map[string][]ccv3.Process    // by app guid, oldest first
	deployments map[string][]ccv3.Deployment // active ones, by app guid
	routes      []ccv3.Route
	instances   []ccv3.ServiceInstance
	services    serviceReadings

	// Of the declared apps alone:
	declared map[string]*manifest.Object // by app guid
	details  map[string]*details
	droplets map[string]ccv3.Droplet // by guid
	packages map[string]ccv3.Package // by guid
	bindings []ccv3.Binding
	bound    []ccv3.ServiceInstance // what the bindings lead to
}

// Observe reads the spaces that desired touches. The package comment says what is read where and at what cost.
//
// Apps that Git does not declare appear with what the lists say of them, so that they can be reported as unmanaged;
// their environment, commands and bindings are not read, nor do their ledgers count: another manifest may own them.
func (d *Driver) Observe(ctx context.Context, desired manifest.Set) (platform.Observation, error) {
	return d.observe(ctx, desired, nil)
}

// observe reads what desired is about; complete, if there is one, says with the lists at hand what that is.
func (d *Driver) observe(ctx context.Context, desired manifest.Set, complete func(*readings) manifest.Set) (platform.Observation, error) {
	ctx, warnings := ccv3.CollectWarnings(ctx)
	places, err := d.places(ctx, desired.Spaces())
	if err != nil {
		return platform.Observation{}, err
	}
	obs := platform.Observation{At: d.client.Now(), Ledger: diff.Ledger{}, IDs: map[manifest.Ref]string{}}
	r := &readings{places: places, declared: map[string]*manifest.Object{}}
	if len(places) > 0 {
		if err := d.readLists(ctx, r, desired); err != nil {
			return platform.Observation{}, explain(manifest.Ref{}, "reading the live state of "+strings.Join(desired.Spaces(), ", "), err)
		}
		if complete != nil {
			desired = complete(r)
		}
		r.declare(desired)
		if err := d.readDeclared(ctx, r, desired); err != nil {
			return platform.Observation{}, explain(manifest.Ref{}, "reading the live state of the declared apps", err)
		}
		newPicture(r, desired).draw(&obs)
		if err := d.unseen(ctx, r, &obs); err != nil {
			return platform.Observation{}, explain(manifest.Ref{}, "reading what the declared apps run", err)
		}
	}
	for _, guid := range slices.Sorted(maps.Keys(r.details)) {
		if w := r.details[guid].warning; w != "" {
			obs.Warnings = append(obs.Warnings, w)
		}
	}
	obs.Warnings = append(obs.Warnings, warnings.All()...)
	return obs, nil
}

// readLists makes one request per kind, at once.
func (d *Driver) readLists(ctx context.Context, r *readings, desired manifest.Set) error {
	guids := make([]string, len(r.places))
	for i, p := range r.places {
		guids[i] = p.space
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		r.apps, _, err = ccv3.ListBy[ccv3.App](ctx, d.client, "/v3/apps", nil, "space_guids", guids)
		return err
	})
	group.Go(func() error {
		all, _, err := ccv3.ListBy[ccv3.Process](ctx, d.client, "/v3/processes", nil, "space_guids", guids)
		r.processes = groupBy(all, func(p ccv3.Process) string { return p.Relationships.App.GUID() })
		for _, of := range r.processes {
			slices.SortStableFunc(of, func(a, b ccv3.Process) int { return a.CreatedAt.Compare(b.CreatedAt) })
		}
		return err
	})
	group.Go(func() (err error) {
		r.routes, _, err = ccv3.ListBy[ccv3.Route](ctx, d.client, "/v3/routes", nil, "space_guids", guids)
		return err
	})
	group.Go(func() error {
		// There is no filter by space. Few deployments are active at a time, even on a whole foundation.
		all, _, err := ccv3.List[ccv3.Deployment](ctx, d.client, "/v3/deployments", url.Values{"status_values": {"ACTIVE"}})
		r.deployments = groupBy(all, func(x ccv3.Deployment) string { return x.Relationships.App.GUID() })
		return err
	})
	if speaksOf(desired, "", manifest.KindServiceInstance, manifest.KindServiceBinding, manifest.KindServiceKey, manifest.KindServiceRouteBinding) {
		group.Go(func() error { return d.readInstances(ctx, r, nil, guids) })
	}
	return group.Wait()
}

// declare finds the live apps that Git declares. App names ignore case.
func (r *readings) declare(desired manifest.Set) {
	paths := map[string]string{}
	for _, p := range r.places {
		paths[p.space] = p.path
	}
	wanted := map[string]*manifest.Object{}
	for _, o := range desired.Of(manifest.KindApp) {
		wanted[o.Ref.Space()+"/"+strings.ToLower(o.Ref.Name())] = o
	}
	for _, app := range r.apps {
		if o := wanted[paths[app.Relationships.Space.GUID()]+"/"+strings.ToLower(app.Name)]; o != nil {
			r.declared[app.GUID] = o
		}
	}
}

// readDeclared reads what no list carries for the declared apps and service instances, and the lists that are filtered by them.
func (d *Driver) readDeclared(ctx context.Context, r *readings, desired manifest.Set) error {
	apps := slices.Sorted(maps.Keys(r.declared))
	found := make([]*details, len(apps))
	group, ctx := errgroup.WithContext(ctx)
	for i, guid := range apps {
		group.Go(func() (err error) { // the client bounds how many run at a time
			found[i], err = d.readDetails(ctx, r.declared[guid].Ref, guid)
			return err
		})
	}
	group.Go(func() error { return d.readCode(ctx, r) })
	group.Go(func() error { return d.readServices(ctx, r, desired) })
	group.Go(func() (err error) {
		r.bindings, r.bound, err = d.readBindings(ctx, apps)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	r.details = map[string]*details{}
	for i, guid := range apps {
		r.details[guid] = found[i]
	}
	return nil
}

// readCode reads the current droplets of the declared apps and the packages that these were made of.
func (d *Driver) readCode(ctx context.Context, r *readings) error {
	var guids []string
	for _, app := range r.apps {
		if droplet := app.Relationships.CurrentDroplet.GUID(); droplet != "" && r.declared[app.GUID] != nil {
			guids = append(guids, droplet)
		}
	}
	droplets, _, err := ccv3.ListBy[ccv3.Droplet](ctx, d.client, "/v3/droplets", nil, "guids", guids)
	if err != nil {
		return err
	}
	r.droplets = byGUID(droplets)
	guids = nil
	for _, droplet := range droplets {
		if link, ok := droplet.Links["package"]; ok {
			guids = append(guids, link.GUID())
		}
	}
	guids = unique(guids)
	packages, _, err := ccv3.ListBy[ccv3.Package](ctx, d.client, "/v3/packages", nil, "guids", guids)
	if err != nil {
		return err
	}
	r.packages = byGUID(packages)
	return d.readDeletedPackages(ctx, r, slices.DeleteFunc(guids, func(guid string) bool { return r.packages[guid].GUID != "" }))
}

// readDeletedPackages learns from their builds what packages held that exist no longer: code that runs is known, though
// it could not be staged again.
func (d *Driver) readDeletedPackages(ctx context.Context, r *readings, gone []string) error {
	builds, _, err := ccv3.ListBy[ccv3.Build](ctx, d.client, "/v3/builds", nil, "package_guids", gone)
	for _, b := range builds {
		r.packages[b.Package.GUID] = ccv3.Package{Resource: ccv3.Resource{GUID: b.Package.GUID, Metadata: b.Metadata}}
	}
	return err
}

// readBindings reads the bindings of the apps with the service instances that they lead to.
func (d *Driver) readBindings(ctx context.Context, apps []string) ([]ccv3.Binding, []ccv3.ServiceInstance, error) {
	bindings, included, err := ccv3.ListBy[ccv3.Binding](ctx, d.client, "/v3/service_credential_bindings",
		url.Values{"type": {"app"}, "include": {"service_instance"}}, "app_guids", apps)
	return bindings, included.ServiceInstances, err
}

func groupBy[T any](all []T, key func(T) string) map[string][]T {
	groups := map[string][]T{}
	for _, x := range all {
		groups[key(x)] = append(groups[key(x)], x)
	}
	return groups
}

func byGUID[T interface{ ID() string }](all []T) map[string]T {
	m := make(map[string]T, len(all))
	for _, x := range all {
		m[x.ID()] = x
	}
	return m
}

// sameSpaceTwice finds two spellings of one space, which would be compared as two.
func sameSpaceTwice(places []place) error {
	seen := map[string]string{}
	for _, p := range places {
		if first, twice := seen[p.space]; twice {
			return &platform.Error{
				Class: platform.Invalid, Ref: manifest.Ref{Kind: manifest.KindSpace, Path: p.path}, Doing: "looking for the space",
				Message: fmt.Sprintf("%s and %s are the same space", first, p.path), Hint: "spell it alike everywhere",
			}
		}
		seen[p.space] = p.path
	}
	return nil
}
