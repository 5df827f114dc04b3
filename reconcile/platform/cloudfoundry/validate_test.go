package cloudfoundry_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/manifest"
)

// What a foundation knows and no manifest says, told at the line that it is about.
func TestValidate(t *testing.T) {
	f := newTown(t)
	f.space("acme/prod")
	taken := f.only("/v3/domains", map[string][]string{"names": {"apps.sandbox.test"}})
	f.do(f.root, "POST", "/v3/routes", body{"host": "taken", "relationships": body{"space": related(f.spaces["acme/prod"]), "domain": related(taken)}})
	f.do(f.root, "POST", "/v3/service_instances", body{"type": "user-provided", "name": "database", "relationships": body{"space": related(f.spaces["acme/dev"])}})
	small := f.do(f.root, "POST", "/v3/space_quotas", body{
		"name": "small", "apps": body{"total_memory_in_mb": 512, "per_process_memory_in_mb": 256, "total_instances": 3}, "routes": body{"total_routes": 1},
		"relationships": body{"organization": related(f.orgs["acme"])},
	})
	f.space("acme/tiny")
	f.do(f.root, "POST", "/v3/space_quotas/"+small+"/relationships/spaces", body{"data": []body{{"guid": f.spaces["acme/tiny"]}}})
	f.do(f.root, "PATCH", "/v3/feature_flags/diego_docker", body{"enabled": false})

	for _, tt := range []struct {
		name, user, space, manifest string
		want                        []string
	}{
		{name: "all is well", user: "dev", space: "acme/dev", manifest: `
- name: web
  stack: cflinuxfs4
  buildpacks: [go_buildpack, "https://github.com/cloudfoundry/go-buildpack"]
  services: [database]
  routes: [{route: web.apps.sandbox.test/cart}]
`},
		{name: "names that do not exist", user: "dev", space: "acme/dev", manifest: `
- name: web
  stack: cflinuxfs5
  buildpacks: [go_buildpak]
  services: [databse]
  routes: [{route: web.app.sandbox.test}]
- name: image
  docker: {image: acme/image}
`, want: []string{
			"manifest.yml:4:10: app acme/dev/web: there is no stack cflinuxfs5 (did you mean cflinuxfs4?)",
			"manifest.yml:5:15: app acme/dev/web: there is no buildpack go_buildpak (did you mean go_buildpack?)",
			"manifest.yml:6:14: service_binding acme/dev/web/databse: there is no service instance databse in acme/dev (did you mean database?)",
			"manifest.yml:7:12: route acme/dev/web.app.sandbox.test: there is no domain for it that the organization acme can use (did you mean apps.sandbox.test?)",
			"manifest.yml:9:11: app acme/dev/image: this foundation does not allow docker images (operators allow it with the feature flag diego_docker (cf enable-feature-flag diego_docker))",
		}},
		{name: "routes that cannot be", user: "dev", space: "acme/dev", manifest: `
- name: web
  routes:
  - route: TAKEN.apps.sandbox.test
  - route: taken.apps.sandbox.test/free
  - route: apps.sandbox.test
`, want: []string{
			"manifest.yml:5:5: route acme/dev/taken.apps.sandbox.test: the route exists in the space acme/prod (choose another host, or remove the route there)",
			"manifest.yml:6:5: route acme/dev/taken.apps.sandbox.test/free: on the shared domain apps.sandbox.test the host taken belongs to the space acme/prod (choose another host, or remove the route there)",
			"manifest.yml:7:5: route acme/dev/apps.sandbox.test: apps.sandbox.test is a shared domain, and a route on it needs a host (write HOST.apps.sandbox.test)",
		}},
		{name: "more than the quota allows", user: "dev", space: "acme/tiny", manifest: `
- name: web
  memory: 200M
  instances: 3
  no-route: true
- name: large
  memory: 257M
  instances: 1
  no-route: true
`, want: []string{
			"manifest.yml:4:11: app acme/tiny/web: it needs 600M more; the space quota small has 512M left (512M in all, 0M in use) (ask for less, stop something else, or have the quota raised)",
			"manifest.yml:8:11: app acme/tiny/large: an instance of the process web needs 257M; the space quota small allows 256M (ask for less, or have the quota raised)",
		}},
		{name: "a role that may only look", user: "aud", space: "acme/dev", manifest: `
- name: web
`, want: []string{
			"manifest.yml:3:3: app acme/dev/web: aud has only the roles organization_user, space_auditor in acme/dev, which do not allow to apply (grant space_developer)",
		}},
		{name: "no such space", user: "dev", space: "acme/dve", manifest: `
- name: web
`, want: []string{
			"manifest.yml:3:3: the space \"dve\" does not exist in the organization \"acme\" or dev cannot see it (did you mean \"dev\"? If not, create it with `cf create-space dve -o acme`, or check the spelling and the user's roles)",
		}},
		{name: "no such organization", user: "dev", space: "amce/dev", manifest: `
- name: web
`, want: []string{
			"manifest.yml:3:3: the org \"amce\" does not exist or dev cannot see it (did you mean \"acme\"? If not, create it with `cf create-org amce`, or check the spelling and the user's roles)",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			org, space, _ := strings.Cut(tt.space, "/")
			files := fstest.MapFS{"manifest.yml": {Data: []byte("applications:\n" + tt.manifest)}}
			set, problems := manifest.Load(files, "manifest.yml", manifest.Options{Org: org, Space: space})
			if problems.Err() != nil {
				t.Fatal(problems)
			}
			d := f.driver(tt.user)
			found, err := d.Validate(t.Context(), set)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range found {
				got = append(got, p.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if n := d.Requests(); n > 18 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// What others use of a quota is gone; what the declared apps use themselves they give back.
func TestValidateKnowsTheHeadRoom(t *testing.T) {
	inTown(t, func(t *testing.T, f *town) {
		quota := f.do(f.root, "POST", "/v3/space_quotas", body{
			"name": "small", "apps": body{"total_memory_in_mb": 512}, "relationships": body{"organization": related(f.orgs["acme"])},
		})
		f.do(f.root, "POST", "/v3/space_quotas/"+quota+"/relationships/spaces", body{"data": []body{{"guid": f.spaces["acme/dev"]}}})
		dev := f.client("dev")
		for _, name := range []string{"mine", "other"} {
			f.apply(dev, "acme/dev", "applications: [{name: "+name+", memory: 200M}]")
			app := f.app("acme/dev", name)
			f.stage(dev, app, nil)
			f.do(dev, "POST", "/v3/apps/"+app+"/actions/start", nil)
		}
		for memory, want := range map[string]string{
			"300M": "",
			"400M": "app acme/dev/mine: it needs 200M more; the space quota small has 112M left (512M in all, 400M in use)",
		} {
			files := fstest.MapFS{"manifest.yml": {Data: []byte("applications:\n- name: mine\n  memory: " + memory)}}
			set, _ := manifest.Load(files, "manifest.yml", manifest.Options{Org: "acme", Space: "dev"})
			problems, err := f.driver("dev").Validate(t.Context(), set)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, p := range problems {
				got += p.Message
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", memory, got, want)
			}
		}
	})
}
