package cc

import "github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"

// Errand registers what happens outside the controller when an event of that kind is due: a call to a service broker.
// prepare runs with the lock held and returns the call (nil for none); the call runs without it, in the request that came
// across the event, and returns what is to be done about its outcome, with the lock held again. Other requests do not
// wait for it. Calls bound their own time.
func (s *Server) Errand(kind string, prepare func(tx *Tx, guid string) (call func() (apply func(*Tx)))) {
	if s.errands == nil {
		s.errands = map[string]func(*Tx, string) func() func(*Tx){}
	}
	s.errands[kind] = prepare
}

// Finish ends a job whose work is done by errands; err is nil when it went well.
func (tx *Tx) Finish(j *world.Job, err error) { tx.conclude(j, err) }

// Polling says that a job waits for something outside.
func (tx *Tx) Polling(j *world.Job) { j.State, j.Updated = world.JobPolling, tx.Now }
