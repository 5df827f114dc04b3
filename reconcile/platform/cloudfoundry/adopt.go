package cloudfoundry

import (
	"context"
	"net/http"
	"slices"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Mark is what a live resource lacks to be Fettle's own.
type Mark struct {
	Ref  manifest.Ref
	path string // of the resource
	text string // of the annotation
}

// Unowned finds the declared apps and routes that live and that Fettle does not own as they are declared: those that
// somebody else made, or added to. What Fettle owns of them already, it keeps. It changes nothing.
func (d *Driver) Unowned(ctx context.Context, desired manifest.Set, live platform.Observation) ([]Mark, error) {
	refs := map[string]manifest.Ref{} // by guid
	guids := map[manifest.Kind][]string{}
	for _, o := range desired.Objects() {
		if guid := live.IDs[o.Ref]; guid != "" && live.Live.Get(o.Ref) != nil && !isShared(o) {
			refs[guid] = o.Ref
			guids[o.Ref.Kind] = append(guids[o.Ref.Kind], guid)
		}
	}
	apps, _, err := ccv3.ListBy[ccv3.Resource](ctx, d.client, "/v3/apps", nil, "guids", guids[manifest.KindApp])
	if err != nil {
		return nil, explain(manifest.Ref{}, "reading what is owned", err)
	}
	routes, _, err := ccv3.ListBy[ccv3.Resource](ctx, d.client, "/v3/routes", nil, "guids", guids[manifest.KindRoute])
	if err != nil {
		return nil, explain(manifest.Ref{}, "reading what is owned", err)
	}
	var marks []Mark
	for path, all := range map[string][]ccv3.Resource{"/v3/apps/": apps, "/v3/routes/": routes} {
		for _, of := range all {
			ref := refs[of.GUID]
			o := desired.Get(ref)
			keys := metadataKeys("", o.Spec)
			if ref.Kind == manifest.KindApp {
				keys = ledgerKeys(o, attachedTo(ref, desired))
			}
			was := of.Metadata.Annotation(appliedAnnotation)
			if now := with(was, keys...); now != was {
				marks = append(marks, Mark{Ref: ref, path: path + of.GUID, text: now})
			}
		}
	}
	slices.SortFunc(marks, func(a, b Mark) int { return a.Ref.Compare(b.Ref) })
	return marks, nil
}

// attachedTo is what hangs on an app: its bindings, and the routes of its space, of which its ledger has those that lead to it.
func attachedTo(app manifest.Ref, desired manifest.Set) manifest.Set {
	var set manifest.Set
	for _, o := range desired.Objects() {
		switch {
		case o.Ref.Space() != app.Space():
		case o.Ref.Kind == manifest.KindRoute, o.Ref.Kind == manifest.KindServiceBinding && bindingApp(o.Ref, o) == app:
			set.Put(o)
		}
	}
	return set
}

// Own writes the marks, one request each. Nothing but an annotation of the resource changes.
func (d *Driver) Own(ctx context.Context, marks []Mark) error {
	for _, m := range marks {
		body := map[string]any{"metadata": ccv3.Metadata{Annotations: map[string]*string{appliedAnnotation: &m.text}}}
		if _, err := d.client.Do(ctx, http.MethodPatch, m.path, body, nil); err != nil {
			return explain(m.Ref, "noting that it is owned", err)
		}
	}
	return nil
}
