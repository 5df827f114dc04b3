package cc

import (
	"errors"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Tx is one turn at the world: a request, a due event or a job. Who has a Tx holds the lock.
type Tx struct {
	S     *Server
	W     *world.World
	Now   time.Time
	Actor world.Actor
}

// After arranges that an event happens later; d is a duration at speed 1.
func (tx *Tx) After(d time.Duration, kind, guid string) {
	tx.W.Queue.Add(tx.Now.Add(tx.Scaled(d)), kind, guid)
}

// Scaled is a duration at the speed of the sandbox.
func (tx *Tx) Scaled(d time.Duration) time.Duration { return time.Duration(float64(d) / tx.S.Speed) }

// Touch moves updated_at.
func (tx *Tx) Touch(b *world.Base) { b.Updated = tx.Now }

// Gone runs what OnDelete registered for that kind. The caller removes the resource itself afterwards.
func (tx *Tx) Gone(kind, guid string) {
	for _, f := range tx.S.cascades[kind] {
		f(tx, guid)
	}
}

// Audit appends an event of the current actor to the trail. Space and org are guids, either may be empty.
func (tx *Tx) Audit(typ string, target world.Target, space, org string, data tree.Obj) {
	if space != "" && org == "" {
		if s, ok := tx.W.Spaces.Get(space); ok {
			org = s.Org
		}
	}
	b := tx.W.Base()
	b.Created, b.Updated = tx.Now, tx.Now
	if data == nil {
		data = tree.Obj{}
	}
	tx.W.AuditEvents.Insert(&world.AuditEvent{Base: b, Type: typ, Actor: tx.Actor, Target: target, Space: space, Org: org, Data: tree.JSON(data)})
}

// ErrPoll is returned by the work of a job that is not done yet: it is called again after a while.
var ErrPoll = errors.New("cc: not done yet")

// JobSpec says what a job does.
type JobSpec struct {
	Operation      string
	Link, LinkPath string // what it is about, if that outlives the job
	Args           map[string]string
	Payload        tree.Raw
	Takes          time.Duration // Config.Job when zero
	Errand         string        // the kind of event that does the work instead of a function registered with Server.Job
}

// StartJob begins a job in the name of the current actor.
func (tx *Tx) StartJob(spec JobSpec) *world.Job {
	j := &world.Job{
		Base: tx.W.Base(), Operation: spec.Operation, State: world.JobProcessing, Link: spec.Link, LinkPath: spec.LinkPath,
		Actor: tx.Actor, Args: spec.Args, Payload: spec.Payload,
	}
	j.Created, j.Updated = tx.Now, tx.Now
	tx.W.Jobs.Insert(j)
	d := spec.Takes
	if d == 0 {
		d = tx.S.Config.Job
	}
	if spec.Errand != "" {
		tx.After(d, spec.Errand, j.GUID)
	} else {
		tx.After(d, "job", j.GUID)
	}
	return j
}

func (s *Server) runJob(tx *Tx, guid string) {
	j, ok := tx.W.Jobs.Get(guid)
	if !ok {
		return
	}
	work := s.jobs[j.Operation]
	tx.Actor = j.Actor
	var err error
	switch {
	case s.Fails("JOB", j.Operation):
		err = Unknown()
	case work != nil:
		err = work(tx, j)
	}
	if errors.Is(err, ErrPoll) {
		tx.Polling(j)
		tx.After(s.Config.Job, "job", guid)
		return
	}
	tx.conclude(j, err)
}

func (tx *Tx) conclude(j *world.Job, err error) {
	j.Updated = tx.Now
	var e *Error
	switch {
	case err == nil:
		j.State = world.JobComplete
	case errors.As(err, &e):
		j.State, j.Errors = world.JobFailed, tree.JSON(e.Entries())
	default:
		j.State, j.Errors = world.JobFailed, tree.JSON(Unknown().Entries())
	}
}
