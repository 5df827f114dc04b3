package cloudfoundry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/remote"
)

// content is what is uploaded. It is read anew for every attempt, and kept nowhere.
type content interface {
	Copy(ctx context.Context, w io.Writer, progress func(done, total int64)) error
}

const uploadingCode = "uploading the app's code"

// code finds what the declared package is made of.
func (r *appRun) code(ctx context.Context) (content, error) {
	digest := digestOf(r.app, "package")
	if at, ok := r.app.Inputs[packageURL].(string); ok {
		creds := credentials(r.app, "package_credentials")
		r.say("uploading " + remote.Shown(at))
		if strings.HasPrefix(at, remote.Scheme) {
			return &remote.Artifact{Client: r.d.remote(), Name: at, Digest: digest, Credentials: creds}, nil
		}
		return &remote.File{Client: r.d.remote(), URL: at, Checksum: checksum(digest), Credentials: creds}, nil
	}
	path, _ := r.app.Inputs["path"].(string)
	if r.opts.Files == nil {
		return nil, noFiles(r.app, "package", path)
	}
	files, err := bits.Open(r.opts.Files, path)
	if err != nil {
		return nil, codeError(r.app, "package", err)
	}
	return files, ctx.Err()
}

// worthAsking is how many bytes an upload has to be able to save before a request is spent on asking which files the
// platform has already.
const worthAsking = 1 << 20

// perQuestion is how many files are asked for at a time, as `cf push` does: the controller takes 5,000, and looks for
// each of them in its blobstore before it answers.
const perQuestion = 1000

// known asks which of the files the platform has from earlier uploads, of whatever app. It returns them in the form that
// an upload takes, and the files that remain to be sent. Not to know it is no failure: then all are sent.
func (r *appRun) known(ctx context.Context, files *bits.Files) (known string, rest *bits.Files, err error) {
	if _, saved := files.Kept(); saved < worthAsking {
		return "", files, nil
	}
	r.say("asking which files the platform has already")
	candidates, err := files.Resources(ctx)
	if err != nil {
		return "", nil, codeError(r.app, "package", err)
	}
	type resource struct {
		Checksum struct {
			Value string `json:"value"`
		} `json:"checksum"`
		Size int64  `json:"size_in_bytes"`
		Path string `json:"path"`
		Mode string `json:"mode"`
	}
	type question struct {
		Resources []resource `json:"resources"`
	}
	var found []resource
	paths := map[string]bool{}
	for chunk := range slices.Chunk(candidates, perQuestion) {
		var ask, answer question
		for _, c := range chunk {
			next := resource{Size: c.Size, Path: c.Path, Mode: c.Mode}
			next.Checksum.Value = c.SHA1
			ask.Resources = append(ask.Resources, next)
		}
		if _, err := r.d.client.Do(ctx, http.MethodPost, "/v3/resource_matches", ask, &answer); err != nil {
			if ctx.Err() != nil {
				return "", nil, context.Cause(ctx)
			}
			r.say(fmt.Sprintf("the platform does not say which files it has, so all are uploaded (%v)", err))
			return "", files, nil
		}
		has := map[string]bool{}
		for _, a := range answer.Resources {
			has[a.Checksum.Value] = true
		}
		for _, a := range ask.Resources {
			if has[a.Checksum.Value] {
				found, paths[a.Path] = append(found, a), true
			}
		}
	}
	if len(found) == 0 {
		return "", files, nil
	}
	text, err := json.Marshal(found)
	return string(text), files.Without(paths), err
}

// upload is one file and where it goes.
type upload struct {
	path     string
	filename string
	content  content // nil: the fields say it all
	fields   map[string]string
	out      any
	done     func(context.Context) (bool, error) // looks whether the platform took an upload of which no answer came
}

// upload streams the content. Cut off, it begins anew, unless the platform had taken all of it.
func (r *appRun) upload(ctx context.Context, u upload) (*ccv3.Response, error) {
	p := newPace()
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// Not finished when told to stop: it may take long, and the next run uploads into the same package.
		resp, reading, err := r.send(ctx, u)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		again := ccv3.MayHaveHappened(err)
		if reading != nil {
			again, err = sourceError(r.app, reading)
		}
		// A second upload of what the platform has already is refused: 400 150004, for a droplet 422.
		refused := ccv3.HasStatus(err, http.StatusBadRequest) || ccv3.HasStatus(err, http.StatusUnprocessableEntity)
		if attempt == attempts || !again && !refused {
			return nil, r.fail(uploadingCode, err)
		}
		if err := p.wait(ctx); err != nil {
			return nil, err
		}
		done, lookErr := u.done(ctx)
		switch {
		case lookErr != nil:
			return nil, lookErr
		case done:
			return &ccv3.Response{}, nil
		case !again:
			return nil, r.fail(uploadingCode, err)
		}
	}
}

// send uploads once. reading is the failure of the content, where it was that.
func (r *appRun) send(ctx context.Context, u upload) (resp *ccv3.Response, reading, err error) {
	var body func(io.Writer) error
	if u.content != nil {
		body = func(w io.Writer) error {
			reading = u.content.Copy(ctx, w, r.percent())
			if reading != nil && (errors.Is(reading, io.ErrClosedPipe) || ctx.Err() != nil) {
				err := reading
				reading = nil // the connection is cut, and nothing wrong with the content
				return err
			}
			return reading
		}
	}
	resp, err = r.d.client.Upload(ctx, u.path, "bits", u.filename, body, u.fields, u.out)
	return resp, reading, err
}

// sourceError says of which app the code cannot be read, and whether trying again may help.
func sourceError(app *manifest.Object, err error) (again bool, _ error) {
	var e *remote.Error
	if errors.As(err, &e) {
		return e.Again, remoteError(app, uploadingCode, e)
	}
	return false, codeError(app, "package", err)
}

// percent tells now and then how far an upload is. One that is over within a second tells nothing.
func (r *appRun) percent() func(done, total int64) {
	next := time.Now().Add(time.Second)
	return func(done, total int64) {
		now := time.Now()
		if now.Before(next) {
			return
		}
		next = now.Add(time.Second)
		if total > 0 {
			r.say(fmt.Sprintf("uploading %d %% of %s", 100*done/total, size(total)))
		} else {
			r.say("uploading, " + size(done) + " so far")
		}
	}
}

// size in the unit that people would use.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KB", (n+512)>>10)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}
