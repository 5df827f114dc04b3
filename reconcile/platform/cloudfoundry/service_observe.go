package cloudfoundry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// serviceReadings is what the controller said of service instances and of what hangs on them, apart from the lists of
// instances and of app bindings.
type serviceReadings struct {
	sealer    sealer
	plans     map[string]ccv3.ServicePlan     // by guid
	offerings map[string]ccv3.ServiceOffering // by guid
	fixed     map[string]bool                 // guids of plans that an instance cannot change for another one

	// Of declared instances alone, by guid, and where Git declares such a thing.
	credentials map[string]reading
	shares      map[string]reading

	keys          []ccv3.Binding
	routeBindings []ccv3.RouteBinding
}

// reading is what takes a request of its own, or why it could not be read.
type reading struct {
	value map[string]any
	why   string
}

// speaksOf reports whether desired has to do with a kind in a space ("" for any): it declares one, or says that what is not
// declared has to go.
func speaksOf(desired manifest.Set, space string, kinds ...manifest.Kind) bool {
	for _, o := range desired.Objects() {
		if (space == "" || o.Ref.Space() == space) && slices.Contains(kinds, o.Ref.Kind) {
			return true
		}
	}
	return slices.ContainsFunc(desired.Prunes(), func(p manifest.Prune) bool {
		return (space == "" || p.Space == space) && slices.Contains(kinds, p.Kind)
	})
}

// readInstances lists the service instances of spaces, and those that are shared with them, with their plans.
func (d *Driver) readInstances(ctx context.Context, r *readings, query url.Values, spaces []string) error {
	all, included, err := ccv3.ListBy[ccv3.ServiceInstance](ctx, d.client, "/v3/service_instances", withFields(query,
		"service_plan", "guid,name,relationships.service_offering", "service_plan.service_offering", "guid,name"), "space_guids", spaces)
	r.instances, r.services.plans, r.services.offerings = all, byGUID(included.ServicePlans), byGUID(included.ServiceOfferings)
	return err
}

// withFields adds the parameters fields[RESOURCE]=KEYS.
func withFields(query url.Values, fields ...string) url.Values {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		query.Set("fields["+fields[i]+"]", fields[i+1])
	}
	return query
}

// readServices reads what the list of instances does not carry.
func (d *Driver) readServices(ctx context.Context, r *readings, desired manifest.Set) error {
	var mu sync.Mutex // of the maps below
	s := &r.services
	s.sealer = sealer{d.cfg.Sealer}
	s.credentials, s.shares, s.fixed = map[string]reading{}, map[string]reading{}, map[string]bool{}
	group, ctx := errgroup.WithContext(ctx)
	spaces := map[string]string{}
	for _, p := range r.places {
		spaces[p.space] = p.path
	}
	note := func(into map[string]reading, guid string, read func(context.Context, string) (reading, error)) {
		group.Go(func() error {
			found, err := read(ctx, guid)
			mu.Lock()
			defer mu.Unlock()
			into[guid] = found
			return err
		})
	}
	homeless := r.homeless(desired)
	var all, otherPlan []string // guids of instances, and of plans
	for _, instance := range r.instances {
		path, ours := spaces[instance.Relationships.Space.GUID()]
		if !ours {
			continue // shared with us
		}
		all = append(all, instance.GUID)
		o := declaredAs(desired, manifest.Ref{Kind: manifest.KindServiceInstance, Path: path + "/" + instance.Name})
		if !established(instance.LastOperation) {
			continue
		}
		wanted := func(ref manifest.Ref) bool { return strings.EqualFold(ref.Name(), instance.Name) }
		if instance.Type == managed && (o != nil && o.Spec["share_to"] != nil || slices.ContainsFunc(homeless, wanted)) {
			note(s.shares, instance.GUID, d.readShares)
		}
		if o == nil {
			continue
		}
		if o.Spec["credentials"] != nil && instance.Type == userProvided {
			note(s.credentials, instance.GUID, d.readCredentials)
		}
		if plan := instance.Relationships.ServicePlan.GUID(); plan != "" && o.Spec["service_plan"] != s.plans[plan].Name {
			otherPlan = append(otherPlan, plan)
		}
	}
	group.Go(func() error {
		plans, _, err := ccv3.ListBy[ccv3.ServicePlan](ctx, d.client, "/v3/service_plans", nil, "guids", unique(otherPlan))
		for _, p := range plans {
			s.fixed[p.GUID] = !p.BrokerCatalog.Features.PlanUpdateable
		}
		return err
	})
	if speaksOf(desired, "", manifest.KindServiceKey) {
		group.Go(func() (err error) {
			s.keys, _, err = ccv3.ListBy[ccv3.Binding](ctx, d.client, "/v3/service_credential_bindings", url.Values{"type": {"key"}}, "service_instance_guids", all)
			return err
		})
	}
	if speaksOf(desired, "", manifest.KindServiceRouteBinding) {
		group.Go(func() (err error) {
			s.routeBindings, _, err = ccv3.ListBy[ccv3.RouteBinding](ctx, d.client, "/v3/service_route_bindings", nil, "service_instance_guids", all)
			return err
		})
	}
	return group.Wait()
}

// readCredentials reads the credentials of a user-provided service instance. The controller notes every look in an audit
// event, so only those are read that Git declares.
func (d *Driver) readCredentials(ctx context.Context, guid string) (reading, error) {
	var data []byte
	_, err := d.client.Do(ctx, http.MethodGet, "/v3/service_instances/"+guid+"/credentials", nil, &data)
	switch {
	case ccv3.IsForbidden(err), ccv3.IsNotFound(err):
		return reading{why: "the user's role may not read credentials; a space developer may"}, nil
	case err != nil:
		return reading{}, err
	}
	var values map[string]any
	if json.Unmarshal(data, &values) != nil {
		return reading{why: "the platform's answer is no JSON object"}, nil //nolint:nilerr // the cause could quote a value
	}
	return reading{value: canonicalJSON(values).(map[string]any)}, nil
}

// readShares reads the spaces with which a managed service instance is shared, as "ORG/SPACE".
func (d *Driver) readShares(ctx context.Context, guid string) (reading, error) {
	var answer struct {
		Included ccv3.Included `json:"included"`
	}
	query := withFields(nil, "space", "guid,name,relationships.organization", "space.organization", "guid,name")
	_, err := d.client.Do(ctx, http.MethodGet, "/v3/service_instances/"+guid+"/relationships/shared_spaces?"+query.Encode(), nil, &answer)
	switch {
	case ccv3.IsForbidden(err), ccv3.IsNotFound(err):
		return reading{why: "the user's role may not see with whom it is shared"}, nil
	case err != nil:
		return reading{}, err
	}
	orgs, places := byGUID(answer.Included.Organizations), map[string]any{}
	for _, space := range answer.Included.Spaces {
		places[orgs[space.Relationships.Organization.GUID()].Name+"/"+space.Name] = map[string]any{}
	}
	return reading{value: places}, nil
}

// canonicalJSON brings what came as JSON into canonical form. A fraction, which has none, becomes a text: no manifest can
// declare it, so it differs from whatever is declared.
func canonicalJSON(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int64(v)
		}
		text, _ := json.Marshal(v)
		return string(text)
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = canonicalJSON(e)
		}
		return l
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = canonicalJSON(e)
		}
		return m
	}
	return v
}

// Types of service instances.
const (
	managed      = "managed"
	userProvided = "user-provided"
)

// underWay reports whether an operation is being carried out.
func underWay(op *ccv3.LastOperation) bool {
	return op != nil && (op.State == "initial" || op.State == "in progress")
}

// established reports whether something that has a last operation exists for those who want to use it: neither is it still
// to come into being or failed to, nor is it going. What is not established is no live resource, so that Git's declaration
// of it is a change: the step awaits the operation under way and then does what is left.
func established(op *ccv3.LastOperation) bool {
	switch {
	case op == nil || op.Type == "update":
		return true
	case op.Type == "delete":
		return op.State == "failed"
	}
	return op.State == "succeeded"
}

// declaredAs finds the declared object of ref, whatever the spelling of its name.
func declaredAs(desired manifest.Set, ref manifest.Ref) *manifest.Object {
	if o := desired.Get(ref); o != nil {
		return o
	}
	for _, o := range desired.Of(ref.Kind) {
		if lower(o.Ref) == lower(ref) {
			return o
		}
	}
	return nil
}

// drawServices makes the objects of service instances, service keys and route bindings, where desired has to do with them.
func (p *picture) drawServices(obs *platform.Observation) {
	instances := map[string]manifest.Ref{} // those of the spaces themselves, by guid
	for _, instance := range p.instances {
		place, ok := p.spaces[instance.Relationships.Space.GUID()]
		if !ok {
			continue // shared with one of them
		}
		ref := p.spelling(manifest.Ref{Kind: manifest.KindServiceInstance, Path: place.path + "/" + instance.Name})
		instances[instance.GUID] = ref
		if failedToCreate(instance.LastOperation) {
			continue // of no use to anybody, and the controller replaces it when it is asked for again
		}
		obs.IDs[ref] = instance.GUID
		if established(instance.LastOperation) && speaksOf(p.desired, place.path, manifest.KindServiceInstance) {
			obs.Live.Put(p.instance(instance, ref))
			p.noteSeal(obs, ref, instance.Resource)
			p.ownService(obs, ref, instance.Resource)
			p.noteUpgrade(obs, ref, instance)
		}
	}
	p.identifyShared(obs)
	for _, key := range p.services.keys {
		instance, ok := instances[key.Relationships.ServiceInstance.GUID()]
		if !ok || !speaksOf(p.desired, instance.Space(), manifest.KindServiceKey) {
			continue
		}
		name := deref(key.Name)
		ref := p.spelling(instance.Child(manifest.KindServiceKey, instance.Name()+"/"+name))
		p.drawBinding(obs, ref, key.Resource, key.LastOperation, map[string]any{"service_instance": instance.Name(), "name": name})
	}
	routes := byGUID(p.routes)
	for _, b := range p.services.routeBindings {
		instance, ok := instances[b.Relationships.ServiceInstance.GUID()]
		route, known := routes[b.Relationships.Route.GUID()]
		if !ok || !known || !speaksOf(p.desired, instance.Space(), manifest.KindServiceRouteBinding) {
			continue
		}
		url := strings.ToLower(route.URL)
		ref := p.spelling(instance.Child(manifest.KindServiceRouteBinding, instance.Name()+"/"+url))
		p.drawBinding(obs, ref, b.Resource, b.LastOperation, map[string]any{"service_instance": instance.Name(), "route": url})
	}
}

// drawBinding puts a key or a route binding into the picture.
func (p *picture) drawBinding(obs *platform.Observation, ref manifest.Ref, of ccv3.Resource, op *ccv3.LastOperation, spec map[string]any) {
	if failedToCreate(op) {
		return
	}
	obs.IDs[ref] = of.GUID
	if established(op) {
		spec["metadata"] = metadata(of)
		obs.Live.Put(&manifest.Object{Ref: ref, Spec: spec})
		p.noteSeal(obs, ref, of)
		p.ownService(obs, ref, of)
	}
}

// ownService notes that Fettle made a resource, where that decides whether it goes.
func (p *picture) ownService(obs *platform.Observation, ref manifest.Ref, of ccv3.Resource) {
	if _, pruned := p.desired.Pruned(ref.Space(), ref.Kind); pruned && decodeLedger(of.Metadata.Annotation(appliedAnnotation)) != nil {
		obs.Ledger.Own(ref, "")
	}
}

// noteUpgrade tells of a newer version, unless Git says which one it wants. It is no difference: Git has not asked for it.
func (p *picture) noteUpgrade(obs *platform.Observation, ref manifest.Ref, instance ccv3.ServiceInstance) {
	if o := p.desired.Get(ref); o != nil && instance.UpgradeAvailable && o.Spec["maintenance_info"] == nil {
		obs.Warnings = append(obs.Warnings, fmt.Sprintf("%s: its plan has a newer version; declare maintenance_info to upgrade it, or run `cf upgrade-service %s`", ref, ref.Name()))
	}
}

// noteSeal notes what a resource tells of the parameters that it was given, where Git declares some.
func (p *picture) noteSeal(obs *platform.Observation, ref manifest.Ref, of ccv3.Resource) {
	if o := p.desired.Get(ref); o == nil || o.Inputs[parametersInput] == nil {
		return
	}
	if obs.Seals == nil {
		obs.Seals = diff.Seals{}
	}
	obs.Seals[ref] = p.services.sealer.of(of)
}

func metadata(of ccv3.Resource) map[string]any {
	return map[string]any{"labels": published(of.Metadata.Labels), "annotations": published(of.Metadata.Annotations)}
}

// instance makes the object of one service instance.
func (p *picture) instance(instance ccv3.ServiceInstance, ref manifest.Ref) *manifest.Object {
	o := &manifest.Object{
		Ref: ref, Unobservable: map[string]string{}, Secrets: map[string]bool{"/credentials": true},
		Spec: map[string]any{
			"type": instance.Type, "metadata": metadata(instance.Resource),
			"tags": list(slices.Sorted(slices.Values(instance.Tags))),
		},
	}
	put := func(key string, from map[string]reading, spell func(map[string]any) map[string]any) {
		found, read := from[instance.GUID]
		switch {
		case found.why != "":
			o.Unobservable[manifest.Pointer(key)] = found.why
		case read:
			o.Spec[key] = spell(found.value)
		}
	}
	if instance.Type == userProvided {
		o.Spec["syslog_drain_url"], o.Spec["route_service_url"] = text(instance.SyslogDrainURL), text(instance.RouteServiceURL)
		put("credentials", p.services.credentials, func(v map[string]any) map[string]any { return v })
		return o
	}
	plan := p.services.plans[instance.Relationships.ServicePlan.GUID()]
	o.Spec["service_plan"], o.Spec["service_offering"] = plan.Name, p.services.offerings[plan.Relationships.ServiceOffering.GUID()].Name
	if v := instance.MaintenanceInfo.Version; v != "" {
		o.Spec["maintenance_info"] = map[string]any{"version": v}
	}
	o.Inputs = map[string]any{"fixed_plan": p.services.fixed[plan.GUID]}
	declared := declaredAs(p.desired, ref)
	put("share_to", p.services.shares, func(live map[string]any) map[string]any { return spellPlaces(live, declared) })
	return o
}

// spellPlaces gives "ORG/SPACE" the spelling that Git has for them.
func spellPlaces(live map[string]any, declared *manifest.Object) map[string]any {
	if declared == nil {
		return live
	}
	wanted, _ := declared.Spec["share_to"].(map[string]any)
	all := map[string]any{}
	for place := range live {
		for spelled := range wanted {
			if strings.EqualFold(place, spelled) {
				place = spelled
			}
		}
		all[place] = map[string]any{}
	}
	return all
}

// identifyShared gives the guids of instances that live elsewhere to the declared bindings that mean them. Of an instance of
// a space that is not ours, the list does not say with which of ours it is shared; if it is another one, the controller will say
// so when it is asked to bind.
func (p *picture) identifyShared(obs *platform.Observation) {
	for _, ref := range p.readings.homeless(p.desired) {
		for _, instance := range p.instances {
			_, ours := p.spaces[instance.Relationships.Space.GUID()]
			shared := !ours || slices.ContainsFunc(slices.Collect(maps.Keys(p.services.shares[instance.GUID].value)), func(place string) bool {
				return strings.EqualFold(place, ref.Space())
			})
			if shared && strings.EqualFold(instance.Name, ref.Name()) && established(instance.LastOperation) {
				obs.IDs[ref] = instance.GUID
			}
		}
	}
}

// homeless lists the service instances that declared bindings lead to and that do not live in the space of the binding.
func (r *readings) homeless(desired manifest.Set) []manifest.Ref {
	at := map[string]bool{}
	for _, instance := range r.instances {
		at[instance.Relationships.Space.GUID()+"/"+strings.ToLower(instance.Name)] = true
	}
	spaces := map[string]string{}
	for _, p := range r.places {
		spaces[p.path] = p.space
	}
	var all []manifest.Ref
	for _, o := range desired.Of(manifest.KindServiceBinding) {
		if name := instanceName(o); !at[spaces[o.Ref.Space()]+"/"+strings.ToLower(name)] {
			all = append(all, o.Ref.Child(manifest.KindServiceInstance, name))
		}
	}
	return all
}
