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
		e.readRouteList(tx, v)
	}
	e.noRoute = flag("no-route", "No-route")
	e.random = flag("random-route", "Random-route")
	e.fallback = flag("default-route", "Default-route")
	if e.random && e.fallback {
		e.add("Random-route and default-route may not be used together")
	}
}

func (e *entry) readRouteList(tx *cc.Tx, v any) {
	l, ok := v.([]any)
	for _, item := range l {
		r, isObj := item.(tree.Obj)
		ok = ok && isObj && r.Has("route")
	}
	if !ok {
		e.add("Routes must be a list of route objects")
		return
	}
	for _, item := range l {
		ro := item.(tree.Obj)
		text, isText := ro.Get("route").(string)
		if !isText {
			panic(fatal{}) // observed fact: what is no text breaks the controller
		}
		r, good := parseRoute(text)
		if !good {
			e.add("The route '%s' is not a properly formed URL", text)
		}
		switch p := ro.Get("protocol"); p {
		case nil:
		case "http1", "http2", "tcp":
			r.protocol = p.(string)
		default:
			e.add("Route protocol must be 'http1', 'http2' or 'tcp'.")
		}
		if v, ok := ro.Lookup("options"); ok && v != nil {
			opts, isObj := v.(tree.Obj)
			if !isObj {
				panic(fatal{})
			}
			r.options = opts
			e.checkOptions(tx, text, opts)
		}
		e.routes = append(e.routes, r)
	}
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
		panic(fatal{})
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
