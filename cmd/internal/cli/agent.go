package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/cmd/internal/config"
)

func agentCommand(env Env) *cobra.Command {
	var file, logFormat string
	var verbose bool
	cmd := &cobra.Command{
		Use:     "agent",
		GroupID: "agent",
		Short:   "Watch repositories and foundations, deploy what is pushed, record and heal drift",
		Long: `Watch repositories and foundations around the clock. Each target of the configuration is run when the agent starts, when
its source has a new revision, and on its schedule. In mode "apply" the platform is brought to what Git declares; in mode
"report" drift is recorded and nothing is touched.

SIGTERM and Ctrl-C end it at the next safe point. Killed at any moment, it goes on where it was at the next start.`,
		Example: `  fettle agent --config fettle.yml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--log-format", logFormat, "text", "json"); err != nil {
				return err
			}
			c, err := config.Load(file)
			if err != nil {
				return err
			}
			log := newLog(env, logFormat, verbose)
			a, store, err := c.Build(cmd.Context(), userAgent(), log)
			if err != nil {
				return err
			}
			defer store.Close()
			for _, t := range a.Targets {
				log.Info("watching", "target", t.Name, "mode", t.Mode, "source", t.Feed.String(), "path", t.Path)
			}
			if err := a.Run(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintln(env.Err, "fettle: the agent has stopped")
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "fettle.yml", "the configuration")
	cmd.Flags().StringVar(&logFormat, "log-format", "text", "text or json")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

func newLog(env Env, format string, verbose bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		opts.Level = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(env.Err, opts))
	}
	return slog.New(slog.NewTextHandler(env.Err, opts))
}
