package cloudfoundry_test

import (
	"net/http"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/examples"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Every example is applied, and then nothing differs.
func TestExamples(t *testing.T) {
	for _, dir := range []string{"shop", "docker", "every-attribute"} {
		t.Run(dir, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				f.do(http.MethodPost, "/v3/service_instances", map[string]any{
					"type": "user-provided", "name": "audit-log", "relationships": map[string]any{"space": ccv3.To(f.space)},
				}, nil)
				f.do(http.MethodPatch, "/v3/feature_flags/diego_docker", map[string]any{"enabled": true}, nil)
				text, err := examples.FS.ReadFile(path.Join(dir, "manifest.yml"))
				if err != nil {
					t.Fatal(err)
				}
				for _, app := range []string{"app", "web", "worker"} {
					f.files[app+"/start.sh"] = &fstest.MapFile{Data: []byte("#!/bin/sh"), Mode: 0o755}
				}
				manifest := strings.ReplaceAll(string(text), "((domain))", "apps.sandbox.test")
				f.mustRun(manifest)
				f.converged(manifest)
				f.nothingTwice(t)
			})
		})
	}
}

// A docker app is known by its image and user; going back to an image takes the droplet that is there.
func TestDocker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.do(http.MethodPatch, "/v3/feature_flags/diego_docker", map[string]any{"enabled": true}, nil)
		one := "applications:\n- name: boxed\n  docker: {image: registry.example.com/boxed:1}\n  no-route: true\n"
		two := strings.Replace(one, ":1}", ":2}", 1)
		for _, text := range []string{one, two, one} {
			f.mustRun(text)
			f.converged(text)
		}
		if n := len(list[ccv3.Build](f, "/v3/builds")); n != 2 {
			t.Errorf("%d builds, want one per image", n)
		}
	})
}

// Another buildpack takes a new droplet of the package that is there.
func TestOtherBuildpack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		changed := web + "  buildpacks: [nodejs_buildpack]\n"
		p := f.mustRun(changed)
		f.converged(changed)
		for _, r := range p.applying {
			if strings.HasSuffix(r, "/upload") || r == "POST /v3/packages" {
				t.Errorf("the code did not change, and yet: %s", r)
			}
		}
		if n := len(list[ccv3.Droplet](f, "/v3/droplets")); n != 2 {
			t.Errorf("%d droplets, want 2", n)
		}
	})
}

// Two new apps that share a route are made side by side.
func TestSharedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		text := `
applications:
- {name: a, path: web, routes: [{route: both.apps.sandbox.test}]}
- {name: b, path: web, routes: [{route: both.apps.sandbox.test}, {route: b.apps.sandbox.test}]}
`
		f.mustRun(text)
		f.converged(text)
		alone := strings.Replace(text, "{route: both.apps.sandbox.test}, ", "", 1)
		f.mustRun(alone)
		f.converged(alone)
	})
}

// A route's options are changed by themselves.
func TestRouteOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		text := "applications:\n- name: a\n  path: web\n  routes: [{route: a.apps.sandbox.test, options: {loadbalancing: round-robin}}]\n"
		f.mustRun(text)
		f.converged(text)
		text = strings.Replace(text, "round-robin", "least-connection", 1)
		p := f.mustRun(text)
		f.converged(text)
		if len(p.applying) != 1 {
			t.Errorf("requests %v, want one", p.applying)
		}
	})
}
