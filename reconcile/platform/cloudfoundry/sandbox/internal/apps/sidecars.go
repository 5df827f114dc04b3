package apps

import (
	"math"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerSidecars(s *cc.Server) {
	s.Write("POST /v3/apps/{guid}/sidecars", createSidecar)
	s.Read("GET /v3/apps/{guid}/sidecars", appSidecars)
	s.Read("GET /v3/sidecars/{guid}", showSidecar)
	s.Write("PATCH /v3/sidecars/{guid}", updateSidecar)
	s.Write("DELETE /v3/sidecars/{guid}", deleteSidecar)
}

var sidecars = &cc.List[*world.Sidecar]{Show: func(_ *cc.Req, s *world.Sidecar) any { return presentSidecar(s) }}

func presentSidecar(s *world.Sidecar) tree.Obj {
	return tree.O("guid", s.GUID, "name", s.Name, "command", s.Command, "process_types", s.ProcessTypes, "memory_in_mb", s.Memory, "origin", s.Origin,
		"relationships", tree.O("app", cc.One(s.App)), "created_at", cc.Stamp(s.Created), "updated_at", cc.Stamp(s.Updated))
}

func appSidecars(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	return sidecars.Answer(q, slices.Values(q.W.Sidecars.By("app", a.GUID)), nil)
}

func processSidecars(q *cc.Req) (*cc.Reply, error) {
	a, p, err := processByGUID(q)
	if err != nil {
		return nil, err
	}
	return sidecars.Answer(q, slices.Values(q.W.Sidecars.By("app", a.GUID)), func(s *world.Sidecar) bool {
		return slices.Contains(s.ProcessTypes, p.Type)
	})
}

func findSidecar(q *cc.Req) (*world.Sidecar, *world.App, error) {
	s, ok := q.W.Sidecars.Get(q.Var("guid"))
	if ok {
		if a, err := Visible(q, s.App); err == nil {
			return s, a, nil
		}
	}
	return nil, nil, cc.NotFound("Sidecar")
}

func showSidecar(q *cc.Req) (*cc.Reply, error) {
	s, _, err := findSidecar(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentSidecar(s)), nil
}

// readSidecar checks the fields that are given, all of them for a new sidecar.
func readSidecar(b *cc.Body, s *world.Sidecar, create bool) {
	text := func(key string, to *string) {
		v, ok := b.Lookup(key)
		if !ok && !create {
			return
		}
		t, isText := v.(string)
		if v == nil || t == "" && isText {
			b.Add("%s can't be blank", cc.Human(key))
		}
		if !isText {
			b.Add("%s must be a string", cc.Human(key))
		}
		*to = t
	}
	text("name", &s.Name)
	text("command", &s.Command)
	if v, ok := b.Lookup("process_types"); ok || create {
		l, isList := v.([]any)
		if !isList {
			b.Add("Process types must be an array")
		}
		if len(l) == 0 {
			b.Add("Process types must have at least 1 process_type")
		}
		var types []string
		for _, e := range l {
			t, _ := e.(string)
			types = append(types, t)
		}
		s.ProcessTypes = types
	}
	if v, ok := b.Lookup("memory_in_mb"); ok {
		s.Memory = nil
		if v != nil {
			s.Memory = whole(b, v, "Memory in mb", 1, "greater than 0", math.MaxInt32)
		}
	}
}

// CheckSidecar looks whether a sidecar fits beside the processes that it belongs to.
func CheckSidecar(tx *cc.Tx, s *world.Sidecar) error {
	for _, other := range tx.W.Sidecars.By("app", s.App) {
		if other.Name == s.Name && other.GUID != s.GUID {
			return cc.Unprocessable("Sidecar with name '%s' already exists for given app", s.Name)
		}
	}
	for _, t := range s.ProcessTypes {
		p := runtime.Process(tx, s.App, t)
		if p == nil {
			continue
		}
		total := 0
		for _, other := range tx.W.Sidecars.By("app", s.App) {
			if other.GUID != s.GUID && other.Memory != nil && slices.Contains(other.ProcessTypes, t) {
				total += *other.Memory
			}
		}
		if s.Memory != nil && total+*s.Memory >= p.Memory {
			return cc.Unprocessable("The memory allocation defined is too large to run with the dependent %q process", t)
		}
	}
	return nil
}

func createSidecar(q *cc.Req) (*cc.Reply, error) {
	a, err := FindForWrite(q)
	if err != nil {
		return nil, err
	}
	b, err := q.Body("name", "command", "process_types", "memory_in_mb")
	if err != nil {
		return nil, err
	}
	s := &world.Sidecar{Base: q.W.Base(), App: a.GUID, Origin: "user"}
	readSidecar(b, s, true)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := CheckSidecar(&q.Tx, s); err != nil {
		return nil, err
	}
	q.W.Sidecars.Insert(s)
	return cc.Created(presentSidecar(s)), nil
}

func updateSidecar(q *cc.Req) (*cc.Reply, error) {
	s, a, err := findSidecar(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "command", "process_types", "memory_in_mb")
	if err != nil {
		return nil, err
	}
	after := *s
	readSidecar(b, &after, false)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := CheckSidecar(&q.Tx, &after); err != nil {
		return nil, err
	}
	*s = after
	q.Touch(&s.Base)
	return cc.OK(presentSidecar(s)), nil
}

func deleteSidecar(q *cc.Req) (*cc.Reply, error) {
	s, a, err := findSidecar(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	q.W.Sidecars.Delete(s.GUID)
	return cc.NoContent(), nil
}
