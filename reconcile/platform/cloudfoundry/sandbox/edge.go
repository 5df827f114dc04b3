package sandbox

import (
	"net/http"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/edge"
)

// Fault is a rule about what goes wrong; see ParseFault.
type Fault = edge.Fault

// RateLimit says how many requests there may be in a window, as the rate limiter of a foundation. Zero is off.
type RateLimit = edge.Limits

// ParseFault reads a rule: a method and a pattern of the path, or a kind of work and a pattern of what it is about, and
// what goes wrong how often.
//
//	GET /v3/apps status=503 p=0.1
//	POST /v3/apps/*/actions/start status=503 after times=2
//	* /v3/** latency=2s     * /v3/** cut p=0.01     GET /v3/** stale=10s     GET /v3/** page=2
//	JOB space.apply_manifest p=0.5     STAGE web*     CRASH web*     STUCK web*     FLAP web*     SICK web*     TASK *
func ParseFault(rule string) (Fault, error) { return edge.ParseFault(rule) }

// SetFaults replaces the rules about what goes wrong.
func (s *Sandbox) SetFaults(faults ...Fault) { s.faults.Set(faults) }

// SetRateLimit replaces the limits, and begins to count anew.
func (s *Sandbox) SetRateLimit(l RateLimit) { s.limiter.Set(l) }

// Requests counts the requests since the beginning, or since ResetRequests, by endpoint ("GET /v3/apps/{guid}").
func (s *Sandbox) Requests() map[string]int {
	_, counts := s.counter.Counts()
	out := make(map[string]int, len(counts))
	for _, c := range counts {
		out[c.Endpoint] = c.Requests
	}
	return out
}

// ResetRequests begins to count anew.
func (s *Sandbox) ResetRequests() { s.counter.Reset() }

// buildEdge puts counter, faults and rate limiter before the controller and the account server.
func (s *Sandbox) buildEdge(o Options) {
	s.limiter = &edge.Limiter{Next: http.HandlerFunc(s.route), Now: o.Now, Who: s.who}
	s.limiter.Set(o.RateLimit)
	s.faults.Next, s.faults.Now = s.limiter, o.Now
	s.faults.Set(o.Faults)
	s.counter = &edge.Counter{Next: s.faults, Endpoint: s.endpoint}
	s.outer = s.counter
	if o.RequestLog != nil {
		s.outer = &edge.Log{Next: s.counter, Now: o.Now, Out: o.RequestLog, Who: s.name, Bare: uaaPath}
	}
}

// route sends a request to the account server or to the controller, and shows people the page.
func (s *Sandbox) route(w http.ResponseWriter, r *http.Request) {
	if wantsPage(r) {
		s.welcome(w, r)
		return
	}
	if r.URL.Path == uaaPath || strings.HasPrefix(r.URL.Path, uaaPath+"/") {
		s.mux.ServeHTTP(w, r)
		return
	}
	s.cc.ServeHTTP(w, r)
}

// who makes a request, as far as the rate limiter cares.
func (s *Sandbox) who(r *http.Request) edge.Caller {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return edge.Caller{}
	}
	t, err := s.uaa.Authorize(strings.TrimSpace(token))
	if err != nil {
		return edge.Caller{}
	}
	c := edge.Caller{User: t.UserID}
	if c.User == "" {
		c.User = t.ClientID
	}
	for _, scope := range t.Scopes {
		c.Admin = c.Admin || scope == "cloud_controller.admin" || scope == "cloud_controller.admin_read_only"
	}
	return c
}

// name of who makes a request, for the request log.
func (s *Sandbox) name(r *http.Request) string {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t, err := s.uaa.Authorize(strings.TrimSpace(token))
	if err != nil {
		return ""
	}
	if t.UserName == "" {
		return t.ClientID
	}
	return t.UserName
}

// endpoint names a request for the counter.
func (s *Sandbox) endpoint(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, uaaPath+"/") {
		return r.Method + " " + r.URL.Path
	}
	return s.cc.Endpoint(r)
}
