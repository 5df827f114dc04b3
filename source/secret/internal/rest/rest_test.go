package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func client(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAttempts: how often a question is asked depends on the answer, and always ends.
func TestAttempts(t *testing.T) {
	for _, c := range []struct {
		name     string
		statuses []int
		after    string
		asked    int64
		status   int
	}{
		{"an answer", []int{200}, "", 1, 200},
		{"a refusal is an answer", []int{403, 200}, "", 1, 403},
		{"busy, then not", []int{503, 429, 500, 200}, "0", 4, 200},
		{"busy for too long", []int{503, 503, 503, 503, 200}, "0", 4, 503},
		{"asks for more patience than we have", []int{429, 200}, "3600", 1, 429},
		{"asks for nothing in particular", []int{502, 200}, "soon", 2, 200},
		{"will never", []int{501, 200}, "", 1, 501},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", c.after)
				w.WriteHeader(c.statuses[asked.Add(1)-1])
			}))
			defer server.Close()
			got, err := client(t, Options{}).Do(t.Context(), Request{Method: http.MethodGet, URL: server.URL})
			if err != nil || got.Status != c.status || asked.Load() != c.asked {
				t.Errorf("got %v, %v after %d requests", got, err, asked.Load())
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/large":
			w.Write([]byte(strings.Repeat("hunter2 ", maxBody/8+1)))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("hunter2"))
		}
	}))
	defer server.Close()
	defer close(release)
	for _, c := range []struct {
		path, err string
		permanent bool
		asked     int64
		timeout   time.Duration
	}{
		{"/slow?secret=hunter2", "no answer within the time limit", false, attempts, 200 * time.Millisecond},
		{"/large", "the answer is larger than 4 MiB", true, 1, time.Minute},
		{"/cut", "the answer broke off: unexpected EOF", false, attempts, time.Minute},
	} {
		asked.Store(0)
		_, err := client(t, Options{Timeout: c.timeout}).Do(t.Context(), Request{Method: http.MethodGet, URL: server.URL + c.path})
		if err == nil || err.Error() != c.err || Permanent(err) != c.permanent || asked.Load() != c.asked {
			t.Errorf("%s: got %v (permanent: %v) after %d requests", c.path, err, Permanent(err), asked.Load())
		}
	}
}

// TestNoTokenTravels: a redirect, even to the same host, is told and not followed.
func TestNoTokenTravels(t *testing.T) {
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Store(true) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/x?y", http.StatusTemporaryRedirect))
	defer server.Close()
	_, err := client(t, Options{}).Do(t.Context(), Request{Method: http.MethodGet, URL: server.URL, Header: http.Header{"X-Vault-Token": {"hunter2"}}})
	want := "it answers with a redirect to " + elsewhere.URL + ", which is not followed with a token in hand; use that address if it is right"
	if err == nil || err.Error() != want || leaked.Load() || !Permanent(err) {
		t.Errorf("got %v, leaked: %v", err, leaked.Load())
	}
}

func TestAddress(t *testing.T) {
	for address, want := range map[string]string{
		"https://v.example.com:8200/": "https://v.example.com:8200", "http://v/prefix//": "http://v/prefix",
		"v.example.com": "", "ftp://v": "", "https://": "", "https://u@v": "", "https://v?x": "", "https://v#x": "", "https://v:port": "",
	} {
		if got, err := Address(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v", address, got, err)
		}
	}
	if got := Segments("/a b/c%2f?/"); got != "a%20b/c%252f%3F" {
		t.Errorf("segments: %s", got)
	}
}

func TestSentence(t *testing.T) {
	for said, want := range map[string]string{"": "", " a\n\tb\x1b[31m ": "a b [31m", "bad\xff": "bad", strings.Repeat("é", 400): strings.Repeat("é", 300) + "…"} {
		if got := Sentence(said); got != want {
			t.Errorf("%q: got %q", said, got)
		}
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"the certificate authority is no PEM certificate": {CA: []byte("x")},
		"the client certificate and its key: ":            {Certificate: []byte("x")},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", errors.Unwrap(err))
		}
	}
}
