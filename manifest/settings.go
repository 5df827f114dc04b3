package manifest

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Settings say how Fettle treats an app. They stand where cf push and the controller tolerate them, among the app's
// annotations under [MetadataPrefix]:
//
//	metadata:
//	  annotations:
//	    fettle-gitops.github.io/strategy: canary
//	    fettle-gitops.github.io/canary-steps: 10, 50
//
// They are no part of the Spec, never compared, and never sent to the platform. A field that nobody set has its zero value;
// what that means is the driver's default. A nil *Settings sets nothing.
type Settings struct {
	Strategy    string         // rolling, canary or recreate
	MaxInFlight int            // instances replaced at a time
	CanarySteps []int          // percent of the instances, rising
	CanaryPause *time.Duration // between two steps; [Manual] waits for a person

	RolloutTimeout time.Duration // without progress
	Settle         *time.Duration
	HealthURL      string // a path, or a whole URL
	HealthStatus   [2]int // lowest and highest status that is healthy

	BeforeRollout string // command of a task on the new droplet, before it takes traffic
	AfterRollout  string
	HookTimeout   time.Duration

	DependsOn []string // apps, each as NAME, SPACE/NAME or ORG/SPACE/NAME; see Dependencies
	Wave      int

	Ignore []string // patterns of JSON pointers into the Spec, whose differences are left alone

	texts   map[string]string // each setting as it was written, by name
	origins map[string]Origin
}

// Manual as a CanaryPause: a person decides when the rollout goes on.
const Manual time.Duration = -1

// Strategies are the values of the setting strategy.
var Strategies = []string{"rolling", "canary", "recreate"}

// setting is one name under MetadataPrefix: what is expected, in words, and how to read it.
type setting struct {
	name, expected string
	read           func(s *Settings, text string) bool
}

var settings = []setting{
	{"strategy", "rolling, canary or recreate", func(s *Settings, text string) bool {
		s.Strategy = text
		return slices.Contains(Strategies, text)
	}},
	{"max-in-flight", "a whole number from 1", func(s *Settings, text string) bool { return readInt(&s.MaxInFlight, text, 1) }},
	{"canary-steps", "percentages from 1 to 100 that rise, such as 10, 50", func(s *Settings, text string) bool {
		for _, entry := range list(text) {
			var percent int
			if !readInt(&percent, strings.TrimSuffix(entry, "%"), 1) || percent > 100 || len(s.CanarySteps) > 0 && percent <= slices.Max(s.CanarySteps) {
				return false
			}
			s.CanarySteps = append(s.CanarySteps, percent)
		}
		return len(s.CanarySteps) > 0
	}},
	{"canary-pause", "a duration such as 30s or 5m, or manual", func(s *Settings, text string) bool {
		pause := Manual
		s.CanaryPause = &pause
		return text == "manual" || readDuration(&pause, text, 0)
	}},
	{"rollout-timeout", "a duration such as 90s or 10m", func(s *Settings, text string) bool { return readDuration(&s.RolloutTimeout, text, time.Second) }},
	{"settle", "a duration such as 10s or 1m", func(s *Settings, text string) bool {
		s.Settle = new(time.Duration)
		return readDuration(s.Settle, text, 0)
	}},
	{"health-url", "a path such as /health, or a URL with http:// or https://", func(s *Settings, text string) bool {
		s.HealthURL = text
		u, err := url.Parse(text)
		if err != nil || u.User != nil || strings.HasPrefix(text, "//") {
			return false
		}
		return strings.HasPrefix(text, "/") || (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	}},
	{"health-status", "a status such as 204, or a range such as 200-299", func(s *Settings, text string) bool {
		low, high, both := strings.Cut(text, "-")
		if !both {
			high = low
		}
		return readInt(&s.HealthStatus[0], low, 100) && readInt(&s.HealthStatus[1], high, s.HealthStatus[0]) && s.HealthStatus[1] <= 599
	}},
	{"before-rollout", "a command", func(s *Settings, text string) bool { s.BeforeRollout = text; return isCommand(text) }},
	{"after-rollout", "a command", func(s *Settings, text string) bool { s.AfterRollout = text; return isCommand(text) }},
	{"hook-timeout", "a duration such as 90s or 10m", func(s *Settings, text string) bool { return readDuration(&s.HookTimeout, text, time.Millisecond) }},
	{"depends-on", "names of apps, such as api, db-migrator", func(s *Settings, text string) bool {
		s.DependsOn = list(text)
		return len(s.DependsOn) > 0 && !slices.ContainsFunc(s.DependsOn, func(name string) bool {
			parts := strings.Split(name, "/")
			return len(parts) > 3 || slices.Contains(parts, "")
		})
	}},
	{"wave", "a whole number, also a negative one", func(s *Settings, text string) bool { return readInt(&s.Wave, text, -1_000_000) }},
	{"ignore", "JSON pointers, such as /processes/web/instances, /environment_variables/*", func(s *Settings, text string) bool {
		s.Ignore = list(text)
		return len(s.Ignore) > 0 && !slices.ContainsFunc(s.Ignore, func(p string) bool { return len(p) < 2 || p[0] != '/' || strings.HasSuffix(p, "/") })
	}},
}

// keptNames are the annotations that Fettle itself keeps on apps, packages, droplets and deployments.
var keptNames = []string{"applied", "pending", "running", "digest", "revision", "lifecycle", "hook"}

// list reads entries between commas or line ends.
func list(text string) []string {
	var entries []string
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

func readInt(into *int, text string, least int) bool {
	n, err := strconv.Atoi(text)
	*into = n
	return err == nil && n >= least && n <= 1_000_000
}

func readDuration(into *time.Duration, text string, least time.Duration) bool {
	d, err := time.ParseDuration(text)
	*into = d
	return err == nil && d >= least && d <= 24*time.Hour
}

// isCommand keeps to the controller's limit for the command of a task.
func isCommand(text string) bool {
	return strings.TrimSpace(text) != "" && len(text) <= 4096
}

// SettingNames lists the names of all settings, without the prefix.
func SettingNames() []string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.name
	}
	return names
}

// NewSettings reads settings by name, without the prefix. The error names the first that cannot be read.
func NewSettings(texts map[string]string) (*Settings, error) {
	s := &Settings{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if words, hint := s.set(name, texts[name]); words != "" {
			if hint != "" {
				words += " (" + hint + ")"
			}
			return nil, fmt.Errorf("%s", words)
		}
	}
	return s, nil
}

// set reads one setting, or says in words why it cannot.
func (s *Settings) set(name, text string) (words, hint string) {
	i := slices.IndexFunc(settings, func(known setting) bool { return known.name == name })
	switch {
	case slices.Contains(keptNames, name):
		return fmt.Sprintf("the annotation %s%s is kept by Fettle itself", MetadataPrefix, name), "remove it"
	case i < 0:
		hint = "the settings are " + strings.Join(SettingNames(), ", ")
		if near := nearest(name, SettingNames()); near != "" {
			hint = fmt.Sprintf("did you mean %s%s?", MetadataPrefix, near)
		}
		return fmt.Sprintf("unknown setting %q", shorten(name)), hint
	case !settings[i].read(s, text):
		return fmt.Sprintf("the setting %s: expected %s, got %q", name, settings[i].expected, shorten(text)), ""
	}
	if s.texts == nil {
		s.texts = map[string]string{}
	}
	s.texts[name] = text
	return "", ""
}

// Texts are the settings as they were written, by name.
func (s *Settings) Texts() map[string]string {
	if s == nil {
		return nil
	}
	return maps.Clone(s.texts)
}

// Or gives what s leaves open the value that it has in defaults. Neither is changed, and both may be nil.
func (s *Settings) Or(defaults *Settings) *Settings {
	texts := defaults.Texts()
	if texts == nil {
		texts = map[string]string{}
	}
	maps.Copy(texts, s.Texts())
	both, err := NewSettings(texts)
	if err != nil { // each of them was read before
		return s
	}
	if s != nil {
		both.origins = s.origins
	}
	return both
}

// Origin is where the setting stands, or the zero Origin.
func (s *Settings) Origin(name string) Origin {
	if s == nil {
		return Origin{}
	}
	return s.origins[name]
}

// Dependencies are the apps that app depends on.
func (s *Settings) Dependencies(app Ref) []Ref {
	if s == nil {
		return nil
	}
	refs := make([]Ref, len(s.DependsOn))
	for i, name := range s.DependsOn {
		place := app.Space()
		switch strings.Count(name, "/") {
		case 1:
			place = app.Org()
		case 2:
			place = ""
		}
		refs[i] = Ref{Kind: KindApp, Path: strings.TrimPrefix(place+"/"+name, "/")}
	}
	return refs
}

// isSetting reports whether an annotation of the app at keys of o is one that speaks to Fettle.
func isSetting(o *Object, what, key string, keys []string) bool {
	return o.Ref.Kind == KindApp && what == "annotations" && len(keys) == 0 && len(key) > len(MetadataPrefix) &&
		strings.EqualFold(key[:len(MetadataPrefix)], MetadataPrefix)
}

// setting reads one annotation that is a setting of the app o.
func (d *document) setting(o *Object, key, value *yaml.Node) {
	name := key.Value[len(MetadataPrefix):]
	if d.open[value] || value.Kind != yaml.ScalarNode {
		return // the schema or the interpolation said so
	}
	text, _ := d.asText(value)
	switch {
	case value.Tag == tagNull:
		d.bad(key, "setting", fmt.Sprintf("the setting %s has no value", shorten(name)), "give it a value, or remove it")
		return
	case d.secret[value]:
		d.bad(value, "setting", fmt.Sprintf("a secret cannot be the setting %s", shorten(name)), "settings are shown; a task finds secrets in the environment of the app")
		return
	}
	if o.Settings == nil {
		o.Settings = &Settings{origins: map[string]Origin{}}
	}
	if words, hint := o.Settings.set(name, text); words != "" {
		at := value
		if hint != "" {
			at = key
		}
		d.bad(at, "setting", words, hint)
		return
	}
	o.Settings.origins[name] = d.at(value)
	if name == "depends-on" {
		d.checks = append(d.checks, func() { d.about(o.Ref, o.Ref.words(), func() { d.dependencies(o, value) }) })
	}
}

// dependencies checks, when every app is known, that those which o depends on are declared and wait for nothing of o's.
func (d *document) dependencies(o *Object, at *yaml.Node) {
	for i, ref := range o.Settings.Dependencies(o.Ref) {
		needed := d.apps[Ref{Kind: KindApp, Path: strings.ToLower(ref.Path)}]
		switch {
		case needed == nil:
			var names []string
			for _, other := range d.apps {
				if other.Ref.Space() == ref.Space() && other != o {
					names = append(names, other.Ref.Name())
				}
			}
			hint := "an app can wait for apps that the same target declares"
			if near := nearest(ref.Name(), names); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			d.bad(at, "depends-on", fmt.Sprintf("it depends on %s, which no manifest declares", shorten(o.Settings.DependsOn[i])), hint)
		case needed == o:
			d.bad(at, "depends-on", "it depends on itself", "remove it")
		case needed.wave() > o.wave():
			d.bad(at, "depends-on", fmt.Sprintf("it is in wave %d and depends on %s, which is in the later wave %d", o.wave(), needed.Ref.Name(), needed.wave()), "change one of the waves")
		default:
			path := d.way(needed, o, map[*Object]bool{})
			if path != nil && o.Ref.Name() == slices.Min(path) { // told once, by one of them
				d.bad(at, "depends-on", "these apps wait for each other: "+strings.Join(append([]string{o.Ref.Name()}, path...), " → "), "remove one of the dependencies")
			}
		}
	}
}

func (o *Object) wave() int {
	if o.Settings == nil {
		return 0
	}
	return o.Settings.Wave
}

// way finds a chain of dependencies that leads from one app to another, by the names of the apps.
func (d *document) way(from, to *Object, seen map[*Object]bool) []string {
	if from == to {
		return []string{to.Ref.Name()}
	}
	seen[from] = true
	for _, ref := range from.Settings.Dependencies(from.Ref) {
		next := d.apps[Ref{Kind: KindApp, Path: strings.ToLower(ref.Path)}]
		if next == nil || seen[next] {
			continue
		}
		if path := d.way(next, to, seen); path != nil {
			return append([]string{from.Ref.Name()}, path...)
		}
	}
	return nil
}

// withSettings gives metadata, as a manifest has them, the settings of the app as annotations.
func withSettings(metadata any, s *Settings) map[string]any {
	m, _ := metadata.(map[string]any)
	texts := s.Texts()
	if len(texts) == 0 {
		return m
	}
	m = maps.Clone(m)
	if m == nil {
		m = map[string]any{}
	}
	annotations := map[string]any{}
	if given, ok := m["annotations"].(map[string]any); ok {
		maps.Copy(annotations, given)
	}
	for name, text := range texts {
		annotations[MetadataPrefix+name] = text
	}
	m["annotations"] = annotations
	return m
}
