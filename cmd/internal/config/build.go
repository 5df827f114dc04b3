package config

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/agent"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/dir"
	"github.com/fettle-gitops/fettle/source/git"
)

// Build opens what the configuration names: the history, the sources, the foundations. It makes no request yet.
// The caller closes the store.
func (c *Config) Build(ctx context.Context, userAgent string, log *slog.Logger) (*agent.Agent, history.Store, error) {
	drivers := map[string]platform.Driver{}
	key, err := digestKey(c.HistoryPath() + ".key")
	if err != nil {
		return nil, nil, err
	}
	for name, f := range c.Foundations {
		d, err := c.driver(name, f, diff.Sealer{Key: key}, userAgent)
		if err != nil {
			return nil, nil, err
		}
		drivers[name] = d
	}
	feeds := map[string]*agent.Feed{}
	for name, s := range c.Sources {
		src, err := c.source(name, s)
		if err != nil {
			return nil, nil, err
		}
		feeds[name] = agent.NewFeed(src, s.Poll.or(DefaultPoll))
	}
	var targets []agent.Target
	for name, t := range c.Targets {
		target, err := c.target(name, t)
		if err != nil {
			return nil, nil, err
		}
		target.Driver, target.Source, target.Feed = drivers[t.Foundation], feeds[t.Source], feeds[t.Source]
		targets = append(targets, target)
	}
	slices.SortFunc(targets, func(a, b agent.Target) int { return strings.Compare(a.Name, b.Name) })

	store, err := sqlite.Open(ctx, c.HistoryPath())
	if err != nil {
		return nil, nil, err
	}
	return &agent.Agent{
		Reconciler: &reconcile.Reconciler{History: store, Key: key, Log: log},
		Targets:    targets, Log: log, ParallelRuns: c.ParallelRuns, Shutdown: c.ShutdownTimeout.or(30 * time.Second),
	}, store, nil
}

func (c *Config) driver(name string, f Foundation, sealer diff.Sealer, userAgent string) (platform.Driver, error) {
	at := "foundation " + name
	password, err := c.read(f.Password, at+": password")
	if err != nil {
		return nil, err
	}
	clientSecret, err := c.read(f.ClientSecret, at+": client_secret")
	if err != nil {
		return nil, err
	}
	ca, err := c.readFile(f.CAFile, at+": ca_file")
	if err != nil {
		return nil, err
	}
	d, err := cloudfoundry.New(cloudfoundry.Config{Client: ccv3.Config{
		API: f.API, Username: f.Username, Password: password, ClientID: f.ClientID, ClientSecret: clientSecret,
		CA: ca, SkipTLSVerify: f.SkipTLSVerify, Timeout: f.RequestTimeout.or(time.Minute), Concurrency: f.Concurrency, UserAgent: userAgent,
	}, ResolveImages: f.ResolveImages, Sealer: sealer})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return d, nil
}

func (c *Config) source(name string, s Source) (source.Source, error) {
	if s.Dir != "" {
		return dir.New(dir.Options{Path: c.path(s.Dir), Exclude: c.written()})
	}
	at := "source " + name
	password, err := c.read(s.Password, at+": password")
	if err != nil {
		return nil, err
	}
	key, err := c.read(s.SSHKey, at+": ssh_key")
	if err != nil {
		return nil, err
	}
	passphrase, err := c.read(s.SSHKeyPassphrase, at+": ssh_key_passphrase")
	if err != nil {
		return nil, err
	}
	ca, err := c.readFile(s.CAFile, at+": ca_file")
	if err != nil {
		return nil, err
	}
	opts := git.Options{
		URL: s.Git, Branch: s.Branch, Tag: s.Tag, Username: s.Username, Password: password, CA: ca,
		SSHPassphrase: passphrase, Timeout: s.Timeout.or(2 * time.Minute),
	}
	if key != "" {
		// A key file ends with a newline, which reading a secret cuts off.
		opts.SSHKey = []byte(key + "\n")
	}
	if s.KnownHosts != "" {
		opts.KnownHosts = []string{c.path(s.KnownHosts)}
	}
	repo, err := git.New(opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return repo, nil
}

// written are the files that the agent itself writes: the history with SQLite's files beside it, and its key.
func (c *Config) written() []string {
	var files []string
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".key"} {
		files = append(files, c.HistoryPath()+suffix)
	}
	return files
}

func (c *Config) target(name string, t Target) (agent.Target, error) {
	schedule, err := agent.ParseSchedule(or(t.Schedule, DefaultSchedule), t.TimeZone)
	if err != nil {
		return agent.Target{}, fmt.Errorf("target %s: %w", name, err)
	}
	rt := &reconcile.Target{
		Name: name, Path: t.Path, VarsIn: t.VarsFiles, Patches: t.Patches, Mode: reconcile.Mode(or(t.Mode, string(reconcile.ModeReport))),
		Options: manifest.Options{Org: t.Org, Space: t.Space, OrgOrigin: fmt.Sprintf("target %q", name), Vars: t.Vars},
		Timeout: time.Duration(t.Timeout), RolloutTimeout: time.Duration(t.RolloutTimeout), Ignore: t.Ignore,
	}
	if rt.Prune, err = t.Prune.pruning(); err != nil {
		return agent.Target{}, fmt.Errorf("target %s: prune: %w", name, err)
	}
	settings := map[string]string{}
	for key, value := range t.Rollout {
		settings[settingName(key)] = fmt.Sprint(value)
	}
	if rt.Settings, err = manifest.NewSettings(settings); err != nil {
		return agent.Target{}, fmt.Errorf("target %s: rollout: %w", name, err)
	}
	for _, file := range t.SecretVarsFiles {
		data, err := c.readFile(file, "target "+name+": secret_vars_files")
		if err != nil {
			return agent.Target{}, err
		}
		rt.Options.VarsFiles = append(rt.Options.VarsFiles, manifest.VarsFile{Name: filepath.Base(file), Data: data, Secret: true})
	}
	if err := c.secretVars(name, t, rt); err != nil {
		return agent.Target{}, err
	}
	return agent.Target{Target: rt, Schedule: schedule}, nil
}

func (p Prune) pruning() (reconcile.Pruning, error) {
	var out reconcile.Pruning
	for _, word := range p.Kinds {
		out.Kinds = append(out.Kinds, manifest.PrunedKinds(word)...)
	}
	for _, text := range p.Confirm {
		ref, err := manifest.ParseRef(text)
		if err != nil {
			return out, fmt.Errorf("confirm: %w", err)
		}
		out.Confirm = append(out.Confirm, ref)
	}
	if p.Limit == "" {
		return out, nil
	}
	limit, err := reconcile.ParsePruneLimit(p.Limit)
	out.Limit = limit
	return out, err
}

func (c *Config) readFile(file, what string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(c.path(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return data, nil
}
