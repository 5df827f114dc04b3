// Package edge is what stands before the controller: a counter of requests, a rate limiter and faults. Each is a handler
// around the next one, so the controller itself knows of none of them. Everything can be changed while it runs.
package edge

import (
	"net/http"
	"sort"
	"sync"
)

// Counter counts requests by endpoint: by method and pattern, not by path.
type Counter struct {
	Next     http.Handler
	Endpoint func(*http.Request) string

	mu     sync.Mutex
	counts map[string]*Count
}

// Count is what is known of one endpoint.
type Count struct {
	Endpoint string      `json:"endpoint"`
	Requests int         `json:"requests"`
	Statuses map[int]int `json:"statuses"`
}

// ServeHTTP counts, whatever becomes of the request.
func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := c.Endpoint(r)
	rec := &statusWriter{ResponseWriter: w}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.counts == nil {
			c.counts = map[string]*Count{}
		}
		n := c.counts[name]
		if n == nil {
			n = &Count{Endpoint: name, Statuses: map[int]int{}}
			c.counts[name] = n
		}
		n.Requests++
		n.Statuses[rec.status]++ // 0 is a connection that was cut
	}()
	c.Next.ServeHTTP(rec, r)
}

// Counts lists the endpoints by name, and how many requests there were in all.
func (c *Counter) Counts() (total int, out []Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out = []Count{}
	for _, n := range c.counts {
		total += n.Requests
		s := make(map[int]int, len(n.Statuses))
		for k, v := range n.Statuses {
			s[k] = v
		}
		out = append(out, Count{Endpoint: n.Endpoint, Requests: n.Requests, Statuses: s})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Endpoint < out[j].Endpoint })
	return total, out
}

// Reset begins anew.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = nil
}

// statusWriter remembers the status and the size of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	size   int
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	n, err := s.ResponseWriter.Write(b)
	s.size += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
