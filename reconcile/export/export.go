// Package export writes live state as manifests that declare it, so that comparing them with that state finds nothing: the
// way from a foundation into Git. It writes text and decides what becomes of secrets; it reads no platform and no file.
//
// # What an export cannot hold
//
// Code: apps of files are declared without any, and what they run stays as it is. Version 1 always means some code, and an app
// that is started; there the setting ignore leaves alone what the export does not know. Parameters, passwords of registries
// and the like, which no platform gives back. What a version has no word for. Comments in the manifest name all of it.
//
// # Secrets
//
// What is secret, or looks so, becomes a ((variable)), named after what it belongs to: ((shop_db_password)). The values
// are in [Export.Variables], apart from the manifests. A text that itself holds something like ((this)) becomes one, too,
// since variables are not replaced in values of variables.
package export

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Options say how live state is written.
type Options struct {
	Version int    // of the manifests: 1 or 2
	From    string // the foundation, for the comments

	// SpaceNames has the names of variables begin with that of their space: for what is exported together, and may have
	// a db_password in each.
	SpaceNames bool
}

// Export is live state as manifests.
type Export struct {
	Manifests []Manifest // in the order of the spaces
	Variables []Variable // in the order in which the manifests mention them
}

// Manifest is the manifest of one space.
type Manifest struct {
	Space string // "ORG/SPACE"
	Text  []byte
}

// New writes the live objects of the spaces.
func New(obs platform.Observation, spaces []string, opts Options) (Export, error) {
	var e Export
	names := map[string]bool{}
	for _, space := range spaces {
		w := &writer{opts: opts, export: &e, names: names, comments: map[manifest.Ref][]string{}}
		if opts.SpaceNames {
			_, w.prefix, _ = strings.Cut(space, "/")
		}
		var objects []*manifest.Object
		for _, o := range obs.Live.Objects() {
			if o.Ref.Space() == space && (opts.Version == 2 || w.fits1(o)) {
				objects = append(objects, w.declare(o))
			}
		}
		write := w.version2
		if opts.Version == 1 {
			write = w.version1
		}
		doc, err := write(objects)
		if err != nil {
			return Export{}, fmt.Errorf("exporting %s: %w", space, err)
		}
		text := bytes.NewBufferString(w.head(space))
		encoder := yaml.NewEncoder(text)
		encoder.SetIndent(2)
		if err := encoder.Encode(doc); err != nil {
			return Export{}, fmt.Errorf("exporting %s: %w", space, err)
		}
		e.Manifests = append(e.Manifests, Manifest{Space: space, Text: text.Bytes()})
	}
	return e, nil
}

// writer makes the manifest of one space.
type writer struct {
	opts     Options
	prefix   string // of variables
	export   *Export
	names    map[string]bool           // of variables so far
	comments map[manifest.Ref][]string // what is said above an entry
	left     []string                  // what is said at the top, because there is no entry
}

func (w *writer) note(ref manifest.Ref, format string, args ...any) {
	w.comments[ref] = append(w.comments[ref], fmt.Sprintf(format, args...))
}

// head tells readers what they have before them. It names no time: the same state is the same text.
func (w *writer) head(space string) string {
	lines := []string{
		"Exported by fettle from the space " + space + " of " + w.opts.From + ".",
		"Code is not exported: apps keep what they run, until a path is given.",
		"What the API does not tell is missing: parameters of services, credentials of registries.",
	}
	return comment(append(lines, w.left...)) + "\n"
}

// comment writes lines as YAML comments, without the control characters that a name or a reason may hold.
func comment(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("# " + strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
				return ' '
			}
			return r
		}, line))
	}
	return b.String()
}

// declare makes of a live object the one that declares it.
func (w *writer) declare(live *manifest.Object) *manifest.Object {
	o := &manifest.Object{Ref: live.Ref, Inputs: maps.Clone(live.Inputs), Settings: live.Settings, Secrets: live.Secrets}
	if o.Inputs == nil {
		o.Inputs = map[string]any{}
	}
	o.Spec = map[string]any{}
	for key, v := range live.Spec {
		if v = said(v, collections[key]); v != nil {
			o.Spec[key] = v
		}
	}
	switch o.Ref.Kind {
	case manifest.KindServiceInstance:
		if c, _ := live.Spec["credentials"].(map[string]any); len(c) > 0 {
			o.Spec["credentials"] = c // an empty one among them says something
		}
	case manifest.KindApp:
		w.code(o)
		if r := o.Spec["rollout"]; r != "complete" {
			w.note(o.Ref, "When this was written, its rollout was: %v.", r)
		}
	case manifest.KindRoute:
		if o.Spec["destinations"] == nil {
			o.Spec["destinations"] = map[string]any{} // that it leads nowhere is worth saying
		}
		if o.Inputs["shared"] == true {
			w.note(o.Ref, "It belongs to another space, which shares it.")
		}
	}
	for _, pointer := range slices.Sorted(maps.Keys(live.Unobservable)) {
		w.note(o.Ref, "Could not be read: %s (%s).", cmp.Or(strings.TrimPrefix(pointer, "/"), "most of it"), live.Unobservable[pointer])
		if keys := manifest.SplitPointer(pointer); len(keys) > 0 {
			remove(o.Spec, keys)
		}
	}
	if w.opts.Version == 1 {
		w.fit1(o)
	}
	w.hide(o)
	return o
}

// code leaves out which files an app runs, for no manifest could name them.
func (w *writer) code(o *manifest.Object) {
	pkg, _ := o.Spec["package"].(map[string]any)
	lifecycle, _ := o.Spec["lifecycle"].(map[string]any)
	delete(o.Spec, "droplet")
	switch {
	case pkg["type"] == "docker" && pkg["image"] != nil:
		if pkg["username"] != nil && w.opts.Version == 2 {
			o.Inputs["docker_password"] = w.variable(o.Ref, []string{"docker_password"}, nil)
		}
	case lifecycle["type"] == "docker":
		w.note(o.Ref, "It never had an image that could be read; give it one: package: {docker: {image: …}}")
		delete(o.Spec, "lifecycle")
		delete(o.Spec, "package")
	default:
		delete(o.Spec, "package")
	}
	if lifecycle["type"] == "cnb" {
		w.note(o.Ref, "Credentials for the registries of its buildpacks are not exported.")
	}
}

// collections have elements that are there even if nothing is said of them.
var collections = map[string]bool{"processes": true, "sidecars": true, "destinations": true, "share_to": true}

// said copies a tree without what says nothing: nil, and what is empty, but for elements of a collection.
func said(v any, collection bool) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, child := range v {
			if c := said(child, false); c != nil {
				m[k] = c
			} else if collection {
				m[k] = map[string]any{}
			}
		}
		if len(m) == 0 {
			return nil
		}
		return m
	case []any:
		if len(v) == 0 {
			return nil
		}
		return slices.Clone(v)
	}
	return v
}

// remove takes the value at keys out of a tree.
func remove(tree map[string]any, keys []string) {
	for _, k := range keys[:len(keys)-1] {
		tree, _ = tree[k].(map[string]any)
	}
	delete(tree, keys[len(keys)-1])
}
