package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Options say what a manifest does not.
type Options struct {
	Org, Space string         // where manifests that do not say belong
	OrgOrigin  string         // how messages name that place: "-o/-s", `target "shop-dev"`
	Vars       map[string]any // --var; wins over the files
	VarsFiles  []VarsFile     // later ones win
	Patches    []PatchFile    // laid over the manifests, in this order; see patch.go
	Apps       []string       // only these apps and what hangs on them; all if empty

	// Anywhere reads manifests that belong nowhere as well, for those who only want to look at them; such things then
	// live in the org and space [Nowhere].
	Anywhere bool
}

// Nowhere is the org and the space of what belongs nowhere, if Options.Anywhere lets that pass.
const Nowhere = "-"

// Load reads the manifests at path in files and returns what they declare and every problem found, all at
// once. The Set is complete only if Problems.Err is nil.
//
// A path that is a file is that manifest. Of a folder the manifest.yml (or manifest.yaml) counts if there is
// one; else, beneath it, orgs/ORG/SPACE/*.yml; else every *.yml and *.yaml directly in it, but for the vars files and
// patches that opts names and those that are named *.vars.yml or *.patch.yml, which may be another target's. A file may
// hold several documents. The org and the space of an app are what its document says in org: and space:, what
// the folders orgs/ORG/SPACE say, or what opts says, and two of them must not contradict each other.
//
// The bits of an app are what cf push would take: the manifest's path, relative to the manifest, or the
// manifest's own folder.
func Load(files fs.FS, path string, opts Options) (Set, Problems) {
	l := loader{files: files, opts: opts, apps: map[Ref]*Object{}, objects: map[Ref]*Object{}, sources: map[string][]byte{}, from: map[*yaml.Node]string{}}
	names := l.find(cleanPath(path))
	var varProblems Problems
	l.vars, varProblems = gather(opts.Vars, opts.VarsFiles)
	l.problems = append(l.problems, varProblems...)
	for _, name := range names {
		l.file(name)
	}
	if len(l.read) > 0 {
		l.patch()
	}
	for _, d := range l.read {
		d.declared()
	}
	for _, check := range l.checks {
		check()
	}
	if l.problems.Err() == nil && len(names) > 0 {
		l.problems = append(l.problems, l.vars.unused()...)
	}
	set := l.selectApps()
	l.problems = l.problems.sorted().once("missing-variable").atMost()
	for name, data := range l.sources {
		l.problems = l.problems.WithExcerpts(name, data)
	}
	return set, l.problems
}

func cleanPath(p string) string {
	p = path.Clean(strings.TrimPrefix(strings.ReplaceAll(p, "\\", "/"), "/"))
	if p == "" {
		return "."
	}
	return p
}

// loader collects what all documents of a load declare.
type loader struct {
	files       fs.FS
	opts        Options
	vars        variables
	read        []*document
	from        map[*yaml.Node]string // what comes from a patch → its file
	apps        map[Ref]*Object       // by the Ref with the name in lower case: the platform ignores case
	objects     map[Ref]*Object
	order       []*Object
	routeSpaces map[string]*Object // by the name of the route
	sources     map[string][]byte
	prunes      []Prune
	checks      []func() // what can only be checked when every document was read
	problems    Problems
}

func (l *loader) add(at Origin, rule, message, hint string) {
	l.problems = append(l.problems, Problem{Origin: at, Severity: SeverityError, Rule: rule, Message: message, Hint: hint})
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml")
}

// otherPurpose reports whether a file is by its name, or by the options, no manifest of its own.
func (l *loader) otherPurpose(name string) bool {
	base := strings.TrimSuffix(strings.TrimSuffix(name, ".yml"), ".yaml")
	return strings.HasSuffix(base, ".vars") || strings.HasSuffix(base, ".patch") ||
		slices.ContainsFunc(l.opts.VarsFiles, func(f VarsFile) bool { return cleanPath(f.Name) == name }) ||
		slices.ContainsFunc(l.opts.Patches, func(f PatchFile) bool { return cleanPath(f.Name) == name })
}

// find lists the manifest files at p.
func (l *loader) find(p string) []string {
	if !fs.ValidPath(p) {
		l.add(Origin{File: p}, "manifest-path", fmt.Sprintf("the path %s leads out of the repository", p), "")
		return nil
	}
	info, err := fs.Stat(l.files, p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.add(Origin{File: p}, "manifest-missing", fmt.Sprintf("there is no file or folder %s", p), l.neighbour(p))
		return nil
	case err != nil:
		l.add(Origin{File: p}, "manifest-unreadable", "the manifest cannot be read: "+plainError(err), "")
		return nil
	case !info.IsDir():
		return []string{p}
	}
	for i, name := range []string{"manifest.yml", "manifest.yaml"} {
		if info, err := fs.Stat(l.files, path.Join(p, name)); err == nil && !info.IsDir() {
			if other := path.Join(p, "manifest.yaml"); i == 0 {
				if _, err := fs.Stat(l.files, other); err == nil {
					l.problems = append(l.problems, Problem{
						Origin: Origin{File: other}, Severity: SeverityWarning, Rule: "manifest-ignored",
						Message: "this file is ignored, because manifest.yml stands beside it", Hint: "remove one of them",
					})
				}
			}
			return []string{path.Join(p, name)}
		}
	}
	if found := l.glob(path.Join(p, "orgs"), 2); len(found) > 0 {
		return found
	}
	found := l.glob(p, 0)
	if len(found) == 0 {
		hint := "expected manifest.yml, orgs/ORG/SPACE/*.yml, or other *.yml files in it"
		if deeper := l.deeper(p); len(deeper) > 0 {
			hint = "deeper down there is " + strings.Join(deeper, ", ") + ": name it, with -f, or with --path beside --git"
		}
		l.add(Origin{File: p}, "manifest-missing", fmt.Sprintf("the folder %s contains no manifest", p), hint)
	}
	return found
}

// deeper finds a few manifests up to three folders below dir, to say which may be meant.
func (l *loader) deeper(dir string) []string {
	const levels, enough = 3, 3
	var found []string
	_ = fs.WalkDir(l.files, dir, func(name string, e fs.DirEntry, err error) error { // it is only for a hint
		switch depth := strings.Count(name, "/") - strings.Count(dir, "/"); {
		case err != nil, len(found) == enough:
			return fs.SkipAll
		case e.IsDir() && (depth > levels || name != dir && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules")):
			return fs.SkipDir
		case !e.IsDir() && (e.Name() == "manifest.yml" || e.Name() == "manifest.yaml"):
			found = append(found, name)
		}
		return nil
	})
	return found
}

// glob lists the YAML files that lie depth folders below dir, without hidden ones and those that are no manifests.
func (l *loader) glob(dir string, depth int) []string {
	entries, err := fs.ReadDir(l.files, dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.add(Origin{File: dir}, "manifest-unreadable", "the folder cannot be read: "+plainError(err), "")
		}
		return nil
	}
	var found []string
	for _, e := range entries { // sorted by name
		name := path.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case depth > 0 && e.IsDir():
			found = append(found, l.glob(name, depth-1)...)
		case depth == 0 && !e.IsDir() && isYAML(e.Name()) && !l.otherPurpose(name):
			found = append(found, name)
		}
	}
	return found
}

func (l *loader) neighbour(p string) string {
	entries, _ := fs.ReadDir(l.files, path.Dir(p))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if near := nearest(path.Base(p), names); near != "" {
		return fmt.Sprintf("did you mean %s?", path.Join(path.Dir(p), near))
	}
	return ""
}

// plainError is the cause without the path, which the message already names.
func plainError(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

// file reads one manifest file.
func (l *loader) file(name string) {
	f, err := l.files.Open(name)
	if err != nil {
		l.add(Origin{File: name}, "manifest-unreadable", "the manifest cannot be read: "+plainError(err), "")
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > MaxFileSize {
		l.problems = append(l.problems, tooLarge(name, info.Size()))
		return
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		l.add(Origin{File: name}, "manifest-unreadable", "the manifest cannot be read: "+plainError(err), "")
		return
	}
	l.sources[name] = data
	docs, problems := parseYAML(name, data)
	l.problems = append(l.problems, problems...)
	if len(docs) == 0 && problems.Err() == nil {
		l.add(Origin{File: name, Line: 1, Column: 1}, "manifest-empty", "the manifest is empty", `expected "applications:" with a list of apps`)
	}
	for _, doc := range docs {
		l.read = append(l.read, l.newDocument(name, doc))
	}
}

// newDocument fills in the variables of a document.
func (l *loader) newDocument(file string, root *yaml.Node) *document {
	in := interpolate(file, root, l.vars)
	l.problems = append(l.problems, in.problems...)
	return &document{loader: l, file: file, root: root, secret: in.secret, open: in.open, standsFor: map[*yaml.Node]*yaml.Node{}}
}

// declared reads what a document declares, whatever its version.
func (d *document) declared() {
	doc := d.root
	if doc.Kind != yaml.MappingNode {
		d.bad(doc, "manifest-shape", `expected "applications:" with a list of apps, got `+kindOf(doc), "")
		return
	}
	switch version := childOf(doc, "version"); {
	case version == nil, version.Value == "1", d.open[version]:
		d.v1()
	case version.Value == "2":
		d.v2()
	default:
		d.bad(version, "version", "unsupported manifest version "+shorten(version.Value), "expected version: 2, version: 1, or no version at all, which means 1")
	}
}

// document is one manifest document while it is read.
type document struct {
	*loader
	file       string
	root       *yaml.Node
	secret     map[*yaml.Node]bool
	open       map[*yaml.Node]bool // values that are not known, because a variable is missing
	pointers   map[*yaml.Node]string
	standsFor  map[*yaml.Node]*yaml.Node // a node that was made → the one in the document
	org, space string
}

func (d *document) at(n *yaml.Node) Origin {
	return Origin{File: cmp.Or(d.from[n], d.file), Line: n.Line, Column: n.Column}
}

// lineOf names a place of the same file by its line, and one of a patch by all of it.
func (d *document) lineOf(n *yaml.Node) string {
	if d.from[n] != "" {
		return d.at(n).String()
	}
	return fmt.Sprintf("line %d", n.Line)
}

func (d *document) problem(n *yaml.Node, severity Severity, rule, message, hint string) {
	if len(d.problems) > 10*maxProblems {
		return
	}
	d.problems = append(d.problems, Problem{
		Origin: d.at(n), Severity: severity, Rule: rule, Pointer: d.pointer(n), Message: message, Hint: hint,
	})
}

func (d *document) bad(n *yaml.Node, rule, message, hint string) {
	d.problem(n, SeverityError, rule, message, hint)
}

func (d *document) warn(n *yaml.Node, rule, message, hint string) {
	d.problem(n, SeverityWarning, rule, message, hint)
}

// pointer says where in the document a node stands. The index is made when the first problem asks for it.
func (d *document) pointer(n *yaml.Node) string {
	if d.pointers == nil {
		d.pointers = map[*yaml.Node]string{}
		d.index(d.root, "")
	}
	if original := d.standsFor[n]; original != nil {
		n = original
	}
	return d.pointers[n]
}

func (d *document) index(n *yaml.Node, pointer string) {
	if _, known := d.pointers[n]; known {
		return
	}
	d.pointers[n] = pointer
	for i, c := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			d.index(c, fmt.Sprintf("%s/%d", pointer, i))
		case n.Kind == yaml.MappingNode && i%2 == 1:
			p := pointer + Pointer(n.Content[i-1].Value)
			if _, known := d.pointers[n.Content[i-1]]; !known {
				d.pointers[n.Content[i-1]] = p
			}
			d.index(c, p)
		}
	}
}

// place finds out which org and space the document's apps belong to.
func (d *document) place() bool {
	folderOrg, folderSpace := conventional(d.file)
	ok := true
	pick := func(what, key, folder, option string) string {
		type claim struct {
			name, by string
			at       *yaml.Node
		}
		var claims []claim
		if n := childOf(d.root, key); n != nil && n.Kind == yaml.ScalarNode && n.Tag == tagStr && n.Value != "" && !d.open[n] {
			claims = append(claims, claim{n.Value, fmt.Sprintf("%s: in %s", key, d.at(n)), n})
		} else if n != nil {
			ok = false // the schema or the interpolation said why
			return ""
		}
		if folder != "" {
			claims = append(claims, claim{folder, "the folder " + path.Dir(d.file), nil})
		}
		if option != "" {
			by := d.opts.OrgOrigin
			if by == "" {
				by = "the options"
			}
			claims = append(claims, claim{option, by, nil})
		}
		if len(claims) == 0 && d.opts.Anywhere {
			return Nowhere
		}
		if len(claims) == 0 {
			d.bad(d.root, what+"-missing", fmt.Sprintf("which %s these apps belong to is said nowhere", what),
				fmt.Sprintf("write %s: NAME at the top of the manifest, use -o and -s, or put the file into orgs/ORG/SPACE/", key))
			ok = false
			return ""
		}
		first := claims[0]
		for _, c := range claims[1:] {
			if c.name != first.name {
				at := d.root
				if first.at != nil {
					at = first.at
				}
				d.bad(at, what+"-conflict", fmt.Sprintf("two %ss for the same apps: %q by %s, %q by %s", what, first.name, first.by, c.name, c.by), "remove one of them, or make them the same")
				ok = false
			}
		}
		if strings.Contains(first.name, "/") {
			at := d.root
			if first.at != nil {
				at = first.at
			}
			d.bad(at, what+"-name", fmt.Sprintf("the %s name %q contains a /; Cloud Foundry allows that, Fettle does not yet, because / separates the parts of its own names", what, first.name), "")
			ok = false
		}
		return first.name
	}
	d.org = pick("org", "org", folderOrg, d.opts.Org)
	d.space = pick("space", "space", folderSpace, d.opts.Space)
	return ok
}

// conventional reads org and space out of …/orgs/ORG/SPACE/FILE.
func conventional(file string) (org, space string) {
	parts := strings.Split(file, "/")
	if n := len(parts); n >= 4 && parts[n-4] == "orgs" {
		return parts[n-3], parts[n-2]
	}
	return "", ""
}

// declare adds an object, or says that it is declared already.
func (d *document) declare(o *Object) {
	if d.objects[o.Ref] == nil {
		d.order = append(d.order, o)
	}
	d.objects[o.Ref] = o
}

// selectApps makes the Set, of all apps or of those that the options name.
func (l *loader) selectApps() Set {
	var set Set
	if len(l.opts.Apps) == 0 {
		for _, o := range l.order {
			if slices.ContainsFunc(l.prunes, func(p Prune) bool { return p.Space == o.Ref.Space() && p.Kind == o.Ref.Kind }) {
				o.Ownership[""] = Exact
			}
			set.Put(o)
		}
		for _, p := range l.prunes {
			set.MarkPrune(p)
		}
		return set
	}
	wanted := map[string]bool{}
	var names []string
	for _, o := range l.order {
		if o.Ref.Kind == KindApp {
			names = append(names, o.Ref.Name())
		}
	}
	for _, name := range l.opts.Apps {
		if wanted[name] = slices.Contains(names, name); !wanted[name] && l.problems.Err() == nil {
			hint := "the manifest declares " + strings.Join(names, ", ")
			if near := nearest(name, names); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			l.add(Origin{}, "unknown-app", fmt.Sprintf("no manifest declares the app %q", name), hint)
		}
	}
	for _, o := range l.order {
		switch o.Ref.Kind {
		case KindApp:
			if wanted[o.Ref.Name()] {
				set.Put(o)
			}
		case KindServiceBinding:
			if app, _ := o.Spec["app"].(string); wanted[app] {
				set.Put(o)
			}
		case KindRoute:
			o.Requires = slices.DeleteFunc(o.Requires, func(r Ref) bool { return r.Kind == KindApp && !wanted[r.Name()] })
			destinations, _ := o.Spec["destinations"].(map[string]any)
			for key := range destinations {
				if !wanted[key[:strings.LastIndexByte(key, '/')]] {
					delete(destinations, key)
				}
			}
			if len(destinations) > 0 {
				// The destinations of apps that were not asked for must not look as if Git had dropped them.
				if len(o.Ownership) > 0 {
					o.Ownership = map[string]Ownership{"": ThreeWay}
				}
				set.Put(o)
			}
		}
	}
	for _, o := range l.order { // and what they are bound to
		needed := func(other *Object) bool { return slices.Contains(other.Requires, o.Ref) }
		if o.Ref.Kind == KindServiceInstance && slices.ContainsFunc(set.Of(KindServiceBinding), needed) {
			set.Put(o)
		}
	}
	return set
}
