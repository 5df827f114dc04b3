package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// sandboxFlags say what the sandbox is like.
type sandboxFlags struct {
	listen         string
	speed          float64
	users, clients []string
	tokenTTL       time.Duration
	faults         []string
	rateLimit      string
	state, seed    string
	seedApps       int
	logRequests    bool
}

// keepEvery is how long a change waits at most, usually, until --state has it.
const keepEvery = time.Second

func sandboxCommand(env Env) *cobra.Command {
	var f sandboxFlags
	cmd := &cobra.Command{
		Use:     "sandbox",
		GroupID: "try",
		Short:   "Run a Cloud Controller in this process, for cf, Terraform and Fettle to play with",
		Long: `Run a Cloud Controller (V3 API) with its account server in this process. cf, Terraform and Fettle can log in to it and use
it like a foundation: builds take a moment to stage, instances a moment to run, deployments really roll. No container is
ever started; everything is forgotten when it ends, unless --state keeps it.

A request whose Host is that of a route is answered by one of the app's running instances, which says who it is, or as a
router would (404 unknown_route, 503 no_endpoints); so what a rollout does to those who use the app can be seen:

  while sleep 0.1; do curl -s -H 'Host: shop.apps.sandbox.test' http://127.0.0.1:8181/; done

Its apps fail on demand: an app crashes whose environment, command or image contains FAULT_CRASH, or that was uploaded with a
file of that name; FAULT_STUCK never gets beyond starting, FAULT_FLAP comes and goes, FAULT_SICK answers 500 to every
request, FAULT_STAGE_FAIL cannot be staged, FAULT_TASK_FAIL makes tasks fail.

Everything else fails by rule, with --fault. A rule names requests (method and path; * is one part of a path, ** any number)
or work, then what goes wrong, and how often:

  GET /v3/apps status=503 p=0.1                           one in ten lists of apps is refused
  POST /v3/apps/*/actions/start status=503 after times=2  the first two starts are refused, and happen all the same
  * /v3/** latency=2s                                     everything takes two seconds longer
  * /v3/** cut p=0.01                                     the connection breaks off
  GET /v3/** stale=10s                                    answers are up to ten seconds old
  GET /v3/** page=2                                       no page has more than two entries
  JOB space.apply_manifest p=0.5                          half of these jobs fail
  STAGE web*   TASK web*                                  apps with such a name cannot be staged, their tasks fail
  CRASH web*   STUCK web*   FLAP web*   SICK web*         their instances crash, never get up, come and go, answer 500

While it runs, /sandbox tells and changes what goes wrong (a browser shows how; no login is needed):

  curl http://127.0.0.1:8181/sandbox/requests                     requests so far, by endpoint
  curl -X POST -d 'CRASH web*' http://127.0.0.1:8181/sandbox/faults
  curl -X DELETE http://127.0.0.1:8181/sandbox/faults
  curl -X PUT -d '{"general": 100, "window": "1m"}' http://127.0.0.1:8181/sandbox/rate-limit
  curl -X PUT -d '{"speed": 20}' http://127.0.0.1:8181/sandbox/speed`,
		Example: `  fettle sandbox
  fettle sandbox --listen 127.0.0.1:9000 --user alice:secret --client ci:secret --speed 10
  fettle sandbox --state sandbox.json --log-requests
  fettle sandbox --seed sandbox.json                    # what --state kept, as often as you like
  fettle sandbox --seed-apps 10000 --rate-limit 2000/1h
  fettle sandbox --fault 'GET /v3/** status=503 p=0.05' --fault 'FLAP web*'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), env) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8181", "address to listen on")
	fl.Float64Var(&f.speed, "speed", 1, "how many times faster than usual builds, starts and rollouts go")
	fl.StringArrayVar(&f.users, "user", nil, "name:password of a user, instead of admin/admin (administrator) and dev/dev (no roles); the one called admin, or else the first, is the administrator; may be repeated")
	fl.StringArrayVar(&f.clients, "client", nil, "name:secret of a UAA client, an administrator that logs in with client credentials; may be repeated")
	fl.DurationVar(&f.tokenTTL, "token-ttl", 10*time.Minute, "how long an access token is good for")
	fl.StringArrayVar(&f.faults, "fault", nil, "`rule` about what goes wrong, see above; may be repeated")
	fl.StringVar(&f.rateLimit, "rate-limit", "", "`requests/window` that a user who is no administrator may make, such as 2000/1h, half of that per address before login (default: no limit)")
	fl.StringVar(&f.state, "state", "", "`file` that keeps everything across restarts; it is written within moments of a change, and holds passwords")
	fl.StringVar(&f.seed, "seed", "", "`file` that --state wrote, to begin with; it is only read (with --state: used when there is no state yet)")
	fl.IntVar(&f.seedApps, "seed-apps", 0, "begin with that many running apps, 20 in a space, 50 spaces in an organization (with --state: when there is no state yet)")
	fl.BoolVar(&f.logRequests, "log-requests", false, "tell each request, its answer, how long it took and who asked on standard error")
	cmd.MarkFlagsMutuallyExclusive("seed", "seed-apps")
	return cmd
}

func (f *sandboxFlags) run(ctx context.Context, env Env) error {
	opts, err := f.options(env)
	if err != nil {
		return err
	}
	s := sandbox.New(opts)
	if err := f.fill(s); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("the sandbox cannot listen: %w", err)
	}
	greet(env, "http://"+l.Addr().String(), opts, f.state)
	if f.state == "" {
		return serve(ctx, l, s)
	}
	// The state is kept until the last request has been answered, also when serving fails.
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	kept := make(chan error, 1)
	go func() {
		kept <- s.Keep(keep, f.state, keepEvery, func(err error) { fmt.Fprintf(env.Err, "The state is not kept, and will be tried again: %v\n", err) })
	}()
	err = serve(ctx, l, s)
	stop()
	return errors.Join(err, <-kept)
}

// options reads the flags.
func (f *sandboxFlags) options(env Env) (sandbox.Options, error) {
	opts := sandbox.Options{Speed: f.speed, AccessTTL: f.tokenTTL}
	for _, u := range f.users {
		name, password, ok := strings.Cut(u, ":")
		if !ok || name == "" || password == "" {
			return opts, fmt.Errorf("--user %s: write name:password", name)
		}
		opts.Users = append(opts.Users, sandbox.User{Name: name, Password: password})
	}
	if len(opts.Users) > 0 {
		// Somebody must be able to make the first organization.
		i := max(0, slices.IndexFunc(opts.Users, func(u sandbox.User) bool { return u.Name == "admin" }))
		opts.Users[i].Scopes = sandbox.AdminScopes
	}
	for _, c := range f.clients {
		name, secret, ok := strings.Cut(c, ":")
		if !ok || name == "" || secret == "" {
			return opts, fmt.Errorf("--client %s: write name:secret", name)
		}
		opts.Clients = append(opts.Clients, sandbox.Client{Name: name, Secret: secret, Scopes: sandbox.AdminScopes})
	}
	for _, rule := range f.faults {
		fault, err := sandbox.ParseFault(rule)
		if err != nil {
			return opts, fmt.Errorf("--fault: %w", err)
		}
		opts.Faults = append(opts.Faults, fault)
	}
	if f.rateLimit != "" {
		count, window, _ := strings.Cut(f.rateLimit, "/")
		n, err := strconv.Atoi(count)
		every, err2 := time.ParseDuration(window)
		if err != nil || err2 != nil || n < 1 || every <= 0 {
			return opts, fmt.Errorf("--rate-limit %s: write requests/window, such as 2000/1h", f.rateLimit)
		}
		opts.RateLimit = sandbox.RateLimit{General: n, Unauthenticated: max(1, n/2), Window: every}
	}
	if f.logRequests {
		opts.RequestLog = env.Err
	}
	switch {
	case f.speed <= 0:
		return opts, errors.New("--speed must be above 0")
	case f.tokenTTL < time.Second:
		return opts, errors.New("--token-ttl must be a second at least: tokens tell time in seconds")
	case f.seedApps < 0:
		return opts, errors.New("--seed-apps must not be below 0")
	}
	return opts, nil
}

// fill puts into the sandbox what it begins with: its own state, else the seed. A state that cannot be written is told
// at once rather than at the end.
func (f *sandboxFlags) fill(s *sandbox.Sandbox) error {
	if f.state != "" {
		err := s.Load(f.state)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if info, err := os.Stat(filepath.Dir(f.state)); err != nil || !info.IsDir() {
			return fmt.Errorf("--state %s: its folder does not exist", f.state)
		}
	}
	if f.seed != "" {
		if err := s.Load(f.seed); err != nil {
			return fmt.Errorf("--seed: %w", err)
		}
	}
	s.Populate(f.seedApps)
	if f.state != "" {
		return s.Save(f.state)
	}
	return nil
}

func greet(env Env, url string, opts sandbox.Options, state string) {
	name, password := "admin", "admin"
	for _, u := range opts.Users {
		if len(u.Scopes) > 0 {
			name, password = u.Name, u.Password
		}
	}
	fmt.Fprintf(env.Out, `The sandbox listens at %[1]s. Point a client at it:

  cf api %[1]s
  cf auth %[2]s %[3]s
  cf create-org acme && cf target -o acme && cf create-space dev && cf target -s dev

Fettle uses the session of cf, or logs in by itself:

  export CF_API=%[1]s CF_USERNAME=%[2]s CF_PASSWORD=%[3]s
  fettle diff -f examples/shop/manifest.yml -o acme -s dev --vars-file examples/shop/vars.yml
`, url, name, password)
	if len(opts.Clients) > 0 {
		fmt.Fprintf(env.Out, `
or as a client:

  unset CF_USERNAME CF_PASSWORD
  export CF_API=%s CF_CLIENT_ID=%s CF_CLIENT_SECRET=%s
`, url, opts.Clients[0].Name, opts.Clients[0].Secret)
	}
	end := "everything in it is gone"
	if state != "" {
		end = "all that is in it stays in " + state
	}
	fmt.Fprintf(env.Out, `
Apps get the domain apps.sandbox.test. A browser at %s shows what else there is. Ctrl-C ends it, and %s.
`, url, end)
}

// serve answers on l until ctx ends, then lets requests finish for a moment.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		server.Close()
	}
	<-failed // http.ErrServerClosed
	return nil
}
