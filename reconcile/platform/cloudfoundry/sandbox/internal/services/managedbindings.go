package services

import (
	"context"
	"encoding/json"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// binding is what operations need to know of a binding: one to an app, a key, or one to a route.
type binding interface {
	kind() bindingKind
	base() *world.Base
	last() *world.LastOperation
	parameters() json.RawMessage
	boundTo(tx *cc.Tx) string // the name of the app or key, the guid of the route
	ids() tree.Obj
	bound(a *osb.Answer)
	remove(tx *cc.Tx)
	audit(tx *cc.Tx, what string, request any)
}

// bindingKind names jobs and links of one kind of bindings.
type bindingKind struct{ jobs, link, path string }

var (
	appKind   = bindingKind{"service_bindings", "service_credential_binding", "/v3/service_credential_bindings/"}
	keyKind   = bindingKind{"service_keys", "service_credential_binding", "/v3/service_credential_bindings/"}
	routeKind = bindingKind{"service_route_bindings", "service_route_binding", "/v3/service_route_bindings/"}
)

type credentialBinding struct{ *world.ServiceBinding }

func (b credentialBinding) kind() bindingKind {
	if b.Type == "key" {
		return keyKind
	}
	return appKind
}
func (b credentialBinding) base() *world.Base           { return &b.Base }
func (b credentialBinding) last() *world.LastOperation  { return &b.LastOperation }
func (b credentialBinding) parameters() json.RawMessage { return b.Parameters }
func (b credentialBinding) boundTo(tx *cc.Tx) string {
	if a, ok := tx.W.Apps.Get(b.App); ok {
		return a.Name
	}
	return b.Name
}

func (b credentialBinding) ids() tree.Obj {
	return tree.O("app_guid", cc.OrNil(b.App), "route_guid", nil, "service_instance_guid", b.ServiceInstance)
}

func (b credentialBinding) bound(a *osb.Answer) {
	b.Credentials, b.SyslogDrainURL, b.VolumeMounts = a.Credentials, a.SyslogDrainURL, a.VolumeMounts
}
func (b credentialBinding) remove(tx *cc.Tx) { RemoveBinding(tx, b.ServiceBinding) }
func (b credentialBinding) audit(tx *cc.Tx, what string, request any) {
	auditBinding(tx, b.ServiceBinding, what, request, false)
}

type routeBinding struct{ *world.RouteBinding }

func (b routeBinding) kind() bindingKind           { return routeKind }
func (b routeBinding) base() *world.Base           { return &b.Base }
func (b routeBinding) last() *world.LastOperation  { return &b.LastOperation }
func (b routeBinding) parameters() json.RawMessage { return b.Parameters }
func (b routeBinding) boundTo(*cc.Tx) string       { return b.Route }
func (b routeBinding) ids() tree.Obj {
	return tree.O("app_guid", nil, "route_guid", b.Route, "service_instance_guid", b.ServiceInstance)
}
func (b routeBinding) bound(a *osb.Answer) { b.RouteServiceURL = a.RouteServiceURL }
func (b routeBinding) remove(tx *cc.Tx)    { removeRouteBinding(tx, b.RouteBinding) }
func (b routeBinding) audit(tx *cc.Tx, what string, request any) {
	auditRouteBinding(tx, b.RouteBinding, what, request)
}

func findAny(tx *cc.Tx, kind, guid string) (binding, bool) {
	if kind == routeKind.jobs {
		b, ok := tx.W.RouteBindings.Get(guid)
		return routeBinding{b}, ok
	}
	b, ok := tx.W.ServiceBindings.Get(guid)
	return credentialBinding{b}, ok
}

// allBindings of an instance, in the order in which they go with it.
func allBindings(tx *cc.Tx, si *world.ServiceInstance) (out []binding) {
	for _, b := range tx.W.RouteBindings.By("instance", si.GUID) {
		out = append(out, routeBinding{b})
	}
	credential := tx.W.ServiceBindings.By("instance", si.GUID)
	for _, typ := range []string{"app", "key"} {
		for _, b := range credential {
			if b.Type == typ {
				out = append(out, credentialBinding{b})
			}
		}
	}
	return out
}

// mayBind says why an instance cannot be bound now. Texts about keys end with a full stop, sic.
func mayBind(tx *cc.Tx, si *world.ServiceInstance, stop string) error {
	switch p := planOf(tx, si); {
	case !marketplace.Bindable(tx, p):
		return cc.Unprocessable("Service plan does not allow bindings%s", stop)
	case requires(offeringOf(tx, si), "volume_mount"):
		return cc.Unprocessable("Support for volume mount services is disabled%s", stop)
	case failedToCreate(si.LastOperation):
		return cc.Unprocessable("Service instance not found")
	case busy(si.LastOperation):
		return cc.Unprocessable(inProgress)
	}
	return nil
}

func bindManaged(q *cc.Req, b *cc.Body, si *world.ServiceInstance, a *world.App, name string, m cc.Metadata) (*cc.Reply, error) {
	parameters := readParameters(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	sb, err := newAppBinding(&q.Tx, si, a, name)
	if err != nil {
		return nil, err
	}
	sb.Parameters = parameters
	if err := m.Check(&sb.Base); err != nil {
		return nil, err
	}
	m.Apply(&sb.Base)
	q.W.ServiceBindings.Insert(sb)
	return cc.AcceptedJob(startOperation(&q.Tx, osb.Bind, si, credentialBinding{sb}, b.Obj)), nil
}

// newAppBinding checks whether an app can be bound to a managed instance and makes the binding; it is not inserted yet. A
// binding that failed to come into being makes room for another try.
func newAppBinding(tx *cc.Tx, si *world.ServiceInstance, a *world.App, name string) (*world.ServiceBinding, error) {
	if !sharedWith(si, func(s string) bool { return s == a.Space }) {
		return nil, cc.Unprocessable("The service instance and the app are in different spaces")
	}
	if err := mayBind(tx, si, ""); err != nil {
		return nil, err
	}
	for _, have := range tx.W.ServiceBindings.By("app", a.GUID) {
		switch {
		case have.ServiceInstance != si.GUID:
			if name != "" && have.Name == name {
				return nil, cc.Unprocessable("The binding name is invalid. Binding names must be unique for a given service instance and app. The app already has a binding with name '%s'.", name)
			}
		case failedToCreate(have.LastOperation):
			tx.W.ServiceBindings.Delete(have.GUID)
		case have.LastOperation.Type == "delete":
			return nil, cc.Unprocessable("The binding is getting deleted or its deletion failed")
		default:
			return nil, cc.Unprocessable("The app is already bound to the service instance")
		}
	}
	return &world.ServiceBinding{Base: tx.W.Base(), Type: "app", Name: name, ServiceInstance: si.GUID, App: a.GUID, LastOperation: began(tx, "create", "initial")}, nil
}

func keyOfManaged(q *cc.Req, b *cc.Body, si *world.ServiceInstance, name string, m cc.Metadata) (*cc.Reply, error) {
	parameters := readParameters(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := mayBind(&q.Tx, si, "."); err != nil {
		return nil, err
	}
	for _, have := range q.W.ServiceBindings.By("instance", si.GUID) {
		const invalid = "The binding name is invalid. Key binding names must be unique. The service instance already has a key binding with "
		switch {
		case have.Type != "key" || have.Name != name:
		case failedToCreate(have.LastOperation):
			q.W.ServiceBindings.Delete(have.GUID)
		case have.LastOperation.Type == "delete":
			return nil, cc.Unprocessable(invalid+"the name '%s' that is getting deleted or its deletion failed.", name)
		default:
			return nil, cc.Unprocessable(invalid+"name '%s'.", name)
		}
	}
	if p := quotas.ServiceKey(&q.Tx, si.Space); p != "" {
		return nil, cc.Unprocessable("%s", p)
	}
	sb := &world.ServiceBinding{
		Base: q.W.Base(), Type: "key", Name: name, ServiceInstance: si.GUID, Parameters: parameters, LastOperation: began(&q.Tx, "create", "initial"),
	}
	if err := m.Check(&sb.Base); err != nil {
		return nil, err
	}
	m.Apply(&sb.Base)
	q.W.ServiceBindings.Insert(sb)
	return cc.AcceptedJob(startOperation(&q.Tx, osb.Bind, si, credentialBinding{sb}, b.Obj)), nil
}

// bindRouteManaged is for route services with a broker. What is wrong with route and space was looked at before.
func bindRouteManaged(q *cc.Req, b *cc.Body, si *world.ServiceInstance, r *world.Route, m cc.Metadata) (*cc.Reply, error) {
	parameters := readParameters(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	switch {
	case failedToCreate(si.LastOperation):
		return nil, cc.Unprocessable("Service instance not found")
	case busy(si.LastOperation):
		return nil, cc.Unprocessable(inProgress)
	}
	rb := &world.RouteBinding{Base: q.W.Base(), ServiceInstance: si.GUID, Route: r.GUID, Parameters: parameters, LastOperation: began(&q.Tx, "create", "initial")}
	if err := m.Check(&rb.Base); err != nil {
		return nil, err
	}
	m.Apply(&rb.Base)
	q.W.RouteBindings.Insert(rb)
	return cc.AcceptedJob(startOperation(&q.Tx, osb.Bind, si, routeBinding{rb}, b.Obj)), nil
}

// unbindManaged begins the deletion of a binding.
func unbindManaged(q *cc.Req, si *world.ServiceInstance, b binding) (*cc.Reply, error) {
	if l := b.last(); l.Type == "delete" && busy(*l) || l.State == "initial" {
		return nil, cc.Unprocessable("There is an operation in progress for the service binding.")
	}
	if busy(si.LastOperation) {
		return nil, cc.Unprocessable("%s.", inProgress)
	}
	return cc.AcceptedJob(startOperation(&q.Tx, osb.Unbind, si, b, tree.Obj{})), nil
}

// created refuses what only a finished binding has.
func created(what string, l world.LastOperation) error {
	if l.Type == "create" && l.State != osb.Succeeded || l.Type == "delete" {
		verb := "Creation"
		if l.Type == "delete" {
			verb = "Deletion"
		}
		return cc.NewError(404, 10010, "ResourceNotFound", "%s of %s %s", verb, what, l.State)
	}
	return nil
}

// bindFromManifest binds an app to a managed instance as a manifest wants it. Built-in brokers answer at once; of others
// the manifest does not wait for the answer, for nothing here ever waits with the lock held.
func bindFromManifest(tx *cc.Tx, si *world.ServiceInstance, a *world.App, name string, parameters any, request tree.Obj) error {
	sb, err := newAppBinding(tx, si, a, name)
	if err != nil {
		return err
	}
	if parameters != nil {
		sb.Parameters = tree.JSON(parameters)
	}
	tx.W.ServiceBindings.Insert(sb)
	_, record := marketplace.Of(tx, planOf(tx, si))
	if !record.Builtin {
		startOperation(tx, osb.Bind, si, credentialBinding{sb}, request)
		return nil
	}
	op := operation{job: &world.Job{}, action: osb.Bind, si: si, b: credentialBinding{sb}, request: request, actor: tx.Actor}
	o, _ := marketplace.Of(tx, planOf(tx, si))
	answer, err := marketplace.Broker(tx, record).Do(context.Background(), op.asks(tx, o, planOf(tx, si), false)[0])
	switch {
	case err != nil:
		moved(tx, &sb.LastOperation, "create", osb.Failed, err.Error())
		return cc.Unprocessable("%s", err.Error())
	case answer.Async:
		startOperation(tx, osb.Bind, si, credentialBinding{sb}, request)
		return nil
	}
	moved(tx, &sb.LastOperation, "create", osb.Succeeded, "")
	op.b.bound(answer)
	auditBinding(tx, sb, "create", request, true)
	return nil
}
