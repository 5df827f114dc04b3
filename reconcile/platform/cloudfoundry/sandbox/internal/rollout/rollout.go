// Package rollout holds deployments, which replace the web process of an app step by step.
//
//	DEPLOYING ──(all new instances run)──▶ FINALIZED/DEPLOYED
//	   │  ▲
//	   │  └─ continue ── PAUSED ◀─ a canary step is complete
//	   ├─ cancel ──▶ CANCELING ──▶ FINALIZED/CANCELED
//	   └─ another deployment ────▶ FINALIZED/SUPERSEDED
//
// A step looks at how many new instances run, takes that many old ones away, and adds new ones as far as max_in_flight
// allows. Instances that crash or never come up do not end a deployment (observed fact): it goes on until somebody
// cancels it.
package rollout

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/deployments", listDeployments)
	s.Write("POST /v3/deployments", createDeployment)
	s.Read("GET /v3/deployments/{guid}", showDeployment)
	s.Write("PATCH /v3/deployments/{guid}", updateDeployment)
	s.Write("POST /v3/deployments/{guid}/actions/cancel", cancelDeployment)
	s.Write("POST /v3/deployments/{guid}/actions/continue", continueDeployment)
	s.When("deployment.step", step)
}

var list = &cc.List[*world.Deployment]{
	Filters: []cc.Filter[*world.Deployment]{
		cc.In("app_guids", func(_ *cc.Req, d *world.Deployment) string { return d.App }),
		cc.In("states", func(_ *cc.Req, d *world.Deployment) string { return oldState(d) }),
		cc.In("status_reasons", func(_ *cc.Req, d *world.Deployment) string { return d.Reason }),
		cc.In("status_values", func(_ *cc.Req, d *world.Deployment) string { return d.Value }),
		cc.Labels[*world.Deployment](),
	},
	Show: func(q *cc.Req, d *world.Deployment) any { return present(q, d) },
}

// oldState is the state of a deployment as the deprecated filter states knows it.
func oldState(d *world.Deployment) string {
	switch {
	case d.Reason == world.Superseded && d.Dropped:
		return world.Canceled
	case d.Reason == world.Superseded:
		return world.Deployed
	}
	return d.Reason
}

func spaceOf(q *cc.Req, app string) string {
	if a, ok := q.W.Apps.Get(app); ok {
		return a.Space
	}
	return ""
}

func listDeployments(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return list.Answer(q, q.W.Deployments.All(), func(d *world.Deployment) bool { return sees.Space(spaceOf(q, d.App)) })
}

func present(q *cc.Req, d *world.Deployment) tree.Obj {
	self := "/v3/deployments/" + d.GUID
	status := tree.O("value", d.Value, "reason", d.Reason, "details", tree.O(
		"last_successful_healthcheck", cc.Stamp(d.LastHealthy), "last_status_change", cc.Stamp(d.LastChange)))
	options := tree.O("max_in_flight", d.MaxInFlight)
	for _, f := range []struct {
		key string
		v   *int
	}{{"web_instances", d.Options.WebInstances}, {"memory_in_mb", d.Options.Memory}, {"disk_in_mb", d.Options.Disk}, {"log_rate_limit_in_bytes_per_second", d.Options.LogRate}} {
		if f.v != nil {
			options.Set(f.key, *f.v)
		}
	}
	links := tree.O("self", q.Link(self), "app", q.Link("/v3/apps/"+d.App))
	if d.Strategy == "canary" {
		status.Set("canary", tree.O("steps", tree.O("current", d.Step, "total", steps(d))))
		if d.HasSteps {
			weights := []any{}
			for _, w := range d.Weights {
				weights = append(weights, tree.O("instance_weight", w))
			}
			options.Set("canary", tree.O("steps", weights))
		}
	}
	if d.Value == world.Active {
		links.Set("cancel", q.Action(self+"/actions/cancel", "POST"))
		if d.Reason == world.Paused {
			links.Set("continue", q.Action(self+"/actions/continue", "POST"))
		}
	}
	processes := []any{}
	if d.NewProcess != "" {
		processes = append(processes, tree.O("guid", d.NewProcess, "type", "web"))
	}
	o := cc.Head(&d.Base, "status", status, "strategy", d.Strategy, "options", options,
		"droplet", tree.O("guid", d.Droplet), "previous_droplet", tree.O("guid", cc.OrNil(d.PreviousDroplet)), "new_processes", processes)
	if d.Revision != "" {
		o.Set("revision", tree.O("guid", d.Revision, "version", d.RevisionVersion))
	}
	return append(o, tree.O("relationships", tree.O("app", cc.One(d.App)), "metadata", cc.Meta(&d.Base), "links", links)...)
}

func find(q *cc.Req) (*world.Deployment, *world.App, error) {
	if d, ok := q.W.Deployments.Get(q.Var("guid")); ok {
		if a, err := apps.Visible(q, d.App); err == nil {
			return d, a, nil
		}
	}
	return nil, nil, cc.NotFound("Deployment")
}

func showDeployment(q *cc.Req) (*cc.Reply, error) {
	d, _, err := find(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(present(q, d)), nil
}

func updateDeployment(q *cc.Req) (*cc.Reply, error) {
	d, a, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	b, err := q.Body("metadata")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := m.Check(&d.Base); err != nil {
		return nil, err
	}
	m.Apply(&d.Base)
	q.Touch(&d.Base)
	return cc.OK(present(q, d)), nil
}

// read checks the body of a new deployment.
func read(b *cc.Body, d *world.Deployment) {
	d.Strategy, d.MaxInFlight = "rolling", 1
	if v, ok := b.Lookup("strategy"); ok {
		s, _ := v.(string)
		if s != "rolling" && s != "canary" && v != nil {
			b.Add("Strategy '%v' is not a supported deployment strategy", v)
		}
		if s != "" {
			d.Strategy = s
		}
	}
	if b.Get("droplet") != nil && b.Get("revision") != nil {
		b.Add("Droplet Cannot set both fields 'droplet' and 'revision'")
	}
	v := b.Get("options")
	if v == nil || v == "" || v == false {
		return
	}
	o, ok := v.(tree.Obj)
	if !ok {
		b.Add("Options must be an object")
		return
	}
	readOptions(b, o, d)
}

func readOptions(b *cc.Body, o tree.Obj, d *world.Deployment) {
	known := []string{"max_in_flight", "canary", "web_instances", "memory_in_mb", "disk_in_mb", "log_rate_limit_in_bytes_per_second"}
	unknown := ""
	for _, f := range o {
		if !slices.Contains(known, f.Key) {
			if unknown != "" {
				unknown += ", "
			}
			unknown += f.Key
		}
	}
	if unknown != "" {
		b.Add("Options has unsupported key(s): %s", unknown)
	}
	inner := &cc.Body{Obj: o}
	d.Options = world.Options{
		WebInstances: apps.Whole(inner, "web_instances", 0, "greater than or equal to 0", math.MaxInt32),
		Memory:       apps.Whole(inner, "memory_in_mb", 1, "greater than 0", math.MaxInt32),
		Disk:         apps.Whole(inner, "disk_in_mb", 1, "greater than 0", math.MaxInt32),
		LogRate:      apps.Whole(inner, "log_rate_limit_in_bytes_per_second", -1, "greater than or equal to -1", math.MaxInt64),
	}
	b.Problems = append(b.Problems, inner.Problems...)
	if v := o.Get("max_in_flight"); v != nil && v != false {
		n, isInt := v.(int64)
		if !isInt || n < 1 {
			b.Add("Max in flight must be an integer greater than 0")
		}
		d.MaxInFlight = int(n)
	}
	if v := o.Get("canary"); v != nil && v != false {
		readCanary(b, v, d)
	}
}

func readCanary(b *cc.Body, v any, d *world.Deployment) {
	o, ok := v.(tree.Obj)
	if !ok {
		b.Add("Options canary must be an object")
		return
	}
	if d.Strategy != "canary" {
		b.Add("Options canary are only valid for Canary deployments")
		return
	}
	s := o.Get("steps")
	if s == nil || s == false {
		return
	}
	l, ok := s.([]any)
	if !ok {
		b.Add("Options canary steps must be an array of objects")
		return
	}
	missing, wrong := false, false
	for _, e := range l {
		if _, ok := e.(tree.Obj); !ok {
			b.Add("Options canary steps must be an array of objects")
			return
		}
	}
	for _, e := range l {
		step := e.(tree.Obj)
		if u := cc.UnknownFields(step, "instance_weight"); u != "" {
			b.Add("Options canary steps has unsupported key(s): %s", strings.ReplaceAll(strings.TrimPrefix(u, "Unknown field(s): "), "'", ""))
		}
		w, isInt := step.Get("instance_weight").(int64)
		missing = missing || !step.Has("instance_weight")
		wrong = wrong || !isInt || w < 1 || w > 100
		d.Weights = append(d.Weights, int(w))
	}
	if missing {
		b.Add(`Options canary steps missing key: "instance_weight"`)
	}
	if wrong {
		b.Add("Options canary steps instance weight must be an Integer between 1-100 (inclusive)")
	}
	if !missing && !slices.IsSorted(d.Weights) {
		b.Add("Options canary steps instance weight must be sorted in ascending order")
	}
	d.HasSteps = true
}

func createDeployment(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("relationships", "droplet", "revision", "strategy", "options", "metadata")
	if err != nil {
		return nil, err
	}
	d := &world.Deployment{Base: q.W.Base(), Value: world.Active, Reason: world.Deploying, LastHealthy: q.Now, LastChange: q.Now}
	read(b, d)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	app, _ := b.Path("relationships", "app", "data", "guid").(string)
	a, err := apps.Visible(q, app)
	if err == nil {
		err = q.MayWriteSpace(a.Space, world.SpaceDeveloper, world.SpaceSupporter)
	}
	if err != nil {
		return nil, cc.Unprocessable("Unable to use app. Ensure that the app exists and you have access to it.")
	}
	if err := m.Check(&d.Base); err != nil {
		return nil, err
	}
	drop, rev, err := what(q, b, a)
	if err != nil {
		return nil, err
	}
	d.App = a.GUID
	if err := fits(&q.Tx, a, d); err != nil {
		return nil, err
	}
	m.Apply(&d.Base)
	begin(&q.Tx, a, d, drop, rev, b.Obj)
	return cc.Created(present(q, d)), nil
}

// what finds the droplet to deploy: the one named, that of the revision named, or the current one.
func what(q *cc.Req, b *cc.Body, a *world.App) (*world.Droplet, *world.Revision, error) {
	wrong := cc.Unprocessable("Unable to assign current droplet. Ensure the droplet exists and belongs to this app.")
	if b.Get("revision") != nil {
		if a.RevisionsDisabled {
			return nil, nil, cc.Unprocessable("Cannot create deployment from a revision for an app without revisions enabled")
		}
		guid, _ := b.Path("revision", "guid").(string)
		rev, ok := q.W.Revisions.Get(guid)
		if !ok || rev.App != a.GUID {
			return nil, nil, cc.Unprocessable("The revision does not exist")
		}
		d, ok := q.W.Droplets.Get(rev.Droplet)
		if !ok || d.State != world.Staged {
			return nil, nil, cc.Unprocessable("Unable to deploy this revision, the droplet for this revision no longer exists.")
		}
		if runtime.Same(&q.Tx, rev) {
			return nil, nil, cc.Unprocessable("Unable to rollback. The code and configuration you are rolling back to is the same as the deployed revision.")
		}
		return d, rev, nil
	}
	if b.Get("droplet") != nil {
		guid, _ := b.Path("droplet", "guid").(string)
		d, ok := q.W.Droplets.Get(guid)
		if !ok || d.App != a.GUID || d.State != world.Staged {
			return nil, nil, wrong
		}
		return d, nil, nil
	}
	d := runtime.Droplet(&q.Tx, a)
	if d == nil {
		return nil, nil, cc.Unprocessable("Invalid droplet. Please specify a droplet in the request or set a current droplet for the app.")
	}
	return d, nil, nil
}

// begin starts a deployment, or starts the app if it is stopped.
func begin(tx *cc.Tx, a *world.App, d *world.Deployment, drop *world.Droplet, rev *world.Revision, request tree.Obj) {
	d.PreviousDroplet, d.Droplet = a.Droplet, drop.GUID
	runtime.AssignDroplet(tx, a, drop)
	kind := any(nil)
	if rev != nil {
		kind = "rollback"
		rollBack(tx, a, rev)
	}
	r := runtime.Revise(tx, a, rev)
	if r != nil {
		d.Revision, d.RevisionVersion = r.GUID, r.Version
	}
	before := runtime.Deploying(tx, a.GUID)
	old := runtime.Process(tx, a.GUID, "web")
	if a.Started && old != nil {
		d.Original = old.Instances
		if before != nil {
			d.Original = before.Original
		}
		deploy(tx, a, d, old, r)
		if before != nil {
			before.Dropped = inCanary(before) || before.Reason == world.Canceling
			finish(tx, before, world.Superseded)
		}
	} else {
		if old != nil {
			d.Options.Size(old)
			if n := d.Options.WebInstances; n != nil {
				old.Instances = *n
			}
		}
		runtime.Start(tx, a)
		setRevision(tx, a.GUID, d.Revision)
		runtime.Audit(tx, a, "audit.app.start", nil)
		finish(tx, d, world.Deployed)
	}
	tx.W.Deployments.Insert(d)
	var revision any
	if d.Revision != "" {
		revision = d.Revision
	}
	runtime.Audit(tx, a, "audit.app.deployment.create", tree.O("deployment_guid", d.GUID, "droplet_guid", d.Droplet, "type", kind,
		"revision_guid", revision, "request", request, "strategy", d.Strategy))
}

func setRevision(tx *cc.Tx, app, revision string) {
	if revision == "" {
		return
	}
	for _, p := range tx.W.Processes.By("app", app) {
		p.Revision = revision
	}
}

// rollBack puts the app back to what a revision recorded, but for the commands: they come with the new web process, and
// to the other processes when the deployment is done.
func rollBack(tx *cc.Tx, a *world.App, rev *world.Revision) {
	a.Env = maps.Clone(rev.Env)
	for _, s := range tx.W.Sidecars.By("app", a.GUID) {
		tx.W.Sidecars.Delete(s.GUID)
	}
	for _, s := range rev.Sidecars {
		s.Base = tx.W.Base()
		tx.W.Sidecars.Insert(&s)
	}
	tx.Touch(&a.Base)
}

// deploy adds the new web process beside the old one.
func deploy(tx *cc.Tx, a *world.App, d *world.Deployment, old *world.Process, r *world.Revision) {
	p := *old
	p.Base = tx.W.Base()
	p.Labels, p.Annotations = old.Labels, old.Annotations
	p.Version, p.Running, p.Revision = world.GUID(), nil, d.Revision
	d.Target = d.Original
	if d.Options.WebInstances != nil {
		d.Target = *d.Options.WebInstances
	}
	d.Options.Size(&p)
	if r != nil {
		p.Command = r.Commands["web"]
	}
	d.NewProcess = p.GUID
	if d.Strategy == "canary" {
		d.Step = 1
	}
	p.Instances = min(d.MaxInFlight, goal(d))
	tx.W.Processes.Insert(&p)
	runtime.Launch(tx, a, &p)
	tx.After(tx.S.Step, "deployment.step", d.GUID)
}
