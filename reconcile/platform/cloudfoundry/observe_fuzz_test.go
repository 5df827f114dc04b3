package cloudfoundry

import (
	"strings"
	"testing"
)

// FuzzGeneratedManifest: whatever a controller sends, there is an app or an error, and no value of the environment
// gets into the error.
func FuzzGeneratedManifest(f *testing.F) {
	f.Add("---\napplications:\n- name: web\n  env:\n    A: 'hunter2'\n    B: ~\n    NO: 010\n  processes:\n  - type: web\n    command: run\n")
	f.Add("applications:\n- env: {A: [hunter2]}\n")
	f.Add("applications: hunter2")
	f.Add("applications: []")
	f.Add("- hunter2\n\t:")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseGenerated([]byte(text)); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	})
}

func TestValuesOfAGeneratedManifest(t *testing.T) {
	app, err := parseGenerated([]byte("---\napplications:\n- name: web\n  env:\n    TEXT: '12'\n    DATE: '2020-01-02'\n    POWER: 1e3\n    EMPTY: ''\n    YES: 'yes'\n    LINES: |-\n      a\n      b\n  features:\n    ssh: true\n  sidecars:\n  - name: s\n    memory: 32M\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"TEXT": "12", "DATE": "2020-01-02", "POWER": "1e3", "EMPTY": "", "YES": "yes", "LINES": "a\nb"} {
		if got := app.Env[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
