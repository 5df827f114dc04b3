package render_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff/render"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// The golden files are the place to see what people get to see.
func TestGolden(t *testing.T) {
	for _, test := range []struct {
		file, scene, format string
		opts                render.Options
	}{
		{"everything.txt", "everything", "text", render.Options{}},
		{"everything-narrow.txt", "everything", "text", render.Options{Width: 64, Unmanaged: true}},
		{"everything-color.txt", "everything", "text", render.Options{Color: true}},
		{"everything.md", "everything", "markdown", render.Options{}},
		{"everything.json", "everything", "json", render.Options{}},
		{"everything.v3.json", "everything", "v3", render.Options{}},
		{"everything.junit.xml", "everything", "junit", render.Options{}},
		{"everything.sarif", "everything", "sarif", render.Options{}},
		{"nothing.txt", "nothing", "text", render.Options{}},
		{"nothing.md", "nothing", "markdown", render.Options{}},
		{"nothing.json", "nothing", "json", render.Options{}},
		{"nothing.junit.xml", "nothing", "junit", render.Options{}},
		{"unreadable.txt", "unreadable", "text", render.Options{}},
		{"unreadable.md", "unreadable", "markdown", render.Options{}},
		{"unreadable.junit.xml", "unreadable", "junit", render.Options{}},
		{"unreadable.sarif", "unreadable", "sarif", render.Options{}},
		{"refused.txt", "refused", "text", render.Options{Width: 80}},
		{"refused.md", "refused", "markdown", render.Options{}},
		{"refused.json", "refused", "json", render.Options{}},
		{"refused.junit.xml", "refused", "junit", render.Options{}},
		{"refused.sarif", "refused", "sarif", render.Options{}},
		{"tolerated.txt", "tolerated", "text", render.Options{}},
		{"tolerated-listed.txt", "tolerated", "text", render.Options{Ignored: true, Unmanaged: true}},
		{"tolerated-listed.md", "tolerated", "markdown", render.Options{Ignored: true, Unmanaged: true}},
		{"tolerated.json", "tolerated", "json", render.Options{}},
		{"tolerated-listed.v3.json", "tolerated", "v3", render.Options{Ignored: true, Unmanaged: true}},
		{"tolerated-listed.junit.xml", "tolerated", "junit", render.Options{Ignored: true, Unmanaged: true}},
		{"tolerated-listed.sarif", "tolerated", "sarif", render.Options{Ignored: true, Unmanaged: true}},
		{"hostile.txt", "hostile", "text", render.Options{}},
		{"hostile.md", "hostile", "markdown", render.Options{}},
		{"hostile.junit.xml", "hostile", "junit", render.Options{}},
		{"hostile.sarif", "hostile", "sarif", render.Options{}},
	} {
		t.Run(test.file, func(t *testing.T) {
			got := draw(t, test.format, scenes[test.scene].input(t), test.opts)
			file := filepath.Join("testdata", test.file)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
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

func draw(t testing.TB, format string, in render.Input, opts render.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := render.Write(&b, format, in, opts); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.String()
}
