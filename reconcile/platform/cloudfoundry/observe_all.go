package cloudfoundry

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

var _ platform.Exporter = (*Driver)(nil)

// Export reads everything in the spaces, as if Git declared all of it. The controller notes in audit events that the
// credentials of user-provided service instances were read.
func (d *Driver) Export(ctx context.Context, places ...string) ([]string, platform.Observation, error) {
	var spaces []string
	for _, at := range places {
		found := []string{at}
		if !strings.Contains(at, "/") {
			var err error
			if found, err = d.spacesOf(ctx, at); err != nil {
				return nil, platform.Observation{}, err
			}
		}
		spaces = append(spaces, found...)
	}
	// A set that speaks of every kind in every space, so that every kind is read. Of its prunes nothing else comes: there is no plan.
	var all manifest.Set
	for _, space := range spaces {
		for _, kind := range manifest.Kinds() {
			all.MarkPrune(manifest.Prune{Space: space, Kind: kind})
		}
	}
	obs, err := d.observe(ctx, all, func(r *readings) manifest.Set {
		r.declareAll(&all)
		return all
	})
	for _, o := range all.Objects() {
		if live := obs.Live.Get(o.Ref); live != nil {
			live.Settings, live.Inputs = o.Settings, o.Inputs
		}
	}
	return spaces, obs, err
}

// spacesOf lists the spaces of an organization that the user can see.
func (d *Driver) spacesOf(ctx context.Context, name string) ([]string, error) {
	orgs, _, err := ccv3.ListBy[ccv3.Org](ctx, d.client, "/v3/organizations", nil, "names", []string{name})
	if err != nil {
		return nil, explain(manifest.Ref{}, "looking for the organization", err)
	}
	if len(orgs) != 1 {
		return nil, d.missingOrg(ctx, name)
	}
	spaces, _, err := ccv3.List[ccv3.Space](ctx, d.client, "/v3/spaces", url.Values{"organization_guids": {orgs[0].GUID}})
	if err != nil {
		return nil, explain(manifest.Ref{}, "looking for the spaces", err)
	}
	paths := make([]string, len(spaces))
	for i, s := range spaces {
		paths[i] = orgs[0].Name + "/" + s.Name
	}
	slices.Sort(paths)
	return paths, nil
}

// declareAll puts into desired what the lists have, so far as its declaration decides what else is read: every app,
// credentials and shares of every instance, and the routes of other spaces that lead to apps of ours.
func (r *readings) declareAll(desired *manifest.Set) {
	spaces, apps := map[string]string{}, map[string]string{}
	for _, p := range r.places {
		spaces[p.space] = p.path
	}
	for _, app := range r.apps {
		if path, ok := spaces[app.Relationships.Space.GUID()]; ok {
			apps[app.GUID] = path
			desired.Put(&manifest.Object{Ref: manifest.Ref{Kind: manifest.KindApp, Path: path + "/" + app.Name}, Settings: settingsOf(app)})
		}
	}
	for _, i := range r.instances {
		if path, ok := spaces[i.Relationships.Space.GUID()]; ok {
			desired.Put(&manifest.Object{Ref: manifest.Ref{Kind: manifest.KindServiceInstance, Path: path + "/" + i.Name}, Spec: map[string]any{
				"credentials": map[string]any{}, "share_to": map[string]any{},
				"service_plan": r.services.plans[i.Relationships.ServicePlan.GUID()].Name,
			}})
		}
	}
	for _, route := range r.routes {
		home := spaces[route.Relationships.Space.GUID()]
		for _, dest := range route.Destinations {
			if path := apps[dest.App.GUID]; path != "" && path != home {
				ref := manifest.Ref{Kind: manifest.KindRoute, Path: path + "/" + strings.ToLower(route.URL)}
				desired.Put(&manifest.Object{Ref: ref, Inputs: map[string]any{"shared": true}})
			}
		}
	}
}

// settingsOf reads the settings that stand on an app because cf push brought them there: Fettle itself never does.
func settingsOf(app ccv3.App) *manifest.Settings {
	texts := map[string]string{}
	for _, name := range manifest.SettingNames() {
		if text := app.Metadata.Annotation(manifest.MetadataPrefix + name); text != "" {
			texts[name] = text
		}
	}
	settings, err := manifest.NewSettings(texts)
	if err != nil || len(texts) == 0 {
		return nil
	}
	return settings
}
