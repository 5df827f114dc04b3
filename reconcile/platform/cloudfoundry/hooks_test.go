package cloudfoundry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

type task struct {
	ccv3.Task
	Command string `json:"command"`
	Droplet string `json:"droplet_guid"`
	Memory  int    `json:"memory_in_mb"`
}

func (f *foundation) tasks() []task { return list[task](f, "/v3/apps/"+f.app("web")+"/tasks") }

// The migration runs on the new droplet while the old one serves; a change that rolls nothing out runs no task.
func TestHooksRunAroundARollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		text := with(web, "before-rollout: bin/migrate --all", "after-rollout: bin/smoke")
		p := f.mustRun(text)
		if all := f.tasks(); len(all) != 2 || all[0].Command != "bin/migrate --all" || all[1].Command != "bin/smoke" || all[0].Memory != 64 {
			t.Errorf("tasks %+v", all)
		}
		if made := besidePolling(p.applying); len(made) > 12 {
			t.Errorf("%d requests beside polling, want at most 12", len(made))
		}
		f.newCode("second")
		f.mustRun(text)
		f.converged(text)
		all := f.tasks()
		d := f.rollouts()
		if len(all) != 4 || len(d) != 1 || all[2].Droplet != d[0].Droplet.GUID || all[2].CreatedAt.After(d[0].CreatedAt) || all[3].CreatedAt.Before(d[0].CreatedAt) {
			t.Errorf("tasks %+v around deployment %+v", all, d)
		}
		more := strings.Replace(text, "instances: 2", "instances: 3", 1)
		f.mustRun(more)
		f.converged(more)
		if n := len(f.tasks()); n != 4 {
			t.Errorf("%d tasks, although nothing was rolled out", n)
		}
	})
}

// A migration that fails stops the rollout before it begins: the app is as it was.
func TestFailedMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		f.newCode("second")
		s, e, p := f.failed(with(strings.Replace(web, "hello", "bye", 1), "before-rollout: FAULT_TASK_FAIL"))
		want := "manifest.yml:7:47: app acme/dev/web: running the task before-rollout: it failed: Exited with status 222; its log ends with: The sandbox runs nothing, so there is nothing to say. " +
			"(its output is in the app's log: cf logs web --recent)"
		if e.Error() != want {
			t.Errorf("a person reads\n%s\nwant\n%s", e, want)
		}
		if !s.RolledBack || !s.Quarantine || len(f.rollouts()) != 0 {
			t.Errorf("rolled back %v, quarantine %v, %d deployments", s.RolledBack, s.Quarantine, len(f.rollouts()))
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s\n%s", before, after, strings.Join(p.events, "\n"))
		}
	})
}

// A smoke test that fails takes the whole rollout back.
func TestFailedSmokeTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		f.newCode("second")
		s, e, p := f.failed(with(strings.Replace(web, "hello", "bye", 1), "after-rollout: FAULT_TASK_FAIL"))
		if e.Class != platform.Rollout || !s.RolledBack || !s.Quarantine {
			t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s\n%s", before, after, strings.Join(p.events, "\n"))
		}
	})
}

// Without the right to run tasks nothing is half done, and nothing is held against the declaration.
func TestTasksThatMayNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		f.do(http.MethodPatch, "/v3/feature_flags/task_creation", map[string]any{"enabled": false}, nil)
		f.as("space_developer")
		s, e, _ := f.failed(with(strings.Replace(web, "hello", "bye", 1), "before-rollout: migrate"))
		if s.Quarantine || !strings.Contains(e.Error(), "cf enable-feature-flag task_creation") {
			t.Errorf("%v, quarantine %v", e, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// A task that does not end is cancelled.
func TestTaskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		s, e, _ := f.failed(with(strings.Replace(web, "hello", "bye", 1), "before-rollout: migrate", "hook-timeout: 500ms"))
		if !s.RolledBack || !strings.Contains(e.Message, "it did not end within 500ms, and was cancelled") {
			t.Errorf("%v: rolled back %v", e, s.RolledBack)
		}
		time.Sleep(time.Minute)
		if all := f.tasks(); len(all) != 1 || all[0].State != "FAILED" {
			t.Errorf("tasks %+v", all)
		}
	})
}
