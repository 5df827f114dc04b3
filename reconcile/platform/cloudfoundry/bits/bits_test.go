package bits_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
)

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content), Mode: 0o644} }

func link(to string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
}

// unzip lists "MODE NAME CONTENT" for each entry.
func unzip(t *testing.T, data []byte) []string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f.Mode().String()+" "+f.Name+" "+string(content))
	}
	return all
}

func pack(t *testing.T, fsys fs.FS, dir string) []byte {
	t.Helper()
	f, err := bits.Open(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Copy(t.Context(), &b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhichFilesAreUploaded(t *testing.T) {
	tests := []struct {
		name  string
		files fstest.MapFS
		dir   string
		want  []string
	}{
		{
			name:  "everything below the path, and nothing beside it",
			files: fstest.MapFS{"shop/main.go": file("m"), "shop/web/index.html": file("i"), "other/x": file("x")},
			dir:   "shop",
			want:  []string{"-rw-r--r-- main.go m", "-rw-r--r-- web/index.html i"},
		},
		{
			name:  "all of it",
			files: fstest.MapFS{"a": file("1"), "b/c": file("2")},
			dir:   "",
			want:  []string{"-rw-r--r-- a 1", "-rw-r--r-- b/c 2"},
		},
		{
			name: "not what cf push always leaves out, at any depth",
			files: fstest.MapFS{
				"a": file("1"), ".gitignore": file(""), "manifest.yml": file(""), "deep/manifest.yaml": file(""),
				".git/HEAD": file(""), ".DS_Store": file(""), ".svn/x": file(""), ".hg/x": file(""), "_darcs/x": file(""), ".cfignore": file(""),
			},
			want: []string{"-rw-r--r-- a 1"},
		},
		{
			name: ".cfignore, which cannot bring those back",
			files: fstest.MapFS{
				".cfignore": file("*.log\r\n# a comment\n/tmp\nnode_modules/\n!keep.log\n!manifest.yml\n"),
				"app.log":   file(""), "keep.log": file("k"), "tmp/x": file(""), "deep/tmp/y": file("y"),
				"node_modules/a/b.js": file(""), "manifest.yml": file(""), "main.js": file("m"),
			},
			want: []string{"-rw-r--r-- deep/tmp/y y", "-rw-r--r-- keep.log k", "-rw-r--r-- main.js m"},
		},
		{
			name:  "modes as Git keeps them",
			files: fstest.MapFS{"run": {Data: []byte("r"), Mode: 0o770}, "text": {Data: []byte("t"), Mode: 0o600}},
			want:  []string{"-rwxr-xr-x run r", "-rw-r--r-- text t"},
		},
		{
			name: "a symlink stays one, wherever it points, and is not followed",
			files: fstest.MapFS{
				"lib/a": file("a"), "bin/a": link("../lib/a"), "gone": link("nowhere"), "lib2": link("lib"),
				"out": link("../../secret"), "tz": link("/etc/localtime"),
			},
			want: []string{
				"Lrwxrwxrwx bin/a ../lib/a", "Lrwxrwxrwx gone nowhere", "-rw-r--r-- lib/a a", "Lrwxrwxrwx lib2 lib",
				"Lrwxrwxrwx out ../../secret", "Lrwxrwxrwx tz /etc/localtime",
			},
		},
		{
			// The same tree as cmd/internal/cli/testdata/cf/bits.txtar, where cf push says what is right.
			name: "a tree that means no good",
			files: fstest.MapFS{
				".cfignore": file("*.log\n!keep.log\n/tmp\nkeepdir/*\n!keepdir/yes\n# a comment\n\n!manifest.yml\ndeep/nested/**\n"),
				"main.go":   file("m"), ".hidden": file("h"), ".git/HEAD": file("x"), "sub/.git/HEAD": file("x"), ".gitignore": file("g"),
				"sub/.gitignore": file("g"), "sub/.cfignore": file("*"), "sub/s": file("s"), "manifest.yml": file("y"), "deep/manifest.yaml": file("y"),
				"app.log": file("l"), "deep/keep.log": file("k"), "deep/nested/n": file("n"), "tmp/t": file("t"), "deep/tmp/t": file("t"),
				"keepdir/no": file("1"), "keepdir/yes": file("2"), "ünïcödé dir/naïve ☃.txt": file("u"), `back\slash.txt`: file("b"), "con": file("c"),
				"empty file": file(""), "a/node_modules/x/i.js": file("j"), ".DS_Store": file("d"),
			},
			want: []string{
				"-rw-r--r-- .hidden h", "-rw-r--r-- a/node_modules/x/i.js j", `-rw-r--r-- back\slash.txt b`, "-rw-r--r-- con c",
				"-rw-r--r-- deep/keep.log k", "-rw-r--r-- deep/tmp/t t", "-rw-r--r-- empty file ", "-rw-r--r-- keepdir/yes 2", "-rw-r--r-- main.go m",
				"-rw-r--r-- sub/s s", "-rw-r--r-- ünïcödé dir/naïve ☃.txt u",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, unzip(t, pack(t, tt.files, tt.dir))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAnArchiveIsUploadedAsItIs(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("manifest.yml"); err != nil { // not even .cfignore applies
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"target/app.jar": {Data: b.Bytes(), Mode: 0o644}, "target/app.war": {Data: b.Bytes(), Mode: 0o755}}
	if !bytes.Equal(pack(t, files, "target/app.jar"), b.Bytes()) {
		t.Error("the upload differs from the archive")
	}
	jar, err := bits.Digest(t.Context(), files, "target/app.jar")
	if err != nil {
		t.Fatal(err)
	}
	if war, _ := bits.Digest(t.Context(), files, "target/app.war"); war != jar {
		t.Error("the digest of an archive depends on its name or mode")
	}
}

func TestPathsThatHoldNoCode(t *testing.T) {
	files := fstest.MapFS{
		"readme.txt":     file("hello"),
		"empty/.gitkeep": file(""), "empty/.cfignore": file(".gitkeep"),
	}
	tests := []struct{ dir, want string }{
		{"gone", "path gone: there is no such file or folder (the path of an app is relative to its manifest)"},
		{"readme.txt", "path readme.txt: it is a file, but not a zip, jar or war archive (name the folder that holds it)"},
		{"empty", "path empty: it holds no file to upload (check the path and .cfignore)"},
	}
	for _, tt := range tests {
		_, err := bits.Open(files, tt.dir)
		var e *bits.Error
		if !errors.As(err, &e) || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant %s", tt.dir, err, tt.want)
		}
	}
}

// gitFS makes every file know its hash and refuses to be read, as if the digest needed no reading.
type gitFS struct {
	fstest.MapFS
	hashes map[string]string
}

type hashed struct {
	fs.DirEntry
	hash string
}

func (h hashed) Info() (fs.FileInfo, error) {
	info, err := h.DirEntry.Info()
	return hashedInfo{info, h.hash}, err
}

type hashedInfo struct {
	fs.FileInfo
	hash string
}

func (h hashedInfo) Sys() any         { return h }
func (h hashedInfo) BlobHash() string { return h.hash }

func (g gitFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := g.MapFS.ReadDir(name)
	for i, e := range entries {
		if at := strings.TrimPrefix(name+"/"+e.Name(), "./"); g.hashes[at] != "" {
			entries[i] = hashed{e, g.hashes[at]}
		}
	}
	return entries, err
}

func (g gitFS) Open(name string) (fs.File, error) {
	if g.hashes[name] != "" {
		return nil, errors.New("nobody needs to read " + name)
	}
	return g.MapFS.Open(name)
}

func TestTheDigestIsTheSameForACommitAndAFolder(t *testing.T) {
	// The hashes are those of `git hash-object`.
	committed := gitFS{
		fstest.MapFS{"app/run.sh": {Data: []byte("echo hi\n"), Mode: 0o755}, "app/a/b.txt": file("hello\n")},
		map[string]string{"app/run.sh": "8b2fe5434fec16870a71cd8b272c7fcf6d352536", "app/a/b.txt": "ce013625030ba8dba906f756967f9e9ca394464a"},
	}
	want, err := bits.Digest(t.Context(), committed, "app")
	if err != nil {
		t.Fatal(err)
	}

	folder := t.TempDir()
	for name, content := range map[string]string{"app/run.sh": "echo hi\n", "app/a/b.txt": "hello\n", "app/.git/config": "x"} {
		at := filepath.Join(folder, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(folder, "app/run.sh"), 0o700), os.Mkdir(filepath.Join(folder, "app", "empty"), 0o700)); err != nil {
		t.Fatal(err)
	}
	got, err := bits.Digest(t.Context(), os.DirFS(folder), "app/")
	if err != nil || got != want {
		t.Errorf("the folder has the digest %s (%v), the commit %s", got, err, want)
	}
}

func TestTheDigestSeesEveryChange(t *testing.T) {
	base := func() fstest.MapFS { return fstest.MapFS{"a": file("1"), "b": file("2")} }
	seen := map[string]string{}
	for name, change := range map[string]func(fstest.MapFS){
		"none":       func(fstest.MapFS) {},
		"content":    func(f fstest.MapFS) { f["a"] = file("3") },
		"name":       func(f fstest.MapFS) { f["c"] = f["a"]; delete(f, "a") },
		"mode":       func(f fstest.MapFS) { f["a"].Mode = 0o755 },
		"addition":   func(f fstest.MapFS) { f["c"] = file("") },
		"removal":    func(f fstest.MapFS) { delete(f, "b") },
		"link":       func(f fstest.MapFS) { f["a"] = &fstest.MapFile{Data: []byte("1"), Mode: fs.ModeSymlink} },
		"swap":       func(f fstest.MapFS) { f["a"], f["b"] = f["b"], f["a"] },
		"cfignore":   func(f fstest.MapFS) { f[".cfignore"] = file("b") }, // the same as a removal
		"time":       func(f fstest.MapFS) { f["a"].ModTime = time.Unix(1e9, 0) },
		"group mode": func(f fstest.MapFS) { f["a"].Mode = 0o660 },
	} {
		files := base()
		change(files)
		d, err := bits.Digest(t.Context(), files, ".")
		if err != nil {
			t.Fatal(name, err)
		}
		seen[name] = d
	}
	same := map[string]string{"time": "none", "group mode": "none", "cfignore": "removal"}
	for a, da := range seen {
		for b, db := range seen {
			canon := func(n string) string {
				if to, ok := same[n]; ok {
					return to
				}
				return n
			}
			if (da == db) != (canon(a) == canon(b)) {
				t.Errorf("%s and %s: %s, %s", a, b, da, db)
			}
		}
	}
}

func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	a := fstest.MapFS{"a": file("1"), "b/c": file("2")}
	b := fstest.MapFS{"b/c": {Data: []byte("2"), Mode: 0o640, ModTime: time.Now()}, "a": file("1")}
	if !bytes.Equal(pack(t, a, "."), pack(t, b, ".")) {
		t.Error("the zips differ")
	}
}

func TestAFileThatChangesWhileItIsPacked(t *testing.T) {
	files := fstest.MapFS{"a": file("12345")}
	f, err := bits.Open(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	files["a"] = file("123")
	err = f.Copy(t.Context(), io.Discard, nil)
	if err == nil || err.Error() != "path a: it changed while it was being read (try again)" {
		t.Error(err)
	}
}

func TestPackingStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err := bits.Open(fstest.MapFS{"a": file("1")}, ".")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Copy(ctx, io.Discard, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
