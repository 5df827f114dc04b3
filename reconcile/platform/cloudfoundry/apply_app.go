package cloudfoundry

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// appRun brings one app to what is declared. It may be killed after any request, and the next run completes it:
//
//   - Before anything is changed that running instances have to be told of, the app gets the annotation "pending"
//     in the very request that makes the change; it goes when the new configuration runs. So a change that no
//     instance has seen is recognised whoever looks, though by then live and declared state agree.
//   - The annotation is a word (restart or start), a random token and, while an app is recreated, the droplet that it comes
//     from. A deployment carries the token too: "was this
//     change rolled out?" has an answer, and nothing is rolled out a second time.
//   - A package carries the digest of its files, so a half-made one is found and completed.
//   - What Fettle owns (the ledger) is widened before something is added and narrowed after something was removed.
//
// A rollout or a staging that fails puts everything back that this run has changed: the app is wholly as it was, or
// wholly as declared.
type appRun struct {
	caller
	data *appData
	opts platform.ApplyOptions
	say  func(text string)

	app      *manifest.Object   // as declared
	settings *manifest.Settings // of the app, or else of the target
	desired  manifest.Set       // with what hangs on it
	live     *manifest.Object   // nil when the app is new
	guid     string
	began    time.Time // on the controller's clock
	started  bool      // instances are meant to run at the moment

	pending   string   // the annotation as it stands on the app, "" if none
	resumed   bool     // it stood there already: a killed run did not get to its end
	delivered bool     // but to the end of the rollout it did get
	ledger    string   // the annotation as this run wrote it, "" if not yet
	changed   bool     // something was changed that restore has to put back
	added     []string // labels and annotations that forget has to remove

	droplet  string // to be rolled out; "" for the current one
	previous string // droplet of an app that does not run

	deployed  *ccv3.Deployment // what brought the new instances, if a deployment did
	recreated bool             // the app ran, and was stopped for the new instances

	rolledBack bool
	quarantine bool
}

// Words of the pending annotation.
const (
	pendingRestart = "restart" // running instances do not know the configuration
	pendingStart   = "start"   // a stopped app is being started
)

// revisionAnnotation says, on packages, builds and deployments, which commit they are made from. The other annotations
// are in ledger.go; pendingAnnotation stands also on the deployment that delivers the change.
const revisionAnnotation = manifest.MetadataPrefix + "revision"

func newAppRun(d *Driver, s *platform.Step, data *appData, opts platform.ApplyOptions, say func(string)) *appRun {
	r := &appRun{caller: caller{d: d, step: s}, data: data, opts: opts, say: say, live: data.live, guid: data.guid, desired: s.Desired}
	r.app = s.Desired.Get(s.Ref)
	if r.app == nil {
		// Git no longer declares the app, and something that Fettle made hangs on it still.
		r.app = &manifest.Object{Ref: s.Ref, Spec: map[string]any{}}
	}
	r.settings = r.app.Settings.Or(opts.Settings)
	if r.live != nil {
		r.started = r.live.Spec["state"] == "STARTED"
	}
	return r
}

// run is the whole of it.
func (r *appRun) run(ctx context.Context) error {
	r.began = r.d.client.Now()
	if err := impossible(r.step); err != nil {
		return err
	}
	if deletes(r.step) {
		r.say("deleting")
		return r.remove(ctx, "deleting the app", "/v3/apps/"+r.guid)
	}
	for _, do := range []func(context.Context) error{
		r.resume,    // what a killed run, or somebody else, has begun
		r.stop,      // what is to run no more; it takes nothing of a quota from here on, however large it becomes
		r.configure, // one manifest, and what it cannot do
		r.stage,     // package and droplet
		r.before,    // the task that comes before new instances do
		r.rollOut,   // deployment, start, or no more than the droplet
		r.after,     // the task that comes after
		r.detach,    // unmap what is no longer declared, now that nothing goes back any more
		r.describe,  // metadata of the processes, which a deployment makes anew
		r.finish,    // nothing is pending
	} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// changesBelow lists the changes of the app itself at or below one of the top-level keys.
func (r *appRun) changesBelow(keys ...string) []diff.Change {
	var found []diff.Change
	for _, c := range r.step.Changes {
		path := manifest.SplitPointer(c.Path)
		if c.Ref == r.step.Ref && len(path) > 0 && slices.Contains(keys, path[0]) {
			found = append(found, c)
		}
	}
	return found
}

// wantsStarted says whether the app is to run after this.
func (r *appRun) wantsStarted() bool {
	if state, ok := r.app.Spec["state"].(string); ok {
		return state == "STARTED"
	}
	return r.live == nil || r.started
}

// wantsCode says whether a droplet may have to be made.
func (r *appRun) wantsCode() bool {
	if r.app.Spec["droplet"] != nil { // nothing is staged, so no change of the lifecycle matters
		return r.live == nil || len(r.changesBelow("droplet")) > 0
	}
	return r.live == nil && r.app.Spec["package"] != nil || len(r.changesBelow("package", "lifecycle")) > 0
}

// wantsRestart says whether running instances have to be replaced, apart from new code.
func (r *appRun) wantsRestart() bool {
	if r.resumed && !r.delivered {
		return true
	}
	for _, c := range r.step.Changes {
		if c.Impact < diff.ImpactRestart || c.Path == "/rollout" && r.delivered {
			continue
		}
		if c.Ref != r.step.Ref || !strings.HasPrefix(c.Path, "/package") && !strings.HasPrefix(c.Path, "/droplet") {
			return true
		}
	}
	return false
}

// intent is the word for what will follow the change of configuration, "" if nothing.
func (r *appRun) intent() string {
	switch {
	case !r.wantsStarted():
		return ""
	case !r.started:
		return pendingStart
	case r.wantsCode() || r.wantsRestart():
		return pendingRestart
	}
	return ""
}

// configure applies the manifest, with the intent written ahead in the same request, and then what a manifest
// cannot do.
func (r *appRun) configure(ctx context.Context) error {
	m := newManifestRequest(r.step.Ref)
	for _, route := range r.data.set.Of(manifest.KindRoute) {
		m.mapped[route.Ref] = true
	}
	if r.live == nil {
		m.declare(r.app, r.desired)
	} else {
		for _, c := range r.step.Changes {
			keys := manifest.SplitPointer(c.Path)
			detects := len(keys) == 3 && keys[0] == "processes" && keys[2] == "command" // null means something in a manifest
			if c.Op != diff.Remove || detects {
				m.change(c, r.desired)
			}
		}
	}
	for ref, o := range m.binds {
		if r.bindsAlone(o) {
			delete(m.binds, ref)
		}
	}
	removes := r.removals()
	binds, configures := r.binds()
	notes := r.notes(!m.empty() || configures, len(removes) > 0)
	if !m.empty() || r.live == nil {
		m.annotate(notes)
		doing := "applying the manifest"
		if r.live == nil {
			doing = "creating the app"
		}
		if err := r.applyManifest(ctx, doing, m); err != nil {
			return err
		}
	} else if notes[pendingAnnotation] != "" || configures {
		if err := r.annotate(ctx, notes, nil); err != nil {
			return err
		}
	} else {
		notes = nil // nothing is changed yet
	}
	r.pending, r.ledger = cmp.Or(notes[pendingAnnotation], r.pending), notes[appliedAnnotation]
	for _, remove := range removes {
		r.changed = true
		if err := remove(ctx); err != nil {
			return err
		}
	}
	r.changed = r.changed || configures
	for _, bind := range binds {
		if err := bind(ctx); err != nil {
			return err
		}
	}
	return r.mapDestinations(ctx)
}

// owns lists what Fettle owns when the step is done.
func (r *appRun) owns() []string { return append(ledgerKeys(r.app, r.desired), r.data.kept...) }

// notes are the annotations to be written before the change: what will follow it, and what will be owned.
func (r *appRun) notes(adding, removing bool) map[string]string {
	keys := r.owns()
	if removing || len(r.unmapped()) > 0 {
		keys = append(keys, r.data.ledger...) // still owned until it is gone
	}
	notes := map[string]string{appliedAnnotation: encodeLedger(keys)}
	intent, token := r.intent(), tokenOf(r.pending)
	if token == "" || adding || removing || r.delivered {
		token = newToken() // another change than the one that a killed run left
	}
	if pending := r.pendingFor(intent, token); intent != "" && pending != r.pending {
		notes[pendingAnnotation] = pending
	}
	return notes
}

// tokenOf is what tells the pending change from another, whatever it waits for.
func tokenOf(pending string) string { return wordOf(pending, 1) }

// droppedFrom is the droplet that an app ran with until it was stopped to be recreated.
func droppedFrom(pending string) string { return wordOf(pending, 2) }

func wordOf(pending string, n int) string {
	if words := strings.Fields(pending); n < len(words) {
		return words[n]
	}
	return ""
}

// pendingFor is the annotation that says what has to follow.
func (r *appRun) pendingFor(intent, token string) string {
	if r.recreated && intent == pendingStart && r.previous != "" {
		token += " " + r.previous
	}
	return intent + " " + token
}

// onlyResumes reports whether there is nothing to do but to complete what a killed run began.
func (r *appRun) onlyResumes() bool {
	return !slices.ContainsFunc(r.step.Changes, func(c diff.Change) bool { return !r.comesLast(c) })
}

// comesLast reports whether a change is done when the rollout has ended, so that it is open still while one is under way.
func (r *appRun) comesLast(c diff.Change) bool {
	keys := manifest.SplitPointer(c.Path)
	switch {
	case c.Ref == r.step.Ref && c.Path == "/rollout":
		return true
	case c.Op != diff.Remove:
		return false
	case c.Ref.Kind == manifest.KindRoute:
		return len(keys) == 0 || keys[0] == "destinations"
	}
	return c.Ref == r.step.Ref && len(keys) > 0 && keys[0] == "metadata"
}

// newToken tells one pending change from another.
func newToken() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// applyManifest posts the manifest and waits for its job. Applying it twice is as good as once.
func (r *appRun) applyManifest(ctx context.Context, doing string, m *manifestRequest) error {
	r.say(doing)
	text, err := manifest.MarshalV1(m.objects())
	if err != nil {
		return r.fail(doing, err)
	}
	r.changed = true
	path := "/v3/spaces/" + r.data.space + "/actions/apply_manifest"
	p := newPace()
	for attempt := 1; ; attempt++ {
		var resp *ccv3.Response
		err := r.write(ctx, func(ctx context.Context) (err error) {
			resp, err = r.d.client.Do(ctx, http.MethodPost, path, ccv3.Body{ContentType: "application/x-yaml", Data: text, Repeatable: true}, nil)
			return err
		})
		if err == nil {
			err = r.d.client.Job(ctx, resp.Location())
		}
		// Two apps that create the route they share, or two runs that create one app, at the same moment.
		if err != nil && attempt < attempts && lostRace(err) {
			if err := p.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return r.fail(doing, err)
		}
		break
	}
	if r.guid != "" {
		return nil
	}
	apps, _, err := ccv3.List[ccv3.App](ctx, r.d.client, "/v3/apps", url.Values{
		"names": {ccv3.Filter(r.step.Ref.Name())}, "space_guids": {r.data.space},
	})
	if err == nil && len(apps) == 0 {
		return &platform.Error{
			Class: platform.Internal, Ref: r.step.Ref, Origin: r.app.Origin, Doing: "looking for the app that was just created",
			Message: "the platform does not show it", Hint: "apply again",
		}
	}
	if err != nil {
		return r.fail("looking for the app that was just created", err)
	}
	r.guid = apps[0].GUID
	return nil
}

func lostRace(err error) bool {
	return ccv3.Is(err, "CF-UniquenessError") || strings.Contains(err.Error(), "already exists")
}

// annotate writes annotations of the app, and removes the labels and annotations at the pointers null, in one request.
func (r *appRun) annotate(ctx context.Context, annotations map[string]string, null []string) error {
	body := struct {
		Metadata ccv3.Metadata `json:"metadata"`
	}{ccv3.Metadata{Annotations: map[string]*string{}, Labels: map[string]*string{}}}
	for k, v := range annotations {
		body.Metadata.Annotations[k] = &v
	}
	for _, pointer := range null {
		switch keys := manifest.SplitPointer(pointer); {
		case len(keys) == 3 && keys[1] == "labels":
			body.Metadata.Labels[keys[2]] = nil
		case len(keys) == 3:
			body.Metadata.Annotations[keys[2]] = nil
		}
	}
	return r.do(ctx, "noting what was done", http.MethodPatch, "/v3/apps/"+r.guid, body)
}

// finish removes the intent and records what is owned now, in one request and only if there is something to
// say.
func (r *appRun) finish(ctx context.Context) error {
	final := encodeLedger(r.owns())
	var null []string
	for _, c := range r.changesBelow("metadata") {
		if c.Op == diff.Remove {
			null = append(null, c.Path)
		}
	}
	removed := len(null) > 0 || len(r.unmapped()) > 0
	if r.pending == "" && r.ledger == final || r.pending == "" && r.ledger == "" && !removed && !r.changed {
		return nil
	}
	if r.pending != "" {
		null = append(null, manifest.Pointer("metadata", "annotations", pendingAnnotation))
	}
	notes := map[string]string{}
	if r.ledger != final {
		notes[appliedAnnotation] = final
	}
	if running := r.runningNote(); running != "" {
		notes[runningAnnotation] = running
	}
	if err := r.annotate(ctx, notes, null); err != nil {
		return err
	}
	r.pending = ""
	return nil
}
