// Package tree is the fs.FS behind every Snapshot: an index of names, modes and content hashes
// in memory, and a function that opens the content of one of them.
//
// Both drivers build it, so a folder and a commit with equal content look equal down to the last bit of
// mode, hash and symlink. It knows nothing of Git servers or disks, and it never leads outside itself:
// a symlink that points above the root or to an absolute path can be read as a link and cannot be followed.
package tree

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/source"
)

// Reasons why a path that the index knows cannot be opened.
var (
	ErrOutside   = errors.New("the symlink leads outside the tree")
	ErrLoop      = errors.New("too many levels of symlinks")
	ErrSubmodule = errors.New("it is a Git submodule, and submodules are not fetched")
)

// The three modes of a leaf that Git can record and that can be read.
const (
	Regular    fs.FileMode = 0o644
	Executable fs.FileMode = 0o755
	Symlink                = fs.ModeSymlink | 0o777
	// Submodule is the mode of a link to a commit of another repository. It shows as a folder that cannot
	// be listed: an app with a submodule inside must fail to be packaged, not be deployed without it.
	Submodule = fs.ModeDir | fs.ModeIrregular | 0o755
)

// maxHops is how many symlinks one lookup follows, the limit of Linux (MAXSYMLINKS).
const maxHops = 40

// Entry is one leaf: a file, a symlink or a submodule. Folders follow from the paths.
type Entry struct {
	Path   string      // slash-separated, relative to the root
	Mode   fs.FileMode // Regular, Executable, Symlink or Submodule
	Size   int64       // bytes of content; for a symlink the length of Target
	Hash   string      // Git blob hash; of a submodule the commit it names
	Target string      // where a symlink points, as written
}

// FS is the index. It implements fs.FS and the optional interfaces ReadDirFS, ReadFileFS, StatFS and
// ReadLinkFS, and is safe for use from many goroutines.
type FS struct {
	root    *node
	modTime time.Time
	open    func(Entry) (io.ReadCloser, error)
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

type node struct {
	Entry
	name     string
	parent   *node
	children []*node // sorted by name
}

// New makes an FS of entries. Every name is checked: a tree with an empty name, "..", ".git" or the same
// name twice is an error, as it is for Git itself. open is called once for each Open of a file, from
// any goroutine, and may return a reader that also seeks.
func New(entries []Entry, modTime time.Time, open func(Entry) (io.ReadCloser, error)) (*FS, error) {
	f := &FS{root: &node{Entry: Entry{Path: ".", Mode: fs.ModeDir | 0o755}, name: "."}, modTime: modTime, open: open}
	entries = slices.Clone(entries)
	// In the order of paths with "/" before every other byte, each folder's entries come together, so
	// that the folder of the entry before is nearly always the one that is wanted.
	slices.SortFunc(entries, func(a, b Entry) int { return comparePaths(a.Path, b.Path) })
	dir := f.root
	for _, e := range entries {
		if !fs.ValidPath(e.Path) || e.Path == "." {
			return nil, fmt.Errorf("%q is not a usable file name (UTF-8 without empty, \".\" or \"..\" elements)", e.Path)
		}
		folder, name := path.Split(e.Path)
		var err error
		if dir, err = f.folder(dir, strings.TrimSuffix(folder, "/")); err != nil {
			return nil, err
		}
		if strings.EqualFold(name, ".git") {
			return nil, fmt.Errorf("%q: a tree cannot hold a file named .git", e.Path)
		}
		if n := len(dir.children); n > 0 && dir.children[n-1].name == name {
			return nil, fmt.Errorf("%q is in the tree twice", e.Path)
		}
		dir.children = append(dir.children, &node{Entry: e, name: name, parent: dir})
	}
	return f, nil
}

func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			if a[i] == '/' {
				return -1
			}
			if b[i] == '/' {
				return 1
			}
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

// folder returns the node of the folder at p, made where it is missing, starting the search at near.
func (f *FS) folder(near *node, p string) (*node, error) {
	if p == "" {
		return f.root, nil
	}
	if near.Path == p {
		return near, nil
	}
	parent, name := path.Split(p)
	up, err := f.folder(f.root, strings.TrimSuffix(parent, "/"))
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(name, ".git") {
		return nil, fmt.Errorf("%q: a tree cannot hold a folder named .git", p)
	}
	if n := len(up.children); n > 0 && up.children[n-1].name == name {
		last := up.children[n-1]
		if last.Mode != fs.ModeDir|0o755 {
			return nil, fmt.Errorf("%q is in the tree twice, as a file and as a folder", p)
		}
		return last, nil
	}
	n := &node{Entry: Entry{Path: p, Mode: fs.ModeDir | 0o755}, name: name, parent: up}
	up.children = append(up.children, n)
	return n, nil
}

func (n *node) child(name string) *node {
	i, ok := slices.BinarySearchFunc(n.children, name, func(c *node, name string) int { return cmp.Compare(c.name, name) })
	if !ok {
		return nil
	}
	return n.children[i]
}

// find walks to name, following symlinks on the way and, if follow is set, at the end.
func (f *FS) find(op, name string, follow bool) (*node, error) {
	fail := func(err error) (*node, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	at, rest, hops := f.root, strings.Split(name, "/"), 0
	for len(rest) > 0 {
		var step string
		step, rest = rest[0], rest[1:]
		switch {
		case step == "." || step == "": // "a//b" and "a/./b" may stand in a symlink
			continue
		case step == "..":
			if at.parent == nil {
				return fail(ErrOutside)
			}
			at = at.parent
			continue
		case at.Mode == Submodule:
			return fail(fmt.Errorf("%s: %w", at.Path, ErrSubmodule))
		}
		next := at.child(step)
		if next == nil {
			return fail(fs.ErrNotExist)
		}
		if next.Mode != Symlink || (len(rest) == 0 && !follow) {
			at = next
			continue
		}
		if hops++; hops > maxHops {
			return fail(ErrLoop)
		}
		if path.IsAbs(next.Target) {
			return fail(ErrOutside)
		}
		rest = append(strings.Split(next.Target, "/"), rest...)
	}
	return at, nil
}

// Open opens the file or folder at name, following symlinks inside the tree.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	about := f.info(n, name)
	if n.Mode.IsDir() {
		return &openDir{fsys: f, node: n, info: about}, nil
	}
	r, err := f.open(n.Entry)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	file := openFile{ReadCloser: r, info: about}
	if s, ok := r.(io.ReadSeeker); ok {
		return &seekableFile{openFile: file, Seeker: s}, nil
	}
	return &file, nil
}

// ReadFile reads the whole file at name.
func (f *FS) ReadFile(name string) ([]byte, error) {
	n, err := f.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if n.Mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
	}
	r, err := f.open(n.Entry)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer r.Close()
	data := make([]byte, 0, n.Size+1) // room to see the end without growing
	for {
		k, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+k]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}

// ReadDir lists the folder at name, sorted.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	return f.list(n, name)
}

func (f *FS) list(n *node, name string) ([]fs.DirEntry, error) {
	switch {
	case n.Mode == Submodule:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: ErrSubmodule}
	case !n.Mode.IsDir():
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a folder")}
	}
	all := make([]fs.DirEntry, len(n.children))
	for i, c := range n.children {
		all[i] = fs.FileInfoToDirEntry(f.info(c, c.name))
	}
	return all, nil
}

// Stat describes the file at name, following symlinks.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return f.info(n, name), nil
}

// Lstat describes the file at name; a symlink describes itself.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return f.info(n, name), nil
}

// ReadLink returns where the symlink at name points, as it is written.
func (f *FS) ReadLink(name string) (string, error) {
	n, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.Mode != Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.Target, nil
}

// info describes n under the name it was asked for, which differs from its own behind a symlink.
func (f *FS) info(n *node, name string) info {
	return info{node: n, name: path.Base(name), modTime: f.modTime}
}

type info struct {
	node    *node
	name    string
	modTime time.Time
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.node.Size }
func (i info) Mode() fs.FileMode  { return i.node.Mode }
func (i info) ModTime() time.Time { return i.modTime }
func (i info) IsDir() bool        { return i.node.Mode.IsDir() }

// Sys is a source.Blob for files and symlinks, nil for folders.
func (i info) Sys() any {
	if i.IsDir() {
		return nil
	}
	return source.Blob{Hash: i.node.Hash}
}

type openFile struct {
	io.ReadCloser
	info info
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

type seekableFile struct {
	openFile
	io.Seeker
}

type openDir struct {
	fsys *FS
	node *node
	info info
	next int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.Path, Err: errors.New("is a folder")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	all, err := d.fsys.list(d.node, d.node.Path)
	if err != nil {
		return nil, err
	}
	all = all[d.next:]
	if n > 0 {
		if len(all) == 0 {
			return nil, io.EOF
		}
		all = all[:min(n, len(all))]
	}
	d.next += len(all)
	return all, nil
}

// NewBlobHash returns the hash that Git gives to a blob of size bytes, ready for its content.
func NewBlobHash(size int64) hash.Hash {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// Hash is the Git tree hash of the whole tree: what "git rev-parse HEAD^{tree}" prints for a commit
// of the same files.
func (f *FS) Hash() string { return hex.EncodeToString(f.root.hash()) }

func (n *node) hash() []byte {
	// Git orders a folder as if its name ended in a slash (base_name_compare in read-cache.c).
	key := func(n *node) string {
		if n.Mode == fs.ModeDir|0o755 {
			return n.name + "/"
		}
		return n.name
	}
	var body bytes.Buffer
	for _, c := range slices.SortedFunc(slices.Values(n.children), func(a, b *node) int { return cmp.Compare(key(a), key(b)) }) {
		mode := "40000"
		switch c.Mode {
		case Regular:
			mode = "100644"
		case Executable:
			mode = "100755"
		case Symlink:
			mode = "120000"
		case Submodule:
			mode = "160000"
		}
		var sum []byte
		if mode == "40000" {
			sum = c.hash()
		} else {
			sum, _ = hex.DecodeString(c.Hash) // the drivers made it with hex themselves
		}
		fmt.Fprintf(&body, "%s %s\x00%s", mode, c.name, sum)
	}
	h := sha1.New()
	fmt.Fprintf(h, "tree %d\x00", body.Len())
	h.Write(body.Bytes())
	return h.Sum(nil)
}
