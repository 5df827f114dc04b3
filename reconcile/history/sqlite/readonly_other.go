//go:build !unix

package sqlite

// isReadOnly says whether the file system is mounted for reading only; elsewhere that is a matter of rights.
func isReadOnly(error) bool { return false }
