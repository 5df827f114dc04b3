package world

// Limits are what a quota says; nil is unlimited.
type Limits struct {
	TotalMemory           *int `json:"total_memory_in_mb,omitempty"`
	PerProcessMemory      *int `json:"per_process_memory_in_mb,omitempty"`
	TotalInstances        *int `json:"total_instances,omitempty"`
	PerAppTasks           *int `json:"per_app_tasks,omitempty"`
	LogRateLimit          *int `json:"log_rate_limit_in_bytes_per_second,omitempty"`
	PaidServices          bool `json:"paid_services_allowed"`
	TotalServiceInstances *int `json:"total_service_instances,omitempty"`
	TotalServiceKeys      *int `json:"total_service_keys,omitempty"`
	TotalRoutes           *int `json:"total_routes,omitempty"`
	TotalReservedPorts    *int `json:"total_reserved_ports,omitempty"`
	TotalDomains          *int `json:"total_domains,omitempty"` // organizations only
}

// OrgQuota limits the organizations to which it is applied, each by itself.
type OrgQuota struct {
	Base
	Name string `json:"name"`
	Limits
}

// SpaceQuota belongs to an organization and limits spaces of it, each by itself.
type SpaceQuota struct {
	Base
	Name string `json:"name"`
	Org  string `json:"org"`
	Limits
}
