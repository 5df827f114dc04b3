package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
)

// IgnoreRule says which differences Fettle leaves alone: the instances of an app that an autoscaler moves, a label that
// another tool keeps. It speaks of places, never of values, and it can be stored as it is.
//
// An ignored difference is neither applied nor drift; Changes.Ignored has it. What a rule covers is also never written
// on the way to another change, see [Changes.Kept]. But what Git creates is created as Git says: a rule
// for the instances of processes does not hold back the first instances of a new app.
type IgnoreRule struct {
	Kind   manifest.Kind `json:"kind,omitempty" yaml:"kind,omitempty"` // "" is every kind
	Name   string        `json:"name,omitempty" yaml:"name,omitempty"` // pattern of Ref.Name or of the whole Ref.Path; "" is every name
	Path   string        `json:"path" yaml:"path"`                     // pattern of a JSON pointer; with what lies below
	Until  Deadline      `json:"until,omitzero" yaml:"until,omitempty"`
	Owner  string        `json:"owner,omitempty" yaml:"owner,omitempty"`
	Reason string        `json:"reason,omitempty" yaml:"reason,omitempty"`

	Origin manifest.Origin `json:"origin,omitzero" yaml:"-"` // where the rule stands
}

// Ignored is a difference and the rule that speaks of it.
type Ignored struct {
	Change Change     `json:"change"`
	Rule   IgnoreRule `json:"rule"`
}

// IdleRule is a rule that has no effect, and why.
type IdleRule struct {
	Rule IgnoreRule `json:"rule"`
	Why  string     `json:"why"`
}

// ParseIgnoreRule reads the short form, "KIND NAME PATH" ("app * /processes/*/instances"). A path alone speaks of every
// resource, and * of every kind. A * in a name stands for any text, in a path for any text within one segment.
func ParseIgnoreRule(s string) (IgnoreRule, error) {
	s = strings.TrimSpace(s)
	rule := IgnoreRule{Path: s}
	if !strings.HasPrefix(s, "/") {
		kind, rest, _ := strings.Cut(s, " ")
		name, path, ok := cutLast(rest, " /")
		if !ok {
			return IgnoreRule{}, fmt.Errorf(`%q is no ignore rule: write kind, name and path, for example "app * /processes/*/instances"`, s)
		}
		rule = IgnoreRule{Kind: manifest.Kind(kind), Name: strings.TrimSpace(name), Path: "/" + strings.TrimSpace(path)}
	}
	if rule.Kind == "*" {
		rule.Kind = ""
	}
	return rule, rule.Check()
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Check refuses a rule that cannot be meant: an unknown kind, a path that is no JSON pointer, a whole app.
func (r IgnoreRule) Check() error {
	if r.Kind != "" && !slices.Contains(manifest.Kinds(), r.Kind) {
		return fmt.Errorf("ignore rule: there is no kind %q: use one of %v, or * for all", r.Kind, manifest.Kinds())
	}
	switch rest := strings.NewReplacer("~0", "", "~1", "").Replace(r.Path); {
	case r.Path == "" && (r.Kind == "" || r.Kind == manifest.KindApp):
		return fmt.Errorf("ignore rule: it needs a path, for example /processes/*/instances; an app that shall be left alone as a whole is better not declared")
	case r.Path != "" && r.Path[0] != '/', strings.Contains(rest, "~"):
		return fmt.Errorf("ignore rule: %q is no JSON pointer: write /processes/*/instances, with ~1 for a / within a name and ~0 for a ~", r.Path)
	}
	return nil
}

// String is the short form.
func (r IgnoreRule) String() string {
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	return strings.TrimSpace(or(string(r.Kind), "*") + " " + or(r.Name, "*") + " " + r.Path)
}

// Expired reports whether the rule no longer holds.
func (r IgnoreRule) Expired(now time.Time) bool {
	return !r.Until.IsZero() && !now.Before(r.Until.end())
}

// speaksOf reports whether the rule is about the resource. The platform compares names without regard to case.
func (r IgnoreRule) speaksOf(ref manifest.Ref) bool {
	if r.Kind != "" && r.Kind != ref.Kind {
		return false
	}
	pattern := strings.ToLower(r.Name)
	return pattern == "" || glob(pattern, strings.ToLower(ref.Name())) || glob(pattern, strings.ToLower(ref.Path))
}

// covers reports whether pointer is at or below a place that the rule names.
func (r IgnoreRule) covers(pointer string) bool {
	patterns, keys := manifest.SplitPointer(r.Path), manifest.SplitPointer(pointer)
	if len(patterns) > len(keys) {
		return false
	}
	for i, p := range patterns {
		if !glob(p, keys[i]) {
			return false
		}
	}
	return true
}

// finds reports whether there is something in the tree that the rule names.
func (r IgnoreRule) finds(tree map[string]any) bool {
	var find func(at any, patterns []string) bool
	find = func(at any, patterns []string) bool {
		if len(patterns) == 0 {
			return true
		}
		m, _ := at.(map[string]any)
		for k, child := range m {
			if glob(patterns[0], k) && find(child, patterns[1:]) {
				return true
			}
		}
		return false
	}
	return find(tree, manifest.SplitPointer(r.Path))
}

// glob matches s against a pattern in which * stands for any text.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	for _, part := range parts[1:last] {
		if ok {
			_, s, ok = strings.Cut(s, part)
		}
	}
	return ok && strings.HasSuffix(s, parts[last])
}

// DeclaredRules are the rules that Git itself declares, on the apps that they are about (the setting ignore).
func DeclaredRules(desired manifest.Set) []IgnoreRule {
	var rules []IgnoreRule
	for _, o := range desired.Of(manifest.KindApp) {
		if o.Settings == nil {
			continue
		}
		for _, path := range o.Settings.Ignore {
			rules = append(rules, IgnoreRule{Kind: o.Ref.Kind, Name: o.Ref.Path, Path: path, Origin: o.Settings.Origin("ignore")})
		}
	}
	return rules
}

// Ignoring takes the differences that a rule speaks of out of the list. Those of a rule that has expired stay in it and are
// named in Expired. The first rule that matches counts.
func (c Changes) Ignoring(rules []IgnoreRule, desired, live manifest.Set, now time.Time) Changes {
	if len(rules) == 0 {
		return c
	}
	used := make([]bool, len(rules))
	all := c.List
	c.List = nil
	for _, change := range all {
		holds, lapsed := -1, -1
		for i, r := range rules {
			if !r.speaksOf(change.Ref) || !r.covers(change.Path) {
				continue
			}
			if used[i] = true; !r.Expired(now) {
				holds = i
				break
			}
			if lapsed < 0 {
				lapsed = i
			}
		}
		if holds >= 0 {
			c.Ignored = append(c.Ignored, Ignored{change, rules[holds]})
			continue
		}
		c.List = append(c.List, change)
		if lapsed >= 0 {
			c.Expired = append(c.Expired, Ignored{change, rules[lapsed]})
		}
	}
	for i, r := range rules {
		switch {
		case used[i]:
		case r.Expired(now):
			c.Idle = append(c.Idle, IdleRule{r, "it has expired, and nothing differs any more where it applied: remove it"})
		case !r.known(desired) && !r.known(live):
			c.Idle = append(c.Idle, IdleRule{r, "it matches nothing in Git or on the platform: correct it, or remove it"})
		}
	}
	return c
}

func (r IgnoreRule) known(set manifest.Set) bool {
	return slices.ContainsFunc(set.Objects(), func(o *manifest.Object) bool { return r.speaksOf(o.Ref) && r.finds(o.Spec) })
}

// Kept is desired state as it may be applied beside the ignored differences. At each of their places it says what lives
// there, so that a driver that writes a neighbouring field, or a group of fields at once, does not reset what
// is to be left alone. What is kept though Git no longer declares it stays on the ledger: once the rule is
// gone, it goes. Neither set is modified.
func (c Changes) Kept(desired, live manifest.Set, ledger Ledger) manifest.Set {
	if len(c.Ignored) == 0 {
		return desired
	}
	objects := map[manifest.Ref]*manifest.Object{}
	for _, o := range desired.Objects() {
		objects[o.Ref] = o
	}
	for _, ignored := range c.Ignored {
		change := ignored.Change
		switch {
		case change.Op == Remove && !declares(objects[change.Ref], change.Path) && !ledger.Owns(change.Ref, change.Path):
			// Git does not speak of it either.
		case isInput(objects[change.Ref], change.Path):
			// Written with nothing but its own change, which is not applied.
		case change.Path == "" && change.Op == Remove:
			objects[change.Ref] = live.Get(change.Ref)
		case change.Path == "":
			delete(objects, change.Ref)
		default:
			o := manifest.Object{Ref: change.Ref} // a route that Git no longer declares, with a destination that stays
			if declared := objects[change.Ref]; declared != nil {
				o = *declared
			}
			o.Spec, _ = putAt(o.Spec, manifest.SplitPointer(change.Path), change.Was).(map[string]any)
			if change.Secret {
				if o.Secrets = maps.Clone(o.Secrets); o.Secrets == nil {
					o.Secrets = map[string]bool{}
				}
				o.Secrets[change.Path] = true
			}
			objects[change.Ref] = &o
		}
	}
	kept := manifest.NewSet(slices.Collect(maps.Values(objects))...)
	for _, mark := range desired.Prunes() {
		kept.MarkPrune(mark)
	}
	return kept
}

// isInput reports whether the pointer names an input of o, which has no place in the Spec.
func isInput(o *manifest.Object, pointer string) bool {
	if keys := manifest.SplitPointer(pointer); o != nil && len(keys) == 1 {
		_, ok := o.Inputs[keys[0]]
		return ok && !declares(o, pointer)
	}
	return false
}

// declares reports whether o says something at pointer, if only that there shall be nothing.
func declares(o *manifest.Object, pointer string) bool {
	if o == nil || pointer == "" {
		return o != nil
	}
	_, ok := manifest.Lookup(o.Spec, pointer)
	return ok
}

// putAt copies the maps on the way to keys and puts v there; nil takes away what is there.
func putAt(tree any, keys []string, v any) any {
	if len(keys) == 0 {
		return v
	}
	m, _ := tree.(map[string]any)
	if m = maps.Clone(m); m == nil {
		m = map[string]any{}
	}
	if child := putAt(m[keys[0]], keys[1:], v); child != nil {
		m[keys[0]] = child
	} else {
		delete(m, keys[0])
	}
	return m
}

// Deadline is until when a rule holds: the end of a day (of UTC), or a moment. As text it is "2026-12-31" or a time of RFC 3339.
type Deadline struct {
	at  time.Time
	day bool
}

// ParseDeadline reads what MarshalText writes.
func ParseDeadline(s string) (Deadline, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return Deadline{day, true}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return Deadline{}, fmt.Errorf(`%q is no date: write a day such as "2026-12-31", or a time such as "2026-12-31T18:00:00Z"`, s)
	}
	return Deadline{at: at}, nil
}

// IsZero reports whether there is no deadline.
func (d Deadline) IsZero() bool { return d.at.IsZero() }

func (d Deadline) end() time.Time {
	if d.day {
		return d.at.AddDate(0, 0, 1)
	}
	return d.at
}

func (d Deadline) String() string {
	switch {
	case d.IsZero():
		return ""
	case d.day:
		return d.at.Format(time.DateOnly)
	}
	return d.at.Format(time.RFC3339)
}

// MarshalText writes the day or the time.
func (d Deadline) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a day or a time.
func (d *Deadline) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*d = Deadline{}
		return nil
	}
	*d, err = ParseDeadline(string(text))
	return err
}
