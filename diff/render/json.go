package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// The JSON document, described in schemas/diff.schema.json. Fields are added, never renamed or removed,
// while Version stays.
type document struct {
	Version    int                   `json:"version"`
	Title      string                `json:"title,omitempty"`
	Target     string                `json:"target,omitempty"`
	Revision   string                `json:"revision,omitempty"`
	Desired    map[manifest.Kind]int `json:"desired"`
	Summary    summary               `json:"summary"`
	Changes    []change              `json:"changes"`
	Unobserved []unobserved          `json:"unobserved"`
	Unmanaged  []ref                 `json:"unmanaged"`
	Problems   []problem             `json:"problems"`
	Ignored    []ignored             `json:"ignored,omitempty"`
	Expired    []ignored             `json:"expired,omitempty"`
	Idle       []diff.IdleRule       `json:"idle_rules,omitempty"`
	ServerSide *opinion              `json:"server_side,omitempty"`
}

type summary struct {
	Text string `json:"text"`
	diff.Summary
}

type ref struct {
	Kind manifest.Kind `json:"kind"`
	Path string        `json:"path"`
}

type change struct {
	Ref     ref             `json:"ref"`
	Op      diff.Op         `json:"op"`
	Path    string          `json:"path"`
	Was     *any            `json:"was,omitempty"`   // present for update and remove
	Value   *any            `json:"value,omitempty"` // present for add and update
	Secret  bool            `json:"secret,omitempty"`
	Secrets []string        `json:"secrets,omitempty"`
	Origin  manifest.Origin `json:"origin,omitzero"`
	Impact  diff.Impact     `json:"impact"`
	Reason  string          `json:"reason,omitempty"`
}

type unobserved struct {
	Ref    ref             `json:"ref"`
	Path   string          `json:"path"`
	Why    string          `json:"why"`
	Origin manifest.Origin `json:"origin,omitzero"`
}

type problem struct {
	Severity manifest.Severity `json:"severity"`
	Ref      *ref              `json:"ref,omitempty"` // nothing: the plan as a whole
	Message  string            `json:"message"`
	Hint     string            `json:"hint,omitempty"`
	Origin   manifest.Origin   `json:"origin,omitzero"`
}

type ignored struct {
	change
	Rule diff.IgnoreRule `json:"rule"`
}

func newChange(c diff.Change) change {
	was, value := values(c)
	return change{ref(c.Ref), c.Op, c.Path, was, value, c.Secret, c.Secrets, c.Origin, c.Impact, c.Reason}
}

// JSON writes one document for programs.
func JSON(w io.Writer, in Input) error {
	s := in.Changes.Summary()
	doc := document{
		Version: 1, Title: in.Title, Target: in.Target, Revision: in.Revision, Desired: in.Desired,
		Summary: summary{s.String(), s}, Changes: []change{}, Unobserved: []unobserved{}, Unmanaged: []ref{},
		Problems: []problem{}, ServerSide: opinionDocument(in.Opinion),
	}
	if doc.Desired == nil {
		doc.Desired = map[manifest.Kind]int{}
	}
	for _, c := range in.changes() {
		doc.Changes = append(doc.Changes, newChange(c))
	}
	for _, i := range in.ignored() {
		doc.Ignored = append(doc.Ignored, ignored{newChange(i.Change), i.Rule})
	}
	for _, e := range in.expired() {
		doc.Expired = append(doc.Expired, ignored{newChange(e.Change), e.Rule})
	}
	doc.Idle = in.Changes.Idle
	for _, u := range in.unobserved() {
		doc.Unobserved = append(doc.Unobserved, unobserved{ref(u.Ref), u.Path, u.Why, u.Origin})
	}
	for _, r := range in.unmanaged() {
		doc.Unmanaged = append(doc.Unmanaged, ref(r))
	}
	for _, p := range in.Problems {
		doc.Problems = append(doc.Problems, problem{p.Severity, (*ref)(p.Ref), p.Message, p.Hint, p.Origin})
	}
	return writeJSON(w, doc)
}

// V3 writes the diff object of the V3 API ("Create a manifest diff for a space"): op, path, was, value. Where the
// API counts applications by position, the path here begins with the kind and the name of the resource:
// /app/acme~1dev~1web/processes/web/instances. What is ignored or unmanaged stands beside it when asked for.
func V3(w io.Writer, in Input, opts Options) error {
	doc := struct {
		Diff      []object `json:"diff"`
		Ignored   []object `json:"ignored,omitempty"`
		Unmanaged []string `json:"unmanaged,omitempty"`
	}{Diff: []object{}}
	for _, c := range in.changes() {
		doc.Diff = append(doc.Diff, newObject(c))
	}
	if opts.Ignored {
		for _, i := range in.ignored() {
			doc.Ignored = append(doc.Ignored, newObject(i.Change))
		}
	}
	if opts.Unmanaged {
		for _, r := range in.unmanaged() {
			doc.Unmanaged = append(doc.Unmanaged, manifest.Pointer(string(r.Kind), r.Path))
		}
	}
	return writeJSON(w, doc)
}

// object is one difference as the V3 API tells it.
type object struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Was   *any   `json:"was,omitempty"`
	Value *any   `json:"value,omitempty"`
}

func newObject(c diff.Change) object {
	op := string(c.Op)
	if c.Op == diff.Update {
		op = "replace" // as JSON Patch says it
	}
	was, value := values(c)
	return object{op, manifest.Pointer(string(c.Ref.Kind), c.Ref.Path) + c.Path, was, value}
}

// values are what op has: a removal has no value, an addition nothing that was.
func values(c diff.Change) (was, value *any) {
	if c.Op != diff.Add {
		was = &c.Was
	}
	if c.Op != diff.Remove {
		value = &c.Value
	}
	return was, value
}

// writeJSON leaves &, < and > readable, and spells out what a terminal would obey: encoding/json does so only
// for the control characters below U+0020.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range b.String() {
		if r != '\n' && invisible(r) { // only ever inside of a string
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
			continue
		}
		out.WriteRune(r)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
