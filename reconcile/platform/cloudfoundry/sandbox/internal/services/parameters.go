package services

import (
	"context"
	"encoding/json"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// fetchParameters asks the broker for the parameters of an instance, or of a binding. It is the one request to a broker
// that a reader waits for.
func fetchParameters(q *cc.Req, si *world.ServiceInstance, binding string, given json.RawMessage) (*cc.Reply, error) {
	plan := planOf(&q.Tx, si)
	o, record := marketplace.Of(&q.Tx, plan)
	a, err := marketplace.Broker(&q.Tx, record).Do(context.Background(), osb.Request{
		Action: osb.Fetch, Instance: si.GUID, Binding: binding, Service: o.CatalogID, Plan: plan.CatalogID, UserID: q.Actor.GUID, Parameters: given,
	})
	if err != nil {
		return nil, cc.NewError(502, 10001, "ServiceBrokerBadResponse", "%s", err.Error())
	}
	if len(a.Parameters) == 0 {
		return cc.OK(tree.Obj{}), nil
	}
	return cc.OK(a.Parameters), nil
}

func instanceParameters(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if !q.ReadsSpace(si.Space) { // those with whom it is only shared do not see them
		return nil, cc.NotAuthorized()
	}
	if si.Type == Managed && failedToCreate(si.LastOperation) {
		return nil, cc.NotFound("Service instance")
	}
	if si.Type == UserProvided || !offeringOf(&q.Tx, si).InstancesRetrievable {
		return nil, cc.NewError(400, 120004, "ServiceFetchInstanceParametersNotSupported", "This service does not support fetching service instance parameters.")
	}
	if busy(si.LastOperation) {
		return nil, cc.NewError(409, 60016, "AsyncServiceInstanceOperationInProgress", "An operation for service instance %s is in progress.", si.Name)
	}
	return fetchParameters(q, si, "", si.Parameters)
}

func bindingParameters(q *cc.Req) (*cc.Reply, error) {
	b, si, err := findBinding(q)
	if err != nil {
		return nil, err
	}
	if err := created(bindingWord(b), b.LastOperation); err != nil {
		return nil, err
	}
	if si.Type == UserProvided || !offeringOf(&q.Tx, si).BindingsRetrievable {
		return nil, cc.NewError(400, 90007, "ServiceFetchBindingParametersNotSupported", "This service does not support fetching service binding parameters.")
	}
	return fetchParameters(q, si, b.GUID, b.Parameters)
}

func routeBindingParameters(q *cc.Req) (*cc.Reply, error) {
	b, si, err := findRouteBinding(q)
	if err != nil {
		return nil, err
	}
	if err := created("route binding", b.LastOperation); err != nil {
		return nil, err
	}
	switch {
	case si.Type == UserProvided:
		return nil, cc.BadRequest("user provided service instances do not support fetching route bindings parameters.")
	case !offeringOf(&q.Tx, si).BindingsRetrievable:
		return nil, cc.BadRequest("this service does not support fetching route bindings parameters.")
	}
	return fetchParameters(q, si, b.GUID, b.Parameters)
}

func bindingWord(b *world.ServiceBinding) string {
	if b.Type == "key" {
		return "service key"
	}
	return "service binding"
}
