package cloudfoundry

import (
	"fmt"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// queue gives out the steps of a plan: each when all that it requires has ended, otherwise in the order of the plan. So a
// run of one step at a time is the same every time.
type queue struct {
	steps     []platform.Step
	waiting   []int // indices of steps, in the order of the plan
	known     map[string]bool
	succeeded map[string]bool // by id, of those that have ended
}

func newQueue(steps []platform.Step) *queue {
	q := &queue{steps: steps, known: map[string]bool{}, succeeded: map[string]bool{}}
	for i, s := range steps {
		q.waiting = append(q.waiting, i)
		q.known[s.ID] = true
	}
	return q
}

// next takes out a step that can begin. missing is what it requires and will not get; ok is false if every step
// waits for one that is under way, or none is left.
func (q *queue) next() (i int, missing string, ok bool) {
	for at, i := range q.waiting {
		ready := true
		missing = ""
		for _, id := range q.steps[i].Requires {
			succeeded, ended := q.succeeded[id]
			ready = ready && (ended || !q.known[id])
			if ended && !succeeded {
				missing = id
			}
		}
		if ready {
			q.waiting = slices.Delete(q.waiting, at, at+1)
			return i, missing, true
		}
	}
	return 0, "", false
}

// end says how a step ended.
func (q *queue) end(i int, succeeded bool) { q.succeeded[q.steps[i].ID] = succeeded }

// acyclic refuses steps that wait for each other.
func acyclic(steps []platform.Step) error {
	requires := map[string][]string{}
	for _, s := range steps {
		requires[s.ID] = s.Requires
	}
	state := map[string]int{} // 1: being visited, 2: fine
	var visit func(id string, path []string) error
	visit = func(id string, path []string) error {
		switch state[id] {
		case 1:
			return &platform.Error{
				Class: platform.Invalid, Doing: "ordering the steps",
				Message: fmt.Sprintf("these require each other: %s", joinAnd(append(path[slices.Index(path, id):], id))),
				Hint:    "remove one of the dependencies",
			}
		case 2:
			return nil
		}
		state[id] = 1
		for _, next := range requires[id] {
			if err := visit(next, append(slices.Clip(path), id)); err != nil {
				return err
			}
		}
		state[id] = 2
		return nil
	}
	for _, s := range steps {
		if err := visit(s.ID, nil); err != nil {
			return err
		}
	}
	return nil
}

func joinAnd(names []string) string {
	text := names[0]
	for _, n := range names[1:] {
		text += ", then " + n
	}
	return text
}
