package manifests

import (
	"cmp"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func generate(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.Find(q)
	if err != nil {
		return nil, err
	}
	if !q.Secrets(a.Space) {
		return nil, cc.NotAuthorized()
	}
	text := psych.Emit(tree.O("applications", []any{of(&q.Tx, a)}))
	return &cc.Reply{Status: 200, Type: "application/x-yaml; charset=utf-8", Body: []byte(text)}, nil
}

// of is the manifest entry of an app as it is. Empty parts are left out.
func of(tx *cc.Tx, a *world.App) tree.Obj {
	o := tree.O("name", a.Name)
	if len(a.Env) > 0 {
		o.Set("env", cc.StringMap(a.Env))
	}
	o.Set("lifecycle", a.Lifecycle)
	if a.Lifecycle == world.Docker {
		if d := runtime.Droplet(tx, a); d != nil && d.Image != "" {
			docker := tree.O("image", d.Image)
			if d.Username != "" {
				docker.Set("username", d.Username)
			}
			o.Set("docker", docker)
		}
	} else {
		if len(a.Buildpacks) > 0 {
			o.Set("buildpacks", anys(a.Buildpacks))
		}
		if a.Stack != "" {
			o.Set("stack", a.Stack)
		}
	}
	features := tree.Obj{}
	for _, f := range apps.Features {
		features.Set(f.Name, f.On(a))
	}
	o.Set("features", features)
	var names []string
	for _, b := range tx.W.ServiceBindings.By("app", a.GUID) {
		if si, ok := tx.W.ServiceInstances.Get(b.ServiceInstance); ok {
			names = append(names, si.Name)
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		o.Set("services", anys(names))
	}
	if r := routesOf(tx, a); len(r) > 0 {
		o.Set("routes", r)
	}
	meta := tree.Obj{}
	if len(a.Labels) > 0 {
		meta.Set("labels", cc.StringMap(a.Labels))
	}
	if len(a.Annotations) > 0 {
		meta.Set("annotations", cc.StringMap(a.Annotations))
	}
	if len(meta) > 0 {
		o.Set("metadata", meta)
	}
	procs := tx.W.Processes.By("app", a.GUID)
	slices.SortStableFunc(procs, func(x, y *world.Process) int { return cmp.Compare(x.Type, y.Type) })
	var list []any
	for _, p := range procs {
		list = append(list, processOf(p))
	}
	o.Set("processes", list)
	var side []any
	for _, s := range tx.W.Sidecars.By("app", a.GUID) {
		so := tree.O("name", s.Name, "process_types", anys(s.ProcessTypes), "command", s.Command)
		if s.Memory != nil {
			so.Set("memory", showMB(*s.Memory))
		}
		side = append(side, so)
	}
	if len(side) > 0 {
		o.Set("sidecars", side)
	}
	return o
}

func anys(l []string) []any {
	out := make([]any, len(l))
	for i := range l {
		out[i] = l[i]
	}
	return out
}

func routesOf(tx *cc.Tx, a *world.App) []any {
	var out []any
	seen := map[string]bool{}
	for _, d := range tx.W.Destinations.By("app", a.GUID) {
		r, ok := tx.W.Routes.Get(d.Route)
		if !ok || seen[r.GUID] {
			continue
		}
		seen[r.GUID] = true
		out = append(out, tree.O("route", apps.RouteURL(tx, r), "protocol", d.Protocol, "options", cc.StringMap(r.Options)))
	}
	return out
}

func processOf(p *world.Process) tree.Obj {
	o := tree.O("type", p.Type, "instances", int64(p.Instances), "memory", showMB(p.Memory), "disk_quota", showMB(p.Disk),
		"log-rate-limit-per-second", showRate(p.LogRate))
	if p.Command != "" {
		o.Set("command", p.Command)
	}
	if p.User != "" {
		o.Set("user", p.User)
	}
	health(&o, "", p.Health)
	health(&o, "readiness-", p.Readiness)
	if p.Health.Timeout != nil {
		o.Set("timeout", int64(*p.Health.Timeout))
	}
	return o
}

func health(o *tree.Obj, prefix string, h world.HealthCheck) {
	o.Set(prefix+"health-check-type", h.Type)
	if h.Endpoint != "" {
		o.Set(prefix+"health-check-http-endpoint", h.Endpoint)
	}
	if h.InvocationTimeout != nil {
		o.Set(prefix+"health-check-invocation-timeout", int64(*h.InvocationTimeout))
	}
	if h.Interval != nil {
		o.Set(prefix+"health-check-interval", int64(*h.Interval))
	}
}
