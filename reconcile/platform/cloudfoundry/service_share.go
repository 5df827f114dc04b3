package cloudfoundry

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// sharing reads from a change the spaces that are to be added, and those that are to go.
func sharing(c diff.Change, keys []string) (share, unshare []string) {
	if len(keys) == 2 {
		if c.Op == diff.Remove {
			return nil, keys[1:]
		}
		return keys[1:], nil
	}
	now, _ := c.Value.(map[string]any)
	was, _ := c.Was.(map[string]any)
	for _, place := range slices.Sorted(maps.Keys(now)) {
		if _, there := was[place]; !there {
			share = append(share, place)
		}
	}
	for _, place := range slices.Sorted(maps.Keys(was)) {
		if _, stays := now[place]; !stays {
			unshare = append(unshare, place)
		}
	}
	return share, unshare
}

// share shares the instance with all of the spaces in one request.
func (r *instanceRun) share(ctx context.Context, guid string, spaces []string) error {
	found, err := r.d.places(ctx, spaces)
	if err != nil {
		return err
	}
	var data []map[string]any
	for _, p := range found {
		data = append(data, map[string]any{"guid": p.space})
	}
	r.say("sharing")
	return r.request(ctx, http.MethodPost, r.path(guid)+"/relationships/shared_spaces", map[string]any{"data": data})
}

// unshare takes the instance away from spaces. The platform would take the bindings of the apps there along with it; so it
// is only done where none is left.
func (r *instanceRun) unshare(ctx context.Context, guid string, spaces []string) error {
	if len(spaces) == 0 {
		return nil
	}
	found, err := r.d.places(ctx, spaces)
	if err != nil {
		return err
	}
	var usage struct {
		Summary []struct {
			Space struct{ GUID string } `json:"space"`
			Bound int                   `json:"bound_app_count"`
		} `json:"usage_summary"`
	}
	if _, err := r.d.client.Do(ctx, http.MethodGet, r.path(guid)+"/relationships/shared_spaces/usage_summary", nil, &usage); err != nil {
		return err
	}
	for _, p := range found {
		for _, u := range usage.Summary {
			if u.Space.GUID == p.space && u.Bound > 0 {
				return &platform.Error{
					Class: platform.Invalid, Ref: r.step.Ref, Origin: r.want.FieldOrigin("/share_to"), Doing: "unsharing it from " + p.path,
					Message: fmt.Sprintf("%d apps there are bound to it, and would lose it", u.Bound),
					Hint:    "unbind them first, then apply again; or go on sharing it",
				}
			}
		}
		r.say("unsharing from " + p.path)
		if err := r.request(ctx, http.MethodDelete, r.path(guid)+"/relationships/shared_spaces/"+p.space, nil); err != nil {
			return err
		}
	}
	return nil
}
