package world

import "encoding/json"

// ServiceInstance is a user-provided or managed service instance.
type ServiceInstance struct {
	Base
	Type            string          `json:"type"` // "user-provided" or "managed"
	Name            string          `json:"name"`
	Space           string          `json:"space"`
	Tags            []string        `json:"tags,omitempty"`
	Credentials     json.RawMessage `json:"credentials,omitempty"`
	SyslogDrainURL  string          `json:"syslog_drain_url,omitempty"`
	RouteServiceURL string          `json:"route_service_url,omitempty"`
	LastOperation   LastOperation   `json:"last_operation"`

	// Of managed instances.
	Plan            string          `json:"plan,omitempty"`
	Parameters      json.RawMessage `json:"parameters,omitempty"` // as they were given last
	MaintenanceInfo json.RawMessage `json:"maintenance_info,omitempty"`
	DashboardURL    string          `json:"dashboard_url,omitempty"`
	BrokerMetadata  json.RawMessage `json:"broker_metadata,omitempty"`
	SharedSpaces    []string        `json:"shared_spaces,omitempty"`
}

// LastOperation is what was last done to a service instance or binding, and how it went.
type LastOperation struct {
	Type        string `json:"type"`
	State       string `json:"state"`
	Description string `json:"description"`
	Updated     Base   `json:"at"`                  // its times
	Operation   string `json:"operation,omitempty"` // by which the broker knows it
}

// ServiceBinding binds a service instance to an app (type "app"), or holds credentials by themselves (type "key").
type ServiceBinding struct {
	Base
	Type            string          `json:"type"`
	Name            string          `json:"name,omitempty"`
	ServiceInstance string          `json:"service_instance"`
	App             string          `json:"app,omitempty"`
	Credentials     json.RawMessage `json:"credentials,omitempty"` // of managed ones
	SyslogDrainURL  string          `json:"syslog_drain_url,omitempty"`
	VolumeMounts    json.RawMessage `json:"volume_mounts,omitempty"`
	Parameters      json.RawMessage `json:"parameters,omitempty"`
	LastOperation   LastOperation   `json:"last_operation"`
}

// RouteBinding binds a service instance to a route.
type RouteBinding struct {
	Base
	ServiceInstance string          `json:"service_instance"`
	Route           string          `json:"route"`
	RouteServiceURL string          `json:"route_service_url,omitempty"` // of managed ones
	Parameters      json.RawMessage `json:"parameters,omitempty"`
	LastOperation   LastOperation   `json:"last_operation"`
}
