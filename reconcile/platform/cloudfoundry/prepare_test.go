package cloudfoundry_test

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/bits"
)

func TestPrepare(t *testing.T) {
	f := newTown(t)
	files := fstest.MapFS{"shop/main.go": {Data: []byte("package main"), Mode: 0o644}}
	code := &manifest.Object{Ref: ref("app acme/dev/shop"), Spec: map[string]any{"state": "STARTED"}, Inputs: map[string]any{"path": "shop"}}
	docker := &manifest.Object{Ref: ref("app acme/dev/dock"), Spec: map[string]any{"package": map[string]any{"type": "docker", "image": "x"}}, Inputs: map[string]any{}}
	bare := &manifest.Object{Ref: ref("app acme/dev/bare"), Spec: map[string]any{}, Inputs: map[string]any{}}
	route := &manifest.Object{Ref: ref("route acme/dev/a.test"), Spec: map[string]any{}}

	d := f.driver("nobody") // no foundation is needed
	got, err := d.Prepare(t.Context(), manifest.NewSet(code, docker, bare, route), files)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := bits.Digest(t.Context(), files, "shop")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"state": "STARTED", "package": map[string]any{"type": "bits", "digest": digest}}
	if diff := cmp.Diff(want, got.Get(code.Ref).Spec); diff != "" {
		t.Error(diff)
	}
	if len(code.Spec) != 1 {
		t.Errorf("what was passed in has changed: %v", code.Spec)
	}
	for _, o := range []*manifest.Object{docker, bare, route} {
		if got.Get(o.Ref) != o {
			t.Errorf("%s was touched", o.Ref)
		}
	}
	if d.Requests() != 0 {
		t.Errorf("%d requests", d.Requests())
	}
}

func TestPrepareSaysWhoseCodeIsMissing(t *testing.T) {
	d := newTown(t).driver("nobody")
	app := func(path string) manifest.Set {
		return manifest.NewSet(&manifest.Object{
			Ref: ref("app acme/dev/shop"), Spec: map[string]any{}, Inputs: map[string]any{"path": path}, Origin: manifest.Origin{File: "manifest.yml", Line: 2, Column: 3},
			Fields: map[string]manifest.Origin{"/package": {File: "manifest.yml", Line: 3, Column: 9}},
		})
	}
	_, err := d.Prepare(t.Context(), app("shpo"), fstest.MapFS{"shop/a": {}})
	want := "manifest.yml:3:9: app acme/dev/shop: reading the app's code: path shpo: there is no such file or folder (the path of an app is relative to its manifest)"
	var e *platform.Error
	if !errors.As(err, &e) || e.Class != platform.Invalid || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if _, err := d.Prepare(t.Context(), app("shop"), nil); !errors.As(err, &e) || e.Message != "its path is shop, and no files were given" {
		t.Error(err)
	}
}
