package remote

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Scheme begins the URL of an artifact: oci://registry.example.com/team/shop:1.4.0 or …@sha256:….
const Scheme = "oci://"

// longestLook limits the requests that find a digest or the layers; those for the layer itself take their time.
const longestLook = 2 * time.Minute

func parse(artifact string) (name.Reference, error) {
	ref, err := name.ParseReference(strings.TrimPrefix(artifact, Scheme))
	if err != nil {
		return nil, &Error{Where: artifact, Message: "it is not the name of an image or artifact", Hint: "write registry/repository:tag or registry/repository@sha256:…"}
	}
	return ref, nil
}

func (c *Client) options(ctx context.Context, creds Credentials) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(c.transport())}
	if creds.Username != "" {
		options = append(options, remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: creds.Username, Password: creds.Password})))
	}
	if c != nil && c.UserAgent != "" {
		options = append(options, remote.WithUserAgent(c.UserAgent))
	}
	return options
}

// Resolve finds the digest ("sha256:…") that the name of an image or artifact stands for at the moment. A name with a digest
// stands for that one: the registry is not asked.
func (c *Client) Resolve(ctx context.Context, artifact string, creds Credentials) (string, error) {
	ref, err := parse(artifact)
	if err != nil {
		return "", err
	}
	if pinned, ok := ref.(name.Digest); ok {
		return pinned.DigestStr(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, longestLook)
	defer cancel()
	found, err := remote.Head(ref, c.options(ctx, creds)...)
	if err != nil {
		return "", registryError(ctx, artifact, err)
	}
	return found.Digest.String(), nil
}

// Pinned is the image with its tag replaced by a digest.
func Pinned(image, digest string) (string, error) {
	if _, err := parse(image); err != nil {
		return "", err
	}
	repository, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository = repository[:i]
	}
	return repository + "@" + digest, nil
}

// Artifact is a layer in a registry that holds an app's files: a tar, a tar.gz or a zip.
type Artifact struct {
	Client *Client
	Name   string // with or without oci://
	Digest string // of the manifest, as Resolve found it
	Credentials
}

// Copy writes the files as a zip into w. A zip is passed on as it is.
func (a *Artifact) Copy(ctx context.Context, w io.Writer, progress Progress) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	layer, size, err := a.layer(ctx)
	if err != nil {
		return registryError(ctx, a.Name, err)
	}
	compressed, err := layer.Compressed() // verifies digest and size at its end
	if err != nil {
		return registryError(ctx, a.Name, err)
	}
	defer compressed.Close()
	body, release := watch(compressed, size, progress, stop)
	defer release()

	in, out := bufio.NewReaderSize(body, 64<<10), &writing{Writer: w}
	head, err := in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return broken(ctx, a.Name, err)
	}
	switch kindOf(head) {
	case kindZip:
		_, err = io.Copy(out, in)
	case kindGzip:
		var plain *gzip.Reader
		if plain, err = gzip.NewReader(in); err == nil {
			err = a.repack(out, io.LimitReader(plain, largest))
		}
	case kindTar:
		err = a.repack(out, in)
	default:
		return &Error{Where: a.Name, Message: "its layer is neither a tar nor a tar.gz nor a zip", Hint: "push the app's files as one of them (oras push, flux push artifact)"}
	}
	if err == nil {
		_, err = io.Copy(io.Discard, in) // to the end, where the digest is verified
	}
	if out.err != nil {
		return out.err
	}
	if err != nil {
		return broken(ctx, a.Name, err)
	}
	return nil
}

func (a *Artifact) layer(ctx context.Context) (v1.Layer, int64, error) {
	ref, err := parse(a.Name)
	if err != nil {
		return nil, 0, err
	}
	at := ref.Context().Digest(a.Digest)
	desc, err := remote.Get(at, a.Client.options(ctx, a.Credentials)...)
	if err != nil {
		return nil, 0, err
	}
	if desc.MediaType.IsIndex() {
		return nil, 0, &Error{Where: a.Name, Message: "it is an index of several artifacts", Hint: "name the digest of one of them"}
	}
	image, err := desc.Image()
	if err != nil {
		return nil, 0, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, 0, err
	}
	if len(layers) != 1 {
		return nil, 0, &Error{
			Where: a.Name, Message: fmt.Sprintf("it has %d layers", len(layers)),
			Hint: "an artifact with an app's files has one; an image is declared by package: docker:",
		}
	}
	size, err := layers[0].Size()
	return layers[0], size, err
}

// repack turns a tar into a zip, entry by entry.
func (a *Artifact) repack(w io.Writer, r io.Reader) error {
	in, out := tar.NewReader(r), zip.NewWriter(w)
	files := 0
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		file := path.Clean(h.Name)
		if path.IsAbs(file) || file == ".." || strings.HasPrefix(file, "../") {
			return &Error{Where: a.Name, Message: fmt.Sprintf("its file %q lies outside of the archive", h.Name)}
		}
		header := &zip.FileHeader{Name: file, Method: zip.Deflate, Modified: zipTime}
		var content io.Reader = in
		switch h.Typeflag {
		case tar.TypeReg:
			header.SetMode(0o644 | h.FileInfo().Mode()&0o111)
		case tar.TypeSymlink:
			header.SetMode(h.FileInfo().Mode())
			content = strings.NewReader(h.Linkname)
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		default:
			return &Error{Where: a.Name, Message: fmt.Sprintf("its entry %s is neither a file nor a folder nor a symlink", file)}
		}
		entry, err := out.CreateHeader(header)
		if err == nil {
			_, err = io.Copy(entry, content)
		}
		if err != nil {
			return err
		}
		files++
	}
	if files == 0 {
		return &Error{Where: a.Name, Message: "it holds no file"}
	}
	return out.Close()
}

// zipTime is the earliest moment that a zip can hold: the same files give the same bytes.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// registryError says what a registry's refusal means.
func registryError(ctx context.Context, where string, err error) error {
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return broken(ctx, where, err)
	}
	e := &Error{Where: where, Message: fmt.Sprintf("the registry answers %d %s", refused.StatusCode, http.StatusText(refused.StatusCode)), Err: err}
	switch code := refused.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Hint = "check the credentials, and whether the user may pull; some registries answer so too when there is no such image"
	case code == http.StatusNotFound:
		e.Message, e.Hint = "the registry does not have it", "check name and tag"
	case code >= 500 || code == http.StatusTooManyRequests:
		e.Again = true
	}
	return e
}
