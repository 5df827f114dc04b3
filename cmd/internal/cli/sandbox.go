package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

func sandboxCommand(env Env) *cobra.Command {
	var listen string
	var speed float64
	var users, clients []string
	var logRequests bool
	cmd := &cobra.Command{
		Use:     "sandbox",
		GroupID: "try",
		Short:   "Run a Cloud Controller in this process, for cf, Terraform and Fettle to play with",
		Long: `Run a Cloud Controller (V3 API) with its account server in this process. cf, Terraform and Fettle can log in to it and use
it like a foundation: builds take a moment to stage, instances a moment to run, deployments really roll. No container is
ever started and no request is routed; everything is forgotten when it ends.

Its apps fail on demand: an app crashes whose environment, command or image contains FAULT_CRASH, or that was uploaded with a
file of that name; FAULT_STUCK never gets beyond starting, FAULT_STAGE_FAIL cannot be staged.`,
		Example: `  fettle sandbox
  fettle sandbox --listen 127.0.0.1:9000 --user alice:secret --client ci:secret --speed 10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts := sandbox.Options{Speed: speed}
			for _, u := range users {
				name, password, ok := strings.Cut(u, ":")
				if !ok || name == "" || password == "" {
					return fmt.Errorf("--user %s: write name:password", name)
				}
				opts.Users = append(opts.Users, sandbox.User{Name: name, Password: password})
			}
			if len(opts.Users) > 0 {
				// Somebody must be able to make the first organization.
				i := max(0, slices.IndexFunc(opts.Users, func(u sandbox.User) bool { return u.Name == "admin" }))
				opts.Users[i].Scopes = sandbox.AdminScopes
			}
			for _, c := range clients {
				name, secret, ok := strings.Cut(c, ":")
				if !ok || name == "" || secret == "" {
					return fmt.Errorf("--client %s: write name:secret", name)
				}
				opts.Clients = append(opts.Clients, sandbox.Client{Name: name, Secret: secret, Scopes: sandbox.AdminScopes})
			}
			if speed <= 0 {
				return errors.New("--speed must be above 0")
			}
			l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fmt.Errorf("the sandbox cannot listen: %w", err)
			}
			url := "http://" + l.Addr().String()
			greet(env, url, opts)
			var h http.Handler = sandbox.New(opts)
			if logRequests {
				h = &requestLog{next: h, out: env.Err}
			}
			return serve(cmd.Context(), l, h)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8181", "address to listen on")
	cmd.Flags().Float64Var(&speed, "speed", 1, "how many times faster than usual builds, starts and rollouts go")
	cmd.Flags().StringArrayVar(&users, "user", nil, "name:password of a user, instead of admin/admin (administrator) and dev/dev (no roles); the one called admin, or else the first, is the administrator; may be repeated")
	cmd.Flags().StringArrayVar(&clients, "client", nil, "name:secret of a UAA client, an administrator that logs in with client credentials; may be repeated")
	cmd.Flags().BoolVar(&logRequests, "log-requests", false, "write a line to standard error for each request")
	return cmd
}

func greet(env Env, url string, opts sandbox.Options) {
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
	fmt.Fprintf(env.Out, `
Apps get the domain apps.sandbox.test. Open %s in a browser to read more. Ctrl-C ends it, and everything in it is gone.
`, url)
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
