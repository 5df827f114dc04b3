// Package usage keeps the trail from which people bill: app usage events, for processes, tasks and builds, and service
// usage events. Others tell it what has happened; whether that makes an event, and what the previous values were, is
// known here.
package usage

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

const (
	started = "STARTED"
	stopped = "STOPPED"
	// stagingMemory is what a build is said to use.
	stagingMemory = 1024
)

func event(tx *cc.Tx, a *world.App, state, previous string) *world.AppUsageEvent {
	e := &world.AppUsageEvent{Base: tx.W.Base(), State: state, App: a.GUID, AppName: a.Name, Space: a.Space}
	e.Created, e.Updated = tx.Now, tx.Now
	if previous != "" {
		e.Previous = &previous
	}
	if s, ok := tx.W.Spaces.Get(a.Space); ok {
		e.SpaceName, e.Org = s.Name, s.Org
	}
	return e
}

// Process looks whether a process uses something else than the last event said: it is started or stopped now, or has
// other sizes while it is started.
func Process(tx *cc.Tx, a *world.App, p *world.Process) {
	now := world.Billed{Started: a.Started, Memory: p.Memory, Instances: p.Instances}
	if was := p.Billed; now.Started == was.Started && (!now.Started || now == was) {
		return
	}
	state := stopped
	if a.Started {
		state = started
	}
	process(tx, a, p, state, now)
}

// Stopped is for a process that goes.
func Stopped(tx *cc.Tx, a *world.App, p *world.Process) {
	if p.Billed.Started {
		process(tx, a, p, stopped, world.Billed{Memory: p.Memory, Instances: p.Instances})
	}
}

func process(tx *cc.Tx, a *world.App, p *world.Process, state string, now world.Billed) {
	previous, was := stopped, p.Billed
	if was.Started {
		previous = started
	}
	if was.Memory == 0 { // the first event: there was no other size
		was.Memory, was.Instances = p.Memory, p.Instances
	}
	e := event(tx, a, state, previous)
	e.Process, e.ProcessType = p.GUID, p.Type
	e.Memory, e.MemoryWas, e.Instances, e.InstancesWas = now.Memory, &was.Memory, now.Instances, &was.Instances
	if d, ok := tx.W.Droplets.Get(a.Droplet); ok && len(d.Buildpacks) > 0 {
		e.Buildpack, e.BuildpackName = buildpack(tx, d.Buildpacks[0])
	}
	tx.W.AppUsageEvents.Insert(e)
	p.Billed = now
}

func buildpack(tx *cc.Tx, name string) (guid, shown string) {
	for b := range tx.W.Buildpacks.All() {
		if b.Name == name {
			return b.GUID, name
		}
	}
	return "", name
}

// Task is for a task that begins or ends.
func Task(tx *cc.Tx, t *world.Task, state string) {
	a, ok := tx.W.Apps.Get(t.App)
	if !ok {
		return
	}
	previous := ""
	if state == "TASK_STOPPED" {
		previous = world.TaskRunning
	}
	one := 1
	e := event(tx, a, state, previous)
	e.Task, e.TaskName, e.Memory, e.MemoryWas, e.Instances, e.InstancesWas = t.GUID, t.Name, t.Memory, &t.Memory, 1, &one
	tx.W.AppUsageEvents.Insert(e)
}

// Build is for a build that begins, finds its buildpack, or ends.
func Build(tx *cc.Tx, b *world.Build, state string) {
	a, ok := tx.W.Apps.Get(b.App)
	if !ok {
		return
	}
	one, memory := 1, stagingMemory
	e := event(tx, a, state, world.Staging)
	e.Memory, e.MemoryWas, e.Instances, e.InstancesWas = stagingMemory, &memory, 1, &one
	if len(b.Buildpacks) > 0 {
		e.Buildpack, e.BuildpackName = buildpack(tx, b.Buildpacks[0])
	}
	tx.W.AppUsageEvents.Insert(e)
}

// Service is for a service instance that came (CREATED), has another name or plan (UPDATED), or went (DELETED).
func Service(tx *cc.Tx, si *world.ServiceInstance, state string) {
	e := &world.ServiceUsageEvent{
		Base: tx.W.Base(), State: state, Space: si.Space, Instance: si.GUID, InstanceName: si.Name, InstanceType: "user_provided_service_instance",
	}
	e.Created, e.Updated = tx.Now, tx.Now
	if s, ok := tx.W.Spaces.Get(si.Space); ok {
		e.SpaceName, e.Org = s.Name, s.Org
	}
	if si.Type == "managed" {
		e.InstanceType = "managed_service_instance"
		if p, ok := tx.W.ServicePlans.Get(si.Plan); ok {
			e.Plan, e.PlanName = p.GUID, p.Name
			if o, ok := tx.W.ServiceOfferings.Get(p.Offering); ok {
				e.Offering, e.OfferingName = o.GUID, o.Name
				if b, ok := tx.W.ServiceBrokers.Get(o.Broker); ok {
					e.Broker, e.BrokerName = b.GUID, b.Name
				}
			}
		}
	}
	tx.W.ServiceUsageEvents.Insert(e)
}
