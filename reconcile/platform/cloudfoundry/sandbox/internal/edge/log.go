package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Log writes a line for each request: when, what, the answer's status and size, how long it took, and who asked. No
// header and no body is ever written, and below Bare, where query and form carry credentials, no query either.
type Log struct {
	Next http.Handler
	Now  func() time.Time
	Out  io.Writer
	Who  func(*http.Request) string // "" for nobody
	Bare string                     // a path

	mu sync.Mutex
}

// ServeHTTP serves the request first: the line tells how it went.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &statusWriter{ResponseWriter: w}
	began := l.Now()
	target := r.URL.RequestURI()
	if r.URL.Path == l.Bare || strings.HasPrefix(r.URL.Path, l.Bare+"/") {
		target = r.URL.EscapedPath()
	}
	defer func() {
		status := fmt.Sprint(rec.status)
		if rec.status == 0 {
			status = "cut"
		}
		who := l.Who(r)
		if who == "" {
			who = "-"
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		// A log that cannot be written must not fail requests.
		_, _ = fmt.Fprintf(l.Out, "%s %-6s %s %s %dB %s %s\n", began.Format("15:04:05.000"), r.Method, target, status, rec.size, l.Now().Sub(began).Round(10*time.Microsecond), who)
	}()
	l.Next.ServeHTTP(rec, r)
}
