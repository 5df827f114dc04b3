// Package router stands in for the router of a foundation: a request whose Host is that of a route is answered by one of
// the instances that the route leads to and that are running at that very moment. There is no container behind an
// instance; what answers is a line that says which one it is.
//
// Statuses, texts and headers are those of gorouter (handlers/lookup.go and errors of its proxy). It differs from it in
// this: what becomes of an instance is known at once and not some seconds later, but for a crash, which is noticed after
// [lag]; a route that leads to apps without a running instance answers 503 for ever, while gorouter forgets it; route
// services and internal routes are no part of it.
package router

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// lag is how long a crashed instance still gets requests.
const lag = time.Second

// tries is how many instances one request is offered to before it is given up.
const tries = 3

// Router answers for the apps of a controller.
type Router struct {
	S *cc.Server

	mu   sync.Mutex
	turn map[string]int // by route: round robin
}

// endpoint is an instance that a route leads to.
type endpoint struct {
	app, appName         string
	process, processType string
	index                int
	droplet              string
	revision             int
	crashed, sick        bool
}

// Serves reports whether a request is for an app rather than for the controller: its Host is below a shared domain, or that
// of a route.
func (rt *Router) Serves(r *http.Request) bool {
	host := hostname(r)
	if net.ParseIP(host) != nil || !strings.Contains(host, ".") {
		return false
	}
	ours := false
	rt.S.View(func(tx *cc.Tx) {
		for d := range tx.W.Domains.All() {
			if d.Internal {
				continue
			}
			label, below := strings.CutSuffix(host, "."+strings.ToLower(d.Name))
			if below && d.Org == "" && d.RouterGroup == "" || (below || host == strings.ToLower(d.Name)) && len(routes(tx, d, label)) > 0 {
				ours = true
				return
			}
		}
	})
	return ours
}

// ServeHTTP answers as the app would.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := hostname(r)
	route, leads := "", false // its guid, and whether it leads to an app at all
	var ends []endpoint
	rt.S.View(func(tx *cc.Tx) {
		if found := find(tx, host, r.URL.Path); found != nil {
			route, leads = found.GUID, len(tx.W.Destinations.By("route", found.GUID)) > 0
			ends = endpoints(tx, found)
		}
	})
	w.Header().Set("X-Vcap-Request-Id", world.GUID())
	if !leads {
		fail(w, http.StatusNotFound, "unknown_route", fmt.Sprintf("404 Not Found: Requested route ('%s') does not exist.", host))
		return
	}
	if asked := requested(r); asked != "" {
		ends = slices.DeleteFunc(ends, func(e endpoint) bool {
			at := ":" + strconv.Itoa(e.index)
			return asked != e.app+at && asked != e.process+at
		})
		if len(ends) == 0 {
			guid, index, _ := strings.Cut(asked, ":")
			fail(w, http.StatusBadRequest, "unknown_route",
				fmt.Sprintf("400 Bad Request: Requested instance ('%s') with guid ('%s') does not exist for route ('%s')", index, guid, host))
			return
		}
	}
	if len(ends) == 0 {
		fail(w, http.StatusServiceUnavailable, "no_endpoints", fmt.Sprintf("503 Service Unavailable: Requested route ('%s') has no available endpoints.", host))
		return
	}
	next := rt.next(route)
	for i := range min(tries, len(ends)) {
		if e := ends[(next+i)%len(ends)]; !e.crashed {
			answer(w, r, e)
			return
		}
	}
	fail(w, http.StatusBadGateway, "endpoint_failure", "502 Bad Gateway: Registered endpoint failed to handle the request.")
}

// answer is what an app says.
func answer(w http.ResponseWriter, r *http.Request, e endpoint) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if e.sick {
		w.WriteHeader(http.StatusInternalServerError)
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(append(tree.JSON(tree.O(
		"app", tree.O("name", e.appName, "guid", e.app),
		"process", tree.O("type", e.processType, "guid", e.process),
		"instance", e.index, "droplet", e.droplet, "revision", e.revision,
		"method", r.Method, "path", r.URL.Path,
	)), '\n'))
}

func fail(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Cf-Routererror", code)
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}

// next counts the requests to a route.
func (rt *Router) next(route string) int {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.turn == nil {
		rt.turn = map[string]int{}
	}
	defer func() { rt.turn[route]++ }()
	return rt.turn[route]
}

// requested is the instance that a request is meant for: "GUID:INDEX" of an app or of a process.
func requested(r *http.Request) string {
	if process := r.Header.Get("X-Cf-Process-Instance"); process != "" {
		return process
	}
	return r.Header.Get("X-Cf-App-Instance")
}

func hostname(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(host)
}

// routes are those of a domain with that host, whatever their path.
func routes(tx *cc.Tx, d *world.Domain, host string) []*world.Route {
	if host == strings.ToLower(d.Name) { // the domain itself
		host = ""
	}
	return slices.DeleteFunc(slices.Clone(tx.W.Routes.By("domain", d.GUID)), func(r *world.Route) bool {
		return r.Port != nil || !strings.EqualFold(r.Host, host)
	})
}

// find takes the route with the longest path that fits; of hosts the exact one, and then the wildcard.
func find(tx *cc.Tx, host, path string) *world.Route {
	label, rest, _ := strings.Cut(host, ".")
	for _, wanted := range []struct{ domain, host string }{{host, ""}, {rest, label}, {rest, "*"}} {
		var best *world.Route
		for d := range tx.W.Domains.All() {
			if d.Internal || !strings.EqualFold(d.Name, wanted.domain) {
				continue
			}
			for _, r := range routes(tx, d, wanted.host) {
				fits := r.Path == "" || path == r.Path || strings.HasPrefix(path, r.Path+"/")
				if fits && (best == nil || len(r.Path) > len(best.Path)) {
					best = r
				}
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// endpoints are the instances that a route leads to now.
func endpoints(tx *cc.Tx, route *world.Route) []endpoint {
	var all []endpoint
	for _, d := range tx.W.Destinations.By("route", route.GUID) {
		a, ok := tx.W.Apps.Get(d.App)
		if !ok || !a.Started {
			continue
		}
		for _, p := range tx.W.Processes.By("app", a.GUID) {
			if p.Type != d.Process {
				continue
			}
			e := endpoint{
				app: a.GUID, appName: a.Name, process: p.GUID, processType: p.Type, droplet: a.Droplet, sick: p.Fault == runtime.FaultSick,
			}
			if r, ok := tx.W.Revisions.Get(p.Revision); ok {
				e.droplet, e.revision = r.Droplet, r.Version
			}
			for i := range p.Running {
				state, since := runtime.State(tx, p, i)
				justCrashed := state == runtime.Crashed && p.Fault == runtime.FaultFlap && tx.Now.Sub(since) < tx.Scaled(lag)
				if state == runtime.Running || justCrashed {
					e.index, e.crashed = i, justCrashed
					all = append(all, e)
				}
			}
		}
	}
	return all
}
