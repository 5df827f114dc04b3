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
	return max(1, int(math.Round(float64(d.Target)*float64(d.Weights[d.Step-1])/100)))
}

// keep is how many old instances stay while that many new ones run. Canary instances come on top: with one of them all
// the old ones stay (observed fact).
func keep(d *world.Deployment, healthy int) int {
	if !inCanary(d) {
		return max(0, d.Target-healthy)
	}
	if len(d.Weights) > 0 && d.Weights[d.Step-1] == 100 && healthy >= goal(d) {
		return 0
	}
	return max(0, d.Original-max(0, healthy-1))
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
	shrink(tx, a, d, keep(d, healthy))
	if healthy >= want {
		if inCanary(d) {
			change(tx, d, world.Active, world.Paused)
		} else {
			complete(tx, a, d, p)
		}
		return
	}
	if n := min(want, healthy+d.MaxInFlight); n > p.Instances {
		p.Instances = n
		tx.Touch(&p.Base)
		runtime.Resize(tx, a, p)
	}
}

// shrink takes old web instances away until total are left, the oldest processes first.
func shrink(tx *cc.Tx, a *world.App, d *world.Deployment, total int) {
	have := 0
	var old []*world.Process
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		if p.Type == "web" && p.GUID != d.NewProcess {
			old = append(old, p)
			have += p.Instances
		}
	}
	for _, p := range old {
		if cut := min(p.Instances, have-total); cut > 0 {
			p.Instances -= cut
			have -= cut
			runtime.Resize(tx, a, p)
		}
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
			if d.Revision != "" {
				other.Revision = d.Revision
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
	var serves *world.Process
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		if p.Type == "web" && (serves == nil || runtime.Healthy(tx, p) > runtime.Healthy(tx, serves)) {
			serves = p
		}
	}
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
