package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/schemas"
)

const patchedV1 = `applications:
- name: shop
  buildpacks: [nodejs_buildpack, go_buildpack]
  env: {LOG: info, RETRIES: 3, OLD: x}
  metadata: {labels: {tier: front, team: a}}
  routes:
  - route: shop.dev.example.com
  - route: Shop.example.com/Cart
    protocol: http1
  services:
  - db
  - {name: queue, parameters: {size: 1, mode: fair}}
  processes:
  - {type: web, command: run, instances: 1, health-check-type: http, health-check-http-endpoint: /h}
  - {type: worker, command: work}
  sidecars:
  - {name: proxy, command: p, process_types: [web], memory: 32M}
- name: mail
  no-route: true
`

// load with patches; each patch is a file of its own.
func loadPatched(base string, patches ...string) (Set, Problems) {
	opts := Options{Org: "acme", Space: "dev"}
	for i, p := range patches {
		opts.Patches = append(opts.Patches, PatchFile{Name: fmt.Sprintf("p%d.yml", i+1), Data: []byte(p)})
	}
	return Load(fakeFiles(base), "manifest.yml", opts)
}

// A patched manifest declares what a manifest declares that was written so from the start.
func TestAPatchIsAsIfTheManifestSaidSo(t *testing.T) {
	for _, c := range []struct{ name, base, patch, want string }{
		{
			"maps are merged, scalars replaced, null removes",
			"applications: [{name: a, memory: 1G, stack: x, env: {A: 1, B: 2}, metadata: {labels: {l: m}}}]",
			"applications: [{name: a, memory: 2G, stack: null, instances: 3, env: {B: 3, A: null, C: 4}, metadata: {annotations: {n: o}}}]",
			"applications: [{name: a, memory: 2G, instances: 3, env: {B: 3, C: 4}, metadata: {labels: {l: m}, annotations: {n: o}}}]",
		},
		{
			"entries with a name are merged by it, new ones are added",
			"applications: [{name: a, processes: [{type: web, memory: 1G}, {type: w, command: c}], sidecars: [{name: s, command: c, process_types: [web, w]}]}]",
			"applications: [{name: a, processes: [{type: w, instances: 2}, {type: x}], sidecars: [{name: s, process_types: [w]}]}]",
			"applications: [{name: a, processes: [{type: web, memory: 1G}, {type: w, command: c, instances: 2}, {type: x}], sidecars: [{name: s, command: c, process_types: [w]}]}]",
		},
		{
			"other lists are replaced", "applications: [{name: a, buildpacks: [x, y]}]", "applications: [{name: a, buildpacks: [z]}]", "applications: [{name: a, buildpacks: [z]}]",
		},
		{
			"routes are matched as the platform does, without regard to case",
			"applications: [{name: a, routes: [{route: A.example.com/X}, {route: b.example.com}]}]",
			"applications: [{name: a, routes: [{route: 'https://a.example.com/x', protocol: http2}, {route: b.example.com, $patch: delete}, {route: c.example.com}]}]",
			"applications: [{name: a, routes: [{route: A.example.com/X, protocol: http2}, {route: c.example.com}]}]",
		},
		{
			"a list or a map is replaced on request",
			"applications: [{name: a, env: {A: 1}, routes: [{route: a.example.com}]}]",
			"applications: [{name: a, env: {$patch: replace, B: 2}, routes: [{$patch: replace}, {route: b.example.com}]}]",
			"applications: [{name: a, env: {B: 2}, routes: [{route: b.example.com}]}]",
		},
		{
			"services as texts and as maps",
			"applications: [{name: a, services: [db, {name: q, parameters: {a: 1, b: {c: 2}}}, x]}]",
			"applications: [{name: a, services: [{name: db, parameters: {r: 1}}, {name: q, parameters: {b: {d: 3}}}, {name: x, $patch: delete}, y]}]",
			"applications: [{name: a, services: [{name: db, parameters: {r: 1}}, {name: q, parameters: {a: 1, b: {c: 2, d: 3}}}, y]}]",
		},
		{
			"an app that is not wanted here", "applications: [{name: a}, {name: b}]", "applications: [{name: b, $patch: delete}]", "applications: [{name: a}]",
		},
		{
			"both spellings of a setting", "applications: [{name: a, disk_quota: 1G}]", "applications: [{name: a, disk-quota: 2G}]", "applications: [{name: a, disk_quota: 2G}]",
		},
		{
			"a list named routes inside of free values is no list of routes",
			"applications: [{name: a, services: [{name: s, parameters: {routes: [{route: a.b}]}}]}]",
			"applications: [{name: a, services: [{name: s, parameters: {routes: [{route: c.d}]}}]}]",
			"applications: [{name: a, services: [{name: s, parameters: {routes: [{route: c.d}]}}]}]",
		},
		{
			"what aliases share stays as it is elsewhere",
			"x: &x {A: 1, B: 2}\napplications: [{name: a, env: *x}, {name: b, env: *x}]",
			"applications: [{name: b, env: {A: 3}}]",
			"applications: [{name: a, env: {A: 1, B: 2}}, {name: b, env: {A: 3, B: 2}}]",
		},
		{
			"anchors of its own", "applications: [{name: a}, {name: b}]",
			"x-common: &c {env: {A: 1}}\napplications: [{<<: *c, name: a}, {<<: *c, name: b, memory: 1G}]",
			"applications: [{name: a, env: {A: 1}}, {name: b, env: {A: 1}, memory: 1G}]",
		},
		{
			"version 2",
			`version: 2
meta: {prune: {routes: true}}
apps: [{name: a, processes: [{type: web, scale: {instances: 1, memory: 1G}}], lifecycle: {buildpacks: [{name: x}]}}]
routes: [{url: a.example.com, destinations: [{app: {name: a}}, {app: {name: a, process: {type: w}}, port: 9000}]}]
service_instances: [{name: db, service_offering: {name: pg}, service_plan: {name: small}, tags: [x], share_to: [{org: o, space: s}]}]
service_bindings: [{type: app, service_instance: {name: db}, app: {name: a}}, {type: key, service_instance: {name: db}, name: k}]`,
			`version: 2
meta: {prune: {routes: false, apps: true}}
apps: [{name: a, processes: [{type: web, scale: {instances: 3}}], lifecycle: {buildpacks: [{name: y}]}}]
routes: [{url: a.example.com, destinations: [{app: {name: a, process: {type: web}}, protocol: http2}, {app: {name: a, process: {type: w}}, $patch: delete}]}, {url: b.example.com}]
service_instances: [{name: db, service_plan: {name: large}, tags: [y], share_to: [{org: o, space: t}]}]
service_bindings: [{type: app, service_instance: {name: db}, app: {name: a}, name: primary}, {type: key, service_instance: {name: db}, name: k, $patch: delete}, {type: key, service_instance: {name: db}, name: l}]`,
			`version: 2
meta: {prune: {apps: true}}
apps: [{name: a, processes: [{type: web, scale: {instances: 3, memory: 1G}}], lifecycle: {buildpacks: [{name: y}]}}]
routes: [{url: a.example.com, destinations: [{app: {name: a}, protocol: http2}]}, {url: b.example.com}]
service_instances: [{name: db, service_offering: {name: pg}, service_plan: {name: large}, tags: [y], share_to: [{org: o, space: s}, {org: o, space: t}]}]
service_bindings: [{type: app, service_instance: {name: db}, app: {name: a}, name: primary}, {type: key, service_instance: {name: db}, name: l}]`,
		},
	} {
		if err := againstPatchSchema(t, c.patch); err != nil {
			t.Errorf("%s: an editor would refuse it: %#v", c.name, err)
		}
		got, problems := loadPatched(c.base, c.patch)
		if len(problems) > 0 {
			t.Errorf("%s: %s", c.name, problems.Text())
			continue
		}
		want := mustLoad(t, c.want)
		if diff := cmp.Diff(want.Objects(), got.Objects(), ignorePositions); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(got.Prunes()) != len(want.Prunes()) {
			t.Errorf("%s: prunes %v, expected %v", c.name, got.Prunes(), want.Prunes())
		}
	}
}

func TestLaterPatchesWinAndPositionsPointIntoThem(t *testing.T) {
	set, problems := loadPatched(patchedV1,
		"applications:\n- name: shop\n  env:\n    LOG: debug\n    RETRIES: 5\n",
		"applications:\n- name: shop\n  env:\n    LOG: ((level))\n  buildpacks: [x]\n")
	if len(problems) != 1 || problems[0].Origin.String() != "p2.yml:4:10" || problems[0].Rule != "missing-variable" {
		t.Errorf("got %s", problems.Text())
	}
	app := set.Get(Ref{KindApp, "acme/dev/shop"})
	for pointer, want := range map[string]string{
		"/environment_variables/RETRIES": "p1.yml:5:14",
		"/environment_variables/OLD":     "manifest.yml:4:37",
		"/lifecycle/buildpacks":          "p2.yml:5:15",
		"/processes/worker/command":      "manifest.yml:15:29",
	} {
		if got := app.FieldOrigin(pointer).String(); got != want {
			t.Errorf("%s is declared at %s, expected %s", pointer, got, want)
		}
	}
}

// A secret that comes through a patch stays one, and a place may be named to patch one space of several.
func TestPatchesSecretsAndPlaces(t *testing.T) {
	files := fstest.MapFS{
		"orgs/acme/dev/a.yml":       {Data: []byte("applications: [{name: a, env: {K: v}}]")},
		"orgs/acme/prod/a.yml":      {Data: []byte("applications: [{name: a, env: {K: v}}]")},
		"orgs/acme/prod/a.vars.yml": {Data: []byte("k: hunter2")},
		"orgs/acme/prod/z.yml":      {Data: []byte("org: acme\nspace: prod\napplications: [{name: a, env: {K: ((k))}}]")},
		"orgs/acme/dev/x.patch.yml": {Data: []byte("applications: [{name: nobody}]")},
	}
	set, problems := Load(files, ".", Options{
		Patches:   []PatchFile{{Name: "orgs/acme/prod/z.yml", Data: files["orgs/acme/prod/z.yml"].Data}},
		VarsFiles: []VarsFile{{Name: "orgs/acme/prod/a.vars.yml", Data: files["orgs/acme/prod/a.vars.yml"].Data, Secret: true}},
	})
	if len(problems) > 0 {
		t.Fatal(problems.Text())
	}
	dev, prod := set.Get(Ref{KindApp, "acme/dev/a"}), set.Get(Ref{KindApp, "acme/prod/a"})
	if v, _ := Lookup(dev.Spec, "/environment_variables/K"); v != "v" || dev.IsSecret("/environment_variables/K") {
		t.Errorf("the other space is patched as well: %v", v)
	}
	if v, _ := Lookup(prod.Spec, "/environment_variables/K"); v != "hunter2" || !prod.IsSecret("/environment_variables/K") {
		t.Errorf("got %v, secret %v", v, prod.IsSecret("/environment_variables/K"))
	}
}

// againstPatchSchema validates as an editor does.
func againstPatchSchema(t *testing.T, text string) error {
	t.Helper()
	schema, err := schemas.Compile("manifest-patch")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(doc)
}

func TestEditorsKnowPatches(t *testing.T) {
	files, err := filepath.Glob("../examples/*/patches/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v %v", files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := againstPatchSchema(t, string(data)); err != nil {
			t.Errorf("%s: %#v", f, err)
		}
	}
	for _, wrong := range []string{
		"aplications: [{name: a}]",
		"applications: [{name: a, memmory: 1G}]",
		"applications: [{name: a, routes: [{route: a.example.com, protocoll: http2}]}]",
		"applications: [{name: a, features: {shh: true}}]",
		"applications: [{memory: 1G}]",
		"applications: [{name: null}]",
		"applications: [{name: a, processes: [{memory: 1G}]}]",
		"applications: [{name: a, memory: 12}]",
		"applications: [{name: a, $patch: remove}]",
		"applications: [{name: a, env: {$patch: delete}}]",
		"apps: [{name: a}]",
		"version: 2\napplications: [{name: a}]",
		"version: 2\napps: [{name: a, processes: [{type: web, scale: {instnces: 1}}]}]",
		"version: 2\nroutes: [{url: a.example.com, destinations: [{port: 8080}]}]",
		"version: 3\napps: []",
	} {
		if againstPatchSchema(t, wrong) == nil {
			t.Errorf("accepted: %s", wrong)
		}
	}
}

// What is wrong in a patch is said with its place in the patch.
func TestPatchMistakes(t *testing.T) {
	var report strings.Builder
	const v2 = "version: 2\napps: [{name: shop}]\n"
	for _, c := range []struct{ name, base, patch string }{
		{"an app that does not exist", patchedV1, "applications:\n- name: shopp\n  memory: 1G\n"},
		{"an app that resembles none", patchedV1, "applications:\n- name: nothing-like-it\n"},
		{"an unknown field", patchedV1, "applications:\n- name: shop\n  memmory: 1G\n  routes:\n  - route: shop.dev.example.com\n    protocoll: http2\n"},
		{"a wrong value", patchedV1, "applications:\n- name: shop\n  processes:\n  - type: web\n    memory: 12\n"},
		{"an unknown list", patchedV1, "aplications:\n- name: shop\n"},
		{"removing what is not there", patchedV1, "applications:\n- name: shop\n  env: {OLDD: null}\n  memmory: null\n  processes:\n  - {type: web, user: null}\n  - {type: wokrer, $patch: delete}\n"},
		{"another version", v2, "applications:\n- name: shop\n"},
		{"a list of version 2 in a patch of version 1", v2, "apps:\n- name: shop\n"},
		{"an unknown version", v2, "version: 3\napps: []\n"},
		{"no name", patchedV1, "applications:\n- memory: 1G\n- shop\n- name: shop\n  processes: [{memory: 1G}]\n"},
		{"no list", patchedV1, "applications:\n  shop: {memory: 1G}\n"},
		{"a list", patchedV1, "- name: shop\n"},
		{"a directive that does not exist", patchedV1, "applications:\n- name: shop\n  $patch: remove\n  env: {$patch: delete}\n"},
		{"not YAML", patchedV1, "applications: [\n"},
		{"empty", patchedV1, "# nothing yet\n"},
		{"a place where the app is not", patchedV1, "space: prod\napplications:\n- name: shop\n"},
		{"what does not go together", patchedV1, "applications:\n- name: shop\n  docker: {image: x/y}\n"},
		{"nowhere to delete from", v2, "version: 2\nroutes: [{url: a.example.com, $patch: delete}]\n"},
		{"a secret", patchedV1, "applications:\n- name: shop\n  env: {DB_PASSWORD: {a: hunter2}}\n"},
	} {
		_, problems := loadPatched(c.base, c.patch)
		if len(problems) == 0 {
			t.Errorf("%s: no problem was found", c.name)
		}
		if strings.Contains(problems.Text(), "hunter2") {
			t.Errorf("%s: the secret is shown", c.name)
		}
		fmt.Fprintf(&report, "── %s\n%s\n\n", c.name, problems.Text())
	}
	golden(t, "patch.golden", report.String())
}

// Whatever a patch says, it ends, and the manifest below it is what it was.
func FuzzPatch(f *testing.F) {
	f.Add(patchedV1, "applications: [{name: shop, env: {A: null}, routes: [{$patch: replace}], services: [db, {name: x, $patch: delete}]}]")
	f.Add("version: 2\napps: [&a {name: a}]\nroutes: [{url: a.b.c}]", "version: 2\nservice_bindings: [{type: key}]\nroutes: [{url: a.b.c, destinations: [{app: {name: a}}]}]\nmeta: null")
	f.Fuzz(func(t *testing.T, base, patch string) {
		if len(base)+len(patch) > 1<<13 {
			return
		}
		before, problems := loadPatched(base)
		if problems.Err() != nil {
			return
		}
		for _, p := range func() Problems { _, ps := loadPatched(base, patch); return ps }() {
			if p.Message == "" || p.Rule == "" {
				t.Fatalf("an empty problem: %#v", p)
			}
		}
		unchanged, problems := loadPatched(base, "{}")
		if diff := cmp.Diff(before.Objects(), unchanged.Objects()); diff != "" || problems.Err() != nil {
			t.Fatalf("a patch that says nothing changed something:\n%s", diff)
		}
	})
}
