package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

func diffCommand(env Env) *cobra.Command {
	var where manifestFlags
	var on foundationFlags
	var key planKey
	var format, out string
	cmd := &cobra.Command{
		Use:     "diff",
		GroupID: "once",
		Short:   "Show what would change so that the platform matches the manifests",
		Long: `Show what would change so that the platform matches the manifests, and what each change costs: nothing, a change
in place, a rolling restart, a restage. Nothing is changed. Only what the manifests declare is compared.

What would fail is known beforehand and said: names that do not exist, routes of other spaces, quotas that would be
exceeded, also while an app rolls, and rights that are missing.

Exit code 0: nothing differs. 2: something differs, or cannot be applied. 1: error.`,
		Example: `  fettle diff -f manifest.yml -o acme -s dev --vars-file vars/dev.yml
  fettle diff --git https://git.example.com/acme/shop.git --path manifest.yml -o acme -s dev --format markdown
  fettle diff -f manifest.yml --out plan.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, render.Formats()...); err != nil {
				return err
			}
			target, err := oneShot(env, &where, &on)
			if err != nil {
				return err
			}
			values := noteValues(target)
			run, err := (&reconcile.Reconciler{}).Compute(cmd.Context(), target)
			warn(env, run.Problems, err)
			if err != nil {
				return err
			}
			if err := printDiff(env, format, run); err != nil {
				return err
			}
			if out != "" {
				if err := savePlan(cmd.Context(), env, out, &where, &key, run, values); err != nil {
					return err
				}
			}
			if !run.Changes.Empty() || planProblems(run.Plan).Err() != nil {
				return exitCode(ExitDifferent)
			}
			return nil
		},
	}
	where.register(cmd)
	on.register(cmd)
	key.register(cmd)
	cmd.Flags().StringVar(&out, "out", "", "also write the plan to this file, for “fettle apply FILE”; it holds no secret value")
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
	in := render.Input{
		Changes: run.Changes, Revision: run.Snapshot.Revision, Desired: render.CountKinds(run.Desired), Problems: planProblems(run.Plan),
	}
	return render.Write(env.Out, format, in, render.Options{Color: env.colour(), Width: env.Width})
}

// planProblems are the problems of a plan in the form that people and programs get to see.
func planProblems(plan platform.Plan) manifest.Problems {
	var all manifest.Problems
	for _, p := range plan.Problems {
		shown := manifest.Problem{Origin: p.Origin, Severity: manifest.SeverityError, Rule: "refused", Message: p.Message, Hint: p.Hint}
		if p.Warning {
			shown.Severity = manifest.SeverityWarning
		}
		for i, s := range plan.Steps {
			if s.ID == p.Step {
				shown.Ref = &plan.Steps[i].Ref
			}
		}
		all = append(all, shown)
	}
	return all
}
