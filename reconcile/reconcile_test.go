package reconcile_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

const shopManifest = `applications:
- name: shop
  path: web
  memory: 64M
  env:
    LOG_LEVEL: info
    DB_PASSWORD: s3cr3t-declared
  routes:
  - route: shop.apps.sandbox.test
`

// shop is a foundation with one app that was deployed and is in sync.
func shop(t *testing.T) *foundation {
	f := newFoundation(t)
	f.write("manifest.yml", shopManifest)
	f.write("web/index.html", "<h1>Shop</h1>\n")
	f.run(history.Changed)
	f.run(history.InSync)
	return f
}

// TestDriftHasOneRecordAnAuthorAndAnEnd: the story of one hand edit.
func TestDriftHasOneRecordAnAuthorAndAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		if found := f.drift(); len(found) != 0 {
			t.Fatalf("deploying is not drift: %+v", found)
		}
		f.scale("alex", "shop", 512)
		run := f.run(history.Changed)

		all := f.drift()
		if len(all) != 1 {
			t.Fatalf("one edit is one record, found %+v", all)
		}
		d := all[0]
		if d.Ref.String() != "app acme/dev/shop" || d.Path != "/processes/web/memory_in_mb" || d.Declared != "64" || d.Live != "512" {
			t.Errorf("the record names the wrong thing: %+v", d)
		}
		if d.By.Actor != "alex@example.com" || d.By.Event != "audit.app.process.scale" || d.By.At.IsZero() {
			t.Errorf("alex did it, the record says %+v", d.By)
		}
		if d.Origin.String() != "manifest.yml:4:11" {
			t.Errorf("memory is declared at manifest.yml:4:11, the record says %s", d.Origin)
		}
		if d.Resolution != history.Healed || d.ResolvedBy != run.Record.ID {
			t.Errorf("run %d healed it, the record says %q by %d", run.Record.ID, d.Resolution, d.ResolvedBy)
		}
		f.run(history.InSync)
	})
}

// TestACommitIsNotDrift: what Git changes is applied, and nobody is accused.
func TestACommitIsNotDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.write("manifest.yml", strings.Replace(shopManifest, "64M", "128M", 1))
		run := f.run(history.Changed)
		if len(run.Changes.List) != 1 {
			t.Errorf("one field changed: %v", run.Changes.List)
		}
		if found := f.drift(); len(found) != 0 {
			t.Errorf("a commit was recorded as drift: %+v", found)
		}
		if f.count("/v3/builds") != 1 {
			t.Error("changing memory staged the app again")
		}
	})
}

// TestEditAndCommitAtOnce: when Git and a person move together, only the person's part is drift.
func TestEditAndCommitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.setEnv("alex", "shop", "LOG_LEVEL", "trace")
		f.write("manifest.yml", strings.Replace(shopManifest, "64M", "128M", 1))
		f.run(history.Changed)
		all := f.drift()
		if len(all) != 1 || all[0].Path != "/environment_variables/LOG_LEVEL" || all[0].Resolution != history.Healed {
			t.Errorf("expected one healed record of LOG_LEVEL, found %+v", all)
		}
		f.run(history.InSync)
	})
}

// TestReportModeTouchesNothing and tells how drift ends when nobody heals it.
func TestReportModeTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.target.Mode = reconcile.ModeReport
		f.scale("alex", "shop", 512)
		events := f.count("/v3/audit_events")
		f.run(history.Drifted)
		f.run(history.Drifted)
		if now := f.count("/v3/audit_events"); now != events {
			t.Errorf("report mode left %d audit events", now-events)
		}
		all := f.drift()
		if len(all) != 1 || all[0].Seen != 2 || all[0].Resolution != history.Open {
			t.Fatalf("seen twice, one open record: %+v", all)
		}

		// A commit that declares the live value accepts it.
		f.write("manifest.yml", strings.Replace(shopManifest, "64M", "512M", 1))
		f.run(history.InSync)
		if d := f.drift()[0]; d.Resolution != history.Accepted {
			t.Errorf("the commit accepted it, the record says %q", d.Resolution)
		}

		// The next edit is a new record; sam changes it back.
		f.scale("alex", "shop", 1024)
		f.run(history.Drifted)
		f.scale("sam", "shop", 512)
		f.run(history.InSync)
		all = f.drift()
		if len(all) != 2 {
			t.Fatalf("two edits, two records: %+v", all)
		}
		for _, d := range all {
			if d.Live == "1024" && d.Resolution != history.ChangedBack {
				t.Errorf("sam changed it back, the record says %q", d.Resolution)
			}
		}
	})
}

// TestSecretsStayOut: neither a declared secret nor a live one reaches the history.
func TestSecretsStayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.setEnv("alex", "shop", "DB_PASSWORD", "s3cr3t-live")
		f.run(history.Changed)
		all := f.drift()
		if len(all) != 1 || !all[0].Secret || !strings.HasPrefix(all[0].Live, "digest:") || !strings.HasPrefix(all[0].Declared, "digest:") {
			t.Fatalf("expected one secret record with digests: %+v", all)
		}
		for _, file := range []string{f.db, f.db + "-wal"} {
			data, err := os.ReadFile(file)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if bytes.Contains(data, []byte("s3cr3t")) {
				t.Errorf("%s holds a secret", file)
			}
		}
	})
}

// TestQuarantine: what has proven bad is put back, left alone, and tried again when Git moves on.
func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.write("web/FAULT_CRASH", "x")
		run := f.run(history.Failed)
		if step := run.Outcome.Steps[0]; !step.RolledBack || !step.Quarantine {
			t.Fatalf("rolled back %t, quarantined %t: %v", step.RolledBack, step.Quarantine, step.Err)
		}
		packages := f.count("/v3/packages")

		run = f.run(history.Held)
		if len(run.Outcome.Steps) != 0 || f.count("/v3/packages") != packages {
			t.Error("a quarantined declaration was tried again")
		}

		if err := os.Remove(f.folder + "/web/FAULT_CRASH"); err != nil {
			t.Fatal(err)
		}
		f.run(history.InSync)
		held, err := f.history.Quarantined(t.Context(), "")
		if err != nil || len(held) != 0 {
			t.Errorf("the quarantine is not lifted: %v, %v", held, err)
		}
	})
}

// TestOneFailureNeverStopsAnother: the good app is deployed, the bad one says why.
func TestOneFailureNeverStopsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.write("manifest.yml", "applications:\n- {name: bad, path: bad, no-route: true}\n- {name: good, path: good, no-route: true}\n")
		f.write("bad/FAULT_STAGE_FAIL", "x")
		f.write("good/index.html", "x")
		run := f.run(history.Failed)
		for _, s := range run.Outcome.Steps {
			if want := map[string]platform.Phase{"good": platform.Succeeded, "bad": platform.Failed}[s.Ref.Name()]; s.Phase != want {
				t.Errorf("%s: %s (%v), expected %s", s.Ref, s.Phase, s.Err, want)
			}
		}
		f.run(history.Held)
	})
}

// TestNoMemoryNoChange: a run that cannot be remembered changes nothing.
func TestNoMemoryNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.scale("alex", "shop", 512)
		events := f.count("/v3/audit_events")
		f.history.Close()
		var log bytes.Buffer
		f.rec.Log = slog.New(slog.NewTextHandler(&log, nil))
		if _, err := f.rec.Run(t.Context(), f.target, history.ByHand, nil); err == nil || !strings.Contains(err.Error(), "history") {
			t.Fatalf("expected the history's failure, got %v", err)
		}
		if f.count("/v3/audit_events") != events {
			t.Error("the platform was changed without a memory of it")
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "without it nothing is changed") {
			t.Errorf("the log alone can tell why nothing happens any more, and says: %s", log.String())
		}
	})
}

// TestGoneFromGit: an app that Git no longer declares is left alone, and its drift record ends.
func TestGoneFromGit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.target.Mode = reconcile.ModeReport
		f.scale("alex", "shop", 512)
		f.run(history.Drifted)
		f.write("manifest.yml", "applications:\n- {name: other, path: web, no-route: true, instances: 0}\n")
		f.run(history.Drifted)
		for _, d := range f.drift() {
			if d.Ref.Name() == "shop" && d.Resolution != history.Gone {
				t.Errorf("shop is no longer declared, its record says %q", d.Resolution)
			}
		}
		f.app("shop") // it is still there
	})
}

// TestReportModeNamesNobodyForACommit: a commit that is not deployed yet is told as what it is, and ends as healed when
// somebody deploys it.
func TestReportModeNamesNobodyForACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(t)
		f.target.Mode = reconcile.ModeReport
		f.run(history.InSync)
		f.write("manifest.yml", strings.Replace(shopManifest, "64M", "128M", 1))
		f.run(history.Drifted)
		all := f.drift()
		if len(all) != 1 || all[0].By.Known() || !strings.Contains(all[0].By.Note, "a commit that is not on the platform yet") {
			t.Fatalf("nobody edited anything: %+v", all)
		}
		f.scale("sam", "shop", 128)
		f.run(history.InSync)
		if d := f.drift()[0]; d.Resolution != history.Healed {
			t.Errorf("it was deployed, the record says %q", d.Resolution)
		}
		// From now on a hand edit of the same field is somebody's.
		f.scale("alex", "shop", 512)
		f.run(history.Drifted)
		for _, d := range f.drift() {
			if d.Resolution == history.Open && d.By.Actor != "alex@example.com" {
				t.Errorf("alex did it: %+v", d.By)
			}
		}
	})
}
