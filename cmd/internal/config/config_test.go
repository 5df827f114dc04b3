package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExampleIsValid keeps the example that people copy from in step with the schema.
func TestExampleIsValid(t *testing.T) {
	c, err := Load("../../../examples/agent/fettle.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Targets) != 2 || c.Targets["shop-prod"].TimeZone != "Europe/Berlin" {
		t.Errorf("the example was not read as it stands: %+v", c.Targets)
	}
}

// TestMistakes: every mistake is refused with its position and what to do.
func TestMistakes(t *testing.T) {
	const good = `foundations:
  dev: {api: https://api.example.com, username: u, password: {env: P}}
sources:
  shop: {git: https://git.example.com/shop.git}
targets:
  shop-dev: {source: shop, foundation: dev, org: acme, space: dev}
`
	for _, test := range []struct {
		name, from, to string
		want           []string
	}{
		{"unknown field", "org: acme", "organisation: acme", []string{"fettle.yml:6:", "organisation", "org"}},
		{"unknown source", "source: shop,", "source: shoop,", []string{"fettle.yml:6:22: ", `there is no source "shoop"`, "sources are: shop"}},
		{"unknown foundation", "foundation: dev", "foundation: prod", []string{`there is no foundation "prod"`, "foundations are: dev"}},
		{"password in clear", "password: {env: P}", "password: hunter2", []string{"fettle.yml:2:"}},
		{"user without password", ", password: {env: P}", "", []string{"fettle.yml:2:", "password"}},
		{"nobody to log in as", ", username: u, password: {env: P}", "", []string{"fettle.yml:2:8: ", "username and password", "client_id and client_secret"}},
		{"bad schedule", "space: dev}", `space: dev, schedule: "61 * * * *"}`, []string{"fettle.yml:6:", "schedule", "five fields"}},
		{"time zone in the schedule", "space: dev}", `space: dev, schedule: "TZ=Europe/Berlin 0 7 * * *"}`, []string{"time_zone"}},
		{"a day that never comes", "space: dev}", `space: dev, schedule: "0 0 31 2 *"}`, []string{"never comes"}},
		{"unknown time zone", "space: dev}", `space: dev, time_zone: Mars/Olympus}`, []string{"Europe/Berlin"}},
		{"bad mode", "space: dev}", `space: dev, mode: destroy}`, []string{"fettle.yml:6:", "apply", "report"}},
		{"ignoring an unknown kind", "space: dev}", `space: dev, ignore: [{kind: ap, path: /state}]}`, []string{"fettle.yml:6:", `there is no kind "ap"`, "service_binding"}},
		{"ignoring a whole app", "space: dev}", `space: dev, ignore: [{path: /state}, {kind: app}]}`, []string{"fettle.yml:6:93", "is better not declared"}},
		{"ignoring no pointer", "space: dev}", `space: dev, ignore: [{path: instances}]}`, []string{"fettle.yml:6:", "path"}},
		{"ignoring until never", "space: dev}", `space: dev, ignore: [{path: /state, until: 2026-13-31}]}`, []string{"fettle.yml", `"2026-13-31" is no date`}},
		{"steps that fall", "space: dev}", `space: dev, rollout: {canary_steps: "50, 10"}}`, []string{"fettle.yml:6:92: ", "percentages from 1 to 100 that rise", `"50, 10"`}},
		{"space without org", "org: acme, ", "", []string{"add org"}},
		{"duplicate key", "targets:", "sources: {}\ntargets:", []string{"fettle.yml:5:", "sources"}},
		{"branch of a folder", "git: https://git.example.com/shop.git", "dir: shop, branch: main", []string{"which has no branch"}},
		{"git and dir", "git: https://git.example.com/shop.git", "git: https://git.example.com/shop.git, dir: x", []string{"fettle.yml:4:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "fettle.yml")
			text := strings.Replace(good, test.from, test.to, 1)
			if text == good {
				t.Fatal("the test changes nothing")
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(file)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message shows a password: %v", err)
			}
			t.Log(err)
		})
	}
}

// TestHistoryInTheSource: a configuration beside the manifests, with the history beside it, is what people begin with. What the agent
// writes there is no commit, so it must not start a run, which would write again.
func TestHistoryInTheSource(t *testing.T) {
	folder := t.TempDir()
	c := &Config{dir: folder}
	src, err := c.source("here", Source{Dir: "."})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("manifest.yml", "applications: []\n")
	before, err := src.Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fettle.db", "fettle.db-wal", "fettle.db-shm", "fettle.db.key"} {
		write(name, "written by the agent")
	}
	after, err := src.Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if before.Revision != after.Revision {
		t.Error("the agent's own files are a new revision")
	}
}

// A rule is read with its date, quoted or not, and knows where it stands.
func TestIgnoreRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fettle.yml")
	if err := os.WriteFile(file, []byte(`foundations: {dev: {api: https://api.example.com, username: u, password: {env: P}}}
sources: {shop: {git: https://git.example.com/shop.git}}
targets:
  shop:
    source: shop
    foundation: dev
    ignore:
    - {kind: app, name: shop-*, path: /processes/*/instances, until: 2026-12-31, owner: jo, reason: autoscaler}
    - {kind: route, until: "2026-12-31T18:00:00+01:00"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	rules := c.Targets["shop"].Ignore
	if len(rules) != 2 || rules[0].String() != "app shop-* /processes/*/instances" || rules[0].Until.String() != "2026-12-31" || rules[0].Owner != "jo" ||
		rules[1].Until.String() != "2026-12-31T18:00:00+01:00" || rules[1].Origin.Line != 9 {
		t.Errorf("%+v", rules)
	}
}

// TestASecretThatCannotBeRead is told with the line that names it, and patches reach the target.
func TestASecretThatCannotBeRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fettle.yml")
	for _, c := range []struct{ secret, want string }{
		{"{env: FETTLE_TEST_NOT_SET}", "fettle.yml:2:62: foundation dev: password: the environment variable FETTLE_TEST_NOT_SET is not set"},
		{"{file: nothere}", "fettle.yml:2:62: foundation dev: password: the file cannot be read: "},
	} {
		text := "foundations:\n  dev: {api: https://api.example.com, username: u, password: " + c.secret + "}\nsources:\n  shop: {dir: .}\ntargets:\n  shop-dev: {source: shop, foundation: dev, org: acme, space: dev, patches: [dev.patch.yml]}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := config.Build(t.Context(), "test", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, expected %s", err, c.want)
		}
		if target, err := config.target("shop-dev", config.Targets["shop-dev"]); err != nil || len(target.Patches) != 1 {
			t.Errorf("the patch is not handed on: %v, %v", target.Patches, err)
		}
	}
}
