package tree

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

func open(e Entry) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("content of " + e.Path)), nil
}

func file(path string) Entry {
	return Entry{Path: path, Mode: Regular, Size: int64(len("content of " + path)), Hash: strings.Repeat("a", 40)}
}

func TestNamesThatAreRefused(t *testing.T) {
	for name, paths := range map[string][]string{
		"empty":                    {""},
		"the root":                 {"."},
		"absolute":                 {"/a"},
		"upwards":                  {"a/../b"},
		"an empty element":         {"a//b"},
		"a slash at the end":       {"a/"},
		"not UTF-8":                {"caf\xe9"},
		"twice":                    {"a", "b", "a"},
		"a file that is a folder":  {"a/b", "a"},
		"a deep file and a folder": {"x/a", "x/a.b", "x/a/b"},
		".git":                     {".git"},
		"in .git":                  {"a/.git/config"},
		".Git":                     {"a/.Git/hooks/x"},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []Entry
			for _, p := range paths {
				entries = append(entries, file(p))
			}
			if _, err := New(entries, time.Time{}, open); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// The hashes that "git write-tree" gives.
func TestHash(t *testing.T) {
	const blob = "257cc5642cb1a054f08cc83f2d943e56fd3ebe99" // "foo\n"
	for _, test := range []struct {
		want    string
		entries []Entry
	}{
		{"4b825dc642cb6eb9a060e54bf8d69288fbee4904", nil},
		{"015125cd67d87f351601f7734eeec2f094540a4d", []Entry{
			{Path: "a/b", Mode: Regular, Hash: blob},
			{Path: "a-b", Mode: Executable, Hash: blob},
			{Path: "a.b", Mode: Symlink, Hash: blob},
			{Path: "a0", Mode: Submodule, Hash: blob},
		}},
	} {
		f, err := New(test.entries, time.Time{}, open)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Hash(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

// Whatever the names and their order, the tree holds exactly these files and is a proper fs.FS.
func TestAnyTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		element := rapid.StringMatching(`[ab][-./0]?[ab]?`).Filter(func(s string) bool { return fs.ValidPath(s) })
		set := map[string]bool{}
		for _, p := range rapid.SliceOfN(rapid.SliceOfN(element, 1, 4), 1, 12).Draw(t, "paths") {
			set[path.Join(p...)] = true
		}
		var entries []Entry
		var names []string
		for p := range set {
			for other := range set { // a file cannot be a folder too
				if strings.HasPrefix(other, p+"/") {
					p = ""
					break
				}
			}
			if p != "" {
				entries = append(entries, file(p))
				names = append(names, p)
			}
		}
		entries = rapid.Permutation(entries).Draw(t, "order")
		f, err := New(entries, time.Now(), open)
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(f, names...); err != nil {
			t.Fatal(err)
		}
		var found []string
		err = fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found = append(found, p)
			}
			return err
		})
		slices.Sort(names)
		slices.Sort(found)
		if err != nil || !slices.Equal(found, names) {
			t.Fatalf("walking found %q, want %q, %v", found, names, err)
		}
	})
}

// Whatever a symlink says, following it ends, and ends inside.
func FuzzSymlink(f *testing.F) {
	for _, target := range []string{"a", "../a", "..", ".", "/", "", "d/l", "d/../d/../../x", "\x00", "l", strings.Repeat("d/../", 99)} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		tree, err := New([]Entry{
			file("a"), file("d/a"), {Path: "d/l", Mode: Symlink, Target: target}, {Path: "l", Mode: Symlink, Target: "d/l"},
		}, time.Time{}, open)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"l", "d/l", "l/a", "d/l/l"} {
			n, err := tree.find("open", name, true)
			if err == nil && n.Path != "." && n.Path != "a" && n.Path != "d" && n.Path != "d/a" {
				t.Errorf("%s -> %q leads to %q", name, target, n.Path)
			}
			if _, err := tree.ReadDir(name); err == nil {
				if info, err := tree.Stat(name); err != nil || !info.IsDir() {
					t.Errorf("%s: %v %v", name, info, err)
				}
			}
		}
		if got, err := tree.ReadLink("d/l"); got != target || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	var entries []Entry
	for i := range 10_000 {
		entries = append(entries, file(fmt.Sprintf("team-%d/app-%d/src/file-%d", i%10, i%100, i)))
	}
	for b.Loop() {
		if _, err := New(entries, time.Time{}, open); err != nil {
			b.Fatal(err)
		}
	}
}
