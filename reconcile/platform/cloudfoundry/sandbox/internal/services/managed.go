package services

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Managed is the type of instances with a plan and a broker behind it.
const Managed = "managed"

// planOf finds the plan of an instance; an empty one for user-provided instances.
func planOf(tx *cc.Tx, si *world.ServiceInstance) *world.ServicePlan {
	if p, ok := tx.W.ServicePlans.Get(si.Plan); ok {
		return p
	}
	return &world.ServicePlan{}
}

func offeringOf(tx *cc.Tx, si *world.ServiceInstance) *world.ServiceOffering {
	o, _ := marketplace.Of(tx, planOf(tx, si))
	return o
}

// sharedWith reports whether somebody who sees some spaces sees an instance, which may be shared with them.
func sharedWith(si *world.ServiceInstance, space func(string) bool) bool {
	return space(si.Space) || slices.ContainsFunc(si.SharedSpaces, space)
}

// requires reports whether instances of an offering need a permission: route_forwarding, syslog_drain or volume_mount.
func requires(o *world.ServiceOffering, what string) bool { return slices.Contains(o.Requires, what) }

const inProgress = "There is an operation in progress for the service instance"

// busy reports whether something is being done to an instance or a binding.
func busy(o world.LastOperation) bool { return o.State == "initial" || o.State == osb.InProgress }

func failedToCreate(o world.LastOperation) bool { return o.Type == "create" && o.State == osb.Failed }

// began is an operation of which nothing is known yet, moved sets its state.
func began(tx *cc.Tx, typ, state string) world.LastOperation {
	return world.LastOperation{Type: typ, State: state, Updated: world.Base{Created: tx.Now, Updated: tx.Now}}
}

func moved(tx *cc.Tx, o *world.LastOperation, typ, state, description string) {
	if o.Type != typ {
		*o = began(tx, typ, state)
	}
	o.State, o.Description, o.Updated.Updated = state, description, tx.Now
}

// planFor finds a plan that a request names for an instance in a space.
func planFor(q *cc.Req, guid string, s *world.Space) (*world.ServicePlan, error) {
	p, ok := q.W.ServicePlans.Get(guid)
	switch {
	case !ok || !marketplace.Visible(q, p):
		return nil, cc.Unprocessable("Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.")
	case !p.Available:
		return nil, cc.Unprocessable("Invalid service plan. The service plan '%s' with guid '%s' has been removed from the service broker's catalog. "+
			"It is not possible to create new service instances using this plan.", p.Name, p.GUID)
	case !marketplace.InSpace(&q.Tx, p, s):
		return nil, cc.Unprocessable("Invalid service plan. This could be due to a space-scoped broker which is offering the service plan '%s' with guid '%s' in another space "+
			"or that the plan is not enabled in this organization. Ensure that the service plan is visible in your current space '%s' with guid '%s'.", p.Name, p.GUID, s.Name, s.GUID)
	}
	return p, nil
}

func readParameters(b *cc.Body) tree.Raw {
	v := b.Get("parameters")
	if v == nil {
		return nil
	}
	if _, ok := v.(tree.Obj); !ok {
		b.Add("Parameters must be an object")
	}
	return tree.JSON(v)
}

// createManaged makes an instance whose broker is asked by a job.
func createManaged(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("type", "name", "tags", "relationships", "metadata", "parameters")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	space, plan := "", ""
	if rel, ok := b.Related(); ok {
		if p := cc.UnknownFields(rel, "space", "service_plan"); p != "" {
			b.Add("Relationships %s", p)
		}
		space = b.ToOne(rel, "space", true)
		plan = b.ToOne(rel, "service_plan", true)
	}
	si := &world.ServiceInstance{Base: q.W.Base(), Type: Managed, Space: space, Plan: plan, LastOperation: began(&q.Tx, "create", "initial")}
	readName(b, si, true)
	readTags(b, si)
	si.Parameters = readParameters(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := q.Feature("service_instance_creation"); err != nil {
		return nil, err
	}
	sp, err := q.BodySpace(space)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(sp.GUID); err != nil {
		return nil, err
	}
	p, err := planFor(q, plan, sp)
	if err != nil {
		return nil, err
	}
	_, broker := marketplace.Of(&q.Tx, p)
	if broker.State != world.BrokerAvailable {
		return nil, cc.Unprocessable("The service instance cannot be created because there is an operation in progress for the service broker.")
	}
	if problem := quotas.ServiceInstance(&q.Tx, sp.GUID, p.Free); problem != "" {
		return nil, cc.Unprocessable("%s", problem)
	}
	for _, other := range q.W.ServiceInstances.By("space", sp.GUID) {
		if other.Name == si.Name && failedToCreate(other.LastOperation) { // a failed one makes room
			q.W.ServiceInstances.Delete(other.GUID)
			usage.Service(&q.Tx, other, "DELETED")
		}
	}
	if taken(&q.Tx, sp.GUID, si) {
		return nil, cc.Unprocessable("The service instance name is taken: %s.", si.Name)
	}
	if err := m.Check(&si.Base); err != nil {
		return nil, err
	}
	m.Apply(&si.Base)
	if v, err := tree.Parse(p.MaintenanceInfo); err == nil {
		if o, ok := v.(tree.Obj); ok {
			si.MaintenanceInfo = tree.JSON(cc.Pick(o, []string{"version"}))
		}
	}
	q.W.ServiceInstances.Insert(si)
	usage.Service(&q.Tx, si, "CREATED")
	return cc.AcceptedJob(startOperation(&q.Tx, osb.Provision, si, nil, b.Obj)), nil
}

// managedUpdate is what a PATCH asks for.
type managedUpdate struct {
	body       *cc.Body
	name, plan string
	version    string // of maintenance_info
	tags       []string
	meta       cc.Metadata
}

func readManagedUpdate(q *cc.Req) (*managedUpdate, error) {
	b, err := q.Body("name", "tags", "parameters", "relationships", "maintenance_info", "metadata")
	if err != nil {
		return nil, err
	}
	u := &managedUpdate{body: b, meta: b.Metadata()}
	if b.Has("relationships") {
		if rel, ok := b.Related(); ok {
			if p := cc.UnknownFields(rel, "service_plan"); p != "" {
				b.Add("Relationships %s", p)
			}
			u.plan = b.ToOne(rel, "service_plan", true)
		}
	}
	if v := b.Get("name"); v != nil {
		var ok bool
		if u.name, ok = v.(string); !ok {
			b.Add("Name must be a string")
		}
	}
	var into world.ServiceInstance
	readTags(b, &into)
	u.tags = into.Tags
	readParameters(b)
	if v := b.Get("maintenance_info"); v != nil {
		o, ok := v.(tree.Obj)
		if !ok {
			b.Add("Maintenance info must be an object")
		}
		if p := cc.UnknownFields(o, "version"); p != "" {
			b.Add("Maintenance info %s", p)
		}
		if v := o.Get("version"); v != nil {
			u.version, _ = v.(string)
			if strings.Count(u.version, ".") < 2 {
				b.Add("Maintenance info Version must be a Semantic Version string")
			}
		}
	}
	return u, b.Err()
}

func versionOf(raw tree.Raw) string {
	v, _ := tree.Parse(raw)
	o, _ := v.(tree.Obj)
	s, _ := o.Get("version").(string)
	return s
}

// preflight says why an update cannot be, before anybody is asked.
func (u *managedUpdate) preflight(q *cc.Req, si *world.ServiceInstance) error {
	tx, old := &q.Tx, planOf(&q.Tx, si)
	offering := offeringOf(tx, si)
	sp, _ := tx.W.Spaces.Get(si.Space)
	var plan *world.ServicePlan
	if u.plan != "" {
		var err error
		if plan, err = planFor(q, u.plan, sp); err != nil {
			return err
		}
		if plan.Offering != old.Offering {
			return cc.NewError(400, 1002, "InvalidRelation", "service plan relates to a different service offering")
		}
	}
	if failedToCreate(si.LastOperation) {
		return cc.NewError(404, 60004, "ServiceInstanceNotFound", "The service instance could not be found: %s", si.Name)
	}
	for _, other := range tx.W.ServiceInstances.By("space", si.Space) {
		if u.name != "" && other != si && lower(other.Name) == lower(u.name) {
			return cc.Unprocessable("The service instance name is taken: %s", u.name)
		}
	}
	if plan != nil {
		if p := quotas.PaidPlan(tx, si.Space, plan.Free); p != "" {
			return cc.Unprocessable("%s", p)
		}
	}
	if u.body.Has("name") && len(si.SharedSpaces) > 0 {
		return cc.Unprocessable("Service instances that have been shared cannot be renamed")
	}
	if plan != nil {
		if !marketplace.PlanUpdateable(tx, old) {
			return cc.Unprocessable("The service does not support changing plans.")
		}
		if len(tx.W.ServiceBindings.By("instance", si.GUID)) > 0 && !marketplace.Bindable(tx, plan) {
			return cc.Unprocessable("The service plan is invalid: cannot switch to non-bindable plan when service bindings exist")
		}
	}
	if u.version != "" {
		switch {
		case plan != nil && plan != old:
			return cc.Unprocessable("maintenance_info should not be changed when switching to different plan.")
		case old.MaintenanceInfo == nil:
			return cc.Unprocessable("The service broker does not support upgrades for service instances created from this plan.")
		case u.version != versionOf(old.MaintenanceInfo) && u.version != versionOf(si.MaintenanceInfo):
			return cc.Unprocessable("maintenance_info.version requested is invalid. Please ensure the catalog is up to date and you are providing a version supported by this service plan.")
		}
	}
	if !old.Available {
		for _, f := range []struct {
			name string
			hit  bool
		}{{"parameters", u.body.Get("parameters") != nil}, {"name", offering.AllowContextUpdates && u.name != ""}, {"maintenance_info", u.version != ""}} {
			if f.hit {
				return cc.Unprocessable("Cannot update %s of a service instance that belongs to inaccessible plan", f.name)
			}
		}
	}
	return nil
}

// asksBroker reports whether the broker has to hear of an update.
func (u *managedUpdate) asksBroker(tx *cc.Tx, si *world.ServiceInstance) bool {
	return u.body.Has("name") && offeringOf(tx, si).AllowContextUpdates || u.body.Has("parameters") ||
		u.plan != "" && u.plan != si.Plan || u.version != "" && u.version != versionOf(si.MaintenanceInfo)
}

// apply makes the change in our own records.
func (u *managedUpdate) apply(si *world.ServiceInstance) {
	if u.name != "" {
		si.Name = u.name
	}
	if u.body.Has("tags") {
		si.Tags = u.tags
	}
	u.meta.Apply(&si.Base)
}

func updateManaged(q *cc.Req, si *world.ServiceInstance) (*cc.Reply, error) {
	u, err := readManagedUpdate(q)
	if err != nil {
		return nil, err
	}
	if err := u.preflight(q, si); err != nil {
		return nil, err
	}
	if err := u.meta.Check(&si.Base); err != nil {
		return nil, err
	}
	metadataOnly := len(u.body.Obj) == 1 && u.body.Has("metadata") && si.LastOperation.Type != "delete"
	if !metadataOnly {
		if err := unlocked(&q.Tx, si); err != nil {
			return nil, err
		}
	}
	if u.asksBroker(&q.Tx, si) {
		moved(&q.Tx, &si.LastOperation, "update", osb.InProgress, "")
		return cc.AcceptedJob(startOperation(&q.Tx, osb.Update, si, nil, u.body.Obj)), nil
	}
	auditInstance(&q.Tx, si, "update", hideParameters(u.body.Obj))
	renamed := u.name != "" && u.name != si.Name
	u.apply(si)
	if renamed {
		usage.Service(&q.Tx, si, "UPDATED")
	}
	if !metadataOnly {
		moved(&q.Tx, &si.LastOperation, "update", osb.Succeeded, "")
	}
	q.Touch(&si.Base)
	return cc.OK(PresentInstance(q, si)), nil
}

// unlocked refuses what would disturb an operation under way.
func unlocked(tx *cc.Tx, si *world.ServiceInstance) error {
	if busy(si.LastOperation) {
		return cc.NewError(409, 60016, "AsyncServiceInstanceOperationInProgress", "An operation for service instance %s is in progress.", si.Name)
	}
	for _, b := range tx.W.ServiceBindings.By("instance", si.GUID) {
		if a, ok := tx.W.Apps.Get(b.App); ok && busy(b.LastOperation) {
			return cc.NewError(409, 90008, "AsyncServiceBindingOperationInProgress", "An operation for the service binding between app %s and service instance %s is in progress.", a.Name, si.Name)
		}
	}
	return nil
}

func deleteManaged(q *cc.Req, si *world.ServiceInstance) (*cc.Reply, error) {
	if q.Query.Get("purge") == "true" {
		if _, b := marketplace.Of(&q.Tx, planOf(&q.Tx, si)); !q.Admin() && (b.Space == "" || !q.HasSpaceRole(b.Space, world.SpaceDeveloper)) {
			return nil, cc.NotAuthorized()
		}
		purge(&q.Tx, si)
		return cc.NoContent(), nil
	}
	if busy(si.LastOperation) && (si.LastOperation.State == "initial" || si.LastOperation.Type != "create") {
		return nil, cc.Unprocessable("%s.", inProgress)
	}
	return cc.AcceptedJob(startOperation(&q.Tx, osb.Deprovision, si, nil, tree.Obj{})), nil
}

// purge forgets an instance with its bindings without telling its broker.
func purge(tx *cc.Tx, si *world.ServiceInstance) {
	for _, b := range tx.W.RouteBindings.By("instance", si.GUID) {
		removeRouteBinding(tx, b)
	}
	for _, b := range tx.W.ServiceBindings.By("instance", si.GUID) {
		RemoveBinding(tx, b)
	}
	for _, s := range si.SharedSpaces {
		auditShare(tx, si, "unshare", tree.O("target_space_guid", s))
	}
	tx.W.ServiceInstances.Delete(si.GUID)
	usage.Service(tx, si, "DELETED")
	auditInstance(tx, si, "purge", nil)
}

// hideParameters is a request as the audit trail shows it.
func hideParameters(o tree.Obj) tree.Obj {
	if !o.Has("parameters") {
		return o
	}
	o = o.Clone()
	o.Set("parameters", apps.Hidden)
	return o
}

// presentManaged shows what managed instances have that others do not have, and the other way round.
func presentManaged(q *cc.Req, si *world.ServiceInstance, o tree.Obj) tree.Obj {
	self, p := "/v3/service_instances/"+si.GUID, planOf(&q.Tx, si)
	info, _ := tree.Parse(si.MaintenanceInfo)
	if info == nil {
		info = tree.Obj{}
	}
	rel, meta, links := o.Get("relationships").(tree.Obj), o.Get("metadata"), o.Get("links").(tree.Obj)
	for _, k := range []string{"syslog_drain_url", "route_service_url", "relationships", "metadata", "links"} {
		o.Delete(k)
	}
	links.Delete("credentials")
	rel.Set("service_plan", cc.One(si.Plan))
	links.Set("service_plan", q.Link("/v3/service_plans/"+si.Plan))
	links.Set("parameters", q.Link(self+"/parameters"))
	links.Set("shared_spaces", q.Link(self+"/relationships/shared_spaces"))
	o = append(o, tree.O("maintenance_info", info, "upgrade_available", versionOf(si.MaintenanceInfo) != versionOf(p.MaintenanceInfo), "dashboard_url", cc.OrNil(si.DashboardURL))...)
	if len(si.BrokerMetadata) > 0 && string(si.BrokerMetadata) != "{}" && string(si.BrokerMetadata) != "null" {
		o.Set("broker_provided_metadata", si.BrokerMetadata)
	}
	return append(o, tree.O("relationships", rel, "metadata", meta, "links", links)...)
}
