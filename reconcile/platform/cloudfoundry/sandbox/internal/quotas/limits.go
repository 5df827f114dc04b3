package quotas

import (
	"math"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// limit is one number of a quota: its name in a group of the body, its place in the record, its highest value.
type limit struct {
	name string
	of   func(*world.Limits) **int
	high int64
}

// groups in the order in which the controller checks them.
var groups = []struct {
	name     string
	limits   []limit
	paid     bool // the group also has paid_services_allowed
	onlyOrgs bool
}{
	{name: "apps", limits: []limit{
		{"total_memory_in_mb", func(l *world.Limits) **int { return &l.TotalMemory }, cc.MaxInt},
		{"per_process_memory_in_mb", func(l *world.Limits) **int { return &l.PerProcessMemory }, cc.MaxInt},
		{"total_instances", func(l *world.Limits) **int { return &l.TotalInstances }, cc.MaxInt},
		{"per_app_tasks", func(l *world.Limits) **int { return &l.PerAppTasks }, cc.MaxInt},
		{"log_rate_limit_in_bytes_per_second", func(l *world.Limits) **int { return &l.LogRateLimit }, math.MaxInt64},
	}},
	{name: "services", paid: true, limits: []limit{
		{"total_service_keys", func(l *world.Limits) **int { return &l.TotalServiceKeys }, cc.MaxInt},
		{"total_service_instances", func(l *world.Limits) **int { return &l.TotalServiceInstances }, cc.MaxInt},
	}},
	{name: "routes", limits: []limit{
		{"total_routes", func(l *world.Limits) **int { return &l.TotalRoutes }, cc.MaxInt},
		{"total_reserved_ports", func(l *world.Limits) **int { return &l.TotalReservedPorts }, cc.MaxInt},
	}},
	{name: "domains", onlyOrgs: true, limits: []limit{
		{"total_domains", func(l *world.Limits) **int { return &l.TotalDomains }, math.MaxInt64},
	}},
}

const paidServices = "paid_services_allowed"

// fields are the names of the groups, for the check of unknown fields. Space quotas have no group "domains" when they are
// created, but an update takes it, to no effect (observed in the source of the controller).
func fields(domains bool, further ...string) []string {
	out := append([]string{"name"}, further...)
	for _, g := range groups {
		if domains || !g.onlyOrgs {
			out = append(out, g.name)
		}
	}
	return out
}

// readLimits changes l as the body says; what the body does not name stays. Null is unlimited.
func readLimits(b *cc.Body, l *world.Limits) {
	for _, g := range groups {
		v, ok := b.Lookup(g.name)
		if !ok {
			continue
		}
		label := cc.Human(g.name)
		o, ok := v.(tree.Obj)
		if !ok {
			b.Add("%s must be an object", label)
			continue
		}
		names := make([]string, 0, len(g.limits)+1)
		for _, x := range g.limits {
			names = append(names, x.name)
		}
		if g.paid {
			names = append(names, paidServices)
		}
		if u := cc.UnknownFields(o, names...); u != "" {
			b.Add("%s %s", label, u)
		}
		for _, x := range g.limits {
			v, ok := o.Lookup(x.name)
			if !ok {
				continue
			}
			if v == nil {
				*x.of(l) = nil
				continue
			}
			n, problem := cc.Whole(v, 0, x.high)
			if problem != "" {
				b.Add("%s %s %s", label, cc.Human(x.name), problem)
			}
			*x.of(l) = &n
		}
		if v, ok := o.Lookup(paidServices); ok && g.paid {
			on, isBool := v.(bool)
			if v != nil && !isBool {
				b.Add("%s %s must be a boolean", label, cc.Human(paidServices))
			}
			l.PaidServices = on || v == nil
		}
	}
}

// name reads the name of a quota. Presence is checked apart, after everything else, where one is created.
func name(b *cc.Body) string {
	v, ok := b.Lookup("name")
	if !ok {
		return ""
	}
	s, isText := v.(string)
	if !isText {
		b.Add("Name must be a string")
	}
	b.Length("Name", s, 1, 250)
	return s
}

// reserved checks the reserved ports against the routes.
func reserved(l *world.Limits) bool {
	return l.TotalReservedPorts == nil || l.TotalRoutes == nil || *l.TotalReservedPorts <= *l.TotalRoutes
}

func presentLimits(l *world.Limits, domains bool) tree.Obj {
	o := tree.Obj{}
	for _, g := range groups {
		if g.onlyOrgs && !domains {
			continue
		}
		in := tree.Obj{}
		if g.paid {
			in.Set(paidServices, l.PaidServices)
		}
		for _, x := range g.limits {
			in.Set(x.name, *x.of(l))
		}
		o.Set(g.name, in)
	}
	return o
}

// namesSome says up to two of the names and counts the rest, as in "orgs 'a', 'b' and 3 other orgs which contain".
func namesSome(kind string, names []string) string {
	switch n := len(names); n {
	case 1:
		return kind + " '" + names[0] + "' which contains"
	case 2:
		return kind + "s '" + names[0] + "', '" + names[1] + "' which contain"
	default:
		return kind + "s '" + names[0] + "', '" + names[1] + "' and " + string(tree.JSON(n-2)) + " other " + kind + "s which contain"
	}
}

// unlimitedLogs reports whether a space has an app with a process whose log rate is unlimited.
func unlimitedLogs(tx *cc.Tx, space string) bool {
	for _, a := range tx.W.Apps.By("space", space) {
		for _, p := range tx.W.Processes.By("app", a.GUID) {
			if p.LogRate == -1 {
				return true
			}
		}
	}
	return false
}
