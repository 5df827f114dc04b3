// Package values joins the places that hold secrets (package source/secret and those below it) with what package manifest reads:
// whatever comes out of one of them becomes a vars file that is marked secret, so that its values stay
// hidden to the last output.
//
// It knows no place by name and keeps nothing.
package values

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/encrypted"
)

// Open is for reconcile.Target.Open: it decrypts what is encrypted, and leaves everything else as it is.
func Open(o encrypted.Opener) func(context.Context, manifest.VarsFile) (manifest.VarsFile, error) {
	return func(ctx context.Context, f manifest.VarsFile) (manifest.VarsFile, error) {
		plain, was, err := o.Open(ctx, f.Name, f.Data)
		if err != nil {
			return manifest.VarsFile{}, err
		}
		return manifest.VarsFile{Name: f.Name, Data: plain, Secret: f.Secret || was}, nil
	}
}

// Place is one place to take values from: either a provider, or an encrypted file in the source.
type Place struct {
	Provider secret.Provider

	File   string           // from the root of the source
	Format encrypted.Format // what File must be
	Opener encrypted.Opener
}

// From is for reconcile.Target.Values: it asks all the places, in order, so that later ones win.
func From(places []Place) func(context.Context, fs.FS, []string) ([]manifest.VarsFile, error) {
	return func(ctx context.Context, files fs.FS, names []string) ([]manifest.VarsFile, error) {
		var all []manifest.VarsFile
		for _, p := range places {
			read := p.file
			if p.Provider != nil {
				read = p.ask
			}
			f, err := read(ctx, files, names)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
		return all, nil
	}
}

func (p Place) ask(ctx context.Context, _ fs.FS, names []string) (manifest.VarsFile, error) {
	found, err := p.Provider.Lookup(ctx, names)
	if err != nil {
		return manifest.VarsFile{}, err
	}
	doc, err := secret.Document(found)
	if err != nil {
		return manifest.VarsFile{}, &secret.Error{Place: p.Provider.String(), Message: "a value cannot be used", Err: err}
	}
	return manifest.VarsFile{Name: p.Provider.String(), Data: doc, Secret: true}, nil
}

func (p Place) file(ctx context.Context, files fs.FS, _ []string) (manifest.VarsFile, error) {
	name := path.Clean(p.File)
	data, err := fs.ReadFile(files, name)
	if err != nil {
		var where *fs.PathError
		if errors.As(err, &where) {
			err = where.Err
		}
		return manifest.VarsFile{}, &secret.Error{Place: "vars file " + name, Message: "the file cannot be read from the source", Err: err, Hint: "the path begins at the root of the source"}
	}
	if is := encrypted.Detect(data); is != p.Format {
		hint := "encrypt it; and since it is in the repository in clear, change the secrets in it"
		if is != encrypted.None {
			hint = fmt.Sprintf("it is encrypted with %s", is)
		}
		return manifest.VarsFile{}, &secret.Error{Place: "vars file " + name, Message: fmt.Sprintf("the file is not encrypted with %s", p.Format), Hint: hint}
	}
	plain, _, err := p.Opener.Open(ctx, name, data)
	if err != nil {
		return manifest.VarsFile{}, err
	}
	return manifest.VarsFile{Name: name, Data: plain, Secret: true}, nil
}
