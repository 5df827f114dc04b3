package cloudfoundry

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// place is a space with its organization.
type place struct {
	path      string // "ORG/SPACE" as it was asked for
	org       string // guid
	space     string // guid
	suspended bool

	orgQuota, spaceQuota string // guids; "" for none
}

// places finds the spaces "ORG/SPACE" in two requests. Names match without regard to case, as the controller
// matches them. One that is missing is an error that says so.
func (d *Driver) places(ctx context.Context, paths []string) ([]place, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	var orgNames, spaceNames []string
	for _, path := range paths {
		org, space, ok := strings.Cut(path, "/")
		if !ok || org == "" || space == "" {
			return nil, &platform.Error{Class: platform.Invalid, Doing: "looking for the space", Message: fmt.Sprintf("%q does not name a space", path), Hint: "write ORG/SPACE"}
		}
		orgNames, spaceNames = append(orgNames, org), append(spaceNames, space)
	}
	orgs, _, err := ccv3.ListBy[ccv3.Org](ctx, d.client, "/v3/organizations", nil, "names", unique(orgNames))
	if err != nil {
		return nil, explain(manifest.Ref{}, "looking for the organizations", err)
	}
	byName := map[string]ccv3.Org{}
	var guids []string
	for _, o := range orgs {
		byName[strings.ToLower(o.Name)] = o
		guids = append(guids, o.GUID)
	}
	for _, path := range paths {
		if org, _, _ := strings.Cut(path, "/"); byName[strings.ToLower(org)].GUID == "" {
			return nil, d.missingOrg(ctx, org)
		}
	}
	spaces, _, err := ccv3.ListBy[ccv3.Space](ctx, d.client, "/v3/spaces",
		url.Values{"organization_guids": {ccv3.Filter(guids...)}}, "names", unique(spaceNames))
	if err != nil {
		return nil, explain(manifest.Ref{}, "looking for the spaces", err)
	}
	found := make([]place, len(paths))
	for i, path := range paths {
		orgName, name, _ := strings.Cut(path, "/")
		org := byName[strings.ToLower(orgName)]
		at := slices.IndexFunc(spaces, func(s ccv3.Space) bool {
			return strings.EqualFold(s.Name, name) && s.Relationships.Organization.GUID() == org.GUID
		})
		if at < 0 {
			return nil, d.missingSpace(ctx, path, org)
		}
		found[i] = place{path: path, org: org.GUID, space: spaces[at].GUID, suspended: org.Suspended}
		found[i].orgQuota, found[i].spaceQuota = org.Relationships.Quota.GUID(), spaces[at].Relationships.Quota.GUID()
	}
	d.memory.places(found)
	return found, sameSpaceTwice(found)
}

// missingOrg spends one more request on the nearest name that the user can see.
func (d *Driver) missingOrg(ctx context.Context, name string) error {
	e := &platform.Error{
		Class: platform.Missing, Ref: manifest.Ref{Kind: manifest.KindOrg, Path: name}, Doing: "looking for the organization",
		Message: fmt.Sprintf("%q does not exist or %s cannot see it", name, d.whoami(ctx)),
		Hint:    fmt.Sprintf("create it with `cf create-org %s`, or check the spelling and the user's roles", name),
	}
	if all, _, err := ccv3.List[ccv3.Org](ctx, d.client, "/v3/organizations", nil); err == nil {
		names := make([]string, len(all))
		for i, o := range all {
			names[i] = o.Name
		}
		e.Hint = didYouMean(name, names, e.Hint)
	}
	return e
}

func (d *Driver) missingSpace(ctx context.Context, path string, org ccv3.Org) error {
	_, name, _ := strings.Cut(path, "/")
	e := &platform.Error{
		Class: platform.Missing, Ref: manifest.Ref{Kind: manifest.KindSpace, Path: path}, Doing: "looking for the space",
		Message: fmt.Sprintf("%q does not exist in the organization %q or %s cannot see it", name, org.Name, d.whoami(ctx)),
		Hint:    fmt.Sprintf("create it with `cf create-space %s -o %s`, or check the spelling and the user's roles", name, org.Name),
	}
	if all, _, err := ccv3.List[ccv3.Space](ctx, d.client, "/v3/spaces", url.Values{"organization_guids": {org.GUID}}); err == nil {
		names := make([]string, len(all))
		for i, s := range all {
			names[i] = s.Name
		}
		e.Hint = didYouMean(name, names, e.Hint)
	}
	return e
}

// didYouMean puts the nearest known name before the hint.
func didYouMean(name string, known []string, hint string) string {
	if near := manifest.Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q? If not, %s", near, hint)
	}
	return hint
}

// whoami names us in a message.
func (d *Driver) whoami(ctx context.Context) string {
	if id, err := d.client.Identity(ctx); err == nil && id.Name != "" {
		return id.Name
	}
	return "the user"
}

func unique(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
