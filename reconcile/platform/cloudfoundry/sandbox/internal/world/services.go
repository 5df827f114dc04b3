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
}

// LastOperation is what was last done to a service instance or binding, and how it went.
type LastOperation struct {
	Type        string `json:"type"`
	State       string `json:"state"`
	Description string `json:"description"`
	Updated     Base   `json:"at"` // its times
}

// ServiceBinding binds a service instance to an app (type "app"), or holds credentials by themselves (type "key").
type ServiceBinding struct {
	Base
	Type            string          `json:"type"`
	Name            string          `json:"name,omitempty"`
	ServiceInstance string          `json:"service_instance"`
	App             string          `json:"app,omitempty"`
	Credentials     json.RawMessage `json:"credentials,omitempty"` // of managed ones
	LastOperation   LastOperation   `json:"last_operation"`
}

// RouteBinding binds a service instance to a route.
type RouteBinding struct {
	Base
	ServiceInstance string        `json:"service_instance"`
	Route           string        `json:"route"`
	LastOperation   LastOperation `json:"last_operation"`
}
