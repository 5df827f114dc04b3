package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
)

func convertCommand(env Env) *cobra.Command {
	var file string
	var to int
	var vars, varsFiles []string
	cmd := &cobra.Command{
		Use:     "convert",
		GroupID: "once",
		Short:   "Write a manifest of version 1 as one of version 2",
		Long: `Write a manifest of version 1, as cf push reads it, as one of version 2: the declarative form of the Cloud Foundry
community's RFC 0034. The result goes to standard output; what it could not carry over is said on the error stream.

Version 2 means more than version 1: collections that are present are exact, so that a variable, a label, a sidecar
or a destination that the manifest does not name is removed. Look at "fettle diff" before you apply it.

((variables)) stay as they are, unless --var or --vars-file gives them a value: where true or false is expected, they
need one. Comments, anchors and the order of the apps are not kept.

Exit code 0: written. 1: at least one error in the manifest.`,
		Example: `  fettle convert -f manifest.yml > manifest-v2.yml
  fettle convert -f manifest.yml --var instances=2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to != 2 {
				return fmt.Errorf("--to %d: a manifest can be written as version 2 only", to)
			}
			opts, err := conversion(vars, varsFiles)
			if err != nil {
				return err
			}
			src, rel, _, err := local(file)
			if err != nil {
				return err
			}
			snap, err := src.Snapshot(cmd.Context(), nil)
			if err != nil {
				return err
			}
			kept, restore := manifest.KeptVariables(snap.Files, rel, opts)
			for name, value := range kept {
				opts.Vars[name] = value
			}
			set, problems := manifest.Load(snap.Files, rel, opts)
			problems = withVariables(problems, restore)
			if problems.Err() != nil {
				return problems
			}
			objects := set.Objects()
			lost, err := carriedOver(snap.Files, objects)
			if err != nil {
				return err
			}
			var out bytes.Buffer
			for _, space := range set.Spaces() {
				if err := writeV2(&out, space, objects); err != nil {
					return err
				}
			}
			if lost = append(problems, withVariables(lost, restore)...); len(lost) > 0 {
				printProblems(env, lost)
			}
			_, err = io.WriteString(env.Out, restore(out.String()))
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&file, "file", "f", "", "manifest file, or folder with a manifest.yml (default manifest.yml)")
	fl.IntVar(&to, "to", 2, "version to write")
	fl.StringArrayVar(&vars, "var", nil, "value of a ((variable)), as name=value, to be written instead of it; may be repeated")
	fl.StringArrayVar(&varsFiles, "vars-file", nil, "YAML file with values of ((variables)), to be written instead of them; may be repeated")
	return cmd
}

// conversion reads the values of variables that shall be filled in.
func conversion(vars, varsFiles []string) (manifest.Options, error) {
	opts := manifest.Options{Anywhere: true, Vars: map[string]any{}}
	for _, arg := range vars {
		name, value, err := manifest.ParseVar(arg)
		if err != nil {
			return opts, fmt.Errorf("--var: %w", err)
		}
		opts.Vars[name] = value
	}
	for _, name := range varsFiles {
		data, err := os.ReadFile(name)
		if err != nil {
			return opts, fmt.Errorf("--vars-file: %w", err)
		}
		opts.VarsFiles = append(opts.VarsFiles, manifest.VarsFile{Name: name, Data: data})
	}
	return opts, nil
}

// withVariables puts the variables back into what is said, and says what to do about one where no text is possible.
func withVariables(problems manifest.Problems, restore func(string) string) manifest.Problems {
	for i, p := range problems {
		problems[i].Message, problems[i].Hint = restore(p.Message), restore(p.Hint)
		if p.Severity == manifest.SeverityError && problems[i].Message != p.Message {
			problems[i].Hint = "a variable cannot be kept here: give its value with --var"
		}
	}
	return problems
}

// carriedOver says what cannot be carried over, and makes the paths of code, which are relative to the root, relative to
// the manifest's folder again.
func carriedOver(files fs.FS, objects []*manifest.Object) (manifest.Problems, error) {
	lost := manifest.NotInV2(objects)
	for _, o := range objects {
		name := o.Origin.File
		if name != objects[0].Origin.File {
			return nil, fmt.Errorf("%s and %s are different manifests: convert them one by one, with -f FILE", objects[0].Origin.File, name)
		}
		if p, ok := o.Inputs["path"].(string); ok {
			rel, err := filepath.Rel(filepath.FromSlash(path.Dir(name)), filepath.FromSlash(p))
			if err != nil {
				return nil, fmt.Errorf("%s: the path %s: %w", o.Ref, p, err)
			}
			o.Inputs["path"] = filepath.ToSlash(rel)
		}
	}
	if len(lost) == 0 {
		return nil, nil
	}
	text, err := fs.ReadFile(files, objects[0].Origin.File)
	if err != nil {
		return nil, fmt.Errorf("the manifest cannot be read again: %w", err)
	}
	return lost.WithExcerpts(objects[0].Origin.File, text), nil
}

// writeV2 writes what belongs to one space as one document.
func writeV2(out *bytes.Buffer, space string, all []*manifest.Object) error {
	var objects []*manifest.Object
	for _, o := range all {
		if o.Ref.Space() == space {
			objects = append(objects, o)
		}
	}
	text, err := manifest.MarshalV2(objects)
	if err != nil {
		return err
	}
	if out.Len() > 0 {
		out.WriteString("---\n")
	}
	version, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok {
		return errors.New("a manifest of version 2 has no line")
	}
	out.Write(append(version, '\n'))
	org, name, _ := strings.Cut(space, "/")
	if org != manifest.Nowhere {
		fmt.Fprintf(out, "org: %s\n", strconv.Quote(org))
	}
	if name != manifest.Nowhere {
		fmt.Fprintf(out, "space: %s\n", strconv.Quote(name))
	}
	out.Write(rest)
	return nil
}
