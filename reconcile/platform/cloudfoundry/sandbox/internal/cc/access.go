package cc

import (
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Admin may do everything.
func (q *Req) Admin() bool { return q.scope("cloud_controller.admin") }

// AdminReadOnly reads everything, secrets included.
func (q *Req) AdminReadOnly() bool { return q.scope("cloud_controller.admin_read_only") }

// GlobalAuditor reads everything but secrets.
func (q *Req) GlobalAuditor() bool { return q.scope("cloud_controller.global_auditor") }

// ReadsAll is true for the three kinds of users who see every resource.
func (q *Req) ReadsAll() bool { return q.Admin() || q.AdminReadOnly() || q.GlobalAuditor() }

// roles goes through the caller's roles. A client that logged in for itself is a user whose guid is its name.
func (q *Req) roles() []*world.Role {
	switch {
	case q.Token == nil:
		return nil
	case q.Token.UserID != "":
		return q.W.Roles.By("user", q.Token.UserID)
	case q.Token.ClientID != "":
		return q.W.Roles.By("user", q.Token.ClientID)
	}
	return nil
}

// HasOrgRole reports whether the caller has one of these roles in the organization; any role when none is named.
func (q *Req) HasOrgRole(org string, types ...string) bool {
	for _, r := range q.roles() {
		if r.Org == org && org != "" && (len(types) == 0 || slices.Contains(types, r.Type)) {
			return true
		}
	}
	return false
}

// HasSpaceRole reports whether the caller has one of these roles in the space; any role when none is named.
func (q *Req) HasSpaceRole(space string, types ...string) bool {
	for _, r := range q.roles() {
		if r.Space == space && space != "" && (len(types) == 0 || slices.Contains(types, r.Type)) {
			return true
		}
	}
	return false
}

// ReadsOrg reports whether the caller may see the organization.
func (q *Req) ReadsOrg(org string) bool { return q.ReadsAll() || q.HasOrgRole(org) }

// ReadsSpace reports whether the caller may see the space and what is in it: any space role, or manager of its org.
func (q *Req) ReadsSpace(space string) bool {
	if q.ReadsAll() || q.HasSpaceRole(space) {
		return true
	}
	s, ok := q.W.Spaces.Get(space)
	return ok && q.HasOrgRole(s.Org, world.OrgManager)
}

// Sight is a fast answer to "may the caller see this space/org?" for lists.
type Sight struct {
	All    bool
	Orgs   map[string]bool // any role
	Spaces map[string]bool
}

// Sees computes what the caller may read.
func (q *Req) Sees() Sight {
	v := Sight{All: q.ReadsAll(), Orgs: map[string]bool{}, Spaces: map[string]bool{}}
	if v.All {
		return v
	}
	for _, r := range q.roles() {
		if r.Space != "" {
			v.Spaces[r.Space] = true
			continue
		}
		v.Orgs[r.Org] = true
		if r.Type == world.OrgManager {
			for _, s := range q.W.Spaces.By("org", r.Org) {
				v.Spaces[s.GUID] = true
			}
		}
	}
	return v
}

// Space reports whether a space can be seen.
func (v Sight) Space(guid string) bool { return v.All || v.Spaces[guid] }

// Org reports whether an organization can be seen.
func (v Sight) Org(guid string) bool { return v.All || v.Orgs[guid] }

// MayWriteSpace checks a write in a space that the caller can already see: an administrator always, others with one
// of these roles (space_developer when none is named) unless the organization is suspended. The organization's
// manager counts as the given role "organization_manager".
func (q *Req) MayWriteSpace(space string, types ...string) error {
	if q.Admin() {
		return nil
	}
	if len(types) == 0 {
		types = []string{world.SpaceDeveloper}
	}
	s, ok := q.W.Spaces.Get(space)
	if !ok || !(q.HasSpaceRole(space, types...) || slices.Contains(types, world.OrgManager) && q.HasOrgRole(s.Org, world.OrgManager)) {
		return NotAuthorized()
	}
	if err := q.active(s.Org); err != nil {
		return err
	}
	if s.Suspended && !q.HasOrgRole(s.Org, world.OrgManager) {
		return NewError(403, 10019, "SpaceSuspended", "The space is suspended")
	}
	return nil
}

// MayWriteOrg is the same for an organization; organization_manager when no role is named.
func (q *Req) MayWriteOrg(org string, types ...string) error {
	if q.Admin() {
		return nil
	}
	if len(types) == 0 {
		types = []string{world.OrgManager}
	}
	if !q.HasOrgRole(org, types...) {
		return NotAuthorized()
	}
	return q.active(org)
}

func (q *Req) active(org string) error {
	if o, ok := q.W.Orgs.Get(org); ok && o.Suspended {
		return OrgSuspended()
	}
	return nil
}

// MayAdmin is for what only administrators do.
func (q *Req) MayAdmin() error {
	if q.Admin() {
		return nil
	}
	return NotAuthorized()
}

// Secrets reports whether the caller may see secret values of apps in the space: developers and those who read all,
// save the global auditor.
func (q *Req) Secrets(space string) bool {
	return q.Admin() || q.AdminReadOnly() || q.HasSpaceRole(space, world.SpaceDeveloper)
}

// Org finds an organization that the caller may see, else 404.
func (q *Req) Org(guid string) (*world.Org, error) {
	o, ok := q.W.Orgs.Get(guid)
	if !ok || !q.ReadsOrg(guid) {
		return nil, NotFound("Organization")
	}
	return o, nil
}

// Space finds a space that the caller may see, else 404.
func (q *Req) Space(guid string) (*world.Space, error) {
	s, ok := q.W.Spaces.Get(guid)
	if !ok || !q.ReadsSpace(guid) {
		return nil, NotFound("Space")
	}
	return s, nil
}

// BodySpace finds a space that a body names: what cannot be seen is 422, not 404.
func (q *Req) BodySpace(guid string) (*world.Space, error) {
	s, ok := q.W.Spaces.Get(guid)
	if !ok || !q.ReadsSpace(guid) {
		return nil, Unprocessable("Invalid space. Ensure that the space exists and you have access to it.")
	}
	return s, nil
}

// Feature fails with 330002 when a feature flag is off; administrators are exempt (observed fact: not for every flag,
// see FeatureForAll).
func (q *Req) Feature(flag string) error {
	if q.Admin() {
		return nil
	}
	return q.FeatureForAll(flag)
}

// FeatureForAll fails with 330002 when a feature flag is off, for administrators too (diego_docker, route_sharing …).
func (tx *Tx) FeatureForAll(flag string) error {
	f, ok := tx.W.Flags.Get(flag)
	if !ok || f.Enabled {
		return nil
	}
	text := flag
	if f.Message != "" {
		text = f.Message
	}
	return NewError(403, 330002, "FeatureDisabled", "Feature Disabled: %s", text)
}
