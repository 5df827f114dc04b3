package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
)

func adoptCommand(env Env) *cobra.Command {
	var where manifestFlags
	var on foundationFlags
	var plan planFlags
	var approve, different bool
	cmd := &cobra.Command{
		Use:     "adopt",
		GroupID: "once",
		Short:   "Take over apps and routes that exist: mark them as Fettle's own",
		Long: `Take over apps and routes that exist and that the manifests declare: mark them as Fettle's own, as if Fettle had made
them. From then on what the manifests stop declaring is removed: a variable, a route, a binding, and where its kind is pruned the app.

Nothing else changes: the mark is an annotation. Live state must be what the manifests declare (“fettle diff”); with
--even-if-different it need not, and what differs stays until “fettle apply”. On a terminal it asks first; elsewhere it needs --auto-approve.

Exit code 0: all of it is Fettle's own. 1: error. 2: something differs, or the answer was no; nothing was marked.`,
		Example: `  fettle export -o acme -s dev > manifest.yml
  fettle adopt -f manifest.yml -o acme -s dev --vars-file vars.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan.format = "text"
			target, err := oneShot(env, &where, &on, &plan)
			if err != nil {
				return err
			}
			run, err := (&reconcile.Reconciler{}).Compute(cmd.Context(), target)
			warn(env, run.Problems, err)
			if err != nil {
				return err
			}
			if err := printDiff(env, plan, run); err != nil {
				return err
			}
			if !run.Changes.Empty() && !different {
				fmt.Fprintln(env.Err, "fettle: live state differs from the manifests, so nothing was marked: correct the manifests, or add --even-if-different")
				return exitCode(ExitDifferent)
			}
			driver := target.Driver.(*cloudfoundry.Driver)
			marks, err := driver.Unowned(cmd.Context(), run.Desired, run.Live)
			if err != nil {
				return err
			}
			if len(marks) == 0 {
				fmt.Fprintln(env.Out, "\nAll of it is Fettle's own already.")
				return nil
			}
			fmt.Fprintln(env.Out, "\nTo be marked as Fettle's own:")
			for _, m := range marks {
				fmt.Fprintln(env.Out, "  "+m.Ref.String())
			}
			if yes, err := confirm(cmd.Context(), env, "Adopt these?", approve); err != nil || !yes {
				if err == nil {
					fmt.Fprintln(env.Out, "Nothing was changed.")
					err = exitCode(ExitDifferent)
				}
				return err
			}
			if err := driver.Own(cmd.Context(), marks); err != nil {
				return err
			}
			fmt.Fprintf(env.Out, "Adopted %s.\n", plural(len(marks), "resource"))
			return nil
		},
	}
	where.register(cmd)
	on.register(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&approve, "auto-approve", false, "mark without asking")
	fl.BoolVar(&different, "even-if-different", false, "mark although live state differs from the manifests")
	return cmd
}
