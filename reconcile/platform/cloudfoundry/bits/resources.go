package bits

import (
	"context"
	"crypto/sha1" //nolint:gosec // what the platform's cache knows files by
	"encoding/hex"
	"io"
)

// Resource is a file as the platform's cache of uploaded files knows it. Only content and size count there; Path and Mode
// are what the file shall become in the app.
type Resource struct {
	SHA1 string
	Size int64
	Path string
	Mode string // octal
}

// The sizes of files that platforms keep, unless configured otherwise (resource_pool in capi-release).
const (
	leastKept = 64 << 10
	mostKept  = 512 << 20
)

// kept says whether a platform may have kept the file.
func (e file) kept() bool { return e.mode != symlink && e.size > leastKept && e.size < mostKept }

// Kept adds up the files that a platform may have kept from an earlier upload: how many, and how many bytes. An archive is
// uploaded as it is, so nothing of it counts.
func (f *Files) Kept() (files int, size int64) {
	for _, e := range f.entries {
		if !f.archive && e.kept() {
			files, size = files+1, size+e.size
		}
	}
	return files, size
}

// Resources lists those files. It reads them, one after the other.
func (f *Files) Resources(ctx context.Context) ([]Resource, error) {
	var all []Resource
	for _, e := range f.entries {
		if f.archive || !e.kept() {
			continue
		}
		sum, err := f.sha1(ctx, e)
		if err != nil {
			return nil, err
		}
		all = append(all, Resource{SHA1: sum, Size: e.size, Path: e.name, Mode: string(e.mode[2:])})
	}
	return all, nil
}

func (f *Files) sha1(ctx context.Context, e file) (string, error) {
	r, size, err := f.content(e)
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := sha1.New() //nolint:gosec // as above
	if n, err := io.Copy(sum, &reader{ctx, r}); err != nil || n != size {
		return "", f.changed(e, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Without leaves out the files at the paths. What is left may be empty.
func (f *Files) Without(paths map[string]bool) *Files {
	rest := &Files{fsys: f.fsys, archive: f.archive}
	for _, e := range f.entries {
		if !paths[e.name] {
			rest.entries = append(rest.entries, e)
		}
	}
	return rest
}
