package cloudfoundry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// details are what no list says about an app.
type details struct {
	gone    bool   // deleted since the list was read
	why     string // the manifest could not be read, and why
	broken  bool   // for a reason other than our role
	warning string

	manifest generatedApp
	features []ccv3.Feature // read by themselves where the manifest is forbidden
	sidecars []ccv3.Sidecar
}

// generatedApp is the part of a generated manifest that no list carries. Numbers and switches in the environment
// come as texts, and decoding a YAML scalar into a string keeps it as it is written.
type generatedApp struct {
	Name       string            `yaml:"name"`
	Env        map[string]string `yaml:"env"`
	Buildpacks []string          `yaml:"buildpacks"` // in lists URLs have their passwords taken out
	Features   map[string]bool   `yaml:"features"`
	Processes  []struct {
		Type    string  `yaml:"type"`
		Command *string `yaml:"command"` // only where it was set, not where staging detected it
	} `yaml:"processes"`
	Sidecars []struct {
		Name         string   `yaml:"name"`
		Command      string   `yaml:"command"`
		ProcessTypes []string `yaml:"process_types"`
		Memory       string   `yaml:"memory"`
	} `yaml:"sidecars"`
}

// readDetails reads the generated manifest: one request for environment, features, commands, sidecars and
// buildpacks, and one that leaves no audit event, unlike reading the environment by itself.
//
// A role that may not read it (space auditor) can still read features and sidecars. An app whose manifest the
// controller cannot generate (500) must not keep the others from being looked after.
func (d *Driver) readDetails(ctx context.Context, ref manifest.Ref, guid string) (*details, error) {
	var text []byte
	_, err := d.client.Do(ctx, http.MethodGet, "/v3/apps/"+guid+"/manifest", nil, &text)
	switch {
	case err == nil:
		app, err := parseGenerated(text)
		if err != nil {
			return nil, explain(ref, "reading its generated manifest", err)
		}
		return &details{manifest: app}, nil
	case ccv3.IsNotFound(err):
		return &details{gone: true}, nil
	case ccv3.IsForbidden(err):
		return d.readAsAuditor(ctx, guid)
	case ccv3.HasStatus(err, http.StatusInternalServerError):
		var p *platform.Error
		errors.As(explain(ref, "reading its generated manifest", err), &p)
		return &details{broken: true, why: "the controller could not generate the app's manifest: " + p.Message, warning: p.Error()}, nil
	}
	return nil, explain(ref, "reading its generated manifest", err)
}

func (d *Driver) readAsAuditor(ctx context.Context, guid string) (*details, error) {
	found := &details{why: "the user's role may not read it; a space developer may"}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		var answer struct {
			Resources []ccv3.Feature `json:"resources"` // a list without pages
		}
		_, err := d.client.Do(ctx, http.MethodGet, "/v3/apps/"+guid+"/features", nil, &answer)
		found.features = answer.Resources
		return err
	})
	group.Go(func() (err error) {
		found.sidecars, _, err = ccv3.List[ccv3.Sidecar](ctx, d.client, "/v3/apps/"+guid+"/sidecars", nil)
		return err
	})
	if err := group.Wait(); err != nil {
		if ccv3.IsNotFound(err) {
			return &details{gone: true}, nil
		}
		if ccv3.IsForbidden(err) {
			return found, nil
		}
		return nil, err
	}
	return found, nil
}

func parseGenerated(text []byte) (generatedApp, error) {
	var doc struct {
		Applications []generatedApp `yaml:"applications"`
	}
	// The cause could quote a value of the environment.
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return generatedApp{}, fmt.Errorf("the generated manifest (%d bytes) is not the YAML that the V3 API describes", len(text))
	}
	if len(doc.Applications) != 1 {
		return generatedApp{}, fmt.Errorf("the generated manifest lists %d apps instead of one", len(doc.Applications))
	}
	return doc.Applications[0], nil
}
