package usage

import (
	"cmp"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/app_usage_events", listApps)
	s.Read("GET /v3/app_usage_events/{guid}", showApp)
	s.Write("POST /v3/app_usage_events/actions/destructively_purge_all_and_reseed", reseedApps)
	s.Read("GET /v3/service_usage_events", listServices)
	s.Read("GET /v3/service_usage_events/{guid}", showService)
	s.Write("POST /v3/service_usage_events/actions/destructively_purge_all_and_reseed", reseedServices)
	s.OnDelete("app", func(tx *cc.Tx, app string) {
		if a, ok := tx.W.Apps.Get(app); ok {
			for _, p := range tx.W.Processes.By("app", app) {
				Stopped(tx, a, p)
			}
		}
	})
}

// after filters events that are younger than a given one; the controller does not know what is older than nothing.
func after[R world.Row](get func(*cc.Req, string) (R, bool)) cc.Filter[R] {
	return cc.Filter[R]{Name: "after_guid", Make: func(q *cc.Req, values []string) (func(R) bool, string) {
		if len(values) != 1 {
			return nil, "After guid filter accepts only one guid"
		}
		e, ok := get(q, values[0])
		if !ok {
			return nil, "After guid filter must be a valid event guid."
		}
		return func(r R) bool { return r.Head().Seq > e.Head().Seq }, ""
	}}
}

func byCreation[R world.Row]() []cc.Order[R] {
	return []cc.Order[R]{{Name: "created_at", Compare: func(a, b R) int { return cmp.Compare(a.Head().Seq, b.Head().Seq) }}}
}

var appEvents = &cc.List[*world.AppUsageEvent]{
	Unprocessable: true, OnlyOrders: true, Orders: byCreation[*world.AppUsageEvent](),
	Filters: []cc.Filter[*world.AppUsageEvent]{
		after(func(q *cc.Req, g string) (*world.AppUsageEvent, bool) { return q.W.AppUsageEvents.Get(g) }),
	},
	Show: func(q *cc.Req, e *world.AppUsageEvent) any { return presentApp(q, e) },
}

var serviceEvents = &cc.List[*world.ServiceUsageEvent]{
	Unprocessable: true, OnlyOrders: true, Orders: byCreation[*world.ServiceUsageEvent](),
	Filters: []cc.Filter[*world.ServiceUsageEvent]{
		after(func(q *cc.Req, g string) (*world.ServiceUsageEvent, bool) { return q.W.ServiceUsageEvents.Get(g) }),
		cc.In("service_instance_types", func(_ *cc.Req, e *world.ServiceUsageEvent) string { return e.InstanceType }),
		cc.In("service_offering_guids", func(_ *cc.Req, e *world.ServiceUsageEvent) string { return e.Offering }),
	},
	Show: func(q *cc.Req, e *world.ServiceUsageEvent) any { return presentService(q, e) },
}

func change(now int, was *int) tree.Obj { return tree.O("current", now, "previous", was) }

func named(guid, name string) tree.Obj {
	return tree.O("guid", cc.OrNil(guid), "name", cc.OrNil(name))
}

func presentApp(q *cc.Req, e *world.AppUsageEvent) tree.Obj {
	return cc.Head(&e.Base, "state", tree.O("current", e.State, "previous", e.Previous),
		"app", named(e.App, e.AppName), "process", tree.O("guid", cc.OrNil(e.Process), "type", cc.OrNil(e.ProcessType)),
		"space", named(e.Space, e.SpaceName), "organization", tree.O("guid", cc.OrNil(e.Org)),
		"buildpack", named(e.Buildpack, e.BuildpackName), "task", named(e.Task, e.TaskName),
		"memory_in_mb_per_instance", change(e.Memory, e.MemoryWas), "instance_count", change(e.Instances, e.InstancesWas),
		"links", tree.O("self", q.Link("/v3/app_usage_events/"+e.GUID)))
}

func presentService(q *cc.Req, e *world.ServiceUsageEvent) tree.Obj {
	return cc.Head(&e.Base, "state", e.State, "space", named(e.Space, e.SpaceName), "organization", tree.O("guid", cc.OrNil(e.Org)),
		"service_instance", tree.O("guid", e.Instance, "name", e.InstanceName, "type", e.InstanceType),
		"service_plan", named(e.Plan, e.PlanName), "service_offering", named(e.Offering, e.OfferingName), "service_broker", named(e.Broker, e.BrokerName),
		"links", tree.O("self", q.Link("/v3/service_usage_events/"+e.GUID)))
}

// Only those who read everything see usage; for others the lists are empty.
func listApps(q *cc.Req) (*cc.Reply, error) {
	return appEvents.Answer(q, q.W.AppUsageEvents.All(), func(*world.AppUsageEvent) bool { return q.ReadsAll() })
}

func listServices(q *cc.Req) (*cc.Reply, error) {
	return serviceEvents.Answer(q, q.W.ServiceUsageEvents.All(), func(*world.ServiceUsageEvent) bool { return q.ReadsAll() })
}

func showApp(q *cc.Req) (*cc.Reply, error) {
	e, ok := q.W.AppUsageEvents.Get(q.Var("guid"))
	if !ok || !q.ReadsAll() {
		return nil, cc.NotFound("App usage event")
	}
	return cc.OK(presentApp(q, e)), nil
}

func showService(q *cc.Req) (*cc.Reply, error) {
	e, ok := q.W.ServiceUsageEvents.Get(q.Var("guid"))
	if !ok || !q.ReadsAll() {
		return nil, cc.NotFound("Service usage event")
	}
	return cc.OK(presentService(q, e)), nil
}

// reseedApps forgets all events and makes one for each process of a started app.
func reseedApps(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	for e := range q.W.AppUsageEvents.All() {
		q.W.AppUsageEvents.Delete(e.GUID)
	}
	for p := range q.W.Processes.All() {
		if a, ok := q.W.Apps.Get(p.App); ok && a.Started {
			p.Billed = world.Billed{Started: true, Memory: p.Memory, Instances: p.Instances}
			process(&q.Tx, a, p, started, p.Billed)
		}
	}
	return cc.OK(tree.Obj{}), nil
}

// reseedServices does so for service instances.
func reseedServices(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	for e := range q.W.ServiceUsageEvents.All() {
		q.W.ServiceUsageEvents.Delete(e.GUID)
	}
	for si := range q.W.ServiceInstances.All() {
		Service(&q.Tx, si, "CREATED")
	}
	return cc.OK(tree.Obj{}), nil
}
