package manifest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// everything is a manifest that says all that version 2 can say.
func everything(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/v2.yml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// What becomes of a manifest that says all that version 2 can say: the golden file shows every object with what is
// compared, what is only needed to make it, what is secret, and how its collections are owned.
func TestV2BecomesObjects(t *testing.T) {
	set, problems := load(t, everything(t))
	if len(problems) > 0 {
		t.Fatal(problems.Text())
	}
	var report strings.Builder
	tree := func(prefix string, m map[string]any) {
		walkTree("", m, func(pointer string, value any) { fmt.Fprintf(&report, "  %s%s = %#v\n", prefix, pointer, value) })
	}
	for _, o := range set.Objects() {
		fmt.Fprintf(&report, "%s (%s)\n", o.Ref, o.Origin)
		tree("", o.Spec)
		tree("input ", o.Inputs)
		for _, pointer := range sortedKeys(o.Secrets) {
			fmt.Fprintf(&report, "  secret %s\n", pointer)
		}
		for _, pointer := range sortedKeys(o.Ownership) {
			fmt.Fprintf(&report, "  %s %q\n", o.Ownership[pointer], pointer)
		}
		for _, ref := range o.Requires {
			fmt.Fprintf(&report, "  requires %s\n", ref)
		}
	}
	for _, p := range set.Prunes() {
		fmt.Fprintf(&report, "prune every %s of %s (%s)\n", p.Kind, p.Space, p.Origin)
	}
	golden(t, "v2.golden", report.String())
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// walkTree visits the leaves and the empty maps of a tree, in order.
func walkTree(pointer string, m map[string]any, visit func(string, any)) {
	for _, k := range sortedKeys(m) {
		at := pointer + Pointer(k)
		if child, ok := m[k].(map[string]any); ok && len(child) > 0 {
			walkTree(at, child, visit)
			continue
		}
		visit(at, m[k])
	}
}

// Every value points at the place where it stands.
func TestV2KnowsWhereEverythingStands(t *testing.T) {
	set := mustLoad(t, everything(t))
	at := func(ref Ref, pointer string) string { return set.Get(ref).FieldOrigin(pointer).String() }
	app := Ref{KindApp, "acme/dev/shop"}
	for _, c := range []struct{ got, want string }{
		{at(app, "/processes/web/memory_in_mb"), "manifest.yml:24:35"},
		{at(app, "/processes/worker/health_check/timeout"), "manifest.yml:32:56"},
		{at(app, "/sidecars/proxy/memory_in_mb"), "manifest.yml:37:21"},
		{at(app, "/sidecars/proxy/process_types"), "manifest.yml:36:16"},
		{at(Ref{KindRoute, "acme/dev/shop.example.com/cart"}, "/destinations/shop~1worker/port"), "manifest.yml:66:11"},
		{at(Ref{KindServiceInstance, "acme/dev/audit"}, "/credentials/port"), "manifest.yml:85:67"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, expected %s", c.got, c.want)
		}
	}
}

// withoutOwnership leaves out what two versions do differently on purpose.
var withoutOwnership = cmp.Options{ignorePositions, cmpopts.IgnoreFields(Object{}, "Ownership")}

func reloadV2(t testing.TB, objects []*Object) ([]*Object, string) {
	t.Helper()
	text, err := MarshalV2(objects)
	if err != nil {
		t.Fatal(err)
	}
	files := fakeFiles(string(text))
	for _, o := range objects {
		for _, key := range []string{"path", "droplet_path"} {
			if p, ok := o.Inputs[key].(string); ok && p != "." && files[p] == nil {
				files[p] = &fstest.MapFile{}
			}
		}
	}
	set, problems := Load(files, "manifest.yml", Options{Org: "acme", Space: "dev"})
	if problems.Err() != nil {
		t.Fatalf("what was written has problems:\n%s\n%s", problems.Text(), text)
	}
	return set.Objects(), string(text)
}

// Version 2, written and read again, is the same to the last detail.
func TestV2WrittenAndReadAgainIsTheSame(t *testing.T) {
	objects := mustLoad(t, everything(t)).Objects()
	got, text := reloadV2(t, objects)
	if diff := cmp.Diff(objects, got, ignorePositions); diff != "" {
		t.Errorf("(-before +after):\n%s\n%s", diff, text)
	}
	golden(t, "marshal_v2.golden", text)
}

func TestWritingVersion1AsVersion2ChangesNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		before := reload(t, canonicalApp(r))
		lost := NotInV2(before)
		for _, o := range before {
			if o.Ref.Kind != KindApp {
				continue
			}
			if _, routed := o.Spec["routed"]; routed != (len(lost) == 1) {
				r.Fatalf("routed %v, and said to be lost: %s", o.Spec["routed"], lost.Text())
			}
			delete(o.Spec, "routed")
			delete(o.Inputs, "random_route")
			delete(o.Inputs, "default_route")
		}
		after, text := reloadV2(t, before)
		if diff := cmp.Diff(before, after, withoutOwnership); diff != "" {
			r.Fatalf("(-before +after):\n%s\n%s", diff, text)
		}
		again, second := reloadV2(t, after)
		if diff := cmp.Diff(after, again, ignorePositions); diff != "" || second != text {
			r.Fatalf("written twice, it differs:\n%s\n%s\n%s", diff, text, second)
		}
	})
}

func TestMarshalV2SaysWhatItCannotSay(t *testing.T) {
	for _, c := range []struct {
		objects []*Object
		want    string
	}{
		{[]*Object{{Ref: Ref{KindSpace, "acme/dev"}}}, "a manifest of version 2 cannot say space acme/dev"},
		{[]*Object{{Ref: Ref{KindApp, "acme/dev/a"}}, {Ref: Ref{KindApp, "acme/prod/a"}}}, "a manifest of one space cannot hold app acme/dev/a and app acme/prod/a"},
		{
			[]*Object{{Ref: Ref{KindApp, "acme/dev/a"}, Inputs: map[string]any{"cnb_credentials": map[string]any{"r": map[string]any{"user": "x"}}}}},
			"app acme/dev/a: version 2 knows credentials of registries with username and password or with token; those of r have other keys",
		},
	} {
		if _, err := MarshalV2(c.objects); err == nil || err.Error() != c.want {
			t.Errorf("got %v, expected %s", err, c.want)
		}
	}
}

// One space may be declared by manifests of both versions.
func TestBothVersionsTogether(t *testing.T) {
	set, problems := load(t, "applications: [{name: a, services: [db]}]\n---\nversion: 2\nservice_instances: [{name: db, type: user-provided}]\nroutes: [{url: x.example.com, destinations: [{app: {name: a}}]}]\n")
	if len(problems) > 0 || set.Len() != 4 {
		t.Errorf("%d objects\n%s", set.Len(), problems.Text())
	}
	_, problems = load(t, "version: 2\nroutes: [{url: x.example.com, destinations: []}]\n---\napplications: [{name: a, routes: [{route: x.example.com}]}]\n")
	if len(problems) != 1 || problems[0].Rule != "duplicate-route" {
		t.Errorf("the route is declared by both, and exactly by the first:\n%s", problems.Text())
	}
}

func TestV2InterpolatesAndKeepsSecrets(t *testing.T) {
	text := `
version: 2
apps:
- name: a
  environment_variables: {LEVEL: ((level))}
  package: {docker: {image: i, access_credentials: [{type: basic, username: u, password: ((level))}]}}
  sidecars: [{name: s, command: ((level)), processes: [{type: web}]}]
  processes: [{type: web, scale: {instances: ((n)), memory: ((level))}}]
routes: [{url: ((level)).example.com}, {url: x.example.com, destinations: [{app: {name: ((level))}}]}]
service_instances: [{name: ((level)), type: user-provided}, {name: i, type: user-provided, syslog_drain: {url: ((level))}}]
`
	vars := []VarsFile{{Name: "secrets.yml", Data: []byte("level: hunter2\nn: 3"), Secret: true}}
	set, problems := Load(fakeFiles(text), "manifest.yml", Options{Org: "acme", Space: "dev", VarsFiles: vars})
	if said := problems.Text(); strings.Contains(said, "hunter2") || strings.Count(said, "a secret cannot be the name of") != 3 {
		t.Errorf("secret names:\n%s", said)
	}
	app := set.Get(Ref{KindApp, "acme/dev/a"})
	for _, pointer := range []string{"/environment_variables/LEVEL", "/sidecars/s/command", "/processes/web/instances"} {
		if !app.IsSecret(pointer) {
			t.Errorf("%s is not secret", pointer)
		}
	}
	if o := set.Get(Ref{KindServiceInstance, "acme/dev/i"}); !o.IsSecret("/syslog_drain_url") {
		t.Error("the drain is not secret")
	}
}

func TestOnlySomeAppsOfV2(t *testing.T) {
	set, problems := Load(fakeFiles(everything(t)), "manifest.yml", Options{Org: "acme", Space: "dev", Apps: []string{"shop"}})
	if len(problems) > 0 {
		t.Fatal(problems.Text())
	}
	var got []string
	for _, o := range set.Objects() {
		got = append(got, o.Ref.String())
	}
	want := []string{
		"service_instance acme/dev/shop-db", "app acme/dev/shop", "route acme/dev/elsewhere.example.com", "route acme/dev/shop.example.com/cart",
		"service_binding acme/dev/shop/shop-db", "service_binding acme/dev/shop/theirs",
	}
	if diff := cmp.Diff(want, got); diff != "" || len(set.Prunes()) > 0 {
		t.Errorf("(-want +got):\n%s\nprunes: %v", diff, set.Prunes())
	}
}

// Whatever people write, what is read without a problem survives being written and read again.
func FuzzV2(f *testing.F) {
	f.Add([]byte(everything(f)))
	rules, err := os.ReadFile("testdata/rules_v2.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range strings.Split(string(rules), "── ")[1:] {
		_, text, _ := strings.Cut(c, "\n")
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		set, problems := Load(fstest.MapFS{"manifest.yml": {Data: data}}, "manifest.yml", Options{Org: "acme", Space: "dev", Vars: map[string]any{"x": "y"}})
		if problems.Err() != nil || len(set.Spaces()) != 1 || set.Spaces()[0] != "acme/dev" {
			return
		}
		before := set.Objects()
		for _, o := range before { // what version 2 has no word for
			delete(o.Spec, "routed")
			delete(o.Inputs, "random_route")
			delete(o.Inputs, "default_route")
		}
		after, text := reloadV2(t, before)
		if diff := cmp.Diff(before, after, withoutOwnership); diff != "" {
			t.Fatalf("(-before +after):\n%s\n%s", diff, text)
		}
	})
}
