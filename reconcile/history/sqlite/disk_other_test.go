//go:build !linux

package sqlite_test

import "testing"

func smallDisk(t *testing.T) (dir string, more func()) {
	t.Helper()
	t.Skip("a small disk is made on Linux only")
	return "", nil
}
