package edge

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Injector makes go wrong what rules say. Of rules that match the same request, all latencies and the first of everything
// else count.
type Injector struct {
	Next http.Handler
	Now  func() time.Time

	mu    sync.Mutex
	rules []*rule
	past  map[string]*answer // for stale answers
}

type rule struct {
	Fault
	hits int
}

// State is a rule and how often it has struck.
type State struct {
	Fault string `json:"fault"`
	Hits  int    `json:"hits"`
}

// Set replaces the rules; Add keeps those that are there.
func (i *Injector) Set(faults []Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.rules, i.past = nil, nil
	for _, f := range faults {
		i.rules = append(i.rules, &rule{Fault: f})
	}
}

// Add adds rules.
func (i *Injector) Add(faults []Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range faults {
		i.rules = append(i.rules, &rule{Fault: f})
	}
}

// List returns the rules with their hits.
func (i *Injector) List() []State {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := []State{}
	for _, r := range i.rules {
		out = append(out, State{r.Text, r.hits})
	}
	return out
}

// strikes draws whether a rule strikes this time. The caller holds the lock.
func (r *rule) strikes() bool {
	if r.Times > 0 && r.hits >= r.Times || r.Probability < 1 && rand.Float64() >= r.Probability {
		return false
	}
	r.hits++
	return true
}

// Work reports whether some work is to fail: a job of that operation, or what is done to an app of that name.
func (i *Injector) Work(kind, name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.rules {
		if r.Method == kind && matches(r.Pattern, name) && r.strikes() {
			return true
		}
	}
	return false
}

// plan is what the rules have in store for one request.
type plan struct {
	latency time.Duration
	end     *Fault // a status or a cut
	page    int
	stale   time.Duration
	keep    bool // some rule may want this answer later
}

func (i *Injector) plan(r *http.Request) (p plan) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, x := range i.rules {
		if x.Method != "*" && x.Method != r.Method || !matches(x.Pattern, r.URL.Path) {
			continue
		}
		p.keep = p.keep || x.Stale > 0
		if (x.Status > 0 || x.Cut) && p.end != nil || x.Stale > 0 && p.stale > 0 || x.Page > 0 && p.page > 0 || !x.strikes() {
			continue
		}
		p.latency += x.Latency
		if x.Status > 0 || x.Cut {
			p.end = &x.Fault
		}
		p.page, p.stale = max(p.page, x.Page), max(p.stale, x.Stale)
	}
	return p
}

// ServeHTTP serves a request with all that goes wrong with it.
func (i *Injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := i.plan(r)
	if p.latency > 0 {
		t := time.NewTimer(p.latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	if p.end != nil {
		if p.end.After {
			i.Next.ServeHTTP(&discard{header: http.Header{}}, r)
		}
		if p.end.Cut {
			panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to break the connection off
		}
		refuse(w, p.end.Status)
		return
	}
	if p.page > 0 {
		r = shortPage(r, p.page)
	}
	if r.Method != http.MethodGet || !p.keep {
		i.Next.ServeHTTP(w, r)
		return
	}
	i.remember(w, r, p.stale)
}

// shortPage asks for fewer entries than the caller did.
func shortPage(r *http.Request, most int) *http.Request {
	q := r.URL.Query()
	if n, err := strconv.Atoi(q.Get("per_page")); err == nil && (n <= most || n > 5000) {
		return r
	}
	q.Set("per_page", strconv.Itoa(most))
	c := r.Clone(r.Context())
	u := *r.URL
	u.RawQuery = q.Encode()
	c.URL = &u
	return c
}

// answer is one that was given before.
type answer struct {
	at     time.Time
	status int
	header http.Header
	body   []byte
}

// maxPast bounds how many answers are remembered.
const maxPast = 2000

// remember keeps an answer, and gives an older one if a rule wants that.
func (i *Injector) remember(w http.ResponseWriter, r *http.Request, stale time.Duration) {
	key := r.Header.Get("Authorization") + " " + r.URL.RequestURI()
	i.mu.Lock()
	old := i.past[key]
	i.mu.Unlock()
	if old != nil && stale > 0 && i.Now().Sub(old.at) <= stale {
		old.write(w)
		return
	}
	rec := &discard{header: http.Header{}, keep: true}
	i.Next.ServeHTTP(rec, r)
	a := &answer{at: i.Now(), status: max(rec.status, http.StatusOK), header: rec.header, body: rec.body.Bytes()}
	i.mu.Lock()
	if i.past == nil || len(i.past) > maxPast {
		i.past = map[string]*answer{}
	}
	if a.status == http.StatusOK {
		i.past[key] = a
	}
	i.mu.Unlock()
	a.write(w)
}

func (a *answer) write(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// discard is where an answer goes that nobody shall see, or not yet.
type discard struct {
	header http.Header
	status int
	keep   bool
	body   bytes.Buffer
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}

func (d *discard) Write(b []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	if d.keep {
		return d.body.Write(b)
	}
	return len(b), nil
}
