package ccv3

import (
	"encoding/json"
	"strings"
	"time"
)

// Resource is what all V3 resources share.
type Resource struct {
	GUID      string          `json:"guid"`
	CreatedAt time.Time       `json:"created_at,omitzero"`
	UpdatedAt time.Time       `json:"updated_at,omitzero"`
	Metadata  Metadata        `json:"metadata,omitzero"`
	Links     map[string]Link `json:"links,omitempty"`
}

// ID is the guid.
func (r Resource) ID() string { return r.GUID }

// Link is one element of `links`.
type Link struct {
	Href   string `json:"href"`
	Method string `json:"method,omitempty"`
}

// GUID is the last segment of the link's path.
func (l Link) GUID() string { return l.Href[strings.LastIndexByte(l.Href, '/')+1:] }

// Metadata holds labels and annotations. In a request a nil value removes the key.
type Metadata struct {
	Labels      map[string]*string `json:"labels,omitempty"`
	Annotations map[string]*string `json:"annotations,omitempty"`
}

// Annotation is the value of an annotation, or "".
func (m Metadata) Annotation(key string) string {
	if v := m.Annotations[key]; v != nil {
		return *v
	}
	return ""
}

// ToOne is a relationship to one resource. "None" comes as null, as data null, and as {"guid": null} (an
// app's current droplet, observed): GUID is "" for all of them.
type ToOne struct {
	Data *struct {
		GUID *string `json:"guid"`
	} `json:"data"`
}

// To makes a relationship for a request.
func To(guid string) *ToOne {
	r := &ToOne{}
	r.Data = &struct {
		GUID *string `json:"guid"`
	}{&guid}
	return r
}

// GUID of the related resource.
func (r *ToOne) GUID() string {
	if r == nil || r.Data == nil || r.Data.GUID == nil {
		return ""
	}
	return *r.Data.GUID
}

// Relationships of all resources; each has some of them.
type Relationships struct {
	App             *ToOne `json:"app,omitempty"`
	Space           *ToOne `json:"space,omitempty"`
	Organization    *ToOne `json:"organization,omitempty"`
	Domain          *ToOne `json:"domain,omitempty"`
	CurrentDroplet  *ToOne `json:"current_droplet,omitempty"`
	Route           *ToOne `json:"route,omitempty"`
	ServiceInstance *ToOne `json:"service_instance,omitempty"`
	ServicePlan     *ToOne `json:"service_plan,omitempty"`
	ServiceOffering *ToOne `json:"service_offering,omitempty"`
	Quota           *ToOne `json:"quota,omitempty"`
	Revision        *ToOne `json:"revision,omitempty"`
}

// Lifecycle of an app, a build or a droplet.
type Lifecycle struct {
	Type string        `json:"type"` // buildpack, docker, cnb
	Data LifecycleData `json:"data"`
}

// LifecycleData is empty for docker.
type LifecycleData struct {
	Buildpacks []string `json:"buildpacks,omitempty"`
	Stack      string   `json:"stack,omitempty"`
}

// Org is an organization.
type Org struct {
	Resource
	Name          string        `json:"name"`
	Suspended     bool          `json:"suspended"`
	Relationships Relationships `json:"relationships"`
}

// Space of an organization.
type Space struct {
	Resource
	Name          string        `json:"name"`
	Relationships Relationships `json:"relationships"`
}

// Domain of routes.
type Domain struct {
	Resource
	Name               string        `json:"name"`
	Internal           bool          `json:"internal"`
	RouterGroup        *Link         `json:"router_group"`
	SupportedProtocols []string      `json:"supported_protocols"`
	Relationships      Relationships `json:"relationships"` // Organization: private to it; none: shared
}

// App without its processes.
type App struct {
	Resource
	Name          string        `json:"name"`
	State         string        `json:"state"` // STARTED, STOPPED
	Lifecycle     Lifecycle     `json:"lifecycle"`
	Relationships Relationships `json:"relationships"` // Space, CurrentDroplet
}

// Process of an app. Two of type web live side by side while a deployment is active.
type Process struct {
	Resource
	Type                 string        `json:"type"`
	Command              *string       `json:"command"` // hidden in lists
	User                 *string       `json:"user"`
	Instances            int64         `json:"instances"`
	MemoryInMB           int64         `json:"memory_in_mb"`
	DiskInMB             int64         `json:"disk_in_mb"`
	LogRateLimit         int64         `json:"log_rate_limit_in_bytes_per_second"` // -1: no limit
	HealthCheck          HealthCheck   `json:"health_check"`
	ReadinessHealthCheck HealthCheck   `json:"readiness_health_check"`
	Relationships        Relationships `json:"relationships"`
}

// HealthCheck of a process.
type HealthCheck struct {
	Type string `json:"type"`
	Data struct {
		Timeout           *int64  `json:"timeout,omitempty"`
		InvocationTimeout *int64  `json:"invocation_timeout,omitempty"`
		Interval          *int64  `json:"interval,omitempty"`
		Endpoint          *string `json:"endpoint,omitempty"`
	} `json:"data"`
}

// InstanceStats is the state of one instance of a process.
type InstanceStats struct {
	Type     string `json:"type"`
	Index    int    `json:"index"`
	State    string `json:"state"` // RUNNING, CRASHED, STARTING, STOPPING, DOWN
	Routable *bool  `json:"routable"`
	Uptime   int64  `json:"uptime"`
	Details  string `json:"details"`
}

// Sidecar of an app.
type Sidecar struct {
	Resource
	Name          string        `json:"name"`
	Command       string        `json:"command"`
	ProcessTypes  []string      `json:"process_types"`
	MemoryInMB    *int64        `json:"memory_in_mb"`
	Origin        string        `json:"origin"` // user, buildpack
	Relationships Relationships `json:"relationships"`
}

// Feature of an app.
type Feature struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// Package is an app's code before staging.
type Package struct {
	Resource
	Type string `json:"type"` // bits, docker
	Data struct {
		Image    string  `json:"image,omitempty"`
		Username *string `json:"username,omitempty"`
		Checksum *struct {
			Type  string  `json:"type"`
			Value *string `json:"value"`
		} `json:"checksum,omitempty"`
		Error *string `json:"error,omitempty"`
	} `json:"data"`
	State         string        `json:"state"` // AWAITING_UPLOAD, PROCESSING_UPLOAD, READY, FAILED, COPYING, EXPIRED
	Relationships Relationships `json:"relationships"`
}

// Build is one staging.
type Build struct {
	Resource
	State         string        `json:"state"` // STAGING, STAGED, FAILED
	Error         *string       `json:"error"`
	Lifecycle     Lifecycle     `json:"lifecycle"`
	Package       Target        `json:"package"`
	Droplet       *Target       `json:"droplet"`
	Relationships Relationships `json:"relationships"`
}

// Droplet is an app's code after staging.
type Droplet struct {
	Resource
	State     string  `json:"state"` // AWAITING_UPLOAD, PROCESSING_UPLOAD, STAGED, COPYING, FAILED, EXPIRED
	Error     *string `json:"error"`
	Lifecycle struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	} `json:"lifecycle"`
	Stack    *string `json:"stack"`
	Image    *string `json:"image"`
	Checksum *struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"checksum"`
	ProcessTypes  map[string]string `json:"process_types"`
	Relationships Relationships     `json:"relationships"`
}

// Deployment of a droplet.
type Deployment struct {
	Resource
	Status struct {
		Value   string `json:"value"`  // ACTIVE, FINALIZED
		Reason  string `json:"reason"` // DEPLOYING, PAUSED, DEPLOYED, CANCELING, CANCELED, SUPERSEDED
		Details struct {
			LastStatusChange time.Time `json:"last_status_change"`
		} `json:"details"`
		Canary *struct {
			Steps struct {
				Current int `json:"current"`
				Total   int `json:"total"`
			} `json:"steps"`
		} `json:"canary,omitempty"`
	} `json:"status"`
	Strategy        string        `json:"strategy"`
	Droplet         *Target       `json:"droplet"`
	PreviousDroplet *Target       `json:"previous_droplet"`
	NewProcesses    []Target      `json:"new_processes"`
	Revision        *Revision     `json:"revision"`
	Relationships   Relationships `json:"relationships"`
}

// Revision of an app: what it ran with once. A deployment refers to it by guid and version alone.
type Revision struct {
	Resource
	Version     int    `json:"version"`
	Description string `json:"description"`
	Droplet     Target `json:"droplet"`
	Deployable  bool   `json:"deployable"` // its droplet still exists
	Processes   map[string]struct {
		Command *string `json:"command"` // nil: the one that staging detected
	} `json:"processes"`
	Sidecars []Sidecar `json:"sidecars"`
}

// Task is a command that runs once with a droplet.
type Task struct {
	Resource
	Name   string `json:"name"`
	State  string `json:"state"` // PENDING, RUNNING, SUCCEEDED, CANCELING, FAILED
	Result struct {
		FailureReason *string `json:"failure_reason"`
	} `json:"result"`
}

// Target is a reference by guid; Type where there are several kinds.
type Target struct {
	GUID string `json:"guid"`
	Type string `json:"type,omitempty"`
	Name string `json:"name,omitempty"`
}

// Route with its destinations.
type Route struct {
	Resource
	Protocol      string         `json:"protocol"` // http, tcp
	Host          string         `json:"host"`
	Path          string         `json:"path"`
	Port          *int64         `json:"port"`
	URL           string         `json:"url"`
	Destinations  []Destination  `json:"destinations"`
	Options       map[string]any `json:"options"`
	Relationships Relationships  `json:"relationships"` // Space, Domain
}

// Destination of a route.
type Destination struct {
	GUID string `json:"guid,omitempty"`
	App  struct {
		GUID    string `json:"guid"`
		Process *struct {
			Type string `json:"type"`
		} `json:"process,omitempty"`
	} `json:"app"`
	Weight   *int64  `json:"weight,omitempty"`
	Port     *int64  `json:"port,omitempty"`
	Protocol *string `json:"protocol,omitempty"`
}

// ServiceInstance is a managed or a user-provided one.
type ServiceInstance struct {
	Resource
	Name          string         `json:"name"`
	Type          string         `json:"type"` // managed, user-provided
	Tags          []string       `json:"tags"`
	LastOperation *LastOperation `json:"last_operation"`
	Relationships Relationships  `json:"relationships"` // Space, ServicePlan

	// Of user-provided ones.
	SyslogDrainURL  *string `json:"syslog_drain_url"`
	RouteServiceURL *string `json:"route_service_url"`

	// Of managed ones; {} where the plan has no versions.
	MaintenanceInfo struct {
		Version string `json:"version"`
	} `json:"maintenance_info"`
	UpgradeAvailable bool `json:"upgrade_available"`
}

// ServicePlan is what a managed service instance is an instance of.
type ServicePlan struct {
	Resource
	Name          string        `json:"name"`
	Available     bool          `json:"available"`
	Relationships Relationships `json:"relationships"` // ServiceOffering

	MaintenanceInfo struct {
		Version string `json:"version"`
	} `json:"maintenance_info"`
	BrokerCatalog struct {
		Features struct {
			PlanUpdateable bool `json:"plan_updateable"`
			Bindable       bool `json:"bindable"`
		} `json:"features"`
	} `json:"broker_catalog"`
}

// ServiceOffering is what a service broker has on offer, in several plans.
type ServiceOffering struct {
	Resource
	Name          string `json:"name"`
	Shareable     bool   `json:"shareable"`
	BrokerCatalog struct {
		Features struct {
			InstancesRetrievable bool `json:"instances_retrievable"`
		} `json:"features"`
	} `json:"broker_catalog"`
}

// Binding is a service credential binding.
type Binding struct {
	Resource
	Name          *string        `json:"name"`
	Type          string         `json:"type"` // app, key
	LastOperation *LastOperation `json:"last_operation"`
	Relationships Relationships  `json:"relationships"` // App, ServiceInstance
}

// RouteBinding is a service route binding.
type RouteBinding struct {
	Resource
	LastOperation *LastOperation `json:"last_operation"`
	Relationships Relationships  `json:"relationships"` // Route, ServiceInstance
}

// LastOperation of a service instance or binding.
type LastOperation struct {
	Type        string  `json:"type"`
	State       string  `json:"state"` // initial, in progress, succeeded, failed
	Description *string `json:"description"`
}

// AuditEvent says who did what. Filters cannot select by actor.
type AuditEvent struct {
	Resource
	Type   string `json:"type"`
	Actor  Target `json:"actor"` // Name is the mail of the user's token
	Target Target `json:"target"`
	Data   struct {
		Request json.RawMessage `json:"request"`
		// Of map-route and unmap-route.
		RouteGUID   string `json:"route_guid"`
		ProcessType string `json:"process_type"`
		ProcessGUID string `json:"process_guid"`
		// Of deployments: "rollback" or null.
		Type *string `json:"type"`
		// Of what an applied manifest brought about.
		ManifestTriggered bool `json:"manifest_triggered"`
	} `json:"data"`
	Space        *Target `json:"space"`
	Organization *Target `json:"organization"`
}
