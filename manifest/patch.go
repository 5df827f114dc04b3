package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// A patch file says how one environment differs from the manifests it is laid over. It is a manifest itself, of the same
// version, that names only what is different. There is no templating: values that differ come from ((variables)), structure
// that differs comes from patches.
//
//   - Maps are merged, key by key. A text, a number or a boolean replaces what was there.
//   - null removes a key. (command: default asks for the detected command, as in any manifest.)
//   - Lists whose entries have a name are merged by it: apps, sidecars, services and service_instances by name, processes
//     by type, routes by their URL, destinations by app and process, service_bindings by what is bound to what, share_to by
//     org and space. An entry that is not there yet is added, but for apps: a patch that names an unknown app is refused.
//   - Every other list is replaced: buildpacks, process_types, tags.
//   - In a map, $patch: replace takes the map as it stands instead of merging it; as an entry of a list, the list.
//     $patch: delete removes the entry it stands in. Both are what Kubernetes calls a strategic merge patch.
//   - org: and space: do not place anything; they say that only the manifests of that place are patched.
//
// Patches are applied in order, later ones win, after variables were filled in and before anything is validated. So a
// patched manifest is held to all rules, and a path in a patch is relative to the manifest, not to the patch.

// PatchFile is a strategic patch, as the comment above describes it.
type PatchFile struct {
	Name string // for messages; inside of the snapshot its path
	Data []byte
}

// The directive of a patch, and what it may say.
const (
	directive       = "$patch"
	directiveDelete = "delete"
	directiveSwap   = "replace"
	directiveMerge  = "merge"
)

// identities are the lists below a map whose entries have an identity.
type identities map[string]identity

type identity struct {
	keys  []string // an entry's keys that make the identity, for people
	of    func(*yaml.Node) string
	below identities
}

// byKey identifies entries by one key.
func byKey(key string, below identities) identity {
	return identity{keys: []string{key}, below: below, of: func(n *yaml.Node) string {
		n = childOf(n, key)
		if n == nil || n.Kind != yaml.ScalarNode {
			return ""
		}
		if key == "route" || key == "url" {
			return routeIdentity(n.Value)
		}
		return n.Value
	}}
}

// byText identifies entries by one key, or by being nothing but a text.
func byText(key string) identity {
	id := byKey(key, nil)
	inMap := id.of
	id.of = func(n *yaml.Node) string {
		if n.Kind == yaml.ScalarNode {
			return n.Value
		}
		return inMap(n)
	}
	return id
}

// by identifies entries by several places in them, of which the first has to be there.
func by(keys []string, places ...[]string) identity {
	return identity{keys: keys, of: func(n *yaml.Node) string {
		parts := make([]string, len(places))
		for i, place := range places {
			if at := below(n, place...); at != nil && at.Kind == yaml.ScalarNode {
				parts[i] = at.Value
			}
		}
		if parts[0] == "" {
			return ""
		}
		return strings.Join(parts, "\x00")
	}}
}

func routeIdentity(text string) string {
	if url, err := ParseRoute(text); err == nil {
		return url.Name()
	}
	return strings.ToLower(text)
}

// patchable are the lists at the top of a document of each version.
var patchable = map[string]identities{
	"1": {"applications": byKey("name", identities{
		"processes": byKey("type", nil), "sidecars": byKey("name", nil), "routes": byKey("route", nil), "services": byText("name"),
	})},
	"2": {
		"apps":   byKey("name", identities{"processes": byKey("type", nil), "sidecars": byKey("name", identities{"processes": byKey("type", nil)})}),
		"routes": byKey("url", identities{"destinations": destinationIdentity()}),
		"service_instances": byKey("name", identities{
			"share_to": by([]string{"org", "space"}, []string{"org"}, []string{"space"}),
		}),
		"service_bindings": bindingIdentity(),
	},
}

// destinationIdentity takes a destination without a process for one of the process web, as the platform does.
func destinationIdentity() identity {
	id := by([]string{"app"}, []string{"app", "name"}, []string{"app", "process", "type"})
	plain := id.of
	id.of = func(n *yaml.Node) string {
		s := plain(n)
		if strings.HasSuffix(s, "\x00") {
			s += web
		}
		return s
	}
	return id
}

// bindingIdentity is the type, the instance, and what is bound to it: for an app the binding's own name is no part of it.
func bindingIdentity() identity {
	id := by([]string{"type", "service_instance", "app", "route"}, []string{"type"}, []string{"service_instance", "name"}, []string{"app", "name"})
	plain := id.of
	id.of = func(n *yaml.Node) string {
		s := plain(n)
		if s == "" {
			return ""
		}
		if url := below(n, "route", "url"); url != nil {
			s += routeIdentity(url.Value)
		}
		if name := childOf(n, "name"); name != nil && below(n, "type").Value == "key" {
			s += name.Value
		}
		return s
	}
	return id
}

// patch lays the patch files over the documents that were read.
func (l *loader) patch() {
	broken := l.problems.Err() != nil // then what is not there may only not have been read
	for _, f := range l.opts.Patches {
		l.sources[f.Name] = f.Data
		docs, problems := parseYAML(f.Name, f.Data)
		l.problems = append(l.problems, problems...)
		if len(docs) == 0 && problems.Err() == nil {
			l.problems = append(l.problems, Problem{
				Origin: Origin{File: f.Name, Line: 1, Column: 1}, Severity: SeverityWarning, Rule: "patch-empty", Message: "the patch is empty",
			})
		}
		for _, root := range docs {
			p := patch{document: l.newDocument(f.Name, root), broken: broken}
			p.mark(root)
			p.apply()
		}
	}
}

// patch is one document of a patch file while it is applied.
type patch struct {
	*document
	broken bool
	onto   *document // the document that is being patched
}

// mark notes that nodes come from the patch file.
func (p *patch) mark(n *yaml.Node) {
	if p.from[n] != "" {
		return
	}
	p.from[n] = p.file
	for _, c := range n.Content {
		p.mark(c)
	}
}

func (p *patch) apply() {
	if p.root.Kind != yaml.MappingNode {
		p.bad(p.root, "patch-shape", "expected a manifest with what is different, got "+kindOf(p.root), "write it as the manifest it patches, with fewer keys")
		return
	}
	version := "1"
	if at := childOf(p.root, "version"); at != nil {
		version = at.Value
	}
	lists := patchable[version]
	if lists == nil {
		p.bad(childOf(p.root, "version"), "version", "unsupported manifest version "+shorten(version), "expected version: 2, version: 1, or no version at all, which means 1")
		return
	}
	documents := p.documents(version)
	for i := 0; i+1 < len(p.root.Content); i += 2 {
		key, value := p.root.Content[i], p.root.Content[i+1]
		id, isList := lists[key.Value]
		switch {
		case isList && value.Kind == yaml.SequenceNode:
			p.top(documents, key, value, id, version)
		case isList:
			p.bad(value, "type", fmt.Sprintf("%s: expected a list, got %s", key.Value, kindOf(value)), "")
		case key.Value == "meta" && version == "2":
			for _, d := range documents {
				p.onto = d
				d.root = p.merge(d.root, &yaml.Node{Kind: yaml.MappingNode, Line: key.Line, Column: key.Column, Content: []*yaml.Node{key, value}}, nil)
			}
		case slices.Contains([]string{"version", "org", "space"}, key.Value), strings.HasPrefix(key.Value, "x-"), anchored(value, map[*yaml.Node]bool{}):
		default:
			p.unknownList(key, version)
		}
	}
}

func (p *patch) unknownList(key *yaml.Node, version string) {
	var known []string
	for _, k := range []string{"applications", "apps", "routes", "service_instances", "service_bindings"} {
		if _, ok := patchable[version][k]; ok {
			known = append(known, k)
		}
	}
	hint := "a patch of version " + version + " has the keys " + strings.Join(append(known, "org", "space"), ", ")
	if _, ok := patchable["2"][key.Value]; ok && version == "1" {
		hint = "this is a key of version 2: write version: 2 at the top of the patch"
	} else if near := nearest(key.Value, known); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	p.bad(key, "unknown-field", fmt.Sprintf("unknown key %q in a patch", shorten(key.Value)), hint)
}

// documents are those that the patch speaks of: of its version, and of its org and space if it names them.
func (p *patch) documents(version string) []*document {
	var all []*document
	for _, d := range p.read {
		if d.root.Kind != yaml.MappingNode {
			continue
		}
		has := "1"
		if at := childOf(d.root, "version"); at != nil {
			has = at.Value
		}
		matches := has == version
		for key, is := range d.claimed() {
			if at := childOf(p.root, key); at != nil && at.Value != is {
				matches = false
			}
		}
		if matches {
			all = append(all, d)
		}
	}
	return all
}

// claimed are the org and the space that the document will most likely turn out to belong to; place says what is wrong.
func (d *document) claimed() map[string]string {
	org, space := conventional(d.file)
	text := func(key string) string {
		if n := childOf(d.root, key); n != nil {
			return n.Value
		}
		return ""
	}
	return map[string]string{"org": cmp.Or(text("org"), org, d.opts.Org), "space": cmp.Or(text("space"), space, d.opts.Space)}
}

// top lays a list at the top of the patch over the same list of every document.
func (p *patch) top(documents []*document, key, list *yaml.Node, id identity, version string) {
	found := map[*yaml.Node]bool{}
	for _, d := range documents {
		base := childOf(d.root, key.Value)
		if base == nil || base.Kind != yaml.SequenceNode {
			continue
		}
		p.onto = d
		merged := p.entries(base, list, id, found)
		d.root = d.copyOf(d.root)
		for i := 0; i+1 < len(d.root.Content); i += 2 {
			if d.root.Content[i].Value == key.Value {
				d.root.Content[i+1] = merged
			}
		}
	}
	for _, entry := range list.Content {
		switch {
		case found[entry] || p.broken || directiveIn(entry) == directiveSwap && id.of(entry) == "":
		case id.of(entry) == "":
			p.unnamed(entry, id)
		case key.Value == "applications" || key.Value == "apps":
			p.unknownApp(entry, version)
		case directiveIn(entry) == directiveDelete:
			p.bad(entry, "patch-target", fmt.Sprintf("there is nothing to delete: no manifest has this entry under %s", key.Value), "")
		default:
			p.add(documents, key, entry, id)
		}
	}
}

// add puts a new entry into the first of the documents, if it is clear to which space it belongs.
func (p *patch) add(documents []*document, key, entry *yaml.Node, id identity) {
	if len(documents) == 0 {
		p.bad(entry, "patch-target", "there is no manifest of version 2 that this could be added to", "")
		return
	}
	first := documents[0]
	for _, d := range documents[1:] {
		if a, b := first.claimed(), d.claimed(); a["org"] != b["org"] || a["space"] != b["space"] {
			p.bad(entry, "patch-target", fmt.Sprintf("it is not clear which space this belongs to: there are manifests of %s/%s and of %s/%s", a["org"], a["space"], b["org"], b["space"]),
				"write org: and space: at the top of the patch, which then speaks of that space alone")
			return
		}
	}
	p.onto = first
	list := childOf(first.root, key.Value)
	if list != nil && list.Kind != yaml.SequenceNode {
		return // what is wrong with it is said later
	}
	if list == nil {
		list = p.empty(yaml.SequenceNode, key)
		first.root = first.copyOf(first.root)
		first.root.Content = append(first.root.Content, key, list)
	}
	list.Content = append(list.Content, p.fresh(entry, id.below)) // a list that was merged is ours already
}

func (p *patch) unnamed(entry *yaml.Node, id identity) {
	if entry.Kind != yaml.MappingNode {
		p.bad(entry, "type", fmt.Sprintf("expected a map with the key %s, got %s", id.keys[0], kindOf(entry)), "")
		return
	}
	p.bad(entry, "required", fmt.Sprintf("the key %s is missing; it says which entry is patched", id.keys[0]), "")
}

// unknownApp says that no manifest declares the app, and what may have been meant.
func (p *patch) unknownApp(entry *yaml.Node, version string) {
	at := entry
	if n := childOf(entry, "name"); n != nil {
		at = n
	}
	var names []string
	for _, d := range p.read {
		for v, key := range map[string]string{"1": "applications", "2": "apps"} {
			list := below(d.root, key)
			if list == nil {
				continue
			}
			for _, app := range list.Content {
				name := childOf(app, "name")
				if name == nil {
					continue
				}
				if name.Value == at.Value && v != version {
					p.bad(at, "unknown-app", fmt.Sprintf("the app %s is declared by a manifest of version %s, at %s, and this patch is of version %s", shorten(at.Value), v, d.at(name), version), fmt.Sprintf("write the patch with version: %s", v))
					return
				}
				if name.Value == at.Value {
					p.bad(at, "unknown-app", fmt.Sprintf("the app %s is declared at %s, and not in the org and the space that the patch names", shorten(at.Value), d.at(name)), "correct org: and space: of the patch, or remove them")
					return
				}
				names = append(names, name.Value)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	hint := "a patch changes apps that a manifest declares; it adds none"
	if near := nearest(at.Value, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	} else if len(names) > 0 && len(names) <= 10 {
		hint = "the manifests declare " + strings.Join(names, ", ")
	}
	p.bad(at, "unknown-app", fmt.Sprintf("no manifest declares the app %s that is patched here", shorten(at.Value)), hint)
}

// copyOf is a copy of a map or a list that may be changed: what aliases share stays as it is elsewhere.
func (d *document) copyOf(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = slices.Clone(n.Content)
	if d.secret[n] {
		d.secret[&c] = true
	}
	if d.open[n] {
		d.open[&c] = true
	}
	if from := d.from[n]; from != "" {
		d.from[&c] = from
	}
	return &c
}

// empty is a map or a list without anything in it that stands where n stands in the patch.
func (p *patch) empty(kind yaml.Kind, n *yaml.Node) *yaml.Node {
	c := &yaml.Node{Kind: kind, Line: n.Line, Column: n.Column}
	p.from[c] = p.file
	return c
}

// fresh is what the patch says where the manifest says nothing.
func (p *patch) fresh(n *yaml.Node, lists identities) *yaml.Node {
	if n.Kind == yaml.MappingNode {
		return p.merge(p.empty(yaml.MappingNode, n), n, lists)
	}
	if p.secret[n] {
		p.onto.secret[n] = true
	}
	if p.open[n] {
		p.onto.open[n] = true
	}
	for _, c := range n.Content {
		p.fresh(c, nil)
	}
	return n
}

// merge lays a value of the patch over one of the manifest. lists are the lists below them that have an identity.
func (p *patch) merge(base, over *yaml.Node, lists identities) *yaml.Node {
	if over.Kind != yaml.MappingNode || base.Kind != yaml.MappingNode {
		return p.fresh(over, lists)
	}
	if directiveIn(over) == directiveSwap && len(base.Content) > 0 {
		base = p.empty(yaml.MappingNode, over)
	}
	out := p.onto.copyOf(base)
	if p.secret[over] {
		p.onto.secret[out] = true
	}
	at := make(map[string]int, len(out.Content)/2)
	for i := 0; i+1 < len(out.Content); i += 2 {
		at[out.Content[i].Value] = i
	}
	var removed []int
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		if key.Value == directive {
			p.checkDirective(value)
			continue
		}
		j, there := at[key.Value]
		if other := otherSpelling(key.Value); !there && lists != nil && other != key.Value {
			j, there = at[other]
		}
		id, keyed := lists[key.Value]
		switch {
		case value.Kind == yaml.ScalarNode && value.Tag == tagNull && !p.open[value]:
			if !there {
				p.nothingToRemove(key, out)
				continue
			}
			removed = append(removed, j)
		case keyed && value.Kind == yaml.SequenceNode:
			list := p.empty(yaml.SequenceNode, value)
			if there && out.Content[j+1].Kind == yaml.SequenceNode {
				list = out.Content[j+1]
			}
			if list = p.entries(list, value, id, nil); there {
				out.Content[j+1] = list
			} else {
				out.Content = append(out.Content, key, list)
			}
		case !there:
			out.Content = append(out.Content, key, p.fresh(value, nil))
		case value.Kind == yaml.MappingNode && out.Content[j+1].Kind == yaml.MappingNode:
			out.Content[j+1] = p.merge(out.Content[j+1], value, nil)
		default:
			out.Content[j], out.Content[j+1] = key, p.fresh(value, nil)
		}
	}
	slices.Sort(removed)
	for _, j := range slices.Backward(slices.Compact(removed)) {
		out.Content = slices.Delete(out.Content, j, j+2)
	}
	return out
}

// otherSpelling is how else the controller lets a setting be written: disk_quota and disk-quota.
func otherSpelling(key string) string {
	if strings.Contains(key, "-") {
		return strings.ReplaceAll(key, "-", "_")
	}
	return strings.ReplaceAll(key, "_", "-")
}

func (p *patch) nothingToRemove(key, in *yaml.Node) {
	var names []string
	for i := 0; i+1 < len(in.Content); i += 2 {
		names = append(names, in.Content[i].Value)
	}
	hint := "null removes a key from the manifest; remove this line"
	if near := nearest(key.Value, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	} else if key.Value == "command" {
		hint = "write command: default for the command that is detected"
	}
	p.bad(key, "patch-target", fmt.Sprintf("there is no %s in the manifest that could be removed", shorten(key.Value)), hint)
}

// entries lays a list of the patch over one whose entries have an identity. With found, entries that are new are left to
// the caller; without, they are added.
func (p *patch) entries(base, over *yaml.Node, id identity, found map[*yaml.Node]bool) *yaml.Node {
	out := p.onto.copyOf(base)
	if slices.ContainsFunc(over.Content, func(e *yaml.Node) bool { return directiveIn(e) == directiveSwap && id.of(e) == "" }) {
		out = p.empty(yaml.SequenceNode, over)
	}
	at := make(map[string]int, len(out.Content))
	for i, e := range out.Content {
		if name := id.of(e); name != "" {
			at[name] = i
		}
	}
	removed := map[int]bool{}
	for _, entry := range over.Content {
		name, what := id.of(entry), directiveIn(entry)
		i, there := at[name]
		switch {
		case name == "" && what == directiveSwap:
		case name == "" && found == nil:
			p.unnamed(entry, id)
		case there && what == directiveDelete:
			removed[i] = true
		case there && what == directiveSwap:
			out.Content[i] = p.fresh(entry, id.below)
		case there && entry.Kind == yaml.MappingNode:
			out.Content[i] = p.merge(out.Content[i], p.without(entry, id.keys, out.Content[i]), id.below)
		case !there && found == nil && what == directiveDelete:
			p.bad(entry, "patch-target", "there is nothing to delete: the manifest has no such entry", p.similar(out, entry, id))
		case !there && found == nil:
			out.Content = append(out.Content, p.fresh(entry, id.below))
		}
		if found != nil && there {
			found[entry] = true
		}
	}
	kept := out.Content[:0:0]
	for i, e := range out.Content {
		if !removed[i] {
			kept = append(kept, e)
		}
	}
	out.Content = kept
	return out
}

func (p *patch) similar(list, entry *yaml.Node, id identity) string {
	var names []string
	for _, e := range list.Content {
		if name := id.of(e); !strings.Contains(name, "\x00") {
			names = append(names, name)
		}
	}
	if near := nearest(id.of(entry), names); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return ""
}

// without is an entry without what only says which entry is meant, so that this keeps its place in the manifest.
func (p *patch) without(entry *yaml.Node, keys []string, base *yaml.Node) *yaml.Node {
	if base.Kind != yaml.MappingNode { // services: [db] has no place for it
		return entry
	}
	c := *entry
	c.Content = nil
	for i := 0; i+1 < len(entry.Content); i += 2 {
		if !slices.Contains(keys, entry.Content[i].Value) {
			c.Content = append(c.Content, entry.Content[i], entry.Content[i+1])
		}
	}
	return &c
}

func directiveIn(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return ""
	}
	if at := childOf(n, directive); at != nil {
		return at.Value
	}
	return ""
}

func (p *patch) checkDirective(n *yaml.Node) {
	known := []string{directiveDelete, directiveSwap, directiveMerge}
	if !slices.Contains(known, n.Value) {
		hint := ""
		if near := nearest(n.Value, known); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		p.bad(n, "patch-directive", fmt.Sprintf("%s: expected one of %s, got %s", directive, strings.Join(known, ", "), describe(n)), hint)
	} else if n.Value == directiveDelete {
		p.bad(n, "patch-directive", "$patch: delete removes an entry of a list that has names", "to remove a key of a map, write null as its value")
	}
}
