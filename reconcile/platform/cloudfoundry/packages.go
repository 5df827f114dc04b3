package cloudfoundry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// packageFor finds or makes the package. known means that builds of it may exist.
func (r *appRun) packageFor(ctx context.Context) (guid string, known bool, err error) {
	spec, _ := r.app.Spec["package"].(map[string]any)
	image, _ := spec["image"].(string)
	digest, _ := spec["digest"].(string)
	switch {
	case image != "":
		return r.dockerPackage(ctx, spec)
	case digest != "":
		return r.bitsPackage(ctx, digest)
	}
	// Only the lifecycle is declared: what runs now is staged again.
	var droplet ccv3.Droplet
	switch err := r.get(ctx, "looking for the code that runs now", "/v3/apps/"+r.guid+"/droplets/current", &droplet); {
	case ccv3.IsNotFound(err):
		return "", false, nil // nothing was ever deployed, so nothing can be staged
	case err != nil:
		return "", false, err
	}
	return droplet.Links["package"].GUID(), true, nil
}

// packages lists the app's packages, newest first.
func (r *appRun) packages(ctx context.Context) ([]ccv3.Package, error) {
	all, _, err := ccv3.List[ccv3.Package](ctx, r.d.client, "/v3/packages", url.Values{"app_guids": {r.guid}, "order_by": {"-created_at"}})
	return all, err
}

func (r *appRun) dockerPackage(ctx context.Context, spec map[string]any) (guid string, known bool, err error) {
	image, _ := spec["image"].(string)
	username, _ := spec["username"].(string)
	find := func(ctx context.Context) (bool, error) {
		all, err := r.packages(ctx)
		for _, p := range all {
			user := ""
			if p.Data.Username != nil {
				user = *p.Data.Username
			}
			if p.Type == "docker" && p.State == "READY" && p.Data.Image == image && user == username {
				guid = p.GUID
				return true, nil
			}
		}
		return false, err
	}
	if r.live != nil {
		if known, err = find(ctx); err != nil || known {
			return guid, known, r.fail("looking for the package", err)
		}
	}
	data := map[string]any{"image": image}
	if username != "" {
		data["username"], data["password"] = username, r.app.Inputs["docker_password"]
	}
	var made ccv3.Package
	err = r.once(ctx, "creating the package", func(ctx context.Context) error {
		_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/packages", r.belonging(map[string]any{"type": "docker", "data": data}), &made)
		return err
	}, find)
	if guid == "" {
		guid = made.GUID
	}
	return guid, false, err
}

// abandoned says whether the platform has stopped to work on an upload: it has had more time than it ever takes.
func (r *appRun) abandoned(state string, of ccv3.Resource) bool {
	return state == "PROCESSING_UPLOAD" && r.d.client.Now().Sub(of.UpdatedAt) > longestStaging
}

// bitsPackage finds the package with the digest, complete or half-made, or makes it; and uploads the files unless
// the platform has them.
func (r *appRun) bitsPackage(ctx context.Context, digest string) (guid string, known bool, err error) {
	var pkg ccv3.Package
	find := func(ctx context.Context) (bool, error) {
		all, err := r.packages(ctx)
		rank := map[string]int{"READY": 3, "PROCESSING_UPLOAD": 2, "AWAITING_UPLOAD": 1}
		for _, p := range all {
			if p.Metadata.Annotation(digestAnnotation) == digest && !r.abandoned(p.State, p.Resource) && rank[p.State] > rank[pkg.State] {
				pkg = p
			}
		}
		return pkg.GUID != "", err
	}
	if r.live != nil {
		if known, err = find(ctx); err != nil {
			return "", false, r.fail("looking for the package", err)
		}
	}
	if !known {
		body := r.belonging(map[string]any{"type": "bits"})
		r.note(body, map[string]string{digestAnnotation: digest})
		if err := r.once(ctx, "creating the package", func(ctx context.Context) error {
			_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/packages", body, &pkg)
			return err
		}, find); err != nil {
			return "", false, err
		}
	}
	known = known && pkg.State == "READY"
	if pkg.State == "AWAITING_UPLOAD" {
		if err := r.uploadPackage(ctx, &pkg); err != nil {
			return "", false, err
		}
	}
	return pkg.GUID, known, r.awaitPackage(ctx, &pkg)
}

// uploadPackage streams what the package is to hold, without the files that the platform has already.
func (r *appRun) uploadPackage(ctx context.Context, pkg *ccv3.Package) error {
	code, err := r.code(ctx)
	if err != nil {
		return err
	}
	u := upload{path: "/v3/packages/" + pkg.GUID + "/upload", filename: "application.zip", content: code, out: pkg}
	if files, ok := code.(*bits.Files); ok {
		known, rest, err := r.known(ctx, files)
		if err != nil {
			return err
		}
		r.say(uploading(files, rest))
		if u.content = rest; rest.Len() == 0 {
			u.content = nil
		}
		if known != "" {
			u.fields = map[string]string{"resources": known}
		}
	}
	u.done = func(ctx context.Context) (bool, error) {
		err := r.get(ctx, uploadingCode, "/v3/packages/"+pkg.GUID, pkg)
		return pkg.State != "AWAITING_UPLOAD", err
	}
	_, err = r.upload(ctx, u)
	return err
}

// uploading says what is going to be uploaded: "uploading 2 of 40 files, 1.2 MB; the platform has the others".
func uploading(files, rest *bits.Files) string {
	if rest.Len() == files.Len() {
		return fmt.Sprintf("uploading %d %s, %s", files.Len(), plural(files.Len(), "file", "files"), size(files.Size()))
	}
	return fmt.Sprintf("uploading %d of %d files, %s; the platform has the others", rest.Len(), files.Len(), size(rest.Size()))
}

// awaitPackage waits until the platform has worked through the upload.
func (r *appRun) awaitPackage(ctx context.Context, pkg *ccv3.Package) error {
	const doing = "waiting for the platform to process the upload"
	ctx, cancel := context.WithTimeoutCause(ctx, longestStaging, fmt.Errorf("it took longer than %s", longestStaging))
	defer cancel()
	p := newPace()
	for {
		switch pkg.State {
		case "READY":
			return nil
		case "FAILED", "EXPIRED":
			why := "the package is " + pkg.State
			if pkg.Data.Error != nil {
				why = *pkg.Data.Error
			}
			return &platform.Error{
				Class: platform.Staging, Ref: r.step.Ref, Origin: r.app.FieldOrigin("/package"), Doing: doing,
				Message: why, Hint: "apply again: the files are then uploaded anew",
			}
		}
		if err := p.wait(ctx); err != nil {
			return r.fail(doing, err)
		}
		if err := r.get(ctx, doing, "/v3/packages/"+pkg.GUID, pkg); err != nil {
			return err
		}
	}
}
