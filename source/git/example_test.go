package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

// Polling: the snapshot that was used last goes in, and comes back if nothing moved. An error leaves it in use.
func Example() {
	folder, err := os.MkdirTemp("", "fettle-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	repo, err := gittest.Init(filepath.Join(folder, "shop.git"))
	if err != nil {
		log.Fatal(err)
	}
	shop, err := git.New(git.Options{URL: repo.Dir(), Branch: "main"})
	if err != nil {
		log.Fatal(err)
	}

	var inUse *source.Snapshot
	poll := func() {
		snap, err := shop.Snapshot(context.Background(), inUse)
		var failed *source.Error
		switch {
		case errors.As(err, &failed):
			fmt.Printf("%s: %v (%s)\n", failed.State, failed.Err, failed.Hint)
		case snap == inUse:
			fmt.Println("nothing new")
		default:
			manifest, _ := fs.ReadFile(snap.Files, "manifest.yml")
			fmt.Printf("%s by %s: %s", snap.Subject, snap.Author, manifest)
			inUse = snap
		}
	}
	poll()
	_, _ = repo.Commit(map[string]string{"manifest.yml": "applications: [{name: web}]\n"}, "Open the shop", "Ann <ann@example.com>")
	poll()
	poll()
	_ = repo.DeleteBranch("main")
	poll()
	// Output:
	// empty: the repository has no branch and no commit (push a first commit)
	// Open the shop by Ann <ann@example.com>: applications: [{name: web}]
	// nothing new
	// branch gone: the repository has no branch any more (all of its branches were deleted: push the branch again)
}
