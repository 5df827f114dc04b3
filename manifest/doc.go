// Package manifest holds the nouns of Fettle: what a team declares in Git, and, in the
// very same shape, what lives on a platform.
//
// A [Ref] names one resource, an [Object] is one declared or live resource, and a [Set] is
// many of them. Because desired and live state share one shape, comparing them is one
// function (package diff), exporting live state is marshalling it, and "export, then diff,
// is empty" is a property that tests can hold us to.
//
// # Canonical form
//
// Object.Spec is a plain tree: map[string]any, []any, string, int64, bool and nil, and
// nothing else. Every collection whose elements have an identity (environment variables,
// processes, sidecars, destinations, labels) is a map keyed by that identity, never a list,
// so that order can neither matter nor confuse. Lists remain only where order has meaning
// (buildpacks). Keys are those of the V3 API, sizes are whole megabytes or bytes as the key
// says. The shapes per kind are written down in kinds.go.
//
// What Git does not say is absent from the tree, and what is absent is never compared.
//
// # What this package does
//
// It parses (with file, line and column for every value), interpolates ((variables)),
// validates, and turns v1 app manifests into Objects. It never talks to a platform, never
// reads a clock and never resolves a name that only a foundation knows.
package manifest
