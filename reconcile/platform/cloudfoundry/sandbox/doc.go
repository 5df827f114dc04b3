// Package sandbox is a Cloud Controller (V3 API) with its account server in one process: a [net/http.Handler] that
// cf, Terraform and Fettle can work with where otherwise a whole foundation would be needed.
//
// # What it is for
//
// Tests reach it without a socket (see [Sandbox.Client]); people run it over a listener. It is honest about the
// contract: jobs take time, builds stage in time, deployments really step, permissions, texts and audit events are those
// of a real controller. It never starts a container or stages code: apps only behave as if. A request whose
// Host is that of a route is answered in the name of one of the instances that run.
//
// # Time
//
// No goroutine runs on its own. What is to happen later is data, a queue of events with due times, and is done at the
// beginning of the next request, at its own moment and in its order (package internal/cc tells how). So a sandbox works
// under testing/synctest, and [Options.Speed] simply divides all durations.
//
// # In a test
//
// A sandbox needs no socket, no port and no cleaning up, and an hour passes at once:
//
//	synctest.Test(t, func(t *testing.T) {
//		s := sandbox.New(sandbox.Options{AccessTTL: 24 * time.Hour})
//		client := s.Client()             // reaches s, whatever host a URL names: http://api.sandbox.test/v3/apps
//		… push something …
//		time.Sleep(time.Hour)            // builds, rollouts and jobs are done, each at its own moment
//		f, _ := sandbox.ParseFault("GET /v3/apps status=503 times=2")
//		s.SetFaults(f)                   // what goes wrong from now on
//		s.SetRateLimit(sandbox.RateLimit{General: 100, Window: time.Minute})
//		s.Populate(10000)                // a large foundation, in about a second
//		state, err := s.Dump()           // and Restore: the same beginning for many tests
//		s.ResetRequests()
//		… run what is tested …
//		n := s.Requests()["GET /v3/apps"] // what it cost
//	})
//
// Without synctest, [Options.Now] is a clock of one's own, or [Options.Speed] makes the usual one good enough. A
// sandbox is an [net/http.Handler]: net/http/httptest gives it an address for other programs.
//
// # State
//
// [Sandbox.Keep] writes the state to a file whenever it has changed, a whole one at any moment; [Sandbox.Load] goes on
// from there, with the half-finished builds and with the sessions that people had. It is the only thing here that a
// goroutine may be started for, by whoever calls it.
//
// # How it is built
//
//	internal/tree       ordered JSON values, and a fast writer
//	internal/world      the state: typed tables and the queue; data only, written to and read from JSON
//	internal/cc         the frame: routing, locks, time, tokens, permissions, bodies, lists, metadata, errors, jobs, audit events
//	internal/uaa        tokens and users
//	internal/front      root documents, info, jobs, audit events
//	internal/tenancy    organizations, spaces, domains, roles, users
//	internal/settings   feature flags, stacks, environment variable groups
//	internal/quotas     quotas
//	internal/logs       log-cache
//	internal/netpolicy  network policies
//	internal/router     requests to the apps
//	internal/edge       what stands before the controller: request log, counter, faults, rate limiter
//
// The arrows: tree ← world ← cc ← everything else; an area imports another only to present or remove what it holds.
//
// # Adding a resource
//
//  1. Its record goes into a file of internal/world (embed world.Base), its table into World and New, with the keys by
//     which it must be found quickly.
//  2. Its endpoints go into a package internal/AREA with a function Register(*cc.Server): s.Read and s.Write take a
//     net/http pattern and a handler; Write also for a GET that leaves an audit event. Handlers hold the lock and return
//     a *cc.Reply or an error (cc.Unprocessable, cc.NotFound …).
//  3. A list is a cc.List: its Filters in the order in which the controller names them, its Orders, its Show.
//  4. A body is read with q.Body("field", …), checked into b.Problems in the order of the real texts, closed with b.Err().
//  5. What goes when its space (app, domain …) goes: s.OnDelete("space", …). What happens later: tx.After(duration, kind,
//     guid) and s.When(kind, …), or a job: tx.StartJob and s.Job(operation, …). Jobs and events run with the lock held.
//  6. Register is named in areas.go.
package sandbox
