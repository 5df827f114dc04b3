//go:build unix

package postgres_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// server is a real PostgreSQL server on loopback, in a folder of its own.
type server struct {
	bin, dir, addr string
	as             *syscall.Credential // PostgreSQL refuses to run as root
	process        *exec.Cmd
	log            bytes.Buffer
	schemas        int
}

// start runs a server for the duration of the test, or skips the test where none is installed.
func start(t *testing.T) *server {
	t.Helper()
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(installed) == 0 {
		if path, err := exec.LookPath("postgres"); err == nil {
			installed = []string{path}
		} else {
			t.Skip("no PostgreSQL server is installed (Debian: apt install postgresql)")
		}
	}
	slices.Sort(installed)
	srv := &server{bin: filepath.Dir(installed[len(installed)-1])}

	// Not t.TempDir: the path of a socket must be short, and another user must be able to get there.
	dir, err := os.MkdirTemp("", "fettle-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	srv.dir = dir
	if os.Geteuid() == 0 {
		srv.become(t, "postgres", "nobody")
	}
	if out, err := srv.command("initdb", "-D", filepath.Join(dir, "data"), "-U", "fettle", "-A", "trust", "-N", "-E", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv.addr = listen.Addr().String()
	_ = listen.Close()
	srv.run(t)
	t.Cleanup(func() { srv.stop(syscall.SIGINT) })
	return srv
}

// become chooses the first of the users that exists, and gives it the folder.
func (srv *server) become(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		if err := os.Chown(srv.dir, int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
		srv.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return
	}
	t.Skipf("PostgreSQL refuses to run as root, and there is none of the users %v", names)
}

func (srv *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(srv.bin, name), args...)
	cmd.Dir = srv.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// A process group of its own: Ctrl-C at the terminal is for the test, which then stops the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: srv.as, Setpgid: true}
	return cmd
}

// run starts the server and waits until it answers.
func (srv *server) run(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(srv.addr)
	srv.process = srv.command("postgres", "-D", filepath.Join(srv.dir, "data"), "-p", port, "-k", srv.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=60")
	srv.process.Stdout, srv.process.Stderr = &srv.log, &srv.log
	if err := srv.process.Start(); err != nil {
		t.Fatal(err)
	}
	db := srv.connect(t, srv.url("postgres", nil))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := db.PingContext(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			srv.stop(syscall.SIGQUIT)
			t.Fatal(fmt.Errorf("the server does not answer: %w\n%s", err, srv.log.String()))
		}
	}
}

func (srv *server) stop(sig syscall.Signal) {
	_ = srv.process.Process.Signal(sig)
	_ = srv.process.Wait()
}

// kill ends the server as a power cut would: every process at once.
func (srv *server) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-srv.process.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = srv.process.Wait()
}
