package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
)

func diffCommand(env Env) *cobra.Command {
	var where manifestFlags
	var on foundationFlags
	var key planKey
	var plan planFlags
	var settings settingFlags
	var out string
	var serverSide bool
	cmd := &cobra.Command{
		Use:     "diff",
		GroupID: "once",
		Short:   "Show what would change so that the platform matches the manifests",
		Long: `Show what would change so that the platform matches the manifests, and what each change costs: nothing, a change
in place, a rolling restart, a restage. Nothing is changed. Only what the manifests declare is compared.

What would fail is known beforehand and said: names that do not exist, routes of other spaces, quotas that would be
exceeded, also while an app rolls, and rights that are missing.

What somebody else may move, such as the instances of an app with an autoscaler, is left alone with --ignore, or for good by
the app's annotation fettle-gitops.github.io/ignore: /processes/*/instances, or by ignore in the agent's configuration.

Exit code 0: nothing differs. 2: something differs, or cannot be applied. 1: error.`,
		Example: `  fettle diff -f manifest.yml -o acme -s dev --vars-file vars/dev.yml
  fettle diff --git https://git.example.com/acme/shop.git --path manifest.yml -o acme -s dev --format markdown
  fettle diff -o acme -s dev --ignore 'app shop-* /processes/*/instances' --ignored --unmanaged
  fettle diff -f manifest.yml --out plan.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", plan.format, render.Formats()...); err != nil {
				return err
			}
			target, err := oneShot(env, &where, &on, &plan)
			if err != nil {
				return err
			}
			if target.Settings, err = settings.settings(); err != nil {
				return err
			}
			values := noteValues(target)
			run, err := (&reconcile.Reconciler{}).Compute(cmd.Context(), target)
			warn(env, run.Problems, err)
			if err != nil {
				return err
			}
			in := renderInput(run)
			if serverSide {
				opinion, err := target.Driver.(*cloudfoundry.Driver).ServerDiff(cmd.Context(), run.Desired, run.Live, run.Changes)
				if err != nil {
					return err
				}
				in.Opinion = &opinion
			}
			if err := draw(env, plan, in); err != nil {
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
	where.prune.register(cmd)
	on.register(cmd)
	settings.register(cmd)
	key.register(cmd)
	cmd.Flags().BoolVar(&serverSide, "server-side", false, "also ask the controller for its own diff, and explain where it says otherwise (text, markdown, json)")
	cmd.Flags().StringVar(&out, "out", "", "also write the plan to this file, for “fettle apply FILE”; it holds no secret value")
	plan.register(cmd, render.Formats()...)
	return cmd
}

// planFlags say what a plan leaves alone, and how it is shown.
type planFlags struct {
	format             string
	unmanaged, ignored bool
	ignore             []string
}

func (f *planFlags) register(cmd *cobra.Command, formats ...string) {
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "text", strings.Join(formats, ", "))
	fl.StringArrayVar(&f.ignore, "ignore", nil, `leave differences alone: "KIND NAME PATH" with * for any text, as in 'app shop-* /processes/*/instances'; may be repeated`)
	fl.BoolVar(&f.unmanaged, "unmanaged", false, "list what lives in the spaces and is declared nowhere, instead of only counting it")
	fl.BoolVar(&f.ignored, "ignored", false, "list the differences that a rule leaves alone, instead of only counting them")
}

// as is the same in another format.
func (f planFlags) as(format string) planFlags {
	f.format = format
	return f
}

// oneShot joins the flags of a command that works once.
func oneShot(env Env, where *manifestFlags, on *foundationFlags, plan *planFlags) (*reconcile.Target, error) {
	target, err := where.target(env)
	if err != nil {
		return nil, err
	}
	driver, err := on.driver(env)
	if err != nil {
		return nil, err
	}
	target.Driver, target.Name = driver, driver.API()
	for _, text := range plan.ignore {
		rule, err := diff.ParseIgnoreRule(text)
		if err != nil {
			return nil, fmt.Errorf("--ignore: %w", err)
		}
		target.Ignore = append(target.Ignore, rule)
	}
	return target, nil
}

// warn shows the warnings of manifests that are otherwise good; with errors, report shows all.
func warn(env Env, problems manifest.Problems, err error) {
	if err == nil && len(problems) > 0 {
		printProblems(env, problems)
	}
}

func printDiff(env Env, plan planFlags, run *reconcile.Run) error {
	return draw(env, plan, renderInput(run))
}

func draw(env Env, plan planFlags, in render.Input) error {
	opts := render.Options{Color: env.colour(), Width: env.Width, Unmanaged: plan.unmanaged, Ignored: plan.ignored}
	return render.Write(env.Out, plan.format, in, opts)
}

func renderInput(run *reconcile.Run) render.Input {
	spaces := plural(len(run.Desired.Spaces()), "space")
	if all := run.Desired.Spaces(); len(all) <= 3 {
		spaces = strings.Join(all, ", ")
	}
	return render.Input{
		Changes: run.Changes, Revision: run.Snapshot.Revision, Desired: render.CountKinds(run.Desired), Problems: planProblems(run.Plan),
		Target: strings.TrimPrefix(spaces+" on ", " on ") + run.Target.Name,
	}
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
