package cloudfoundry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// longestStaging is more than the controller's own limit, which is 15 minutes unless configured otherwise.
const longestStaging = 30 * time.Minute

// stage sees to it that there is a droplet of the declared code, made with the declared lifecycle. Whatever exists
// already, from an earlier commit or a killed run, is used and not made again.
func (r *appRun) stage(ctx context.Context) error {
	if !r.wantsCode() {
		return nil
	}
	if digest := digestOf(r.app, "droplet"); digest != "" {
		var err error
		r.droplet, err = r.uploadedDroplet(ctx, digest)
		return err
	}
	pkg, known, err := r.packageFor(ctx)
	if err != nil || pkg == "" {
		return err
	}
	var build *ccv3.Build
	if known {
		if build, err = r.reusableBuild(ctx, pkg); err != nil {
			return err
		}
	}
	if build == nil {
		if build, err = r.build(ctx, pkg); err != nil {
			return err
		}
	}
	if err := r.awaitBuild(ctx, build); err != nil {
		return r.staged(ctx, err)
	}
	r.droplet = build.Droplet.GUID
	return nil
}

// lifecycleAnnotation identifies, on a build, the buildpacks that were asked for. The build itself shows those that were
// detected in their place, and hides credentials in their URLs.
const lifecycleAnnotation = manifest.MetadataPrefix + "lifecycle"

// lifecycle is what a build of the app uses now: what is declared, and for the rest what the app had.
func (r *appRun) lifecycle() (fingerprint, stack string) {
	var buildpacks any
	for _, o := range []*manifest.Object{r.live, r.app} {
		if o == nil {
			continue
		}
		l, _ := o.Spec["lifecycle"].(map[string]any)
		if b, ok := l["buildpacks"]; ok {
			buildpacks = b
		}
		if s, ok := l["stack"].(string); ok && s != "" {
			stack = s
		}
	}
	sum := sha256.New()
	list, _ := buildpacks.([]any)
	for _, b := range list {
		fmt.Fprintf(sum, "%v\x00", b)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), stack
}

// reusableBuild finds a build of the package with the same lifecycle that has a droplet, or will have one. A
// build that failed is not tried again for the same commit by itself; asked for again, it is.
func (r *appRun) reusableBuild(ctx context.Context, pkg string) (*ccv3.Build, error) {
	builds, _, err := ccv3.List[ccv3.Build](ctx, r.d.client, "/v3/builds", url.Values{"package_guids": {pkg}, "order_by": {"-created_at"}})
	if err != nil {
		return nil, r.fail("looking for a droplet of the same code", err)
	}
	fingerprint, stack := r.lifecycle()
	for _, b := range builds {
		if b.Metadata.Annotation(lifecycleAnnotation) != fingerprint || stack != "" && b.Lifecycle.Data.Stack != "" && stack != b.Lifecycle.Data.Stack {
			continue
		}
		switch b.State {
		case "STAGING":
			return &b, nil
		case "STAGED":
			if b.Droplet == nil {
				continue
			}
			var d ccv3.Droplet
			err := r.get(ctx, "looking at the droplet", "/v3/droplets/"+b.Droplet.GUID, &d)
			if ccv3.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if d.State == "STAGED" { // not EXPIRED
				return &b, nil
			}
		}
	}
	return nil, nil
}

// build starts a build. An app has one at a time: another one is waited for.
func (r *appRun) build(ctx context.Context, pkg string) (*ccv3.Build, error) {
	const doing = "staging"
	var b ccv3.Build
	body := map[string]any{"package": map[string]any{"guid": pkg}}
	fingerprint, _ := r.lifecycle()
	notes := map[string]string{lifecycleAnnotation: fingerprint}
	if digest := digestOf(r.app, "package"); digest != "" { // for the time when the package is gone: builds outlive it (observed)
		notes[digestAnnotation] = digest
	}
	r.note(body, notes)
	staging := func(ctx context.Context, query url.Values) (bool, error) {
		query.Set("states", "STAGING")
		found, _, err := ccv3.List[ccv3.Build](ctx, r.d.client, "/v3/builds", query)
		if len(found) > 0 {
			b = found[0]
		}
		return len(found) > 0, err
	}
	ours := func(ctx context.Context) (bool, error) { return staging(ctx, url.Values{"package_guids": {pkg}}) }
	for attempt := 1; ; attempt++ {
		err := r.once(ctx, doing, func(ctx context.Context) error {
			_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/builds", body, &b)
			return err
		}, ours)
		if err == nil {
			return &b, nil
		}
		if !ccv3.Is(err, "CF-StagingInProgress") || attempt == attempts {
			return nil, err
		}
		// 170017: one build per app at a time.
		found, lookErr := staging(ctx, url.Values{"app_guids": {r.guid}})
		if lookErr != nil {
			return nil, r.fail(doing, lookErr)
		}
		if found && b.Package.GUID == pkg {
			return &b, nil
		}
		if found {
			r.say("waiting for another build of the app")
			_ = r.awaitBuild(ctx, &b) // how it ends is not our business
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
	}
}

// awaitBuild waits for the droplet.
func (r *appRun) awaitBuild(ctx context.Context, b *ccv3.Build) error {
	const doing = "staging"
	ctx, cancel := context.WithTimeoutCause(ctx, longestStaging, fmt.Errorf("staging did not end within %s", longestStaging))
	defer cancel()
	began := time.Now()
	p := newPace()
	for {
		switch {
		case b.State == "STAGED" && b.Droplet != nil && b.Droplet.GUID != "":
			return nil
		case b.State == "FAILED":
			return r.buildFailed(ctx, b)
		}
		r.say(fmt.Sprintf("staging, %d s", int(time.Since(began).Seconds())))
		if err := p.wait(ctx); err != nil {
			return r.fail(doing, err)
		}
		if err := r.get(ctx, doing, "/v3/builds/"+b.GUID, b); err != nil {
			return err
		}
	}
}

// buildFailed says why, in the controller's words ("NoAppDetectedError - An app was not …"), and what helps.
func (r *appRun) buildFailed(ctx context.Context, b *ccv3.Build) error {
	why := "the platform does not say why"
	if b.Error != nil && *b.Error != "" {
		why = *b.Error
	}
	e := &platform.Error{
		Class: platform.Staging, Ref: r.step.Ref, Origin: r.app.FieldOrigin("/package"), Doing: "staging", Message: why,
		Hint: fmt.Sprintf("see the staging log: cf logs %s --recent", r.step.Ref.Name()),
	}
	id, _, _ := strings.Cut(why, " ")
	switch id {
	case "NoAppDetectedError":
		e.Hint = "no buildpack recognises the files: declare `buildpacks`, and check that `path` is the folder of the app's code"
	case "BuildpackCompileFailed", "BuildpackReleaseFailed":
		e.Hint = fmt.Sprintf("the buildpack stopped; its output says why: cf logs %s --recent", r.step.Ref.Name())
	case "InsufficientResources", "NoCompatibleCell", "CellCommunicationError", "StagerError", "StagingTimeExpired":
		// The platform's trouble, not the code's: trying again may help.
		e.Class, e.Hint = platform.Unavailable, "the platform could not stage; apply again later"
	}
	return r.addTail(ctx, e, tail{since: b.CreatedAt, sources: []string{"STG"}})
}

// belonging adds the relationship to the app.
func (r *appRun) belonging(body map[string]any) map[string]any {
	body["relationships"] = map[string]any{"app": ccv3.To(r.guid)}
	return body
}

// note adds annotations, among them the revision that the app is made from.
func (r *appRun) note(body map[string]any, annotations map[string]string) {
	all := map[string]string{}
	for k, v := range annotations {
		all[k] = v
	}
	if r.opts.Revision != "" {
		all[revisionAnnotation] = r.opts.Revision
	}
	if len(all) > 0 {
		body["metadata"] = map[string]any{"annotations": all}
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
