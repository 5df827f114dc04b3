package diff_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func rule(t *testing.T, text string) diff.IgnoreRule {
	t.Helper()
	r, err := diff.ParseIgnoreRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Which differences a rule leaves alone. In each case the app differs in the instances of both processes, one
// variable and a label, the process clock is missing, and so are the route and the binding.
func TestWhatARuleCovers(t *testing.T) {
	const (
		webN, workerN = "app acme/dev/web /processes/web/instances", "app acme/dev/web /processes/worker/instances"
		clock         = "app acme/dev/web /processes/clock"
		level         = "app acme/dev/web /environment_variables/LOG_LEVEL"
		label         = "app acme/dev/web /metadata/labels/example.com~1team"
		wholeRoute    = "route acme/dev/web.example.com"
		wholeBinding  = "service_binding acme/dev/web/db"
	)
	var desired, live manifest.Set
	desired.Put(&manifest.Object{Ref: web, Spec: tree{
		"processes":             tree{"web": tree{"instances": int64(2)}, "worker": tree{"instances": int64(1)}, "clock": tree{"instances": int64(1)}},
		"environment_variables": tree{"LOG_LEVEL": "info"}, "metadata": tree{"labels": tree{"example.com/team": "shop"}},
	}})
	desired.Put(&manifest.Object{Ref: route, Spec: tree{"destinations": tree{}}})
	desired.Put(&manifest.Object{Ref: binding, Spec: tree{"app": "web"}})
	live.Put(&manifest.Object{Ref: web, Spec: tree{
		"processes":             tree{"web": tree{"instances": int64(5)}, "worker": tree{"instances": int64(7)}},
		"environment_variables": tree{"LOG_LEVEL": "debug"}, "metadata": tree{"labels": tree{"example.com/team": "ops"}}, "state": "STARTED",
	}})
	for text, want := range map[string][]string{
		"app * /processes/*/instances":                {webN, workerN}, // what is missing is created as declared
		"app web /processes/web/instances":            {webN},
		"app WEB /processes/web":                      {webN}, // names ignore case
		"app acme/dev/w* /processes/w*/instances":     {webN, workerN},
		"app acme/prod/* /processes/*/instances":      {},
		"app other /processes/*/instances":            {},
		"route * /processes/*/instances":              {},
		"* * /environment_variables/LOG_*":            {level},
		"/environment_variables/log_level":            {}, // variables do not ignore case
		"/environment_variables":                      {level},
		"app * /metadata/labels/example.com~1*":       {label},
		"app * /metadata/labels/*":                    {label},
		"app * /*":                                    {webN, workerN, clock, level, label},
		"app web /processes/clock":                    {clock},
		"app web /processes/*/instances/*":            {},
		"app * /state":                                {}, // equal, as it is not declared
		"app * /processes/web/instances/is/no/longer": {},
	} {
		changes, err := diff.Compare(desired, live, nil)
		if err != nil {
			t.Fatal(err)
		}
		total := len(changes.List)
		changes = changes.Ignoring([]diff.IgnoreRule{rule(t, text)}, desired, live, noon)
		ignored := map[string]bool{}
		for _, i := range changes.Ignored {
			_, name, _ := strings.Cut(i.Change.String(), " ")
			ignored[name] = true
		}
		expected := map[string]bool{}
		for _, name := range want {
			expected[name] = true
		}
		if d := cmp.Diff(expected, ignored); d != "" {
			t.Errorf("%s\n%s", text, d)
		}
		if len(changes.List)+len(changes.Ignored) != total {
			t.Errorf("%s: %d changes became %d and %d", text, total, len(changes.List), len(changes.Ignored))
		}
	}
	for kind, want := range map[manifest.Kind]string{manifest.KindRoute: wholeRoute, manifest.KindServiceBinding: wholeBinding} {
		changes, _ := diff.Compare(desired, live, nil)
		changes = changes.Ignoring([]diff.IgnoreRule{{Kind: kind}}, desired, live, noon)
		if len(changes.Ignored) != 1 || changes.Ignored[0].Change.String() != "add "+want {
			t.Errorf("a rule for the kind %s ignores %v", kind, changes.Ignored)
		}
		if kept := changes.Kept(desired, live, nil); kept.Len() != 2 {
			t.Errorf("the whole %s is to be left alone, and still declared", kind)
		}
	}
}

// Until when a rule holds, and what is said of one that has no effect.
func TestRulesEnd(t *testing.T) {
	desired, live := oneApp(tree{"state": "STARTED"}), oneApp(tree{"state": "STOPPED"})
	for _, test := range []struct {
		name, path, until string
		live              manifest.Set
		want              string
	}{
		{"no end", "/state", "", live, "ignored"},
		{"the last day counts", "/state", "2026-11-20", live, "ignored"},
		{"yesterday", "/state", "2026-11-19", live, "expired"},
		{"a moment to come", "/state", "2026-11-20T12:00:01Z", live, "ignored"},
		{"the very moment", "/state", "2026-11-20T12:00:00Z", live, "expired"},
		{"another zone", "/state", "2026-11-20T12:30:00+01:00", live, "expired"},
		{"nothing differs", "/state", "", desired, ""},
		{"expired, and nothing differs", "/state", "2026-01-01", desired, "idle: it has expired, and nothing differs any more where it applied: remove it"},
		{"no such place", "/stat", "", live, "idle: it matches nothing in Git or on the platform: correct it, or remove it"},
	} {
		until := diff.Deadline{}
		if err := until.UnmarshalText([]byte(test.until)); err != nil {
			t.Fatal(err)
		}
		changes, err := diff.Compare(desired, test.live, nil)
		if err != nil {
			t.Fatal(err)
		}
		changes = changes.Ignoring([]diff.IgnoreRule{{Path: test.path, Until: until}}, desired, test.live, noon)
		got := ""
		switch {
		case len(changes.Ignored) == 1 && changes.Empty():
			got = "ignored"
		case len(changes.Expired) == 1 && len(changes.List) == 1:
			got = "expired"
		case len(changes.Idle) == 1:
			got = "idle: " + changes.Idle[0].Why
		}
		if got != test.want {
			t.Errorf("%s: %q, expected %q", test.name, got, test.want)
		}
	}
}

// A rule that expired does not hide behind, nor in front of, one that holds.
func TestTheFirstRuleThatHoldsCounts(t *testing.T) {
	desired, live := oneApp(tree{"state": "STARTED"}), oneApp(tree{"state": "STOPPED"})
	past, err := diff.ParseDeadline("2025-01-01")
	if err != nil {
		t.Fatal(err)
	}
	rules := []diff.IgnoreRule{{Path: "/state", Until: past, Owner: "jo"}, {Path: "/state", Owner: "kim"}, {Path: "/state", Owner: "lee"}}
	changes, _ := diff.Compare(desired, live, nil)
	changes = changes.Ignoring(rules, desired, live, noon)
	if len(changes.Ignored) != 1 || changes.Ignored[0].Rule.Owner != "kim" || len(changes.Expired)+len(changes.List) != 0 {
		t.Errorf("%+v", changes)
	}
}

func oneApp(spec tree) manifest.Set {
	return manifest.NewSet(&manifest.Object{Ref: web, Spec: spec})
}

func TestRulesThatCannotBeMeant(t *testing.T) {
	for text, want := range map[string]string{
		"ap * /state":       `there is no kind "ap": use one of [org space service_instance app`,
		"processes":         `"processes" is no ignore rule: write kind, name and path, for example "app * /processes/*/instances"`,
		"app web":           "is no ignore rule",
		"":                  "is no ignore rule",
		"app * /labels/a~b": "is no JSON pointer",
	} {
		if _, err := diff.ParseIgnoreRule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := (diff.IgnoreRule{Kind: manifest.KindApp}).Check(); err == nil || !strings.Contains(err.Error(), "is better not declared") {
		t.Errorf("a whole app: %v", err)
	}
}

// A rule survives being stored, in both of the forms that we write.
func TestRulesCanBeStored(t *testing.T) {
	until, err := diff.ParseDeadline("2026-12-31")
	if err != nil {
		t.Fatal(err)
	}
	want := diff.IgnoreRule{Kind: manifest.KindApp, Name: "shop-*", Path: "/processes/*/instances", Until: until, Owner: "jo", Reason: "autoscaler"}
	text, err := json.Marshal(want)
	if string(text) != `{"kind":"app","name":"shop-*","path":"/processes/*/instances","until":"2026-12-31","owner":"jo","reason":"autoscaler"}` || err != nil {
		t.Errorf("%s %v", text, err)
	}
	var got, again diff.IgnoreRule
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("JSON: %+v %v", got, err)
	}
	text, err = yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &again); err != nil || again != want {
		t.Errorf("YAML: %+v %v\n%s", again, err, text)
	}
	if short := rule(t, want.String()); short.String() != "app shop-* /processes/*/instances" {
		t.Errorf("short: %s", short)
	}
}

// What is applied next to an ignored difference says, at its place, what lives there.
func TestKept(t *testing.T) {
	desired := manifest.NewSet(&manifest.Object{
		Ref: web, Spec: tree{
			"environment_variables": tree{"A": "git", "B": "git", "TOKEN": "git"},
			"processes":             tree{"web": tree{"health_check": tree{"timeout": int64(60), "type": "http"}, "command": nil}},
		},
		Secrets:   map[string]bool{"/environment_variables/TOKEN": true},
		Ownership: map[string]manifest.Ownership{"/environment_variables": manifest.Exact},
	})
	live := manifest.NewSet(&manifest.Object{Ref: web, Spec: tree{
		"environment_variables": tree{"A": "live", "B": "live", "TOKEN": "live", "OURS": "live", "THEIRS": "live"},
		"processes":             tree{"web": tree{"health_check": tree{"timeout": int64(90), "type": "port"}, "command": "live"}},
	}})
	desired.MarkPrune(manifest.Prune{Space: "acme/dev", Kind: manifest.KindRoute})
	ledger := diff.Ledger{web: {"/environment_variables/OURS": true}}
	changes, err := diff.Compare(desired, live, ledger)
	if err != nil {
		t.Fatal(err)
	}
	var rules []diff.IgnoreRule
	for _, path := range []string{"/environment_variables/A", "/environment_variables/TOKEN", "/environment_variables/*S", "/processes/*/health_check/timeout", "/processes/*/command"} {
		rules = append(rules, rule(t, path))
	}
	changes = changes.Ignoring(rules, desired, live, noon)
	kept := changes.Kept(desired, live, ledger)
	want := tree{
		"environment_variables": tree{"A": "live", "B": "git", "TOKEN": "live", "OURS": "live"}, // THEIRS is none of ours
		"processes":             tree{"web": tree{"health_check": tree{"timeout": int64(90), "type": "http"}, "command": "live"}},
	}
	if d := cmp.Diff(want, kept.Get(web).Spec); d != "" {
		t.Error(d)
	}
	if !kept.Get(web).IsSecret("/environment_variables/TOKEN") || len(kept.Prunes()) != 1 {
		t.Error("the secret is not marked any more, or the marks are lost")
	}
	if desired.Get(web).Spec["environment_variables"].(tree)["A"] != "git" || live.Get(web).Spec["environment_variables"].(tree)["B"] != "live" {
		t.Error("an input was modified")
	}
	again, err := diff.Compare(kept, live, ledger)
	if err != nil {
		t.Fatal(err)
	}
	// The exactly owned THEIRS is the only thing that comes back: nobody asked for it to be kept declared.
	expected := append(lines(changes), `remove app acme/dev/web /environment_variables/THEIRS was "live"`)
	if d := cmp.Diff(slices.Sorted(slices.Values(expected)), slices.Sorted(slices.Values(lines(again)))); d != "" {
		t.Error(d)
	}
}
