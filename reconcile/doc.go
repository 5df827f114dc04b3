// Package reconcile brings one target to what Git declares, and remembers what it found on the way.
//
// A run is a list of named steps, told in the order in which they happen (see [Reconciler.Run]):
//
//	fetch    the newest snapshot of the target's source
//	load     the manifests in it: parse, interpolate, validate
//	observe  the live state of the spaces they touch
//	compare  the two: which fields differ
//	plan     what has to be done, in which order, at which cost
//	apply    the plan (mode apply), unless a declaration is quarantined
//	record   what differed, who did it, and what became of it
//
// Every step is idempotent and a run keeps nothing between its steps but what the platform and the history store
// hold, so that a killed run is simply run again.
//
// # Drift or pending change
//
// A difference is drift when Fettle had already applied that very declaration: then it was not Git that moved.
// Otherwise it is a pending change, which the run applies and does not record as drift. In report mode nothing
// is ever applied, so every difference is drift; one that a commit made and nobody has deployed says so and names nobody. An app's "rollout" field (a deployment on its way, a restart not
// yet done) is progress, never drift.
//
// # What is ignored
//
// A difference that a rule of the target or of the app's manifest names is not applied and no drift, and an open record of it
// ends as accepted. Its live value is kept whatever is applied beside it. When the rule expires, the log says so, and the
// difference is what it would have been without the rule.
//
// # Quarantine
//
// A declaration that has proven bad (its code cannot be staged, its instances crash) is held back until Git
// declares something else for that resource; other resources go on.
//
// This package names no driver, no store dialect and no clock of its own; when to run is package agent's business.
package reconcile
