// Package runtime is what would be Diego: it says in which state instances are, starts and stops apps, and records what
// an app was at each start (revisions).
//
// Instances are data. An instance knows when it was started; whether it is STARTING, RUNNING or CRASHED follows from the
// time and from what it suffers from, so no timer is needed for it. Nothing is ever executed.
package runtime

import (
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Defaults of a new process, and limits (a Cloud Controller as shipped).
const (
	DefaultMemory  = 1024
	DefaultDisk    = 1024
	MaxDisk        = 10240
	DefaultLogRate = 1 << 20
	MaxTimeout     = 180
	StagingMemory  = 1024
	StagingDisk    = 4096
	FileDescs      = 16384
)

// Faults on demand: markers in the environment, a command, an image or the names of uploaded files.
const (
	FaultCrash     = "FAULT_CRASH"
	FaultStuck     = "FAULT_STUCK"
	FaultFlap      = "FAULT_FLAP"
	FaultSick      = "FAULT_SICK"
	FaultStageFail = "FAULT_STAGE_FAIL"
	FaultTaskFail  = "FAULT_TASK_FAIL"
)

// FaultMarkers lists all of them.
var FaultMarkers = []string{FaultCrash, FaultStuck, FaultFlap, FaultSick, FaultStageFail, FaultTaskFail}

// Target names an app in the audit trail.
func Target(a *world.App) world.Target {
	return world.Target{GUID: a.GUID, Type: "app", Name: a.Name}
}

// Audit leaves an event about an app.
func Audit(tx *cc.Tx, a *world.App, typ string, data tree.Obj) {
	tx.Audit(typ, Target(a), a.Space, "", data)
}

// NewProcess makes a process of an app with the defaults of its type: web has one instance and a port check, others
// none and a process check.
func NewProcess(tx *cc.Tx, a *world.App, typ string) *world.Process {
	p := &world.Process{
		Base: tx.W.Base(), App: a.GUID, Type: typ, Memory: DefaultMemory, Disk: DefaultDisk, LogRate: DefaultLogRate,
		Health: world.HealthCheck{Type: "process"}, Readiness: world.HealthCheck{Type: "process"}, Version: world.GUID(),
	}
	p.Created, p.Updated = tx.Now, tx.Now
	if typ == "web" {
		p.Instances, p.Health.Type = 1, "port"
		if len(tx.W.Processes.By("app", a.GUID)) == 0 {
			p.GUID = a.GUID // observed fact: the first web process has the guid of its app
		}
	}
	tx.W.Processes.Insert(p)
	return p
}

// Process finds the process of a type; of several web processes (while a deployment is in flight) the newest.
func Process(tx *cc.Tx, app, typ string) *world.Process {
	var found *world.Process
	for _, p := range tx.W.Processes.By("app", app) {
		if p.Type == typ {
			found = p
		}
	}
	return found
}

// Droplet is the current droplet of an app, nil when there is none.
func Droplet(tx *cc.Tx, a *world.App) *world.Droplet {
	d, _ := tx.W.Droplets.Get(a.Droplet)
	return d
}

// Command is what a process runs: its own command, else what staging detected, else nothing.
func Command(tx *cc.Tx, p *world.Process) string {
	if p.Command != "" {
		return p.Command
	}
	if a, ok := tx.W.Apps.Get(p.App); ok {
		if d := Droplet(tx, a); d != nil {
			return d.ProcessTypes[p.Type]
		}
	}
	return ""
}

// Mentions reports whether the app's environment, or one of the texts, contains a marker.
func Mentions(env map[string]string, marker string, texts ...string) bool {
	for k, v := range env {
		if strings.Contains(k, marker) || strings.Contains(v, marker) {
			return true
		}
	}
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, marker) })
}

// fault says what instances of a process that are started now will suffer from.
func fault(tx *cc.Tx, a *world.App, p *world.Process) string {
	texts := []string{Command(tx, p)}
	if d := Droplet(tx, a); d != nil {
		texts = append(append(texts, d.Image), d.Faults...)
	}
	for _, m := range []struct{ marker, kind string }{{FaultCrash, "CRASH"}, {FaultStuck, "STUCK"}, {FaultFlap, "FLAP"}, {FaultSick, "SICK"}} {
		if Mentions(a.Env, m.marker, texts...) || tx.S.Fails(m.kind, a.Name) {
			return m.marker
		}
	}
	return ""
}

// Launch starts the instances of a process anew, with the app as it is now.
func Launch(tx *cc.Tx, a *world.App, p *world.Process) {
	p.Fault = fault(tx, a, p)
	p.Running = nil
	Resize(tx, a, p)
}

// NewInstance starts an instance of an app. It stays in the isolation segment of its start; whoever assigns another one
// has to restart. The shared segment has no name here.
func NewInstance(tx *cc.Tx, a *world.App, p *world.Process) world.Instance {
	i := world.Instance{GUID: world.GUID(), Since: tx.Now, Memory: p.Memory, Disk: p.Disk, LogRate: p.LogRate}
	if s, ok := tx.W.Spaces.Get(a.Space); ok {
		guid := s.IsolationSegment
		if o, ok := tx.W.Orgs.Get(s.Org); ok && guid == "" {
			guid = o.IsolationSegment
		}
		if segment, ok := tx.W.IsolationSegments.Get(guid); ok && segment.Name != "shared" {
			i.Segment = segment.Name
		}
	}
	return i
}

// Resize brings the number of running instances to what the process wants.
func Resize(tx *cc.Tx, a *world.App, p *world.Process) {
	want := p.Instances
	if !a.Started {
		want = 0
	}
	if len(p.Running) > want {
		p.Running = slices.Clone(p.Running[:want])
	}
	for len(p.Running) < want {
		p.Running = append(slices.Clip(p.Running), NewInstance(tx, a, p))
	}
	usage.Process(tx, a, p)
}

// Instance states.
const (
	Starting = "STARTING"
	Running  = "RUNNING"
	Crashed  = "CRASHED"
	Down     = "DOWN"
)

// State is the state of an instance now, and since when it has been.
func State(tx *cc.Tx, p *world.Process, i int) (string, time.Time) {
	if i >= len(p.Running) {
		return Down, tx.Now
	}
	since := p.Running[i].Since
	up := since.Add(tx.Scaled(tx.S.Start))
	switch {
	case tx.Now.Before(up) || p.Fault == FaultStuck:
		return Starting, since
	case p.Fault == FaultCrash:
		return Crashed, up
	case p.Fault == FaultFlap:
		period := max(tx.Scaled(flapPeriod), 1)
		turn := tx.Now.Sub(up) / period
		if turn%2 == 1 {
			return Crashed, up.Add(turn * period)
		}
		return Running, up.Add(turn * period)
	}
	return Running, up
}

// flapPeriod is how long a flapping instance is up, and then down.
const flapPeriod = 5 * time.Second

// Healthy counts the running instances.
func Healthy(tx *cc.Tx, p *world.Process) int {
	n := 0
	for i := range p.Running {
		if s, _ := State(tx, p, i); s == Running {
			n++
		}
	}
	return n
}

// Changed gives a process of a started app a new version: the running state of the app has to converge on it.
func Changed(tx *cc.Tx, a *world.App, p *world.Process) {
	if a.Started {
		p.Version = world.GUID()
	}
}

// Start starts a stopped app; a started one is left alone.
func Start(tx *cc.Tx, a *world.App) {
	tx.Touch(&a.Base)
	if a.Started {
		return
	}
	a.Started = true
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		p.Version = world.GUID()
		Launch(tx, a, p)
	}
}

// Stop stops an app.
func Stop(tx *cc.Tx, a *world.App) {
	tx.Touch(&a.Base)
	a.Started = false
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		p.Running = nil
		usage.Process(tx, a, p)
	}
}

// Discard takes a process away that a deployment has replaced.
func Discard(tx *cc.Tx, a *world.App, p *world.Process) {
	usage.Stopped(tx, a, p)
	tx.W.Processes.Delete(p.GUID)
}

// AssignDroplet makes a droplet current and adds the processes that it knows of.
func AssignDroplet(tx *cc.Tx, a *world.App, d *world.Droplet) {
	a.Droplet = d.GUID
	tx.Touch(&a.Base)
	Audit(tx, a, "audit.app.droplet.mapped", tree.O("request", tree.O("droplet_guid", d.GUID)))
	types := make([]string, 0, len(d.ProcessTypes))
	for t := range d.ProcessTypes {
		types = append(types, t)
	}
	slices.Sort(types)
	for _, t := range types {
		if Process(tx, a.GUID, t) == nil {
			p := NewProcess(tx, a, t)
			Audit(tx, a, "audit.app.process.create", tree.O("process_guid", p.GUID, "process_type", t))
		}
	}
}

// Deploying is the active deployment of an app, nil when there is none.
func Deploying(tx *cc.Tx, app string) *world.Deployment {
	for _, d := range tx.W.Deployments.By("app", app) {
		if d.Value == world.Active {
			return d
		}
	}
	return nil
}
