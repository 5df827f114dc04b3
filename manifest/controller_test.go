package manifest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", file, diff)
	}
}

// exchange is what a real Cloud Controller (API 3.228.0) answered to a manifest that was applied to a space.
type exchange struct {
	Scenario  string   `json:"scenario"`
	Note      string   `json:"note"`
	Manifest  string   `json:"manifest"`
	Status    int      `json:"status"`
	Errors    []string `json:"errors"`     // answered at once: nothing was done
	JobErrors []string `json:"job_errors"` // found by the job, when half of it was done
}

func exchanges(t testing.TB) []exchange {
	t.Helper()
	data, err := os.ReadFile("testdata/controller.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// Where Fettle refuses what the controller accepts, and why that is better for people.
var stricter = map[string]string{
	"manifest_errors/072":     "an unknown key has no effect",
	"manifest_errors/073":     "an unknown key has no effect",
	"manifest_errors/074":     "an unknown key has no effect",
	"manifest_errors/075":     "keys of old cf versions have no effect",
	"manifest_errors/084":     "attributes beside applications have no effect",
	"manifest_attributes/055": "a user at the app has no effect",
	"manifest_errors/040":     "a map as an environment variable becomes Ruby text",
	"manifest_errors/057":     "an unknown lifecycle has no effect",
	"manifest_errors/081":     "of two values for one key, one is a mistake",
	"manifest_multi/001":      "of two declarations of one app, one is a mistake",
	"manifest_errors/082":     "the same name is refused when the app is created in another way",
	"manifest_quirks/005":     "the same name is refused when the app is created in another way",
}

// Where Fettle accepts what the controller refuses at once.
var kinder = map[string]string{
	"manifest_errors/076": "Fettle resolves anchors and aliases itself",
	"manifest_errors/077": "Fettle resolves merge keys itself",
	"manifest_quirks/010": "which buildpacks exist only the foundation knows",
}

// Fettle finds before any request what the controller would refuse, and accepts what it accepts. The golden
// file shows every mistake with the controller's words and with ours.
func TestFettleAcceptsAndRefusesAsTheControllerDoes(t *testing.T) {
	var report bytes.Buffer
	for _, e := range exchanges(t) {
		if strings.Contains(e.Manifest, "((mem))") {
			e.Errors = []string{"(a variable without a value)"}
		}
		_, problems := Load(fakeFiles(e.Manifest), "manifest.yml", Options{Org: "acme", Space: "dev"})
		refused := problems.Err() != nil
		switch {
		case e.Status >= 400 && !refused && kinder[e.Scenario] == "":
			t.Errorf("%s (%s) is accepted; the controller answers %d %q:\n%s", e.Scenario, e.Note, e.Status, e.Errors, e.Manifest)
		case e.Status < 400 && len(e.JobErrors) == 0 && refused && stricter[e.Scenario] == "":
			t.Errorf("%s (%s) is refused; the controller accepts it:\n%s\n%s", e.Scenario, e.Note, e.Manifest, problems.Text())
		case e.Status < 400 && !refused && stricter[e.Scenario] != "":
			t.Errorf("%s (%s) is accepted, though %s", e.Scenario, e.Note, stricter[e.Scenario])
		}
		for _, p := range problems {
			if p.Origin.Line == 0 && e.Manifest != "" {
				t.Errorf("%s (%s): no line is named: %s", e.Scenario, e.Note, p.Error())
			}
		}
		if len(problems) == 0 && e.Status < 400 && len(e.JobErrors) == 0 {
			continue
		}
		fmt.Fprintf(&report, "── %s  %s\n", e.Scenario, e.Note)
		for _, words := range append(e.Errors, e.JobErrors...) {
			fmt.Fprintf(&report, "controller: %s\n", words)
		}
		switch {
		case len(problems) > 0:
			fmt.Fprintf(&report, "%s\n\n", problems.Text())
		case e.Status < 400:
			fmt.Fprintf(&report, "(only the foundation knows)\n\n")
		default:
			fmt.Fprintf(&report, "(accepted: %s)\n\n", kinder[e.Scenario])
		}
	}
	golden(t, "controller.golden", report.String())
}
