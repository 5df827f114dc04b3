package bits

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
)

// Droplet is a file that was staged elsewhere, and is uploaded as it is.
type Droplet struct {
	files Files
}

// OpenDroplet finds the droplet at name, a .tgz. Errors are *Error.
func OpenDroplet(fsys fs.FS, name string) (*Droplet, error) {
	name = clean(name)
	info, err := stat(fsys, name, "the path of a droplet is relative to its manifest")
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &Error{Path: name, Message: "it is a folder, not a droplet", Hint: "name the .tgz that `cf download-droplet` gives; a folder with code is declared by package: path:"}
	}
	d := &Droplet{Files{fsys: fsys, archive: true, entries: []file{{name: name, path: name, mode: regular, size: info.Size(), hash: hashOf(info)}}}}
	return d, d.files.checkMagic("\x1f\x8b", "it is not a droplet (.tgz)", "name the file that `cf download-droplet` gives")
}

// Size is the number of bytes.
func (d *Droplet) Size() int64 { return d.files.Size() }

// Digest is "sha256:" and the SHA-256 of the file, which is what the platform says of a droplet itself.
func (d *Droplet) Digest(ctx context.Context) (string, error) {
	sum := sha256.New()
	if err := d.Copy(ctx, sum, nil); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// Copy writes the file into w.
func (d *Droplet) Copy(ctx context.Context, w io.Writer, progress func(done, total int64)) error {
	return d.files.Copy(ctx, w, progress)
}

func stat(fsys fs.FS, name, hint string) (fs.FileInfo, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{Path: name, Message: "there is no such file or folder", Hint: hint, Err: err}
	case err != nil:
		return nil, &Error{Path: name, Message: cause(err), Err: err}
	}
	return info, nil
}
