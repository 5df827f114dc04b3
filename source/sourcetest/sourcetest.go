// Package sourcetest is the contract of source.Source as a test suite. Every driver runs it; what
// holds for all sources is written here once.
package sourcetest

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/source"
)

// Content is what a source is to hold: content or link target, by path.
type Content struct {
	Files, Executable, Symlinks map[string]string
}

// Backend is where a driver's source gets its content from, made anew for each test.
type Backend interface {
	// Replace makes c the newest content; everything else is gone.
	Replace(t *testing.T, c Content)
	// Source opens what was written.
	Source(t *testing.T) source.Source
}

// shop is content with everything that a tree can hold, in an order that tells how folders sort: Git puts
// "web.txt" before the folder "web".
var shop = Content{
	Files: map[string]string{
		"manifest.yml":        "applications:\n- name: web\n",
		"web.txt":             "about web",
		"web/index.html":      "<h1>Shop</h1>",
		"web/empty":           "",
		"web/a/b/c/deep.txt":  "deep",
		"web-2/ünïcode ☃.txt": "snow",
		"big.bin":             strings.Repeat("0123456789abcdef", 1<<14),
	},
	Executable: map[string]string{"web/run.sh": "#!/bin/sh\n"},
	Symlinks: map[string]string{
		"link.yml": "manifest.yml", "web/up.yml": "../manifest.yml", "site": "web", "web/hop": "../site/a/b",
	},
}

// Run checks a driver.
func Run(t *testing.T, backend func(t *testing.T) Backend) {
	filled := func(t *testing.T, c Content) (Backend, source.Source) {
		b := backend(t)
		b.Replace(t, c)
		return b, b.Source(t)
	}

	t.Run("a snapshot holds the files, their modes and their Git hashes", func(t *testing.T) {
		_, src := filled(t, shop)
		snap := take(t, src, nil)
		if diff := cmp.Diff(expected(shop), listing(t, snap.Files)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if snap.Revision == "" || snap.Time.IsZero() {
			t.Errorf("revision %q, time %s", snap.Revision, snap.Time)
		}
		if src.String() == "" {
			t.Error("the source has no name")
		}
	})

	t.Run("the files are a well-behaved fs.FS", func(t *testing.T) {
		_, src := filled(t, shop)
		files := take(t, src, nil).Files
		if err := fstest.TestFS(files, slices.Sorted(maps.Keys(expected(shop)))...); err != nil {
			t.Error(err)
		}
		sub, err := fs.Sub(files, "web")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := fs.ReadFile(sub, "up.yml"); string(b) != shop.Files["manifest.yml"] {
			t.Errorf("a link that leaves the sub folder, not the tree: %q, %v", b, err)
		}
	})

	t.Run("symlinks are followed inside the tree only", func(t *testing.T) {
		_, src := filled(t, Content{
			Files: map[string]string{"a/file": "inside"},
			Symlinks: map[string]string{
				"ok": "a/file", "a/dir": ".", "up": "../../../../etc/passwd", "absolute": "/etc/passwd", "a/sly": "../a/../../x",
				"loop": "loop2", "loop2": "loop", "dangling": "nothing",
			},
		})
		files := take(t, src, nil).Files
		for _, name := range []string{"ok", "a/dir/file", "a/dir/dir/file"} {
			if b, err := fs.ReadFile(files, name); string(b) != "inside" {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
		for _, name := range []string{"up", "absolute", "a/sly", "loop", "dangling", "ok/x"} {
			if _, err := files.Open(name); err == nil {
				t.Errorf("%s can be opened", name)
			}
			if _, err := fs.ReadFile(files, name); err == nil {
				t.Errorf("%s can be read", name)
			}
		}
		if target, err := fs.ReadLink(files, "absolute"); target != "/etc/passwd" {
			t.Errorf("reading a link is not following it: %q, %v", target, err)
		}
	})

	t.Run("unchanged content gives the known snapshot itself", func(t *testing.T) {
		_, src := filled(t, shop)
		first := take(t, src, nil)
		for range 3 {
			if again := take(t, src, first); again != first {
				t.Fatal("another snapshot of the same revision")
			}
		}
		if forgotten := take(t, src, nil); forgotten.Revision != first.Revision {
			t.Errorf("revision %s, then %s", first.Revision, forgotten.Revision)
		}
	})

	for name, changed := range map[string]Content{
		"content":              {Files: map[string]string{"f": "two"}},
		"the executable bit":   {Executable: map[string]string{"f": "one"}},
		"a name":               {Files: map[string]string{"g": "one"}},
		"a file into a link":   {Symlinks: map[string]string{"f": "one"}},
		"a file into a folder": {Files: map[string]string{"f/f": "one"}},
	} {
		t.Run("changing "+name+" is a new revision, and the old snapshot stays", func(t *testing.T) {
			b, src := filled(t, Content{Files: map[string]string{"f": "one"}})
			before := take(t, src, nil)
			b.Replace(t, changed)
			after := take(t, src, before)
			if after == before || after.Revision == before.Revision {
				t.Fatal("the change was not seen")
			}
			if diff := cmp.Diff(expected(changed), listing(t, after.Files)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			info, err := fs.Lstat(before.Files, "f")
			if err != nil || info.Mode() != 0o644 || info.Sys().(source.Blob).Hash != hash("one") {
				t.Errorf("the old snapshot changed: %v, %v", info, err)
			}
			// It may fail to read what is gone. It may not read something else.
			if b, err := fs.ReadFile(before.Files, "f"); err == nil && string(b) != "one" {
				t.Errorf("the old snapshot reads %q", b)
			}
		})
	}

	t.Run("no content at all is the state empty", func(t *testing.T) {
		_, err := backend(t).Source(t).Snapshot(t.Context(), nil)
		var e *source.Error
		if !errors.As(err, &e) || e.State != source.Empty || e.Hint == "" || e.Retryable() {
			t.Errorf("got %v", err)
		}
	})

	t.Run("a cancelled context ends the call", func(t *testing.T) {
		_, src := filled(t, shop)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := src.Snapshot(ctx, nil)
		var e *source.Error
		if !errors.As(err, &e) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("many goroutines take and read snapshots", func(t *testing.T) {
		_, src := filled(t, shop)
		snap := take(t, src, nil)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := src.Snapshot(t.Context(), snap); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(expected(shop), listing(t, snap.Files)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
		all.Wait()
	})
}

func take(t *testing.T, src source.Source, known *source.Snapshot) *source.Snapshot {
	t.Helper()
	s, err := src.Snapshot(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hash is the Git blob hash, computed as Git's documentation says and without the drivers' help.
func hash(content string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	return hex.EncodeToString(sum[:])
}

// leaf is what the suite compares.
type leaf struct{ Mode, Hash, Content string }

func expected(c Content) map[string]leaf {
	all := map[string]leaf{}
	for mode, files := range map[string]map[string]string{"-rw-r--r--": c.Files, "-rwxr-xr-x": c.Executable, "Lrwxrwxrwx": c.Symlinks} {
		for name, content := range files {
			all[name] = leaf{mode, hash(content), content}
		}
	}
	return all
}

// listing walks the files and reads everything.
func listing(t *testing.T, files fs.FS) map[string]leaf {
	all := map[string]leaf{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		blob, _ := info.Sys().(source.Blob)
		var content []byte
		if d.Type() == fs.ModeSymlink {
			target, lerr := fs.ReadLink(files, name)
			content, err = []byte(target), lerr
		} else {
			content, err = fs.ReadFile(files, name)
		}
		if int64(len(content)) != info.Size() {
			return fmt.Errorf("%s: %d bytes, and its size is %d", name, len(content), info.Size())
		}
		all[name] = leaf{info.Mode().String(), blob.Hash, string(content)}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return all
}
