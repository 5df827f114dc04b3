package cloudfoundry_test

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// town is a sandbox with the space acme/dev, in which "dev" and "eve" are developers and "aud" is an auditor.
// "root" administers it, "nobody" has no role.
type town struct {
	t       *testing.T
	sandbox *sandbox.Sandbox
	root    *ccv3.Client
	spaces  map[string]string // guids by "ORG/SPACE"
	orgs    map[string]string
}

// inTown runs a test in a town of its own, where time passes only as far as somebody waits for it.
func inTown(t *testing.T, test func(*testing.T, *town)) {
	synctest.Test(t, func(t *testing.T) { test(t, newTown(t)) })
}

func newTown(t *testing.T) *town {
	t.Helper()
	users := []sandbox.User{{Name: "root", Password: "pw", Scopes: []string{"cloud_controller.admin"}}}
	for _, name := range []string{"dev", "eve", "aud", "nobody"} {
		users = append(users, sandbox.User{Name: name, Password: "pw", Email: name + "@acme.test"})
	}
	f := &town{t: t, sandbox: sandbox.New(sandbox.Options{Users: users}), spaces: map[string]string{}, orgs: map[string]string{}}
	f.root = f.client("root")
	f.space("acme/dev")
	return f
}

// config logs in as the user, in process.
func (f *town) config(user string) ccv3.Config {
	return ccv3.Config{API: "https://api.sandbox.test", Username: user, Password: "pw", HTTP: f.sandbox.Client().Transport}
}

func (f *town) client(user string) *ccv3.Client {
	f.t.Helper()
	c, err := ccv3.New(f.config(user))
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *town) driver(user string) *cloudfoundry.Driver {
	f.t.Helper()
	d, err := cloudfoundry.New(cloudfoundry.Config{Client: f.config(user)})
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

type body = map[string]any

// do makes a request that must succeed, waits for its job, and returns the guid in the answer.
func (f *town) do(c *ccv3.Client, method, path string, in any) string {
	f.t.Helper()
	var data []byte
	resp, err := c.Do(f.t.Context(), method, path, in, &data)
	if err == nil && resp.Status == http.StatusAccepted && resp.Location() != "" {
		err = c.Job(f.t.Context(), resp.Location())
	}
	if err != nil {
		f.t.Fatal(err)
	}
	var answer ccv3.Resource
	if len(data) > 0 && data[0] == '{' {
		if err := json.Unmarshal(data, &answer); err != nil {
			f.t.Fatal(err)
		}
	}
	return answer.GUID
}

// space makes a space and its organization with the usual roles.
func (f *town) space(path string) {
	f.t.Helper()
	org, name, _ := strings.Cut(path, "/")
	newOrg := f.orgs[org] == ""
	if newOrg {
		f.orgs[org] = f.do(f.root, "POST", "/v3/organizations", body{"name": org})
	}
	f.spaces[path] = f.do(f.root, "POST", "/v3/spaces", body{"name": name, "relationships": body{"organization": related(f.orgs[org])}})
	for user, role := range map[string]string{"dev": "space_developer", "eve": "space_developer", "aud": "space_auditor"} {
		who := body{"data": body{"username": user}}
		if newOrg {
			f.do(f.root, "POST", "/v3/roles", body{"type": "organization_user", "relationships": body{"user": who, "organization": related(f.orgs[org])}})
		}
		f.do(f.root, "POST", "/v3/roles", body{"type": role, "relationships": body{"user": who, "space": related(f.spaces[path])}})
	}
}

func related(guid string) body { return body{"data": body{"guid": guid}} }

// apply applies a v1 manifest as cf push would.
func (f *town) apply(c *ccv3.Client, space, text string) {
	f.t.Helper()
	f.do(c, "POST", "/v3/spaces/"+f.spaces[space]+"/actions/apply_manifest", ccv3.Body{ContentType: "application/x-yaml", Data: []byte(text)})
}

// app is the guid of an app.
func (f *town) app(space, name string) string {
	f.t.Helper()
	return f.only("/v3/apps", url.Values{"space_guids": {f.spaces[space]}, "names": {name}})
}

// only is the guid of the one resource that a list holds.
func (f *town) only(path string, query url.Values) string {
	f.t.Helper()
	found, _, err := ccv3.List[ccv3.Resource](f.t.Context(), f.root, path, query)
	if err != nil || len(found) != 1 {
		f.t.Fatalf("%s?%s: %d, %v", path, query.Encode(), len(found), err)
	}
	return found[0].GUID
}

// stage uploads code, stages it and makes it current; the package bears the annotations. It returns the package's guid.
func (f *town) stage(c *ccv3.Client, app string, annotations body) string {
	f.t.Helper()
	pkg := f.do(c, "POST", "/v3/packages", body{"type": "bits", "relationships": body{"app": related(app)}, "metadata": body{"annotations": annotations}})
	_, err := c.Upload(f.t.Context(), "/v3/packages/"+pkg+"/upload", "bits", "app.zip", func(w io.Writer) error {
		z := zip.NewWriter(w)
		file, err := z.Create("main.go")
		if err == nil {
			_, err = io.WriteString(file, "package main")
		}
		return errors.Join(err, z.Close())
	}, nil, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	waitFor(f, c, "/v3/packages/"+pkg, func(p *ccv3.Package) bool { return p.State == "READY" })
	f.current(c, app, pkg)
	return pkg
}

// current stages a package and makes the droplet current.
func (f *town) current(c *ccv3.Client, app, pkg string) {
	f.t.Helper()
	build := f.do(c, "POST", "/v3/builds", body{"package": body{"guid": pkg}})
	var droplet string
	waitFor(f, c, "/v3/builds/"+build, func(b *ccv3.Build) bool {
		if b.Droplet != nil {
			droplet = b.Droplet.GUID
		}
		return b.State == "STAGED"
	})
	f.do(c, "PATCH", "/v3/apps/"+app+"/relationships/current_droplet", related(droplet))
}

// waitFor reads a resource until it is as wanted.
func waitFor[T any](f *town, c *ccv3.Client, path string, good func(*T) bool) {
	f.t.Helper()
	for range 500 {
		var x T
		if _, err := c.Do(f.t.Context(), "GET", path, nil, &x); err != nil {
			f.t.Fatal(err)
		}
		if good(&x) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Fatalf("%s never got as it should", path)
}
