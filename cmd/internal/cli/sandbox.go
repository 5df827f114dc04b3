package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

func sandboxCommand(env Env) *cobra.Command {
	var listen string
	var speed float64
	var users []string
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
  fettle sandbox --listen 127.0.0.1:9000 --user alice:secret --speed 10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts := sandbox.Options{Speed: speed}
			for _, u := range users {
				name, password, ok := strings.Cut(u, ":")
				if !ok || name == "" || password == "" {
					return fmt.Errorf("--user %q: write name:password", u)
				}
				user := sandbox.User{Name: name, Password: password}
				if name == "admin" {
					user.Scopes = sandbox.AdminScopes
				}
				opts.Users = append(opts.Users, user)
			}
			if speed <= 0 {
				return errors.New("--speed must be above 0")
			}
			l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fmt.Errorf("the sandbox cannot listen: %w", err)
			}
			url := "http://" + l.Addr().String()
			greet(env, url, opts.Users)
			return serve(cmd.Context(), l, sandbox.New(opts))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8181", "address to listen on")
	cmd.Flags().Float64Var(&speed, "speed", 1, "how many times faster than usual builds, starts and rollouts go")
	cmd.Flags().StringArrayVar(&users, "user", nil, "name:password of a user, instead of admin/admin (administrator) and dev/dev (no roles); admin is the administrator; may be repeated")
	return cmd
}

func greet(env Env, url string, users []sandbox.User) {
	name, password := "admin", "admin"
	if len(users) > 0 {
		name, password = users[0].Name, users[0].Password
	}
	fmt.Fprintf(env.Out, `The sandbox listens at %[1]s. Point a client at it:

  cf api %[1]s
  cf auth %[2]s %[3]s
  cf create-org acme && cf target -o acme && cf create-space dev && cf target -s dev

or Fettle, without logging in anywhere:

  export CF_API=%[1]s CF_USERNAME=%[2]s CF_PASSWORD=%[3]s
  fettle diff -f examples/shop/manifest.yml -o acme -s dev --vars-file examples/shop/vars.yml

Apps get the domain apps.sandbox.test. Ctrl-C ends it, and everything in it is gone.
`, url, name, password)
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
