// Package bits decides which files make up an app's code, identifies them, and packs them for the upload.
//
// The choice is that of `cf push`: everything below the path but what .cfignore and a list of defaults leave out. A symlink
// is uploaded as one, wherever it points: it is never followed. A path that is a file is an archive (.zip, .jar, .war) and is
// uploaded as it is; `cf push` packs it anew, without what an ignore list names.
//
// The [Files.Digest] depends on names, on content and on the two modes that Git keeps (executable or not), and on
// nothing else: it is the same for a commit and for a folder with the same files, on every machine, at every time. So it
// can be noted on what was uploaded, and code that did not change is never uploaded or staged again. Where the file
// system knows Git's hash of a file, nothing is read to find the digest.
//
// The package reads; it never changes a file, writes a temporary one, or follows a symlink.
package bits

import (
	"archive/zip"
	"context"
	"crypto/sha1" //nolint:gosec // Git's name for a file's content
	"crypto/sha256"
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

	ignore "github.com/sabhiram/go-gitignore"
)

// IgnoreFile names the file that says what is not uploaded.
const IgnoreFile = ".cfignore"

// defaultIgnores are what `cf push` never uploads (DefaultIgnoreLines in actor/sharedaction of the cf CLI). It puts them
// behind the lines of .cfignore, so that not even "!manifest.yml" brings one of them back.
var defaultIgnores = []string{
	IgnoreFile, ".DS_Store", ".git", ".gitignore", ".hg", ".svn", "_darcs", "manifest.yaml", "manifest.yml",
}

// Files is the code of one app. It may be used from many goroutines.
type Files struct {
	fsys    fs.FS
	archive bool   // there is one entry, and it is uploaded as it is
	entries []file // sorted by name
}

type file struct {
	name string // within the app, slash-separated
	path string // within fsys
	mode mode
	size int64
	hash string // Git blob hash where known, else ""
}

// mode is a file mode as Git writes it.
type mode string

const (
	regular    mode = "100644"
	executable mode = "100755"
	symlink    mode = "120000"
)

func (m mode) fileMode() fs.FileMode {
	switch m {
	case executable:
		return 0o755
	case symlink:
		return fs.ModeSymlink | 0o777
	}
	return 0o644
}

// blob is what FileInfo.Sys may be: content that knows its Git hash.
type blob interface{ BlobHash() string }

// Error is a path that holds no code that could be uploaded.
type Error struct {
	Path    string
	Message string
	Hint    string
	Err     error
}

// ErrNoFile is why a folder is no code: it is empty, or all of it is ignored.
var ErrNoFile = errors.New("it holds no file to upload")

// Error reads "path shop/src: it holds no file to upload (hint)".
func (e *Error) Error() string {
	s := "path " + e.Path + ": " + e.Message
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Open finds the files of the app at dir (slash-separated, "." or "" for all of fsys). It reads .cfignore and
// nothing else. Errors are *Error.
func Open(fsys fs.FS, dir string) (*Files, error) {
	dir = clean(dir)
	info, err := stat(fsys, dir, "the path of an app is relative to its manifest")
	if err != nil {
		return nil, err
	}
	f := &Files{fsys: fsys}
	if !info.IsDir() {
		f.archive = true
		f.entries = []file{{name: path.Base(dir), path: dir, mode: regular, size: info.Size(), hash: hashOf(info)}}
		return f, f.checkMagic("PK", "it is a file, but not a zip, jar or war archive", "name the folder that holds it")
	}
	lines := slices.Clone(defaultIgnores)
	if text, err := fs.ReadFile(fsys, path.Join(dir, IgnoreFile)); err == nil {
		lines = append(strings.Split(string(text), "\n"), lines...)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Path: path.Join(dir, IgnoreFile), Message: cause(err), Err: err}
	}
	if err := f.walk(dir, "", ignore.CompileIgnoreLines(lines...)); err != nil {
		return nil, err
	}
	if len(f.entries) == 0 {
		return nil, &Error{Path: dir, Message: ErrNoFile.Error(), Hint: "check the path and " + IgnoreFile, Err: ErrNoFile}
	}
	slices.SortFunc(f.entries, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return f, nil
}

// walk adds what is below dir. Like `cf push` it enters ignored folders too, for a later "!" line may bring a file
// of theirs back. Folders themselves are not kept: Git does not know them.
func (f *Files) walk(dir, prefix string, ignored *ignore.GitIgnore) error {
	entries, err := fs.ReadDir(f.fsys, dir)
	if err != nil {
		return &Error{Path: dir, Message: cause(err), Err: err}
	}
	for _, e := range entries {
		at, name := path.Join(dir, e.Name()), path.Join(prefix, e.Name())
		if e.IsDir() {
			if e.Name() == ".git" { // ten thousand files that no line can bring back
				continue
			}
			if err := f.walk(at, name, ignored); err != nil {
				return err
			}
			continue
		}
		if ignored.MatchesPath(name) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return &Error{Path: at, Message: cause(err), Err: err}
		}
		entry := file{name: name, path: at, size: info.Size(), hash: hashOf(info)}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			entry.mode = symlink
		case !info.Mode().IsRegular():
			return &Error{Path: at, Message: "it is neither a file nor a folder nor a symlink", Hint: "name it in " + IgnoreFile}
		case info.Mode()&0o100 != 0:
			entry.mode = executable
		default:
			entry.mode = regular
		}
		f.entries = append(f.entries, entry)
	}
	return nil
}

// checkMagic looks at the first two bytes, which are "PK" in every zip, jar and war.
func (f *Files) checkMagic(want, message, hint string) error {
	e := f.entries[0]
	r, err := f.fsys.Open(e.path)
	if err != nil {
		return &Error{Path: e.path, Message: cause(err), Err: err}
	}
	defer r.Close()
	magic := make([]byte, 2)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != want {
		return &Error{Path: e.path, Message: message, Hint: hint}
	}
	return nil
}

// clean is a path as package fs takes it.
func clean(dir string) string {
	if dir = path.Clean("/" + dir)[1:]; dir == "" {
		return "."
	}
	return dir
}

// Len counts the files.
func (f *Files) Len() int { return len(f.entries) }

// Size is the number of bytes before packing.
func (f *Files) Size() int64 {
	var n int64
	for _, e := range f.entries {
		n += e.size
	}
	return n
}

// Digest is Open and [Files.Digest] in one.
func Digest(ctx context.Context, fsys fs.FS, dir string) (string, error) {
	f, err := Open(fsys, dir)
	if err != nil {
		return "", err
	}
	return f.Digest(ctx)
}

// Digest identifies the files: "sha256:" and the SHA-256 of a line "MODE HASH NAME" for each of them, ended by a zero
// byte, in the order of their names. HASH is Git's.
func (f *Files) Digest(ctx context.Context) (string, error) {
	sum := sha256.New()
	for _, e := range f.entries {
		hash, err := f.blobHash(ctx, e)
		if err != nil {
			return "", err
		}
		kind := string(e.mode)
		if f.archive {
			kind = "archive" // the name and the mode of an archive change nothing
			e.name = ""
		}
		fmt.Fprintf(sum, "%s %s %s\x00", kind, hash, e.name)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func (f *Files) blobHash(ctx context.Context, e file) (string, error) {
	if e.hash != "" {
		return e.hash, nil
	}
	r, size, err := f.content(e)
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := newBlob(size)
	if n, err := io.Copy(sum, &reader{ctx, r}); err != nil || n != size {
		return "", f.changed(e, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// newBlob begins Git's hash of a file.
func newBlob(size int64) hash.Hash {
	h := sha1.New() //nolint:gosec // Git's name for a file's content
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// content opens a file, or reads where a symlink points, which is its content for Git and in a zip.
func (f *Files) content(e file) (io.ReadCloser, int64, error) {
	if e.mode == symlink {
		target, err := fs.ReadLink(f.fsys, e.path)
		if err != nil {
			return nil, 0, &Error{Path: e.path, Message: cause(err), Err: err}
		}
		return io.NopCloser(strings.NewReader(target)), int64(len(target)), nil
	}
	r, err := f.fsys.Open(e.path)
	if err != nil {
		return nil, 0, &Error{Path: e.path, Message: cause(err), Err: err}
	}
	return r, e.size, nil
}

// Copy packs the files into w as a zip, in the order of their names and with fixed times, so that the same files give
// the same bytes. It keeps no file in memory. An archive is copied as it is. A file that does not hold what it held
// when it was hashed is an error. progress is told how many bytes of how many are read; it may be nil.
func (f *Files) Copy(ctx context.Context, w io.Writer, progress func(done, total int64)) error {
	p := &packing{Files: f, ctx: ctx, total: f.Size(), progress: progress}
	if f.archive {
		return p.copy(w, f.entries[0])
	}
	z := zip.NewWriter(w)
	for _, e := range f.entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: zipTime}
		header.SetMode(e.mode.fileMode())
		entry, err := z.CreateHeader(header)
		if err != nil {
			return fmt.Errorf("packing %s: %w", e.path, err)
		}
		if err := p.copy(entry, e); err != nil {
			return err
		}
	}
	return z.Close()
}

// packing is one Copy.
type packing struct {
	*Files
	ctx         context.Context
	done, total int64
	progress    func(done, total int64)
}

// zipTime is the earliest moment that a zip can hold.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *packing) copy(w io.Writer, e file) error {
	r, size, err := p.content(e)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := newBlob(size)
	n, err := io.Copy(io.MultiWriter(w, sum, p), &reader{p.ctx, r})
	if err != nil {
		return fmt.Errorf("packing %s: %w", e.path, err)
	}
	if n != size || e.hash != "" && hex.EncodeToString(sum.Sum(nil)) != e.hash {
		return p.changed(e, nil)
	}
	return nil
}

// Write counts what was packed.
func (p *packing) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	if p.progress != nil {
		p.progress(p.done, p.total)
	}
	return len(b), nil
}

func (f *Files) changed(e file, err error) error {
	if err != nil {
		return &Error{Path: e.path, Message: cause(err), Err: err}
	}
	return &Error{Path: e.path, Message: "it changed while it was being read", Hint: "try again"}
}

func hashOf(info fs.FileInfo) string {
	if b, ok := info.Sys().(blob); ok {
		return b.BlobHash()
	}
	return ""
}

// cause is err without the operation and the path, which Error tells already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// reader stops reading when ctx ends.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
