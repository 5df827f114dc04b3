package cloudfoundry

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

func routeOf(o *manifest.Object) manifest.RouteURL {
	u, _ := manifest.ParseRoute(o.Ref.Name()) // it was parsed before, when the manifest was read
	return u
}

// domainOf finds the domain of a route as the controller does: the whole name, or what follows its first label.
func domainOf(all []ccv3.Domain, u manifest.RouteURL) (d ccv3.Domain, host string, ok bool) {
	label, rest, _ := strings.Cut(u.Hostname, ".")
	for _, candidate := range all {
		switch {
		case strings.EqualFold(candidate.Name, u.Hostname):
			return candidate, "", true
		case strings.EqualFold(candidate.Name, rest):
			d, host, ok = candidate, label, true
		}
	}
	return d, host, ok
}

// checkRoutes asks, for each route that has to be created, for its domain and whether it is taken. Only the domain itself
// knows of routes in spaces that the user does not see.
func (c *checks) checkRoutes(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	byOrg := map[string][]ask{}
	for _, a := range c.routes {
		org := c.where[a.object.Ref.Space()].org
		byOrg[org] = append(byOrg[org], a)
	}
	for org, routes := range byOrg {
		group.Go(func() error {
			// Domains that are shared with the organization are in no other list.
			domains, ok, err := listed[ccv3.Domain](ctx, c, "/v3/organizations/"+org+"/domains")
			if err != nil || !ok {
				return err
			}
			asked := map[manifest.Ref]bool{}
			for _, a := range routes {
				d, host, ok := c.shape(a, domains)
				if !ok {
					continue
				}
				taken := asked[a.object.Ref] // another step shares the route: the answer is the same
				if asked[a.object.Ref] = true; taken {
					continue
				}
				group.Go(func() error { return c.checkTaken(ctx, routes, a, d, host) })
			}
			return nil
		})
	}
	return group.Wait()
}

// shape says what is wrong with the route itself.
func (c *checks) shape(a ask, domains []ccv3.Domain) (d ccv3.Domain, host string, ok bool) {
	u := routeOf(a.object)
	if d, host, ok = domainOf(domains, u); !ok {
		var names []string
		for _, d := range domains {
			names = append(names, d.Name)
		}
		_, rest, _ := strings.Cut(u.Hostname, ".")
		c.unknown(a, "unknown-domain", fmt.Sprintf("there is no domain for it that the organization %s can use", a.object.Ref.Org()), rest, names)
		return d, host, false
	}
	bad := func(rule, message, hint string) (ccv3.Domain, string, bool) {
		c.add(finding{ask: a, rule: rule, message: message, hint: hint})
		return d, host, false
	}
	tcp := false
	for _, p := range d.SupportedProtocols {
		tcp = tcp || p == "tcp"
	}
	shared := d.Relationships.Organization.GUID() == ""
	switch {
	case tcp && u.Port == 0:
		return bad("route-port", fmt.Sprintf("the domain %s is for TCP routes, and the port is missing", d.Name), fmt.Sprintf("write %s:PORT", u.Hostname))
	case !tcp && u.Port != 0 && len(d.SupportedProtocols) > 0:
		return bad("route-port", fmt.Sprintf("the domain %s is for HTTP routes, which have no port", d.Name), "leave the port out")
	case !tcp && host == "" && shared:
		return bad("route-host", fmt.Sprintf("%s is a shared domain, and a route on it needs a host", d.Name), "write HOST."+d.Name)
	case d.Internal && u.Path != "":
		return bad("route-path", fmt.Sprintf("%s is an internal domain, whose routes have no path", d.Name), "leave the path out")
	}
	return d, host, true
}

// checkTaken asks the domain whether there is such a route. It is none of the space's own, so that whoever has it is
// somebody else. On a shared domain a host belongs to one space, whatever the path
// (Route#validate_host_and_domain_in_different_space of the controller).
func (c *checks) checkTaken(ctx context.Context, routes []ask, a ask, d ccv3.Domain, host string) error {
	u := routeOf(a.object)
	paths := []string{u.Path}
	if u.Path != "" && d.Relationships.Organization.GUID() == "" {
		paths = append(paths, "")
	}
	for _, path := range paths {
		query := url.Values{"host": {host}}
		if path != "" {
			query.Set("path", path)
		}
		if u.Port != 0 {
			query.Set("port", strconv.Itoa(u.Port))
		}
		var answer struct {
			Matching bool `json:"matching_route"`
		}
		_, err := c.driver.client.Do(ctx, "GET", "/v3/domains/"+d.GUID+"/route_reservations?"+query.Encode(), nil, &answer)
		if unreadable(err) {
			return nil
		} else if err != nil {
			return err
		}
		if !answer.Matching {
			continue
		}
		where, mine, err := c.owner(ctx, a, d, host, path)
		if err != nil {
			return err
		}
		if mine {
			continue
		}
		message := "the route exists in " + where
		if path != u.Path {
			message = fmt.Sprintf("on the shared domain %s the host %s belongs to %s", d.Name, host, where)
		}
		for _, other := range routes {
			if other.object == a.object {
				c.add(finding{ask: other, rule: "route-elsewhere", message: message, hint: "choose another host, or remove the route there"})
			}
		}
		return nil
	}
	return nil
}

// owner says whose route it is, if the user may see it. It is ours when it was made since the observation.
func (c *checks) owner(ctx context.Context, a ask, d ccv3.Domain, host, path string) (where string, mine bool, err error) {
	u, here := routeOf(a.object), c.where[a.object.Ref.Space()].space
	found, in, err := ccv3.List[ccv3.Route](ctx, c.driver.client, "/v3/routes", url.Values{
		"hosts": {ccv3.Filter(host)}, "domain_guids": {d.GUID}, "include": {"space,space.organization"},
	})
	if err != nil && !unreadable(err) {
		return "", false, err
	}
	for _, r := range found {
		if !strings.EqualFold(r.Host, host) || !strings.EqualFold(r.Path, path) || r.Port != nil && int(*r.Port) != u.Port {
			continue
		}
		space := r.Relationships.Space.GUID()
		if space == here {
			return "", true, nil
		}
		for _, s := range in.Spaces {
			if s.GUID != space {
				continue
			}
			for _, o := range in.Organizations {
				if o.GUID == s.Relationships.Organization.GUID() {
					return "the space " + o.Name + "/" + s.Name, false, nil
				}
			}
			return "the space " + s.Name, false, nil
		}
	}
	return "a space that this user cannot see", false, nil
}
