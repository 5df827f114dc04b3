package dir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fettle-gitops/fettle/source"
)

// Live is a folder as it is at the moment of reading, for a command that reads it once: nothing is hashed or noted
// beforehand, so a large work tree costs only what is really read of it. Its snapshots have no revision, and are
// therefore no good for watching a folder.
type Live struct{ path string }

var _ source.Source = (*Live)(nil)

// NewLive does not touch the folder.
func NewLive(path string) (*Live, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("dir source: %w", err)
	}
	return &Live{abs}, nil
}

// String is the folder's path.
func (l *Live) String() string { return l.path }

// Snapshot opens the folder. Symlinks that lead out of it are not followed (os.Root). Errors are *source.Error.
func (l *Live) Snapshot(ctx context.Context, _ *source.Snapshot) (*source.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, &source.Error{Source: l.path, State: source.Unreachable, Err: err}
	}
	root, err := os.OpenRoot(l.path)
	if err != nil {
		return nil, (&Folder{Options{Path: l.path}}).explain(ctx, err)
	}
	// The folder stays open as long as its files are read, which is until the command ends.
	return &source.Snapshot{Files: root.FS()}, nil
}
