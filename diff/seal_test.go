package diff_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// What the API never gives back is never called equal, and a change that Git makes to it is found.
func TestInputsAreComparedBySeals(t *testing.T) {
	keyed, other, bare := diff.Sealer{Key: []byte("a key of the agent's")}, diff.Sealer{Key: []byte("another key")}, diff.Sealer{}
	parameters := tree{"plan": "s3cr3t", "size": 3, "tags": []any{"a", "b"}}
	seal := func(s diff.Sealer, name string, v any) string {
		text, err := s.Seal(name, v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const unobserved, update = "unobserved service_binding acme/dev/web/db /parameters: the API does not return it", `update service_binding acme/dev/web/db /parameters was "(secret)" value {"plan":"s3cr3t","size":3,"tags":["a","b"]}`
	for _, test := range []struct {
		name string
		by   diff.Sealer
		seal string
		want string
	}{
		{"with the key, as applied", keyed, seal(keyed, "parameters", parameters), unobserved + "; Git declares what was applied last"},
		{"without a key, as applied", bare, seal(bare, "parameters", parameters), unobserved + "; Git declares what was applied last"},
		{"with the key, of a seal without", keyed, seal(bare, "parameters", parameters), unobserved + "; Git declares what was applied last"},
		{"with the key, changed", keyed, seal(keyed, "parameters", tree{"plan": "s3cr3t", "size": 4, "tags": []any{"a", "b"}}), update},
		{"without a key, changed", bare, seal(bare, "parameters", tree{}), update},
		{"the seal of another input", keyed, seal(keyed, "credentials", parameters), update},
		{"another key", other, seal(keyed, "parameters", parameters), unobserved + ", and its seal was made with another key than the one given here"},
		{"without a key, seen by one with", other, seal(bare, "parameters", tree{}), update},
		{"made without", bare, diff.NoInput, update},
		{"the key is not here", bare, seal(keyed, "parameters", parameters), unobserved + ", and its seal was made with a key that is not given here"},
		{"never sealed", keyed, "", unobserved + ", and nothing on the resource tells what it was made with"},
		{"cut short", keyed, seal(keyed, "parameters", parameters)[:60], unobserved + ", and its seal is damaged or of a later version"},
		{"not ours", keyed, "2k:00:00", unobserved + ", and its seal is damaged or of a later version"},
	} {
		want := &manifest.Object{Ref: binding, Spec: tree{"app": "web"}, Inputs: map[string]any{"parameters": parameters}}
		have := &manifest.Object{Ref: binding, Spec: tree{"app": "web"}}
		seals := diff.Seals{binding: {"parameters": {Text: test.seal, By: test.by}}, web: {"docker_password": {By: test.by}}}
		compared := func() (diff.Changes, error) {
			changes, err := diff.Compare(manifest.NewSet(want), manifest.NewSet(have), nil)
			if err != nil {
				t.Fatal(err)
			}
			return changes.WithInputs(manifest.NewSet(want), seals)
		}
		changes, err := compared()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{test.want}, lines(changes)); d != "" {
			t.Errorf("%s:\n%s", test.name, d)
		}
		if text, err := json.Marshal(changes.List); strings.Contains(string(text), "s3cr3t") || err != nil {
			t.Errorf("%s: %s %v", test.name, text, err)
		}
		changes = changes.Ignoring([]diff.IgnoreRule{{Path: "/parameters"}}, manifest.NewSet(want), manifest.NewSet(have), noon)
		if kept := changes.Kept(manifest.NewSet(want), manifest.NewSet(have), nil).Get(binding); !changes.Empty() || cmp.Diff(want.Spec, kept.Spec) != "" {
			t.Errorf("%s: ignored: %v, kept: %v", test.name, lines(changes), kept.Spec)
		}
		want.Inputs = nil // only what Git declares is compared
		if changes, err = compared(); err != nil || len(lines(changes)) > 0 {
			t.Errorf("%s: undeclared: %v %v", test.name, lines(changes), err)
		}
	}
	if a, b := seal(keyed, "parameters", parameters), seal(keyed, "parameters", parameters); a == b || len(a) != 117 {
		t.Errorf("equal values must not have equal seals: %s %s", a, b)
	}
}

// What 1,000 sealed inputs cost a comparison: with a key, and without.
func BenchmarkSeals(b *testing.B) {
	for name, by := range map[string]diff.Sealer{"keyed": {Key: []byte("a key of the agent's, of 32 bytes")}, "bare": {}} {
		b.Run(name, func(b *testing.B) {
			parameters := tree{"role": "reader"}
			text, err := by.Seal("parameters", parameters)
			if err != nil {
				b.Fatal(err)
			}
			seals, all := diff.Seals{}, manifest.Set{}
			for i := range 1000 {
				ref := manifest.Ref{Kind: manifest.KindServiceBinding, Path: fmt.Sprintf("acme/dev/app-%d/db", i)}
				all.Put(&manifest.Object{Ref: ref, Inputs: map[string]any{"parameters": parameters}})
				seals[ref] = map[string]diff.Sealed{"parameters": {Text: text, By: by}}
			}
			for b.Loop() {
				if changes, err := (diff.Changes{}).WithInputs(all, seals); err != nil || len(changes.Unobserved) != 1000 {
					b.Fatal(err, len(changes.Unobserved))
				}
			}
		})
	}
}
