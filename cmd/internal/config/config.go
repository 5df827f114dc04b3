// Package config reads the agent's configuration, fettle.yml: it checks the file against its JSON Schema, finds every
// mistake with file, line and column, and resolves secrets from the environment or from files.
//
// It opens no repository and no foundation; Build in build.go turns a configuration into the parts that do.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/agent"
	"github.com/fettle-gitops/fettle/schemas"
)

// Config is the content of a fettle.yml. Its fields are described in schemas/config.schema.json.
type Config struct {
	History         string                `yaml:"history"`
	ShutdownTimeout duration              `yaml:"shutdown_timeout"`
	ParallelRuns    int                   `yaml:"parallel_runs"`
	Foundations     map[string]Foundation `yaml:"foundations"`
	Sources         map[string]Source     `yaml:"sources"`
	Targets         map[string]Target     `yaml:"targets"`

	file, dir string // the file, and its folder: relative paths start there
}

// Foundation is where to.
type Foundation struct {
	API            string   `yaml:"api"`
	Username       string   `yaml:"username"`
	Password       secret   `yaml:"password"`
	ClientID       string   `yaml:"client_id"`
	ClientSecret   secret   `yaml:"client_secret"`
	CAFile         string   `yaml:"ca_file"`
	SkipTLSVerify  bool     `yaml:"skip_tls_verify"`
	RequestTimeout duration `yaml:"request_timeout"`
	Concurrency    int      `yaml:"concurrency"`
	ResolveImages  bool     `yaml:"resolve_images"`
}

// Source is where from.
type Source struct {
	Git              string   `yaml:"git"`
	Dir              string   `yaml:"dir"`
	Branch           string   `yaml:"branch"`
	Tag              string   `yaml:"tag"`
	Poll             duration `yaml:"poll"`
	Timeout          duration `yaml:"timeout"`
	Username         string   `yaml:"username"`
	Password         secret   `yaml:"password"`
	SSHKey           secret   `yaml:"ssh_key"`
	SSHKeyPassphrase secret   `yaml:"ssh_key_passphrase"`
	KnownHosts       string   `yaml:"known_hosts"`
	CAFile           string   `yaml:"ca_file"`
}

// Target joins a path in a source with a part of a foundation.
type Target struct {
	Source          string         `yaml:"source"`
	Path            string         `yaml:"path"`
	Foundation      string         `yaml:"foundation"`
	Org             string         `yaml:"org"`
	Space           string         `yaml:"space"`
	Mode            string         `yaml:"mode"`
	Schedule        string         `yaml:"schedule"`
	TimeZone        string         `yaml:"time_zone"`
	Vars            map[string]any `yaml:"vars"`
	VarsFiles       []string       `yaml:"vars_files"`
	Patches         []string       `yaml:"patches"`
	SecretVarsFiles []string       `yaml:"secret_vars_files"`
	SecretVars      []SecretVars   `yaml:"secret_vars"`
	AgeIdentity     secret         `yaml:"age_identity"`
	Timeout         duration       `yaml:"timeout"`
	RolloutTimeout  duration       `yaml:"rollout_timeout"`
	Prune           Prune          `yaml:"prune"`
	Rollout         map[string]any `yaml:"rollout"`

	Ignore []diff.IgnoreRule `yaml:"ignore"`
}

// Prune is what a target may delete.
type Prune struct {
	Kinds   []string `yaml:"kinds"`
	Limit   string   `yaml:"limit"`
	Confirm []string `yaml:"confirm"`
}

// Defaults of what a configuration leaves out.
const (
	DefaultHistory  = "fettle.db"
	DefaultSchedule = "*/10 * * * *"
	DefaultPoll     = 30 * time.Second
)

// Load reads the configuration at file. The error is manifest.Problems, all of them at once, where the file could be read.
func Load(file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	docs, problems := manifest.ParseYAML(file, data)
	problems = slices.DeleteFunc(problems, func(p manifest.Problem) bool { return p.Rule == "yaml-date" }) // fine here; the controller minds
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%s: a configuration is one YAML document, this file has %d", file, len(docs))
	}
	schema, err := schemas.Compile("config")
	if err != nil {
		return nil, err
	}
	if err := manifest.ValidateSchema(file, docs[0], schema).Err(); err != nil {
		return nil, err
	}
	c := &Config{file: file, dir: filepath.Dir(file)}
	if err := docs[0].Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := c.check(file, docs[0]).Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// HistoryPath is the SQLite file.
func (c *Config) HistoryPath() string {
	if c.History == "" {
		return c.path(DefaultHistory)
	}
	return c.path(c.History)
}

// path resolves a path of the configuration against the folder of its file.
func (c *Config) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// check finds what a schema cannot say: names that refer to nothing, schedules that cannot be read.
func (c *Config) check(file string, doc *yaml.Node) manifest.Problems {
	var ps manifest.Problems
	bad := func(hint, message string, at ...string) {
		ps = append(ps, manifest.Problem{
			Origin: position(file, doc, at...), Severity: manifest.SeverityError, Rule: "configuration",
			Pointer: manifest.Pointer(at...), Message: message, Hint: hint,
		})
	}
	for name, t := range c.Targets {
		if _, ok := c.Sources[t.Source]; !ok {
			bad("sources are: "+names(c.Sources), fmt.Sprintf("target %q: there is no source %q", name, t.Source), "targets", name, "source")
		}
		if _, ok := c.Foundations[t.Foundation]; !ok {
			bad("foundations are: "+names(c.Foundations), fmt.Sprintf("target %q: there is no foundation %q", name, t.Foundation), "targets", name, "foundation")
		}
		if t.Schedule != "" || t.TimeZone != "" {
			if _, err := agent.ParseSchedule(or(t.Schedule, DefaultSchedule), t.TimeZone); err != nil {
				at := "schedule"
				if _, zoneErr := time.LoadLocation(t.TimeZone); zoneErr != nil {
					at = "time_zone"
				}
				bad("", fmt.Sprintf("target %q: %v", name, err), "targets", name, at)
			}
		}
		for i := range t.Ignore {
			rule := &t.Ignore[i]
			at := []string{"targets", name, "ignore", strconv.Itoa(i)}
			rule.Origin = position(file, doc, at...)
			if err := rule.Check(); err != nil {
				bad("", fmt.Sprintf("target %q: %v", name, err), at...)
			}
		}
		for key, value := range t.Rollout { // each by itself: none depends on another
			if _, err := manifest.NewSettings(map[string]string{settingName(key): fmt.Sprint(value)}); err != nil {
				bad("", fmt.Sprintf("target %q: %v", name, err), "targets", name, "rollout", key)
			}
		}
		if t.Space != "" && t.Org == "" {
			bad("add org", fmt.Sprintf("target %q names a space but no org", name), "targets", name, "space")
		}
	}
	for name, f := range c.Foundations {
		if f.Username == "" && f.ClientID == "" {
			bad("add username and password, or client_id and client_secret",
				fmt.Sprintf("foundation %q: nobody is named to log in as", name), "foundations", name)
		}
	}
	for name, s := range c.Sources {
		if s.Dir == "" {
			continue
		}
		for key, set := range map[string]bool{
			"branch": s.Branch != "", "tag": s.Tag != "", "username": s.Username != "", "password": s.Password.set(),
			"ssh_key": s.SSHKey.set(), "known_hosts": s.KnownHosts != "", "ca_file": s.CAFile != "",
		} {
			if set {
				bad("leave it out, or use git", fmt.Sprintf("source %q is a folder, which has no %s", name, key), "sources", name, key)
			}
		}
	}
	slices.SortFunc(ps, func(a, b manifest.Problem) int { return a.Origin.Line - b.Origin.Line })
	return ps
}

// settingName is the manifest's word for a key of rollout.
func settingName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// position finds the value at the path of keys, or the deepest part of it that exists.
func position(file string, doc *yaml.Node, keys ...string) manifest.Origin {
	at := doc
	if at.Kind == yaml.DocumentNode {
		at = at.Content[0]
	}
	for _, key := range keys {
		next := (*yaml.Node)(nil)
		if i, err := strconv.Atoi(key); err == nil && at.Kind == yaml.SequenceNode && i < len(at.Content) {
			at = at.Content[i]
			continue
		}
		for i := 0; i+1 < len(at.Content); i += 2 {
			if at.Content[i].Value == key {
				next = at.Content[i+1]
			}
		}
		if next == nil {
			break
		}
		at = next
	}
	return manifest.Origin{File: file, Line: at.Line, Column: at.Column}
}

func names[T any](m map[string]T) string {
	all := make([]string, 0, len(m))
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// duration is a time.Duration written as people write it.
type duration time.Duration

// UnmarshalYAML reads "1h30m".
func (d *duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	*d = duration(v)
	return err
}

func (d duration) or(fallback time.Duration) time.Duration {
	if d > 0 {
		return time.Duration(d)
	}
	return fallback
}

// secret says where a secret is found.
type secret struct {
	Env  string `yaml:"env"`
	File string `yaml:"file"`

	line, column int // where it is written
}

// UnmarshalYAML notes where the secret is written: whether it can be read is found out later.
func (s *secret) UnmarshalYAML(n *yaml.Node) error {
	type plain secret
	if err := n.Decode((*plain)(s)); err != nil {
		return err
	}
	s.line, s.column = n.Line, n.Column
	return nil
}

func (s secret) set() bool { return s.Env != "" || s.File != "" }

func (c *Config) at(s secret) manifest.Origin {
	return manifest.Origin{File: c.file, Line: s.line, Column: s.column}
}

// read fetches the secret; what names the field in messages, which never hold the secret itself.
func (c *Config) read(s secret, what string) (string, error) {
	switch {
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok || v == "" {
			return "", fmt.Errorf("%s: %s: the environment variable %s is not set", c.at(s), what, s.Env)
		}
		return v, nil
	case s.File != "":
		data, err := os.ReadFile(c.path(s.File))
		if err != nil {
			return "", fmt.Errorf("%s: %s: the file cannot be read: %w", c.at(s), what, err)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
	return "", nil
}
