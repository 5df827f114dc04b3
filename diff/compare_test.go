package diff_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// Short names that keep the tables below readable.
type tree = map[string]any

var (
	web     = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	other   = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/other"}
	route   = manifest.Ref{Kind: manifest.KindRoute, Path: "acme/dev/web.example.com"}
	binding = manifest.Ref{Kind: manifest.KindServiceBinding, Path: "acme/dev/web/db"}
)

// lines draws changes in one line each: "op ref path: was → value".
func lines(c diff.Changes) []string {
	all := []string{}
	for _, ch := range c.List {
		line := ch.String()
		if ch.Op != diff.Add {
			line += " was " + text(ch.Was)
		}
		if ch.Op != diff.Remove {
			line += " value " + text(ch.Value)
		}
		all = append(all, line)
	}
	for _, u := range c.Unobserved {
		all = append(all, "unobserved "+u.Ref.String()+" "+u.Path+": "+u.Why)
	}
	for _, ref := range c.Unmanaged {
		all = append(all, "unmanaged "+ref.String())
	}
	return all
}

// What is declared in one app, what lives, and what follows.
func TestCompareOneApp(t *testing.T) {
	for _, test := range []struct {
		name          string
		desired, live tree
		own           manifest.Ownership // of /environment_variables, /metadata/labels, /processes
		ledger        []string
		unobservable  map[string]string
		want          []string
	}{
		{
			name:    "equal, and live has more than Git declares",
			desired: tree{"environment_variables": tree{"A": "1"}, "processes": tree{"web": tree{"instances": int64(2)}}},
			live: tree{
				"environment_variables": tree{"A": "1", "B": "by hand"}, "state": "STARTED",
				"processes": tree{"web": tree{"instances": int64(2), "memory_in_mb": int64(256)}, "worker": tree{"instances": int64(1)}},
			},
		},
		{
			name:    "a changed field",
			desired: tree{"processes": tree{"web": tree{"memory_in_mb": int64(512)}}},
			live:    tree{"processes": tree{"web": tree{"memory_in_mb": int64(256), "instances": int64(1)}}},
			want:    []string{"update app acme/dev/web /processes/web/memory_in_mb was 256 value 512"},
		},
		{
			name:    "integers are equal by value, whatever their Go type",
			desired: tree{"processes": tree{"web": tree{"instances": 2, "memory_in_mb": int64(64), "disk_in_mb": uint8(7)}}},
			live:    tree{"processes": tree{"web": tree{"instances": int64(2), "memory_in_mb": float64(64), "disk_in_mb": int32(7)}}},
		},
		{
			name:    "a string is never equal to a number",
			desired: tree{"environment_variables": tree{"A": "1"}},
			live:    tree{"environment_variables": tree{"A": int64(1)}},
			want:    []string{`update app acme/dev/web /environment_variables/A was 1 value "1"`},
		},
		{
			name:    "a new element of a collection of values",
			desired: tree{"environment_variables": tree{"A": "1", "B": "2"}},
			live:    tree{"environment_variables": tree{"A": "1"}},
			want:    []string{`add app acme/dev/web /environment_variables/B value "2"`},
		},
		{
			name:    "a collection that is not there yet is added element by element",
			desired: tree{"environment_variables": tree{"A": "1", "B": "2"}, "metadata": tree{"labels": tree{"team": "shop"}}},
			live:    tree{},
			want: []string{
				`add app acme/dev/web /environment_variables/A value "1"`,
				`add app acme/dev/web /environment_variables/B value "2"`,
				`add app acme/dev/web /metadata/labels/team value "shop"`,
			},
		},
		{
			name:    "a new process or sidecar is added as a whole",
			desired: tree{"processes": tree{"worker": tree{"instances": int64(1), "command": "work"}}, "sidecars": tree{"envoy": tree{"command": "envoy"}}},
			live:    tree{"processes": tree{"web": tree{"instances": int64(1)}}},
			want: []string{
				`add app acme/dev/web /processes/worker value {"command":"work","instances":1}`,
				`add app acme/dev/web /sidecars/envoy value {"command":"envoy"}`,
			},
		},
		{
			name:    "a bare process only has to exist",
			desired: tree{"processes": tree{"web": tree{}, "worker": tree{}}},
			live:    tree{"processes": tree{"web": tree{"instances": int64(1)}}},
			want:    []string{`add app acme/dev/web /processes/worker value {}`},
		},
		{
			name:    "a group of fields inside a process is filled in field by field",
			desired: tree{"processes": tree{"web": tree{"health_check": tree{"type": "http", "http_endpoint": "/up"}}}},
			live:    tree{"processes": tree{"web": tree{"health_check": tree{"type": "port", "http_endpoint": nil}}}},
			want: []string{
				`add app acme/dev/web /processes/web/health_check/http_endpoint value "/up"`,
				`update app acme/dev/web /processes/web/health_check/type was "port" value "http"`,
			},
		},
		{
			name:    "lists are one value, and their order means something",
			desired: tree{"lifecycle": tree{"buildpacks": []any{"go", "java"}}, "sidecars": tree{"s": tree{"process_types": []any{"web"}}}},
			live:    tree{"lifecycle": tree{"buildpacks": []any{"java", "go"}}, "sidecars": tree{"s": tree{"process_types": []any{"web", "worker"}}}},
			want: []string{
				`update app acme/dev/web /lifecycle/buildpacks was ["java","go"] value ["go","java"]`,
				`update app acme/dev/web /sidecars/s/process_types was ["web","worker"] value ["web"]`,
			},
		},
		{
			name:    "an empty list or map is the same as none",
			desired: tree{"lifecycle": tree{"buildpacks": []any{}}, "environment_variables": tree{}},
			live:    tree{"lifecycle": tree{"buildpacks": nil}},
		},
		{
			name:    "nil declares that there must be nothing",
			desired: tree{"metadata": tree{"labels": tree{"gone": nil, "absent": nil}}, "processes": tree{"web": tree{"command": nil}, "worker": tree{"command": nil}}},
			live:    tree{"metadata": tree{"labels": tree{"gone": "x"}}, "processes": tree{"web": tree{"command": "rake"}, "worker": tree{"command": nil}}},
			want: []string{
				`remove app acme/dev/web /metadata/labels/gone was "x"`,
				`remove app acme/dev/web /processes/web/command was "rake"`,
			},
		},
		{
			name:    "keys with slashes, tildes, dots and brackets",
			desired: tree{"metadata": tree{"labels": tree{"example.com/a~b": "1", "x(y[": "2"}}},
			live:    tree{"metadata": tree{"labels": tree{}}},
			want: []string{
				`add app acme/dev/web /metadata/labels/example.com~1a~0b value "1"`,
				`add app acme/dev/web /metadata/labels/x(y[ value "2"`,
			},
		},
		{
			name:    "additive: what only lives stays, even if Fettle made it",
			own:     manifest.Additive,
			desired: tree{"environment_variables": tree{"A": "1"}},
			live:    tree{"environment_variables": tree{"A": "1", "OURS": "x", "THEIRS": "y"}},
			ledger:  []string{"/environment_variables/OURS"},
		},
		{
			name:    "three-way: what Fettle made and Git dropped goes, the rest stays",
			own:     manifest.ThreeWay,
			desired: tree{"environment_variables": tree{"A": "1"}, "processes": tree{"web": tree{}}},
			live: tree{
				"environment_variables": tree{"A": "1", "OURS": "x", "THEIRS": "y"}, "metadata": tree{"labels": tree{"theirs": "z"}},
				"processes": tree{"web": tree{"instances": int64(1)}, "worker": tree{"instances": int64(1)}},
			},
			ledger: []string{"/environment_variables/OURS", "/environment_variables/A", "/environment_variables/LONG_GONE", "/processes/worker"},
			want: []string{
				`remove app acme/dev/web /environment_variables/OURS was "x"`,
				`remove app acme/dev/web /processes/worker was {"instances":1}`,
			},
		},
		{
			name:    "three-way: the whole collection was dropped from Git",
			own:     manifest.ThreeWay,
			desired: tree{},
			live:    tree{"environment_variables": tree{"OURS": "x", "THEIRS": "y"}, "metadata": tree{"labels": tree{"ours": "z"}}},
			ledger:  []string{"/environment_variables/OURS", "/metadata/labels/ours"},
			want: []string{
				`remove app acme/dev/web /environment_variables/OURS was "x"`,
				`remove app acme/dev/web /metadata/labels/ours was "z"`,
			},
		},
		{
			name:    "exact: what only lives goes; fields of a kept element do not",
			own:     manifest.Exact,
			desired: tree{"environment_variables": tree{"A": "1"}, "processes": tree{"web": tree{"instances": int64(1)}}},
			live: tree{
				"environment_variables": tree{"A": "1", "THEIRS": "y"}, "state": "STARTED",
				"processes": tree{"web": tree{"instances": int64(1), "memory_in_mb": int64(256)}},
			},
			want: []string{`remove app acme/dev/web /environment_variables/THEIRS was "y"`},
		},
		{
			name:         "unreadable: said, never taken for equal or different",
			own:          manifest.Exact,
			desired:      tree{"environment_variables": tree{"A": "1"}, "processes": tree{"web": tree{"command": "run", "instances": int64(2)}}},
			live:         tree{"processes": tree{"web": tree{"instances": int64(1)}}},
			unobservable: map[string]string{"/environment_variables": "your role may not read them", "/processes/web/command": "hidden", "/sidecars": "no rights"},
			want: []string{
				"update app acme/dev/web /processes/web/instances was 1 value 2",
				"unobserved app acme/dev/web /environment_variables: your role may not read them",
				"unobserved app acme/dev/web /processes/web/command: hidden",
			},
		},
		{
			name:         "unreadable and no longer declared: Fettle's own elements may still be there",
			own:          manifest.ThreeWay,
			desired:      tree{},
			live:         tree{},
			ledger:       []string{"/environment_variables/OURS"},
			unobservable: map[string]string{"/environment_variables": "no rights", "/metadata": "no rights"},
			want:         []string{"unobserved app acme/dev/web /environment_variables: no rights"},
		},
		{
			name:         "nothing of it is readable",
			desired:      tree{"state": "STARTED"},
			live:         tree{},
			unobservable: map[string]string{"": "403"},
			want:         []string{"unobserved app acme/dev/web : 403"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			desired := &manifest.Object{Ref: web, Spec: test.desired}
			if test.own != "" {
				desired.Ownership = map[string]manifest.Ownership{"/environment_variables": test.own, "/metadata/labels": test.own, "/processes": test.own}
			}
			ledger := diff.Ledger{web: {}}
			for _, pointer := range test.ledger {
				ledger[web][pointer] = true
			}
			live := &manifest.Object{Ref: web, Spec: test.live, Unobservable: test.unobservable}
			got, err := diff.Compare(manifest.NewSet(desired), manifest.NewSet(live), ledger)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == nil {
				test.want = []string{}
			}
			if d := cmp.Diff(test.want, lines(got)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Whole resources: missing ones are made, others only go when Fettle made them and nobody can lose data by it.
func TestCompareResources(t *testing.T) {
	destination := func(names ...string) tree {
		d := tree{}
		for _, name := range names {
			d[name] = tree{"port": int64(8080)}
		}
		return tree{"destinations": d}
	}
	for _, test := range []struct {
		name          string
		desired, live []*manifest.Object
		ledger        diff.Ledger
		want          []string
	}{
		{
			name: "missing: one add with the whole spec, in the order in which things depend on each other",
			desired: []*manifest.Object{
				{Ref: binding, Spec: tree{"app": "web", "service_instance": "db"}},
				{Ref: route, Spec: destination("web/web")},
				{Ref: web, Spec: tree{"processes": tree{"web": tree{"instances": 1}}}},
			},
			want: []string{
				`add app acme/dev/web value {"processes":{"web":{"instances":1}}}`,
				`add route acme/dev/web.example.com value {"destinations":{"web/web":{"port":8080}}}`,
				`add service_binding acme/dev/web/db value {"app":"web","service_instance":"db"}`,
			},
		},
		{
			name:    "a new destination of a route is added as a whole, a foreign one stays",
			desired: []*manifest.Object{{Ref: route, Spec: destination("web/web")}},
			live:    []*manifest.Object{{Ref: route, Spec: destination("other/web")}},
			want:    []string{`add route acme/dev/web.example.com /destinations/web~1web value {"port":8080}`},
		},
		{
			name:    "an app is never removed, whatever the ledger says",
			desired: []*manifest.Object{{Ref: web}},
			live:    []*manifest.Object{{Ref: web}, {Ref: other}, {Ref: manifest.Ref{Kind: manifest.KindServiceInstance, Path: "acme/dev/db"}}},
			ledger:  diff.Ledger{other: {"": true}},
			want:    []string{"unmanaged service_instance acme/dev/db", "unmanaged app acme/dev/other"},
		},
		{
			name: "what a declaration refers to is not a leftover",
			desired: []*manifest.Object{
				{Ref: binding, Spec: tree{"app": "web"}, Requires: []manifest.Ref{{Kind: manifest.KindServiceInstance, Path: "acme/dev/db"}}},
			},
			live: []*manifest.Object{{Ref: binding, Spec: tree{"app": "web"}}, {Ref: manifest.Ref{Kind: manifest.KindServiceInstance, Path: "acme/dev/db"}}},
		},
		{
			name:    "a binding goes if Fettle made it",
			desired: []*manifest.Object{{Ref: web}},
			live:    []*manifest.Object{{Ref: web}, {Ref: binding, Spec: tree{"app": "web"}}, {Ref: web.Child(manifest.KindServiceBinding, "web/by-hand")}},
			ledger:  diff.Ledger{binding: {"": true}},
			want:    []string{`remove service_binding acme/dev/web/db was {"app":"web"}`, "unmanaged service_binding acme/dev/web/by-hand"},
		},
		{
			name:    "a binding that Fettle made stays where the app is additive about them",
			desired: []*manifest.Object{{Ref: web, Ownership: map[string]manifest.Ownership{manifest.AppBindings: manifest.Additive}}},
			live:    []*manifest.Object{{Ref: web}, {Ref: binding, Spec: tree{"app": "web"}}},
			ledger:  diff.Ledger{binding: {"": true}},
			want:    []string{"unmanaged service_binding acme/dev/web/db"},
		},
		{
			name:    "a route that Git dropped loses our destinations only, and stays",
			desired: []*manifest.Object{{Ref: web}},
			live:    []*manifest.Object{{Ref: web}, {Ref: route, Spec: destination("web/web", "other/web")}},
			ledger:  diff.Ledger{route: {"/destinations/web~1web": true}},
			want:    []string{`remove route acme/dev/web.example.com /destinations/web~1web was {"port":8080}`, "unmanaged route acme/dev/web.example.com"},
		},
		{
			name:    "and none where the app is additive about them",
			desired: []*manifest.Object{{Ref: web, Ownership: map[string]manifest.Ownership{manifest.AppRoutes: manifest.Additive}}},
			live:    []*manifest.Object{{Ref: web}, {Ref: route, Spec: destination("web/web", "other/web")}},
			ledger:  diff.Ledger{route: {"/destinations/web~1web": true}},
			want:    []string{"unmanaged route acme/dev/web.example.com"},
		},
		{
			name:    "the route that random-route made is what Git asked for",
			desired: []*manifest.Object{{Ref: web, Spec: tree{"routed": true}}},
			live:    []*manifest.Object{{Ref: web, Spec: tree{"routed": true}}, {Ref: route, Spec: destination("web/web")}},
			ledger:  diff.Ledger{route: {"/destinations/web~1web": true}},
		},
		{
			name:    "other spaces, and the places themselves, are nobody's leftovers",
			desired: []*manifest.Object{{Ref: web}},
			live: []*manifest.Object{
				{Ref: web},
				{Ref: manifest.Ref{Kind: manifest.KindApp, Path: "acme/prod/web"}},
				{Ref: manifest.Ref{Kind: manifest.KindSpace, Path: "acme/dev"}},
				{Ref: manifest.Ref{Kind: manifest.KindOrg, Path: "acme"}},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := diff.Compare(manifest.NewSet(test.desired...), manifest.NewSet(test.live...), test.ledger)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == nil {
				test.want = []string{}
			}
			if d := cmp.Diff(test.want, lines(got)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Each change says where the declared value stands; a removal points at what is nearest to it.
func TestCompareOrigins(t *testing.T) {
	at := func(line int) manifest.Origin { return manifest.Origin{File: "manifest.yml", Line: line, Column: 3} }
	desired := &manifest.Object{
		Ref: web, Origin: at(2),
		Spec:      tree{"environment_variables": tree{"A": "1"}},
		Fields:    map[string]manifest.Origin{"/environment_variables": at(5), "/environment_variables/A": at(6)},
		Ownership: map[string]manifest.Ownership{"/environment_variables": manifest.Exact},
	}
	live := manifest.NewSet(
		&manifest.Object{Ref: web, Spec: tree{"environment_variables": tree{"A": "0", "B": "2"}}},
		&manifest.Object{Ref: binding},
	)
	got, err := diff.Compare(manifest.NewSet(desired), live, diff.Ledger{binding: {"": true}})
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for _, c := range got.List {
		lines = append(lines, c.Origin.Line)
	}
	if d := cmp.Diff([]int{6, 5, 2}, lines); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestCompareRefusesForeignTypes(t *testing.T) {
	desired := manifest.NewSet(&manifest.Object{Ref: web, Spec: tree{"lifecycle": tree{"buildpacks": []string{"go"}}}})
	live := manifest.NewSet(&manifest.Object{Ref: web, Spec: tree{}})
	_, err := diff.Compare(desired, live, nil)
	if err == nil || !strings.Contains(err.Error(), "comparing app acme/dev/web: declared /lifecycle/buildpacks: a value of Go type []string is not in canonical form") {
		t.Errorf("unexpected error: %v", err)
	}
}

func TestSummary(t *testing.T) {
	third := web.Child(manifest.KindApp, "third")
	changes := diff.Changes{
		List: []diff.Change{
			{Ref: web, Op: diff.Update, Path: "/processes/web/memory_in_mb", Impact: diff.ImpactRestart},
			{Ref: web, Op: diff.Add, Path: "/metadata/labels/a", Impact: diff.ImpactNone},
			{Ref: third, Op: diff.Update, Path: "/lifecycle/stack", Impact: diff.ImpactRestage},
			{Ref: third, Op: diff.Update, Path: "/processes/web/command", Impact: diff.ImpactRestart},
			{Ref: route, Op: diff.Remove, Path: "/destinations/web~1web", Impact: diff.ImpactInPlace},
			{Ref: web.Child(manifest.KindServiceBinding, "other/db"), Op: diff.Add, Impact: diff.ImpactRestart},
		},
		Unmanaged: []manifest.Ref{other},
	}
	if got, want := changes.Summary().String(), "2 apps restart (rolling), 1 restages, 0 deletions; 1 creation"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want := diff.Summary{
		Changes: 6, Restarts: 2, Restages: 1, Creations: 1, Unmanaged: 1,
		Ops:       map[diff.Op]int{diff.Add: 2, diff.Update: 3, diff.Remove: 1},
		Impacts:   map[diff.Impact]int{diff.ImpactNone: 1, diff.ImpactInPlace: 1, diff.ImpactRestart: 3, diff.ImpactRestage: 1},
		Resources: map[manifest.Kind]int{manifest.KindApp: 2, manifest.KindRoute: 1, manifest.KindServiceBinding: 1},
	}
	if d := cmp.Diff(want, changes.Summary()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
