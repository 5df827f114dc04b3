package reconcile_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
)

// env is the live environment of an app.
func (f *foundation) env(app string) map[string]string {
	f.t.Helper()
	var answer struct{ Var map[string]string }
	f.do("admin", "GET", "/v3/apps/"+f.app(app)+"/environment_variables", nil, &answer)
	return answer.Var
}

func until(t *testing.T, at time.Time) diff.Deadline {
	t.Helper()
	d, err := diff.ParseDeadline(at.Format(time.RFC3339))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAToleranceAndItsEnd: what a rule leaves alone is neither healed nor recorded, whatever else is applied; when the rule
// ends, it is drift as on the first day, and whoever did it is named.
func TestAToleranceAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		var log bytes.Buffer
		f.rec.Log = slog.New(slog.NewTextHandler(&log, nil))
		f.target.Ignore = []diff.IgnoreRule{{Path: "/environment_variables/LOG_LEVEL", Until: until(t, time.Now().Add(3*time.Hour)), Owner: "jo", Reason: "hunting a bug"}}
		f.setEnv("alex", "shop", "LOG_LEVEL", "trace")

		run := f.run(history.InSync)
		if len(run.Changes.Ignored) != 1 || len(f.drift()) != 0 {
			t.Errorf("ignored: %v, recorded: %v", run.Changes.Ignored, f.drift())
		}
		time.Sleep(time.Hour)
		f.write("manifest.yml", strings.Replace(shopManifest, "s3cr3t-declared", "s3cr3t-new", 1))
		f.run(history.Changed)
		if env := f.env("shop"); env["LOG_LEVEL"] != "trace" || env["DB_PASSWORD"] != "s3cr3t-new" {
			t.Errorf("a commit reset what was to be left alone: LOG_LEVEL is %s", env["LOG_LEVEL"])
		}
		if found := f.drift(); len(found) != 0 {
			t.Errorf("a tolerated difference was recorded: %+v", found)
		}
		if strings.Contains(log.String(), "expired") {
			t.Errorf("the rule holds still: %s", log.String())
		}

		time.Sleep(2 * time.Hour)
		f.run(history.Changed)
		if got := f.env("shop")["LOG_LEVEL"]; got != "info" {
			t.Errorf("the rule has ended, and LOG_LEVEL is %s still", got)
		}
		all := f.drift()
		if len(all) != 1 || all[0].By.Actor != "alex@example.com" || all[0].Resolution != history.Healed {
			t.Errorf("what comes back is drift, and alex did it: %+v", all)
		}
		for _, want := range []string{"level=WARN", "expired", `resource="app acme/dev/shop"`, "field=/environment_variables/LOG_LEVEL", "owner=jo", `reason="hunting a bug"`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %s:\n%s", want, log.String())
			}
		}
		f.run(history.InSync)
	})
}

// TestAToleranceEndsAnOpenRecord: whoever decides to live with a difference has accepted it.
func TestAToleranceEndsAnOpenRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.target.Mode = reconcile.ModeReport
		f.scale("alex", "shop", 512)
		f.run(history.Drifted)
		f.target.Ignore = []diff.IgnoreRule{{Kind: "app", Name: "sh*", Path: "/processes/*/memory_in_mb"}}
		f.run(history.InSync)
		if all := f.drift(); len(all) != 1 || all[0].Resolution != history.Accepted {
			t.Errorf("%+v", all)
		}
		f.target.Ignore = nil
		f.run(history.Drifted)
		if all := f.drift(); len(all) != 2 || all[0].Resolution != history.Open || all[0].Path != "/processes/web/memory_in_mb" {
			t.Errorf("without the rule it is drift again: %+v", all)
		}
	})
}

// TestQuarantineOutlastsWhatIsIgnored: an autoscaler does not make a bad declaration worth another try.
func TestQuarantineOutlastsWhatIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.write("manifest.yml", strings.Replace(shopManifest, "  routes:", "  instances: 1\n  metadata:\n    annotations:\n      fettle-gitops.github.io/ignore: /processes/*/instances\n  routes:", 1))
		f.write("web/FAULT_CRASH", "x")
		f.run(history.Failed)
		for _, n := range []int{3, 5} {
			f.do("alex", "POST", "/v3/apps/"+f.app("shop")+"/processes/web/actions/scale", map[string]any{"instances": n}, nil)
			if run := f.run(history.Held); len(run.Outcome.Steps) != 0 || len(run.Changes.Ignored) != 1 {
				t.Errorf("at %d instances: tried again: %+v", n, run.Outcome.Steps)
			}
		}
	})
}
