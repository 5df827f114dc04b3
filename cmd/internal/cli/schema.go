package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/schemas"
)

func schemaCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:     "schema [KIND]",
		GroupID: "once",
		Short:   "Print a JSON Schema, for editors and other tools",
		Long: `Print the JSON Schema (draft 2020-12) that Fettle checks a kind of document with. Without KIND: list the kinds.

An editor with a YAML language server completes and checks a manifest that begins with

  # yaml-language-server: $schema=` + schemas.URL("manifest-v1") + `

or with the path of a file that this command has written.`,
		Example: `  fettle schema
  fettle schema manifest-v1 > manifest-v1.schema.json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(schemas.Names(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listSchemas(env)
			}
			data, err := schemas.Read(args[0])
			if err != nil {
				hint := "use one of " + strings.Join(schemas.Names(), ", ")
				if near := manifest.Nearest(args[0], schemas.Names()); near != "" {
					hint = "did you mean " + near + "?"
				}
				return fmt.Errorf("there is no schema %q: %s", args[0], hint)
			}
			_, err = env.Out.Write(data)
			return err
		},
	}
}

func listSchemas(env Env) error {
	w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
	for _, name := range schemas.Names() {
		data, err := schemas.Read(name)
		if err != nil {
			return err
		}
		var head struct{ Title string }
		if err := json.Unmarshal(data, &head); err != nil {
			return fmt.Errorf("schema %s: %w", name, err)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, head.Title, schemas.URL(name))
	}
	return w.Flush()
}
