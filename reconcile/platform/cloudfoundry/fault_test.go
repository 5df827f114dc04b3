package cloudfoundry_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/platformtest"
)

// trouble is what befalls one request of a run.
type trouble struct {
	fate  platformtest.Fate
	kills bool // the process ends there
	lasts bool // until the run ends, whenever it is asked again
}

var troubles = map[string]trouble{
	"cut before":                  {fate: platformtest.Lost},
	"cut after":                   {fate: platformtest.Unanswered},
	"500":                         {fate: refused500},
	"500 again and again":         {fate: refused500, lasts: true},
	"503 stored":                  {fate: stored503},
	"503 stored, again and again": {fate: stored503, lasts: true},
	"429":                         {fate: limited429},
	"killed before":               {fate: platformtest.Lost, kills: true},
	"killed after":                {fate: platformtest.Unanswered, kills: true},
}

// applyInTrouble is apply with a trouble at request n, one step after the other. It reports whether there is such a request.
func (f *foundation) applyInTrouble(text string, n int, what trouble) (pass, bool) {
	f.t.Helper()
	p, d := f.prepare(f.t.Context(), text)
	ctx, kill := context.WithCancel(f.t.Context())
	defer kill()
	reached, victim := false, ""
	f.wire.install(func(i int) platformtest.Fate {
		calls := f.wire.log()
		this := calls[len(calls)-1]
		switch {
		case i == n:
			reached, victim = true, this
			if what.kills {
				kill()
			}
			return what.fate
		case i > n && what.kills:
			return platformtest.Lost // the dead ask nothing
		case i > n && what.lasts && this == victim:
			return what.fate
		}
		return platformtest.Answered
	})
	defer f.wire.install(nil)
	f.apply(ctx, d, &p)
	if p.err != nil {
		f.t.Error(p.err)
	}
	return p, reached
}

// A space of three apps with all that a manifest can say of it, as it is created, changed and rolled out, and pruned.
const (
	storyFirst = `
version: 2
apps:
- name: web
  package: {path: web}
  environment_variables: {GREETING: hello, GONE: soon}
  processes: [{type: web, scale: {instances: 2, memory: 64M}}]
- name: api
  package: {path: go}
  environment_variables: {LEVEL: info}
  sidecars: [{name: gone, command: tail, processes: [{type: web}]}]
- name: job
  package: {path: go}
  metadata: {labels: {kept: a, gone: b}}
  processes: [{type: web, health_checks: {liveness: {type: process}}}, {type: worker, command: work, scale: {instances: 1}}]
routes:
- url: web.apps.sandbox.test
  destinations: [{app: {name: web}}]
- url: api.apps.sandbox.test
  options: {loadbalancing: least-connection}
  destinations: [{app: {name: api}}]
service_instances:
- {name: db, service_offering: {name: postgresql}, service_plan: {name: small}, tags: [relational]}
- {name: audit, type: user-provided, credentials: {password: first}}
service_bindings:
- {type: app, service_instance: {name: db}, app: {name: web}}
- {type: app, service_instance: {name: audit}, app: {name: api}}
- {type: key, service_instance: {name: db}, name: backup}
`
	storySecond = `
version: 2
apps:
- name: web
  package: {path: web}
  environment_variables: {GREETING: good morning}
  processes: [{type: web, scale: {instances: 3, memory: 128M}}]
- name: api
  package: {path: go}
  environment_variables: {LEVEL: debug}
- name: job
  package: {path: go}
  metadata: {labels: {kept: c}}
  processes: [{type: web, health_checks: {liveness: {type: process}}}, {type: worker, command: work harder, scale: {instances: 1}}]
routes:
- url: web.apps.sandbox.test
  destinations: [{app: {name: web}}, {app: {name: api}}]
- url: new.apps.sandbox.test
  destinations: [{app: {name: web}}]
- url: api.apps.sandbox.test
  options: {loadbalancing: round-robin}
  destinations: [{app: {name: job}}]
service_instances:
- {name: db, service_offering: {name: postgresql}, service_plan: {name: medium}, tags: [eu]}
- {name: audit, type: user-provided, credentials: {password: second}}
service_bindings:
- {type: app, service_instance: {name: db}, app: {name: web}, name: main}
- {type: app, service_instance: {name: audit}, app: {name: api}}
- {type: app, service_instance: {name: audit}, app: {name: job}}
- {type: key, service_instance: {name: db}, name: backup}
`
	storyThird = `
version: 2
meta: {prune: {apps: true, routes: true, service_instances: true, service_bindings: true}}
apps:
- name: web
  package: {path: web}
  environment_variables: {GREETING: good morning}
  processes: [{type: web, scale: {instances: 3, memory: 128M}}]
routes:
- url: web.apps.sandbox.test
  destinations: [{app: {name: web}}]
service_instances:
- {name: db, service_offering: {name: postgresql}, service_plan: {name: medium}, tags: [eu]}
service_bindings:
- {type: app, service_instance: {name: db}, app: {name: web}, name: main}
`
)

// everywhere lets TestTroubleAnywhere try every trouble at every request, which takes about a minute. Otherwise each request
// meets every third trouble, and each trouble every third request.
var everywhere = flag.Bool("everywhere", false, "try every trouble at every request")

// Whatever befalls any one request of a deployment, the next run brings the space to the very state that a run without
// trouble leaves: nothing is there twice, and nothing is lost. What is over when it is asked again stops no run at all.
func TestTroubleAnywhere(t *testing.T) {
	for chapter, title := range []string{"create", "change and roll out", "prune"} {
		for i, name := range slices.Sorted(maps.Keys(troubles)) {
			t.Run(title+"/"+name, func(t *testing.T) {
				t.Parallel()
				first, stride := 1+i%3, 3
				switch {
				case *everywhere:
					first, stride = 1, 1
				case testing.Short():
					first, stride = 1+i, len(troubles)
				}
				synctest.Test(t, func(t *testing.T) { troubleAnywhere(t, chapter, troubles[name], first, stride) })
			})
		}
	}
}

func troubleAnywhere(t *testing.T, chapter int, what trouble, first, stride int) {
	f := newFoundation(t)
	f.parallel = 1 // the same requests in the same order
	story := []string{storyFirst, storySecond, storyThird}
	for _, text := range story[:chapter] {
		f.mustRun(text)
	}
	if chapter > 0 {
		f.newCode("second")
	}
	beginning, err := f.box.Dump()
	if err != nil {
		t.Fatal(err)
	}
	text := story[chapter]
	f.mustRun(text)
	f.converged(text)
	want := f.portrait()
	for n := first; !t.Failed(); n += stride {
		if err := f.box.Restore(beginning); err != nil {
			t.Fatal(err)
		}
		p, reached := f.applyInTrouble(text, n, what)
		if !reached {
			break
		}
		if err := p.outcome.Err(); err != nil && !what.kills && !what.lasts {
			t.Errorf("it was over at once, and yet: %v", err)
		}
		f.mustRun(text)
		f.converged(text)
		if d := cmp.Diff(want, f.portrait()); d != "" {
			t.Errorf("the space is not as without trouble (-want +got):\n%s", d)
		}
		f.nothingTwice(t)
		if t.Failed() {
			t.Errorf("the trouble was at request %d of\n%s\n%s\n%v", n, strings.Join(p.applying, "\n"), strings.Join(p.events, "\n"), p.outcome.Err())
		}
	}
}

// portrait is all that lives in the space, by name.
func (f *foundation) portrait() string {
	f.t.Helper()
	names := map[string]string{"": ""}
	all := map[string][]string{}
	note := func(kind, format string, args ...any) { all[kind] = append(all[kind], fmt.Sprintf(format, args...)) }
	codes := map[string]string{}
	for _, d := range list[ccv3.Droplet](f, "/v3/droplets") {
		for _, p := range list[ccv3.Package](f, "/v3/packages") {
			if d.Links["package"].GUID() == p.GUID {
				codes[d.GUID] = p.Metadata.Annotation(manifest.MetadataPrefix + "digest")
			}
		}
	}
	for _, a := range list[ccv3.App](f, "/v3/apps") {
		names[a.GUID] = a.Name
		// A run that is killed between deleting a route and narrowing the ledger leaves a ledger that owns more than there
		// is; the next change of the app narrows it.
		delete(a.Metadata.Annotations, manifest.MetadataPrefix+"applied")
		delete(a.Metadata.Annotations, manifest.MetadataPrefix+"running") // names a revision, and those are new every time
		note("apps", "%s %s of %.8s with %v, %s", a.Name, a.State, codes[a.Relationships.CurrentDroplet.GUID()], f.env(a.Name), dump(a.Metadata))
		for _, p := range list[ccv3.Process](f, "/v3/apps/"+a.GUID+"/processes") {
			note("processes", "%s/%s: %d × %d MB, %s", a.Name, p.Type, p.Instances, p.MemoryInMB, dump(p.HealthCheck))
		}
		for _, s := range list[ccv3.Sidecar](f, "/v3/apps/"+a.GUID+"/sidecars") {
			note("sidecars", "%s/%s", a.Name, s.Name)
		}
	}
	note("routes", "%s", f.drawn())
	for _, i := range list[ccv3.ServiceInstance](f, "/v3/service_instances") {
		names[i.GUID] = i.Name
		note("service instances", "%s %v %s", i.Name, i.Tags, i.LastOperation.State)
	}
	for _, b := range list[ccv3.Binding](f, "/v3/service_credential_bindings") {
		name := ""
		if b.Name != nil {
			name = *b.Name
		}
		note("bindings", "%s %s of %s to %s", b.Type, name, names[b.Relationships.App.GUID()], names[b.Relationships.ServiceInstance.GUID()])
	}
	for _, lines := range all {
		slices.Sort(lines)
	}
	return dump(all)
}
