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
// # From a file to objects
//
// [Load] goes this way, and gathers the problems of every stage, so that a person sees all of them at once:
//
//	find      a file, manifest.yml in a folder, orgs/ORG/SPACE/*.yml, or all *.yml of a folder     load.go
//	parse     YAML 1.1 as the controller reads it; duplicate keys, anchors, merge keys, limits     yaml.go, scalar.go
//	interpolate ((variables)) out of --var and vars files; what came out of a secret one is marked interpolate.go
//	patch     what differs in this environment, laid over it: apps and their parts by name         patch.go
//	validate  the shape, against the schema in package schemas                                     schema.go
//	read      the meaning: what no schema can say, and the canonical form                          v1*.go, v2*.go
//
// A stage reads what has the right shape and passes over the rest, because the stage before has said what is wrong
// with it. What the controller would answer with 400, 422 or 500 is found here, with file, line and
// column; testdata/controller.golden shows both side by side. Fettle refuses more than the controller where a
// mistake would have no effect: unknown keys, keys of old cf versions, a map as an environment variable.
//
// Version 1 is the manifest of cf push, version 2 that of the community's RFC 0034. One model stands behind both; v2.go
// says how they differ.
//
// [MarshalV1] and [MarshalV2] go the other way. Reading what they wrote gives the same objects.
//
// # What this package does not do
//
// It never talks to a platform, never looks at a clock to decide what something means, and never resolves a name
// that only a foundation knows. It shows no secret: not in a problem, not in the excerpt below one.
package manifest
