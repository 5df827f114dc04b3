package git_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

// An agent polls for months: neither polls that find nothing nor those that find a new commit may leave
// anything behind. What stays is the one snapshot that is in use.
func TestPollingDoesNotGrow(t *testing.T) {
	const (
		files     = 5000
		unchanged = 200
		changed   = 5
	)
	server, repo := newRepo(t)
	all := make(map[string]string, files)
	for i := range files {
		all[filepath.ToSlash(fmt.Sprintf("team-%02d/app-%02d/file-%04d.txt", i%20, i%97, i))] = fmt.Sprintf("file %d\n%0500d\n", i, i)
	}
	commit(t, repo, gittest.Change{Files: all})
	r := open(t, git.Options{URL: overHTTP(t, server)})

	snap := snapshot(t, r, nil)
	change := func(i int) {
		commit(t, repo, gittest.Change{Files: map[string]string{"team-00/app-00/file-0000.txt": fmt.Sprint("revision ", i)}})
		before := snap
		if snap = snapshot(t, r, before); snap == before {
			t.Fatal("the new commit was not seen")
		}
		if got, want := read(t, snap, "team-00/app-00/file-0000.txt"), fmt.Sprint("revision ", i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	change(-1) // warm: pools and caches of the libraries are filled
	start := heap(snap)
	for i := range changed {
		change(i)
		for range unchanged / changed {
			if snapshot(t, r, snap) != snap {
				t.Fatal("unchanged, and not the same snapshot")
			}
		}
	}
	end := heap(snap)
	t.Logf("heap %d kB with one snapshot of %d files; after %d fetches and %d polls %d kB", start>>10, files, changed, unchanged, end>>10)
	// Five more snapshots that stay would be about 25 MB.
	if end > start+12<<20 {
		t.Errorf("the heap grew from %d to %d bytes", start, end)
	}
}

func heap(keep *source.Snapshot) uint64 {
	runtime.GC()
	runtime.GC() // sync.Pool lets go in the second collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	runtime.KeepAlive(keep)
	return m.HeapAlloc
}
