package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

func applyCommand(env Env) *cobra.Command {
	var where manifestFlags
	var on foundationFlags
	var key planKey
	var plan planFlags
	var settings settingFlags
	var approve, pin, dry bool
	cmd := &cobra.Command{
		Use:     "apply [PLAN]",
		GroupID: "once",
		Short:   "Show the plan, then bring the platform to what the manifests declare",
		Long: `Show the plan, then bring the platform to what the manifests declare: configuration, code, routes and bindings.
Code is packaged from the manifest's path, and only uploaded and staged when it has changed. Running apps are updated by
rolling deployments; one that does not become healthy is cancelled and the app is put back to what it was.

On a terminal it asks first. Elsewhere it needs --auto-approve. With --dry-run it shows the plan, step by step, and
writes nothing.

What the manifests do not declare stays, unless its kind is pruned: by “meta: prune:” of a manifest of version 2, or by
--prune. Then what Fettle had made is deleted, and nothing else. An app that is started and has routes, and a service
instance, go only when --confirm-prune names them; a run that would delete more than --prune-limit deletes nothing.

PLAN is a file that “fettle diff --out” wrote: exactly that plan is applied, without asking. The manifests are found as the plan says
and read anew at its revision; if they, the variables or live state have moved since, nothing is changed and what moved is
named. A plan holds no value of a variable: --var has to be given again, vars files are read again. With a key
(FETTLE_PLAN_KEY or --plan-key-file) plans are signed, and only signed ones are applied.

What the platform never gives back, such as the parameters of a service binding, is compared by a seal that stands on the
resource. FETTLE_SEAL_KEY is the key of the seals, 64 hexadecimal digits (openssl rand -hex 32); to share the seals of an agent,
it is the agent's (xxd -p -c 64 fettle.db.key). Without it seals are slow to make and check, and those made with one cannot be checked.

Exit code 0: all is as declared. 1: error, or at least one app could not be brought there. 2: the answer was no, or
a dry run found something to do.`,
		Example: `  fettle apply -f manifest.yml -o acme -s dev --vars-file vars/dev.yml
  fettle apply --git https://git.example.com/acme/shop.git -o acme -s dev --auto-approve
  fettle apply plan.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("--format", plan.format, "text", "json", "markdown"); err != nil {
				return err
			}
			progress := &progress{env: env, quiet: plan.format != "text"}
			r := &reconcile.Reconciler{Report: progress.event}
			if len(args) == 1 {
				if len(plan.ignore) > 0 {
					return errors.New("--ignore is decided when the plan is made: fettle diff --ignore … --out PLAN")
				}
				if dry {
					return errors.New("--dry-run does not go with a plan file, which was made without changing anything: see what it would do now with fettle diff")
				}
				return applyPlan(cmd.Context(), env, args[0], &where, &on, settings, &key, pin, r, plan)
			}
			if pin || key.file != "" {
				return errors.New("--pin-revision and --plan-key-file go with a plan file: fettle apply PLAN")
			}
			target, err := oneShot(env, &where, &on, &plan)
			if err != nil {
				return err
			}
			if target.Settings, err = settings.settings(); err != nil {
				return err
			}
			if dry {
				return dryRun(cmd.Context(), env, r, target, &plan)
			}
			shown := false
			r.Confirm = func(ctx context.Context, run *reconcile.Run) (bool, error) {
				shown = true
				ask := env
				if plan.format != "text" {
					ask.Out = env.Err // standard output is for machines
				}
				if plan.format == "text" || (env.Terminal && !approve) { // nobody is asked about a plan unseen
					if err := printDiff(ask, plan.as("text"), run); err != nil {
						return false, err
					}
				}
				return confirm(ctx, ask, "Apply this plan?", approve)
			}
			run, err := r.Run(cmd.Context(), target, history.ByHand, nil)
			warn(env, run.Problems, err)
			if err != nil {
				return err
			}
			if !shown && plan.format == "text" && !run.Changes.Empty() { // every step is refused, and nobody was asked
				if err := printDiff(env, plan, run); err != nil {
					return err
				}
			}
			return told(env, plan, run)
		},
	}
	where.register(cmd)
	where.prune.register(cmd)
	on.register(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show the plan and its order, and change nothing")
	settings.register(cmd)
	key.register(cmd)
	cmd.Flags().BoolVar(&pin, "pin-revision", false, "with PLAN: apply the commit that the plan was made of, even if the branch has moved on")
	cmd.Flags().BoolVar(&approve, "auto-approve", false, "apply without asking")
	plan.register(cmd, "text", "json", "markdown")
	return cmd
}

// dryRun shows the plan as applying it would go, and changes nothing.
func dryRun(ctx context.Context, env Env, r *reconcile.Reconciler, target *reconcile.Target, plan *planFlags) error {
	run, err := r.Compute(ctx, target)
	warn(env, run.Problems, err)
	if err != nil {
		return err
	}
	if err := printDiff(env, *plan, run); err != nil {
		return err
	}
	if plan.format == "text" && len(run.Plan.Steps) > 0 {
		fmt.Fprintln(env.Out, "\nSteps:")
		for _, s := range run.Plan.Steps {
			fmt.Fprintf(env.Out, "  %s: %s", s.ID, s.Impact)
			if len(s.Requires) > 0 {
				fmt.Fprintf(env.Out, ", after %s", strings.Join(s.Requires, ", "))
			}
			if slices.ContainsFunc(run.Plan.Problems, func(p platform.Problem) bool { return p.Step == s.ID && !p.Warning }) {
				fmt.Fprint(env.Out, ", not tried")
			}
			fmt.Fprintln(env.Out)
		}
		fmt.Fprintln(env.Out, "\nA dry run: nothing was changed.")
	}
	if !run.Changes.Empty() || planProblems(run.Plan).Err() != nil {
		return exitCode(ExitDifferent)
	}
	return nil
}

// confirm asks the person at the terminal. Without one, only --auto-approve means yes.
func confirm(ctx context.Context, env Env, question string, approve bool) (bool, error) {
	if approve {
		return true, nil
	}
	if !env.Terminal {
		return false, errors.New("there is no terminal to ask at, so nothing was changed: add --auto-approve to apply this plan")
	}
	fmt.Fprintf(env.Out, "\n%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		// Reading the terminal cannot be interrupted; the process ends soon after, and this goroutine with it.
		line, _ := bufio.NewReader(env.In).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case line := <-answer:
		yes := strings.ToLower(strings.TrimSpace(line))
		return yes == "y" || yes == "yes", nil
	}
}

// told says what an apply has come to.
func told(env Env, plan planFlags, run *reconcile.Run) error {
	failed := run.Outcome.Err() != nil
	switch plan.format {
	case "json":
		if err := writeJSON(env.Out, outcomeView(run)); err != nil {
			return err
		}
	case "markdown":
		if err := printDiff(env, plan, run); err != nil {
			return err
		}
		fmt.Fprintf(env.Out, "\n%s\n", summary(run))
	default:
		switch {
		case run.Changes.Empty():
			return printDiff(env, plan, run)
		case run.Declined:
			fmt.Fprintln(env.Out, "Nothing was changed.")
		default:
			fmt.Fprintln(env.Out)
			tellSteps(env.Out, run)
			fmt.Fprintln(env.Out, summary(run))
		}
	}
	for _, s := range run.Outcome.Steps {
		if s.Err != nil && plan.format != "json" {
			fmt.Fprintf(env.Err, "fettle: %v\n", s.Err)
			if s.RolledBack {
				fmt.Fprintf(env.Err, "fettle: %s is back in the state it had before\n", s.Ref)
			}
		}
	}
	abandoned := slices.ContainsFunc(run.Outcome.Steps, func(s platform.StepResult) bool { return s.Phase == platform.Abandoned })
	if abandoned {
		fmt.Fprintln(env.Err, "fettle: stopped before the end: apply again to go on from here")
	}
	switch {
	case failed, abandoned:
		return exitCode(ExitError)
	case run.Declined:
		return exitCode(ExitDifferent)
	}
	return nil
}

func summary(run *reconcile.Run) string {
	count := map[platform.Phase]int{}
	for _, s := range run.Outcome.Steps {
		count[s.Phase]++
	}
	s := fmt.Sprintf("%d applied", count[platform.Succeeded])
	for _, p := range []platform.Phase{platform.Paused, platform.Failed, platform.Skipped, platform.Abandoned} {
		if count[p] > 0 {
			s += fmt.Sprintf(", %d %s", count[p], p)
		}
	}
	return fmt.Sprintf("%s, in %s with %s.", s, run.Record.EndedAt.Sub(run.Record.StartedAt).Round(100*time.Millisecond),
		plural(int(run.Record.Requests), "API request"))
}

func outcomeView(run *reconcile.Run) map[string]any {
	steps := []map[string]any{}
	for _, s := range run.Outcome.Steps {
		step := map[string]any{
			"resource": s.Ref.String(), "phase": s.Phase, "rolled_back": s.RolledBack, "seconds": s.Duration.Seconds(),
		}
		if s.Err != nil {
			step["error"] = s.Err.Error()
		}
		steps = append(steps, step)
	}
	return map[string]any{
		"result": run.Record.Result, "revision": run.Record.Revision, "changes": run.Record.Changes,
		"requests": run.Record.Requests, "declined": run.Declined, "steps": steps,
	}
}
