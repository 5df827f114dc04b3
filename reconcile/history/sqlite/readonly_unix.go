//go:build unix

package sqlite

import (
	"errors"
	"syscall"
)

// isReadOnly says whether the file system is mounted for reading only.
func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
