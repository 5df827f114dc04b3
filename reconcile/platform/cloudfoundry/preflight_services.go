package cloudfoundry

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// servicePlan is a plan with what it asks of the parameters.
type servicePlan struct {
	ccv3.ServicePlan
	Free    bool `json:"free"`
	Schemas struct {
		Instance struct {
			Create, Update parameterSchema
		} `json:"service_instance"`
		Binding struct {
			Create parameterSchema
		} `json:"service_binding"`
	} `json:"schemas"`
}

// parameterSchema is a JSON schema, nothing or {} where the broker gives none.
type parameterSchema struct {
	Parameters any `json:"parameters"`
}

// planAsk is a question about the plan of a managed service instance; the name is that of the plan.
type planAsk struct {
	ask
	offering string
	instance string                 // that Git does not declare, and whose plan has to be looked up; "" for one that it does
	created  bool                   // a service instance
	chosen   bool                   // the plan is, for one that is created or has another so far
	schema   func(*servicePlan) any // of the parameters, nil when there are none
}

// checkServices asks for the offering and the plan of managed service instances, and what it says of the parameters.
func (c *checks) checkServices(ctx context.Context) error {
	declared, others := map[string][]planAsk{}, map[string][]planAsk{} // by space
	for _, x := range c.services {
		if space := x.object.Ref.Space(); x.instance == "" {
			declared[space] = append(declared[space], x)
		} else {
			others[space] = append(others[space], x)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for space, list := range declared {
		group.Go(func() error { return c.checkPlans(ctx, c.where[space], list) })
	}
	for space, list := range others {
		group.Go(func() error { return c.checkBound(ctx, c.where[space], list) })
	}
	return group.Wait()
}

func (c *checks) checkPlans(ctx context.Context, p place, list []planAsk) error {
	var offerings []string
	for _, x := range list {
		offerings = append(offerings, x.offering)
	}
	plans, in, err := ccv3.ListBy[servicePlan](ctx, c.driver.client, "/v3/service_plans",
		url.Values{"space_guids": {p.space}, "include": {"service_offering"}}, "service_offering_names", unique(offerings))
	if unreadable(err) {
		return nil
	} else if err != nil {
		return err
	}
	offering := map[string]string{}
	for _, o := range in.ServiceOfferings {
		offering[o.GUID] = o.Name
	}
	for _, x := range list {
		var names []string
		var found []servicePlan
		for _, plan := range plans {
			if offering[plan.Relationships.ServiceOffering.GUID()] != x.offering {
				continue
			}
			names = append(names, plan.Name)
			if plan.Name == x.name {
				found = append(found, plan)
			}
		}
		switch {
		case !x.chosen: // it has that plan, or the step that chooses it is told
			if len(found) == 1 {
				c.checkParameters(x, &found[0])
			}
		case len(names) == 0:
			at := x.ask
			at.pointer = "/service_offering"
			if err := c.unknownOffering(ctx, at, p, x.offering); err != nil {
				return err
			}
		case len(found) == 0:
			c.unknown(x.ask, "unknown-service-plan", fmt.Sprintf("the service offering %s has no plan %s that the organization %s can use", x.offering, x.name, x.object.Ref.Org()), x.name, names)
		default:
			c.checkPlan(x, found)
		}
	}
	return nil
}

// checkBound is for bindings to service instances of the space that Git does not declare.
func (c *checks) checkBound(ctx context.Context, p place, list []planAsk) error {
	var names, guids []string
	for _, x := range list {
		names = append(names, x.instance)
	}
	instances, _, err := ccv3.ListBy[ccv3.ServiceInstance](ctx, c.driver.client, "/v3/service_instances",
		url.Values{"space_guids": {p.space}, "type": {"managed"}}, "names", unique(names))
	planOf := map[string]string{} // by name
	for _, i := range instances {
		planOf[strings.ToLower(i.Name)] = i.Relationships.ServicePlan.GUID()
		guids = append(guids, i.GUID)
	}
	var plans []servicePlan
	if err == nil && len(guids) > 0 {
		plans, _, err = ccv3.ListBy[servicePlan](ctx, c.driver.client, "/v3/service_plans", nil, "service_instance_guids", guids)
	}
	if unreadable(err) {
		return nil
	} else if err != nil {
		return err
	}
	for _, x := range list {
		for i := range plans {
			if plans[i].GUID == planOf[strings.ToLower(x.instance)] {
				x.name = plans[i].Name
				c.checkParameters(x, &plans[i])
			}
		}
	}
	return nil
}

func (c *checks) unknownOffering(ctx context.Context, a ask, p place, name string) error {
	all, _, err := ccv3.List[ccv3.ServiceOffering](ctx, c.driver.client, "/v3/service_offerings", url.Values{"space_guids": {p.space}})
	if err != nil && !unreadable(err) {
		return err
	}
	var names []string
	for _, o := range all {
		names = append(names, o.Name)
	}
	c.unknown(a, "unknown-service-offering", fmt.Sprintf("there is no service offering %s that the organization %s can use", name, a.object.Ref.Org()), name, names)
	return nil
}

// checkPlan looks at a plan that exists; more than one of that name come from different brokers.
func (c *checks) checkPlan(x planAsk, found []servicePlan) {
	if len(found) > 1 {
		at := x.ask
		at.pointer = "/service_offering"
		c.add(finding{
			ask: at, rule: "ambiguous-service-offering", warning: true,
			message: fmt.Sprintf("%d service brokers offer %s with a plan %s", len(found), x.offering, x.name),
			hint:    "have the operators disable one of them for this organization (cf disable-service-access)",
		})
		return
	}
	if !found[0].Available {
		c.add(finding{
			ask: x.ask, rule: "unknown-service-plan", message: fmt.Sprintf("the plan %s of %s is no longer available", x.name, x.offering),
			hint: "choose another plan (cf marketplace -e " + x.offering + ")",
		})
		return
	}
	c.checkParameters(x, &found[0])
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.created {
		c.created = append(c.created, x.ask)
	}
	if !found[0].Free {
		c.paid = append(c.paid, x.ask)
	}
}

// checkPaid comes when the quotas are known.
func (c *checks) checkPaid(l *limit, refuse func(finding)) {
	if l.Services.Paid == nil || *l.Services.Paid {
		return
	}
	for _, a := range c.paid {
		if l.holds(a.object.Ref.Space()) {
			refuse(finding{
				ask: a, message: fmt.Sprintf("the plan %s costs something, and %s allows only free ones", a.name, l),
				hint: "choose a free plan, or have the quota changed",
			})
		}
	}
}
