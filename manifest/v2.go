package manifest

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/schemas"
)

// Version 2 is the manifest of the Cloud Foundry community's RFC 0034 ("App Manifests v2"), read here because no
// controller reads it yet. It becomes the same objects as version 1 does, with one difference that is the point of it:
// a collection that is present is owned exactly. Where the RFC leaves a name open, the V3 API's is taken.
//
// What the RFC's text calls evocative, and how it is read here:
//
//   - processes are not exact: the API cannot delete a process type. What Fettle applied before and Git drops is scaled to 0.
//   - a collection that is absent as a whole is three-way, so that its last entry goes when its key goes too.
//   - without package and droplet the app's code is not managed; a package of the manifest's own folder is never assumed.
//   - meta.prune is a mark on the Set (Set.Prunes), and Exact at "" of each object.
//   - network policies and secrets (the RFC's future extensions) are refused: the V3 API has neither.

// v2 reads a document of version 2 into canonical objects. As in v1, the schema has said what is wrong with the shape.
func (d *document) v2() {
	schema, err := schemas.Compile("manifest-v2")
	if err != nil { // an embedded file: the build is broken
		d.bad(d.root, "schema", err.Error(), "")
		return
	}
	d.dropDefinitions("version", "org", "space", "meta", "apps", "routes", "service_instances", "service_bindings")
	check := schemaCheck{file: d.file, from: d.from, secret: d.secret, skip: d.open}
	problems := check.validate(d.root, schema)
	placed := d.place()
	for _, p := range problems {
		d.problems = append(d.problems, d.inContextV2(p))
	}
	if !placed {
		return
	}
	d.meta()
	d.each("service_instances", d.serviceInstance)
	d.each("apps", d.appV2)
	d.each("routes", d.routeV2)
	d.each("service_bindings", d.serviceBinding)
}

// each reads the entries of a list at the top of the document.
func (d *document) each(key string, read func(*yaml.Node)) {
	list := childOf(d.root, key)
	if list == nil || list.Kind != yaml.SequenceNode {
		return
	}
	for _, n := range list.Content {
		if n.Kind == yaml.MappingNode {
			read(n)
		}
	}
}

// PrunedKinds lists the kinds that a word of meta.prune speaks of ("apps", "routes"); none if it is no such word.
func PrunedKinds(word string) []Kind { return prunedKinds[word] }

// PrunedWords lists the words of meta.prune.
func PrunedWords() []string { return slices.Sorted(maps.Keys(prunedKinds)) }

// prunedKinds are the kinds that a key of meta.prune speaks of.
var prunedKinds = map[string][]Kind{
	"apps": {KindApp}, "routes": {KindRoute}, "service_instances": {KindServiceInstance},
	"service_bindings": {KindServiceBinding, KindServiceKey, KindServiceRouteBinding},
}

// meta reads meta.prune. Every manifest of the space that says so speaks for the whole space.
func (d *document) meta() {
	prune := below(d.root, "meta", "prune")
	if prune == nil || prune.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(prune.Content); i += 2 {
		if !d.truth(prune.Content[i+1]) {
			continue
		}
		for _, kind := range prunedKinds[prune.Content[i].Value] {
			d.prunes = append(d.prunes, Prune{Space: d.org + "/" + d.space, Kind: kind, Origin: d.at(prune.Content[i])})
		}
	}
}

// below is childOf, several levels deep; nil where there is nothing.
func below(n *yaml.Node, keys ...string) *yaml.Node {
	for _, k := range keys {
		if n == nil {
			return nil
		}
		n = childOf(n, k)
	}
	return n
}

// own says how the collection at keys is owned: exactly where it is present, three-way where it is not.
func own(o *Object, keys ...string) {
	pointer := Pointer(keys...)
	o.Ownership[pointer] = ThreeWay
	if _, present := Lookup(o.Spec, pointer); present {
		o.Ownership[pointer] = Exact
	}
}

// ownMetadata is own for the labels and annotations at keys.
func ownMetadata(o *Object, keys ...string) {
	for _, what := range []string{"labels", "annotations"} {
		own(o, append(slices.Clone(keys), "metadata", what)...)
	}
}

// nameOf reads a name, which must not be secret.
func (d *document) nameOf(n *yaml.Node, what string) (string, bool) {
	name, ok := d.text(n)
	if ok && d.secret[n] {
		d.bad(n, "secret-name", "a secret cannot be the name of "+what, "names are shown everywhere")
		return "", false
	}
	return name, ok && strings.TrimSpace(name) != ""
}

// What people who know version 1 write, and what version 2 has instead. Keys with - are looked up with _.
var v1KeysInV2 = map[string]string{
	"env": "write environment_variables:", "path": "write package: with path: in it", "docker": "write package: with docker: in it",
	"buildpack": "write lifecycle: with buildpacks: and - name: or - url: in it", "buildpacks": "write lifecycle: with buildpacks: and - name: or - url: in it",
	"stack": "write lifecycle: with stack: and name: in it", "cnb_credentials": "write lifecycle: with access_credentials: in it",
	"routes": "write routes: beside apps:, with destinations:", "services": "write service_bindings: beside apps:",
	"no_route": "what leads to an app is said under routes: beside apps:", "random_route": "what leads to an app is said under routes: beside apps:",
	"default_route": "what leads to an app is said under routes: beside apps:",
	"process_types": "write processes: with - type: for each", "disk": "write scale: with disk: in it",
	"memory": "write scale: with memory: in it", "instances": "write scale: with instances: in it", "disk_quota": "write scale: with disk: in it",
	"log_rate_limit_per_second": "write scale: with log_rate_limit_per_second: in it",
	"command":                   "write processes: with - type: web and command: in it",
	"timeout":                   "write health_checks: with liveness: and timeout: in it",
	"health_check_type":         "write health_checks: with liveness: and type: in it", "health_check_http_endpoint": "write health_checks: with liveness: and http_endpoint: in it",
	"health_check_invocation_timeout": "write health_checks: with liveness: and invocation_timeout: in it", "health_check_interval": "write health_checks: with liveness: and interval: in it",
	"readiness_health_check_type": "write health_checks: with readiness: and type: in it", "readiness_health_check_http_endpoint": "write health_checks: with readiness: and http_endpoint: in it",
	"readiness_health_check_invocation_timeout": "write health_checks: with readiness: and invocation_timeout: in it", "readiness_health_check_interval": "write health_checks: with readiness: and interval: in it",
}

// resourceWords name the lists of a document in messages, and the key that names their entries.
var resourceWords = map[string]struct {
	word, key string
	kind      Kind
}{
	"apps": {"app", "name", KindApp}, "routes": {"route", "url", ""}, "service_instances": {"service instance", "name", KindServiceInstance},
	"service_bindings": {"binding", "name", ""},
}

// inContextV2 adds to what the schema says what it means in a manifest: the resource, and the way to write it.
func (d *document) inContextV2(p Problem) Problem {
	keys := SplitPointer(p.Pointer)
	if len(keys) == 0 {
		return p
	}
	last := keys[len(keys)-1]
	if len(keys) == 1 && p.Rule == "unknown-field" {
		switch last {
		case "applications":
			p.Hint = "version 2 calls it apps:, and it looks different inside: `fettle convert` turns version 1 into version 2"
		case "network_policies":
			p.Hint = "network policies are no part of the V3 API and not managed; use cf add-network-policy"
		case "secrets":
			p.Hint = "the V3 API has no secrets; use ((variables)) or a service instance of type user-provided"
		}
		return p
	}
	list, known := resourceWords[keys[0]]
	if !known || len(keys) < 2 {
		return p
	}
	entry := below(d.root, keys[0], keys[1])
	if name := below(entry, list.key); name != nil && name.Kind == yaml.ScalarNode && name.Value != "" && !d.secret[name] && p.Ref == nil {
		p.Message = fmt.Sprintf("%s %s: %s", list.word, shorten(name.Value), strings.TrimPrefix(p.Message, keys[0]+"["+keys[1]+"]: "))
		if list.kind != "" && d.org != "" && d.space != "" {
			p.Ref = &Ref{Kind: list.kind, Path: d.org + "/" + d.space + "/" + name.Value}
		}
	}
	at, _ := (&schemaCheck{doc: d.root}).find(p.Pointer)
	folded := strings.ReplaceAll(last, "-", "_")
	switch {
	case p.Rule == "unknown-field" && keys[0] == "apps" && v1KeysInV2[folded] != "":
		p.Hint = v1KeysInV2[folded]
		if len(keys) == 3 && (strings.Contains(p.Hint, "scale:") || strings.Contains(p.Hint, "health_checks:")) {
			p.Hint = strings.Replace(p.Hint, "write ", "write processes: with - type: web and ", 1)
		}
	case p.Rule == "unknown-field" && keys[len(keys)-2] == "health_checks" && slices.Contains([]string{"type", "timeout", "http_endpoint", "invocation_timeout", "interval"}, last):
		p.Hint = fmt.Sprintf("write liveness: (or readiness:) with %s: in it", shorten(last))
	case p.Rule == "type" && at.Kind == yaml.ScalarNode && at.Tag == tagNull:
		p.Hint = fmt.Sprintf("give %s a value, or remove it", last)
	case p.Rule == "type" && len(keys) == 4 && keys[0] == "apps" && keys[2] == "environment_variables":
		p.Hint = "an environment variable is a text; write a structure as JSON in 'single quotes'"
	case p.Rule == "type" && at.Kind == yaml.ScalarNode && !d.secret[at] && slices.Contains([]string{"app", "process", "service_instance", "service_offering", "service_plan", "stack"}, last):
		key := "name"
		if last == "process" {
			key = "type"
		}
		p.Hint = fmt.Sprintf("write %s: with %s: %s in it", last, key, shorten(at.Value))
	case at.Kind == yaml.ScalarNode && !d.secret[at] && isDigits(at.Value) && (last == "memory" || last == "disk"):
		p.Hint = fmt.Sprintf("write %sM if megabytes are meant", at.Value)
	}
	return p
}

// appV2 reads one app. Its settings are handed to what reads version 1 under the names they have there.
func (d *document) appV2(n *yaml.Node) {
	f := fields{}
	for v1, v2 := range map[string]string{"name": "name", "env": "environment_variables", "features": "features"} {
		if at := childOf(n, v2); at != nil {
			f[v1] = field{at, at}
		}
	}
	if list := d.sidecarsV2(childOf(n, "sidecars")); list != nil {
		f["sidecars"] = field{list, list}
	}
	d.declareApp(n, f, map[string]Ownership{}, func(a *v1App) {
		state := childOf(n, "state")
		if text, ok := a.text(state); ok {
			a.put(text, state, "state")
		} else if childOf(n, "package") != nil || childOf(n, "droplet") != nil {
			a.put("STARTED", n, "state")
		}
		a.put("complete", n, "rollout")
		a.code()
		a.environment()
		a.features()
		a.metadata(a.object, childOf(n, "metadata"))
		if list := childOf(n, "processes"); list != nil && list.Kind == yaml.SequenceNode {
			a.entries(list, func(name string, entry *yaml.Node) {
				a.process(name, entry, processV2(entry))
				a.metadata(a.object, childOf(entry, "metadata"), "processes", name)
				ownMetadata(a.object, "processes", name)
			})
		}
		a.sidecars()
		for _, at := range [][]string{{"environment_variables"}, {"metadata", "labels"}, {"metadata", "annotations"}, {"sidecars"}} {
			own(a.object, at...)
		}
		ownMetadata(a.object, "package")
		a.object.Ownership["/processes"] = ThreeWay
		// What the manifest does not name stays, unless it is pruned (RFC 0034).
		a.object.Ownership[AppBindings], a.object.Ownership[AppRoutes] = Additive, Additive
		d.declare(a.object)
	})
}

// Where version 2 has the settings of a process.
var processPlaces = map[string][]string{
	"command": {"command"}, "user": {"user"}, "instances": {"scale", "instances"}, "memory": {"scale", "memory"}, "disk_quota": {"scale", "disk"},
	"log_rate_limit_per_second": {"scale", "log_rate_limit_per_second"}, "timeout": {"health_checks", "liveness", "timeout"},
	"health_check_type": {"health_checks", "liveness", "type"}, "health_check_http_endpoint": {"health_checks", "liveness", "http_endpoint"},
	"health_check_invocation_timeout": {"health_checks", "liveness", "invocation_timeout"}, "health_check_interval": {"health_checks", "liveness", "interval"},
	"readiness_health_check_type": {"health_checks", "readiness", "type"}, "readiness_health_check_http_endpoint": {"health_checks", "readiness", "http_endpoint"},
	"readiness_health_check_invocation_timeout": {"health_checks", "readiness", "invocation_timeout"}, "readiness_health_check_interval": {"health_checks", "readiness", "interval"},
}

func processV2(entry *yaml.Node) fields {
	f := fields{}
	for name, place := range processPlaces {
		if value := below(entry, place...); value != nil {
			f[name] = field{&yaml.Node{Kind: yaml.ScalarNode, Tag: tagStr, Value: strings.Join(place[max(len(place)-2, 0):], ".")}, value}
		}
	}
	return f
}

// sidecarsV2 gives the list the form that it has in version 1; the values stay the nodes they are.
func (d *document) sidecarsV2(list *yaml.Node) *yaml.Node {
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	form := func(like *yaml.Node, kind yaml.Kind) *yaml.Node {
		n := &yaml.Node{Kind: kind, Line: like.Line, Column: like.Column}
		d.standsFor[n] = like
		return n
	}
	all := form(list, yaml.SequenceNode)
	for _, entry := range list.Content {
		if entry.Kind != yaml.MappingNode {
			continue
		}
		n := form(entry, yaml.MappingNode)
		add := func(key string, value *yaml.Node) {
			if value != nil {
				n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: tagStr, Value: key}, value)
			}
		}
		add("name", childOf(entry, "name"))
		add("command", childOf(entry, "command"))
		if memory := below(entry, "scale", "memory"); d.isText(memory) { // a bare number is no size here
			add("memory", memory)
		}
		if processes := childOf(entry, "processes"); processes != nil && processes.Kind == yaml.SequenceNode {
			types := form(processes, yaml.SequenceNode)
			for _, p := range processes.Content {
				if t := childOf(p, "type"); t != nil {
					types.Content = append(types.Content, t)
				}
			}
			add("process_types", types)
		}
		all.Content = append(all.Content, n)
	}
	return all
}

// code reads what the app is made of: package or droplet, and lifecycle.
func (a *v1App) code() {
	pkg, droplet, lifecycle := childOf(a.node, "package"), childOf(a.node, "droplet"), childOf(a.node, "lifecycle")
	kindAt, image := below(lifecycle, "type"), below(pkg, "docker")
	kind, _ := a.text(kindAt)
	if droplet != nil && pkg != nil {
		a.bad(droplet, "droplet-package", "droplet and package cannot be used together", "a droplet is not staged; remove one of them")
	}
	switch {
	case image != nil:
		a.imageV2(image, kindAt, lifecycle)
	case kind == "docker" && below(pkg, "path") != nil:
		a.bad(kindAt, "docker-path", "lifecycle docker and a path cannot be used together", "an image is not pushed; write package: with docker: in it")
	case kind == "docker" && droplet == nil:
		a.bad(kindAt, "docker-image", "lifecycle docker without an image", "write package: with docker: and image: in it")
	case kind != "":
		a.put(kind, kindAt, "lifecycle", "type")
	}
	if image == nil {
		a.buildV2(lifecycle, kind)
	}
	if at := below(pkg, "path"); at != nil && image == nil {
		a.put("bits", at, "package", "type")
		if local, elsewhere := a.fileOrURL(at, pkg, "package"); local != "" {
			a.object.Inputs["path"] = local
		} else if elsewhere != "" {
			a.put(elsewhere, at, "package", "url")
		}
	}
	a.metadata(a.object, below(pkg, "metadata"), "package")
	if at := below(droplet, "path"); at != nil {
		a.collection(droplet, "droplet")
		if local, elsewhere := a.fileOrURL(at, droplet, "droplet"); local != "" {
			a.object.Inputs["droplet_path"] = local
		} else if elsewhere != "" {
			a.put(elsewhere, at, "droplet", "url")
		}
	}
}

func (a *v1App) imageV2(image, kindAt, lifecycle *yaml.Node) {
	if kind, _ := a.text(kindAt); kind != "" && kind != "docker" {
		a.bad(kindAt, "docker-lifecycle", fmt.Sprintf("an image and lifecycle %s cannot be used together", kind), "remove one of them")
	}
	for _, key := range []string{"buildpacks", "access_credentials"} {
		if at := below(lifecycle, key); at != nil {
			a.bad(at, "docker-buildpacks", "an image and lifecycle."+key+" cannot be used together", "an image is not built; remove one of them")
		}
	}
	if at := below(lifecycle, "stack"); at != nil {
		a.warn(at, "no-effect", "a docker app has no stack; this is ignored", "remove it")
	}
	for _, key := range []string{"checksum", "access_credentials"} {
		if at := below(a.node, "package", key); at != nil {
			a.bad(at, "docker-package", key+" belongs to a path", "the credentials of an image stand beside image:")
		}
	}
	a.put("docker", image, "lifecycle", "type")
	a.put("docker", image, "package", "type")
	if at := below(image, "image"); at != nil {
		if text, ok := a.text(at); ok {
			a.put(text, at, "package", "image")
		}
	}
	if at := below(image, "access_credentials", "0"); at != nil {
		if user, ok := a.text(childOf(at, "username")); ok {
			a.put(user, childOf(at, "username"), "package", "username")
		}
		if password, ok := a.text(childOf(at, "password")); ok {
			a.object.Inputs["docker_password"] = password
		}
	}
}

// bareURL is a URL without its scheme, as the RFC has one: git.example.com/my_buildpack.
var bareURL = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/\S+$`)

// buildV2 reads buildpacks, stack and credentials. In canonical form a buildpack is a text, and a URL is what contains ://.
func (a *v1App) buildV2(lifecycle *yaml.Node, kind string) {
	if list := below(lifecycle, "buildpacks"); list != nil && list.Kind == yaml.SequenceNode {
		names, otherwise := []any{}, map[string]any{}
		for _, b := range list.Content {
			name, hasName := a.text(childOf(b, "name"))
			url, hasURL := a.text(childOf(b, "url"))
			switch {
			case hasName && strings.Contains(name, "://"):
				a.bad(childOf(b, "name"), "buildpack", fmt.Sprintf("the buildpack name %s is a URL", a.quote(childOf(b, "name"))), "write url: instead of name:")
				continue
			case hasURL && !strings.Contains(url, "://") && bareURL.MatchString(url):
				if url = "https://" + url; kind == "cnb" {
					url = "docker://" + strings.TrimPrefix(url, "https://")
				}
			case hasURL && !strings.Contains(url, "://"):
				a.bad(childOf(b, "url"), "buildpack", fmt.Sprintf("expected a URL such as https://git.example.com/my_buildpack, got %s", a.quote(childOf(b, "url"))), "write name: if the foundation has a buildpack of this name")
				continue
			}
			switch {
			case hasName:
				names = append(names, name)
				if hasURL {
					otherwise[name] = url
				}
			case hasURL:
				names = append(names, url)
			}
		}
		a.put(names, list, "lifecycle", "buildpacks")
		if len(otherwise) > 0 {
			a.object.Inputs["buildpack_fallbacks"] = otherwise
		}
	}
	if at := below(lifecycle, "stack", "name"); at != nil {
		if name, ok := a.text(at); ok {
			a.put(name, at, "lifecycle", "stack")
		}
	}
	credentials := below(lifecycle, "access_credentials")
	if credentials == nil || credentials.Kind != yaml.SequenceNode {
		return
	}
	if kind != "cnb" {
		a.bad(credentials, "cnb-credentials", "lifecycle.access_credentials belongs to type: cnb", "")
	}
	registries := map[string]any{}
	for _, c := range credentials.Content {
		host, ok := a.text(childOf(c, "url"))
		if !ok {
			continue
		}
		if registries[host] != nil {
			a.bad(childOf(c, "url"), "cnb-credentials", fmt.Sprintf("the registry %s has two credentials", shorten(host)), "the V3 API takes one for each registry")
		}
		registries[host] = a.registry(c)
	}
	a.object.Inputs["cnb_credentials"] = registries
}

// registry reads the credentials of one registry into the form that the API takes.
func (a *v1App) registry(c *yaml.Node) map[string]any {
	kind, _ := a.text(childOf(c, "type"))
	needed := map[string][]string{"basic": {"username", "password"}, "token": {"token"}}[kind]
	all := map[string]any{}
	for _, key := range []string{"username", "password", "token"} {
		at := childOf(c, key)
		switch wanted := slices.Contains(needed, key); {
		case at == nil && wanted:
			a.bad(c, "required", fmt.Sprintf("the key %s is missing; it belongs to type: %s", key, kind), "")
		case at != nil && !wanted && needed != nil:
			a.bad(at, "cnb-credentials", fmt.Sprintf("%s does not belong to type: %s", key, kind), "")
		case at != nil:
			if text, ok := a.text(at); ok {
				all[key] = text
			}
		}
	}
	return all
}

// fileOrURL reads the path of a package or a droplet, which n is: a file of the repository, a URL, or for a package an
// artifact in an OCI registry.
func (a *v1App) fileOrURL(at, n *yaml.Node, what string) (local, address string) {
	text, ok := a.text(at)
	if !ok || text == "" {
		return "", ""
	}
	scheme := strings.ToLower(strings.TrimSuffix(routeScheme.FindString(text), "://"))
	checksum, credentials := childOf(n, "checksum"), below(n, "access_credentials", "0")
	switch scheme {
	case "":
		for _, key := range []string{"checksum", "access_credentials"} {
			if extra := childOf(n, key); extra != nil {
				a.bad(extra, "path-local", key+" belongs to a path that is a URL", "files of the repository need none; remove it")
			}
		}
		local, _ = a.localFile(at, text)
		return local, ""
	case "http", "https":
		if u, err := url.Parse(text); err == nil && u.User != nil {
			a.bad(at, "path-url", "the URL carries a user name", "give it by access_credentials:, for URLs end up in logs")
			return "", ""
		}
	case "oci":
		if what == "package" {
			if checksum != nil {
				a.bad(checksum, "path-oci", "an artifact of a registry has no checksum of its own", "pin its digest: oci://registry/repository@sha256:…")
			}
			break
		}
		fallthrough
	default:
		a.bad(at, "path-url", fmt.Sprintf("expected a file of the repository or a URL with http:// or https://, got the scheme %s://", shorten(scheme)), "")
		return "", ""
	}
	if value, ok := a.text(below(checksum, "value")); ok {
		a.put("sha256:"+strings.ToLower(value), checksum, what, "checksum")
	} else if checksum == nil && scheme != "oci" {
		a.warn(at, "path-checksum", "a "+what+" from a URL without a checksum: what it holds may change without anybody noticing", "add checksum: with type: sha256 and value:")
	}
	if credentials != nil {
		c := map[string]any{}
		for _, key := range []string{"username", "password"} {
			if text, ok := a.text(childOf(credentials, key)); ok {
				c[key] = text
			}
		}
		a.object.Inputs[what+"_credentials"] = c
	}
	return "", text
}
