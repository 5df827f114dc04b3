// Package staging holds packages, builds and droplets: from uploaded bits to something that can be run.
//
// It looks into uploaded bits for a Procfile and for fault markers, and never runs a buildpack.
package staging

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	registerPackages(s)
	registerBuilds(s)
	registerDroplets(s)
}

func appOf(q *cc.Req, guid string) *world.App {
	a, err := apps.Visible(q, guid)
	if err != nil {
		return nil
	}
	return a
}

func spaceOf(q *cc.Req, app string) string {
	if a, ok := q.W.Apps.Get(app); ok {
		return a.Space
	}
	return ""
}

func orgOf(q *cc.Req, app string) string { return apps.OrgOf(&q.Tx, spaceOf(q, app)) }

// patchMeta is an update that takes metadata only.
func patchMeta(q *cc.Req, base *world.Base, app string) error {
	if err := q.MayWriteSpace(spaceOf(q, app)); err != nil {
		return err
	}
	b, err := q.Body("metadata")
	if err != nil {
		return err
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return err
	}
	if err := m.Check(base); err != nil {
		return err
	}
	m.Apply(base)
	q.Touch(base)
	return nil
}
