package architecture

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fettle-gitops/fettle"

// room is one rule: packages at or below `of` may import, of our own packages, only those at or below `may` (and
// their own room). The longest matching `of` decides.
type room struct {
	of  string
	may []string
	why string
}

const (
	driver  = "reconcile/platform/cloudfoundry"
	sandbox = "reconcile/platform/cloudfoundry/sandbox"
)

var rooms = []room{
	{"schemas", nil, "schemas are data"},
	{"examples", nil, "examples are data"},
	{"source", nil, "a source knows nothing of manifests or platforms"},
	{"manifest", []string{"schemas"}, "the nouns stand on the schemas alone"},
	{"diff", []string{"manifest"}, "comparing is pure"},
	{"reconcile/platform", []string{"manifest", "diff"}, "the driver's contract speaks in manifests and changes"},
	{"reconcile/history", []string{"manifest", "diff", "reconcile/platform"}, "the record speaks in manifests, changes and attributions"},
	{driver, []string{"manifest", "diff", "reconcile/platform"}, "a driver knows its contract, never a sibling or the sandbox"},
	{sandbox, nil, "the sandbox has wire structs of its own: one misreading must not pass on both sides"},
	{"reconcile", []string{"manifest", "diff", "source", "reconcile/platform", "reconcile/history"}, "a run joins contracts, never a concrete driver or store"},
	{"reconcile/planfile", []string{"schemas", "manifest", "diff", "reconcile/platform"}, "a plan file is written and compared, never carried out"},
	{"reconcile/export", []string{"manifest", "reconcile/platform"}, "an export is text made of what a driver read"},
	{"reconcile/agent", []string{"source", "reconcile", "reconcile/history"}, "the agent decides when, package reconcile what"},
	{"cmd", nil, "the command line alone names concrete drivers"},
}

// contracts may be imported, the drivers below them may not (but by cmd and by tests).
var concrete = []string{
	driver, "source/git", "source/dir", "source/webhook", "source/secret", "reconcile/history/sqlite", "reconcile/history/postgres",
}

// TestArrows: every import between our packages is an arrow of the plan. Tests may join what they like.
func TestArrows(t *testing.T) {
	for file, imports := range parse(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		pkg := path.Dir(file)
		rule, ok := ruleFor(pkg)
		if !ok {
			t.Errorf("%s: no room of the plan holds the package %s: give it one in this test, and in ARCHITECTURE.md", file, pkg)
			continue
		}
		for _, imp := range imports {
			if !allowed(rule, pkg, imp) {
				t.Errorf("%s imports %s, but %s.\nPackages below %s may import: %s", file, imp, rule.why, rule.of, strings.Join(rule.may, ", "))
			}
		}
	}
}

func ruleFor(pkg string) (room, bool) {
	var best room
	for _, r := range rooms {
		if below(pkg, r.of) && len(r.of) > len(best.of) {
			best = r
		}
	}
	return best, best.of != ""
}

func allowed(r room, pkg, imp string) bool {
	if r.of == "cmd" {
		return true
	}
	// Within a room a contract never imports the drivers below it, and drivers never meet.
	if isConcrete(imp) {
		return sameConcrete(pkg, imp)
	}
	owner, _ := ruleFor(imp)
	return owner.of == r.of || slices.Contains(r.may, owner.of)
}

func below(pkg, folder string) bool {
	return folder == "" || pkg == folder || strings.HasPrefix(pkg, folder+"/")
}

func isConcrete(pkg string) bool {
	return slices.ContainsFunc(concrete, func(c string) bool { return below(pkg, c) })
}

// sameConcrete reports whether both belong to one driver; the sandbox inside the driver's folder is apart.
func sameConcrete(a, b string) bool {
	return below(a, sandbox) == below(b, sandbox) &&
		slices.ContainsFunc(concrete, func(c string) bool { return below(a, c) && below(b, c) })
}

// TestEveryPackageIsDocumented: a package without a doc comment that says what it is for is not finished.
func TestEveryPackageIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for file := range parse(t) {
		dir := path.Dir(file)
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		documented[dir] = documented[dir] || f.Doc != nil && len(strings.Fields(f.Doc.Text())) >= 8
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment: say in a sentence or two what it is for, and what it never does", dir)
		}
	}
}

// TestTopLevel: the top level of the repository is fixed.
func TestTopLevel(t *testing.T) {
	fixed := []string{
		"reconcile", "manifest", "diff", "source", "cmd", "schemas", "examples", "go.mod", "go.sum", "README.md",
		"LICENSE", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md",
	}
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(fixed, name) && name != "fettle" {
			t.Errorf("%s does not belong to the top level: find it a room beneath %s", name, strings.Join(fixed[:7], ", "))
		}
	}
}

// parse maps every Go file (relative to the root, with slashes) to its imports of our own packages.
func parse(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	top := root(t)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != top || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		file := filepath.ToSlash(rel)
		files[file] = []string{}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if own, ok := strings.CutPrefix(imp, module+"/"); ok {
				files[file] = append(files[file], own)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go file found below ", top)
	}
	return files
}

// root is the folder that holds go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working folder")
		}
	}
}
