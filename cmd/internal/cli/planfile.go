package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/planfile"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/source"
)

// planKey is the flag for the key that signs plans.
type planKey struct{ file string }

func (k *planKey) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.file, "plan-key-file", "", "file with the key that signs plan files (default: the key itself in FETTLE_PLAN_KEY; none: unsigned)")
}

func (k *planKey) read(env Env) ([]byte, error) {
	if k.file == "" {
		return []byte(strings.TrimSpace(env.Getenv("FETTLE_PLAN_KEY"))), nil
	}
	data, err := os.ReadFile(k.file)
	if err != nil {
		return nil, fmt.Errorf("--plan-key-file: %w", err)
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil, fmt.Errorf("--plan-key-file: %s is empty", k.file)
	}
	return data, nil
}

// noted holds the values of the variables, as they were read while a target was loaded.
type noted struct {
	flags    map[string]any
	patches  []manifest.PatchFile
	files    []manifest.VarsFile // opened
	provided []manifest.VarsFile
}

func noteValues(t *reconcile.Target) *noted {
	v := &noted{flags: t.Options.Vars, patches: t.Options.Patches}
	open, provide := t.Open, t.Values
	t.Open = func(ctx context.Context, f manifest.VarsFile) (manifest.VarsFile, error) {
		opened, err := open(ctx, f)
		v.files = append(v.files, opened)
		return opened, err
	}
	t.Values = func(ctx context.Context, files fs.FS, names []string) ([]manifest.VarsFile, error) {
		found, err := provide(ctx, files, names)
		v.provided = found
		return found, err
	}
	return v
}

// all is every patch, and every variable that has a value, in the order in which package reconcile lets one win over another.
func (v *noted) all() ([]planfile.Value, error) {
	merged := map[string]any{}
	for _, f := range slices.Concat(v.provided, v.files) {
		docs, problems := manifest.ParseYAML(f.Name, f.Data)
		if err := problems.Err(); err != nil {
			return nil, err
		}
		for _, doc := range docs {
			m, _ := manifest.Value(doc).(map[string]any)
			maps.Copy(merged, m)
		}
	}
	maps.Copy(merged, v.flags)
	var all []planfile.Value
	for name, value := range merged {
		data, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("the variable %s cannot be written as JSON", name)
		}
		all = append(all, planfile.Value{Name: "variable " + name, Data: data})
	}
	for _, p := range v.patches {
		all = append(all, planfile.Value{Name: "patch " + p.Name, Data: p.Data})
	}
	return all, nil
}

// content is what a run has computed, as plan files see it.
func content(d *cloudfoundry.Driver, run *reconcile.Run, v *noted) (planfile.Content, error) {
	c := planfile.Content{
		API: d.API(), Revision: run.Snapshot.Revision, Desired: run.Desired, Live: run.Live, Changes: run.Changes, Plan: run.Plan,
		Problems: planProblems(run.Plan),
	}
	var err error
	if c.Values, err = v.all(); err != nil {
		return c, err
	}
	if c.Revision == "" {
		c.Files, err = filesRead(run)
	}
	return c, err
}

// filesRead is what desired state was read from, where there is no commit to name it: the manifests, and the
// digests of the apps' code.
func filesRead(run *reconcile.Run) ([]planfile.Value, error) {
	names := map[string]bool{}
	var read []planfile.Value
	for _, o := range run.Desired.Objects() {
		names[o.Origin.File] = true
		for _, at := range o.Fields {
			names[at.File] = true
		}
		if pkg, _ := o.Spec["package"].(map[string]any); pkg["digest"] != nil {
			read = append(read, planfile.Value{Name: "code of " + o.Ref.String(), Data: fmt.Append(nil, pkg["digest"])})
		}
	}
	for name := range names {
		data, err := fs.ReadFile(run.Snapshot.Files, name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			continue // given beside the source
		}
		if err != nil {
			return nil, err
		}
		read = append(read, planfile.Value{Name: "file " + name, Data: data})
	}
	return read, nil
}

// savePlan writes what `fettle diff` has computed to a plan file.
func savePlan(ctx context.Context, env Env, out string, where *manifestFlags, k *planKey, run *reconcile.Run, v *noted) error {
	driver := run.Target.Driver.(*cloudfoundry.Driver)
	key, err := k.read(env)
	if err != nil {
		return err
	}
	who, err := driver.Identity(ctx)
	if err != nil {
		return err
	}
	c, err := content(driver, run, v)
	if err != nil {
		return err
	}
	about := planfile.Plan{
		Fettle: version(), CreatedAt: time.Now(), CreatedBy: who.Name,
		Target: planfile.Target{Org: run.Target.Options.Org, Space: run.Target.Options.Space},
		Source: planfile.Source{File: first(where.file, "manifest.yml")},
		Inputs: planfile.Inputs{
			Vars: slices.Sorted(maps.Keys(v.flags)), VarsFiles: where.varsFiles, Patches: where.patches, Ignore: run.Target.Ignore,
			Rollout: run.Target.Settings.Texts(),
			Prune:   where.prune.kinds, PruneLimit: where.prune.limit, ConfirmPrune: where.prune.confirm,
		},
	}
	if where.gitURL != "" {
		about.Source = planfile.Source{Git: withoutUser(where.gitURL), Branch: where.branch, Path: where.path}
	}
	plan, err := planfile.New(about, c, key)
	if err != nil {
		return err
	}
	text, err := plan.Write()
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, text, 0o600); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if err := notPartOfAnApp(ctx, out, run); err != nil {
		return errors.Join(err, os.Remove(out))
	}
	signed := "not signed"
	if plan.Seal.Keyed {
		signed = "signed"
	}
	fmt.Fprintf(env.Err, "The plan %s is in %s (%s). Apply exactly this with: fettle apply %s\n", planName(plan), out, signed, out)
	return nil
}

// planName is what people call a plan by.
func planName(p *planfile.Plan) string { return p.Fingerprint[:12] }

// notPartOfAnApp: a plan that lies among an app's files would be a change of that app's code, which the plan does not have.
func notPartOfAnApp(ctx context.Context, out string, run *reconcile.Run) error {
	abs, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	rel, outside := filepath.Rel(run.Target.Source.String(), abs)
	if run.Snapshot.Revision != "" || outside != nil || !filepath.IsLocal(rel) {
		return nil //nolint:nilerr // a path that is not below the source is no part of it, which is what is asked for
	}
	again, err := run.Target.Driver.(*cloudfoundry.Driver).Prepare(ctx, run.Desired, run.Snapshot.Files)
	if err != nil {
		return err
	}
	for _, o := range run.Desired.Objects() {
		was, _ := manifest.Lookup(o.Spec, "/package/digest")
		if is, _ := manifest.Lookup(again.Get(o.Ref).Spec, "/package/digest"); is != was {
			return fmt.Errorf("--out %s: the file would become part of %s, whose code is the folder that it lies in: write it elsewhere (--out ../plan.json), or name it in .cfignore", out, o.Ref)
		}
	}
	return nil
}

// withoutUser takes the credentials out of an address. The user of an SSH address is none: without git@ it leads elsewhere.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	name := u.User.Username()
	u.User = nil
	if u.Scheme == "ssh" {
		u.User = url.User(name)
	}
	return u.String()
}

// planned is a plan file that is to be applied, and the target that it leads to.
type planned struct {
	plan   *planfile.Plan
	target *reconcile.Target
	driver *cloudfoundry.Driver
	values *noted
}

// openPlan reads a plan file and finds what it was made of. Flags may repeat what the plan says, and not contradict it.
func openPlan(ctx context.Context, env Env, name string, where *manifestFlags, on *foundationFlags, settings settingFlags, k *planKey, pin bool) (*planned, error) {
	key, err := k.read(env)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("the plan cannot be read: %w", err)
	}
	plan, err := planfile.Read(name, data, key)
	if err != nil {
		return nil, err
	}
	repository := where.gitURL // with credentials, perhaps
	if err := where.follow(plan); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	rollout, err := settings.follow(plan)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	reading := env
	if repository != "" {
		where.gitURL = repository
	} else if plan.Source.Git != "" && !plan.Seal.Keyed {
		// Whoever wrote the file chose the server that the password would go to.
		reading.Getenv = func(name string) string {
			if strings.HasPrefix(name, "FETTLE_GIT_") {
				return ""
			}
			return env.Getenv(name)
		}
	}
	p := &planned{plan: plan}
	if p.driver, err = on.driver(env); err != nil {
		return nil, err
	}
	if !sameAPI(p.driver.API(), plan.Target.API) {
		return nil, fmt.Errorf("%s is a plan for %s, and the credentials are for %s: nothing was changed", name, plan.Target.API, p.driver.API())
	}
	if plan.Source.Git != "" {
		if err := where.pin(ctx, reading, plan.Source.Revision, pin); err != nil {
			if repository == "" && !plan.Seal.Keyed {
				err = withheld(err, plan.Source.Git)
			}
			return nil, err
		}
	}
	if p.target, err = where.target(reading); err != nil {
		return nil, err
	}
	p.target.Driver = p.driver
	p.target.Name, p.target.Ignore = p.driver.API(), plan.Inputs.Ignore
	p.target.Settings = rollout
	p.values = noteValues(p.target)
	return p, nil
}

// follow takes from the plan what the flags leave open.
func (f *manifestFlags) follow(plan *planfile.Plan) error {
	for _, flag := range []struct {
		name  string
		given *string
		plan  string
	}{
		{"--file", &f.file, plan.Source.File},
		{"--git", &f.gitURL, plan.Source.Git},
		{"--branch", &f.branch, plan.Source.Branch},
		{"--path", &f.path, plan.Source.Path},
		{"--org", &f.org, plan.Target.Org},
		{"--space", &f.space, plan.Target.Space},
	} {
		if *flag.given != "" && withoutUser(*flag.given) != flag.plan {
			if flag.plan == "" {
				return fmt.Errorf("the plan was made without %s", flag.name)
			}
			return fmt.Errorf("the plan was made with %s %s, not with %s", flag.name, flag.plan, withoutUser(*flag.given))
		}
		*flag.given = flag.plan
	}
	if !f.prune.isZero() {
		return errors.New("what may be deleted is decided when the plan is made: fettle diff --prune … --out PLAN")
	}
	f.prune = pruneFlags{kinds: plan.Inputs.Prune, limit: plan.Inputs.PruneLimit, confirm: plan.Inputs.ConfirmPrune}
	if len(f.varsFiles) == 0 {
		f.varsFiles = plan.Inputs.VarsFiles
	}
	if len(f.patches) == 0 {
		f.patches = plan.Inputs.Patches
	}
	given := map[string]bool{}
	for _, arg := range f.vars {
		name, _, _ := strings.Cut(arg, "=")
		given[name] = true
		if !slices.Contains(plan.Inputs.Vars, name) {
			return fmt.Errorf("the plan was made without --var %s", name)
		}
	}
	for _, name := range plan.Inputs.Vars {
		if !given[name] {
			return fmt.Errorf("the plan was made with --var %s: give it again, because a plan holds no values", name)
		}
	}
	return nil
}

// pin makes the flags name the plan's commit, after making sure that the branch still does, unless anyway.
func (f *manifestFlags) pin(ctx context.Context, env Env, revision string, anyway bool) error {
	if !anyway {
		t, err := f.target(env)
		if err != nil {
			return err
		}
		now, err := t.Source.(interface {
			RemoteRevision(context.Context) (string, error)
		}).RemoteRevision(ctx)
		if err != nil {
			return err
		}
		if now != revision {
			return fmt.Errorf("%w\n(--pin-revision applies the plan's own commit although the branch has moved on)",
				&planfile.MovedError{Moved: []string{fmt.Sprintf("revision of %s: %s → %s", t.Source, reconcile.Short(revision), reconcile.Short(now))}})
		}
	}
	f.commit = revision
	return nil
}

// withheld says why a repository may have asked for a password in vain.
func withheld(err error, repository string) error {
	var e *source.Error
	if errors.As(err, &e) && e.State == source.Unauthorized {
		return fmt.Errorf("%w\n(the plan is not signed, so FETTLE_GIT_PASSWORD only goes to a repository that you name yourself: add --git %s)", err, repository)
	}
	return err
}

// applyPlan carries a plan file out if nothing has moved.
func applyPlan(ctx context.Context, env Env, name string, where *manifestFlags, on *foundationFlags, settings settingFlags, k *planKey, pin bool, r *reconcile.Reconciler, show planFlags) error {
	p, err := openPlan(ctx, env, name, where, on, settings, k, pin)
	if err != nil {
		return err
	}
	if show.format == "text" {
		fmt.Fprintf(env.Out, "The plan %s of %s, made by %s from revision %s.\n\n",
			planName(p.plan), p.plan.CreatedAt.Format(time.RFC3339), first(p.plan.CreatedBy, "somebody"), reconcile.Short(p.plan.Source.Revision))
	}
	checked := false
	r.Confirm = func(_ context.Context, run *reconcile.Run) (bool, error) {
		checked = true
		if err := p.check(run); err != nil || show.format != "text" {
			return err == nil, err
		}
		return true, printDiff(env, show.as("text"), run)
	}
	run, err := r.Run(ctx, p.target, history.ByHand, nil)
	warn(env, run.Problems, err)
	if err == nil && !checked { // nothing is left to do; but was it this revision, and were these the values?
		err = p.check(run)
	}
	var moved *planfile.MovedError
	if errors.As(err, &moved) {
		return moved
	}
	if err != nil {
		return err
	}
	return told(env, show, run)
}

func (p *planned) check(run *reconcile.Run) error {
	c, err := content(p.driver, run, p.values)
	if err != nil {
		return err
	}
	return p.plan.Compare(c)
}
