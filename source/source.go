// Package source says what Fettle needs from a place where desired state lives: a revision, and
// the files at that revision.
//
// The drivers are in the folders below: git (repositories over HTTPS, SSH and file paths), dir (a local
// folder), webhook (which turns a push event into the name of a repository). A source only ever reads.
package source

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// Source is one place of desired state, for example one branch of one repository.
type Source interface {
	// Snapshot returns the files at the newest revision. It is cheap when nothing moved: if the newest
	// revision is known.Revision, it returns known itself. Errors are *Error.
	Snapshot(ctx context.Context, known *Snapshot) (*Snapshot, error)

	// String names the source for people, without any credential: "https://git.example.com/shop.git (main)".
	String() string
}

// Snapshot is the content of a source at one revision. It does not change after it was returned and may
// be read from many goroutines.
type Snapshot struct {
	Revision string    // for Git the full commit hash; for a folder a digest of its files
	Subject  string    // first line of the commit message
	Author   string    // "Name <mail>" of the commit, empty where there is none
	Time     time.Time // commit time
	Files    fs.FS     // paths are slash-separated and relative to the repository's root; no .git folder
}

// Blob is what FileInfo.Sys of a Snapshot's regular file or symlink may return: it identifies the content
// without reading it.
type Blob struct {
	Hash string // hexadecimal Git blob hash (SHA-1 of "blob SIZE\0" and the content)
}

// BlobHash lets a package that may not import this one ask for the hash through an interface of its own.
func (b Blob) BlobHash() string { return b.Hash }

// State classifies why a source could not give a snapshot. The agent keeps enforcing the last good
// revision in every one of these states and deletes nothing.
type State string

// The states a source can be in, other than fine.
const (
	Unreachable  State = "unreachable"  // network, DNS, TLS, 5xx: trying again may help
	Unauthorized State = "unauthorized" // credentials missing or refused, host key unknown
	NotFound     State = "not found"    // no such repository
	BranchGone   State = "branch gone"  // the repository exists, the branch (tag, commit) does not
	Empty        State = "empty"        // the repository has no commit at all
	Broken       State = "broken"       // the answer was truncated or makes no sense
	PathGone     State = "path gone"    // the revision has no such folder or file
	Untrusted    State = "untrusted"    // the signature is missing or not by an allowed signer
	TooLarge     State = "too large"    // more files or bytes than the source's limits allow
)

// Error says which source is in which state, why, and what to do next.
type Error struct {
	Source string // Source.String()
	State  State
	Err    error  // the cause; never holds a credential
	Hint   string // what a person can do
}

// Error reads: "https://git.example.com/shop.git (main): branch gone: … (hint)".
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", e.Source, e.State)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same call may succeed later without anybody changing anything.
func (e *Error) Retryable() bool { return e.State == Unreachable || e.State == Broken }
