package quotas

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// usage is what counts against a quota.
type usage struct {
	instances, memory, logRate              int // memory with pending tasks, logRate without unlimited ones
	routes, ports, services, tasks, domains int
	keys                                    int
}

// used adds up what some spaces use. Only started apps count; a log rate of -1 counts as nothing.
func used(tx *cc.Tx, spaces []*world.Space) (u usage) {
	for _, s := range spaces {
		for _, a := range tx.W.Apps.By("space", s.GUID) {
			if a.Started {
				for _, p := range tx.W.Processes.By("app", a.GUID) {
					u.instances += p.Instances
					u.memory += p.Instances * p.Memory
					u.logRate += p.Instances * max(p.LogRate, 0)
				}
			}
			for _, t := range tx.W.Tasks.By("app", a.GUID) {
				if t.State == world.TaskPending || t.State == world.TaskRunning {
					u.tasks++
					u.memory += t.Memory
					u.logRate += max(t.LogRate, 0)
				}
			}
		}
		for _, r := range tx.W.Routes.By("space", s.GUID) {
			u.routes++
			if r.Port != nil {
				u.ports++
			}
		}
		for _, i := range tx.W.ServiceInstances.By("space", s.GUID) {
			if i.Type != "managed" {
				continue // user-provided ones are free (observed fact)
			}
			u.services++
			for _, b := range tx.W.ServiceBindings.By("instance", i.GUID) {
				if b.Type == "key" {
					u.keys++
				}
			}
		}
	}
	return u
}

// ownedDomains counts the private domains of an organization.
func ownedDomains(tx *cc.Tx, org string) (n int) {
	for d := range tx.W.Domains.All() {
		if d.Org != "" && (org == "" || d.Org == org) {
			n++
		}
	}
	return n
}

func (u usage) present() tree.Obj {
	return tree.O("started_instances", u.instances, "memory_in_mb", u.memory, "routes", u.routes, "service_instances", u.services,
		"reserved_ports", u.ports, "domains", u.domains, "per_app_tasks", u.tasks, "service_keys", u.keys)
}

func orgUsage(q *cc.Req) (*cc.Reply, error) {
	o, err := q.Org(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	u := used(&q.Tx, q.W.Spaces.By("org", o.GUID))
	u.domains = ownedDomains(&q.Tx, o.GUID)
	self := "/v3/organizations/" + o.GUID
	return cc.OK(tree.O("usage_summary", u.present(), "links", tree.O("self", q.Link(self+"/usage_summary"), "organization", q.Link(self)))), nil
}

func spaceUsage(q *cc.Req) (*cc.Reply, error) {
	s, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	u := used(&q.Tx, []*world.Space{s})
	u.domains = ownedDomains(&q.Tx, s.Org)
	self := "/v3/spaces/" + s.GUID
	return cc.OK(tree.O("usage_summary", u.present(), "links", tree.O("self", q.Link(self+"/usage_summary"), "space", q.Link(self)))), nil
}

// platformUsage is for those who read everything; others are told that there is no such thing.
func platformUsage(q *cc.Req) (*cc.Reply, error) {
	if !q.ReadsAll() {
		return nil, cc.NewError(404, 10000, "NotFound", "Unknown request")
	}
	var all []*world.Space
	for s := range q.W.Spaces.All() {
		all = append(all, s)
	}
	u := used(&q.Tx, all)
	u.domains = ownedDomains(&q.Tx, "")
	return cc.OK(tree.O("usage_summary", u.present(), "links", tree.O("self", q.Link("/v3/info/usage_summary")))), nil
}
