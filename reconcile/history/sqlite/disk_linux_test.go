package sqlite_test

import (
	"os"
	"syscall"
	"testing"
)

// smallDisk is a folder on a disk of its own with little space on it; more gives it plenty.
func smallDisk(t *testing.T) (dir string, more func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("to make a small disk takes the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func() {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
			t.Fatal(os.NewSyscallError("remount", err))
		}
	}
}
