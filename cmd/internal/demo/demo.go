// Package demo tells Fettle's whole story on an embedded sandbox: deploy, push, drift, heal, roll back, report.
//
// It uses the product's own parts throughout (a real repository, the real agent with a real configuration file, the sandbox over
// a real socket) and checks every step: a demo that merely claims to have healed something would be worthless.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fettle-gitops/fettle/cmd/internal/config"
	"github.com/fettle-gitops/fettle/examples"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/agent"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/report"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

// Options say how to tell the story.
type Options struct {
	Out       io.Writer
	Color     bool
	Keep      bool // leave everything running at the end, until ctx ends
	UserAgent string
}

// Limit of one scene. The scenes take a few seconds each; a slow machine gets plenty.
const patience = 90 * time.Second

const author = "Robin <robin@example.com>"

// Run tells the story. An error means that a step did not come out as told.
func Run(ctx context.Context, o Options) error {
	s := &story{Options: o, start: time.Now(), runs: make(chan ended, 100)}
	defer s.close()
	for _, scene := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"A foundation, a repository, an agent", s.setUp},
		{"The first deployment", s.firstDeployment},
		{"git push", s.push},
		{"Somebody changes things by hand", s.handEdits},
		{"A broken release", s.brokenRelease},
		{"The fix", s.fix},
		{"The morning after: the drift report", s.report},
	} {
		s.title(scene.title)
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := scene.play(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("demo: %s: %w", strings.ToLower(scene.title), err)
		}
	}
	if o.Keep {
		s.keep(ctx)
		return nil
	}
	s.say("Done in %.0f s. Everything lived in a temporary folder and is gone now; `fettle demo --keep` leaves it running.", time.Since(s.start).Seconds())
	return nil
}

type ended struct {
	run *reconcile.Run
	err error
}

// story holds the stage: the parts that the scenes act on.
type story struct {
	Options
	start time.Time
	dir   string
	url   string
	repo  *gittest.Repo
	store history.Store
	admin *person
	alex  *person
	runs  chan ended
	stop  []func()
	mu    sync.Mutex // one line at a time: the agent speaks between ours
}

func (s *story) setUp(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "fettle-demo-"); err != nil {
		return err
	}
	s.onClose(func() { os.RemoveAll(s.dir) })

	users := []sandbox.User{
		{Name: "admin", Password: "admin", Scopes: sandbox.AdminScopes},
		{Name: "fettle", Password: "fettle-password", Email: "fettle@example.com"},
		{Name: "alex", Password: "alex-password", Email: "alex@example.com"},
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: sandbox.New(sandbox.Options{Users: users}), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	s.onClose(func() { server.Close(); <-served })
	s.url = "http://" + l.Addr().String()
	s.say("A sandbox foundation listens at %s: a Cloud Controller in this process.", s.url)

	if s.admin, err = login(s.url, "admin", "admin"); err != nil {
		return err
	}
	if s.alex, err = login(s.url, "alex", "alex-password"); err != nil {
		return err
	}
	if err := s.admin.makeSpace(ctx, "acme", "dev", "fettle", "alex"); err != nil {
		return err
	}
	s.say("It has the organization acme with the space dev. Its developers: fettle (the agent) and alex (a colleague).")

	if s.repo, err = gittest.Init(filepath.Join(s.dir, "shop.git")); err != nil {
		return err
	}
	files, programs, err := readExample("shop")
	if err != nil {
		return err
	}
	commit, err := s.repo.CommitWith(gittest.Change{Files: files, Executable: programs, Message: "The shop opens", Author: author})
	if err != nil {
		return err
	}
	s.say("A Git repository was made from examples/shop, commit %s: two apps, shop and mailer.", reconcile.Short(commit))
	return s.startAgent(ctx)
}

const configuration = `history: fettle.db
foundations:
  sandbox:
    api: %s
    username: fettle
    password: {file: password}
sources:
  shop:
    git: %s
    branch: main
    poll: 300ms
targets:
  shop-dev:
    source: shop
    path: manifest.yml
    foundation: sandbox
    org: acme
    space: dev
    mode: apply
    schedule: "@every 2s"
    vars_files: [vars.yml]
`

// startAgent writes a configuration as a user would, and runs the agent that it describes.
func (s *story) startAgent(context.Context) error {
	file := filepath.Join(s.dir, "fettle.yml")
	if err := os.WriteFile(filepath.Join(s.dir, "password"), []byte("fettle-password\n"), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, configuration, s.url, s.repo.Dir()), 0o600); err != nil {
		return err
	}
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	// The agent lives as long as the story, not as long as this scene.
	ctx, cancel := context.WithCancel(context.Background())
	logFile, err := os.Create(filepath.Join(s.dir, "agent.log"))
	if err != nil {
		cancel()
		return err
	}
	a, store, err := c.Build(ctx, s.UserAgent, slog.New(slog.NewTextHandler(logFile, nil)))
	if err != nil {
		cancel()
		return err
	}
	s.store = store
	a.Ended = func(run *reconcile.Run, err error) { s.runs <- ended{run, err} }
	a.Reconciler.Report = s.progress
	a.Reconciler.Drifted = s.drifted
	s.runAgent(ctx, cancel, a, logFile)
	s.say("The agent watches it: it looks at Git every 0.3 s, and at the foundation every 2 s.")
	return nil
}

func (s *story) runAgent(ctx context.Context, cancel context.CancelFunc, a *agent.Agent, logFile *os.File) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Run(ctx); err != nil {
			s.say("The agent ended: %v", err)
		}
	}()
	s.onClose(func() {
		cancel()
		// A run that ends now must not wait for a reader that has gone.
		for open := true; open; {
			select {
			case <-s.runs:
			case <-done:
				open = false
			}
		}
		s.store.Close()
		logFile.Close()
	})
}

func (s *story) onClose(f func()) { s.stop = append(s.stop, f) }

// close takes the stage down in the reverse order.
func (s *story) close() {
	for i := len(s.stop) - 1; i >= 0; i-- {
		s.stop[i]()
	}
	s.stop = nil
}

// await returns the first run that wanted accepts, and fails early when what arrives can no longer lead there.
func (s *story) await(ctx context.Context, what string, wanted func(*reconcile.Run) bool) (*reconcile.Run, error) {
	last := "no run has ended"
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waited in vain for %s; the last run: %s", what, last)
		case e := <-s.runs:
			if wanted(e.run) {
				return e.run, nil
			}
			last = fmt.Sprintf("run %d at %s: %s %s", e.run.Record.ID, reconcile.Short(e.run.Record.Revision), e.run.Record.Result, e.run.Record.Error)
		}
	}
}

func (s *story) report(ctx context.Context) error {
	r, err := report.Build(ctx, s.store, history.DriftFilter{Since: s.start}, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintln(s.Out)
	return report.Text(s.Out, r)
}

func (s *story) keep(ctx context.Context) {
	fmt.Fprintf(s.Out, `
Everything goes on running until you press Ctrl-C. Look around from another terminal:

  fettle drift list --all --config %[2]s/fettle.yml
  fettle runs --config %[2]s/fettle.yml
  tail -f %[2]s/agent.log
  git clone %[2]s/shop.git && cd shop     # change something and push it

  cf api %[1]s && cf auth alex alex-password && cf target -o acme -s dev
  cf scale shop -m 512M -f                # and watch it being put back
`, s.url, s.dir)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.runs:
		}
	}
}

func readExample(name string) (files, programs map[string]string, err error) {
	files, programs = map[string]string{}, map[string]string{}
	err = walk(examples.FS, name, func(path, content string) {
		if strings.HasPrefix(content, "#!") {
			programs[path] = content
		} else {
			files[path] = content
		}
	})
	return files, programs, err
}
