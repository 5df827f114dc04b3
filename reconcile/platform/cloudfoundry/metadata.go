package cloudfoundry

import (
	"slices"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Labels and annotations have the same form wherever they stand: in the Spec of an app, a route or a binding, of a
// process or a package. In requests they are changes: what is not named stays, and null removes.

// metadataOf gives the labels and annotations that stand in a Spec, as a request sets them.
func metadataOf(spec map[string]any) ccv3.Metadata {
	m := ccv3.Metadata{Labels: map[string]*string{}, Annotations: map[string]*string{}}
	for part, all := range mapOf(spec["metadata"]) {
		for key, value := range mapOf(all) {
			setMetadata(&m, []string{"metadata", part, key}, value)
		}
	}
	return m
}

// setMetadata sets what the keys metadata, labels or annotations, NAME lead to. A value that is no text removes it.
func setMetadata(m *ccv3.Metadata, keys []string, value any) {
	if len(keys) != 3 {
		return
	}
	into := m.Annotations
	if keys[1] == "labels" {
		into = m.Labels
	}
	into[keys[2]] = nil
	if s, ok := value.(string); ok {
		into[keys[2]] = &s
	}
}

// metadataKeys names the labels and annotations that stand in a Spec as a ledger keeps them, below the prefix.
func metadataKeys(prefix string, spec map[string]any) []string {
	var keys []string
	for part, all := range mapOf(spec["metadata"]) {
		for key := range mapOf(all) {
			keys = append(keys, prefix+manifest.Pointer("metadata", part, key))
		}
	}
	return keys
}

// described gives the labels and annotations that o is to have at the keys (of a process, of its package, of itself),
// nil for those that the changes remove, and whether the changes have anything to do with them.
func described(o *manifest.Object, changes []diff.Change, at ...string) (m ccv3.Metadata, changed bool) {
	spec, _ := manifest.Lookup(o.Spec, manifest.Pointer(at...))
	if len(at) == 0 {
		spec = o.Spec
	}
	m = metadataOf(mapOf(spec))
	has := len(m.Labels)+len(m.Annotations) > 0
	for _, c := range changes {
		keys := manifest.SplitPointer(c.Path)
		common := min(len(keys), len(at))
		switch {
		case c.Ref != o.Ref || !slices.Equal(keys[:common], at[:common]):
		case len(keys) <= len(at): // the whole of it is new
			changed = changed || has && c.Op != diff.Remove
		case keys[len(at)] == "metadata":
			changed = true
			if c.Op == diff.Remove {
				setMetadata(&m, keys[len(at):], nil)
			}
		}
	}
	return m, changed
}

// mapOf is v as a map, nil if it is none.
func mapOf(v any) map[string]any { m, _ := v.(map[string]any); return m }

// mark puts the owner's mark on a resource that Fettle makes: only what bears it is ever pruned. Like the ledger of an app
// it lists the metadata that Git declares (ledger.go).
func mark(m ccv3.Metadata, spec map[string]any) {
	text := encodeLedger(metadataKeys("", spec))
	m.Annotations[appliedAnnotation] = &text
}
