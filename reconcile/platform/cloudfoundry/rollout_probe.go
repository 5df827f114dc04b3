package cloudfoundry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// Limits of the setting health-url: of one request, and of asking again until the answer is good.
const (
	probeTimeout = 10 * time.Second
	probeLimit   = 30 * time.Second
)

// probe asks the app whether it is well, where Git says how, until the answer is as expected or the patience is over.
func (v *vigil) probe(ctx context.Context, web string) error {
	r := v.r
	if r.settings.HealthURL == "" {
		return nil
	}
	address, err := r.healthURL()
	if err != nil {
		return err
	}
	low, high := r.settings.HealthStatus[0], r.settings.HealthStatus[1]
	if low == 0 {
		low, high = 200, 299
	}
	until := time.Now().Add(probeLimit)
	for p := newPace(); ; {
		v.r.say(fmt.Sprintf("%s: asking %s", v.doing, address))
		status, why := r.ask(ctx, address, web)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case why == "" && status >= low && status <= high:
			return nil
		case why == "":
			why = fmt.Sprintf("%s answers %d, expected %d", address, status, low)
			if low != high {
				why += fmt.Sprintf("-%d", high)
			}
		}
		if time.Now().After(until) {
			e := v.verdict(ctx, why)
			e.Origin = orElse(r.settings.Origin("health-url"), r.app.Origin)
			return e
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
}

// ask makes one request. The router is asked for an instance of the new process, which routers that do not know the header
// take no notice of.
func (r *appRun) ask(ctx context.Context, address, web string) (status int, why string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	if web != "" && strings.HasPrefix(r.settings.HealthURL, "/") {
		req.Header.Set("X-Cf-Process-Instance", web+":0")
	}
	resp, err := r.d.probe.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<16) // so that the connection can be used again
	return resp.StatusCode, ""
}

// healthURL is the address to ask: as Git says it, or on the first of the routes that Git declares for the app.
func (r *appRun) healthURL() (string, error) {
	if !strings.HasPrefix(r.settings.HealthURL, "/") {
		return r.settings.HealthURL, nil
	}
	for _, set := range []manifest.Set{r.desired, r.data.set} {
		for _, o := range set.Of(manifest.KindRoute) {
			d, leads := destinations(o)[r.step.Ref.Name()+"/web"].(map[string]any)
			host, path, _ := strings.Cut(o.Ref.Name(), "/")
			if !leads || d["protocol"] == "tcp" || strings.HasPrefix(host, "*") || strings.HasSuffix(host, ".apps.internal") {
				continue
			}
			if path != "" {
				path = "/" + path
			}
			return "https://" + host + path + r.settings.HealthURL, nil
		}
	}
	return "", &platform.Error{
		Class: platform.Rollout, Ref: r.step.Ref, Origin: orElse(r.settings.Origin("health-url"), r.app.Origin), Doing: "asking the app whether it is well",
		Message: "health-url is a path, and no route leads to the app", Hint: "write the whole URL, or declare a route",
	}
}

func orElse(at, otherwise manifest.Origin) manifest.Origin {
	if at.IsZero() {
		return otherwise
	}
	return at
}
