package cloudfoundry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/remote"
)

// dropletDigest identifies a droplet: by what Fettle noted on it, and otherwise by the platform's own checksum.
func dropletDigest(d *ccv3.Droplet) string {
	if noted := d.Metadata.Annotation(digestAnnotation); noted != "" {
		return noted
	}
	if d.Checksum != nil && d.Checksum.Type == "sha256" && d.Checksum.Value != "" {
		return "sha256:" + d.Checksum.Value
	}
	return ""
}

// uploadedDroplet finds the droplet with the digest, complete or half-made, or makes it and uploads the file. Whatever has
// that checksum will do, even if it was staged here.
func (r *appRun) uploadedDroplet(ctx context.Context, digest string) (guid string, err error) {
	var d ccv3.Droplet
	find := func(ctx context.Context) (bool, error) {
		all, _, err := ccv3.List[ccv3.Droplet](ctx, r.d.client, "/v3/droplets", url.Values{"app_guids": {r.guid}, "order_by": {"-created_at"}})
		rank := map[string]int{"STAGED": 3, "PROCESSING_UPLOAD": 2, "AWAITING_UPLOAD": 1}
		for i, have := range all {
			// One that waits for its upload and bears no note was left by a run that was killed before it could write one.
			ours := dropletDigest(&all[i]) == digest || dropletDigest(&all[i]) == "" && have.State == "AWAITING_UPLOAD"
			if ours && !r.abandoned(have.State, have.Resource) && rank[have.State] > rank[d.State] {
				d = have
			}
		}
		return d.GUID != "", err
	}
	known := false
	if r.live != nil {
		if known, err = find(ctx); err != nil {
			return "", r.fail("looking for the droplet", err)
		}
	}
	if !known {
		if err := r.once(ctx, "creating the droplet", func(ctx context.Context) error {
			_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/droplets", r.belonging(map[string]any{}), &d)
			return err
		}, find); err != nil {
			return "", err
		}
	}
	if d.State == "AWAITING_UPLOAD" {
		if err := r.uploadDroplet(ctx, &d, digest); err != nil {
			return "", err
		}
	}
	return d.GUID, r.awaitDroplet(ctx, &d)
}

// uploadDroplet notes what the droplet is going to hold, for the API takes no metadata when one is created, and uploads it.
func (r *appRun) uploadDroplet(ctx context.Context, d *ccv3.Droplet, digest string) error {
	path := "/v3/droplets/" + d.GUID
	if dropletDigest(d) != digest {
		body := map[string]any{}
		r.note(body, map[string]string{digestAnnotation: digest})
		if err := r.do(ctx, "noting what the droplet holds", http.MethodPatch, path, body); err != nil {
			return err
		}
	}
	file, err := r.dropletFile(digest)
	if err != nil {
		return err
	}
	resp, err := r.upload(ctx, upload{
		path: path + "/upload", filename: "droplet.tgz", content: file, out: d,
		done: func(ctx context.Context) (bool, error) {
			err := r.get(ctx, uploadingCode, path, d)
			return d.State != "AWAITING_UPLOAD", err
		},
	})
	if err != nil || resp.Location() == "" {
		return err
	}
	if err := r.d.client.Job(ctx, resp.Location()); err != nil {
		return r.fail("waiting for the platform to store the droplet", err)
	}
	return r.get(ctx, uploadingCode, path, d)
}

func (r *appRun) dropletFile(digest string) (content, error) {
	if at, ok := r.app.Inputs[dropletURL].(string); ok {
		r.say("uploading " + remote.Shown(at))
		return &remote.File{Client: r.d.remote(), URL: at, Checksum: checksum(digest), Droplet: true, Credentials: credentials(r.app, "droplet_credentials")}, nil
	}
	path, _ := r.app.Inputs["droplet_path"].(string)
	if r.opts.Files == nil {
		return nil, noFiles(r.app, "droplet", path)
	}
	file, err := bits.OpenDroplet(r.opts.Files, path)
	if err != nil {
		return nil, codeError(r.app, "droplet", err)
	}
	r.say("uploading a droplet, " + size(file.Size()))
	return file, nil
}

// awaitDroplet waits until the platform has stored the upload.
func (r *appRun) awaitDroplet(ctx context.Context, d *ccv3.Droplet) error {
	const doing = "waiting for the platform to store the droplet"
	ctx, cancel := context.WithTimeoutCause(ctx, longestStaging, fmt.Errorf("it took longer than %s", longestStaging))
	defer cancel()
	p := newPace()
	for {
		switch d.State {
		case "STAGED":
			return nil
		case "FAILED", "EXPIRED":
			why := "the droplet is " + strings.ToLower(d.State)
			if d.Error != nil && *d.Error != "" {
				why = *d.Error
			}
			return &platform.Error{
				Class: platform.Staging, Ref: r.step.Ref, Origin: r.app.FieldOrigin("/droplet"), Doing: doing,
				Message: why, Hint: "apply again: the file is then uploaded anew",
			}
		}
		if err := p.wait(ctx); err != nil {
			return r.fail(doing, err)
		}
		if err := r.get(ctx, doing, "/v3/droplets/"+d.GUID, d); err != nil {
			return err
		}
	}
}
