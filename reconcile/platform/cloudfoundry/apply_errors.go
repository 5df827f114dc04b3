package cloudfoundry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

func failure(s *platform.Step, doing string, err error) error {
	var e *platform.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, context.Canceled) || !errors.As(explain(s.Ref, doing, err), &e) {
		return err
	}
	e.Message = withoutPreamble(e.Message, s.Ref.Name())
	if o := s.Desired.Get(s.Ref); o != nil {
		e.Origin = o.Origin
	}
	for _, known := range reasons {
		if m := known.pattern.FindStringSubmatch(e.Message); m != nil {
			known.explain(s, e, m[1:])
			break
		}
	}
	return e
}

// withoutPreamble drops what the error says already: the title that all refused requests share, and the app.
func withoutPreamble(message, app string) string {
	message = strings.ReplaceAll(message, "CF-UnprocessableEntity: ", "")
	return strings.ReplaceAll(message, fmt.Sprintf("For application '%s': ", app), "")
}

// reasons are the controller's refusals (texts observed) for which a better place and a better advice are known.
var reasons = []struct {
	pattern *regexp.Regexp
	explain func(s *platform.Step, e *platform.Error, found []string)
}{
	{regexp.MustCompile(`No domains exist for route (\S+)`), func(s *platform.Step, e *platform.Error, found []string) {
		e.Class = platform.Missing
		e.Origin = originOf(s, manifest.KindRoute, found[0], e.Origin)
		_, domain, _ := strings.Cut(found[0], ".")
		domain, _, _ = strings.Cut(domain, "/")
		domain, _, _ = strings.Cut(domain, ":")
		e.Hint = fmt.Sprintf("use a domain that `cf domains` lists, or have %s created (cf create-private-domain %s %s)", domain, s.Ref.Org(), domain)
	}},
	{regexp.MustCompile(`Service instance '([^']+)' not found`), func(s *platform.Step, e *platform.Error, found []string) {
		e.Class = platform.Missing
		e.Origin = originOf(s, manifest.KindServiceBinding, s.Ref.Name()+"/"+found[0], e.Origin)
		e.Hint = createInstance
	}},
	{regexp.MustCompile(`[Ss]tack must be an existing stack|Stack '[^']*' does not exist`), func(s *platform.Step, e *platform.Error, _ []string) {
		e.Origin = fieldOf(s, "/lifecycle/stack", e.Origin)
		e.Hint = "`cf stacks` lists the stacks that exist"
	}},
	{regexp.MustCompile(`(?:unknown buildpack name: |Buildpack )"([^"]+)"`), func(s *platform.Step, e *platform.Error, _ []string) {
		e.Origin = fieldOf(s, "/lifecycle/buildpacks", e.Origin)
		e.Hint = "`cf buildpacks` lists the buildpacks that exist; a Git URL is accepted too"
	}},
	{regexp.MustCompile(`(memory|disk|log_rate_limit|instance\S*)\S* (space_)?\S*quota\S*exceeded`), func(s *platform.Step, e *platform.Error, found []string) {
		e.Class = platform.Quota
		whose, show := "organization "+s.Ref.Org(), "cf org "+s.Ref.Org()
		if found[1] != "" {
			whose, show = "space "+s.Ref.Space(), "cf space "+strings.TrimPrefix(s.Ref.Space(), s.Ref.Org()+"/")
		}
		e.Hint = fmt.Sprintf("the quota of %s has no room for that much %s (see `%s`): ask for less, stop something else, or have the quota raised", whose, found[0], show)
	}},
	{regexp.MustCompile(`Routes quota exceeded|exceeded the total routes`), func(_ *platform.Step, e *platform.Error, _ []string) {
		e.Class = platform.Quota
		e.Hint = "remove routes that nothing uses (cf delete-orphaned-routes), or have the quota raised"
	}},
	{regexp.MustCompile(`mapped to destinations in different spaces|[Rr]oute .*already (exists|in use)`), func(s *platform.Step, e *platform.Error, _ []string) {
		e.Hint = "the route belongs to another space: choose another host, or have it shared with this space (cf share-route)"
	}},
	{regexp.MustCompile(`Failed to create (?:random|default) route from app name`), func(s *platform.Step, e *platform.Error, _ []string) {
		e.Origin = fieldOf(s, "/routed", e.Origin)
		e.Hint = "declare `routes` with a host of your choice, or name the app with letters, digits, - and _ alone"
	}},
	{regexp.MustCompile(`Feature Disabled: (\S+)`), func(_ *platform.Step, e *platform.Error, found []string) {
		e.Hint = fmt.Sprintf("the foundation does not allow it: have an administrator enable it (cf enable-feature-flag %s)", found[0])
	}},
	{regexp.MustCompile(`For route '([^']+)'`), func(s *platform.Step, e *platform.Error, found []string) {
		e.Origin = originOf(s, manifest.KindRoute, found[0], e.Origin)
		e.Hint = "correct the route"
	}},
	{regexp.MustCompile(`Assign a droplet before starting this app`), func(_ *platform.Step, e *platform.Error, _ []string) {
		e.Hint = "the app has no code: declare `path` or `docker`"
	}},
	{regexp.MustCompile(`Retry this operation later|operation in progress for the service`), func(_ *platform.Step, e *platform.Error, _ []string) {
		e.Class = platform.Unavailable
		e.Hint = "somebody is at work on the service instance or on its binding: apply again when that is done"
	}},
	{regexp.MustCompile(`while a deployment is in flight`), func(s *platform.Step, e *platform.Error, _ []string) {
		e.Class = platform.Unavailable
		e.Hint = fmt.Sprintf("somebody else deploys the app: wait for the end or cancel it (cf cancel-deployment %s)", s.Ref.Name())
	}},
}

// originOf is where the route or binding with that name is declared.
func originOf(s *platform.Step, kind manifest.Kind, name string, fallback manifest.Origin) manifest.Origin {
	for _, o := range s.Desired.Of(kind) {
		if strings.EqualFold(o.Ref.Name(), name) && !o.Origin.IsZero() {
			return o.Origin
		}
	}
	return fallback
}

func fieldOf(s *platform.Step, pointer string, fallback manifest.Origin) manifest.Origin {
	if o := s.Desired.Get(s.Ref); o != nil {
		if at := o.FieldOrigin(pointer); !at.IsZero() {
			return at
		}
	}
	return fallback
}
