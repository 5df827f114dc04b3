package cloudfoundry_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
)

var updateGolden = flag.Bool("update", false, "write the golden files of testdata anew")

// TestPlan reads testdata/plan/*.txtar: what runs (live.yml, applied by Fettle), what Git declares now (git.yml), and the
// plan that leads from one to the other.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			section := map[string]*txtar.File{}
			for i := range archive.Files {
				section[archive.Files[i].Name] = &archive.Files[i]
			}
			live := observed(t, section["live.yml"].Data)
			desired := load(t, "git.yml", section["git.yml"].Data)
			changes, err := diff.Compare(desired, live.Live, live.Ledger)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := new(cloudfoundry.Driver).Plan(t.Context(), platform.PlanInput{Desired: desired, Live: live, Changes: changes})
			if err != nil {
				t.Fatal(err)
			}
			got := describe(plan)
			if *updateGolden {
				section["plan"].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(section["plan"].Data), got); d != "" {
				t.Errorf("the plan is another one (-want +got):\n%s", d)
			}
			planned := map[string]bool{}
			for _, s := range plan.Steps {
				for _, c := range s.Changes {
					planned[c.String()] = true
					if c.Impact == diff.ImpactUnknown {
						t.Errorf("%s: nobody judged its impact", c)
					}
				}
			}
			for _, c := range changes.List {
				if !planned[c.String()] {
					t.Errorf("%s: no step carries it", c)
				}
			}
		})
	}
}

// load reads a manifest of the space acme/dev.
func load(t *testing.T, name string, data []byte) manifest.Set {
	t.Helper()
	files := fstest.MapFS{name: {Data: data}, "one/main.go": {}, "two/main.go": {}}
	set, problems := manifest.Load(files, name, manifest.Options{Org: "acme", Space: "dev"})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	// Preparing fills in the digest; here the path itself stands for the files.
	for _, o := range set.Of(manifest.KindApp) {
		if path, ok := o.Inputs["path"].(string); ok {
			o.Spec["package"] = map[string]any{"type": "bits", "digest": "sha256:" + path}
		}
	}
	return set
}

// observed makes the manifest's objects the live state, as if Fettle had applied them. The name of a service
// instance that does not exist begins with "no-".
func observed(t *testing.T, data []byte) platform.Observation {
	obs := platform.Observation{Ledger: diff.Ledger{}, IDs: map[manifest.Ref]string{}}
	if len(bytes.TrimSpace(data)) == 0 {
		return obs
	}
	obs.Live = load(t, "live.yml", data)
	own := func(ref manifest.Ref, pointer string) {
		if obs.Ledger[ref] == nil {
			obs.Ledger[ref] = map[string]bool{}
		}
		obs.Ledger[ref][pointer] = true
	}
	for _, o := range obs.Live.Objects() {
		obs.IDs[o.Ref] = "guid of " + o.Ref.String()
		own(o.Ref, "")
		for name, v := range o.Spec {
			elements, _ := v.(map[string]any)
			for key := range elements {
				own(o.Ref, manifest.Pointer(name, key))
			}
		}
		o.Fields, o.Ownership, o.Origin = nil, nil, manifest.Origin{}
		if o.Ref.Kind == manifest.KindServiceBinding {
			obs.IDs[o.Ref.Child(manifest.KindServiceInstance, o.Spec["service_instance"].(string))] = "guid"
		}
		if o.Ref.Kind == manifest.KindApp && o.Spec["environment_variables"] != nil {
			if m := o.Spec["environment_variables"].(map[string]any); m["LIVE_ROLLOUT"] != nil {
				o.Spec["rollout"] = m["LIVE_ROLLOUT"]
				delete(m, "LIVE_ROLLOUT")
			}
		}
	}
	return obs
}

// describe draws a plan for the golden files.
func describe(plan platform.Plan) string {
	var b strings.Builder
	for _, s := range plan.Steps {
		fmt.Fprintf(&b, "step %s: %s\n", s.ID, s.Impact)
		for _, id := range s.Requires {
			fmt.Fprintf(&b, "  after %s\n", id)
		}
		for _, c := range s.Changes {
			ref := ""
			if c.Ref != s.Ref {
				ref = c.Ref.String() + " "
			}
			fmt.Fprintf(&b, "  %s %s%s: %s", c.Op, ref, c.Path, c.Impact)
			if c.Reason != "" {
				fmt.Fprintf(&b, " (%s)", c.Reason)
			}
			b.WriteByte('\n')
		}
	}
	for _, p := range plan.Problems {
		at := ""
		if !p.Origin.IsZero() {
			at = p.Origin.String() + ": "
		}
		fmt.Fprintf(&b, "problem of %s: %s%s → %s\n", p.Step, at, p.Message, p.Hint)
	}
	return b.String()
}

// depends-on and waves become requirements of the steps; what nobody orders stays free.
func TestOrderAmongApps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		app := func(name, settings string) string {
			return "- name: " + name + "\n  path: web\n  no-route: true\n  metadata: {annotations: {" + settings + "}}\n"
		}
		text := "applications:\n" +
			app("web", "fettle-gitops.github.io/depends-on: 'api, db'") +
			app("api", "fettle-gitops.github.io/depends-on: db") +
			app("db", "") +
			app("first", "fettle-gitops.github.io/wave: -1") +
			app("last", "fettle-gitops.github.io/wave: 1")
		p, _ := f.prepare(t.Context(), text)
		if p.err != nil {
			t.Fatal(p.err)
		}
		for _, s := range p.plan.Steps {
			want := map[string]string{
				"first": "", "db": "first", "api": "db first", "web": "api db first", "last": "api db first web",
			}[s.Ref.Name()]
			if got := strings.ReplaceAll(strings.Join(s.Requires, " "), "app acme/dev/", ""); got != want {
				t.Errorf("%s requires %q, want %q", s.Ref.Name(), got, want)
			}
		}
		// One failure stops only what depends on it.
		broken := strings.Replace(text, "- name: api\n", "- name: api\n  env: {FAULT_CRASH: yes}\n", 1)
		phases := map[string]platform.Phase{}
		for _, s := range f.run(t.Context(), broken).outcome.Steps {
			phases[s.Ref.Name()] = s.Phase
		}
		for name, want := range map[string]platform.Phase{
			"first": platform.Succeeded, "db": platform.Succeeded, "api": platform.Failed, "web": platform.Skipped, "last": platform.Skipped,
		} {
			if phases[name] != want {
				t.Errorf("%s: %s, want %s", name, phases[name], want)
			}
		}
	})
}
