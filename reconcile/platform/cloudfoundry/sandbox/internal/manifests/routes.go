package manifests

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/routing"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// applyRoutes: no-route wins over everything; a list wins over random and default; these act only on an app without a
// route. All routes are made before the first one is mapped.
func (e *entry) applyRoutes(tx *cc.Tx, a *world.App) error {
	if e.noRoute {
		routing.UnmapAll(tx, a, true)
		return nil
	}
	if e.listed {
		var made []*world.Route
		for _, r := range e.routes {
			x, err := r.find(tx, a)
			if err != nil {
				return err
			}
			made = append(made, x)
		}
		for i, x := range made {
			if x.Space != a.Space && !slices.Contains(x.SharedSpaces, a.Space) {
				return cc.Unprocessable("Routes cannot be mapped to destinations in different spaces")
			}
			routing.MapWeb(tx, x, a, e.routes[i].protocol)
		}
		return nil
	}
	if !e.random && !e.fallback || len(tx.W.Destinations.By("app", a.GUID)) > 0 {
		return nil
	}
	d := tenancy.DefaultDomain(tx, apps.OrgOf(tx, a.Space))
	if d == nil {
		return cc.Unprocessable("No default domains available")
	}
	host, kind := a.Name, "default"
	if e.random {
		host, kind = a.Name+"-"+randomWords(), "random"
	}
	if len([]rune(host)) > 63 {
		return cc.Unprocessable("Failed to create %s route from app name: Host cannot exceed 63 characters", kind)
	}
	if !hostOK(host) {
		return cc.Unprocessable(`Failed to create %s route from app name: Host must be either "*" or contain only alphanumeric characters, "_", or "-"`, kind)
	}
	x := routing.Find(tx, d.GUID, host, "")
	if x == nil {
		if err := tx.FeatureForAll("route_creation"); err != nil {
			return err
		}
		n := routing.New{Space: a.Space, Domain: d, Host: host}
		if err := n.Check(tx); err != nil {
			return err
		}
		x = n.Create(tx, routeEvent(n))
	}
	if x.Space != a.Space {
		return cc.Unprocessable("Routes cannot be mapped to destinations in different spaces")
	}
	routing.MapWeb(tx, x, a, "")
	return nil
}

func hostOK(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

func routeEvent(n routing.New) tree.Obj {
	options := n.Options
	if options == nil {
		options = tree.Obj{}
	}
	return tree.O("request", tree.O("host", n.Host, "path", n.Path, "port", n.Port, "options", options), "manifest_triggered", true)
}

// find finds or makes the route of an address. The domain is the whole name, or what follows its first label.
func (r route) find(tx *cc.Tx, a *world.App) (*world.Route, error) {
	d, host := domainOf(tx, r.domain)
	if d == nil {
		return nil, cc.Unprocessable("No domains exist for route %s", r.text)
	}
	if r.protocol == "tcp" {
		return nil, cc.Unknown() // observed fact: not foreseen on a domain for HTTP
	}
	fail := func(text string) error { return cc.Unprocessable("For route '%s': %s", r.text, text) }
	if x := routing.Find(tx, d.GUID, host, r.path); x != nil && r.port == nil && (host != "" || d.Org != "") {
		if len(r.options) > 0 {
			routing.SetOptions(x, r.options)
			tx.Touch(&x.Base)
		}
		return x, nil
	}
	switch {
	case host == "*" && d.Org == "":
		return nil, cc.NotAuthorized() // observed fact: even for an administrator
	case len(host) > 63:
		return nil, fail("host must be no more than 63 characters")
	case host != "" && host != "*" && !hostOK(host):
		return nil, fail(`Host must be either "*" or contain only alphanumeric characters, "_", or "-"`)
	case r.path == "/":
		return nil, fail("Path cannot be a single '/'.")
	case len(r.path) > 128:
		return nil, fail("Path cannot exceed 128 characters.")
	}
	if err := tx.FeatureForAll("route_creation"); err != nil { // app/actions/manifest_route_update.rb
		return nil, err
	}
	n := routing.New{Space: a.Space, Domain: d, Host: host, Path: r.path, Port: r.port, Options: r.options}
	if err := n.Check(tx); err != nil {
		var x *cc.Error
		if errors.As(err, &x) {
			return nil, fail(x.Detail)
		}
		return nil, err
	}
	return n.Create(tx, routeEvent(n)), nil
}

func domainOf(tx *cc.Tx, name string) (d *world.Domain, host string) {
	label, rest, _ := strings.Cut(name, ".")
	for x := range tx.W.Domains.All() {
		switch {
		case strings.EqualFold(x.Name, name):
			return x, ""
		case strings.EqualFold(x.Name, rest):
			d, host = x, label
		}
	}
	return d, host
}

var (
	adjectives = []string{"brave", "calm", "daring", "eager", "fluent", "grateful", "happy", "keen", "lively", "mellow", "noble", "quiet", "rapid", "shiny", "tidy", "witty"}
	nouns      = []string{"badger", "crane", "dingo", "eland", "fox", "gecko", "heron", "ibex", "koala", "lynx", "moose", "otter", "puffin", "quail", "raven", "tapir"}
)

// randomWords makes words-words-xx for a random route.
func randomWords() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return adjectives[b[0]%16] + "-" + nouns[b[1]%16] + "-" + string(rune('a'+b[2]%26)) + string(rune('a'+b[3]%26))
}
