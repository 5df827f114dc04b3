package cloudfoundry

import (
	"context"
	"fmt"
	"net/url"

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

// parameterSchema is a JSON schema, empty where the broker gives none.
type parameterSchema struct {
	Parameters map[string]any `json:"parameters"`
}

// checkServices asks for the offering and the plan of each managed service instance.
func (c *checks) checkServices(ctx context.Context) error {
	bySpace := map[string][]ask{}
	for _, a := range c.services {
		bySpace[a.object.Ref.Space()] = append(bySpace[a.object.Ref.Space()], a)
	}
	group, ctx := errgroup.WithContext(ctx)
	for space, list := range bySpace {
		group.Go(func() error { return c.checkPlans(ctx, c.where[space], list) })
	}
	return group.Wait()
}

func (c *checks) checkPlans(ctx context.Context, p place, list []ask) error {
	var offerings []string
	for _, a := range list {
		name, _ := a.object.Spec["service_offering"].(string)
		offerings = append(offerings, name)
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
	for _, a := range list {
		name, _ := a.object.Spec["service_offering"].(string)
		var names []string
		var found []servicePlan
		for _, plan := range plans {
			if offering[plan.Relationships.ServiceOffering.GUID()] != name {
				continue
			}
			names = append(names, plan.Name)
			if plan.Name == a.name {
				found = append(found, plan)
			}
		}
		switch {
		case len(names) == 0:
			at := a
			at.pointer = "/service_offering"
			if err := c.unknownOffering(ctx, at, p, name); err != nil {
				return err
			}
		case len(found) == 0:
			c.unknown(a, "unknown-service-plan", fmt.Sprintf("the service offering %s has no plan %s that the organization %s can use", name, a.name, a.object.Ref.Org()), a.name, names)
		default:
			c.checkPlan(a, p, found)
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
func (c *checks) checkPlan(a ask, _ place, found []servicePlan) {
	name, _ := a.object.Spec["service_offering"].(string)
	if len(found) > 1 {
		at := a
		at.pointer = "/service_offering"
		c.add(finding{
			ask: at, rule: "ambiguous-service-offering", warning: true,
			message: fmt.Sprintf("%d service brokers offer %s with a plan %s", len(found), name, a.name),
			hint:    "have the operators disable one of them for this organization (cf disable-service-access)",
		})
		return
	}
	if !found[0].Available {
		c.add(finding{
			ask: a, rule: "unknown-service-plan", message: fmt.Sprintf("the plan %s of %s is no longer available", a.name, name),
			hint: "choose another plan (cf marketplace -e " + name + ")",
		})
		return
	}
	c.mu.Lock()
	c.created = append(c.created, a)
	if !found[0].Free {
		c.paid = append(c.paid, a)
	}
	c.mu.Unlock()
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
