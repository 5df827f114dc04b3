package manifests

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/routing"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

func (e *entry) readRoutes(tx *cc.Tx, o tree.Obj) {
	flag := func(key, label string) bool {
		v, ok := o.Lookup(key)
		if !ok || v == nil {
			return false
		}
		on, isBool := v.(bool)
		if !isBool {
			e.add("%s must be a boolean", label)
		}
		return on
	}
	if v, has := o.Lookup("routes"); has {
		e.listed = e.readRouteList(tx, v)
	}
	e.noRoute = flag("no_route", "No-route")
	e.fallback = flag("default_route", "Default-route")
	e.random = flag("random_route", "Random-route")
	if e.random && e.fallback {
		e.add("Random-route and default-route may not be used together")
	}
}

// readRouteList reads the routes: first whether all are routes, then their addresses, protocols and options, each for all
// of them.
func (e *entry) readRouteList(tx *cc.Tx, v any) bool {
	l, ok := v.([]any)
	for _, item := range l {
		r, isObj := item.(tree.Obj)
		ok = ok && isObj && !blank(r.Get("route"))
	}
	if !ok {
		e.add("Routes must be a list of route objects")
		return false
	}
	for _, item := range l {
		text, isText := item.(tree.Obj).Get("route").(string)
		if !isText {
			panic(fatal{}) //nolint:forbidigo // recovered by read: what is no text breaks the controller (observed)
		}
		r, good := parseRoute(text)
		if !good {
			e.add("The route '%s' is not a properly formed URL", text)
		}
		e.routes = append(e.routes, r)
	}
	for i, item := range l {
		switch p := item.(tree.Obj).Get("protocol"); p {
		case nil:
		case "http1", "http2", "tcp":
			e.routes[i].protocol = p.(string)
		default:
			e.add("Route protocol must be 'http1', 'http2' or 'tcp'.")
		}
	}
	for i, item := range l {
		v, has := item.(tree.Obj).Lookup("options")
		if !has {
			continue
		}
		opts, isObj := v.(tree.Obj)
		if !isObj && v != nil && v != false {
			panic(fatal{}) //nolint:forbidigo // recovered by read (observed)
		}
		if !isObj {
			e.add("Route '%s': options must be an object", e.routes[i].text)
			continue
		}
		e.routes[i].options = opts
	}
	for _, r := range e.routes {
		e.checkOptions(tx, r.text, r.options)
	}
	return true
}

func (e *entry) checkOptions(tx *cc.Tx, text string, opts tree.Obj) {
	keys, values := routing.OptionKeys(tx), routing.Balancings(tx)
	for _, f := range opts {
		if !slices.Contains(keys, f.Key) {
			e.add("Route '%s' contains invalid route option '%s'. Valid keys: '%s'", text, f.Key, strings.Join(keys, ", "))
			continue
		}
		if f.Key != "loadbalancing" {
			continue
		}
		s, isText := f.Value.(string)
		switch {
		case !isText:
			e.add("Invalid value for 'loadbalancing' for Route '%s'; Valid values are: '%s'", text, strings.Join(values, ", "))
		case !slices.Contains(values, s):
			e.add("Cannot use loadbalancing value '%s' for Route '%s'; Valid values are: '%s'", s, text, strings.Join(values, ", "))
		}
	}
}

// parseRoute takes an address apart. A scheme is accepted and dropped, but not together with a port.
func parseRoute(text string) (r route, ok bool) {
	r.text = text
	scheme, rest, has := strings.Cut(text, "://")
	if !has {
		scheme, rest = "", text
	}
	u, err := url.Parse("http://" + rest)
	if err != nil || strings.ContainsAny(text, " \t\n") {
		panic(fatal{}) //nolint:forbidigo // recovered by read
	}
	r.domain, r.path = u.Hostname(), u.EscapedPath()
	if p := u.Port(); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil {
			return r, false
		}
		r.port = &n
		return r, scheme == "" || scheme == "tcp"
	}
	return r, r.domain != "" && (scheme == "" || scheme == "http" || scheme == "https")
}
