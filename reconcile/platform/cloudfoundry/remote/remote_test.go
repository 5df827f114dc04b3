package remote_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/remote"
)

var archive = func() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, _ := z.Create("main.go")
	_, _ = w.Write(bytes.Repeat([]byte("package main\n"), 1000))
	_ = z.Close()
	return b.Bytes()
}()

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func TestFile(t *testing.T) {
	var elsewhere string
	mux := http.NewServeMux()
	mux.HandleFunc("/app.zip", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "reader" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(archive)
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/app.zip", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://plain.test/app.zip?token=hush", http.StatusFound)
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+"/app.zip", http.StatusFound)
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(archive[:50])
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "9000000000") })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	other := httptest.NewTLSServer(mux) // wants a password too, and must not be given it
	defer other.Close()
	elsewhere = strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true
	client := &remote.Client{HTTP: transport}

	tests := []struct {
		path, checksum, want string
		again                bool
	}{
		{path: "/app.zip?signature=hush", checksum: checksum(archive)},
		{path: "/app.zip"}, // nobody declared a checksum
		{path: "/moved", checksum: checksum(archive)},
		{path: "/app.zip", checksum: checksum(nil), want: "/app.zip: the file has the checksum " + checksum(archive) + ", declared is " + checksum(nil) + " (if the file was replaced on purpose, declare its new checksum)"},
		{path: "/round", want: "/round: it redirects more than 5 times"},
		{path: "/plain", want: "/plain: it redirects from https to http://plain.test (name a URL that stays encrypted)"},
		{path: "/away", want: "/away: the server answers 401 Unauthorized (check access_credentials, and whether the user may read the file)"},
		{path: "/gone?signature=hush", want: "/gone: the server answers 404 Not Found (check the URL)"},
		{path: "/cut", want: "/cut: unexpected EOF", again: true},
		{path: "/busy", want: "/busy: the server answers 503 Service Unavailable", again: true},
		{path: "/huge", want: "/huge: it is larger than 2 GB (no foundation would accept it)"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			f := &remote.File{Client: client, URL: server.URL + tt.path, Checksum: tt.checksum, Credentials: remote.Credentials{Username: "reader", Password: "s3cret"}}
			var got bytes.Buffer
			var last int64
			err := f.Copy(t.Context(), &got, func(done, _ int64) { last = done })
			if tt.want == "" {
				if err != nil || !bytes.Equal(got.Bytes(), archive) || last != int64(len(archive)) {
					t.Errorf("%v, %d bytes, told %d", err, got.Len(), last)
				}
				return
			}
			var e *remote.Error
			if !errors.As(err, &e) || err.Error() != server.URL+tt.want || e.Again != tt.again {
				t.Errorf("%v\nwant %s%s", err, server.URL, tt.want)
			}
		})
	}
}

// The receiver's failure is the receiver's: it is no *Error of the source.
func TestTheReceiverIsGone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) }))
	defer server.Close()
	r, w := io.Pipe()
	_ = r.Close()
	f := &remote.File{URL: server.URL}
	if err := f.Copy(t.Context(), w, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

func TestResolve(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	var c remote.Client
	digest := checksum(archive)
	if got, err := c.Resolve(t.Context(), "nowhere.test/shop@"+digest, remote.Credentials{}); err != nil || got != digest {
		t.Errorf("a pinned name: %s, %v", got, err)
	}
	for name, want := range map[string]string{
		"oci://" + host + "/shop:1":       "oci://" + host + "/shop:1: the registry does not have it (check name and tag)",
		"oci://" + host + "/UPPER CASE:1": "oci://" + host + "/UPPER CASE:1: it is not the name of an image or artifact (write registry/repository:tag or registry/repository@sha256:…)",
	} {
		if _, err := c.Resolve(t.Context(), name, remote.Credentials{}); err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

func TestPinned(t *testing.T) {
	for image, want := range map[string]string{
		"nginx":                       "nginx@sha256:1",
		"nginx:1.27":                  "nginx@sha256:1",
		"localhost:5000/a/b":          "localhost:5000/a/b@sha256:1",
		"localhost:5000/a/b:2":        "localhost:5000/a/b@sha256:1",
		"r.test/a@" + checksum(nil):   "r.test/a@sha256:1",
		"r.test/a:1@" + checksum(nil): "r.test/a@sha256:1",
	} {
		if got, err := remote.Pinned(image, "sha256:1"); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", image, got, err, want)
		}
	}
}
