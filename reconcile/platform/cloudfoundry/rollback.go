package cloudfoundry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// What a person does about the rollouts of one app, beside what Git declares: list its revisions, go back to one of them,
// let a paused canary go on or take it back.

// Revision is what an app ran with once: a droplet, an environment, commands and sidecars.
type Revision struct {
	Version     int
	GUID        string
	Droplet     string // guid
	Description string
	At          time.Time
	Deployed    bool // running instances have it
	Deployable  bool // its droplet still exists
}

// Revisions lists the revisions of an app, newest first.
func (d *Driver) Revisions(ctx context.Context, app manifest.Ref) ([]Revision, error) {
	guid, err := d.find(ctx, app)
	if err != nil {
		return nil, err
	}
	return d.revisions(ctx, app, guid)
}

func (d *Driver) revisions(ctx context.Context, app manifest.Ref, guid string) ([]Revision, error) {
	const doing = "looking for the revisions of the app"
	all, _, err := ccv3.List[ccv3.Revision](ctx, d.client, "/v3/apps/"+guid+"/revisions", nil)
	if err != nil {
		return nil, explain(app, doing, err)
	}
	running, _, err := ccv3.List[ccv3.Revision](ctx, d.client, "/v3/apps/"+guid+"/revisions/deployed", nil)
	if err != nil {
		return nil, explain(app, doing, err)
	}
	revisions := make([]Revision, len(all))
	for i, v := range all {
		revisions[i] = Revision{
			Version: v.Version, GUID: v.GUID, Droplet: v.Droplet.GUID, Description: v.Description, At: v.CreatedAt, Deployable: v.Deployable,
			Deployed: slices.ContainsFunc(running, func(r ccv3.Revision) bool { return r.GUID == v.GUID }),
		}
	}
	slices.SortFunc(revisions, func(a, b Revision) int { return cmp.Compare(b.Version, a.Version) })
	if len(revisions) == 0 {
		return nil, &platform.Error{
			Class: platform.Missing, Ref: app, Doing: doing, Message: "the app has none", Hint: "the platform keeps them from the next start on where the app's feature revisions is enabled",
		}
	}
	return revisions, nil
}

// find is the guid of an app.
func (d *Driver) find(ctx context.Context, app manifest.Ref) (string, error) {
	places, err := d.places(ctx, []string{app.Space()})
	if err != nil {
		return "", err
	}
	apps, _, err := ccv3.List[ccv3.App](ctx, d.client, "/v3/apps", url.Values{"names": {ccv3.Filter(app.Name())}, "space_guids": {places[0].space}})
	switch {
	case err != nil:
		return "", explain(app, "looking for the app", err)
	case len(apps) == 0:
		return "", &platform.Error{Class: platform.Missing, Ref: app, Doing: "looking for the app", Message: "there is none in the space", Hint: "`cf apps` lists what exists"}
	}
	return apps[0].GUID, nil
}

// byHand is an appRun that does what a person asks for, and knows nothing of what Git declares.
func (d *Driver) byHand(app manifest.Ref, guid string, opts platform.ApplyOptions) *appRun {
	say := func(text string) {
		if opts.Report != nil {
			opts.Report(platform.Event{Time: time.Now(), Step: app.String(), Ref: app, Phase: platform.Progress, Text: text})
		}
	}
	live := &manifest.Object{Ref: app, Spec: map[string]any{"state": "STARTED"}}
	return newAppRun(d, &platform.Step{ID: app.String(), Ref: app}, &appData{guid: guid, live: live}, opts, say)
}

// Rollback rolls out a revision, and watches it as any other rollout. If it does not become healthy, it is cancelled.
func (d *Driver) Rollback(ctx context.Context, app manifest.Ref, revision Revision, opts platform.ApplyOptions) error {
	guid, err := d.find(ctx, app)
	if err != nil {
		return err
	}
	r := d.byHand(app, guid, opts)
	r.began = d.client.Now()
	doing := fmt.Sprintf("rolling back to revision %d", revision.Version)
	token := "rollback " + newToken()
	body := r.belonging(map[string]any{"strategy": "rolling", "revision": map[string]any{"guid": revision.GUID}})
	r.note(body, map[string]string{pendingAnnotation: token})
	var dep ccv3.Deployment
	err = r.once(ctx, doing, func(ctx context.Context) error {
		_, err := d.client.Do(ctx, http.MethodPost, "/v3/deployments", body, &dep)
		return err
	}, func(ctx context.Context) (bool, error) {
		found, err := r.deployment(ctx, func(x *ccv3.Deployment) bool { return x.Metadata.Annotation(pendingAnnotation) == token })
		if found != nil {
			dep = *found
		}
		return found != nil, err
	})
	if err != nil {
		return err
	}
	err = r.watch(ctx, &dep)
	var e *platform.Error
	if errors.As(err, &e) && e.Class == platform.Rollout && dep.Status.Value == "ACTIVE" {
		if err := r.cancelDeployment(ctx, &dep); err != nil {
			return err
		}
		e.Message += "; the deployment was cancelled, and what ran before runs on"
	}
	return err
}

// Continue lets a paused canary rollout of the app go on to its next step, and says which that is.
func (d *Driver) Continue(ctx context.Context, app manifest.Ref) (string, error) {
	r, dep, err := d.active(ctx, app)
	if err != nil {
		return "", err
	}
	if dep.Status.Reason != "PAUSED" {
		return "", &platform.Error{Class: platform.Invalid, Ref: app, Doing: "letting the rollout go on", Message: "it is " + dep.Status.Reason + ", not PAUSED", Hint: "wait for its next step"}
	}
	step, steps := 1, 1
	if c := dep.Status.Canary; c != nil {
		step, steps = c.Steps.Current, c.Steps.Total
	}
	if err := r.once(ctx, "letting the rollout go on", func(ctx context.Context) error {
		_, err := d.client.Do(ctx, http.MethodPost, "/v3/deployments/"+dep.GUID+"/actions/continue", nil, nil)
		return err
	}, func(ctx context.Context) (bool, error) {
		err := r.get(ctx, "letting the rollout go on", "/v3/deployments/"+dep.GUID, dep)
		return dep.Status.Reason != "PAUSED" || dep.Status.Canary != nil && dep.Status.Canary.Steps.Current != step, err
	}); err != nil {
		return "", err
	}
	if step < steps {
		return fmt.Sprintf("step %d/%d", step+1, steps), nil
	}
	return "all instances", nil
}

// Cancel takes back the rollout of the app that is in progress, and waits until what ran before runs again.
func (d *Driver) Cancel(ctx context.Context, app manifest.Ref) error {
	r, dep, err := d.active(ctx, app)
	if err != nil {
		return err
	}
	return r.cancelDeployment(ctx, dep)
}

// active is the deployment of the app that is in progress.
func (d *Driver) active(ctx context.Context, app manifest.Ref) (*appRun, *ccv3.Deployment, error) {
	guid, err := d.find(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	r := d.byHand(app, guid, platform.ApplyOptions{})
	dep, err := r.deployment(ctx, func(x *ccv3.Deployment) bool { return x.Status.Value == "ACTIVE" })
	switch {
	case err != nil:
		return nil, nil, r.fail("looking for deployments of the app", err)
	case dep == nil:
		return nil, nil, &platform.Error{Class: platform.Missing, Ref: app, Doing: "looking for deployments of the app", Message: "no rollout is in progress"}
	}
	return r, dep, nil
}
