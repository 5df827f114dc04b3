package rollout

import (
	"math"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// steps is the number of canary steps: one when none were given.
func steps(d *world.Deployment) int { return max(1, len(d.Weights)) }

// inCanary reports whether a canary step is under way or complete, as opposed to rolling to the end.
func inCanary(d *world.Deployment) bool { return d.Strategy == "canary" && !d.Rolling }

// goal is how many new instances the current phase wants.
func goal(d *world.Deployment) int {
	if !inCanary(d) {
		return d.Target
	}
	if len(d.Weights) == 0 {
		return 1
	}
	return max(1, int(math.Round(float64(base(d))*float64(d.Weights[d.Step-1])/100)))
}

// base is the number of which canary steps take their shares: that of the old instances, unless fewer are wanted.
func base(d *world.Deployment) int {
	if n := d.Options.WebInstances; n != nil && len(d.Weights) > 0 {
		return min(*n, d.Original)
	}
	return d.Original
}

// keep is how many old instances stay while that many new ones run. Canary instances come on top: with one of them all
// the old ones stay (observed fact).
func keep(d *world.Deployment, healthy int) int {
	if !inCanary(d) {
		return max(0, d.Target-healthy)
	}
	total := base(d) + 1
	if len(d.Weights) > 0 && d.Weights[d.Step-1] == 100 {
		total = goal(d)
	}
	return max(0, total-healthy)
}

// step is one look of the deployment updater.
func step(tx *cc.Tx, guid string) {
	d, ok := tx.W.Deployments.Get(guid)
	if !ok || d.Value != world.Active {
		return
	}
	a, ok := tx.W.Apps.Get(d.App)
	if !ok {
		return
	}
	p, ok := tx.W.Processes.Get(d.NewProcess)
	if !ok {
		return
	}
	if d.Reason == world.Canceling {
		undo(tx, a, d)
		return
	}
	if d.Reason == world.Paused {
		return // continue sets it going again
	}
	tx.After(tx.S.Step, "deployment.step", guid)
	if !a.Started {
		return
	}
	healthy := runtime.Healthy(tx, p)
	if healthy > 0 {
		d.LastHealthy = tx.Now
	}
	want := goal(d)
	dropCanaries(tx, a)
	shrink(tx, a, d, keep(d, healthy))
	if healthy >= want {
		if inCanary(d) {
			change(tx, d, world.Active, world.Paused)
		} else {
			complete(tx, a, d, p)
		}
		return
	}
	if n := min(want, healthy+d.MaxInFlight); n > p.Instances && !ailing(tx, p) {
		p.Instances = n
		tx.Touch(&p.Base)
		runtime.Resize(tx, a, p)
	}
}

// ailing reports whether an instance has crashed; no more are started then.
func ailing(tx *cc.Tx, p *world.Process) bool {
	for i := range p.Running {
		if s, _ := runtime.State(tx, p, i); s == runtime.Crashed {
			return true
		}
	}
	return false
}

// dropCanaries takes their instances from what superseded canaries and superseded cancellations left behind.
func dropCanaries(tx *cc.Tx, a *world.App) {
	for _, d := range tx.W.Deployments.By("app", a.GUID) {
		if p, ok := tx.W.Processes.Get(d.NewProcess); ok && d.Reason == world.Superseded && d.Dropped && p.Instances > 0 {
			p.Instances = 0
			runtime.Resize(tx, a, p)
		}
	}
}

// shrink takes old web instances away until total are left, the oldest processes first. Processes of superseded
// deployments go with their last instance; the oldest of all stays to the end.
func shrink(tx *cc.Tx, a *world.App, d *world.Deployment, total int) {
	have := 0
	var old []*world.Process
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		if p.Type == "web" && p.GUID != d.NewProcess {
			old = append(old, p)
			have += p.Instances
		}
	}
	excess := have - total
	if excess <= 0 {
		return
	}
	for i, p := range old {
		if excess < p.Instances {
			p.Instances -= excess
			runtime.Resize(tx, a, p)
			return
		}
		excess -= p.Instances
		p.Instances = 0
		if i > 0 {
			runtime.Discard(tx, a, p)
			continue
		}
		runtime.Resize(tx, a, p)
	}
}

// complete ends a deployment well: the old web processes go, the other processes are restarted with the new revision.
func complete(tx *cc.Tx, a *world.App, d *world.Deployment, p *world.Process) {
	for _, other := range tx.W.Processes.By("app", a.GUID) {
		switch {
		case other == p:
		case other.Type == "web":
			runtime.Discard(tx, a, other)
		default:
			other.Version = world.GUID()
			if r, ok := tx.W.Revisions.Get(d.Revision); ok {
				other.Revision, other.Command = r.GUID, r.Commands[other.Type]
			}
			runtime.Launch(tx, a, other)
		}
	}
	p.Instances = d.Target
	runtime.Resize(tx, a, p)
	d.LastHealthy = tx.Now
	finish(tx, d, world.Deployed)
}

// undo ends a cancelled deployment: the new process goes, the one that serves gets its instances back. What is left over
// from superseded deployments goes as well.
func undo(tx *cc.Tx, a *world.App, d *world.Deployment) {
	if p, ok := tx.W.Processes.Get(d.NewProcess); ok {
		runtime.Discard(tx, a, p)
	}
	serves := prior(tx, a)
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		if p.Type == "web" && p != serves {
			runtime.Discard(tx, a, p)
		}
	}
	if serves != nil {
		serves.Instances = d.Original
		runtime.Resize(tx, a, serves)
	}
	finish(tx, d, world.Canceled)
}

// prior is the web process that serves after a cancellation: the newest that a superseded deployment brought and that
// runs, else the oldest.
func prior(tx *cc.Tx, a *world.App) (serves *world.Process) {
	interim := map[string]bool{}
	for _, d := range tx.W.Deployments.By("app", a.GUID) {
		interim[d.NewProcess] = d.Reason == world.Superseded && !d.Dropped
	}
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		if p.Type == "web" && (serves == nil || interim[p.GUID] && runtime.Healthy(tx, p) > 0) {
			serves = p
		}
	}
	return serves
}

func change(tx *cc.Tx, d *world.Deployment, value, reason string) {
	d.Value, d.Reason, d.LastChange = value, reason, tx.Now
	tx.Touch(&d.Base)
}

func finish(tx *cc.Tx, d *world.Deployment, reason string) { change(tx, d, world.Finalized, reason) }

// findToSteer is the deployment of the path for those who may manage its app. To others it does not exist at all.
func findToSteer(q *cc.Req) (*world.Deployment, *world.App, error) {
	d, a, err := find(q)
	if err != nil {
		return nil, nil, err
	}
	if q.MayWriteSpace(a.Space, world.SpaceDeveloper, world.SpaceSupporter) != nil {
		return nil, nil, cc.NotFound("Deployment")
	}
	return d, a, nil
}

func cancelDeployment(q *cc.Req) (*cc.Reply, error) {
	d, a, err := findToSteer(q)
	if err != nil {
		return nil, err
	}
	if d.Value != world.Active {
		return nil, cc.Unprocessable("Cannot cancel a deployment with status: %s and reason: %s", d.Value, d.Reason)
	}
	if prev, ok := q.W.Droplets.Get(d.PreviousDroplet); ok {
		runtime.AssignDroplet(&q.Tx, a, prev)
	}
	change(&q.Tx, d, world.Active, world.Canceling)
	q.After(q.S.Step, "deployment.step", d.GUID)
	runtime.Audit(&q.Tx, a, "audit.app.deployment.cancel", tree.O("deployment_guid", d.GUID, "droplet_guid", d.Droplet))
	return &cc.Reply{Status: 200}, nil
}

func continueDeployment(q *cc.Req) (*cc.Reply, error) {
	d, a, err := findToSteer(q)
	if err != nil {
		return nil, err
	}
	if d.Reason != world.Paused {
		return nil, cc.Unprocessable("Cannot continue a deployment with status: %s and reason: %s", d.Value, d.Reason)
	}
	if d.Step < steps(d) {
		d.Step++
	} else {
		d.Rolling = true
	}
	change(&q.Tx, d, world.Active, world.Deploying)
	q.After(q.S.Step, "deployment.step", d.GUID)
	runtime.Audit(&q.Tx, a, "audit.app.deployment.continue", tree.O("deployment_guid", d.GUID, "droplet_guid", d.Droplet))
	return &cc.Reply{Status: 200}, nil
}
