package cloudfoundry

import (
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// ordered names the steps that have to succeed before that of an app because Git says so: by depends-on, and those of
// earlier waves.
func (p *planner) ordered(s *platform.Step) []string {
	app := p.in.Desired.Get(s.Ref)
	if app == nil || app.Ref.Kind != manifest.KindApp {
		return nil
	}
	var ids []string
	for _, ref := range app.Settings.Dependencies(app.Ref) {
		if p.steps[ref] != nil {
			ids = append(ids, ref.String())
		}
	}
	for ref := range p.steps {
		if o := p.in.Desired.Get(ref); o != nil && ref.Kind == manifest.KindApp && o.Settings.Or(nil).Wave < app.Settings.Or(nil).Wave {
			ids = append(ids, ref.String())
		}
	}
	return ids
}
