package planfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// MovedError says that a plan does not fit any more, and why: one line for each thing that moved.
type MovedError struct{ Moved []string }

// Error lists everything that moved.
func (e *MovedError) Error() string {
	what := "something has"
	if len(e.Moved) > 1 {
		what = fmt.Sprintf("%d things have", len(e.Moved))
	}
	return "the plan is out of date, so nothing was changed: " + what + " moved since it was made\n  " + strings.Join(e.Moved, "\n  ") +
		"\nmake the plan anew with `fettle diff --out`, and have it looked at again"
}

// Compare finds out whether now is what the plan was made of. A step that is not to be done any more, as a whole, is no
// obstacle: it has been done, perhaps by an earlier attempt that stopped half-way. Everything else must be the same to
// the last value; if not, the error is a *MovedError.
func (p *Plan) Compare(c Content) error {
	again, err := build(*p, c)
	if err != nil {
		return err
	}
	if again.Fingerprint == p.Fingerprint && again.Inputs.Values.Digest == p.Inputs.Values.Digest {
		return nil
	}
	var moved []string
	say := func(format string, args ...any) { moved = append(moved, fmt.Sprintf(format, args...)) }
	if p.Target.API != again.Target.API {
		say("foundation: %s → %s", p.Target.API, again.Target.API)
	}
	if !slices.Equal(p.Target.Spaces, again.Target.Spaces) {
		say("spaces: %s → %s", strings.Join(p.Target.Spaces, ", "), strings.Join(again.Target.Spaces, ", "))
	}
	if p.Source.Revision != again.Source.Revision {
		say("revision: %s → %s", p.Source.Revision, again.Source.Revision)
	}
	if p.Source.Files != nil && again.Source.Files != nil {
		moved = append(moved, p.Source.Files.moved(*again.Source.Files)...)
	}
	moved = append(moved, p.Inputs.Values.moved(again.Inputs.Values)...)
	changes, err := p.movedChanges(again)
	if err != nil {
		return err
	}
	moved = append(moved, changes...)
	if len(moved) == 0 && len(p.Steps) == len(again.Steps) {
		say("the fingerprint: %s → %s", p.Fingerprint, again.Fingerprint)
	}
	if len(moved) > 0 {
		return &MovedError{moved}
	}
	return nil
}

// movedChanges compares step by step and change by change.
func (p *Plan) movedChanges(now *Plan) ([]string, error) {
	planned, err := p.changes()
	if err != nil {
		return nil, err
	}
	current, err := now.changes()
	if err != nil {
		return nil, err
	}
	steps := map[string]Step{}
	for _, s := range now.Steps {
		steps[s.Resource] = s
	}
	open := map[string]bool{} // changes of steps that are still to be done
	var moved []string
	for _, was := range p.Steps {
		is, todo := steps[was.Resource]
		if !todo {
			continue
		}
		for _, c := range was.Changes {
			open[c] = true
		}
		switch {
		case was.LiveID != is.LiveID && was.LiveID == "":
			moved = append(moved, was.Resource+": did not exist, and was created meanwhile")
		case was.LiveID != is.LiveID && is.LiveID == "":
			moved = append(moved, was.Resource+": was deleted")
		case was.LiveID != is.LiveID:
			moved = append(moved, was.Resource+": was deleted and created again")
		}
		if !slices.Equal(was.Requires, is.Requires) {
			moved = append(moved, fmt.Sprintf("%s: waited for [%s] → [%s]", was.Resource, strings.Join(was.Requires, ", "), strings.Join(is.Requires, ", ")))
		}
		if was.Secrets != nil && is.Secrets != nil && slices.Equal(was.Secrets.Names, is.Secrets.Names) {
			moved = append(moved, was.Secrets.moved(*is.Secrets)...)
		}
	}
	places := slices.Sorted(maps.Keys(planned))
	for _, place := range places {
		was := planned[place]
		is, still := current[place]
		switch {
		case still:
			moved = append(moved, was.moved(is)...)
		case open[was.String()]:
			moved = append(moved, fmt.Sprintf("%s: was to be changed, and is as declared now", was.place()))
		}
	}
	for _, place := range slices.Sorted(maps.Keys(current)) {
		if _, known := planned[place]; !known {
			is := current[place]
			moved = append(moved, fmt.Sprintf("%s: was as declared, and now differs (live %s, declared %s)", is.place(), show(is.Was), show(is.Value)))
		}
	}
	return moved, nil
}

// moved names what differs between two sealings of the same things.
func (s Sealed) moved(now Sealed) []string {
	var moved []string
	for _, name := range s.Names {
		if !slices.Contains(now.Names, name) {
			moved = append(moved, name+": is missing now")
		} else if s.Each[name] != now.Each[name] {
			moved = append(moved, name+": has another value")
		}
	}
	for _, name := range now.Names {
		if !slices.Contains(s.Names, name) {
			moved = append(moved, name+": was not there")
		}
	}
	if len(moved) == 0 && s.Digest != now.Digest {
		if len(s.Names) == 1 {
			return []string{s.Names[0] + ": has another value"}
		}
		return []string{"another value (a plan with a key would say which): one of " + strings.Join(s.Names, ", ")}
	}
	return moved
}

// change is a change as package render writes it.
type change struct {
	Ref struct {
		Kind string `json:"kind"`
		Path string `json:"path"`
	} `json:"ref"`
	Op     diff.Op     `json:"op"`
	Path   string      `json:"path"`
	Was    any         `json:"was"`
	Value  any         `json:"value"`
	Impact diff.Impact `json:"impact"`
}

func (c change) resource() string { return c.Ref.Kind + " " + c.Ref.Path }

func (c change) place() string { return strings.TrimSpace(c.resource() + " " + c.Path) }

func (c change) String() string { return string(c.Op) + " " + c.place() }

func (c change) moved(now change) []string {
	moved := movedValue(c.resource(), c.Path, "live", c.Was, now.Was)
	moved = append(moved, movedValue(c.resource(), c.Path, "declared", c.Value, now.Value)...)
	if c.Op != now.Op && len(moved) == 0 {
		moved = append(moved, fmt.Sprintf("%s: the operation was %s, is %s", c.place(), c.Op, now.Op))
	}
	if c.Impact != now.Impact {
		moved = append(moved, fmt.Sprintf("%s: its impact was %s, is %s", c.place(), c.Impact, now.Impact))
	}
	return moved
}

// movedValue names the leaves at which two values differ.
func movedValue(ref, pointer, side string, was, is any) []string {
	a, tree := was.(map[string]any)
	b, both := is.(map[string]any)
	if !tree || !both {
		if reflect.DeepEqual(was, is) {
			return nil
		}
		return []string{fmt.Sprintf("%s: the %s value was %s, is %s", strings.TrimSpace(ref+" "+pointer), side, show(was), show(is))}
	}
	keys := slices.Collect(maps.Keys(a))
	for key := range b {
		if _, known := a[key]; !known {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var moved []string
	for _, key := range keys {
		moved = append(moved, movedValue(ref, pointer+manifest.Pointer(key), side, a[key], b[key])...)
	}
	return moved
}

func (p *Plan) changes() (map[string]change, error) {
	var doc struct{ Changes []change }
	d := json.NewDecoder(bytes.NewReader(p.Diff))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("the plan's diff: %w", err)
	}
	all := map[string]change{}
	for _, c := range doc.Changes {
		all[c.place()] = c
	}
	return all, nil
}

// show is a value in a message: short, and with nothing that a terminal would obey.
func show(v any) string {
	const most = 60
	if v == nil {
		return "nothing"
	}
	data, _ := json.Marshal(v) // what was decoded can be encoded
	text := []rune(strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, string(data)))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}
