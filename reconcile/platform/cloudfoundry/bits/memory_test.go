package bits_test

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
)

var megabytes = flag.Int("megabytes", 256, "size of the app in TestMemory")

// generated is a folder of files that exist nowhere: each megabyte of them is made when it is read.
type generated struct{ files, each int }

type generatedFile struct {
	name string
	size int64
	left int64
	rng  *rand.ChaCha8
}

func (g generated) info(i int) *generatedFile {
	return &generatedFile{name: fmt.Sprintf("%04d.bin", i), size: int64(g.each), left: int64(g.each), rng: rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})}
}

func (g generated) Open(name string) (fs.File, error) {
	if name == "." {
		return &generatedFile{name: name}, nil
	}
	var i int
	if _, err := fmt.Sscanf(name, "%d.bin", &i); err != nil || i >= g.files {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return g.info(i), nil
}

func (g generated) ReadDir(string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for i := range g.files {
		all = append(all, fs.FileInfoToDirEntry(g.info(i)))
	}
	return all, nil
}

func (f *generatedFile) Name() string               { return f.name }
func (f *generatedFile) Size() int64                { return f.size }
func (f *generatedFile) ModTime() time.Time         { return time.Time{} }
func (f *generatedFile) IsDir() bool                { return f.name == "." }
func (f *generatedFile) Sys() any                   { return nil }
func (f *generatedFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *generatedFile) Close() error               { return nil }

func (f *generatedFile) Mode() fs.FileMode {
	if f.IsDir() {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// Read gives noise for a quarter of the file, which no compression makes smaller, and then nothing but zeros.
func (f *generatedFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), f.left))
	if f.left > f.size*3/4 {
		_, _ = f.rng.Read(p[:n])
	} else {
		clear(p[:n])
	}
	f.left -= int64(n)
	return n, nil
}

// However large an app is, identifying and packing it takes little memory: no file is ever held as a whole.
// `go test -run TestMemory -megabytes 1024` does it with a larger one.
func TestMemory(t *testing.T) {
	size := *megabytes
	if testing.Short() {
		size = min(size, 32)
	}
	app := generated{files: 4, each: size << 20 / 4}
	var most atomic.Uint64
	sample := func(int64, int64) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.HeapInuse > most.Load() {
			most.Store(m.HeapInuse)
		}
	}
	every := func() func(done, total int64) {
		var next int64
		return func(done, total int64) {
			if done >= next {
				sample(done, total)
				next = done + 4<<20
			}
		}
	}
	f, err := bits.Open(app, ".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Digest(t.Context()); err != nil {
		t.Fatal(err)
	}
	sample(0, 0)
	known, err := f.Resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := f.Kept(); n != len(known) {
		t.Errorf("%d of %d files are listed", len(known), n)
	}
	sample(0, 0)
	for range 2 { // a retry reads everything again
		if err := f.Copy(t.Context(), io.Discard, every()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d MB of files, at most %d MB of heap", size, most.Load()>>20)
	if most.Load() > 64<<20 {
		t.Errorf("%d MB of heap", most.Load()>>20)
	}
}
