package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/cmd/internal/config"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/agent"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// appFlags name one app on a foundation.
type appFlags struct {
	on         foundationFlags
	org, space string
}

func (f *appFlags) register(cmd *cobra.Command) {
	f.on.register(cmd)
	cmd.Flags().StringVarP(&f.org, "org", "o", "", "organization of the app (default: the one that “cf target” set)")
	cmd.Flags().StringVarP(&f.space, "space", "s", "", "space of the app")
}

func (f *appFlags) app(env Env, name string) (manifest.Ref, error) {
	org, space := f.org, f.space
	if session, err := ccv3.LoadCFSession(cfHome(env)); err == nil && org == "" && space == "" {
		org, space = session.OrganizationFields.Name, session.SpaceFields.Name
	}
	if org == "" || space == "" {
		return manifest.Ref{}, errors.New("which space? Give -o ORG and -s SPACE, or run `cf target`")
	}
	return manifest.Ref{Kind: manifest.KindApp, Path: org + "/" + space + "/" + name}, nil
}

func rollbackCommand(env Env) *cobra.Command {
	var where appFlags
	var to int
	var list, yes bool
	var configFile, target string
	cmd := &cobra.Command{
		Use:     "rollback APP",
		GroupID: "once",
		Short:   "Bring an app back to an earlier revision",
		Long: `Bring an app back to an earlier revision: its droplet, environment, commands and sidecars, by a rolling deployment that is
watched like any other. Sizes, routes and bindings stay as they are.

Git still declares what the app is brought back from. An agent would therefore undo the rollback with its next run. With
--config and --target, what Git declares of the app is held back on record until Git declares something else.`,
		Example: `  fettle rollback shop --list -o acme -s dev
  fettle rollback shop -o acme -s dev
  fettle rollback shop --to 3 -o acme -s dev --yes --config fettle.yml --target shop-dev`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (configFile == "") != (target == "") {
				return errors.New("--config and --target go together: whose run shall leave the app alone?")
			}
			app, err := where.app(env, args[0])
			if err != nil {
				return err
			}
			driver, err := where.on.driver(env)
			if err != nil {
				return err
			}
			revisions, err := driver.Revisions(cmd.Context(), app)
			if err != nil {
				return err
			}
			if list {
				return printRevisions(env, revisions)
			}
			chosen, err := chooseRevision(revisions, to)
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Out, "%s goes back to revision %d of %s: %s\n", app, chosen.Version, chosen.At.UTC().Format(time.DateTime), chosen.Description)
			if configFile == "" {
				fmt.Fprintln(env.Out, "Git is not asked: an agent that watches this app undoes it with its next run. --config and --target tell it to wait until Git moves on.")
			}
			if ok, err := confirm(cmd.Context(), env, "Apply this plan?", yes); err != nil || !ok {
				return errors.Join(err, exitIf(err == nil, ExitDifferent))
			}
			progress := &progress{env: env}
			err = driver.Rollback(cmd.Context(), app, chosen, platform.ApplyOptions{
				Report: func(e platform.Event) { progress.event("", e) },
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Out, "%s runs revision %d again.\n", app, chosen.Version)
			if configFile == "" {
				return nil
			}
			return hold(cmd.Context(), env, configFile, target, app, chosen.Version)
		},
	}
	where.register(cmd)
	cmd.Flags().IntVar(&to, "to", 0, "the revision (default: the newest one before what runs)")
	cmd.Flags().BoolVar(&list, "list", false, "only list the revisions")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&configFile, "config", "", "the agent's configuration, for --target")
	cmd.Flags().StringVar(&target, "target", "", "the target whose runs shall leave the app alone until Git moves on")
	return cmd
}

func exitIf(yes bool, code int) error {
	if yes {
		return exitCode(code)
	}
	return nil
}

func printRevisions(env Env, revisions []cloudfoundry.Revision) error {
	w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REVISION\tWHEN (UTC)\tDROPLET\tDESCRIPTION")
	for _, v := range revisions {
		mark := ""
		switch {
		case v.Deployed:
			mark = " (runs)"
		case !v.Deployable:
			mark = " (its droplet is gone)"
		}
		fmt.Fprintf(w, "%d%s\t%s\t%.8s\t%s\n", v.Version, mark, v.At.UTC().Format(time.DateTime), v.Droplet, v.Description)
	}
	return w.Flush()
}

// chooseRevision finds the revision to go back to.
func chooseRevision(revisions []cloudfoundry.Revision, to int) (cloudfoundry.Revision, error) {
	runs := slices.IndexFunc(revisions, func(v cloudfoundry.Revision) bool { return v.Deployed })
	for i, v := range revisions {
		switch {
		case to == 0 && i > max(runs, 0) && v.Deployable, to == v.Version && v.Deployable:
			return v, nil
		case to == v.Version:
			return v, fmt.Errorf("revision %d cannot come back: its droplet is gone", to)
		}
	}
	if to != 0 {
		return cloudfoundry.Revision{}, fmt.Errorf("there is no revision %d: --list shows those that exist", to)
	}
	return cloudfoundry.Revision{}, errors.New("there is no earlier revision to go back to: --list shows those that exist")
}

// hold tells the agent to leave the app alone until Git declares something else for it.
func hold(ctx context.Context, env Env, file, target string, app manifest.Ref, version int) error {
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	a, store, err := c.Build(ctx, userAgent(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer store.Close()
	i := slices.IndexFunc(a.Targets, func(t agent.Target) bool { return t.Name == target })
	if i < 0 {
		return fmt.Errorf("%s has no target %q, so the agent was not told: its next run undoes the rollback", file, target)
	}
	held, err := a.Reconciler.Hold(ctx, a.Targets[i].Target, app, fmt.Sprintf("rolled back by hand to revision %d", version))
	switch {
	case err != nil:
		return fmt.Errorf("the agent could not be told, and its next run undoes the rollback: %w", err)
	case held:
		fmt.Fprintf(env.Out, "What Git declares of it (%s) is held back until Git moves on.\n", target)
	default:
		fmt.Fprintf(env.Out, "Git declares nothing else for it (%s), so there is nothing to hold back.\n", target)
	}
	return nil
}

func rolloutCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rollout",
		GroupID: "once",
		Short:   "Let a paused canary rollout go on, or take it back",
		Long: `Decide about a canary rollout that waits for a person (setting canary-pause: manual).

The next run, of the agent or of fettle apply, sees to the rest: it watches the instances, runs the tasks that come after,
or puts back the configuration of what was cancelled.`,
	}
	for _, c := range []struct {
		use, short string
		do         func(context.Context, *cloudfoundry.Driver, manifest.Ref) error
	}{
		{"continue", "Let a paused canary rollout go on to its next step", func(ctx context.Context, d *cloudfoundry.Driver, app manifest.Ref) error {
			next, err := d.Continue(ctx, app)
			if err == nil {
				fmt.Fprintf(env.Out, "%s: the rollout goes on to %s.\n", app, next)
			}
			return err
		}},
		{"cancel", "Take back a rollout that is in progress", func(ctx context.Context, d *cloudfoundry.Driver, app manifest.Ref) error {
			err := d.Cancel(ctx, app)
			if err == nil {
				fmt.Fprintf(env.Out, "%s: the rollout is cancelled; the droplet before it runs. The next run of this commit puts the configuration back and holds it; applying a folder begins anew.\n", app)
			}
			return err
		}},
	} {
		var where appFlags
		sub := &cobra.Command{
			Use: c.use + " APP", Short: c.short, Args: cobra.ExactArgs(1),
			Example: "  fettle rollout " + c.use + " shop -o acme -s dev",
			RunE: func(cmd *cobra.Command, args []string) error {
				app, err := where.app(env, args[0])
				if err != nil {
					return err
				}
				driver, err := where.on.driver(env)
				if err != nil {
					return err
				}
				return c.do(cmd.Context(), driver, app)
			},
		}
		where.register(sub)
		cmd.AddCommand(sub)
	}
	return cmd
}
