package diff_test

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// Names and values come from small sets, so that desired and live state meet often.

func anyTree(t *rapid.T, keys []string, value func(key string) any) tree {
	m := tree{}
	for _, k := range keys {
		if rapid.Bool().Draw(t, "has "+k) {
			m[k] = value(k)
		}
	}
	return m
}

func one[T any](t *rapid.T, label string, of ...T) T { return rapid.SampledFrom(of).Draw(t, label) }

// anySpec draws an app. A declaration may ask for nothing (nil); what lives has no such places.
func anySpec(t *rapid.T, declared bool) tree {
	text := func(k string) any {
		if declared && rapid.IntRange(0, 5).Draw(t, "nil") == 0 {
			return nil
		}
		return one(t, k, "", "1", "x", "line\nline", "(y)")
	}
	list := func(k string) any {
		return one(t, k, []any{}, []any{"go"}, []any{"go", "java"}, []any{"java", "go"})
	}
	number := func(k string) any { return one(t, k, int64(1), int64(256), int64(-1)) }
	group := func(keys []string, value func(string) any) func(string) any {
		return func(string) any { return anyTree(t, keys, value) }
	}
	return anyTree(t, []string{"environment_variables", "metadata", "processes", "sidecars", "lifecycle", "state"}, func(k string) any {
		switch k {
		case "environment_variables":
			return anyTree(t, []string{"A", "B", "a/b~c", "x(["}, text)
		case "metadata":
			return anyTree(t, []string{"labels", "annotations"}, group([]string{"team", "example.com/x"}, text))
		case "processes":
			return anyTree(t, []string{"web", "worker"}, func(string) any {
				p := anyTree(t, []string{"instances", "memory_in_mb"}, number)
				maps.Copy(p, anyTree(t, []string{"command"}, text))
				maps.Copy(p, anyTree(t, []string{"health_check"}, group([]string{"type", "http_endpoint"}, text)))
				return p
			})
		case "sidecars":
			return anyTree(t, []string{"envoy"}, group([]string{"process_types"}, list))
		case "lifecycle":
			return anyTree(t, []string{"buildpacks"}, list)
		}
		return one(t, k, "STARTED", "STOPPED")
	})
}

var owned = []string{"/environment_variables", "/metadata/labels", "/metadata/annotations", "/processes", "/sidecars", "/destinations"}

func anySet(t *rapid.T, declared bool) manifest.Set {
	var set manifest.Set
	for _, name := range []string{"web", "other"} {
		app := web.Child(manifest.KindApp, name)
		for _, ref := range []manifest.Ref{app, app.Child(manifest.KindRoute, name+".example.com"), app.Child(manifest.KindServiceBinding, name+"/db")} {
			if rapid.IntRange(0, 4).Draw(t, "absent "+ref.String()) == 0 {
				continue
			}
			o := &manifest.Object{Ref: ref, Ownership: map[string]manifest.Ownership{}}
			switch ref.Kind {
			case manifest.KindApp:
				o.Spec = anySpec(t, declared)
			case manifest.KindRoute:
				o.Spec = tree{"destinations": anyTree(t, []string{"web/web", "other/web", "other/worker"}, func(string) any {
					return anyTree(t, []string{"port"}, func(string) any { return one(t, "port", int64(8080), int64(9090)) })
				})}
			default:
				o.Spec = tree{"app": name, "service_instance": "db"}
			}
			if declared {
				for _, pointer := range append([]string{""}, owned...) { // "" is about the resource, not its fields
					if own := one(t, "ownership", "", manifest.Additive, manifest.ThreeWay, manifest.Exact); own != "" {
						o.Ownership[pointer] = own
					}
				}
			}
			set.Put(o)
		}
	}
	return set
}

// anyLedger owns some of what lives, and something that does not.
func anyLedger(t *rapid.T, live manifest.Set) diff.Ledger {
	ledger := diff.Ledger{}
	for _, o := range live.Objects() {
		ledger[o.Ref] = map[string]bool{"": rapid.Bool().Draw(t, "owns it"), "/environment_variables/GONE": true}
		for _, pointer := range owned {
			if elements, ok := manifest.Lookup(o.Spec, pointer); ok {
				for _, k := range slices.Sorted(maps.Keys(elements.(tree))) {
					ledger[o.Ref][pointer+manifest.Pointer(k)] = rapid.Bool().Draw(t, "owns "+k)
				}
			}
		}
	}
	return ledger
}

// apply does to live what the changes say, as a perfect driver would.
func apply(t *rapid.T, live manifest.Set, changes diff.Changes) manifest.Set {
	var after manifest.Set
	for _, o := range live.Objects() {
		after.Put(&manifest.Object{Ref: o.Ref, Spec: clone(o.Spec).(tree)})
	}
	for _, c := range changes.List {
		switch {
		case c.Path == "" && c.Op == diff.Add:
			after.Put(&manifest.Object{Ref: c.Ref, Spec: clone(c.Value).(tree)})
		case c.Path == "" && c.Op == diff.Remove:
			after = manifest.NewSet(slices.DeleteFunc(after.Objects(), func(o *manifest.Object) bool { return o.Ref == c.Ref })...)
		default:
			keys := manifest.SplitPointer(c.Path)
			at := after.Get(c.Ref).Spec
			for _, k := range keys[:len(keys)-1] {
				if at[k] == nil {
					at[k] = tree{}
				}
				at = at[k].(tree)
			}
			last := keys[len(keys)-1]
			if was := at[last]; c.Op != diff.Add && !reflect.DeepEqual(was, c.Was) || c.Op == diff.Add && was != nil {
				t.Fatalf("%s: live is %v, the change says %v", c, was, c.Was)
			}
			if c.Op == diff.Remove {
				delete(at, last)
			} else {
				at[last] = clone(c.Value)
			}
		}
	}
	return after
}

func clone(v any) any {
	m, ok := v.(tree)
	if !ok {
		return v
	}
	c := tree{}
	for k, child := range m {
		c[k] = clone(child)
	}
	return c
}

func compare(t *rapid.T, desired, live manifest.Set, ledger diff.Ledger) diff.Changes {
	changes, err := diff.Compare(desired, live, ledger)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// Nothing differs from itself, whatever owns it.
func TestCompareWithItselfIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := anySet(t, true)
		if got := lines(compare(t, x, x, anyLedger(t, manifest.Set{}))); len(got) > 0 {
			t.Fatalf("differs from itself: %q", got)
		}
	})
}

// After the changes are applied, live state has all that Git declares, has lost exactly what ownership says,
// and has kept the rest.
func TestApplyingChangesConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired, live := anySet(t, true), anySet(t, false)
		ledger := anyLedger(t, live)
		changes := compare(t, desired, live, ledger)
		after := apply(t, live, changes)

		if again := compare(t, desired, after, ledger); !again.Empty() {
			t.Fatalf("after applying, there still is %q", lines(again))
		}
		for _, want := range desired.Objects() {
			holds(t, want.Ref.String(), want.Spec, after.Get(want.Ref).Spec)
		}
		for _, had := range live.Objects() {
			kept(t, desired, had, after.Get(had.Ref), ledger)
		}
	})
}

// Rules take differences out of the list and lose none. What is applied beside them, with desired state as it is kept, changes
// nothing that a rule covers; and without the rules, exactly the ignored differences are left.
func TestIgnoringLosesNothingAndTouchesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired, live := anySet(t, true), anySet(t, false)
		ledger := anyLedger(t, live)
		all := compare(t, desired, live, ledger)
		var rules []diff.IgnoreRule
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			rules = append(rules, diff.IgnoreRule{
				Kind: one(t, "rule kind", "", manifest.KindApp, manifest.KindRoute),
				Name: one(t, "rule name", "", "web*", "other"),
				Path: one(t, "rule path", "/environment_variables/*", "/environment_variables/A", "/processes/*/instances", "/processes/web", "/metadata", "/destinations/*/port", "/*"),
			})
		}
		changes := all.Ignoring(rules, desired, live, noon)
		if got := len(changes.List) + len(changes.Ignored); got != len(all.List) {
			t.Fatalf("%d changes became %d", len(all.List), got)
		}
		kept := changes.Kept(desired, live, ledger)
		after := apply(t, live, changes)
		if left := lines(compare(t, desired, after, ledger)); len(left) != len(changes.Ignored)+len(all.Unobserved)+len(all.Unmanaged) {
			t.Fatalf("%d were ignored, and these are left: %q", len(changes.Ignored), left)
		}
		for _, i := range changes.Ignored {
			was, had := manifest.Lookup(live.Get(i.Change.Ref).Spec, i.Change.Path)
			is, has := manifest.Lookup(after.Get(i.Change.Ref).Spec, i.Change.Path)
			says, said := manifest.Lookup(kept.Get(i.Change.Ref).Spec, i.Change.Path)
			if had != has || !reflect.DeepEqual(was, is) {
				t.Fatalf("%s was touched: %v → %v", i.Change, was, is)
			}
			if said && !reflect.DeepEqual(says, was) {
				t.Fatalf("%s: %v lives, %v would be written beside it", i.Change, was, says)
			}
		}
	})
}

// holds checks that have has all that want declares.
func holds(t *rapid.T, at string, want, have tree) {
	for k, v := range want {
		switch v := v.(type) {
		case tree:
			child, _ := have[k].(tree)
			holds(t, at+"/"+k, v, child)
		case nil:
			if have[k] != nil {
				t.Fatalf("%s/%s should be gone, is %v", at, k, have[k])
			}
		default:
			if list, ok := v.([]any); ok && len(list) == 0 && have[k] == nil {
				continue
			}
			if !reflect.DeepEqual(v, have[k]) {
				t.Fatalf("%s/%s should be %v, is %v", at, k, v, have[k])
			}
		}
	}
}

// kept checks that of what lived only that is gone which nobody declares and which is owned.
func kept(t *rapid.T, desired manifest.Set, had, has *manifest.Object, ledger diff.Ledger) {
	want := desired.Get(had.Ref)
	if want == nil {
		bound := diff.Change{Ref: had.Ref}.App()
		removable := had.Ref.Kind == manifest.KindServiceBinding && ledger.Owns(had.Ref, "") && desired.Get(bound) != nil
		if (has == nil) != removable {
			t.Fatalf("%s is there: %t, may be removed: %t", had.Ref, has != nil, removable)
		}
		if has == nil {
			return
		}
		want = &manifest.Object{Ref: had.Ref}
		if had.Ref.Kind == manifest.KindRoute {
			want.Ownership = map[string]manifest.Ownership{"/destinations": manifest.ThreeWay}
		}
	}
	var walk func(pointer string, had tree)
	walk = func(pointer string, had tree) {
		for k, v := range had {
			at := pointer + manifest.Pointer(k)
			if _, declared := manifest.Lookup(want.Spec, at); !declared {
				own := want.Ownership[pointer]
				if pointer == "" {
					own = manifest.Additive
				}
				goes := own == manifest.Exact || own == manifest.ThreeWay && ledger.Owns(want.Ref, at)
				if app, _, _ := strings.Cut(k, "/"); pointer == "/destinations" && own == manifest.ThreeWay && desired.Get(want.Ref.Child(manifest.KindApp, app)) == nil {
					goes = false // an app that Git dropped keeps its routes
				}
				now, there := manifest.Lookup(has.Spec, at)
				if there == goes {
					t.Fatalf("%s %s (%s): is there %t, should be %t", want.Ref, at, own, there, !goes)
				}
				if goes {
					continue
				}
				if _, isTree := v.(tree); !isTree && !reflect.DeepEqual(v, now) {
					t.Fatalf("%s %s was not declared and changed from %v to %v", want.Ref, at, v, now)
				}
			}
			if child, ok := v.(tree); ok {
				walk(at, child)
			}
		}
	}
	walk("", had.Spec)
}

// The same content gives the same changes, in whatever order it comes and whatever integers it is made of.
func TestOrderAndIntegersNeverMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired, live := anySet(t, true), anySet(t, false)
		ledger := anyLedger(t, live)
		first := compare(t, desired, live, ledger)
		respelled := func(s manifest.Set) manifest.Set {
			all := s.Objects()
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for i, o := range all {
				c := *o
				c.Spec = plainInts(o.Spec).(tree)
				all[i] = &c
			}
			return manifest.NewSet(all...)
		}
		second := compare(t, respelled(desired), respelled(live), ledger)
		if d := cmp.Diff(first, second); d != "" {
			t.Fatal(d)
		}
		if !slices.IsSortedFunc(first.List, diff.Change.Compare) {
			t.Fatalf("not in order: %s", strings.Join(lines(first), "\n"))
		}
	})
}

func plainInts(v any) any {
	switch v := v.(type) {
	case int64:
		return int(v)
	case tree:
		m := tree{}
		for k, child := range v {
			m[k] = plainInts(child)
		}
		return m
	}
	return v
}
