package cloudfoundry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// What manifests of version 2 can declare and this driver cannot apply yet. Each becomes a problem of the step that it
// belongs to, which is then not tried: to apply the rest in silence would leave people believing that all of it is done.

// unsupported lists what o declares and the driver would pass over: where it is declared, and what it is.
func unsupported(o *manifest.Object) map[string]string {
	found := map[string]string{}
	in := func(pointer, what string) {
		if v, ok := manifest.Lookup(o.Spec, pointer); ok && v != nil {
			found[pointer] = what
		}
	}
	input := func(key, pointer, what string) {
		if _, ok := o.Inputs[key]; ok {
			found[pointer] = what
		}
	}
	switch o.Ref.Kind {
	case manifest.KindApp:
		in("/package/metadata", "metadata of a package")
		input("buildpack_fallbacks", "/lifecycle/buildpacks", "a buildpack by name and, in its place, by url")
	}
	return found
}

// refuse finds what cannot be applied yet, and sees to it that there is a step to say it of.
func (p *planner) refuse() []platform.Problem {
	var found []platform.Problem
	for _, o := range p.in.Desired.Objects() {
		for pointer, what := range unsupported(o) {
			for _, host := range p.hosts(o) {
				text := what
				if host != o.Ref {
					text = o.Ref.String() + ": " + what
				}
				found = append(found, platform.Problem{
					Step: p.step(host).ID, Origin: o.FieldOrigin(pointer), Message: text + " cannot be applied yet",
					Hint: "remove it from the manifest and do it by hand, for now",
				})
			}
		}
	}
	found = append(found, p.endpoints()...)
	slices.SortFunc(found, func(a, b platform.Problem) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Message, b.Message))
	})
	return found
}

// endpoints finds health checks by HTTP that would have no endpoint. The controller knows no default, as cf push does: it
// fails in the middle of the manifest's job, when half of the app is changed already.
func (p *planner) endpoints() []platform.Problem {
	var found []platform.Problem
	for _, o := range p.in.Desired.Of(manifest.KindApp) {
		var live map[string]any
		if l := p.in.Live.Live.Get(o.Ref); l != nil {
			live = l.Spec
		}
		processes, _ := o.Spec["processes"].(map[string]any)
		for name := range processes {
			for _, check := range []string{"health_check", "readiness_health_check"} {
				kind, _ := manifest.Lookup(o.Spec, manifest.Pointer("processes", name, check, "type"))
				pointer := manifest.Pointer("processes", name, check, "http_endpoint")
				declared, _ := manifest.Lookup(o.Spec, pointer)
				lives, _ := manifest.Lookup(live, pointer)
				if kind != "http" || declared != nil || lives != nil {
					continue
				}
				found = append(found, platform.Problem{
					Step: p.step(o.Ref).ID, Origin: o.FieldOrigin(manifest.Pointer("processes", name, check, "type")),
					Message: fmt.Sprintf("the %s of process %s is http and has no endpoint", strings.ReplaceAll(check, "_", " "), name),
					Hint:    map[string]string{"health_check": "declare one: health-check-http-endpoint: / (version 2: liveness: with http_endpoint: /)", "readiness_health_check": "declare one: readiness-health-check-http-endpoint: / (version 2: readiness: with http_endpoint: /)"}[check],
				})
			}
		}
	}
	return found
}

// hosts are the resources whose steps carry o.
func (p *planner) hosts(o *manifest.Object) []manifest.Ref {
	if o.Ref.Kind == manifest.KindServiceBinding {
		return []manifest.Ref{bindingApp(o.Ref, o)}
	}
	return []manifest.Ref{o.Ref}
}

// step finds or makes the step of ref.
func (p *planner) step(ref manifest.Ref) *platform.Step {
	if p.steps[ref] == nil {
		p.steps[ref] = &platform.Step{ID: ref.String(), Ref: ref}
	}
	return p.steps[ref]
}
