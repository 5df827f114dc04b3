package cloudfoundry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
)

var _ platform.Preparer = (*Driver)(nil)

// Prepare fills in the digest of the files of every app that is deployed from files. It makes no request and does
// not touch desired: apps get copies.
func (d *Driver) Prepare(ctx context.Context, desired manifest.Set, files fs.FS) (manifest.Set, error) {
	objects := desired.Objects()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i, o := range objects {
		path, ok := codePath(o)
		if !ok {
			continue
		}
		group.Go(func() error {
			if files == nil {
				return &platform.Error{
					Class: platform.Invalid, Ref: o.Ref, Origin: o.FieldOrigin("/package"), Doing: "reading the app's code",
					Message: fmt.Sprintf("its path is %s, and no files were given", path),
				}
			}
			digest, err := bits.Digest(ctx, files, path)
			if err != nil {
				return codeError(o, err)
			}
			done := *o
			done.Spec = maps.Clone(o.Spec)
			pkg, _ := o.Spec["package"].(map[string]any)
			if pkg = maps.Clone(pkg); pkg == nil {
				pkg = map[string]any{}
			}
			pkg["type"], pkg["digest"] = "bits", digest
			done.Spec["package"] = pkg
			objects[i] = &done
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return manifest.Set{}, err
	}
	prepared := manifest.NewSet(objects...)
	for _, mark := range desired.Prunes() {
		prepared.MarkPrune(mark)
	}
	return prepared, nil
}

// codePath is the path of an app's code, for an app that is deployed from files.
func codePath(o *manifest.Object) (string, bool) {
	if o.Ref.Kind != manifest.KindApp {
		return "", false
	}
	if p, ok := o.Spec["package"].(map[string]any); ok && p["type"] == "docker" {
		return "", false
	}
	path, ok := o.Inputs["path"].(string)
	return path, ok
}

// codeError says of which app the code cannot be read.
func codeError(o *manifest.Object, err error) error {
	e := &platform.Error{Class: platform.Invalid, Ref: o.Ref, Origin: o.FieldOrigin("/package"), Doing: "reading the app's code", Message: err.Error(), Err: err}
	var b *bits.Error
	if errors.As(err, &b) {
		e.Message, e.Hint = "path "+b.Path+": "+b.Message, b.Hint
	}
	return e
}
