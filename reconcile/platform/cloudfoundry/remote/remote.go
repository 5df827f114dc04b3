// Package remote reads code that lies elsewhere: an archive or a droplet behind a URL, an artifact or an image in an OCI
// registry.
//
// What is read is streamed to whoever asked and never kept, neither in memory nor in a file. It is verified on the way:
// [File.Copy] and [Artifact.Copy] end with an error before they end with something else than what was declared. Every wait
// has a limit: for an answer, for the next byte, for the size of the whole.
//
// The package never sends a credential to a host that it is not meant for, follows no redirect from https to http, and its
// errors show no query of a URL, for that may hold a signature.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// answerIn is how long a server may take to begin its answer.
	answerIn = 30 * time.Second
	// stalled is how long it may then send nothing.
	stalled = time.Minute
	// largest is what is read at most: more than any foundation accepts (its default is 1 GiB).
	largest = 2 << 30
	// redirects that are followed.
	redirects = 5
)

// Client reads from servers of other people. The zero Client uses the network.
type Client struct {
	HTTP      http.RoundTripper // instead of the network
	UserAgent string
}

// Credentials of a user; without a name there are none.
type Credentials struct{ Username, Password string }

// Progress is told how many bytes of how many are read; total is 0 where nobody knows. It may be nil.
type Progress = func(done, total int64)

// Error is what keeps code from being read: where, why, and what to do next.
type Error struct {
	Where   string // a URL without credentials and query, or the name of an artifact
	Message string
	Hint    string
	Again   bool // the same may succeed later, without anybody changing anything
	Err     error
}

// Error reads "https://x.test/a.jar: the checksum differs (hint)".
func (e *Error) Error() string {
	s := e.Where + ": " + e.Message
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

var network = newNetwork()

func newNetwork() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = answerIn
	t.DisableCompression = true // the checksum is that of the file, not of what a server makes of it
	return t
}

func (c *Client) transport() http.RoundTripper {
	if c != nil && c.HTTP != nil {
		return c.HTTP
	}
	return network
}

// Shown is a URL as it may be printed: without password, query and fragment.
func Shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "a URL that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

var errStalled = fmt.Errorf("nothing came for %s", stalled)

// watched ends ctx when nothing was read for too long; each read starts the time anew.
type watched struct {
	io.Reader
	timer    *time.Timer
	done     int64
	total    int64
	progress Progress
}

// watch reads r until ctx ends, or stop is called because r gives nothing for too long.
func watch(r io.Reader, total int64, progress Progress, stop context.CancelCauseFunc) (w *watched, release func()) {
	w = &watched{Reader: r, total: max(total, 0), progress: progress, timer: time.AfterFunc(stalled, func() { stop(errStalled) })}
	return w, func() { w.timer.Stop() }
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.timer.Reset(stalled)
	if w.done += int64(n); w.done > largest {
		return n, errTooLarge
	}
	if w.progress != nil && n > 0 {
		w.progress(w.done, w.total)
	}
	return n, err
}

var errTooLarge = fmt.Errorf("it is larger than %d GB", largest>>30)

// writing marks an error of the receiving side, which is none of the source.
type writing struct {
	io.Writer
	err error
}

func (w *writing) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// kind is what the first bytes of a file tell.
type kind string

const (
	kindZip   kind = "zip"
	kindGzip  kind = "gzip"
	kindTar   kind = "tar"
	kindOther kind = ""
)

// sniffed is how many first bytes kindOf needs: a tar says what it is at offset 257.
const sniffed = 262

func kindOf(head []byte) kind {
	switch {
	case bytes.HasPrefix(head, []byte("PK")):
		return kindZip
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return kindGzip
	case len(head) >= sniffed && string(head[257:262]) == "ustar":
		return kindTar
	}
	return kindOther
}

// broken makes an *Error of a failure while reading. It keeps those that already are one.
func broken(ctx context.Context, where string, err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, errTooLarge):
		return &Error{Where: where, Message: err.Error(), Hint: "no foundation would accept it", Err: err}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Where: where, Message: plain(err), Again: true, Err: err}
}

// plain takes off what net/http wraps around a cause, which repeats method and URL with its query.
func plain(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}
