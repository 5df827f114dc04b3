package world

// Org is an organization.
type Org struct {
	Base
	Name             string `json:"name"`
	Suspended        bool   `json:"suspended,omitempty"`
	Quota            string `json:"quota"`
	IsolationSegment string `json:"isolation_segment,omitempty"` // the default one
}

// Space is a space of an organization.
type Space struct {
	Base
	Name             string `json:"name"`
	Org              string `json:"org"`
	Quota            string `json:"quota,omitempty"`
	SSHDisabled      bool   `json:"ssh_disabled,omitempty"`
	Suspended        bool   `json:"suspended,omitempty"`
	IsolationSegment string `json:"isolation_segment,omitempty"`
}

// Domain is shared when Org is empty, else private to that organization and those it is shared with.
type Domain struct {
	Base
	Name            string   `json:"name"`
	Internal        bool     `json:"internal,omitempty"`
	RouterGroup     string   `json:"router_group,omitempty"`
	Org             string   `json:"org,omitempty"`
	SharedOrgs      []string `json:"shared_orgs,omitempty"`
	EnforceRoutePol bool     `json:"enforce_route_policies,omitempty"`
	PolicyScope     string   `json:"route_policies_scope,omitempty"` // any, org or space
}

// User is known to UAA (with a password) or to the controller (once it was granted a role, or acted), or both.
type User struct {
	Base
	Username   string   `json:"username,omitempty"`
	Email      string   `json:"email,omitempty"`
	GivenName  string   `json:"given_name,omitempty"`
	FamilyName string   `json:"family_name,omitempty"`
	Origin     string   `json:"origin,omitempty"`
	Password   string   `json:"password,omitempty"`
	Scopes     []string `json:"scopes,omitempty"`
	Listed     bool     `json:"listed,omitempty"` // the controller knows the user
}

// Client is an OAuth client of UAA.
type Client struct {
	Base
	Name       string   `json:"name"`
	Secret     string   `json:"secret"`
	GrantTypes []string `json:"grant_types"`
	Scopes     []string `json:"scopes"` // for client_credentials
}

// Role types, in the order in which the controller lists them.
const (
	OrgAuditor        = "organization_auditor"
	OrgManager        = "organization_manager"
	OrgBillingManager = "organization_billing_manager"
	OrgUser           = "organization_user"
	SpaceAuditor      = "space_auditor"
	SpaceManager      = "space_manager"
	SpaceDeveloper    = "space_developer"
	SpaceSupporter    = "space_supporter"
)

// Role ties a user to an organization or to a space; exactly one of Org and Space is set.
type Role struct {
	Base
	Type  string `json:"type"`
	User  string `json:"user"`
	Org   string `json:"org,omitempty"`
	Space string `json:"space,omitempty"`
}
