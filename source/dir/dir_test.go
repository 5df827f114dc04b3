package dir_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/dir"
	"github.com/fettle-gitops/fettle/source/git/gittest"
	"github.com/fettle-gitops/fettle/source/sourcetest"
)

type backend struct{ path string }

func (b backend) Source(t *testing.T) source.Source { return open(t, dir.Options{Path: b.path}) }

func (b backend) Replace(t *testing.T, c sourcetest.Content) {
	t.Helper()
	old, err := os.ReadDir(b.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(b.path, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	for mode, files := range map[fs.FileMode]map[string]string{0o644: c.Files, 0o755: c.Executable, fs.ModeSymlink: c.Symlinks} {
		for name, content := range files {
			write(t, filepath.Join(b.path, filepath.FromSlash(name)), content, mode)
		}
	}
}

func write(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil && mode == fs.ModeSymlink {
		err = os.Symlink(content, name)
	} else if err == nil {
		err = os.WriteFile(name, []byte(content), mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, o dir.Options) *dir.Folder {
	t.Helper()
	f, err := dir.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.Backend { return backend{t.TempDir()} })
}

// A folder is seen as Git would commit it.
func TestOnlyWhatGitWouldCommit(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "app.go"), "package app", 0o644)
	before, err := open(t, dir.Options{Path: folder}).Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, ".git", "HEAD"), "ref: refs/heads/main", 0o644)
	write(t, filepath.Join(folder, "lib", ".git"), "gitdir: ../.git/modules/lib", 0o644)
	if err := os.Mkdir(filepath.Join(folder, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(folder, "app.go"), time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	after, err := open(t, dir.Options{Path: folder}).Snapshot(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	if after != before {
		t.Errorf("%s became %s", before.Revision, after.Revision)
	}
}

// The revision of a folder is the tree hash of a commit with the same files.
func TestRevisionIsTheGitTree(t *testing.T) {
	files := map[string]string{"b.txt": "b", "b/x": "x", "b-c": "c", "a": "a"}
	folder := t.TempDir()
	for name, content := range maps.All(files) {
		write(t, filepath.Join(folder, name), content, 0o644)
	}
	write(t, filepath.Join(folder, "b", "run"), "#!", 0o755)
	write(t, filepath.Join(folder, "link"), "a", fs.ModeSymlink)
	snap, err := open(t, dir.Options{Path: folder}).Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := gittest.Init(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repo.CommitWith(gittest.Change{Files: files, Executable: map[string]string{"b/run": "#!"}, Symlinks: map[string]string{"link": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if want, err := repo.Tree(commit); err != nil || snap.Revision != want {
		t.Errorf("revision %s, tree of the commit %s, %v", snap.Revision, want, err)
	}
}

func TestStates(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "file"), "content", 0o644)
	write(t, filepath.Join(folder, "file2"), "content", 0o644)
	locked := t.TempDir()
	write(t, filepath.Join(locked, "secret"), "x", 0o000)
	for name, test := range map[string]struct {
		opts dir.Options
		want source.State
	}{
		"no such folder": {dir.Options{Path: filepath.Join(folder, "gone")}, source.NotFound},
		"a file":         {dir.Options{Path: filepath.Join(folder, "file")}, source.NotFound},
		"too many files": {dir.Options{Path: folder, MaxFiles: 2}, source.TooLarge},
		"too many bytes": {dir.Options{Path: folder, MaxBytes: 10}, source.TooLarge},
		"no permission":  {dir.Options{Path: locked}, source.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			if test.want == source.Unauthorized && os.Geteuid() == 0 {
				t.Skip("root may read everything")
			}
			_, err := open(t, test.opts).Snapshot(t.Context(), nil)
			var e *source.Error
			if !errors.As(err, &e) || e.State != test.want || e.Hint == "" {
				t.Errorf("got %v", err)
			}
			t.Log(err)
		})
	}
}

// A file that changes under a snapshot is an error to its reader, whatever the change.
func TestChangedFile(t *testing.T) {
	for name, content := range map[string]string{"same length": "ONE", "longer": "one and more", "shorter": "o", "gone": "-"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			file := filepath.Join(folder, "f")
			write(t, file, "one", 0o644)
			snap, err := open(t, dir.Options{Path: folder}).Snapshot(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if content == "-" {
				err = os.Remove(file)
			} else {
				err = os.WriteFile(file, []byte(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, err := fs.ReadFile(snap.Files, "f"); !errors.Is(err, dir.ErrChanged) {
				t.Errorf("read %q, %v", b, err)
			}
		})
	}
}

// A process that keeps its own files in the folder it watches must not see a new revision whenever it writes.
func TestExcluded(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("manifest.yml", "applications: []\n")
	write("fettle.db", "one")
	source, err := dir.New(dir.Options{Path: folder, Exclude: []string{filepath.Join(folder, "fettle.db")}})
	if err != nil {
		t.Fatal(err)
	}
	before, err := source.Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	write("fettle.db", "two")
	after, err := source.Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if before.Revision != after.Revision {
		t.Error("what is excluded makes a new revision")
	}
	if _, err := fs.Stat(after.Files, "fettle.db"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is excluded is part of the snapshot: %v", err)
	}
	write("manifest.yml", "applications: [{name: web}]\n")
	if after, err = source.Snapshot(t.Context(), nil); err != nil || after.Revision == before.Revision {
		t.Errorf("a change of what counts makes no new revision: %v", err)
	}
}
