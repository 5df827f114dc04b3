package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/report"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

var shop = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/shop"}

func (s *story) firstDeployment(ctx context.Context) error {
	run, err := s.await(ctx, "the first deployment", func(r *reconcile.Run) bool { return r.Record.Result == history.Changed })
	if err != nil {
		return err
	}
	s.applied(run)
	for _, app := range []string{"shop", "mailer"} {
		if err := s.admin.running(ctx, app); err != nil {
			return err
		}
	}
	run, err = s.await(ctx, "a run that finds nothing to do", func(r *reconcile.Run) bool { return r.Record.Result == history.InSync })
	if err != nil {
		return err
	}
	s.say("The next look found everything as declared and changed nothing (%d API requests).", run.Record.Requests)
	return nil
}

func (s *story) push(ctx context.Context) error {
	builds, err := s.admin.count(ctx, "/v3/builds")
	if err != nil {
		return err
	}
	commit, err := s.edit("Greet people more warmly", func(path, content string) string {
		switch path {
		case "web/public/index.html":
			return strings.ReplaceAll(content, "Welcome to the shop", "A very warm welcome to the shop")
		case "manifest.yml":
			return strings.ReplaceAll(content, "GREETING: Welcome", "GREETING: A warm welcome")
		}
		return content
	})
	if err != nil {
		return err
	}
	pushed := time.Now()
	s.say("Robin pushes commit %s: a new page, and another greeting in the environment of shop.", reconcile.Short(commit))
	run, err := s.await(ctx, "the rollout of "+reconcile.Short(commit), func(r *reconcile.Run) bool {
		return r.Record.Revision == commit && r.Record.Result == history.Changed
	})
	if err != nil {
		return err
	}
	s.applied(run)
	after, err := s.admin.count(ctx, "/v3/builds")
	if err != nil {
		return err
	}
	if after != builds+1 {
		return fmt.Errorf("one app changed its code, so one build was expected, not %d", after-builds)
	}
	s.say("Live %.1f s after the push, by a rolling deployment. mailer was not touched: its files and settings are the same.", time.Since(pushed).Seconds())
	return nil
}

func (s *story) handEdits(ctx context.Context) error {
	if err := s.alex.scaleMemory(ctx, "shop", 1024); err != nil {
		return err
	}
	s.say("alex scales shop to 1024 MB.")
	if err := s.alex.setEnv(ctx, "shop", "LOG_LEVEL", "debug"); err != nil {
		return err
	}
	s.say("alex sets LOG_LEVEL to debug.")
	if err := s.alex.unmap(ctx, "shop", "/api"); err != nil {
		return err
	}
	s.say("alex unmaps the route shop.apps.sandbox.test/api.")

	// The three edits may be seen by one run or by several.
	seen := map[string]history.Drift{}
	var last *reconcile.Run
	for len(seen) < 3 {
		run, err := s.await(ctx, "the drift to be noticed", func(r *reconcile.Run) bool { return len(r.Opened) > 0 })
		if err != nil {
			return err
		}
		for _, d := range run.Opened {
			seen[d.Ref.String()+d.Path] = d
			if d.By.Actor != "alex@example.com" && d.By.Actor != "alex" {
				return fmt.Errorf("%s %s was changed by alex, but the record says %q (%s)", d.Ref, d.Path, d.By.Actor, d.By.Note)
			}
		}
		last = run
	}
	if len(seen) != 3 {
		return fmt.Errorf("alex changed three things, but %d drift records were opened", len(seen))
	}
	if last.Record.Result != history.Changed {
		return fmt.Errorf("the drift was not healed: run %d ended as %q %s", last.Record.ID, last.Record.Result, last.Record.Error)
	}
	s.applied(last)
	open, err := s.store.Drift(ctx, history.DriftFilter{OpenOnly: true})
	if err != nil {
		return err
	}
	if len(open) != 0 {
		return fmt.Errorf("%d drift records are still open after healing", len(open))
	}
	if err := s.admin.memory(ctx, "shop", 256); err != nil {
		return err
	}
	s.say("All three are back to what Git declares; the record keeps who did what, and when.")
	return nil
}

func (s *story) brokenRelease(ctx context.Context) error {
	before, err := s.admin.droplet(ctx, "shop")
	if err != nil {
		return err
	}
	commit, err := s.repo.CommitWith(gittest.Change{
		Files:   map[string]string{"web/FAULT_CRASH": "The sandbox lets the instances of an app crash that was uploaded with a file of this name.\n"},
		Message: "A clever new cache", Author: author,
	})
	if err != nil {
		return err
	}
	s.say("Robin pushes commit %s. It stages well, but its instances crash.", reconcile.Short(commit))
	run, err := s.await(ctx, "the broken rollout to be rolled back", func(r *reconcile.Run) bool {
		return r.Record.Revision == commit && r.Record.Result == history.Failed
	})
	if err != nil {
		return err
	}
	for _, step := range run.Outcome.Steps {
		if step.Ref == shop && (!step.RolledBack || !step.Quarantine) {
			return fmt.Errorf("the rollout failed, but was not rolled back and quarantined: %w", step.Err)
		}
	}
	s.say("Failed: %s", run.Record.Error)
	after, err := s.admin.droplet(ctx, "shop")
	if err != nil {
		return err
	}
	if after != before {
		return errors.New("shop is not back on the droplet it had before")
	}
	if err := s.admin.running(ctx, "shop"); err != nil {
		return err
	}
	s.say("shop is back on its previous droplet; the old instances never stopped serving.")
	run, err = s.await(ctx, "the next run to leave the broken commit alone", func(r *reconcile.Run) bool { return len(r.Held) > 0 })
	if err != nil {
		return err
	}
	if len(run.Outcome.Steps) != 0 {
		return errors.New("a quarantined commit was tried again")
	}
	s.say("The commit is in quarantine for shop: run %d left it alone, and so will all others until Git moves on.", run.Record.ID)
	return nil
}

func (s *story) fix(ctx context.Context) error {
	commit, err := s.repo.CommitWith(gittest.Change{Delete: []string{"web/FAULT_CRASH"}, Message: "Revert \"A clever new cache\"", Author: author})
	if err != nil {
		return err
	}
	s.say("Robin reverts it: commit %s.", reconcile.Short(commit))
	run, err := s.await(ctx, "the revert", func(r *reconcile.Run) bool {
		return r.Record.Revision == commit && (r.Record.Result == history.InSync || r.Record.Result == history.Changed)
	})
	if err != nil {
		return err
	}
	held, err := s.store.Quarantined(ctx, "")
	if err != nil {
		return err
	}
	if len(held) != 0 {
		return errors.New("the quarantine was not lifted")
	}
	s.say("Run %d: %s, and the quarantine is lifted.", run.Record.ID, run.Record.Result)
	return nil
}

// edit commits the example's files as change leaves them.
func (s *story) edit(message string, change func(path, content string) string) (string, error) {
	files, _, err := readExample("shop")
	if err != nil {
		return "", err
	}
	changed := map[string]string{}
	for path, content := range files {
		if now := change(path, content); now != content {
			changed[path] = now
		}
	}
	return s.repo.CommitWith(gittest.Change{Files: changed, Message: message, Author: author})
}

// drifted tells of drift as soon as it is on record.
func (s *story) drifted(_ *reconcile.Run, opened []history.Drift) {
	for _, d := range opened {
		s.say("Drift: %s: Git says %s, live is %s. Changed by %s.", report.Field(d), report.Value(d, d.Declared), report.Value(d, d.Live), report.By(d))
	}
}

// applied tells what a run has done.
func (s *story) applied(run *reconcile.Run) {
	for _, step := range run.Outcome.Steps {
		impact := ""
		for _, p := range run.Plan.Steps {
			if p.ID == step.Step {
				impact = " (" + told(p) + ")"
			}
		}
		s.say("Run %d (%s): %s %s in %.1f s%s.", run.Record.ID, run.Record.Trigger, step.Ref, step.Phase, step.Duration.Seconds(), impact)
	}
	s.say("Run %d took %.1f s and %d API requests.", run.Record.ID, run.Record.EndedAt.Sub(run.Record.StartedAt).Seconds(), run.Record.Requests)
}

// told sums up what a step was about.
func told(step platform.Step) string {
	for _, c := range step.Changes {
		if c.Ref == step.Ref && c.Path == "" && c.Op == diff.Add {
			return "a new app"
		}
	}
	fields := "1 difference"
	if n := len(step.Changes); n != 1 {
		fields = fmt.Sprintf("%d differences", n)
	}
	return fields + ", impact: " + step.Impact.String()
}
