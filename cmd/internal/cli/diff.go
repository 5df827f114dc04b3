package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
)

func diffCommand(env Env) *cobra.Command {
	var where manifestFlags
	var on foundationFlags
	var format string
	cmd := &cobra.Command{
		Use:     "diff",
		GroupID: "once",
		Short:   "Show what would change so that the platform matches the manifests",
		Long: `Show what would change so that the platform matches the manifests, and what each change costs: nothing, a change
in place, a rolling restart, a restage. Nothing is changed. Only what the manifests declare is compared.

Exit code 0: nothing differs. 2: something differs. 1: error.`,
		Example: `  fettle diff -f manifest.yml -o acme -s dev --vars-file vars/dev.yml
  fettle diff --git https://git.example.com/acme/shop.git --path manifest.yml -o acme -s dev --format markdown`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, render.Formats()...); err != nil {
				return err
			}
			target, err := oneShot(env, &where, &on)
			if err != nil {
				return err
			}
			run, err := (&reconcile.Reconciler{}).Compute(cmd.Context(), target)
			warn(env, run.Problems, err)
			if err != nil {
				return err
			}
			if err := printDiff(env, format, run); err != nil {
				return err
			}
			if !run.Changes.Empty() {
				return exitCode(ExitDifferent)
			}
			return nil
		},
	}
	where.register(cmd)
	on.register(cmd)
	cmd.Flags().StringVar(&format, "format", "text", strings.Join(render.Formats(), ", "))
	return cmd
}

// oneShot joins the flags of a command that works once.
func oneShot(env Env, where *manifestFlags, on *foundationFlags) (*reconcile.Target, error) {
	target, err := where.target(env)
	if err != nil {
		return nil, err
	}
	driver, err := on.driver(env)
	if err != nil {
		return nil, err
	}
	target.Driver = driver
	return target, nil
}

// warn shows the warnings of manifests that are otherwise good; with errors, report shows all.
func warn(env Env, problems manifest.Problems, err error) {
	if err == nil && len(problems) > 0 {
		printProblems(env, problems)
	}
}

func printDiff(env Env, format string, run *reconcile.Run) error {
	in := render.Input{Changes: run.Changes, Revision: run.Snapshot.Revision, Desired: render.CountKinds(run.Desired)}
	if err := render.Write(env.Out, format, in, render.Options{Color: env.colour(), Width: env.Width}); err != nil {
		return err
	}
	if format != "text" {
		return nil
	}
	return printPlanProblems(env, run)
}
