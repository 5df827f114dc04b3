// Package dir reads desired state from a folder on this machine: for trying things out, and for machines
// where something else brings the files.
//
// The folder appears as Git would commit it: files with their executable bit, symlinks as symlinks; no .git, no
// empty folders, no sockets and devices. The revision is the Git tree hash of that, so a folder and a
// commit with the same files have the same tree. Ignore files are not looked at: what lies there counts.
//
// A snapshot does not copy the files. It notes their hashes, and a file that was changed afterwards gives an
// error when it is read, never other content. It never writes to the folder, and os.Root keeps it from
// leaving it.
package dir

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/internal/tree"
)

// ErrChanged is what reading a file gives that is no longer as it was when the snapshot was made.
var ErrChanged = errors.New("the file changed after the snapshot was made")

// The limits of Options that are not set.
const (
	DefaultMaxFiles = 100_000
	DefaultMaxBytes = 2 << 30
)

// Options say which folder. Only Path is required.
type Options struct {
	Path     string
	MaxFiles int   // files and folders
	MaxBytes int64 // of all files: each snapshot reads them once
	// Exclude names files that are not what the folder declares, wherever they lie: what the process that watches the
	// folder writes itself, for example, which would give every snapshot another revision.
	Exclude []string
}

// Folder is a source.Source. Its methods may be called from many goroutines.
type Folder struct{ opts Options }

var _ source.Source = (*Folder)(nil)

// New checks the options and does not touch the folder.
func New(opts Options) (*Folder, error) {
	if opts.Path == "" {
		return nil, errors.New("dir source: the path of the folder is missing")
	}
	abs, err := filepath.Abs(opts.Path)
	if err != nil {
		return nil, fmt.Errorf("dir source: %w", err)
	}
	opts.Path = abs
	opts.Exclude = slices.Clone(opts.Exclude)
	for i, name := range opts.Exclude {
		if opts.Exclude[i], err = filepath.Abs(name); err != nil {
			return nil, fmt.Errorf("dir source: %w", err)
		}
	}
	if opts.MaxFiles == 0 {
		opts.MaxFiles = DefaultMaxFiles
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	return &Folder{opts}, nil
}

// String is the folder's path.
func (f *Folder) String() string { return f.opts.Path }

// Snapshot reads and hashes every file. Errors are *source.Error.
func (f *Folder) Snapshot(ctx context.Context, known *source.Snapshot) (*source.Snapshot, error) {
	l := listing{ctx: ctx, opts: f.opts}
	files, err := l.read()
	if err != nil {
		return nil, f.explain(ctx, err)
	}
	if len(l.entries) == 0 {
		return nil, &source.Error{
			Source: f.String(), State: source.Empty, Err: errors.New("the folder holds no file"),
			Hint: "check the path; to remove what Fettle manages, say so in a manifest",
		}
	}
	revision := files.Hash()
	if known != nil && known.Revision == revision {
		return known, nil
	}
	return &source.Snapshot{Revision: revision, Time: l.newest, Files: files}, nil
}

var (
	errTooLarge = errors.New("over the limit")
	errNoFolder = errors.New("it is a file, not a folder")
)

func (f *Folder) explain(ctx context.Context, err error) error {
	e := &source.Error{Source: f.String(), Err: err}
	switch {
	case ctx.Err() != nil:
		e.State, e.Err = source.Unreachable, fmt.Errorf("the call was cancelled: %w", ctx.Err())
	case errors.Is(err, errTooLarge):
		e.State, e.Hint = source.TooLarge, "point to a smaller folder, or raise the limit"
	case errors.Is(err, errNoFolder):
		e.State, e.Hint = source.NotFound, "give the folder that the file is in"
	case errors.Is(err, fs.ErrNotExist):
		if _, serr := os.Stat(f.opts.Path); serr != nil {
			e.State, e.Err, e.Hint = source.NotFound, errors.New("there is no such folder"), "check the path"
			break
		}
		fallthrough
	case errors.Is(err, ErrChanged):
		e.State, e.Hint = source.Broken, "the folder is being changed; it is read anew"
	case errors.Is(err, fs.ErrPermission):
		e.State, e.Hint = source.Unauthorized, "let the user that runs this process read the folder and all in it"
	default:
		e.State, e.Hint = source.Broken, "check the folder and its disk"
	}
	return e
}

// listing is one reading of the folder.
type listing struct {
	ctx     context.Context
	opts    Options
	root    *os.Root
	entries []tree.Entry
	count   int
	bytes   int64
	newest  time.Time
}

func (l *listing) read() (*tree.FS, error) {
	root, err := openRoot(l.opts.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	l.root = root
	if err := fs.WalkDir(root.FS(), ".", l.visit); err != nil {
		return nil, err
	}
	return tree.New(l.entries, l.newest, opener(l.opts.Path))
}

func openRoot(path string) (*os.Root, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return nil, errNoFolder
	}
	return os.OpenRoot(path)
}

func (l *listing) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if err := l.ctx.Err(); err != nil {
		return err
	}
	if strings.EqualFold(path.Base(name), ".git") { // a folder, or the file of a work tree or submodule
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if l.count++; l.count > l.opts.MaxFiles {
		return fmt.Errorf("%w: more than %d files and folders", errTooLarge, l.opts.MaxFiles)
	}
	if d.IsDir() || slices.Contains(l.opts.Exclude, filepath.Join(l.opts.Path, filepath.FromSlash(name))) {
		return nil
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	entry := tree.Entry{Path: name, Mode: tree.Regular}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		entry.Mode = tree.Symlink
		target, err := l.root.Readlink(filepath.FromSlash(name))
		if err != nil {
			return err
		}
		entry.Target = filepath.ToSlash(target)
		entry.Size = int64(len(entry.Target))
		h := tree.NewBlobHash(entry.Size)
		_, _ = io.WriteString(h, entry.Target) // a hash never fails
		entry.Hash = hex.EncodeToString(h.Sum(nil))
	case !info.Mode().IsRegular():
		return nil
	default:
		if info.Mode()&0o100 != 0 { // the owner's bit decides, as for Git
			entry.Mode = tree.Executable
		}
		entry.Size = info.Size()
		if l.bytes += entry.Size; l.bytes > l.opts.MaxBytes {
			return fmt.Errorf("%w: the files are larger than %d bytes", errTooLarge, l.opts.MaxBytes)
		}
		if entry.Hash, err = l.hash(name, entry.Size); err != nil {
			return err
		}
	}
	if info.ModTime().After(l.newest) {
		l.newest = info.ModTime()
	}
	l.entries = append(l.entries, entry)
	return nil
}

func (l *listing) hash(name string, size int64) (string, error) {
	f, err := l.root.Open(filepath.FromSlash(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := tree.NewBlobHash(size)
	n, err := io.Copy(h, &cancellable{l.ctx, f})
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("%s: %w", name, ErrChanged)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// cancellable lets a context end the reading of a long file.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// opener opens files of a snapshot, each through a root of its own, so that a snapshot holds no
// file descriptor.
func opener(folder string) func(tree.Entry) (io.ReadCloser, error) {
	return func(e tree.Entry) (io.ReadCloser, error) {
		root, err := os.OpenRoot(folder)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		name := filepath.FromSlash(e.Path)
		// Opening what has become a named pipe would wait for a writer.
		if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
			return nil, ErrChanged
		}
		f, err := root.Open(name)
		if err != nil {
			return nil, err
		}
		return &checked{f: f, sum: tree.NewBlobHash(e.Size), left: e.Size, want: e.Hash}, nil
	}
}

// checked reads a file and compares its hash before it gives out the last byte.
type checked struct {
	f    *os.File
	sum  hash.Hash
	left int64
	want string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.f.Read(p)
	c.sum.Write(p[:n])
	c.left -= int64(n)
	switch {
	case c.left < 0, // longer
		c.left > 0 && err == io.EOF, // shorter
		c.left == 0 && hex.EncodeToString(c.sum.Sum(nil)) != c.want:
		return 0, ErrChanged
	}
	return n, err
}

func (c *checked) Close() error { return c.f.Close() }
