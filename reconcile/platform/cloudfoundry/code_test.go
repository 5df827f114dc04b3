package cloudfoundry_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// elsewhere answers for servers that are not the foundation, in process, by host.
type elsewhere map[string]http.Handler

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	h := e[r.URL.Host]
	if h == nil {
		return nil, fmt.Errorf("dial tcp: lookup %s: no such host", r.URL.Host)
	}
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	h.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func zipped(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.Create(f)
		if err == nil {
			_, err = io.WriteString(w, "content of "+f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tgz holds files with their content, and nothing of what makes a real droplet.
func tgz(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// modes of the files in the newest package.
func (f *foundation) modes() map[string]string {
	f.t.Helper()
	modes := map[string]string{}
	for _, e := range f.newest().File {
		modes[e.Name] = e.Mode().String()
	}
	return modes
}

// packed lists what the newest package of the foundation holds.
func (f *foundation) packed() []string {
	f.t.Helper()
	return slices.Sorted(maps.Keys(f.modes()))
}

func (f *foundation) newest() *zip.Reader {
	f.t.Helper()
	all := list[ccv3.Package](f, "/v3/packages")
	var data []byte
	f.do(http.MethodGet, "/v3/packages/"+all[len(all)-1].GUID+"/download", nil, &data)
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		f.t.Fatal(err)
	}
	return z
}

func (p pass) count(request string) int {
	pattern, n := regexp.MustCompile(`^`+request+`$`), 0
	for _, r := range p.applying {
		if pattern.MatchString(r) {
			n++
		}
	}
	return n
}

const (
	uploads = `POST /v3/(packages|droplets)/[^/]+/upload`
	staging = `POST /v3/builds`
	rollout = `POST /v3/deployments`
)

// files is a server that needs a user and counts downloads.
type files struct {
	content   map[string][]byte
	downloads int
}

func (s *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != "reader" || password != "s3cret" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	data, ok := s.content[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.downloads++
	_, _ = w.Write(data)
}

// An archive behind a URL is its checksum: it is downloaded when it changes, and never looked at again.
func TestPackageFromURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		one, two := zipped(t, "main.jar"), zipped(t, "main.jar", "more.jar")
		server := &files{content: map[string][]byte{"/shop-1.jar": one, "/mirror/shop-1.jar": one, "/shop-2.jar": two}}
		f.elsewhere = elsewhere{"files.test": server}
		text := func(path string, data []byte) string {
			return fmt.Sprintf(`version: 2
apps:
- name: shop
  package:
    path: https://files.test%s?signature=hush
    checksum: {type: sha256, value: %s}
    access_credentials: [{type: basic, username: reader, password: s3cret}]
`, path, sum(data))
		}
		first := f.mustRun(text("/shop-1.jar", one))
		if n := len(besidePolling(first.applying)); n > 12 {
			t.Errorf("%d requests", n)
		}
		f.converged(text("/shop-1.jar", one))
		f.converged(text("/mirror/shop-1.jar", one)) // another place, the same file
		if server.downloads != 1 {
			t.Errorf("%d downloads, want one", server.downloads)
		}
		p := f.mustRun(text("/shop-2.jar", two))
		f.converged(text("/shop-2.jar", two))
		if got := f.packed(); !slices.Equal(got, []string{"main.jar", "more.jar"}) || server.downloads != 2 {
			t.Errorf("%v, %d downloads", got, server.downloads)
		}
		if all := strings.Join(p.events, "\n"); strings.Contains(all, "hush") || strings.Contains(all, "s3cret") || !strings.Contains(all, "uploading https://files.test/shop-2.jar") {
			t.Errorf("what people see:\n%s", all)
		}
	})
}

// A download with other content than declared ends the step, and nothing of it is taken.
func TestDownloadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		jar := zipped(t, "main.jar")
		server := &files{content: map[string][]byte{"/a.jar": jar, "/page": []byte("<html>log in</html>")}}
		f.elsewhere = elsewhere{"files.test": server}
		text := func(path, checksum string) string {
			return "version: 2\napps:\n- name: shop\n  package:\n    path: https://files.test" + path + "\n    checksum: {type: sha256, value: '" + checksum +
				"'}\n    access_credentials: [{type: basic, username: reader, password: s3cret}]\n"
		}
		for _, tt := range []struct{ text, want string }{
			{text("/a.jar", strings.Repeat("0", 64)), "https://files.test/a.jar: the file has the checksum sha256:" + sum(jar) + ", declared is sha256:000"},
			{text("/b.jar", sum(jar)), "https://files.test/b.jar: the server answers 404 Not Found (check the URL)"},
			{text("/page", sum(jar)), "https://files.test/page: what it gives is no zip, jar or war archive (check the URL; it may lead to a login page)"},
			{strings.Replace(text("/a.jar", sum(jar)), "s3cret", "wrong", 1), "https://files.test/a.jar: the server answers 401 Unauthorized (check access_credentials"},
		} {
			p := f.run(t.Context(), tt.text)
			if err := p.outcome.Err(); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		}
		for _, p := range list[ccv3.Package](f, "/v3/packages") {
			if p.State != "AWAITING_UPLOAD" {
				t.Errorf("a package is %s", p.State)
			}
		}
		f.mustRun(text("/a.jar", sum(jar)))
		f.converged(text("/a.jar", sum(jar)))
	})
}

// A droplet that was built elsewhere is uploaded once and rolled out without staging.
func TestDroplet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		one, two := tgz(t, map[string]string{"app/run": "one"}), tgz(t, map[string]string{"app/run": "two"})
		server := &files{content: map[string][]byte{"/one.tgz": one}}
		f.elsewhere = elsewhere{"files.test": server}
		f.files["build/shop.tgz"] = &fstest.MapFile{Data: one}
		text := "version: 2\napps:\n- {name: shop, droplet: {path: build/shop.tgz}, processes: [{type: web, scale: {memory: 64M}}]}\nroutes:\n- {url: shop.apps.sandbox.test, destinations: [{app: {name: shop}}]}\n"
		p := f.mustRun(text)
		t.Logf("%s", strings.Join(besidePolling(p.applying), "\n"))
		if n := len(besidePolling(p.applying)); n > 12 || p.count(staging) > 0 {
			t.Errorf("%d requests beside polling:\n%s", n, strings.Join(p.applying, "\n"))
		}
		f.converged(text)

		f.files["build/shop.tgz"] = &fstest.MapFile{Data: two}
		p = f.mustRun(text)
		f.converged(text)
		if p.count(uploads) != 1 || p.count(rollout) != 1 || p.count(staging) != 0 {
			t.Errorf("requests:\n%s", strings.Join(p.applying, "\n"))
		}

		// The first one again, which the platform has still: no matter that it is declared by URL now.
		text = strings.Replace(text, "{path: build/shop.tgz}", "{path: 'https://files.test/one.tgz', checksum: {type: sha256, value: "+sum(one)+"}}", 1)
		p = f.mustRun(text)
		f.converged(text)
		if p.count(uploads) != 0 || p.count(rollout) != 1 || server.downloads != 0 {
			t.Errorf("requests:\n%s", strings.Join(p.applying, "\n"))
		}
		// A variable takes the droplet that is there.
		text = strings.Replace(text, "name: shop,", "name: shop, environment_variables: {A: b},", 1)
		p = f.mustRun(text)
		f.converged(text)
		if p.count(uploads) != 0 || p.count(rollout) != 1 {
			t.Errorf("requests:\n%s", strings.Join(p.applying, "\n"))
		}
		// From a droplet to code, and back.
		code := strings.Replace(text, text[strings.Index(text, "droplet:"):strings.Index(text, ", processes")], "package: {path: web}", 1)
		for _, next := range []string{code, text} {
			f.mustRun(next)
			f.converged(next)
		}
		if n := len(list[ccv3.Droplet](f, "/v3/droplets")); n != 3 {
			t.Errorf("%d droplets, want 3", n)
		}
	})
}

// newRegistry is a registry in process.
func (f *foundation) newRegistry(host string) {
	if f.elsewhere == nil {
		f.elsewhere = elsewhere{}
	}
	f.elsewhere[host] = registry.New(registry.Logger(log.New(io.Discard, "", 0)))
}

// push puts an artifact with layers into the registry and returns its digest.
func (f *foundation) push(ref string, layers ...[]byte) string {
	f.t.Helper()
	image := empty.Image
	for _, l := range layers {
		var err error
		if image, err = mutate.AppendLayers(image, static.NewLayer(l, types.MediaType("application/vnd.acme.app.v1"))); err != nil {
			f.t.Fatal(err)
		}
	}
	at, err := name.ParseReference(ref)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := remote.Write(at, image, remote.WithTransport(f.elsewhere)); err != nil {
		f.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		f.t.Fatal(err)
	}
	return digest.String()
}

// An artifact in a registry is its digest; a tag is asked for at every run.
func TestArtifact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.newRegistry("registry.test")
		f.push("registry.test/team/shop:1", tgz(t, map[string]string{"./Procfile": "web: run", "bin/run": "one"}))
		text := "version: 2\napps:\n- {name: shop, package: {path: 'oci://registry.test/team/shop:1'}}\n"
		f.mustRun(text)
		f.converged(text)
		if got := f.packed(); !slices.Equal(got, []string{"Procfile", "bin/run"}) {
			t.Error(got)
		}
		digest := f.push("registry.test/team/shop:1", zipped(t, "main.jar"))
		p := f.mustRun(text) // the tag moved
		f.converged(text)
		if got := f.packed(); !slices.Equal(got, []string{"main.jar"}) || p.count(uploads) != 1 {
			t.Error(got)
		}
		f.converged(strings.Replace(text, ":1", "@"+digest, 1)) // pinned: the same

		f.push("registry.test/team/two:1", zipped(t, "a"), zipped(t, "b"))
		p = f.run(t.Context(), strings.Replace(text, "shop:1", "two:1", 1))
		if err := p.outcome.Err(); err == nil || !strings.Contains(err.Error(), "oci://registry.test/team/two:1: it has 2 layers (an artifact with an app's files has one") {
			t.Error(err)
		}
	})
}

// A registry that does not have a tag keeps its app back, and no other.
func TestUnidentifiedCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.newRegistry("registry.test")
		p, _ := f.prepare(t.Context(), "version: 2\napps:\n- {name: gone, package: {path: 'oci://registry.test/team/gone:1'}}\n- {name: web, package: {path: web}}\n")
		if p.err != nil || len(p.plan.Problems) != 1 || len(p.plan.Steps) != 2 {
			t.Fatalf("%v %+v", p.err, p.plan.Problems)
		}
		got := p.plan.Problems[0]
		if want := "asking the registry for the digest: oci://registry.test/team/gone:1: the registry does not have it"; got.Step != "app acme/dev/gone" || got.Message != want {
			t.Errorf("%s: %s\nwant %s", got.Step, got.Message, want)
		}
	})
}

// Where it is asked for, an image is the digest of its tag, and a moved tag is a difference.
func TestResolvedImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.do(http.MethodPatch, "/v3/feature_flags/diego_docker", map[string]any{"enabled": true}, nil)
		f.newRegistry("registry.test")
		first := f.push("registry.test/team/boxed:1", []byte("one"))
		text := "applications:\n- {name: boxed, docker: {image: 'registry.test/team/boxed:1'}, no-route: true}\n"
		f.mustRun(text)
		f.push("registry.test/team/boxed:1", []byte("two"))
		f.converged(text) // nobody asks

		f.resolve = true
		f.mustRun(text)
		f.converged(text)
		second := f.push("registry.test/team/boxed:1", []byte("three"))
		f.mustRun(text)
		f.converged(text)
		f.converged(strings.Replace(text, ":1'", "@"+second+"'", 1))
		var images []string
		for _, p := range list[ccv3.Package](f, "/v3/packages") {
			images = append(images, p.Data.Image)
		}
		if len(images) != 3 || images[0] != "registry.test/team/boxed:1" || images[2] != "registry.test/team/boxed@"+second || slices.Contains(images, "registry.test/team/boxed@"+first) {
			t.Error(images)
		}
	})
}

// rewrite changes what the sandbox holds behind everybody's back.
func (f *foundation) rewrite(from, to string) {
	f.t.Helper()
	state, err := f.box.Dump()
	if err != nil {
		f.t.Fatal(err)
	}
	changed := bytes.ReplaceAll(state, []byte(from), []byte(to))
	if bytes.Equal(changed, state) {
		f.t.Fatalf("there is no %s", from)
	}
	if err := f.box.Restore(changed); err != nil {
		f.t.Fatal(err)
	}
}

// A package that the platform cleared away, or deleted, or never finished, is of no interest as long as its droplet runs;
// only staging needs it, and then it is uploaded again.
func TestPackageIsGone(t *testing.T) {
	for name, lose := range map[string]func(*foundation){
		"expired": func(f *foundation) { f.rewrite(`"state":"READY"`, `"state":"EXPIRED"`) },
		"stuck": func(f *foundation) {
			f.rewrite(`"state":"READY"`, `"state":"PROCESSING_UPLOAD"`)
			time.Sleep(time.Hour)
		},
		"deleted": func(f *foundation) {
			f.do(http.MethodDelete, "/v3/packages/"+list[ccv3.Package](f, "/v3/packages")[0].GUID, nil, nil)
			time.Sleep(time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				f.mustRun(web)
				lose(f)
				f.converged(web)
				changed := strings.Replace(web, "hello", "good morning", 1)
				p := f.mustRun(changed)
				f.converged(changed)
				if p.count(uploads) != 0 || p.count(staging) != 0 || p.count(rollout) != 1 {
					t.Errorf("a changed variable took\n%s", strings.Join(p.applying, "\n"))
				}
				changed += "  buildpacks: [nodejs_buildpack]\n"
				p = f.mustRun(changed)
				f.converged(changed)
				if p.count(uploads) != 1 || p.count(staging) != 1 || p.count(rollout) != 1 {
					t.Errorf("another buildpack took\n%s", strings.Join(p.applying, "\n"))
				}
			})
		})
	}
}

// Files that the platform has from an earlier upload, of whatever app, are not sent again. Asking costs a request, so it is
// asked only where much can be saved.
func TestResourceMatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		big := func(seed uint64) []byte {
			data := make([]byte, 700<<10)
			_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
			return data
		}
		one, two, run := big(1), big(2), append([]byte("#!/bin/sh\n"), big(3)...)
		f.files = fstest.MapFS{
			"a/lib/one.jar": {Data: one, Mode: 0o644}, "a/lib/two.jar": {Data: two, Mode: 0o644}, "a/bin/run": {Data: run, Mode: 0o755},
			"a/Procfile": {Data: []byte("web: bin/run\n"), Mode: 0o644}, "a/link": {Data: []byte("lib/one.jar"), Mode: fs.ModeSymlink | 0o777},
		}
		app := func(name string) string { return "applications:\n- {name: " + name + ", path: a, no-route: true}\n" }
		sent := func(text string) (int64, pass) {
			before := f.wire.bytes.Load()
			p := f.mustRun(text)
			f.converged(text)
			return f.wire.bytes.Load() - before, p
		}
		n, p := sent(app("first"))
		if made := len(besidePolling(p.applying)); n < 2_000_000 || made > 12 || p.count("POST /v3/resource_matches") != 1 {
			t.Errorf("the first upload: %d bytes, %d requests", n, made)
		}
		whole := f.packed()

		f.files["a/Procfile"] = &fstest.MapFile{Data: []byte("web: bin/run now\n"), Mode: 0o644}
		n, p = sent(app("first"))
		if said := strings.Join(p.events, "\n"); n > 50_000 || !strings.Contains(said, "uploading 2 of 5 files, 28 B; the platform has the others") {
			t.Errorf("a small change: %d bytes sent\n%s", n, said)
		}
		if got := f.packed(); !slices.Equal(got, whole) {
			t.Errorf("the package holds %v, want %v", got, whole)
		}
		if got := f.modes()["bin/run"]; got != "-rwxr-xr-x" {
			t.Errorf("bin/run has mode %s", got)
		}

		// Another app of nothing but known files is uploaded without any.
		f.files = fstest.MapFS{"a/x/1.jar": {Data: one, Mode: 0o644}, "a/2.jar": {Data: two, Mode: 0o644}}
		if n, _ = sent(app("second")); n > 50_000 {
			t.Errorf("an app of known files: %d bytes sent", n)
		}
		if got := f.packed(); !slices.Equal(got, []string{"2.jar", "x/1.jar"}) {
			t.Errorf("the package holds %v", got)
		}

		// Not to get an answer is no failure.
		f.files["a/more"] = &fstest.MapFile{Data: run, Mode: 0o644}
		f.box.SetFaults(sandbox.Fault{Method: "POST", Pattern: "/v3/resource_matches", Probability: 1, Status: 500})
		n, p = sent(app("second"))
		if said := strings.Join(p.events, "\n"); n < 2_000_000 || !strings.Contains(said, "so all are uploaded") {
			t.Errorf("%d bytes sent\n%s", n, said)
		}

		f.files = fstest.MapFS{"a/small": {Data: []byte("x"), Mode: 0o644}}
		if _, p = sent(app("third")); p.count("POST /v3/resource_matches") != 0 {
			t.Error("it was asked for a few bytes")
		}
	})
}

// Whatever befalls any one of its requests, an upload is completed by the next run and not made twice.
func TestDropletUploadIsReentrant(t *testing.T) {
	text := "version: 2\napps:\n- {name: shop, droplet: {path: shop.tgz}}\n"
	for name, what := range troubles {
		for n, reached := 1, true; reached; n++ {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				f.files["shop.tgz"] = &fstest.MapFile{Data: tgz(t, map[string]string{"app/run": "one"})}
				if _, reached = f.applyInTrouble(text, n, what); !reached && n < 6 {
					t.Errorf("only %d positions", n)
				}
				f.mustRun(text)
				f.converged(text)
				if n := len(list[ccv3.Droplet](f, "/v3/droplets")); n != 1 {
					t.Errorf("%d droplets", n)
				}
			})
			if t.Failed() {
				t.Fatalf("%s at request %d", name, n)
			}
		}
	}
}
