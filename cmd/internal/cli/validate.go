package cli

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
)

func validateCommand(env Env) *cobra.Command {
	var where manifestFlags
	var on foundationFlags
	var format string
	var live bool
	cmd := &cobra.Command{
		Use:     "validate",
		GroupID: "once",
		Short:   "Check manifests, without a foundation or against one",
		Long: `Check manifests: YAML, structure, variables, names, sizes, routes; with --live also what only a foundation knows.
All problems are shown at once, each with file, line and column, what was expected and what to do; for a code host
as SARIF, for a CI system as JUnit or as GitHub's annotations.

Exit code 0: valid. 1: at least one error.`,
		Example: `  fettle validate -f manifest.yml -o acme -s dev --var domain=apps.example.com
  fettle validate --git https://git.example.com/acme/shop.git --branch main --path manifest.yml
  fettle validate -f manifest.yml -o acme -s dev --format github`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, render.ProblemFormats()...); err != nil {
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
			if live && problems.Err() == nil {
				found, err := validateLive(cmd.Context(), env, &on, set)
				if err != nil {
					return err
				}
				problems = append(problems, withExcerpts(found, snap.Files)...)
			}
			v := render.Validation{Files: files(set), Problems: problems}
			if format == "text" {
				printProblems(env, problems)
			} else if err := v.Write(env.Out, format, render.Options{}); err != nil {
				return err
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
	on.register(cmd)
	cmd.Flags().BoolVar(&live, "live", false, "ask the foundation too: whether domains, stacks, buildpacks, services exist, routes are free, quotas and roles allow it")
	cmd.Flags().StringVar(&format, "format", "text", strings.Join(render.ProblemFormats(), ", "))
	return cmd
}

// validateLive asks the foundation. It changes nothing there.
func validateLive(ctx context.Context, env Env, on *foundationFlags, set manifest.Set) (manifest.Problems, error) {
	driver, err := on.driver(env)
	if err != nil {
		return nil, err
	}
	return driver.Validate(ctx, set)
}

// withExcerpts shows the lines that the problems are about.
func withExcerpts(problems manifest.Problems, files fs.FS) manifest.Problems {
	for _, p := range problems {
		if p.Excerpt == "" && p.Origin.File != "" {
			if data, err := fs.ReadFile(files, p.Origin.File); err == nil {
				problems = problems.WithExcerpts(p.Origin.File, data)
			}
		}
	}
	return problems
}

// files are the files that declare something.
func files(set manifest.Set) []string {
	var names []string
	for _, o := range set.Objects() {
		names = append(names, o.Origin.File)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
