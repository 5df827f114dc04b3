// Package history is Fettle's memory: which runs there were, what was found to differ from Git, since
// when, who did it, and what became of it.
//
// [Store] is the contract; the folders below hold its dialects, and historytest the suite that each of them passes.
// A store never holds a secret: values of secret fields arrive here as keyed digests ("digest:…"),
// made by the reconciler.
//
// # What is drift
//
// A difference between Git and the platform is drift when Fettle had already applied that very declaration
// (or, in report mode, always): somebody else moved. A difference because Git moved is a pending change
// and belongs to a run, not to the drift record. One edit is one record, however often it is seen.
package history

import (
	"context"
	"errors"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Store remembers. Its methods may be called from many goroutines and processes. Each is atomic: killed at any
// moment, it has happened wholly or not at all. Errors that a caller decides on are *Error or ErrNotFound. Times are
// kept to the microsecond and come back in UTC.
type Store interface {
	// BeginRun records that a run started, and returns it with its ID (rising, unique in the store).
	BeginRun(ctx context.Context, run Run) (Run, error)
	// EndRun records how the run ended. Steps, counters and all that was not known at the beginning (revision,
	// author, subject) are written here; said again, it replaces what was said. ErrNotFound if there is no such run.
	EndRun(ctx context.Context, run Run) error
	// Runs lists runs, newest first.
	Runs(ctx context.Context, f RunFilter) ([]Run, error)
	// AbandonRuns ends runs of the target that a killed process left unfinished, with the given result text.
	AbandonRuns(ctx context.Context, target, why string, at time.Time) (int, error)

	// Observe records what one observation of a target found: every difference that is drift, complete. New ones
	// are opened, known ones are seen again (LastSeen, Seen, Declared and Live when they changed, a better attribution
	// when it had none), and open records that are not among Found any more are resolved as Ended
	// says for their key (default ChangedBack). Returns the records that this observation opened and
	// those that it resolved. Observation.Against is the whole rule.
	Observe(ctx context.Context, o Observation) (opened, resolved []Drift, err error)
	// Resolve ends open records of a target by key: healed by a run, accepted by a commit. A key covers what lies
	// below it (Key.Covers). Keys without an open record are no error.
	Resolve(ctx context.Context, target string, keys []Key, how Resolution, run int64, at time.Time) ([]Drift, error)
	// Drift lists records, newest LastSeen first (of two with the same, the higher ID).
	Drift(ctx context.Context, f DriftFilter) ([]Drift, error)

	// Applied returns what was last applied to a target: per field a digest of the declared value
	// (see Applied). Empty if nothing ever was.
	Applied(ctx context.Context, target string) (Applied, error)
	// SetApplied replaces the entries of the given resources, and the target's last good revision if revision is not "".
	// A resource with no entries is forgotten.
	SetApplied(ctx context.Context, target, revision string, entries map[manifest.Ref]map[string]string) error
	// ForgetApplied removes resources that Git no longer declares.
	ForgetApplied(ctx context.Context, target string, refs []manifest.Ref) error

	// Quarantine holds back one declaration of one resource until Git declares something else. A resource has one
	// quarantine: a new one replaces it.
	Quarantine(ctx context.Context, q Quarantine) error
	// Quarantined lists what is held back for a target ("" is all targets).
	Quarantined(ctx context.Context, target string) ([]Quarantine, error)
	// Release ends a quarantine; there being none is no error.
	Release(ctx context.Context, target string, ref manifest.Ref) error

	// NextDue and SetNextDue keep the schedule across restarts: a run missed while down runs once. The zero time
	// means that none was set.
	NextDue(ctx context.Context, target string) (time.Time, error)
	SetNextDue(ctx context.Context, target string, at time.Time) error

	// Close releases the store.
	Close() error
}

// ErrNotFound says that the store has no such record.
var ErrNotFound = errors.New("not found in the history store")

// Trigger says why a run started.
type Trigger string

// The triggers.
const (
	ByCommit   Trigger = "commit"   // the source's revision moved
	BySchedule Trigger = "schedule" // the target's cron schedule
	ByHand     Trigger = "hand"     // a person or a CI job
	ByStart    Trigger = "start"    // the agent started
	ByRetry    Trigger = "retry"    // the last run failed in a way that trying again may help
)

// Result says how a run ended.
type Result string

// The results. Running is what a run has until it ends.
const (
	Running   Result = "running"
	InSync    Result = "in sync"   // nothing to do
	Changed   Result = "applied"   // changed, and everything succeeded
	Drifted   Result = "drifted"   // report mode: differences were found and left alone
	Failed    Result = "failed"    // at least one step failed, or the run could not even plan
	Held      Result = "held"      // all is as declared, but for declarations that are quarantined
	Abandoned Result = "abandoned" // told to stop, or killed
)

// Run is one pass over one target.
type Run struct {
	ID        int64
	Target    string
	Trigger   Trigger
	Mode      string // "apply" or "report"
	Revision  string
	Author    string
	Subject   string
	StartedAt time.Time
	EndedAt   time.Time // zero while running
	Result    Result
	Error     string // the first failure, for people; never a secret
	Requests  int64  // API requests used
	Changes   int    // differences found
	Steps     []Step
}

// Step is what became of one resource in a run.
type Step struct {
	Ref      manifest.Ref
	Phase    platform.Phase
	Changes  int
	Impact   string
	Error    string
	Duration time.Duration
}

// RunFilter selects runs. Zero fields select everything.
type RunFilter struct {
	Target string
	ID     int64
	Since  time.Time // started at or after
	Until  time.Time // started before
	Result Result    // "" is any
	Limit  int
}

// Key identifies what drifts: one field of one resource.
type Key struct {
	Ref  manifest.Ref
	Path string // JSON pointer, "" is the whole resource
}

// Resolution says how a drift ended.
type Resolution string

// The ways in which drift ends.
const (
	Open        Resolution = ""             // it has not
	Healed      Resolution = "healed"       // a run put the declared value back
	Accepted    Resolution = "accepted"     // a commit declares the live value
	ChangedBack Resolution = "changed back" // somebody else restored the declared value
	Gone        Resolution = "gone"         // Git no longer declares the resource, or the resource was deleted (a drift of its own)
)

// Drift is one difference that somebody other than Fettle made, from first seen to resolved.
type Drift struct {
	ID         int64
	Target     string
	Ref        manifest.Ref
	Path       string
	Op         diff.Op // what Fettle would do about it: add, update, remove
	Declared   string  // canonical text (JSON) of the declared value; "digest:…" for a secret
	Live       string  // likewise; "" when absent
	Secret     bool
	Origin     manifest.Origin // file:line:column of the declaration
	Impact     string
	Revision   string // of Git when it was first seen
	FirstSeen  time.Time
	LastSeen   time.Time
	Seen       int // how many observations saw it
	By         platform.Attribution
	ResolvedAt time.Time
	Resolution Resolution
	ResolvedBy int64 // the run that resolved it, 0 where none did
}

// Key gives the record's identity among the open records of its target.
func (d Drift) Key() Key { return Key{d.Ref, d.Path} }

// Observation is everything that one look at a target found to be drift.
type Observation struct {
	Target   string
	At       time.Time
	Revision string
	Run      int64
	Found    []Drift // Ref, Path, Op, Declared, Live, Secret, Origin, Impact, By
	// Unseen lists keys that could not be looked at this time (unobservable, failed): their records, and those below
	// them, stay as they are.
	Unseen []Key
	// Ended says how an open record that is not in Found ended, by its key or the nearest one that covers it; the
	// default is ChangedBack.
	Ended map[Key]Resolution
}

// DriftFilter selects records. Zero fields select everything.
type DriftFilter struct {
	Target   string
	ID       int64
	OpenOnly bool
	Org      string
	Space    string       // "ORG/SPACE"
	Ref      manifest.Ref // an empty Kind or Path is any
	Actor    string       // By.Actor; By.ActorID where the record has no name
	Since    time.Time    // last seen or resolved at or after
	Until    time.Time    // first seen before
	Limit    int
}

// Applied is what a target was last brought to.
type Applied struct {
	Revision string                             // the last revision that was applied in full
	Entries  map[manifest.Ref]map[string]string // resource → field pointer ("" is the resource) → digest of the declared value
}

// Quarantine holds back one declaration that has proven bad.
type Quarantine struct {
	Target   string
	Ref      manifest.Ref
	Digest   string // of the declaration that failed; another digest lifts the quarantine
	Revision string
	Reason   string
	Since    time.Time
	Run      int64
}
