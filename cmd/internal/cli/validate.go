package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
)

func validateCommand(env Env) *cobra.Command {
	var where manifestFlags
	var format string
	cmd := &cobra.Command{
		Use:     "validate",
		GroupID: "once",
		Short:   "Check manifests without talking to a foundation",
		Long: `Check manifests without talking to a foundation: YAML, structure, variables, names, sizes, routes.
All problems are shown at once, each with file, line and column, what was expected and what to do.

Exit code 0: valid. 1: at least one error.`,
		Example: `  fettle validate -f manifest.yml -o acme -s dev --var domain=apps.example.com
  fettle validate --git https://git.example.com/acme/shop.git --branch main --path manifest.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, "text", "json"); err != nil {
				return err
			}
			target, err := where.target(env)
			if err != nil {
				return err
			}
			snap, err := target.Source.Snapshot(cmd.Context(), nil)
			if err != nil {
				return err
			}
			set, problems, err := reconcile.Load(cmd.Context(), target, snap)
			if err != nil {
				return err
			}
			if format == "json" {
				if err := writeJSON(env.Out, map[string]any{"valid": problems.Err() == nil, "problems": nonNil(problems)}); err != nil {
					return err
				}
			} else if len(problems) > 0 {
				printProblems(env.Err, problems)
			}
			if problems.Err() != nil {
				return exitCode(ExitError)
			}
			if format == "text" {
				fmt.Fprintf(env.Out, "Valid: %s in %s.\n", plural(len(set.Of(manifest.KindApp)), "app"), plural(len(set.Spaces()), "space"))
			}
			return nil
		},
	}
	where.register(cmd)
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

func nonNil(ps manifest.Problems) manifest.Problems {
	if ps == nil {
		return manifest.Problems{}
	}
	return ps
}
