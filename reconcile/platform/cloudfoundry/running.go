package cloudfoundry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Somebody sets a variable and does not restart the app; a commit then declares what live state has. Nothing differs,
// and still no instance has seen the value. What instances run with, the controller knows: the revision of the process
// (droplet, environment, commands, sidecars), which a list carries by its guid alone. Its content costs two requests, and
// reading its environment leaves an audit event, so it is read only where there is reason to:
//
// When a rollout has ended well, the request that says that nothing is pending notes on the app which revision it brought
// and a checksum of the configuration, "1:GUID:CHECKSUM". An observation compares both with what the lists say now:
//
//	revision  configuration
//	same      same           it runs
//	another   another        somebody changed it and restarted, or staged anew
//	same      another        changed and not restarted, it seems
//	another   same           changed, restarted, and changed back: by a restart too?
//
// Only the last two have the revision read, and its content decides, never the checksum. A plain start does not answer with
// its revision; the note then has none, and another configuration is reason enough. Only what
// is as Git declares it counts: the rest is a difference of its own, or none of Fettle's business. Nothing is said of an app without the note, whose
// feature revisions is off, or whose revision this user may not read. Nor of what no revision holds: sizes, health checks,
// service bindings. A wrong alarm restarts an app; a missed one leaves things as they were.
//
// Everybody who may read the app can read the note, but not the environment. The checksum has 12 bits, and is the
// same whenever the configuration is: one out of 4,096 wrong guesses of all variables at once passes it, which
// is of no help in finding a password. One change out of 4,096 is missed.
const (
	runningAnnotation = manifest.MetadataPrefix + "running"

	runningVersion = "1:"
	runningDigits  = 3
)

// configuration is what a revision holds.
type configuration struct {
	Droplet  string             `json:"droplet"`
	Env      map[string]string  `json:"env"`
	Commands map[string]string  `json:"commands"` // of processes that have one of their own
	Sidecars map[string]sideCar `json:"sidecars"`
}

type sideCar struct {
	Command string   `json:"command"`
	Types   []string `json:"types"`
	Memory  int64    `json:"memory"` // 0: none of its own
}

// configurationOf takes it from an app's Spec; types are the processes that count.
func configurationOf(spec map[string]any, droplet string, types []string) configuration {
	c := configuration{Droplet: droplet, Env: map[string]string{}, Commands: map[string]string{}, Sidecars: map[string]sideCar{}}
	for name, v := range mapOf(spec["environment_variables"]) {
		c.Env[name], _ = v.(string)
	}
	for _, name := range types {
		if command, ok := mapOf(mapOf(spec["processes"])[name])["command"].(string); ok {
			c.Commands[name] = command
		}
	}
	for name, v := range mapOf(spec["sidecars"]) {
		s := mapOf(v)
		var car sideCar
		car.Command, _ = s["command"].(string)
		car.Memory, _ = s["memory_in_mb"].(int64)
		for _, t := range asList(s["process_types"]) {
			text, _ := t.(string)
			car.Types = append(car.Types, text)
		}
		c.Sidecars[name] = car
	}
	return c
}

// sum identifies the configuration of an app.
func (c configuration) sum(app string) [sha256.Size]byte {
	text, _ := json.Marshal(c) // strings and numbers; keys of maps come sorted
	return sha256.Sum256(append([]byte(app+"\x00"), text...))
}

// running is the note: the app runs this revision, and this is its configuration.
func (c configuration) running(app, revision string) string {
	sum := c.sum(app)
	return runningVersion + revision + ":" + hex.EncodeToString(sum[:])[:runningDigits]
}

// differs lists, as pointers into the Spec of an app, where c is another configuration than now.
func (c configuration) differs(now configuration) []string {
	var found []string
	if c.Droplet != now.Droplet {
		found = append(found, "/droplet", "/package")
	}
	compare := func(collection, field string, was, is map[string]any) {
		all := maps.Clone(was)
		maps.Copy(all, is)
		for name := range all {
			if !reflect.DeepEqual(was[name], is[name]) {
				found = append(found, strings.TrimSuffix(manifest.Pointer(collection, name, field), "/"))
			}
		}
	}
	compare("environment_variables", "", anyMap(c.Env), anyMap(now.Env))
	compare("processes", "command", anyMap(c.Commands), anyMap(now.Commands))
	for field, of := range map[string]func(sideCar) any{
		"command":       func(s sideCar) any { return s.Command },
		"process_types": func(s sideCar) any { return s.Types },
		"memory_in_mb":  func(s sideCar) any { return s.Memory },
	} {
		was, is := map[string]any{}, map[string]any{}
		for name, s := range c.Sidecars {
			was[name] = of(s)
		}
		for name, s := range now.Sidecars {
			is[name] = of(s)
		}
		compare("sidecars", field, was, is)
	}
	slices.Sort(found)
	return found
}

func anyMap[T any](m map[string]T) map[string]any {
	all := make(map[string]any, len(m))
	for k, v := range m {
		all[k] = v
	}
	return all
}

// unseen finds the apps that have configuration which no running instance has seen, and says so in their "rollout".
func (d *Driver) unseen(ctx context.Context, r *readings, obs *platform.Observation) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, app := range r.apps {
		declared := r.declared[app.GUID]
		if declared == nil {
			continue
		}
		o := obs.Live.Get(declared.Ref)
		revision, types := runs(r.processes[app.GUID])
		if o == nil || len(o.Unobservable) > 0 || o.Spec["state"] != "STARTED" || o.Spec["rollout"] != rolloutComplete ||
			revision == "" || mapOf(o.Spec["features"])["revisions"] != true {
			continue
		}
		now := configurationOf(o.Spec, app.Relationships.CurrentDroplet.GUID(), types)
		if !suspicious(app.Metadata.Annotation(runningAnnotation), now.running(app.GUID, revision)) {
			continue
		}
		group.Go(func() error {
			places, err := d.compareRevision(ctx, app.GUID, revision, types, now)
			if slices.ContainsFunc(places, func(pointer string) bool {
				v, _ := manifest.Lookup(declared.Spec, pointer)
				is, _ := manifest.Lookup(o.Spec, pointer)
				return v != nil && settled(v, is)
			}) {
				o.Spec["rollout"] = rolloutPending
			}
			return err
		})
	}
	return group.Wait()
}

// settled reports whether live is as declared. What is not is a difference of its own, and takes a restart if it has to.
func settled(declared, live any) bool {
	fields, ok := declared.(map[string]any)
	if !ok {
		return reflect.DeepEqual(declared, live)
	}
	for name, v := range fields {
		if !settled(v, mapOf(live)[name]) {
			return false
		}
	}
	return true
}

// suspicious compares the note with what it would be now.
func suspicious(note, now string) bool {
	was, ok := strings.CutPrefix(note, runningVersion)
	revision, sum, complete := strings.Cut(was, ":")
	nowRevision, nowSum, _ := strings.Cut(strings.TrimPrefix(now, runningVersion), ":")
	if revision == "" {
		return ok && complete && sum != nowSum
	}
	return ok && complete && (revision == nowRevision) != (sum == nowSum)
}

// runs says which revision an app runs, and in which processes. "" if that is not sure.
func runs(processes []ccv3.Process) (revision string, types []string) {
	web := slices.IndexFunc(processes, func(p ccv3.Process) bool { return p.Type == "web" })
	if web < 0 || processes[web].Instances == 0 { // nobody lags behind
		return "", nil
	}
	revision = processes[web].Relationships.Revision.GUID()
	for _, p := range processes {
		if p.Relationships.Revision.GUID() == revision {
			types = append(types, p.Type)
		}
	}
	return revision, types
}

// compareRevision reads a revision, and lists where the configuration of now is another. What cannot be read differs nowhere.
// A revision never changes, so the answer is kept: neither requests nor audit events come again with each observation.
func (d *Driver) compareRevision(ctx context.Context, app, guid string, types []string, now configuration) ([]string, error) {
	key := comparison{revision: guid, now: now.sum(app)}
	if places, known := d.compared.get(app, key); known {
		return places, nil
	}
	var revision ccv3.Revision
	var env struct {
		Var map[string]string `json:"var"`
	}
	for _, read := range []struct {
		path string
		into any
	}{{"", &revision}, {"/environment_variables", &env}} {
		_, err := d.client.Do(ctx, http.MethodGet, "/v3/revisions/"+guid+read.path, nil, read.into)
		if ccv3.IsNotFound(err) || ccv3.IsForbidden(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	was := configuration{Droplet: revision.Droplet.GUID, Env: env.Var, Commands: map[string]string{}, Sidecars: map[string]sideCar{}}
	for name, p := range revision.Processes {
		if p.Command != nil && slices.Contains(types, name) {
			was.Commands[name] = *p.Command
		}
	}
	for _, s := range revision.Sidecars {
		slices.Sort(s.ProcessTypes)
		car := sideCar{Command: s.Command, Types: s.ProcessTypes}
		if s.MemoryInMB != nil {
			car.Memory = *s.MemoryInMB
		}
		was.Sidecars[s.Name] = car
	}
	places := was.differs(now)
	d.compared.put(app, key, places)
	return places, nil
}

// comparisons keeps, by app, the last answer of compareRevision: names, and no values.
type comparisons struct {
	mu  sync.Mutex
	all map[string]comparison
}

type comparison struct {
	revision string
	now      [sha256.Size]byte
	places   []string
}

func (c *comparisons) get(app string, key comparison) ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.all[app]
	return last.places, ok && last.revision == key.revision && last.now == key.now
}

func (c *comparisons) put(app string, key comparison, places []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]comparison{}
	}
	key.places = places
	c.all[app] = key
}

// runningNote is the note about what this run has rolled out, "" where there is nothing to note.
func (r *appRun) runningNote() string {
	if r.pending == "" || !r.wantsStarted() || r.live != nil && len(r.live.Unobservable) > 0 {
		return ""
	}
	spec := r.specAfter()
	if mapOf(spec["features"])["revisions"] == false {
		return ""
	}
	types := slices.Sorted(maps.Keys(mapOf(spec["processes"])))
	switch {
	case r.deployed != nil && r.deployed.Revision != nil && r.deployed.Droplet != nil:
		return configurationOf(spec, r.deployed.Droplet.GUID, types).running(r.guid, r.deployed.Revision.GUID)
	case r.deployed == nil && r.droplet != "":
		return configurationOf(spec, r.droplet, types).running(r.guid, "") // a start does not say which revision it made
	}
	return ""
}

// specAfter is what the app has when all changes are made. A mistake in it would do no harm: see the table above.
func (r *appRun) specAfter() map[string]any {
	if r.live == nil {
		return r.app.Spec
	}
	spec := mapOf(clone(r.live.Spec))
	for _, c := range r.step.Changes {
		keys := manifest.SplitPointer(c.Path)
		if c.Ref != r.step.Ref || len(keys) == 0 || c.Op == diff.Remove && len(keys) == 2 && keys[0] == "processes" {
			continue // a process type stays, with no instance
		}
		if c.Value != nil {
			set(spec, clone(c.Value), keys...)
			continue
		}
		parent, _ := manifest.Lookup(spec, manifest.Pointer(keys[:len(keys)-1]...))
		if len(keys) == 1 {
			parent = spec
		}
		delete(mapOf(parent), keys[len(keys)-1])
	}
	return spec
}
