package cli

import (
	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/cmd/internal/demo"
)

func demoCommand(env Env) *cobra.Command {
	opts := demo.Options{Out: env.Out, Color: env.colour(), UserAgent: userAgent()}
	cmd := &cobra.Command{
		Use:     "demo",
		GroupID: "try",
		Short:   "Show the whole loop on an embedded sandbox, with nothing to set up",
		Long: `Show the whole loop in a temporary folder, on an embedded sandbox, with nothing to set up: a Git repository is deployed; a push
rolls out; somebody changes three things by hand, which are reported with that person's name and healed; a broken release is
rolled back and held in quarantine; the drift report is printed. Every step is checked: if one does not come out as told,
the demo fails.`,
		Example: `  fettle demo
  fettle demo --keep`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo.Run(cmd.Context(), opts) },
	}
	cmd.Flags().BoolVar(&opts.Keep, "keep", false, "leave everything running at the end and say how to look around")
	return cmd
}
