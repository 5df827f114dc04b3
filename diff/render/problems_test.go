package render_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
)

// validations are manifests as people write them, checked for real.
var validations = map[string]string{
	"mistakes": `org: acme
space: dev
applications:
- name: shop
  memry: 1G
  instances: many
  routes:
  - route: shop.example.com/100%, or not
- name: worker
  stack: cflinuxfs4
  docker: {image: acme/worker}
  host: worker
`,
	"hostile": "org: acme\nspace: dev\napplications:\n- name: \"a\\e[2J\\n::set-env name=X::y\"\n  \"<k>\\r\\n\\u202e&\": 1\n",
	"valid":   "org: acme\nspace: dev\napplications:\n- name: shop\n",
}

func TestValidationGolden(t *testing.T) {
	for _, test := range []struct {
		file, manifest, format string
		opts                   render.Options
	}{
		{"mistakes.txt", "mistakes", "text", render.Options{}},
		{"mistakes-color.txt", "mistakes", "text", render.Options{Color: true}},
		{"mistakes.json", "mistakes", "json", render.Options{}},
		{"mistakes.sarif", "mistakes", "sarif", render.Options{}},
		{"mistakes.junit.xml", "mistakes", "junit", render.Options{}},
		{"mistakes.github.txt", "mistakes", "github", render.Options{}},
		{"hostile-manifest.txt", "hostile", "text", render.Options{}},
		{"hostile-manifest.sarif", "hostile", "sarif", render.Options{}},
		{"hostile-manifest.junit.xml", "hostile", "junit", render.Options{}},
		{"hostile-manifest.github.txt", "hostile", "github", render.Options{}},
		{"valid.txt", "valid", "text", render.Options{}},
		{"valid.json", "valid", "json", render.Options{}},
		{"valid.sarif", "valid", "sarif", render.Options{}},
		{"valid.junit.xml", "valid", "junit", render.Options{}},
		{"valid.github.txt", "valid", "github", render.Options{}},
	} {
		t.Run(test.file, func(t *testing.T) {
			files := fstest.MapFS{"apps/manifest.yml": {Data: []byte(validations[test.manifest])}}
			_, problems := manifest.Load(files, "apps/manifest.yml", manifest.Options{})
			v := render.Validation{Files: []string{"apps/manifest.yml"}, Problems: problems}
			var b bytes.Buffer
			if err := v.Write(&b, test.format, test.opts); err != nil {
				t.Fatal(err)
			}
			got := b.String()
			switch test.format {
			case "json", "sarif":
				if !json.Valid(b.Bytes()) {
					t.Error("this is no JSON")
				}
			case "junit":
				if err := xml.Unmarshal(b.Bytes(), new(struct{})); err != nil {
					t.Error(err)
				}
			case "github": // one command per problem, whatever a manifest contains
				if n := strings.Count(got, "\n"); n != len(problems) {
					t.Errorf("%d lines for %d problems", n, len(problems))
				}
			}
			file := filepath.Join("testdata", test.file)
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (go test ./diff/render -update writes it)", err)
			}
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
				t.Errorf("%s differs; if that is what people should see: go test ./diff/render -update\n%s", file, d)
			}
		})
	}
}

func TestValidationKnowsItsFormats(t *testing.T) {
	for _, format := range render.ProblemFormats() {
		if err := (render.Validation{}).Write(new(bytes.Buffer), format, render.Options{}); err != nil {
			t.Error(err)
		}
	}
	if err := (render.Validation{}).Write(new(bytes.Buffer), "markdown", render.Options{}); err == nil || err.Error() != `unknown format "markdown": use one of text, json, sarif, junit, github` {
		t.Error(err)
	}
}
