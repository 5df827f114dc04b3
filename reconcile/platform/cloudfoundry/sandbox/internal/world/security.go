package world

import "encoding/json"

// SecurityGroup is a set of rules for what may leave the containers of some spaces, or of all.
type SecurityGroup struct {
	Base
	Name          string          `json:"name"`
	Rules         json.RawMessage `json:"rules"`
	Running       bool            `json:"running,omitempty"` // for running apps everywhere
	Staging       bool            `json:"staging,omitempty"` // for staging everywhere
	RunningSpaces []string        `json:"running_spaces,omitempty"`
	StagingSpaces []string        `json:"staging_spaces,omitempty"`
}

// IsolationSegment is a part of the platform of which only entitled organizations may make use.
type IsolationSegment struct {
	Base
	Name string   `json:"name"`
	Orgs []string `json:"orgs,omitempty"`
}

// RoutePolicy lets an app, a space, an organization or everyone reach a route whose domain enforces policies.
type RoutePolicy struct {
	Base
	Route  string `json:"route"`
	Source string `json:"source"` // cf:app:GUID, cf:space:GUID, cf:org:GUID or cf:any
}

// NetworkPolicy lets one app reach ports of another directly.
type NetworkPolicy struct {
	Base
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Protocol    string `json:"protocol"`
	Start       int    `json:"start"`
	End         int    `json:"end"`
}
