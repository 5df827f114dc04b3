package logs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// said is what the controller logs with an audit event of an app, after the part "audit.app." of the type. Events that
// are not here are not logged.
var said = map[string]string{
	"create":                     "Created app with guid {guid}",
	"update":                     "Updated app with guid {guid} ({request})",
	"start":                      "Starting app with guid {guid}",
	"stop":                       "Stopping app with guid {guid}",
	"restart":                    "Restarted app with guid {guid}",
	"delete-request":             "Deleted app with guid {guid}",
	"apply_manifest":             "Applied manifest to app with guid {guid}",
	"package.create":             "Adding app package for app with guid {guid}",
	"package.upload":             "Uploading app package for app with guid {guid}",
	"build.create":               "Creating build for app with guid {guid}",
	"build.failed":               "Failed to stage build for app with guid {guid}",
	"droplet.create":             "Creating droplet for app with guid {guid}",
	"droplet.mapped":             "Updated app with guid {guid} ({request})",
	"process.create":             `Adding process: "{type}"`,
	"process.update":             `Updating process: "{type}"`,
	"process.scale":              `Scaling process: "{type}"`,
	"process.terminate_instance": `Terminating process: "{type}", index: "{index}"`,
	"revision.create":            "Creating revision for app with guid {guid}",
	"deployment.create":          "Creating deployment for app with guid {guid}",
	"deployment.cancel":          "Cancelling deployment for app with guid {guid}",
	"deployment.continue":        "Continuing deployment for app with guid {guid}",
	"task.create":                "Creating task for app with guid {guid}",
	"task.cancel":                "Cancelling task for app with guid {guid}",
}

// controller tells what the Cloud Controller did.
func (w *writer) controller() {
	for _, e := range w.tx.W.AuditEvents.By("target", w.app.GUID) {
		const prefix = "audit.app."
		if len(e.Type) <= len(prefix) {
			continue
		}
		if format := said[e.Type[len(prefix):]]; format != "" {
			w.add(Line{At: e.Created, Source: "API", Instance: "0", Text: sentence(format, w.app.GUID, e.Data)})
		}
	}
}

// sentence fills the event's data in; the request is printed as Ruby would.
func sentence(format, guid string, data json.RawMessage) string {
	v, _ := tree.Parse(data)
	o, _ := v.(tree.Obj)
	typ, _ := o.Get("process_type").(string)
	index, _ := o.Get("process_index").(int64)
	request, _ := o.Get("request").(tree.Obj)
	return strings.NewReplacer("{guid}", guid, "{request}", cc.Inspect(request), "{type}", typ, "{index}", strconv.FormatInt(index, 10)).Replace(format)
}

// staging tells how each build went. Steps are at tenths of the time that staging takes.
func (w *writer) staging() {
	for _, b := range w.tx.W.Builds.By("app", w.app.GUID) {
		tenth := w.tx.Scaled(w.tx.S.Staging) / 10
		end := b.Updated
		if d, ok := w.tx.W.Droplets.Get(b.Droplet); ok {
			end = d.Created
		}
		buildpacks, what := b.Buildpacks, "app package"
		switch {
		case b.Lifecycle == world.Docker:
			what = "image manifest"
		case len(buildpacks) == 0:
			buildpacks = []string{"sandbox_buildpack"}
		}
		at := func(tenths int) time.Time { return b.Created.Add(time.Duration(tenths) * tenth) }
		say := func(t time.Time, text string) { w.add(Line{At: t, Source: "STG", Instance: "0", Text: text}) }
		for _, name := range buildpacks {
			say(at(1), "Downloading "+name+"...")
			say(at(2), "Downloaded "+name)
		}
		say(at(3), "Cell sandbox creating container for instance "+b.GUID)
		say(at(3), "Security group rules were updated")
		say(at(4), "Cell sandbox successfully created container for instance "+b.GUID)
		say(at(4), "Downloading "+what+"...")
		if p, ok := w.tx.W.Packages.Get(b.Package); ok && p.Bits != nil {
			what += " (" + size(len(p.Bits)) + ")"
		}
		say(at(5), "Downloaded "+what)
		switch b.State {
		case world.Staged:
			for _, name := range buildpacks {
				say(at(6), "-----> "+name+": the sandbox stages nothing, it only takes its time")
			}
			say(at(8), "Exit status 0")
			say(at(8), "Uploading droplet, build artifacts cache...")
			say(at(9), "Uploaded droplet")
			say(end, "Uploading complete")
		case world.Failed:
			w.add(Line{At: end, Source: "STG", Instance: "0", Text: "**ERROR** Unable to detect a supported application type", Err: true})
			w.add(Line{At: end, Source: "STG", Instance: "0", Text: "Failed to compile droplet: " + b.Error, Err: true})
			say(end, "Exit status 222")
		default:
			continue
		}
		say(end, "Cell sandbox stopping instance "+b.GUID)
		say(end, "Cell sandbox destroying container for instance "+b.GUID)
	}
}

func size(n int) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1fK", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
}

// silence stands for what an app would say. It does not repeat the command: who may read logs may not always read that.
const silence = "The sandbox runs nothing, so there is nothing to say."

// instances tells how the instances that there are came up.
func (w *writer) instances() {
	for _, p := range w.tx.W.Processes.By("app", w.app.GUID) {
		app := processSource(p.Type)
		add := func(l Line) { l.Process = p; w.add(l) }
		for i, n := range p.Running {
			index := strconv.Itoa(i)
			cell := func(t time.Time, text string) {
				add(Line{At: t, Source: "CELL", Instance: index, Text: "Cell sandbox " + text + " " + n.GUID})
			}
			say := func(t time.Time, text string) { add(Line{At: t, Source: app, Instance: index, Text: text}) }
			state, since := runtime.State(w.tx, p, i)
			cell(n.Since, "creating container for instance")
			cell(n.Since, "successfully created container for instance")
			switch state {
			case runtime.Running:
				say(since, "Invoking start command.")
				say(since, silence)
				for _, s := range w.tx.W.Sidecars.By("app", w.app.GUID) {
					if slices.Contains(s.ProcessTypes, p.Type) {
						add(Line{At: since, Source: app + "/SIDECAR/" + s.Name, Instance: index, Text: silence})
					}
				}
				add(Line{At: since, Source: "CELL", Instance: index, Text: "Container became healthy"})
			case runtime.Starting:
				if p.Fault == runtime.FaultStuck {
					add(Line{At: since, Source: "HEALTH", Instance: index, Text: "Failed to make TCP connection to port 8080: connection refused", Err: true})
				}
			case runtime.Crashed:
				say(since, "Invoking start command.")
				add(Line{At: since, Source: app, Instance: index, Text: "It crashes on demand (" + p.Fault + ").", Err: true})
				say(since, "Exit status 1")
				cell(since, "stopping instance")
				w.add(Line{At: since, Source: "API", Instance: "0", Text: fmt.Sprintf(
					"Process has crashed with type: %q, instance: %q, exit_description: \"APP/PROC/%s: Exited with status 1\"", p.Type, n.GUID, app[len("APP/PROC/"):])})
			}
		}
	}
}

// tasks tells how each task went.
func (w *writer) tasks() {
	for _, t := range w.tx.W.Tasks.By("app", w.app.GUID) {
		source := "APP/TASK/" + t.Name
		say := func(at time.Time, text string) { w.add(Line{At: at, Source: source, Instance: "0", Text: text}) }
		say(t.Created, "Cell sandbox creating container for instance "+t.GUID)
		say(t.Created, "Cell sandbox successfully created container for instance "+t.GUID)
		say(t.Created, silence)
		switch t.State {
		case world.TaskSucceeded:
			say(t.Updated, "Exit status 0")
		case world.TaskFailed:
			w.add(Line{At: t.Updated, Source: source, Instance: "0", Text: "Exit status 222", Err: true})
		default:
			continue
		}
		say(t.Updated, "Cell sandbox stopping instance "+t.GUID)
	}
}
