package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
)

func fmtCommand(env Env) *cobra.Command {
	var files []string
	var check, write bool
	cmd := &cobra.Command{
		Use:     "fmt",
		GroupID: "once",
		Short:   "Lay out manifests in one way",
		Long: `Lay out manifests in one way: two spaces for each level, and the keys of an app in the order of ` + "`cf create-app-manifest`" + `, in version 2 what a
thing is before what is in it.
Comments, quotes, anchors and the order of environment variables stay; what a manifest means never changes. Without
--check or --write the result is printed.

Exit code 0: done, or nothing to change. 2: --check found something to change. 1: error.`,
		Example: `  fettle fmt -f manifest.yml --write
  fettle fmt -f apps/ --check`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if check && write {
				return errors.New("--check and --write exclude each other")
			}
			names, err := yamlFiles(files)
			if err != nil {
				return err
			}
			var different, failed bool
			for _, name := range names {
				data, err := readBounded(name)
				if err != nil {
					return fmt.Errorf("the manifest cannot be read: %w", err)
				}
				formatted, problems := manifest.Format(filepath.ToSlash(name), data)
				if len(problems) > 0 {
					printProblems(env, problems)
					failed = failed || problems.Err() != nil
				}
				same := bytes.Equal(data, formatted)
				switch {
				case check && !same:
					different = true
					fmt.Fprintln(env.Out, name)
				case write && !same:
					if err := replaceFile(name, formatted); err != nil {
						return err
					}
					fmt.Fprintln(env.Out, name)
				case !check && !write:
					if _, err := env.Out.Write(formatted); err != nil {
						return err
					}
				}
			}
			switch {
			case failed:
				return exitCode(ExitError)
			case different:
				return exitCode(ExitDifferent)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", []string{"manifest.yml"}, "manifest file, or a folder with all YAML files below it; may be repeated")
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; name the files that would change, and exit with 2 if there are any")
	cmd.Flags().BoolVar(&write, "write", false, "write the files that change, and name them")
	return cmd
}

// yamlFiles are the files that the arguments name: of a folder every *.yml and *.yaml below it, without hidden ones.
func yamlFiles(args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		err := filepath.WalkDir(arg, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case name != arg && strings.HasPrefix(d.Name(), "."):
				if d.IsDir() {
					return filepath.SkipDir
				}
			case name == arg && !d.IsDir(), d.Type().IsRegular() && (strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml")):
				names = append(names, name)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("the manifest cannot be read: %w", err)
		}
	}
	return names, nil
}

func readBounded(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > manifest.MaxFileSize {
		return nil, fmt.Errorf("%s has %.1f MB; expected at most %d MB", name, float64(info.Size())/(1<<20), manifest.MaxFileSize>>20)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

// replaceFile writes a file so that it is never half written.
func replaceFile(name string, data []byte) error {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".fettle-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
