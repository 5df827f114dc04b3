package apps

import (
	"strconv"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerStats(*cc.Server) {}

// showStats lists the instances that a process should have; those of a stopped app are DOWN.
func showStats(q *cc.Req, _ *world.App, p *world.Process) (*cc.Reply, error) {
	out := []any{}
	for i := range p.Instances {
		state, since := runtime.State(&q.Tx, p, i)
		up := int(q.Now.Sub(since).Seconds())
		if state == runtime.Down {
			out = append(out, tree.O("type", p.Type, "index", i, "state", state, "routable", nil, "uptime", 0, "isolation_segment", nil, "details", nil))
			continue
		}
		running := state == runtime.Running
		in := p.Running[i]
		var details any
		if state == runtime.Crashed {
			details = "APP/PROC/WEB: Exited with status 1"
		}
		usage := tree.Obj{}
		if running {
			usage = tree.O("time", cc.Stamp(q.Now), "cpu", 0.01, "cpu_entitlement", 0.05, "mem", in.Memory<<20/4, "disk", in.Disk<<20/8, "log_rate", 0)
		}
		out = append(out, tree.O(
			"type", p.Type, "index", i, "instance_guid", in.GUID, "state", state, "routable", running,
			"host", "10.0.0."+strconv.Itoa(1+i%250), "instance_internal_ip", "10.255.0."+strconv.Itoa(1+i%250), "uptime", up,
			"mem_quota", in.Memory<<20, "disk_quota", in.Disk<<20, "log_rate_limit", in.LogRate, "fds_quota", runtime.FileDescs,
			"isolation_segment", cc.OrNil(p.Running[i].Segment), "details", details,
			"instance_ports", []any{tree.O("external", 61000+i, "internal", 8080, "external_tls_proxy_port", nil, "internal_tls_proxy_port", nil)},
			"usage", usage))
	}
	return cc.OK(tree.O("resources", out)), nil
}

func instances(q *cc.Req, p *world.Process) []any {
	out := []any{}
	for i := range p.Instances {
		state, since := runtime.State(&q.Tx, p, i)
		var secs any
		if state != runtime.Down {
			secs = int(q.Now.Sub(since).Seconds())
		}
		out = append(out, tree.O("index", i, "state", state, "since", secs))
	}
	return out
}

func showInstances(q *cc.Req, _ *world.App, p *world.Process) (*cc.Reply, error) {
	self := "/v3/processes/" + p.GUID
	return cc.OK(tree.O("resources", instances(q, p), "links", tree.O("self", q.Link(self+"/process_instances"), "process", q.Link(self)))), nil
}

func terminateInstance(q *cc.Req, a *world.App, p *world.Process) (*cc.Reply, error) {
	i, err := strconv.Atoi(q.Var("index"))
	if err != nil || i < 0 || i >= p.Instances {
		return nil, cc.NotFound("Instance")
	}
	if i < len(p.Running) {
		was := p.Running[i]
		p.Running[i] = runtime.NewInstance(&q.Tx, a, p)
		p.Running[i].Memory, p.Running[i].Disk, p.Running[i].LogRate = was.Memory, was.Disk, was.LogRate // a restarted container has its old size
	}
	runtime.Audit(&q.Tx, a, "audit.app.process.terminate_instance", tree.O("process_guid", p.GUID, "process_type", p.Type, "process_index", i))
	return cc.NoContent(), nil
}
