package cloudfoundry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/remote"
)

var _ platform.Preparer = (*Driver)(nil)

// Inputs that Prepare adds: where code comes from that does not lie in the snapshot, and why it could not be identified.
const (
	packageURL   = "package_url"
	dropletURL   = "droplet_url"
	unidentified = "unidentified" // *platform.Error
)

// Prepare fills in what identifies the code of every app: the digest of its files or of its droplet, the declared checksum
// of what lies behind a URL, the digest that a registry has for a tag. Two URLs with one checksum are the same code, so a
// URL becomes an input. It asks registries and reads files; the foundation is not asked. It does not touch desired: apps
// get copies.
//
// A registry that does not answer must not keep other apps from being looked after: it becomes a problem of the plan.
func (d *Driver) Prepare(ctx context.Context, desired manifest.Set, files fs.FS) (manifest.Set, error) {
	objects := desired.Objects()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i, o := range objects {
		if o.Ref.Kind != manifest.KindApp {
			continue
		}
		group.Go(func() error {
			done, err := d.identify(ctx, o, files)
			var e *platform.Error
			if errors.As(err, &e) && errors.As(e.Err, new(*remote.Error)) {
				done = copied(o)
				delete(done.Spec, "package")
				done.Inputs[unidentified], err = e, nil
			}
			objects[i] = done
			return err
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

// identify completes one app, or returns it as it is.
func (d *Driver) identify(ctx context.Context, o *manifest.Object, files fs.FS) (*manifest.Object, error) {
	for _, what := range []string{"droplet", "package"} {
		spec, _ := o.Spec[what].(map[string]any)
		path, local := o.Inputs[map[string]string{"droplet": "droplet_path", "package": "path"}[what]].(string)
		at, elsewhere := spec["url"].(string)
		image, _ := spec["image"].(string)
		switch {
		case what == "package" && spec["type"] == "docker":
			return d.resolved(ctx, o, image)
		case elsewhere:
			digest, err := d.digestOf(ctx, o, at, spec, what)
			return located(o, what, at, digest), err
		case local:
			if files == nil {
				return nil, noFiles(o, what, path)
			}
			digest, err := localDigest(ctx, files, path, what)
			if errors.Is(err, bits.ErrNoFile) && what == "package" && o.Settings != nil && slices.Contains(o.Settings.Ignore, "/package") {
				return withoutCode(o), nil
			}
			if err != nil {
				return nil, codeError(o, what, err)
			}
			return located(o, what, "", digest), nil
		}
	}
	return o, nil
}

// withoutCode is an app whose code is somebody else's affair: it is to be ignored, and there is none beside the manifest.
// Version 1 has no other word for that (package export).
func withoutCode(o *manifest.Object) *manifest.Object {
	o = copied(o)
	delete(o.Spec, "package")
	delete(o.Inputs, "path")
	return o
}

func localDigest(ctx context.Context, files fs.FS, path, what string) (string, error) {
	if what == "package" {
		return bits.Digest(ctx, files, path)
	}
	droplet, err := bits.OpenDroplet(files, path)
	if err != nil {
		return "", err
	}
	return droplet.Digest(ctx)
}

// digestOf identifies what lies behind a URL. Without a checksum it is the URL itself: that is all that is known without
// a download at every look. The URL may hold a secret, so it is hashed.
func (d *Driver) digestOf(ctx context.Context, o *manifest.Object, at string, spec map[string]any, what string) (string, error) {
	if strings.HasPrefix(at, remote.Scheme) {
		digest, err := d.remote().Resolve(ctx, at, credentials(o, what+"_credentials"))
		return digest, asked(o, err)
	}
	if sum, ok := spec["checksum"].(string); ok {
		return sum, nil
	}
	sum := sha256.Sum256([]byte(at))
	return unverified + hex.EncodeToString(sum[:16]), nil
}

// unverified begins the digest of a URL that nobody gave a checksum for.
const unverified = "url:"

// checksum is what a downloaded file has to have; "" where nobody said.
func checksum(digest string) string {
	if strings.HasPrefix(digest, unverified) {
		return ""
	}
	return digest
}

// resolved replaces the tag of an image by the digest that it stands for, where the foundation's configuration asks for it.
func (d *Driver) resolved(ctx context.Context, o *manifest.Object, image string) (*manifest.Object, error) {
	if !d.cfg.ResolveImages || image == "" {
		return o, nil
	}
	spec, _ := o.Spec["package"].(map[string]any)
	username, _ := spec["username"].(string)
	password, _ := o.Inputs["docker_password"].(string)
	digest, err := d.remote().Resolve(ctx, image, remote.Credentials{Username: username, Password: password})
	if err != nil {
		return nil, asked(o, err)
	}
	pinned, err := remote.Pinned(image, digest)
	if err != nil {
		return nil, asked(o, err)
	}
	done := copied(o)
	code := maps.Clone(spec)
	code["image"] = pinned
	done.Spec["package"] = code
	return done, nil
}

// located is o with its package or droplet identified, and its URL moved out of what is compared.
func located(o *manifest.Object, what, at, digest string) *manifest.Object {
	done := copied(o)
	spec, _ := o.Spec[what].(map[string]any)
	if spec = maps.Clone(spec); spec == nil {
		spec = map[string]any{}
	}
	delete(spec, "url")
	delete(spec, "checksum")
	spec["digest"] = digest
	if what == "package" {
		spec["type"] = "bits"
	}
	if at != "" {
		done.Inputs[what+"_url"] = at
	}
	done.Spec[what] = spec
	return done
}

func copied(o *manifest.Object) *manifest.Object {
	done := *o
	done.Spec, done.Inputs = maps.Clone(o.Spec), maps.Clone(o.Inputs)
	if done.Inputs == nil {
		done.Inputs = map[string]any{}
	}
	return &done
}

// digestOf is the digest of an app's package or droplet, "" where none is declared.
func digestOf(o *manifest.Object, what string) string {
	spec, _ := o.Spec[what].(map[string]any)
	digest, _ := spec["digest"].(string)
	return digest
}

// credentials are those of an input.
func credentials(o *manifest.Object, input string) remote.Credentials {
	c, _ := o.Inputs[input].(map[string]any)
	username, _ := c["username"].(string)
	password, _ := c["password"].(string)
	return remote.Credentials{Username: username, Password: password}
}

// unidentifiedCode is a problem for every app whose code could not be identified.
func (p *planner) unidentifiedCode() []platform.Problem {
	var found []platform.Problem
	for _, o := range p.in.Desired.Of(manifest.KindApp) {
		if e, ok := o.Inputs[unidentified].(*platform.Error); ok {
			found = append(found, platform.Problem{Step: p.step(o.Ref).ID, Origin: e.Origin, Message: e.Doing + ": " + e.Message, Hint: e.Hint})
		}
	}
	return found
}

func asked(o *manifest.Object, err error) error {
	var e *remote.Error
	if errors.As(err, &e) {
		return remoteError(o, "asking the registry for the digest", e)
	}
	return err
}

// remoteError says of which app the code that lies elsewhere cannot be had.
func remoteError(o *manifest.Object, doing string, e *remote.Error) error {
	class := platform.Invalid
	if e.Again {
		class = platform.Unavailable
	}
	what := "/package"
	if o.Spec["droplet"] != nil {
		what = "/droplet"
	}
	return &platform.Error{Class: class, Ref: o.Ref, Origin: o.FieldOrigin(what), Doing: doing, Message: e.Where + ": " + e.Message, Hint: e.Hint, Err: e}
}

// codeError says of which app the code cannot be read.
func codeError(o *manifest.Object, what string, err error) error {
	e := &platform.Error{Class: platform.Invalid, Ref: o.Ref, Origin: o.FieldOrigin("/" + what), Doing: "reading the app's code", Message: err.Error(), Err: err}
	var b *bits.Error
	if errors.As(err, &b) {
		e.Message, e.Hint = "path "+b.Path+": "+b.Message, b.Hint
	}
	return e
}

func noFiles(o *manifest.Object, what, path string) error {
	return codeError(o, what, fmt.Errorf("its path is %s, and no files were given", path))
}
