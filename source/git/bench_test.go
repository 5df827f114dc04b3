package git_test

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/git"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

// What an agent pays: a poll that finds nothing, and a fetch of 1,000 files.
func BenchmarkSnapshot(b *testing.B) {
	root := b.TempDir()
	repo, err := gittest.Init(filepath.Join(root, "shop.git"))
	if err != nil {
		b.Fatal(err)
	}
	files := map[string]string{}
	for i := range 1000 {
		files[fmt.Sprintf("app-%d/file-%d", i%20, i)] = fmt.Sprintf("%0500d", i)
	}
	if _, err := repo.Commit(files, "Files", ""); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(&gittest.Server{Root: root})
	b.Cleanup(server.Close)
	for way, url := range map[string]string{"path": repo.Dir(), "HTTP": server.URL + "/shop.git"} {
		r, err := git.New(git.Options{URL: url})
		if err != nil {
			b.Fatal(err)
		}
		known, err := r.Snapshot(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		for name, known := range map[string]*source.Snapshot{"unchanged": known, "1000 files": nil} {
			b.Run(way+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := r.Snapshot(b.Context(), known); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
