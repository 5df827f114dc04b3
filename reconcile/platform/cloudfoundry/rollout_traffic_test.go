package cloudfoundry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// traffic asks for a URL all the time.
type traffic struct {
	requests, failures int
	last               string // failure
}

// visitors ask the app's route, through the router of the sandbox, until the returned function is called.
func (f *foundation) visitors(url string) (leave func() traffic) {
	ctx, stop := context.WithCancel(f.t.Context())
	seen := traffic{}
	var all sync.WaitGroup
	all.Go(func() {
		client := f.box.Client()
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, url, http.NoBody)
			if err != nil {
				f.t.Error(err)
				return
			}
			resp, err := client.Do(req)
			seen.requests++
			switch {
			case err != nil:
				seen.failures, seen.last = seen.failures+1, err.Error()
			case resp.StatusCode != http.StatusOK:
				seen.failures, seen.last = seen.failures+1, fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Cf-Routererror"))
			}
			if err == nil {
				_ = resp.Body.Close()
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return func() traffic {
		stop()
		all.Wait()
		return seen
	}
}

// Nobody who uses an app notices its rollout, be it taken back or not. That this test could fail is shown by recreate.
func TestNoRequestFailsDuringARollout(t *testing.T) {
	for _, c := range []struct {
		name, strategy, change string
		back, outage           bool
	}{
		{name: "rolling", strategy: "rolling", change: "good morning"},
		{name: "canary", strategy: "canary", change: "good morning"},
		{name: "rolling, taken back after a crash", strategy: "rolling", change: "FAULT_CRASH", back: true},
		{name: "rolling, taken back for want of progress", strategy: "rolling", change: "FAULT_STUCK", back: true},
		{name: "canary, taken back after a crash", strategy: "canary", change: "FAULT_CRASH", back: true},
		{name: "recreate", strategy: "recreate", change: "good morning", outage: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				text := with(web, "strategy: "+c.strategy, "rollout-timeout: 1m")
				f.mustRun(text)
				f.newCode("second")
				leave := f.visitors("https://web.apps.sandbox.test/cart")
				p := f.run(t.Context(), strings.Replace(text, "hello", c.change, 1))
				seen := leave()
				if s := p.outcome.Steps[0]; p.err != nil || s.RolledBack != c.back || (s.Phase == platform.Succeeded) == c.back {
					t.Errorf("%s, rolled back %v: %v %v", s.Phase, s.RolledBack, s.Err, p.err)
				}
				t.Logf("%d requests, %d failed", seen.requests, seen.failures)
				if (seen.failures > 0) != c.outage || seen.requests < 500 {
					t.Errorf("%d of %d requests failed: %s", seen.failures, seen.requests, seen.last)
				}
			})
		})
	}
}

// The setting health-url asks the app through the router, and asks the new instances.
func TestHealthURLThroughTheRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.probe = f.box.Client().Transport
		text := with(web, "health-url: /health", "canary-pause: 0s", "strategy: canary")
		f.mustRun(text)
		before := f.state("web")
		f.newCode("second")
		s, e, _ := f.failed(strings.Replace(text, "hello", "FAULT_SICK", 1))
		if !s.RolledBack || !strings.HasPrefix(e.Message, "https://web.apps.sandbox.test/health answers 500, expected 200-299;") {
			t.Errorf("%v: rolled back %v", e, s.RolledBack)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		f.mustRun(strings.Replace(text, "hello", "good morning", 1))
	})
}
