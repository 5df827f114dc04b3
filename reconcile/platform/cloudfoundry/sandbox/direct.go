package sandbox

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// Client is an HTTP client that reaches the sandbox without a socket, whatever host a URL names.
func (s *Sandbox) Client() *http.Client { return &http.Client{Transport: direct{s}} }

// direct is a transport that calls a handler. (httptest.ResponseRecorder would do, but net/http/httptest registers a
// command-line flag in every program that links it.)
type direct struct{ h http.Handler }

// RoundTrip calls the handler.
func (d direct) RoundTrip(r *http.Request) (_ *http.Response, err error) {
	defer func() { // a handler that breaks the connection off, see net/http.ErrAbortHandler
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint // it is this very value
				panic(p) //nolint:forbidigo // it is the handler's own, handed on
			}
			err = io.ErrUnexpectedEOF
		}
	}()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() { _ = in.Body.Close() }()
	rec := &recorder{header: http.Header{}}
	d.h.ServeHTTP(rec, in)
	if rec.status == 0 {
		rec.WriteHeader(http.StatusOK)
	}
	return &http.Response{
		Status: strconv.Itoa(rec.status) + " " + http.StatusText(rec.status), StatusCode: rec.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: rec.sent,
		Body: io.NopCloser(&rec.body), ContentLength: int64(rec.body.Len()), Request: r,
	}, nil
}

type recorder struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status, r.sent = status, r.header.Clone()
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}
