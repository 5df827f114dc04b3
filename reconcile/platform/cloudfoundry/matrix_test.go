package cloudfoundry_test

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/byhand"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// The columns of testdata/matrix.md: what is given, and what comes of it.
const (
	colName = iota
	colWithout
	colOne
	colAnother
	colByHand
	colWhere
	colAdd
	colChange
	colEdited
	colRemove
	colUnspecified
	columns
)

// TestMatrix goes through testdata/matrix.md, which tells what it does.
func TestMatrix(t *testing.T) {
	const file = "testdata/matrix.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	version := ""
	t.Run("attributes", func(t *testing.T) {
		for i, line := range lines {
			if title, ok := strings.CutPrefix(line, "## "); ok {
				version, _, _ = strings.Cut(title, ":")
			}
			row := cells(line)
			if len(row) < colWhere || row[colName] == "attribute" || strings.HasPrefix(line, "|-") {
				continue
			}
			row = append(row, make([]string, columns)...)[:columns]
			v1 := version == "Version 1"
			t.Run(version+"/"+row[colName], func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { walk(t, v1, row) })
				lines[i] = "| " + strings.Join(row, " | ") + " |"
			})
		}
	})
	got := strings.Join(lines, "\n")
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if d := gocmp.Diff(strings.Split(string(text), "\n"), lines); d != "" {
		t.Errorf("%s says something else (-want +got); if it is right as it is now, run it with -update:\n%s", file, d)
	}
}

func cells(line string) []string {
	if !strings.HasPrefix(line, "| ") {
		return nil
	}
	var row []string
	for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
		row = append(row, strings.TrimSpace(cell))
	}
	return row
}

// walk leads one attribute through its life, and fills in what was seen.
func walk(t *testing.T, v1 bool, row []string) {
	f := newServices(t)
	f.newSpace("prod")
	for _, name := range []string{"web-two/server.js"} {
		f.files[name] = &fstest.MapFile{Data: []byte("// " + name)}
	}
	for _, flag := range []string{"diego_docker", "diego_cnb"} {
		f.do(http.MethodPatch, "/v3/feature_flags/"+flag, map[string]any{"enabled": true}, nil)
	}
	f.do(http.MethodPost, "/v3/stacks", map[string]any{"name": "cflinuxfs5"}, nil)
	f.byHand(
		"POST /v3/service_instances {type: user-provided, name: mail, relationships: {space: {data: {guid: $space:dev}}}}",
		"POST /v3/service_instances {type: user-provided, name: queue, relationships: {space: {data: {guid: $space:dev}}}}",
		"POST /v3/service_instances {type: user-provided, name: waf, route_service_url: 'https://waf.example.com', relationships: {space: {data: {guid: $space:dev}}}}",
		"POST /v3/service_instances {type: managed, name: db, relationships: {space: {data: {guid: $space:dev}}, service_plan: {data: {guid: $plan:small}}}}",
		"POST /v3/routes {host: spare, relationships: {space: {data: {guid: $space:dev}}, domain: {data: {guid: $domain:apps.sandbox.test}}}}",
	)
	without, one, another := wholeManifest(v1, row[colWithout]), wholeManifest(v1, row[colOne]), wholeManifest(v1, row[colAnother])

	f.mustRun(without)
	w := walker{f: f, d: f.driver(), where: row[colWhere]}
	row[colAdd] = w.step("add", one)
	row[colChange] = w.step("change", another)
	first, second, both := strings.Cut(row[colByHand], " // ")
	if !both {
		second = first
	}
	edit := func(phase, edit, text string) string {
		if edit == "" {
			return ""
		}
		f.byHand(edit)
		return w.step(phase, text)
	}
	row[colEdited] = edit("edited", first, another)
	row[colRemove] = w.step("remove", without)
	row[colUnspecified] = edit("unspecified", second, without)
}

func (f *foundation) byHand(edits ...string) {
	f.t.Helper()
	if err := byhand.Edit(f.t.Context(), f.admin, edits...); err != nil {
		f.t.Fatal(err)
	}
}

var topOfV2 = regexp.MustCompile(`^(meta|routes|service_instances|service_bindings):`)

// wholeManifest puts lines into a manifest with the app web.
func wholeManifest(v1 bool, lines string) string {
	app, top := "applications:\n- name: web\n", ""
	if !v1 {
		app = "version: 2\napps:\n- name: web\n"
	}
	if !regexp.MustCompile(`(^|; )(path|docker|package):`).MatchString(lines) {
		app += map[bool]string{true: "  path: web\n", false: "  package: {path: web}\n"}[v1]
	}
	for _, line := range strings.Split(lines, "; ") {
		switch {
		case line == "":
		case !v1 && topOfV2.MatchString(line):
			top += line + "\n"
		default:
			app += "  " + line + "\n"
		}
	}
	return app + top
}

type walker struct {
	f     *foundation
	d     *cloudfoundry.Driver
	where string
}

// step applies a manifest, and returns the cell: what the plan said, after making sure that this is what happened.
func (w walker) step(phase, text string) string {
	t, d := w.f.t, w.d
	desired, err := d.Prepare(t.Context(), w.f.load(text), w.f.files)
	if err != nil {
		t.Fatalf("%s: %v", phase, err)
	}
	before := w.see(desired)
	p := pass{changes: w.compare(desired, before)}
	if p.plan, err = d.Plan(t.Context(), platform.PlanInput{Desired: desired, Live: before.obs, Changes: p.changes}); err != nil {
		t.Fatalf("%s: %v", phase, err)
	}
	cell, gravest := w.cell(p)
	if gravest == diff.ImpactImpossible {
		if len(p.plan.Problems) == 0 {
			t.Errorf("%s: what is impossible is a problem of the plan", phase)
		}
		return cell
	}
	if gravest == diff.ImpactUnknown {
		return cell
	}
	if slices.ContainsFunc(p.plan.Problems, func(p platform.Problem) bool { return !p.Warning }) {
		return cell + " (refused)"
	}
	w.f.apply(t.Context(), d, &p)
	if err := errors.Join(p.err, p.outcome.Err()); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", phase, err, text, strings.Join(p.events, "\n"))
	}
	after := w.see(desired)
	for _, c := range w.compare(desired, after).List {
		t.Errorf("%s: still differs: %s: %v, declared %v", phase, c, c.Was, c.Value)
	}
	return cell + w.happened(phase, p, gravest, before, after)
}

func (w walker) compare(desired manifest.Set, s sight) diff.Changes {
	changes, err := diff.Compare(desired, s.obs.Live, s.obs.Ledger)
	if err == nil {
		changes, err = changes.WithInputs(desired, s.obs.Seals)
	}
	if err != nil {
		w.f.t.Fatal(err)
	}
	return changes
}

// cell draws the changes of a plan, and finds the gravest impact.
func (w walker) cell(p pass) (string, diff.Impact) {
	var parts []string
	gravest := diff.ImpactUnknown
	seen := map[string]bool{}
	for _, s := range p.plan.Steps {
		for _, c := range s.Changes {
			gravest = max(gravest, c.Impact)
			at := c.Path
			if c.Ref.Kind != manifest.KindApp {
				at = strings.TrimSpace(string(c.Ref.Kind) + " " + c.Path)
			}
			part := map[diff.Op]string{diff.Add: "+", diff.Update: "~", diff.Remove: "-"}[c.Op] + " " + c.Impact.String()
			if at != w.where {
				part += " " + at
			}
			if !seen[part] {
				parts = append(parts, part)
			}
			seen[part] = true
		}
	}
	for _, u := range p.changes.Unobserved {
		if at := u.Path; at == w.where || string(u.Ref.Kind)+" "+at == w.where {
			parts = append(parts, "unobservable")
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "·"), gravest
}

// sight is what can be seen of the app and of what hangs on it.
type sight struct {
	obs      platform.Observation
	leaves   map[string]any // of all live resources
	web      string         // guid of the process: another one after a rollout
	droplet  string
	restarts int // starts, stops and restarts in the audit events
	state    any
}

func (w walker) see(desired manifest.Set) sight {
	t := w.f.t
	obs, err := w.d.Observe(t.Context(), desired)
	if err != nil {
		t.Fatal(err)
	}
	s := sight{leaves: map[string]any{}, obs: obs}
	for _, o := range obs.Live.Objects() {
		leavesOf(o.Ref.String()+" ", o.Spec, s.leaves)
	}
	app := w.f.app("web")
	s.state = s.leaves["app acme/dev/web /state"]
	var process ccv3.Process
	w.f.do(http.MethodGet, "/v3/apps/"+app+"/processes/web", nil, &process)
	s.web = process.GUID
	var a ccv3.App
	w.f.do(http.MethodGet, "/v3/apps/"+app, nil, &a)
	s.droplet = a.Relationships.CurrentDroplet.GUID()
	events, _, err := ccv3.List[ccv3.Resource](t.Context(), w.f.admin, "/v3/audit_events", url.Values{
		"types": {"audit.app.start,audit.app.stop,audit.app.restart"}, "target_guids": {app},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.restarts = len(events)
	return s
}

func leavesOf(at string, v any, into map[string]any) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		into[at] = v
	}
	for k, child := range m {
		leavesOf(at+manifest.Pointer(k), child, into)
	}
}

// alongWith is what changes by itself along with something else.
var alongWith = map[string]string{
	"/routed":                      "route ", // that default-route makes
	"/destinations":                "/routed",
	"/service_plan":                "/maintenance_info", // of the other plan
	"/health_check/type":           "/health_check/",    // an endpoint goes with the type http
	"/readiness_health_check/type": "/readiness_health_check/",
	"/lifecycle":                   "/package", // which code the droplet holds, while it is staged anew
}

// happened compares what a plan said with what can be seen, and returns what it could not know.
func (w walker) happened(phase string, p pass, gravest diff.Impact, before, after sight) (note string) {
	t := w.f.t
	rolled, staged := before.web != after.web, before.droplet != after.droplet
	runs := before.state == "STARTED" && after.state == "STARTED"
	if gravest == diff.ImpactRestage && !staged && phase == "edited" {
		note, staged = " (the droplet is there)", true
	}
	if rolled != (runs && gravest >= diff.ImpactRestart) {
		t.Errorf("%s: the plan says %s, and the instances were replaced: %t", phase, gravest, rolled)
	}
	if staged != (gravest == diff.ImpactRestage) {
		t.Errorf("%s: the plan says %s, and there is a new droplet: %t", phase, gravest, staged)
	}
	if after.restarts != before.restarts && !p.speaksOf("/state") {
		t.Errorf("%s: the plan says %s, and the app was started or stopped", phase, gravest)
	}
	for _, s := range p.plan.Steps {
		for _, c := range s.Changes {
			if was, is := before.obs.IDs[c.Ref], after.obs.IDs[c.Ref]; c.Path != "" && (was != is) != (c.Impact == diff.ImpactRecreate) {
				t.Errorf("%s: %s is %s, and its guid went from %s to %s", phase, c, c.Impact, was, is)
			}
		}
	}
	all, moved := maps.Clone(before.leaves), false
	maps.Copy(all, after.leaves)
	for leaf := range all {
		was, had := before.leaves[leaf]
		is, has := after.leaves[leaf]
		if had == has && reflect.DeepEqual(was, is) {
			continue
		}
		if moved = true; !p.accountsFor(leaf) {
			t.Errorf("%s: the plan does not speak of %s, which went from %v to %v", phase, leaf, was, is)
		}
	}
	if !moved && !p.speaksOf("/parameters") { // which the API never gives back
		t.Errorf("%s: the plan says %v, and nothing happened", phase, p.changes.List)
	}
	return note
}

func (p pass) speaksOf(path string) bool {
	return slices.ContainsFunc(p.changes.List, func(c diff.Change) bool { return strings.HasPrefix(c.Path, path) })
}

// accountsFor reports whether a change of the plan is one of this leaf, or brings it about.
func (p pass) accountsFor(leaf string) bool {
	return slices.ContainsFunc(p.changes.List, func(c diff.Change) bool {
		for cause, also := range alongWith {
			value, _ := c.Value.(map[string]any)
			if (strings.Contains(c.Path, cause) || value[strings.Trim(cause, "/")] != nil || c.Path == "") && strings.Contains(leaf, also) {
				return true
			}
		}
		at := c.Ref.String() + " " + c.Path
		return strings.HasPrefix(leaf+"/", at+"/") || strings.HasPrefix(at, leaf+"/")
	})
}
