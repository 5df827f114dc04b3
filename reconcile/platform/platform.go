// Package platform is the contract between the reconciler and a platform driver: observe live state,
// turn differences into a plan, apply a plan.
//
// A driver is told what is desired and says what is. It decides nothing about when to run, keeps no
// history, and never reads Git. Abilities beyond the three methods of [Driver] announce themselves as the
// small interfaces below, found by type assertion. Package platformtest holds the suite that every driver passes.
package platform

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// Driver speaks to one foundation as one user. Its methods may be called from many goroutines.
// Errors that a caller decides on are *Error.
type Driver interface {
	// Observe reads the live state of every space that desired touches, in the canonical form of package
	// manifest. It changes nothing.
	Observe(ctx context.Context, desired manifest.Set) (Observation, error)

	// Plan turns changes into steps, judges the impact of each change, and finds what would stop
	// the plan before anything is applied. It is pure: no requests.
	Plan(ctx context.Context, in PlanInput) (Plan, error)

	// Apply carries out the plan's steps in the order of Step.Requires, independent ones in parallel.
	// A failed step fails only what requires it. Every step is idempotent: found half-done, it is completed.
	// When ctx ends, Apply stops at the next safe point and reports the rest as Abandoned. The error is
	// only for what concerns no single step (credentials, unreachable platform).
	Apply(ctx context.Context, plan Plan, opts ApplyOptions) (Outcome, error)
}

// Preparer completes desired state with what only the driver can compute and what needs no foundation:
// the digest of an app's files. Run it before comparing. It returns a new Set.
type Preparer interface {
	Prepare(ctx context.Context, desired manifest.Set, files fs.FS) (manifest.Set, error)
}

// Attributor finds out who made changes that Fettle did not make. The answer has the length and the order
// of changes.
type Attributor interface {
	Attribute(ctx context.Context, obs Observation, changes []diff.Change, since time.Time) ([]Attribution, error)
}

// Validator finds what would stop desired from being applied and what only the platform knows: names that do not exist,
// routes that belong to somebody else, quotas, rights. It changes nothing. The error is for what keeps it from looking.
type Validator interface {
	Validate(ctx context.Context, desired manifest.Set) (manifest.Problems, error)
}

// Preflighter asks the platform what Plan cannot know: whether what the plan is about to use exists, is allowed and
// fits in. It changes nothing, and asks only about what the plan changes. Every problem that is not a warning must be
// certain: its step is not tried. The error is for what keeps it from looking, and never for a missing right to look.
type Preflighter interface {
	Preflight(ctx context.Context, in PlanInput, plan Plan) ([]Problem, error)
}

// Exporter reads whole spaces, as Observe reads what is declared in them, whether anything declares it or not. A place is
// "ORG/SPACE", or "ORG" for all of its spaces; it returns the spaces. It changes nothing.
//
// A live object of it is nearly what would declare it: what the platform tells of the settings and inputs of package manifest is
// in Settings and Inputs.
type Exporter interface {
	Export(ctx context.Context, places ...string) (spaces []string, obs Observation, err error)
}

// Counter tells how many API requests the driver has made so far.
type Counter interface {
	Requests() int64
}

// Observation is live state at one moment.
type Observation struct {
	Live   manifest.Set
	Ledger diff.Ledger // what Fettle applied before, as the resources themselves say
	Seals  diff.Seals  // of inputs that the platform does not give back
	At     time.Time   // when the reading began, on the platform's clock if it told us
	// IDs gives the platform's own identifier of a live resource (a V3 guid).
	IDs map[manifest.Ref]string
	// Warnings that the platform gave and a person should see.
	Warnings []string
}

// PlanInput is everything a plan is made from.
type PlanInput struct {
	Desired manifest.Set
	Live    Observation
	Changes diff.Changes

	Settings *manifest.Settings // of apps that set none themselves, as in ApplyOptions
}

// Plan is data: what will be done, in which order, at which cost.
type Plan struct {
	Steps    []Step
	Problems []Problem // what would make steps fail, known beforehand
}

// Step is the smallest unit that is applied, retried, reported and quarantined: one app with
// all that hangs on it (routes, bindings), or one resource of its own.
type Step struct {
	ID       string // unique in the plan and stable between runs: Ref.String()
	Ref      manifest.Ref
	Changes  []diff.Change // with Impact filled in; the union over all steps is Changes.List
	Requires []string      // IDs of steps that must have succeeded
	Impact   diff.Impact   // the gravest of Changes
	Desired  manifest.Set  // the declared objects that the step is about

	// Data is what the driver needs to apply the step: identifiers, and the live values to go back to. Only the driver
	// that made the plan reads it. It may hold secrets: it is neither shown nor stored.
	Data any
}

// Problem is a reason why a step cannot succeed, found without trying.
type Problem struct {
	Step    string          // Step.ID, or "" for the whole plan
	Origin  manifest.Origin // what declares the cause
	Message string          // what and why; it need not name the step
	Hint    string          // what to do next
	Warning bool            // the step may succeed all the same, and is tried
}

// ApplyOptions accompany a plan.
type ApplyOptions struct {
	Files    fs.FS       // the snapshot that the desired state was loaded from
	Revision string      // of that snapshot, noted on what is created
	Report   func(Event) // progress, called from many goroutines; may be nil
	Parallel int         // steps at a time; 0 is the driver's default

	// RolloutTimeout is how long one rollout may take to become healthy before it is cancelled; 0 is the driver's default.
	RolloutTimeout time.Duration

	// Settings are what holds for apps whose declaration does not say it; may be nil.
	Settings *manifest.Settings
}

// Phase is where a step stands.
type Phase string

// The phases that every driver reports. Between Started and the end a driver sends Progress
// events with texts of its own ("staging, 12 s").
const (
	Started   Phase = "started"
	Progress  Phase = "progress"
	Succeeded Phase = "succeeded"
	Failed    Phase = "failed"
	Skipped   Phase = "skipped"   // something it requires failed
	Abandoned Phase = "abandoned" // the run was told to stop
	Paused    Phase = "paused"    // begun, and waiting for a person to let it go on; no failure
)

// Event is one sign of life from a step.
type Event struct {
	Time  time.Time
	Step  string
	Ref   manifest.Ref
	Phase Phase
	Text  string
}

// Outcome is what became of a plan.
type Outcome struct {
	Steps []StepResult // in the order of Plan.Steps
}

// StepResult is what became of one step.
type StepResult struct {
	Step       string
	Ref        manifest.Ref
	Phase      Phase // Succeeded, Failed, Skipped, Abandoned or Paused
	Err        error // set when Failed; an *Error where it comes from the driver
	RolledBack bool  // the resource is back in the state it had before
	Quarantine bool  // trying the same declaration again cannot help (a rollout that crashed, staging that failed)
	Duration   time.Duration
}

// Err returns the first failure, or nil.
func (o Outcome) Err() error {
	for _, s := range o.Steps {
		if s.Err != nil {
			return s.Err
		}
	}
	return nil
}

// ErrorClass is what a caller decides on.
type ErrorClass string

// Classes of errors.
const (
	Unauthorized ErrorClass = "unauthorized" // credentials refused or expired
	Forbidden    ErrorClass = "forbidden"    // the role does not allow it
	Missing      ErrorClass = "missing"      // org, space, domain, service, … does not exist (or cannot be seen)
	Invalid      ErrorClass = "invalid"      // the platform refuses what was asked
	Quota        ErrorClass = "quota"
	Staging      ErrorClass = "staging" // the app's code could not be built
	Rollout      ErrorClass = "rollout" // instances did not become healthy
	RateLimited  ErrorClass = "rate limited"
	Unavailable  ErrorClass = "unavailable" // unreachable, 5xx, timed out
	Internal     ErrorClass = "internal"    // an answer that makes no sense
)

// Error is a failure on the platform: what was attempted, where, why, and what to do next.
type Error struct {
	Class   ErrorClass
	Ref     manifest.Ref // zero where no resource is concerned
	Origin  manifest.Origin
	Doing   string // "staging the package", "logging in to https://…"
	Message string // why, in the platform's words where it has some
	Hint    string // what a person can do
	Err     error  // cause
}

// Error reads "app acme/dev/web: staging the package: NoAppDetectedError … (hint)".
func (e *Error) Error() string {
	var s string
	if !e.Origin.IsZero() {
		s = e.Origin.String() + ": "
	}
	if e.Ref != (manifest.Ref{}) {
		s += e.Ref.String() + ": "
	}
	s += e.Doing + ": " + e.Message
	if e.Hint != "" {
		s += fmt.Sprintf(" (%s)", e.Hint)
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same call may succeed later without anybody changing anything.
func (e *Error) Retryable() bool { return e.Class == RateLimited || e.Class == Unavailable }

// Attribution says who made a change, as far as the platform tells.
type Attribution struct {
	Actor   string    `json:"actor,omitempty"`    // as the platform names the user (on Cloud Foundry: the mail or user name)
	ActorID string    `json:"actor_id,omitempty"` // the platform's identifier of the user
	At      time.Time `json:"at,omitzero"`
	Event   string    `json:"event,omitempty"`    // the kind of event ("audit.app.process.scale")
	EventID string    `json:"event_id,omitempty"` // its guid
	Note    string    `json:"note,omitempty"`     // why it is unknown or uncertain
}

// Known reports whether an actor was found.
func (a Attribution) Known() bool { return a.Actor != "" || a.ActorID != "" }
