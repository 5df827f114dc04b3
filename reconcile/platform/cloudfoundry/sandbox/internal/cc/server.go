// Package cc is the frame of the Cloud Controller: routing, who may do what, bodies, lists, metadata, errors, jobs, audit
// events and time. The resources themselves live in packages of their own that register with a Server.
//
// # One lock, no goroutines
//
// A Server holds one world and one lock. Before a request is served, everything that has become due (builds that
// finish, jobs, steps of deployments) is done in its order, each at its own moment; then a reading handler runs under
// the read lock, a writing one under the write lock. Nothing runs by itself: between two requests time stands still
// and is caught up later. So a test under testing/synctest may sleep an hour and see what an hour does.
//
// What cc never does: know a particular resource beyond organizations, spaces and roles, which permissions need.
package cc

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Config is what can be set about the controller.
type Config struct {
	Now       func() time.Time // the clock, time.Now when nil
	Speed     float64          // all durations are divided by it
	Job       time.Duration    // how long an asynchronous job takes
	Upload    time.Duration    // processing of uploaded bits
	Staging   time.Duration    // a build
	Start     time.Duration    // an instance, from STARTING to RUNNING
	Step      time.Duration    // between two looks of the deployment updater
	Task      time.Duration    // a task
	Delete    time.Duration    // what happens in the background after an answer
	UAAPath   string           // below the base URL
	Log       *slog.Logger
	Outbound  *http.Client                       // for calls to service brokers; http.DefaultClient when nil
	Authorize func(token string) (*Token, error) // reads an access token
	Trouble   func(kind, name string) bool       // whether some work is to fail: "JOB" and its operation, "STAGE", "CRASH" … and the name of an app
}

// Token is what the controller takes from an access token.
type Token struct {
	UserID, UserName, Email, Origin, ClientID string
	Scopes                                    []string
}

// Server is the controller.
type Server struct {
	Config
	mu       sync.RWMutex
	world    *world.World
	mux      *http.ServeMux
	kinds    map[string]func(*Tx, string)
	jobs     map[string]func(*Tx, *world.Job) error
	cascades map[string][]func(*Tx, string)
	stays    map[string][]func(*Tx, string) []string
	errands  map[string]func(*Tx, string) func() func(*Tx)
	changes  atomic.Int64
}

// Fails asks Trouble.
func (s *Server) Fails(kind, name string) bool { return s.Trouble != nil && s.Trouble(kind, name) }

// Endpoint is the method and pattern that a request is served under.
func (s *Server) Endpoint(r *http.Request) string {
	if _, pattern := s.mux.Handler(r); pattern != "" {
		return pattern
	}
	return r.Method + " (unknown)"
}

// NewServer makes a controller without any resource.
func NewServer(c Config, w *world.World) *Server {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Speed <= 0 {
		c.Speed = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		Config: c, world: w, mux: http.NewServeMux(),
		kinds: map[string]func(*Tx, string){}, jobs: map[string]func(*Tx, *world.Job) error{},
		cascades: map[string][]func(*Tx, string){},
	}
	s.When("job", s.runJob)
	return s
}

// Reply is an answer with a status and, unless Body is nil, JSON.
type Reply struct {
	Status   int
	Body     any
	Location string // a path; the base URL is put before it
	Type     string // Content-Type, when it is not JSON; Body is then a []byte
	Warnings []string
}

// OK is 200 with a body.
func OK(body any) *Reply { return &Reply{Status: http.StatusOK, Body: body} }

// Created is 201 with a body.
func Created(body any) *Reply { return &Reply{Status: http.StatusCreated, Body: body} }

// AcceptedJob is 202 with the Location of a job and no body.
func AcceptedJob(j *world.Job) *Reply {
	return &Reply{Status: http.StatusAccepted, Location: "/v3/jobs/" + j.GUID}
}

// NoContent is 204.
func NoContent() *Reply { return &Reply{Status: http.StatusNoContent} }

// Handler answers one request.
type Handler func(*Req) (*Reply, error)

type access int

const (
	reads access = iota
	writes
	public
	open
)

// Read registers a handler that changes nothing: it runs beside others under the read lock.
func (s *Server) Read(pattern string, h Handler) { s.handle(pattern, reads, h) }

// Write registers a handler that may change the world (even if it is a GET that leaves an audit event).
func (s *Server) Write(pattern string, h Handler) { s.handle(pattern, writes, h) }

// Public registers a reading handler that needs no token.
func (s *Server) Public(pattern string, h Handler) { s.handle(pattern, public, h) }

// Open registers a reading handler for anyone. Without a token the caller is nobody; a token that is there must be good.
func (s *Server) Open(pattern string, h Handler) { s.handle(pattern, open, h) }

// When registers what happens when an event of that kind is due.
func (s *Server) When(kind string, f func(tx *Tx, guid string)) { s.kinds[kind] = f }

// Job registers the work behind an operation. It returns an *Error to fail, ErrPoll to be called again later.
func (s *Server) Job(operation string, f func(tx *Tx, j *world.Job) error) { s.jobs[operation] = f }

// OnDelete registers what else goes when a resource of that kind ("space", "app" …) goes. The functions run before
// the resource is removed, in the order of their registration.
func (s *Server) OnDelete(kind string, f func(tx *Tx, guid string)) {
	s.cascades[kind] = append(s.cascades[kind], f)
}

func (s *Server) handle(pattern string, a access, h Handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		q := &Req{HTTP: r, Tx: Tx{S: s, W: s.world}}
		rep, err := s.serve(q, a, h)
		if r.MultipartForm != nil {
			_ = r.MultipartForm.RemoveAll()
		}
		s.answer(w, q, rep, err)
	})
}

// serve runs a handler at the right moment under the right lock and writes its body as JSON while the lock is held.
func (s *Server) serve(q *Req, a access, h Handler) (*Reply, error) {
	q.init()
	if a == open && q.HTTP.Header.Get("Authorization") == "" {
		q.Token = &Token{}
	} else if a != public {
		if err := q.authenticate(); err != nil {
			return nil, err
		}
		if err := q.readBody(); err != nil {
			return nil, err
		}
	}
	now := s.Config.Now()
	s.catchUp(now)
	if a == reads && q.stranger() {
		s.Update(func(*Tx) { q.meet() })
	}
	if a == writes {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changes.Add(1)
		if now.After(s.world.Now) {
			s.world.Now = now
		}
		q.Now = s.world.Now
		q.meet()
	} else {
		s.mu.RLock()
		defer s.mu.RUnlock()
		q.Now = now
	}
	rep, err := h(q)
	if err == nil && rep.Body != nil && rep.Type == "" {
		rep.Body = tree.JSON(rep.Body)
	}
	return rep, err
}

func (s *Server) answer(w http.ResponseWriter, q *Req, rep *Reply, err error) {
	h := w.Header()
	h.Set("X-Vcap-Request-Id", q.ID)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			s.Log.Error("handler failed", "method", q.HTTP.Method, "path", q.HTTP.URL.Path, "err", err)
			e = Unknown()
		}
		h.Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(e.Status)
		_, _ = w.Write(tree.JSON(tree.O("errors", e.Entries())))
		return
	}
	if rep.Location != "" {
		h.Set("Location", q.Base+rep.Location)
	}
	for _, x := range rep.Warnings {
		h.Add("X-Cf-Warnings", url.QueryEscape(x))
	}
	body, _ := rep.Body.([]byte)
	switch {
	case rep.Type != "":
		h.Set("Content-Type", rep.Type)
	case body != nil:
		h.Set("Content-Type", "application/json; charset=utf-8")
	case rep.Status != http.StatusNoContent:
		h.Set("Content-Type", "application/json") // observed fact: without a body there is no charset either
	}
	w.WriteHeader(rep.Status)
	_, _ = w.Write(body)
}

// ServeHTTP answers /, /v3 and what is below it; everything that no pattern matches is an unknown request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern == "" {
		q := &Req{HTTP: r, Tx: Tx{S: s, W: s.world}}
		q.init()
		s.answer(w, q, nil, unknownRequest())
		return
	}
	s.mux.ServeHTTP(w, r)
}

// catchUp does everything that is due by now, each event at its own moment, and then the errands among them, for which
// the lock is let go.
func (s *Server) catchUp(now time.Time) {
	s.mu.RLock()
	due, ok := s.world.Queue.Next()
	s.mu.RUnlock()
	if !ok || due.After(now) {
		return
	}
	for _, errand := range s.happen(now) {
		s.Update(errand())
	}
}

// happen does what is due and returns the errands that it found.
func (s *Server) happen(now time.Time) (errands []func() func(*Tx)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		due, ok := s.world.Queue.Next()
		if !ok || due.After(now) {
			return errands
		}
		e := s.world.Queue.Pop()
		s.changes.Add(1)
		if due.After(s.world.Now) {
			s.world.Now = due
		}
		tx := &Tx{S: s, W: s.world, Now: s.world.Now}
		if f := s.kinds[e.Kind]; f != nil {
			f(tx, e.GUID)
		}
		if f := s.errands[e.Kind]; f != nil {
			if errand := f(tx, e.GUID); errand != nil {
				errands = append(errands, errand)
			}
		}
	}
}

// Update changes the world from outside a request (seeding, the admin page).
func (s *Server) Update(f func(*Tx)) {
	now := s.Config.Now()
	s.catchUp(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.Add(1)
	if now.After(s.world.Now) {
		s.world.Now = now
	}
	f(&Tx{S: s, W: s.world, Now: s.world.Now})
}

// View reads the world from outside a request.
func (s *Server) View(f func(*Tx)) {
	now := s.Config.Now()
	s.catchUp(now)
	s.mu.RLock()
	defer s.mu.RUnlock()
	f(&Tx{S: s, W: s.world, Now: now})
}

// Changes counts what may have changed the world: whoever keeps it on disk need not write what is there already.
func (s *Server) Changes() int64 { return s.changes.Load() }

// SetSpeed changes how fast things go from now on; what is under way keeps its moment.
func (s *Server) SetSpeed(speed float64) { s.Update(func(*Tx) { s.Speed = speed }) }

// Dump writes the whole state as JSON.
func (s *Server) Dump() (out []byte, err error) {
	s.View(func(tx *Tx) { out, err = json.Marshal(tx.W) })
	return out, err
}

// Restore replaces the whole state, or leaves it as it is when b cannot be read.
func (s *Server) Restore(b []byte) error {
	w := world.New()
	if err := json.Unmarshal(b, w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.Add(1)
	*s.world = *w // in place: requests under way hold the pointer
	return nil
}
