package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// RouteURL is a route as a manifest names it. Where the host ends and the domain begins only the foundation knows.
type RouteURL struct {
	Hostname string // "shop.example.com", "*.example.com", or a domain alone; in the case it was written in
	Port     int    // 0: none
	Path     string // "" or "/cart"
}

// String gives the URL without a scheme: "shop.example.com:1234/cart".
func (u RouteURL) String() string {
	s := u.Hostname
	if u.Port != 0 {
		s += ":" + strconv.Itoa(u.Port)
	}
	return s + u.Path
}

// Name is what identifies the route in its Ref. The platform compares host and path without regard to
// case, so it is all lower case.
func (u RouteURL) Name() string { return strings.ToLower(u.String()) }

// RouteRef names the route in the space "ORG/SPACE".
func RouteRef(space string, u RouteURL) Ref {
	return Ref{Kind: KindRoute, Path: space + "/" + u.Name()}
}

var (
	routeScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	routeLabel  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	routeHost   = regexp.MustCompile(`^([A-Za-z0-9_-]+|\*)$`)
	routePath   = regexp.MustCompile(`^/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$`)
)

// ParseRoute reads a route URL and checks what can be checked without knowing the foundation's domains. A
// scheme is dropped, as the controller does; https:// together with a port is refused, as it does too.
func ParseRoute(s string) (RouteURL, error) {
	var u RouteURL
	rest, scheme := s, ""
	if m := routeScheme.FindString(s); m != "" {
		scheme, rest = strings.ToLower(strings.TrimSuffix(m, "://")), s[len(m):]
	}
	if scheme != "" && scheme != "http" && scheme != "https" && scheme != "tcp" {
		return u, fmt.Errorf("expected HOST.DOMAIN, got the scheme %s://", scheme)
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest, u.Path = rest[:i], rest[i:]
	}
	if host, port, ok := strings.Cut(rest, ":"); ok {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
			return u, fmt.Errorf("expected a port from 1 to 65535, got %q", shorten(port))
		}
		if scheme == "http" || scheme == "https" {
			return u, fmt.Errorf("a route with %s:// cannot have a port", scheme)
		}
		rest, u.Port = host, n
	}
	if scheme == "tcp" && u.Port == 0 {
		return u, errors.New("a route with tcp:// needs a port")
	}
	u.Hostname = rest
	if err := checkHostname(rest); err != nil {
		return u, err
	}
	return u, checkRoutePath(u)
}

func checkHostname(name string) error {
	if strings.ContainsAny(name, " \t\n") {
		return errors.New("a route cannot contain spaces")
	}
	if strings.ContainsRune(name, '@') {
		return errors.New("expected HOST.DOMAIN, without a user")
	}
	if len(name) > 253 {
		return fmt.Errorf("host and domain together have %d characters; expected at most 253", len(name))
	}
	labels := strings.Split(name, ".")
	if len(labels) < 2 {
		return fmt.Errorf("expected HOST.DOMAIN such as shop.example.com, got %q", shorten(name))
	}
	for i, label := range labels {
		switch {
		case label == "":
			return errors.New("two dots side by side, or one at the beginning or end")
		case len(label) > 63:
			return fmt.Errorf("%q has %d characters; expected at most 63 between two dots", shorten(label), len(label))
		case i == 0 && !routeHost.MatchString(label):
			return fmt.Errorf("the host %q may contain letters, digits, - and _ only, or be a single *", shorten(label))
		case i > 0 && !routeLabel.MatchString(label):
			return fmt.Errorf("%q in the domain may contain letters, digits and - only, with no - at the ends", shorten(label))
		}
	}
	return nil
}

func checkRoutePath(u RouteURL) error {
	switch {
	case u.Path == "":
		return nil
	case u.Path == "/":
		return errors.New("the path cannot be a single /; drop it")
	case u.Port != 0:
		return errors.New("a route with a port cannot have a path")
	case strings.ContainsAny(u.Path, "?#"):
		return errors.New("a route cannot have a query or a fragment")
	case len(u.Path) > 128:
		return fmt.Errorf("the path has %d characters; expected at most 128", len(u.Path))
	case !routePath.MatchString(u.Path):
		return errors.New("the path contains a character that a URL cannot contain")
	}
	return nil
}
