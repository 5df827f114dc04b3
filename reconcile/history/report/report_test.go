package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/report"
	"github.com/fettle-gitops/fettle/reconcile/history/sqlite"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	web    = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	worker = manifest.Ref{Kind: manifest.KindApp, Path: "acme/prod/worker"}
	shop   = manifest.Ref{Kind: manifest.KindRoute, Path: "acme/dev/shop.example.com"}
	berlin = time.FixedZone("CET", 3600)
)

// Each scene is a store in some state, and the report that a person reads of it in the morning: see testdata.
func TestReports(t *testing.T) {
	for name, c := range map[string]struct {
		story  func(*author)
		filter history.DriftFilter
	}{
		"never-run":     {func(*author) {}, history.DriftFilter{}},
		"all-quiet":     {quiet, history.DriftFilter{Since: at("9 06:00")}},
		"busy-week":     {busy, history.DriftFilter{Since: at("2 06:00")}},
		"busy-week-dev": {busy, history.DriftFilter{Since: at("2 06:00"), Space: "acme/dev"}},
		"busy-week-bob": {busy, history.DriftFilter{Since: at("2 06:00"), Actor: "bob@acme.example"}},
		"week-is-over":  {busy, history.DriftFilter{Since: at("2 06:00"), Until: at("6 12:00")}},
		"in-sync-again": {func(a *author) { busy(a); a.look("dev", "9 11:00"); a.look("prod", "9 11:00") }, history.DriftFilter{Since: at("9 06:00")}},
		"not-looked-at": {func(a *author) { a.look("dev", "5 09:00", edit(web, "/state", `"STARTED"`, `"STOPPED"`, 4, "", "")) }, history.DriftFilter{Since: at("9 06:00")}},
		"hostile":       {hostile, history.DriftFilter{}},
		"crowded":       {crowded, history.DriftFilter{}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			c.story(&author{t: t, Store: s})
			r, err := report.Build(t.Context(), s, c.filter, at("9 12:00").In(berlin))
			if err != nil {
				t.Fatal(err)
			}
			for ext, draw := range map[string]func(io.Writer, report.Report) error{"txt": report.Text, "md": report.Markdown, "json": report.JSON} {
				if name == "crowded" && ext == "json" {
					continue // has every record, see TestJSON
				}
				var b bytes.Buffer
				if err := draw(&b, r); err != nil {
					t.Fatal(err)
				}
				golden(t, name+"."+ext, b.String())
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if strings.Contains(got, "digest:") || strings.Contains(got, "1f3870be") {
		t.Errorf("%s shows the digest of a secret:\n%s", name, got)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", name, d)
	}
}

// author writes the record of a week in March.
type author struct {
	history.Store
	t *testing.T
}

func at(dayAndTime string) time.Time {
	t, err := time.Parse("2006-1 2 15:04", "2026-3 "+dayAndTime)
	if err != nil {
		panic(err)
	}
	return t
}

func (a *author) look(target, when string, found ...history.Drift) {
	a.t.Helper()
	_, _, err := a.Observe(a.t.Context(), history.Observation{Target: target, At: at(when), Revision: "c0ffee1234567", Found: found})
	a.must(err)
}

func (a *author) heal(target, when string, run int64, d history.Drift) {
	a.t.Helper()
	_, err := a.Resolve(a.t.Context(), target, []history.Key{d.Key()}, history.Healed, run, at(when))
	a.must(err)
}

func (a *author) ran(target, when string, result history.Result, why string, steps ...history.Step) {
	a.t.Helper()
	r, err := a.BeginRun(a.t.Context(), history.Run{Target: target, Revision: "c0ffee1234567", StartedAt: at(when)})
	a.must(err)
	r.EndedAt, r.Result, r.Error, r.Steps = at(when).Add(time.Minute), result, why, steps
	a.must(a.EndRun(a.t.Context(), r))
}

func (a *author) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func edit(ref manifest.Ref, path, declared, live string, line int, who string, when string) history.Drift {
	d := history.Drift{
		Ref: ref, Path: path, Op: diff.Update, Declared: declared, Live: live, Impact: "restart",
		Origin: manifest.Origin{File: "apps/manifest.yml", Line: line, Column: 7},
	}
	if who != "" {
		d.By = platform.Attribution{Actor: who, ActorID: "u-" + who, At: at(when), Event: "audit.app.update", EventID: "e-" + when}
	}
	return d
}

func quiet(a *author) {
	a.ran("dev", "9 11:55", history.InSync, "")
	a.look("dev", "9 11:55")
}

func busy(a *author) {
	memory := edit(web, "/processes/web/memory_in_mb", "512", "2048", 4, "alice@acme.example", "9 09:58")
	level := edit(web, "/environment_variables/LOG_LEVEL", `"info"`, `"debug"`, 9, "bob@acme.example", "4 14:02")
	token := edit(web, "/environment_variables/API_TOKEN", "digest:1f3870be", "digest:274747aa", 10, "bob@acme.example", "4 14:03")
	token.Secret = true
	label := edit(web, "/metadata/labels/example.com~1team", `"shop"`, `"web"`, 12, "alice@acme.example", "5 08:00")
	label.Impact = "none"
	sidecar := edit(worker, "/sidecars/proxy/command", `"./proxy"`, `"./proxy -v"`, 31, "", "")
	sidecar.By.Note = "sidecars leave no event"
	deleted := edit(shop, "", "{}", "", 15, "bob@acme.example", "9 10:30")
	deleted.Op, deleted.Impact = diff.Add, "in place"

	a.look("dev", "4 14:05", level, token)
	a.heal("dev", "4 14:06", 3, level)
	a.heal("dev", "4 14:06", 3, token)
	a.look("dev", "5 08:05", label)
	_, err := a.Resolve(a.t.Context(), "dev", []history.Key{label.Key()}, history.Accepted, 4, at("5 09:30"))
	a.must(err)
	a.look("prod", "6 10:00", edit(worker, "/processes/worker/instances", "2", "6", 22, "carol@acme.example", "6 09:59"), sidecar)
	a.look("prod", "6 17:00", sidecar)
	a.look("dev", "9 10:00", memory)
	a.look("dev", "9 10:35", memory, deleted)
	a.look("prod", "9 10:35", sidecar)

	const gone = "https://git.example.com/shop.git (main): unreachable: connection refused (is the server up?)"
	a.ran("prod", "7 02:00", history.Failed, gone)
	a.ran("prod", "7 02:05", history.Failed, gone)
	a.ran("prod", "7 02:10", history.Failed, gone)
	a.ran("dev", "8 15:00", history.Failed, "app acme/dev/web: rolling out: 2 of 2 instances crashed", history.Step{Ref: web, Phase: platform.Failed})
	a.must(a.Quarantine(a.t.Context(), history.Quarantine{Target: "dev", Ref: web, Digest: "d1", Revision: "decaf1234567", Reason: "2 of 2 instances crashed within 30s", Since: at("8 15:04"), Run: 4}))
	a.ran("dev", "9 11:55", history.Drifted, "")
}

// hostile is what somebody might write who does not mean well.
func hostile(a *author) {
	d := edit(
		manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/`web`\x1b[2J](http://evil.example)"}, "/environment_variables/<img src=x onerror=alert(1)>",
		`"**bold** | @everyone #1 \u202e"`, "\"`` ` ```\\n# heading\\u0000\"", 3, "eve\n\n# Fake heading\n<script>alert(1)</script>", "9 09:00")
	d.By.Note = "[click](javascript:alert(1))"
	d.Origin.File = "apps/\u202egnp.yml"
	a.look("de`v\r\n", "9 09:05", d)
	bang := "![x](http://evil.example/track.png) &lt;b&gt; ` \u2028 end\x07"
	a.ran("de`v\r\n", "9 09:10", history.Failed, bang)
	a.must(a.Quarantine(a.t.Context(), history.Quarantine{Target: "de`v\r\n", Ref: d.Ref, Digest: "d1", Revision: "`rm -rf`", Reason: bang, Since: at("9 09:11")}))
}

// crowded is more than anybody reads.
func crowded(a *author) {
	var found []history.Drift
	for i := range 300 {
		ref := manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/app-" + string(rune('a'+i%26)) + string(rune('a'+i/26))}
		found = append(found, edit(ref, "/processes/web/instances", "1", "2", i+1, "user-"+string(rune('a'+i%26))+"@acme.example", "9 09:00"))
	}
	a.look("dev", "9 09:05", found...)
	a.look("dev", "9 10:05", found[:230]...)
}

// Machines get every record, also where people are told "and 20 more".
func TestJSON(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	crowded(&author{t: t, Store: s})
	r, err := report.Build(t.Context(), s, history.DriftFilter{}, at("9 12:00"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	var got struct {
		OutOfSync []any `json:"out_of_sync"`
		Ended     []any `json:"ended"`
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.OutOfSync) != 230 || len(got.Ended) != 70 {
		t.Errorf("%d resources and %d ended, want 230 and 70", len(got.OutOfSync), len(got.Ended))
	}
}

// A store that is gone is an error, not a report that all is well.
func TestClosedStore(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	_, err = report.Build(t.Context(), s, history.DriftFilter{}, at("9 12:00"))
	if _, ok := errors.AsType[*history.Error](err); !ok {
		t.Errorf("got %v", err)
	}
}

// Whatever is drawn, a line stays a line, and nothing that a terminal would obey comes through.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31m", "a\nb\r", "\u202e", "\xff\xfe", "'", "🐟", "\u2028", "\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range report.Plain(s) {
			if r < ' ' || r == 0x7f || r == 0x85 || r >= 0x200e && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("Plain(%q) lets %U through", s, r)
			}
		}
	})
}
