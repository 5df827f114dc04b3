package gittest

import (
	"compress/gzip"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"golang.org/x/crypto/ssh"
)

const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// Server serves the bare repositories below a folder. It is an http.Handler (smart HTTP) and starts SSH servers.
// Set the fields before its first use.
type Server struct {
	Root string // the repository at "/team/shop.git" is the folder team/shop.git in here

	// Who may read and write. With neither users nor tokens, HTTP is open to everybody.
	Users  map[string]string // password by user, for HTTP basic authentication and SSH
	Tokens []string          // for "Authorization: Bearer"
	Keys   []ssh.PublicKey   // for SSH, as any user

	NoShallow     bool // do not offer shallow fetches
	NoCommitWants bool // refuse commits that no reference names

	// Withhold lists objects that are left out of every pack, as a broken server or proxy would.
	Withhold []string

	pushes sync.Mutex
}

var errNotFound = errors.New("repository not found")

// open finds the repository that a URL's path names. The storage is for one request and is to be closed.
func (s *Server) open(path string) (*filesystem.Storage, error) {
	name := filepath.FromSlash(strings.Trim(path, "/"))
	if !filepath.IsLocal(name) {
		return nil, errNotFound
	}
	folder := filepath.Join(s.Root, name)
	if _, err := gogit.PlainOpen(folder); err != nil {
		return nil, errNotFound
	}
	// Without KeepDescriptors go-git opens a pack anew for each object in it.
	return filesystem.NewStorageWithOptions(osfs.New(folder), cache.NewObjectLRUDefault(), filesystem.Options{KeepDescriptors: true}), nil
}

// ServeHTTP speaks smart HTTP (gitprotocol-http): the references on GET, one exchange on each POST.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.allowed(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="gittest"`)
		http.Error(w, "authentication required", http.StatusUnauthorized)
		return
	}
	path, service := r.URL.Path, ""
	switch {
	case r.Method == http.MethodGet && strings.HasSuffix(path, "/info/refs"):
		path, service = strings.TrimSuffix(path, "/info/refs"), r.URL.Query().Get("service")
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/"+uploadPack):
		path, service = strings.TrimSuffix(path, "/"+uploadPack), uploadPack
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/"+receivePack):
		path, service = strings.TrimSuffix(path, "/"+receivePack), receivePack
	}
	if service != uploadPack && service != receivePack {
		http.NotFound(w, r)
		return
	}
	st, err := s.open(path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer st.Close()
	w.Header().Set("Cache-Control", "no-cache")
	if r.Method == http.MethodGet {
		ar, err := s.advertise(st, service)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-"+service+"-advertisement")
		pkt := pktline.NewEncoder(w)
		_ = pkt.Encodef("# service=%s\n", service)
		_ = pkt.Flush()
		_ = ar.Encode(w)
		return
	}
	body, err := requestBody(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-"+service+"-result")
	if service == uploadPack {
		err = s.upload(st, body, w, true)
	} else {
		err = s.receive(st, body, w)
	}
	if err != nil {
		panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to cut an answer; its status is out already
	}
}

// requestBody undoes the compression that git uses for requests above 1 kB.
func requestBody(r *http.Request) (io.Reader, error) {
	if r.Header.Get("Content-Encoding") == "gzip" {
		return gzip.NewReader(r.Body)
	}
	return r.Body, nil
}

func (s *Server) allowed(r *http.Request) bool {
	if len(s.Users) == 0 && len(s.Tokens) == 0 {
		return true
	}
	if user, password, ok := r.BasicAuth(); ok {
		return s.password(user, password)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, t := range s.Tokens {
		if ok && subtle.ConstantTimeCompare([]byte(t), []byte(token)) == 1 {
			return true
		}
	}
	return false
}

func (s *Server) password(user, password string) bool {
	want, ok := s.Users[user]
	return ok && subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1
}

// HTTP is a running HTTP server on loopback.
type HTTP struct {
	URL    string // "http://127.0.0.1:PORT"
	server *http.Server
	ended  chan struct{}
}

// ListenHTTP serves on a free port of loopback until Close. Tests that want TLS hand the Server to
// httptest.NewTLSServer.
func (s *Server) ListenHTTP() (*HTTP, error) {
	l, err := listenLoopback()
	if err != nil {
		return nil, fmt.Errorf("starting the Git server: %w", err)
	}
	h := &HTTP{URL: "http://" + l.Addr().String(), server: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		_ = h.server.Serve(l)
	}()
	return h, nil
}

func listenLoopback() (net.Listener, error) {
	return net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

// Close stops the server and cuts open connections.
func (h *HTTP) Close() error {
	err := h.server.Close()
	<-h.ended
	return err
}
