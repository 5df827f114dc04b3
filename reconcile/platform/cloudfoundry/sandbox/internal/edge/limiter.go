package edge

import (
	"hash/fnv"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits say how many requests there may be in a window; zero means that there is no limit.
type Limits struct {
	General         int           `json:"general"`         // per user, in all
	Unauthenticated int           `json:"unauthenticated"` // per address, in all
	Processes       int           `json:"processes"`       // of the controller, among which they are shared out; 1 when zero
	Window          time.Duration `json:"-"`               // an hour when zero
}

// Caller is who makes a request: nobody when User is empty.
type Caller struct {
	User  string
	Admin bool
}

// Limiter is the rate limiter of the controller, in memory as the real one is without Redis. Observed facts, see each.
type Limiter struct {
	Next http.Handler
	Now  func() time.Time
	Who  func(*http.Request) Caller

	mu     sync.Mutex
	limits Limits
	counts map[string]*window
}

type window struct {
	n    int
	ends time.Time
}

// Set replaces the limits and forgets what was counted.
func (l *Limiter) Set(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits, l.counts = limits, nil
}

// Get returns the limits.
func (l *Limiter) Get() Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits
}

// count counts a request of a caller. The window does not begin with the first request: its offset comes from the caller,
// so that not everybody starts anew at the same moment.
func (l *Limiter) count(key string) (n int, left time.Duration) {
	now := l.Now()
	size := l.limits.Window
	if size <= 0 {
		size = time.Hour
	}
	w := l.counts[key]
	if w == nil || !now.Before(w.ends) {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key))
		offset := time.Duration(h.Sum64() % uint64(size))
		since := time.Duration(now.UnixNano()-int64(offset)) % size
		w = &window{ends: now.Add(size - since)}
		if l.counts == nil || len(l.counts) > 100_000 { // a bound for what strangers can make us remember
			l.counts = map[string]*window{}
		}
		l.counts[key] = w
	}
	w.n++
	return w.n, w.ends.Sub(now)
}

// exempt paths are those that a client asks first. Only they themselves: with a query they count.
func exempt(r *http.Request) bool {
	switch r.URL.RequestURI() {
	case "/", "/v3", "/healthz":
		return true
	}
	return !strings.HasPrefix(r.URL.Path, "/v3")
}

// ServeHTTP lets a request through, says with it how many are left, or refuses it. Administrators are never counted.
func (l *Limiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if limits := l.Get(); limits.General <= 0 && limits.Unauthenticated <= 0 || exempt(r) {
		l.Next.ServeHTTP(w, r)
		return
	}
	who := l.Who(r)
	_, _, basic := r.BasicAuth()
	l.mu.Lock()
	limit, key := l.limits.General, who.User
	if key == "" {
		limit, key = l.limits.Unauthenticated, "address "+address(r)
	}
	if limit <= 0 || who.Admin || basic {
		l.mu.Unlock()
		l.Next.ServeHTTP(w, r)
		return
	}
	own := limit // the share of this process
	if l.limits.Processes > 1 {
		own = max(1, limit/l.limits.Processes)
	}
	n, left := l.count(key)
	reset := l.Now().Add(left).Unix()
	l.mu.Unlock()

	seconds := strconv.Itoa(int((left + time.Second - 1) / time.Second))
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset, 10))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, (own-n)*10/own*limit/10))) // an estimate, in steps of a tenth
	if n <= own {
		l.Next.ServeHTTP(w, r)
		return
	}
	h.Set("Retry-After", seconds)
	if who.User == "" && r.Header.Get("Authorization") != "" {
		l.Next.ServeHTTP(w, r) // a token that is no good is still told so (observed fact)
		return
	}
	title, code, text := "CF-RateLimitExceeded", 10013, "Rate Limit Exceeded"
	if who.User == "" {
		title, code = "CF-IPBasedRateLimitExceeded", 10014
		text = "Rate Limit Exceeded: Unauthenticated requests from this IP address have exceeded the limit. Please log in."
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.Write(errorBody(code, title, text))
}

// address is that of the caller: the first that a proxy has noted, else that of the connection.
func address(r *http.Request) string {
	if f := strings.TrimSpace(strings.Split(r.Header.Get("X-Forwarded-For"), ",")[0]); f != "" {
		return f
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
