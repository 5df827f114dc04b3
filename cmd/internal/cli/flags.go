package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/cmd/internal/config"
	"github.com/fettle-gitops/fettle/cmd/internal/values"
	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/dir"
	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/encrypted"
)

// manifestFlags say which manifests a one-shot command is about.
type manifestFlags struct {
	file, gitURL, branch, path string
	org, space                 string
	vars, varsFiles, patches   []string
	prune                      pruneFlags // of the commands that compare
	ageIdentity                string

	commit string // of --git; from a plan file
}

func (f *manifestFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.file, "file", "f", "", "manifest file or folder (default manifest.yml, unless --git is given)")
	fl.StringVar(&f.gitURL, "git", "", "read the manifests from this repository instead (user and password may come from FETTLE_GIT_USERNAME, FETTLE_GIT_PASSWORD)")
	fl.StringVar(&f.branch, "branch", "", "branch of --git (default: the repository's own default)")
	fl.StringVar(&f.path, "path", "", "manifest file or folder in --git, from its root")
	fl.StringVarP(&f.org, "org", "o", "", "organization of manifests that name none (default: the one that “cf target” set)")
	fl.StringVarP(&f.space, "space", "s", "", "space of manifests that name none")
	fl.StringArrayVar(&f.vars, "var", nil, "value of a ((variable)), as name=value; may be repeated and wins over files (a secret: FETTLE_VAR_NAME in the environment)")
	fl.StringArrayVar(&f.varsFiles, "vars-file", nil, "YAML file with values of ((variables)), also encrypted with SOPS or age; may be repeated, later ones win")
	fl.StringArrayVar(&f.patches, "patch", nil, "YAML file that says how this environment differs: a manifest with only what is different (maps are merged, null removes, lists of named entries are merged by name); may be repeated, later ones win")
	fl.StringVar(&f.ageIdentity, "age-identity", "", "age identity file or SSH private key that opens vars files encrypted with age (sops has its own environment: SOPS_AGE_KEY_FILE …)")
}

// target makes the reconcile.Target that the flags describe, without a driver.
func (f *manifestFlags) target(env Env) (*reconcile.Target, error) {
	if f.gitURL != "" && f.file != "" {
		return nil, errors.New("-f and --git exclude each other: name the manifest in the repository with --path")
	}
	if f.gitURL == "" && (f.branch != "" || f.path != "") {
		return nil, errors.New("--branch and --path go with --git")
	}
	prune, err := f.prune.pruning()
	if err != nil {
		return nil, err
	}
	vars := map[string]any{}
	for _, arg := range f.vars {
		name, value, err := manifest.ParseVar(arg)
		if err != nil {
			return nil, fmt.Errorf("--var: %w", err)
		}
		vars[name] = value
	}
	t := &reconcile.Target{
		Name: "command line", Mode: reconcile.ModeApply, Prune: prune,
		Options: manifest.Options{Org: f.org, Space: f.space, OrgOrigin: "-o/-s", Vars: vars},
	}
	opener := encrypted.Opener{IdentityHint: "name it with --age-identity FILE"}
	if f.ageIdentity != "" {
		opener.Identities = func() ([]byte, error) { return os.ReadFile(f.ageIdentity) }
	}
	t.Open = values.Open(opener)
	t.Values = values.From([]values.Place{{Provider: secret.Env{Prefix: secret.DefaultEnvPrefix, Getenv: env.Getenv}}})
	if f.org == "" && f.space == "" {
		if session, err := ccv3.LoadCFSession(cfHome(env)); err == nil && session.SpaceFields.Name != "" {
			t.Options.Org, t.Options.Space = session.OrganizationFields.Name, session.SpaceFields.Name
			t.Options.OrgOrigin = "the target of the cf session"
		}
	}
	var root string
	if f.gitURL != "" {
		t.Path = f.path
		branch := f.branch
		if f.commit != "" {
			branch = ""
		}
		t.Source, err = git.New(git.Options{
			URL: f.gitURL, Branch: branch, Commit: f.commit, Username: env.Getenv("FETTLE_GIT_USERNAME"), Password: env.Getenv("FETTLE_GIT_PASSWORD"),
		})
	} else {
		t.Source, t.Path, root, err = local(f.file)
	}
	if err != nil {
		return nil, err
	}
	return t, f.overlay(t, root)
}

// overlay reads the vars files and the patches. What lies in the tree of the manifests goes by its name there, so that
// it is not taken for a manifest of its own.
func (f *manifestFlags) overlay(t *reconcile.Target, root string) error {
	for _, name := range f.varsFiles {
		data, err := readBounded(name)
		if err != nil {
			return fmt.Errorf("--vars-file: %w", err)
		}
		t.Options.VarsFiles = append(t.Options.VarsFiles, manifest.VarsFile{Name: nameIn(root, name), Data: data})
	}
	for _, name := range f.patches {
		data, err := readBounded(name)
		if err != nil {
			return fmt.Errorf("--patch: %w", err)
		}
		t.Options.Patches = append(t.Options.Patches, manifest.PatchFile{Name: nameIn(root, name), Data: data})
	}
	return nil
}

// nameIn is the name of a file below root, or the name as it was given where the file lies elsewhere.
func nameIn(root, name string) string {
	abs, err := filepath.Abs(name)
	if err != nil || root == "" {
		return name
	}
	if rel, err := filepath.Rel(root, abs); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return name
}

// local opens the folder that holds the manifest at file, and names its root. An app's path may lead out of that folder ("path: ../web"),
// but not out of the Git work tree around it; so the work tree is the root where there is one.
func local(file string) (src source.Source, rel, root string, err error) {
	if file == "" {
		file = "manifest.yml"
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, "", "", err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, "", "", fmt.Errorf("the manifest cannot be read: %w", err)
	}
	root = abs
	if !info.IsDir() {
		root = filepath.Dir(abs)
	}
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			root = dir
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	rel, err = filepath.Rel(root, abs)
	if err != nil {
		return nil, "", "", err
	}
	src, err = dir.NewLive(root)
	return src, filepath.ToSlash(rel), root, err
}

// foundationFlags say which foundation a one-shot command talks to, and as whom.
type foundationFlags struct {
	api, username, clientID, caFile string
	skipTLS                         bool
	resolveImages                   bool
	timeout                         time.Duration
}

func (f *foundationFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.api, "api", "", "API address (default: CF_API, else the session of “cf login”)")
	fl.StringVar(&f.username, "username", "", "user (default: CF_USERNAME); the password is taken from CF_PASSWORD")
	fl.StringVar(&f.clientID, "client-id", "", "UAA client (default: CF_CLIENT_ID); its secret is taken from CF_CLIENT_SECRET")
	fl.StringVar(&f.caFile, "ca-file", "", "PEM file with further certificate authorities")
	fl.BoolVar(&f.skipTLS, "skip-ssl-validation", false, "do not check the server's certificate (for trials only)")
	fl.BoolVar(&f.resolveImages, "resolve-images", false, "ask the registry what the tag of a docker image stands for, and deploy that digest")
	fl.DurationVar(&f.timeout, "request-timeout", time.Minute, "limit of one API request")
}

func cfHome(env Env) string {
	if home := env.Getenv("CF_HOME"); home != "" {
		return home
	}
	return env.Getenv("HOME")
}

// driver connects to the foundation. It makes no request yet.
func (f *foundationFlags) driver(env Env) (*cloudfoundry.Driver, error) {
	cfg := ccv3.Config{
		API: first(f.api, env.Getenv("CF_API")), Username: first(f.username, env.Getenv("CF_USERNAME")),
		ClientID: first(f.clientID, env.Getenv("CF_CLIENT_ID")), SkipTLSVerify: f.skipTLS, Timeout: f.timeout, UserAgent: userAgent(),
	}
	cfg.Password, cfg.ClientSecret = env.Getenv("CF_PASSWORD"), env.Getenv("CF_CLIENT_SECRET")
	if f.caFile != "" {
		ca, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		cfg.CA = ca
	}
	switch {
	case cfg.Username != "" && cfg.ClientID != "" && cfg.ClientSecret != "":
		return nil, errors.New("both a user and a client are given: unset CF_USERNAME or CF_CLIENT_ID, so that it is clear who acts")
	case cfg.Username != "" && cfg.Password == "":
		return nil, fmt.Errorf("no password for user %s: set CF_PASSWORD", cfg.Username)
	case cfg.ClientID != "" && cfg.ClientSecret == "":
		return nil, fmt.Errorf("no secret for client %s: set CF_CLIENT_SECRET", cfg.ClientID)
	case cfg.Username == "" && cfg.ClientID == "":
		session, err := ccv3.LoadCFSession(cfHome(env))
		if err != nil {
			return nil, fmt.Errorf("no credentials: set CF_API, CF_USERNAME and CF_PASSWORD (or CF_CLIENT_ID and CF_CLIENT_SECRET), or run `cf login` (%w)", err)
		}
		if cfg.API != "" && !sameAPI(cfg.API, session.Target) {
			return nil, fmt.Errorf("the cf session is for %s, not for %s: set CF_USERNAME and CF_PASSWORD, or run `cf login -a %s`", session.Target, cfg.API, cfg.API)
		}
		cfg.Session = session
	}
	if cfg.API == "" && cfg.Session == nil {
		return nil, errors.New("which foundation? Give --api or set CF_API")
	}
	sealer, err := sealer(env)
	if err != nil {
		return nil, err
	}
	return cloudfoundry.New(cloudfoundry.Config{Client: cfg, ResolveImages: f.resolveImages, Sealer: sealer})
}

// sealer has the key of FETTLE_SEAL_KEY, if it is set.
func sealer(env Env) (diff.Sealer, error) {
	text := strings.TrimSpace(env.Getenv("FETTLE_SEAL_KEY"))
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != 0 && len(key) != 32 { // the cause would quote it
		return diff.Sealer{}, errors.New("FETTLE_SEAL_KEY is no key: it should be 64 hexadecimal digits (`openssl rand -hex 32` makes one; `xxd -p -c 64 fettle.db.key` shows that of an agent)")
	}
	return diff.Sealer{Key: key}, nil
}

func sameAPI(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}

func userAgent() string { return "fettle/" + version() }

// storeFlags say where the history is.
type storeFlags struct {
	config, path string
}

func (f *storeFlags) register(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&f.config, "config", "", "the agent's configuration, which names the history file")
	cmd.PersistentFlags().StringVar(&f.path, "history", "", "the history file itself (default "+config.DefaultHistory+")")
}

func (f *storeFlags) open(ctx context.Context, _ Env) (history.Store, error) {
	path := f.path
	if path == "" && f.config != "" {
		c, err := config.Load(f.config)
		if err != nil {
			return nil, err
		}
		path = c.HistoryPath()
	}
	path = first(path, config.DefaultHistory)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no history at %s: name it with --history, or the agent's configuration with --config", path)
	}
	return sqlite.Open(ctx, path)
}

func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q is not known: use %s", flag, value, strings.Join(allowed, ", "))
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
