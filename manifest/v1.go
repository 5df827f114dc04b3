package manifest

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/schemas"
)

// v1 reads a document of version 1, the manifest.yml of cf push, into canonical objects.
//
// The schema finds what is wrong with the shape of a value; the functions here then read what has the
// right shape, skip the rest in silence, and find what no schema can say.
func (d *document) v1() {
	schema, err := schemas.Compile("manifest-v1")
	if err != nil { // an embedded file: the build is broken
		d.bad(d.root, "schema", err.Error(), "")
		return
	}
	if childOf(d.root, "_schema-version") != nil && childOf(d.root, "applications") == nil {
		d.bad(d.root, "manifest-shape", "this is a descriptor of a multi-target application, not an app manifest", "`cf deploy` of the MultiApps plugin reads it; name the app manifest with -f")
		return
	}
	d.dropDefinitions("version", "applications", "org", "space")
	check := schemaCheck{file: d.file, from: d.from, secret: d.secret, skip: d.open}
	problems := check.validate(d.root, schema)
	apps := childOf(d.root, "applications")
	some := apps != nil && apps.Kind == yaml.SequenceNode && len(apps.Content) > 0
	placed := some && d.place()
	for _, p := range problems {
		d.problems = append(d.problems, d.inContext(p, apps))
	}
	if !placed {
		return
	}
	for _, app := range apps.Content {
		if app.Kind == yaml.MappingNode {
			d.app(app)
		}
	}
}

// dropDefinitions takes away top-level keys that only hold what aliases refer to, as many manifests have
// them above their applications. The controller ignores such keys.
func (d *document) dropDefinitions(known ...string) {
	var content []*yaml.Node
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		key, value := d.root.Content[i], d.root.Content[i+1]
		if slices.Contains(known, key.Value) || !anchored(value, map[*yaml.Node]bool{}) {
			content = append(content, key, value)
		}
	}
	d.root.Content = content
}

func anchored(n *yaml.Node, seen map[*yaml.Node]bool) bool {
	if n.Anchor != "" {
		return true
	}
	if len(n.Content) > 0 && seen[n] {
		return false
	}
	seen[n] = true
	return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return anchored(c, seen) })
}

// appKeys are the keys that an application may have, out of the schema.
var appKeys = sync.OnceValue(func() map[string]bool {
	keys := map[string]bool{}
	properties, _, _ := schemas.Keyword("manifest-v1.schema.json#/$defs/application/properties")
	m, _ := properties.(map[string]any)
	for k := range m {
		keys[k] = true
	}
	return keys
})

// Keys that cf push read once, or that people write in the wrong place, and what to write instead.
var formerAppKeys = map[string]string{
	"host":                  "write routes: with - route: HOST.DOMAIN",
	"hosts":                 "write routes: with - route: HOST.DOMAIN for each host",
	"domain":                "write routes: with - route: HOST.DOMAIN",
	"domains":               "write routes: with - route: HOST.DOMAIN for each domain",
	"no-hostname":           "write routes: with - route: DOMAIN",
	"inherit":               "put what is shared under a key x-common: &common and write <<: *common in each app",
	"health-check-timeout":  "write timeout: SECONDS (for the start) or health-check-invocation-timeout: SECONDS (for one check)",
	"user":                  "the user belongs to a process: write processes: with - type: web and user: NAME",
	"org":                   "write org: at the top of the manifest, beside applications:",
	"space":                 "write space: at the top of the manifest, beside applications:",
	"labels":                "write metadata: with labels: in it",
	"annotations":           "write metadata: with annotations: in it",
	"package":               "write path: FOLDER, or docker: with image: (version 2 calls it package, and begins with version: 2)",
	"environment":           "write env:",
	"environment_variables": "write env: (version 2 calls it environment_variables)",
	"services_url":          "write services:",
	"disk":                  "write disk_quota:",
	"hostname":              "write routes: with - route: HOST.DOMAIN",
	"url":                   "write routes: with - route: HOST.DOMAIN",
	"urls":                  "write routes: with - route: HOST.DOMAIN for each of them",
	"route":                 "write routes: with - route: HOST.DOMAIN, or random-route: true",
}

// inContext adds to what the schema says what it means in a manifest: the app, old keys, the way to write it.
func (d *document) inContext(p Problem, apps *yaml.Node) Problem {
	keys := SplitPointer(p.Pointer)
	if len(keys) == 0 {
		return p
	}
	if len(keys) == 1 && p.Rule == "unknown-field" {
		switch key := keys[0]; {
		case key == "declared-services": // IBM's pipelines made these services; cf push never read it
			p.Rule, p.Message, p.Hint = "former-key", "declared-services has no effect in Cloud Foundry", "create the services before (cf create-service), name them under services: in each app, and remove this"
		case key == "apiVersion" && childOf(d.root, "kind") != nil:
			p.Hint = "this is a manifest of Kubernetes, not of Cloud Foundry"
		case key == "inherit":
			p.Rule, p.Message, p.Hint = "former-key", "inherit is no longer read", "write one manifest, or pass what differs as ((variables))"
		case slices.Contains([]string{"apps", "meta", "service_instances", "service_bindings"}, key), key == "routes" && apps == nil:
			p.Hint = "this is a key of version 2: write version: 2 at the top"
		case (appKeys()[key] || formerAppKeys[key] != "") && apps == nil:
			p.Hint = "this belongs to an app: write applications: with - name: NAME, and this below the name"
		case appKeys()[key] || formerAppKeys[key] != "":
			p.Rule, p.Message = "former-key", fmt.Sprintf("%s beside applications: is no longer read", key)
			p.Hint = fmt.Sprintf("write it in each app, or share it: x-common: &common with %s: in it, and <<: *common in each app", key)
		}
		return p
	}
	if keys[0] != "applications" || len(keys) < 2 || apps == nil {
		return p
	}
	app := childOf(apps, keys[1])
	if app == nil {
		return p
	}
	if name := childOf(app, "name"); name != nil && name.Kind == yaml.ScalarNode && name.Value != "" && !d.secret[name] {
		p.Message = strings.TrimPrefix(p.Message, "applications["+keys[1]+"]: ")
		p.Message = fmt.Sprintf("app %s: %s", shorten(name.Value), p.Message)
		if d.org != "" && d.space != "" {
			p.Ref = &Ref{Kind: KindApp, Path: d.org + "/" + d.space + "/" + name.Value}
		}
	}
	at, _ := (&schemaCheck{doc: d.root}).find(p.Pointer)
	switch {
	case len(keys) == 3 && p.Rule == "unknown-field" && formerAppKeys[keys[2]] != "":
		p.Rule, p.Hint = "former-key", formerAppKeys[keys[2]]
		switch keys[2] {
		case "host", "domain", "hosts", "domains", "no-hostname", "inherit":
			p.Message = strings.Replace(p.Message, fmt.Sprintf("unknown key %q", keys[2]), keys[2]+" is no longer read", 1)
			p.Hint = formerRoute(app, p.Hint)
		}
	case len(keys) == 5 && keys[2] == "processes" && p.Rule == "unknown-field" && appKeys()[keys[4]]:
		p.Hint = keys[4] + " belongs to the app, not to one of its processes"
	case len(keys) == 3 && (keys[2] == "processes" || keys[2] == "sidecars") && p.Rule == "type" && at.Kind == yaml.MappingNode && len(at.Content) > 0:
		key := map[string]string{"processes": "type", "sidecars": "name"}[keys[2]]
		name := "NAME"
		if childOf(at, key) == nil {
			name = shorten(at.Content[0].Value)
		}
		p.Hint = fmt.Sprintf("write - %s: %s, and its settings below that", key, name)
	case len(keys) == 5 && keys[2] == "services" && p.Rule == "unknown-field" && childOf(below(app, keys[2], keys[3]), "name") == nil:
		p.Hint = "write - name: " + shorten(keys[4]) + ", if that is the service instance"
	case len(keys) == 5 && keys[2] == "services" && p.Rule == "unknown-field" && slices.Contains([]string{"params", "config", "credentials"}, keys[4]):
		p.Hint = "write parameters:"
	case p.Rule == "type" && at.Kind == yaml.ScalarNode && at.Tag == tagNull:
		p.Hint = fmt.Sprintf("give %s a value, or remove it", keys[len(keys)-1])
	case len(keys) == 2 && p.Rule == "required" && at.Kind == yaml.MappingNode && childOf(at, "name") == nil:
		p.Hint = "cf push NAME can name the app on the command line; here the manifest has to: write name: NAME"
	case len(keys) == 4 && keys[2] == "env" && p.Rule == "type":
		p.Hint = "an environment variable is a text; write a structure as JSON in 'single quotes'"
		if text, ok := asJSON(at); ok && !d.secret[at] && !LooksSecret(keys[3], Value(at)) {
			p.Hint = fmt.Sprintf("an environment variable is a text; write %s: '%s'", keys[3], strings.ReplaceAll(text, "'", "''"))
		}
	case len(keys) == 4 && keys[2] == "routes" && p.Rule == "type" && at.Kind == yaml.ScalarNode:
		p.Hint = "write - route: " + shorten(at.Value)
		if d.secret[at] {
			p.Hint = ""
		}
	case at.Kind == yaml.ScalarNode && !d.secret[at] && (at.Tag == tagInt || at.Tag == tagStr) && isDigits(at.Value) &&
		slices.Contains([]string{"memory", "disk_quota", "disk-quota"}, keys[len(keys)-1]):
		p.Hint = fmt.Sprintf("write %sM if megabytes are meant", at.Value)
	}
	return p
}

// formerRoute spells out the route that host: and domain: once meant.
func formerRoute(app *yaml.Node, otherwise string) string {
	host, domain := childOf(app, "host"), childOf(app, "domain")
	if bare := childOf(app, "no-hostname"); domain != nil && domain.Kind == yaml.ScalarNode && bare != nil && bare.Value == "true" {
		return fmt.Sprintf("write routes: with - route: %s", shorten(domain.Value))
	}
	if host != nil && domain == nil && host.Kind == yaml.ScalarNode && host.Value != "" {
		return fmt.Sprintf("write routes: with - route: %s.DOMAIN", shorten(host.Value))
	}
	if host != nil && domain != nil && host.Kind == yaml.ScalarNode && domain.Kind == yaml.ScalarNode {
		return fmt.Sprintf("write routes: with - route: %s.%s", shorten(host.Value), shorten(domain.Value))
	}
	return otherwise
}

func isDigits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// v1App is one app of a v1 manifest while it is read.
type v1App struct {
	*document
	node   *yaml.Node
	fields fields
	name   string
	object *Object
}

// fields are the keys of an app or a process, with - and _ taken for the same, as the controller does.
type fields map[string]field

type field struct{ key, value *yaml.Node }

func (d *document) fields(n *yaml.Node) fields {
	all := make(fields, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := strings.ReplaceAll(key.Value, "-", "_")
		if first, twice := all[name]; twice {
			d.bad(key, "duplicate-key", fmt.Sprintf("%s and %s are the same setting", first.key.Value, key.Value), fmt.Sprintf("it is first written in line %d; remove one", first.key.Line))
			continue
		}
		all[name] = field{key, value}
	}
	return all
}

func (f fields) get(name string) *yaml.Node { return f[name].value }

// written is the key of name as it stands in the manifest.
func (f fields) written(name string) string {
	if key := f[name].key; key != nil {
		return key.Value
	}
	return name
}

var appNameForm = regexp.MustCompile(`^[[:graph:]\p{L}\p{M}\p{N}\p{P}\p{S} ]+$`)

func (d *document) app(n *yaml.Node) {
	d.declareApp(n, d.fields(n), map[string]Ownership{
		"/environment_variables": ThreeWay, "/metadata/labels": ThreeWay, "/metadata/annotations": ThreeWay,
		"/processes": ThreeWay, "/sidecars": ThreeWay,
	}, func(a *v1App) {
		a.put("STARTED", n, "state")
		a.put("complete", n, "rollout")
		a.lifecycle()
		a.environment()
		a.features()
		a.metadata(a.object, a.fields.get("metadata"))
		a.processes()
		a.sidecars()
		d.declare(a.object)
		a.routes()
		a.services()
	})
}

// declareApp makes the object of the app at n, whose settings f names as a v1 manifest does, and lets read fill it.
func (d *document) declareApp(n *yaml.Node, f fields, ownership map[string]Ownership, read func(a *v1App)) {
	a := &v1App{document: d, node: n, fields: f}
	name := a.fields.get("name")
	if name == nil || !d.isText(name) || name.Value == "" {
		return // the schema said so
	}
	a.name = name.Value
	switch {
	case d.secret[name]:
		d.bad(name, "secret-name", "a secret cannot be the name of an app", "names are shown everywhere")
		return
	case !appNameForm.MatchString(a.name):
		d.bad(name, "app-name", fmt.Sprintf("the app name %q contains characters that cannot be printed", shorten(a.name)), "")
	case strings.Contains(a.name, "/"):
		d.bad(name, "app-name", fmt.Sprintf("the app name %q contains a /; Cloud Foundry allows that, Fettle does not yet, because / separates the parts of its own names", shorten(a.name)), "use - or _ instead")
		return
	}
	ref := Ref{Kind: KindApp, Path: d.org + "/" + d.space + "/" + a.name}
	a.object = &Object{
		Ref: ref, Spec: map[string]any{}, Inputs: map[string]any{}, Origin: d.at(n),
		Fields: map[string]Origin{}, Secrets: map[string]bool{},
		Requires:  []Ref{{Kind: KindSpace, Path: d.org + "/" + d.space}},
		Ownership: ownership,
	}
	folded := Ref{Kind: KindApp, Path: strings.ToLower(ref.Path)}
	if first := d.apps[folded]; first != nil {
		words := fmt.Sprintf("the app %s is declared twice in %s", a.name, ref.Space())
		if first.Ref != ref {
			words = fmt.Sprintf("the apps %s and %s are the same, because names ignore case", first.Ref.Name(), a.name)
		}
		d.bad(n, "duplicate-app", words, fmt.Sprintf("it is first declared at %s", first.Origin))
		return
	}
	d.apps[folded] = a.object
	d.about(ref, "app "+shorten(a.name), func() { read(a) })
}

// about lets read find problems, which then begin with what they are about.
func (d *document) about(ref Ref, what string, read func()) {
	before := len(d.problems)
	read()
	for i := range d.problems[before:] {
		if p := &d.problems[before+i]; p.Ref == nil {
			p.Ref = &ref
			p.Message = what + ": " + p.Message
		}
	}
}

// put sets a field of the app and notes where it stands and whether it is secret.
func (a *v1App) put(value any, at *yaml.Node, keys ...string) {
	a.document.put(a.object, value, at, keys...)
}

func (d *document) put(o *Object, value any, at *yaml.Node, keys ...string) {
	m := o.Spec
	for i, k := range keys[:len(keys)-1] {
		next, ok := m[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[k] = next
			if p := Pointer(keys[:i+1]...); o.Fields[p].IsZero() {
				o.Fields[p] = d.at(at)
			}
		}
		m = next
	}
	last := keys[len(keys)-1]
	m[last] = value
	pointer := Pointer(keys...)
	o.Fields[pointer] = d.at(at)
	if d.isSecret(at) || len(keys) > 1 && keys[0] != "destinations" && keys[0] != "options" && LooksSecret(last, value) {
		o.Secrets[pointer] = true
	}
}

// isSecret reports whether the node, or anything below it, came out of a secret vars file.
func (d *document) isSecret(n *yaml.Node) bool {
	return len(d.secret) > 0 && (d.secret[n] || n.Kind == yaml.SequenceNode && slices.ContainsFunc(n.Content, d.isSecret))
}

// collection makes the map at keys, which may stay empty, with its position.
func (a *v1App) collection(at *yaml.Node, keys ...string) {
	a.document.collection(a.object, at, keys...)
}

func (d *document) collection(o *Object, at *yaml.Node, keys ...string) {
	if _, there := Lookup(o.Spec, Pointer(keys...)); !there {
		d.put(o, map[string]any{}, at, keys...)
	}
}

func (d *document) isText(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.Tag == tagStr && !d.open[n]
}

// text reads a text that is there and not null.
func (d *document) text(n *yaml.Node) (string, bool) {
	if !d.isText(n) {
		return "", false
	}
	return n.Value, true
}

// integer reads a whole number; the controller takes quoted ones as well.
func (d *document) integer(n *yaml.Node) (int64, bool) {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag != tagInt && n.Tag != tagStr || d.open[n] {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	return i, err == nil
}

// truth reads a boolean; anything else, null too, is false.
func (d *document) truth(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.Tag == tagBool && n.Value == "true"
}

// asText is what the controller makes of a scalar where it wants a text: Ruby's to_s.
func (d *document) asText(n *yaml.Node) (string, bool) {
	if n == nil || n.Kind != yaml.ScalarNode || d.open[n] {
		return "", false
	}
	if n.Tag == tagNull {
		return "", true
	}
	if n.Tag == tagStr && n.Style == 0 && len(n.Value) > 1 && n.Value[0] == ':' {
		d.bad(n, "yaml-symbol", "the controller takes an unquoted value that begins with : for a Ruby symbol, and refuses it", fmt.Sprintf("quote it: %q", shorten(n.Value)))
	}
	return n.Value, true
}

// lifecycle reads how the app is built and what is pushed: package, lifecycle, and the path of the bits.
func (a *v1App) lifecycle() {
	f := a.fields
	docker, buildpacks, buildpack, stack := f.get("docker"), f.get("buildpacks"), f.get("buildpack"), f.get("stack")
	kind, _ := a.text(f.get("lifecycle"))
	if buildpack != nil && buildpacks != nil {
		a.bad(f["buildpack"].key, "buildpack-twice", "buildpack and buildpacks cannot be used together", "keep buildpacks")
	}
	if docker != nil {
		a.docker(docker, kind)
		return
	}
	if kind == "docker" {
		a.bad(f["lifecycle"].value, "docker-image", "lifecycle docker without an image", "write docker: with image: NAME")
	}
	if kind != "" {
		a.put(kind, f.get("lifecycle"), "lifecycle", "type")
	}
	switch {
	case buildpacks != nil && buildpacks.Kind == yaml.SequenceNode:
		names := []any{}
		for _, b := range buildpacks.Content {
			if name, ok := a.text(b); ok {
				names = append(names, name)
			}
		}
		a.put(names, buildpacks, "lifecycle", "buildpacks")
	case buildpacks != nil && buildpacks.Tag == tagNull:
		a.warn(f["buildpacks"].key, "no-effect", "buildpacks without a value changes nothing", "write buildpacks: [] to have one detected")
	case buildpack != nil && buildpack.Kind == yaml.ScalarNode && !a.open[buildpack]:
		names := []any{}
		if buildpack.Tag == tagStr && buildpack.Value != "default" && buildpack.Value != "null" {
			names = append(names, buildpack.Value)
		}
		a.put(names, buildpack, "lifecycle", "buildpacks")
	}
	if name, ok := a.text(stack); ok {
		a.put(name, stack, "lifecycle", "stack")
	}
	a.credentials(kind)
	at := f.get("path")
	if at == nil {
		at = a.node
	}
	a.put("bits", at, "package", "type")
	a.bits()
}

func (a *v1App) docker(docker *yaml.Node, kind string) {
	f := a.fields
	for _, key := range []string{"buildpacks", "buildpack"} {
		if v, ok := f[key]; ok {
			a.bad(v.key, "docker-buildpacks", "docker and "+key+" cannot be used together", "an image is not built; remove one of them")
		}
	}
	if v, ok := f["path"]; ok {
		a.bad(v.key, "docker-path", "docker and path cannot be used together", "an image is not pushed; remove one of them")
	}
	if kind != "" && kind != "docker" {
		a.bad(f["lifecycle"].value, "docker-lifecycle", fmt.Sprintf("docker and lifecycle %s cannot be used together", kind), "remove one of them")
	}
	if v, ok := f["stack"]; ok {
		a.warn(v.key, "no-effect", "a docker app has no stack; this is ignored", "remove it")
	}
	a.put("docker", docker, "lifecycle", "type")
	a.put("docker", docker, "package", "type")
	if docker.Kind != yaml.MappingNode {
		return
	}
	for _, key := range []string{"image", "username"} {
		if v, ok := a.text(childOf(docker, key)); ok && v != "" {
			a.put(v, childOf(docker, key), "package", key)
		}
	}
}

// credentials of registries are an input: the platform never returns them.
func (a *v1App) credentials(kind string) {
	n := a.fields.get("cnb_credentials")
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	if kind != "cnb" {
		a.bad(a.fields["cnb_credentials"].key, "cnb-credentials", "cnb-credentials belongs to lifecycle: cnb", "")
	}
	a.object.Inputs["cnb_credentials"] = Value(n)
}

// bits finds what is pushed: path, else the manifest's own folder, as cf push does.
func (a *v1App) bits() {
	folder := path.Dir(a.file)
	n := a.fields.get("path")
	if n == nil {
		a.object.Inputs["path"] = folder
		return
	}
	p, ok := a.text(n)
	if !ok || p == "" {
		return
	}
	if local, ok := a.localFile(n, p); ok {
		a.object.Inputs["path"] = local
	}
}

// localFile is the path from the root of a file that the manifest names, relative to itself.
func (a *v1App) localFile(n *yaml.Node, p string) (string, bool) {
	folder := path.Dir(a.file)
	p = strings.ReplaceAll(p, `\`, "/")
	if path.IsAbs(p) || len(p) > 1 && p[1] == ':' {
		a.bad(n, "path-outside", fmt.Sprintf("the path %q is absolute; expected one inside of the repository", shorten(p)), "write it relative to this manifest")
		return "", false
	}
	joined := path.Join(folder, p)
	if !fs.ValidPath(joined) {
		a.bad(n, "path-outside", fmt.Sprintf("the path %q leads out of the repository", shorten(p)), "only files of the same repository can be pushed")
		return "", false
	}
	if _, err := fs.Stat(a.files, joined); err != nil {
		// Only a warning: it may be built before it is pushed. Without it, applying fails before any request.
		hint := a.neighbour(joined)
		if hint == "" {
			hint = "what is built must be there before it is applied"
		}
		a.warn(n, "path-missing", fmt.Sprintf("there is no file or folder %s", joined), hint)
	}
	return joined, true
}

func (a *v1App) features() {
	n := a.fields.get("features")
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if v := n.Content[i+1]; v.Kind == yaml.ScalarNode && v.Tag == tagBool {
			a.put(v.Value == "true", v, "features", n.Content[i].Value)
		}
	}
	if a.truth(childOf(n, "service-binding-k8s")) && a.truth(childOf(n, "file-based-vcap-services")) {
		a.bad(n, "features", "service-binding-k8s and file-based-vcap-services exclude each other", "switch one of them off")
	}
}
