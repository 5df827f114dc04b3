package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// requestLog writes a line for each request: when, status, who, method, path, how long it took and how much it answered.
// A wrapper, so the sandbox knows nothing of it.
type requestLog struct {
	next http.Handler
	mu   sync.Mutex
	out  io.Writer
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	rec := &countingWriter{ResponseWriter: w}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, _ = fmt.Fprintf(l.out, "%s %s %s %s %s %s %dB\n",
			began.Format("15:04:05.000"), rec.word(), caller(r), r.Method, shownPath(r), time.Since(began).Round(100*time.Microsecond), rec.written)
	}()
	l.next.ServeHTTP(rec, r)
}

// shownPath leaves out the query of the account server, in which some clients send passwords.
func shownPath(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/uaa/") {
		return r.URL.EscapedPath()
	}
	return r.URL.RequestURI()
}

// caller is whom the token names. It is not verified: this is for reading, nothing is decided by it.
func caller(r *http.Request) string {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "-"
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		User   string `json:"user_name"`
		Client string `json:"client_id"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return "-"
	}
	for _, name := range []string{claims.User, claims.Client} {
		if name != "" {
			return strings.Trim(fmt.Sprintf("%.40q", name), `"`) // quoted: no name may begin a line of its own
		}
	}
	return "-"
}

type countingWriter struct {
	http.ResponseWriter
	status, written int
}

// word is the status, or what stands for it when the connection was cut without one.
func (c *countingWriter) word() string {
	if c.status == 0 {
		return "cut"
	}
	return fmt.Sprint(c.status)
}

func (c *countingWriter) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *countingWriter) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(b)
	c.written += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
