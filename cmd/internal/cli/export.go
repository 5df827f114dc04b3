package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/reconcile/export"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

type exportFlags struct {
	org, space     string
	version        int
	out, varsOut   string
	secrets, force bool
}

func exportCommand(env Env) *cobra.Command {
	var f exportFlags
	var on foundationFlags
	cmd := &cobra.Command{
		Use:     "export",
		GroupID: "once",
		Short:   "Write what lives in a space, or in a whole organization, as manifests",
		Long: `Write what lives in a space, or in a whole organization, as manifests: apps, routes, service instances, bindings and keys,
as they are. Nothing is changed. Comparing the result with the platform (“fettle diff”) finds no difference.

One space goes to standard output, or with --out to DIR/orgs/ORG/SPACE/manifest.yml, as every command finds it by -f DIR.
An organization, -o without -s, needs --out. Files that exist are not overwritten without --force.

Secrets are not written: environment variables that look like passwords, what Fettle once applied as a secret,
credentials of user-provided services, passwords in URLs. They become ((variables)), which --vars-out lists in a vars file to fill
in. With --include-secrets that file holds the values, and only its owner can read it. Encrypt it before it goes anywhere.

Code cannot be exported. Apps are declared without any and keep what they run, until somebody gives them a path.
What the API does not tell (parameters of services, passwords of registries) has to be added; comments say where.`,
		Example: `  fettle export -o acme -s dev > manifest.yml
  fettle export -o acme --out . --vars-out vars.yml --include-secrets
  fettle diff -f . --vars-file vars.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.version != 1 && f.version != 2 {
				return fmt.Errorf("--manifest-version %d: manifests have version 1 or 2", f.version)
			}
			if f.secrets && f.varsOut == "" {
				return errors.New("--include-secrets needs a file for them: add --vars-out FILE")
			}
			if err := f.place(env); err != nil {
				return err
			}
			driver, err := on.driver(env)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), env, driver)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.org, "org", "o", "", "organization (default: the one that “cf target” set)")
	fl.StringVarP(&f.space, "space", "s", "", "space (default: all of the organization)")
	fl.IntVar(&f.version, "manifest-version", 2, "1: as cf push reads it, without what that cannot say; 2: everything")
	fl.StringVar(&f.out, "out", "", "write to orgs/ORG/SPACE/manifest.yml in this folder")
	fl.StringVar(&f.varsOut, "vars-out", "", "also write a vars file with the variables that stand for secrets")
	fl.BoolVar(&f.secrets, "include-secrets", false, "write the values of secrets into the vars file (never into a manifest)")
	fl.BoolVar(&f.force, "force", false, "overwrite files that exist")
	on.register(cmd)
	return cmd
}

// place completes org and space by the target of the cf session.
func (f *exportFlags) place(env Env) error {
	if f.org == "" && f.space == "" {
		if session, err := ccv3.LoadCFSession(cfHome(env)); err == nil {
			f.org, f.space = session.OrganizationFields.Name, session.SpaceFields.Name
		}
	}
	switch {
	case f.org == "":
		return errors.New("which organization? Give -o, and -s for one of its spaces")
	case f.space == "" && f.out == "":
		return errors.New("a whole organization needs a folder: add --out DIR, or -s SPACE for one space")
	}
	return nil
}

func (f *exportFlags) run(ctx context.Context, env Env, driver *cloudfoundry.Driver) error {
	at := f.org
	if f.space != "" {
		at += "/" + f.space
	}
	spaces, obs, err := driver.Export(ctx, at)
	if err != nil {
		return err
	}
	for _, w := range obs.Warnings {
		fmt.Fprintln(env.Err, "fettle: warning:", w)
	}
	e, err := export.New(obs, spaces, export.Options{Version: f.version, From: driver.API(), SpaceNames: f.space == ""})
	if err != nil {
		return err
	}
	files, err := f.files(e)
	if err != nil {
		return err
	}
	if err := f.write(files); err != nil {
		return err
	}
	if f.out == "" {
		if _, err := env.Out.Write(e.Manifests[0].Text); err != nil {
			return err
		}
	}
	f.tell(env, obs, e, files)
	return nil
}

type exportedFile struct {
	name string
	data []byte
	mode fs.FileMode
}

// files are what the flags ask for beside standard output.
func (f *exportFlags) files(e export.Export) ([]exportedFile, error) {
	var files []exportedFile
	for _, m := range e.Manifests {
		org, space, _ := strings.Cut(m.Space, "/")
		if f.out == "" {
			break
		}
		for _, name := range []string{org, space} {
			if !filepath.IsLocal(name) || filepath.Base(name) != name || strings.HasPrefix(name, ".") {
				return nil, fmt.Errorf("%s: no folder can have the name %q: export the space by itself, to standard output", m.Space, name)
			}
		}
		files = append(files, exportedFile{filepath.Join(f.out, "orgs", org, space, "manifest.yml"), m.Text, 0o644})
	}
	if f.varsOut != "" {
		vars, err := e.VarsFile(f.secrets)
		if err != nil {
			return nil, err
		}
		files = append(files, exportedFile{f.varsOut, vars, 0o600})
	}
	return files, nil
}

// write writes all files, or none where one would be overwritten.
func (f *exportFlags) write(files []exportedFile) error {
	for _, file := range files {
		if _, err := os.Lstat(file.name); err == nil && !f.force {
			return fmt.Errorf("%s exists already, so nothing was written: move it away, or add --force", file.name)
		}
	}
	for _, file := range files {
		if err := os.MkdirAll(filepath.Dir(file.name), 0o755); err != nil {
			return err
		}
		if err := writeFile(file); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces a file by a new one, so that secrets never stand in one that others can read.
func writeFile(file exportedFile) error {
	tmp, err := os.CreateTemp(filepath.Dir(file.name), ".fettle-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = bytes.NewReader(file.data).WriteTo(tmp)
	if err = errors.Join(err, tmp.Chmod(file.mode), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file.name)
}

// tell says beside standard output what was exported, and what is left to do.
func (f *exportFlags) tell(env Env, obs platform.Observation, e export.Export, files []exportedFile) {
	for _, file := range files {
		fmt.Fprintln(env.Err, "fettle: wrote", file.name)
	}
	unknown := 0
	for _, v := range e.Variables {
		if v.Value == nil || v.Secret && !f.secrets {
			unknown++
		}
	}
	switch {
	case len(e.Variables) > 0 && f.varsOut == "":
		fmt.Fprintf(env.Err, "fettle: %s for secrets: --vars-out FILE lists them, --include-secrets with their values\n", plural(len(e.Variables), "variable"))
	case unknown > 0:
		fmt.Fprintf(env.Err, "fettle: %s in %s without a value: fill in what is missing\n", plural(unknown, "variable"), f.varsOut)
	}
	fmt.Fprintf(env.Err, "fettle: exported %s of %s\n", plural(obs.Live.Len(), "resource"), plural(len(e.Manifests), "space"))
}
