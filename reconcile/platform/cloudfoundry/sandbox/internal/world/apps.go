package world

import "time"

// Lifecycles of apps, builds and droplets.
const (
	Buildpack = "buildpack"
	Docker    = "docker"
	CNB       = "cnb"
)

// App is an application.
type App struct {
	Base
	Name       string            `json:"name"`
	Space      string            `json:"space"`
	Started    bool              `json:"started,omitempty"`
	Lifecycle  string            `json:"lifecycle"`
	Buildpacks []string          `json:"buildpacks,omitempty"`
	Stack      string            `json:"stack,omitempty"`
	Env        map[string]string `json:"env"` // nil when it was never set
	Droplet    string            `json:"droplet,omitempty"`

	SSHDisabled       bool `json:"ssh_disabled,omitempty"`
	RevisionsDisabled bool `json:"revisions_disabled,omitempty"`
	BindingK8s        bool `json:"service_binding_k8s,omitempty"`
	FileBased         bool `json:"file_based_vcap_services,omitempty"`
}

// HealthCheck of a process; nil numbers are the platform's defaults.
type HealthCheck struct {
	Type              string `json:"type"`
	Endpoint          string `json:"endpoint,omitempty"`
	Timeout           *int   `json:"timeout,omitempty"` // not for readiness
	InvocationTimeout *int   `json:"invocation_timeout,omitempty"`
	Interval          *int   `json:"interval,omitempty"`
}

// Process is one kind of process of an app with its sizes.
type Process struct {
	Base
	App       string      `json:"app"`
	Type      string      `json:"type"`
	Command   string      `json:"command,omitempty"` // a custom one; else the droplet's
	User      string      `json:"user,omitempty"`
	Instances int         `json:"instances"`
	Memory    int         `json:"memory_in_mb"`
	Disk      int         `json:"disk_in_mb"`
	LogRate   int         `json:"log_rate_limit"` // bytes per second, -1 is unlimited
	Health    HealthCheck `json:"health"`
	Readiness HealthCheck `json:"readiness"`
	Version   string      `json:"version"`
	Revision  string      `json:"revision,omitempty"`
	Running   []Instance  `json:"running,omitempty"` // one per instance while the app is started
	Billed    Billed      `json:"billed"`            // what the last usage event said
	Fault     string      `json:"fault,omitempty"`   // what the running instances suffer from, see package runtime
}

// Instance is one running (or crashing) instance. Its state follows from the time since Since.
type Instance struct {
	GUID    string    `json:"guid"`
	Since   time.Time `json:"since"`
	Segment string    `json:"segment,omitempty"`      // the name of the isolation segment in which it was started
	Memory  int       `json:"memory_in_mb,omitempty"` // what it was launched with, like the two below
	Disk    int       `json:"disk_in_mb,omitempty"`
	LogRate int       `json:"log_rate_limit,omitempty"`
}

// Sidecar runs beside processes of some types.
type Sidecar struct {
	Base
	App          string   `json:"app"`
	Name         string   `json:"name"`
	Command      string   `json:"command"`
	ProcessTypes []string `json:"process_types"`
	Memory       *int     `json:"memory_in_mb,omitempty"`
	Origin       string   `json:"origin"` // "user" or "buildpack"
}

// States of packages.
const (
	AwaitingUpload   = "AWAITING_UPLOAD"
	ProcessingUpload = "PROCESSING_UPLOAD"
	Copying          = "COPYING"
	Ready            = "READY"
	Failed           = "FAILED"
	Expired          = "EXPIRED"
)

// Package is uploaded bits, or a docker image.
type Package struct {
	Base
	App      string `json:"app"`
	Type     string `json:"type"` // "bits" or "docker"
	State    string `json:"state"`
	Checksum string `json:"checksum,omitempty"`
	Bits     []byte `json:"bits,omitempty"`
	Image    string `json:"image,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Source   string `json:"source,omitempty"` // the package it is copied from

	Error   string            `json:"error,omitempty"`
	Matched []Resource        `json:"matched,omitempty"` // files of the pool that the upload named
	Pooled  map[string]string `json:"pooled,omitempty"`  // files of Bits that the pool knows: SHA-1, path

	// What a look into the bits found.
	Procfile [][2]string `json:"procfile,omitempty"` // process type, command
	Faults   []string    `json:"faults,omitempty"`
}

// Resource is a file that the pool holds, and what it is to be in a package.
type Resource struct {
	SHA1 string `json:"sha1"`
	Path string `json:"path"`
	Mode string `json:"mode,omitempty"`
}

// States of builds and droplets, beside Failed, AwaitingUpload, ProcessingUpload, Copying and Expired.
const (
	Staging = "STAGING"
	Staged  = "STAGED"
)

// Build makes a droplet of a package.
type Build struct {
	Base
	App        string   `json:"app"`
	Package    string   `json:"package"`
	State      string   `json:"state"`
	Error      string   `json:"error,omitempty"`
	Lifecycle  string   `json:"lifecycle"`
	Buildpacks []string `json:"buildpacks,omitempty"`
	Stack      string   `json:"stack,omitempty"`
	Droplet    string   `json:"droplet,omitempty"`
	Memory     int      `json:"staging_memory_in_mb"`
	Disk       int      `json:"staging_disk_in_mb"`
	LogRate    int      `json:"staging_log_rate_limit"`
	Actor      Actor    `json:"actor"`
	Fails      bool     `json:"fails,omitempty"` // it will fail
}

// Droplet is what can be run.
type Droplet struct {
	Base
	App          string            `json:"app"`
	Package      string            `json:"package,omitempty"`
	State        string            `json:"state"`
	Error        string            `json:"error,omitempty"`
	Lifecycle    string            `json:"lifecycle"`
	Checksum     string            `json:"checksum,omitempty"`
	Buildpacks   []string          `json:"buildpacks,omitempty"`
	Stack        string            `json:"stack,omitempty"`
	Image        string            `json:"image,omitempty"`
	Username     string            `json:"username,omitempty"`
	Password     string            `json:"password,omitempty"`
	ProcessTypes map[string]string `json:"process_types,omitempty"`
	Bits         []byte            `json:"bits,omitempty"`
	Faults       []string          `json:"faults,omitempty"`
	Copy         bool              `json:"copy,omitempty"`
}

// Revision is what an app was at some start: enough to go back to it.
type Revision struct {
	Base
	App         string            `json:"app"`
	Version     int               `json:"version"`
	Droplet     string            `json:"droplet"`
	Env         map[string]string `json:"env"`
	Commands    map[string]string `json:"commands"` // custom commands by process type; "" for the droplet's
	Sidecars    []Sidecar         `json:"sidecars,omitempty"`
	Description string            `json:"description"`
}

// Task runs a command once.
type Task struct {
	Base
	App        string `json:"app"`
	Name       string `json:"name"`
	Command    string `json:"command"`
	State      string `json:"state"`
	Sequence   int    `json:"sequence_id"`
	Memory     int    `json:"memory_in_mb"`
	Disk       int    `json:"disk_in_mb"`
	LogRate    int    `json:"log_rate_limit"`
	User       string `json:"user,omitempty"`
	Droplet    string `json:"droplet"`
	FailReason string `json:"failure_reason,omitempty"`
	Fails      bool   `json:"fails,omitempty"`
}

// Deployment replaces the web process of an app step by step.
type Deployment struct {
	Base
	App             string    `json:"app"`
	Value           string    `json:"status_value"`
	Reason          string    `json:"status_reason"`
	LastHealthy     time.Time `json:"last_healthy"`
	LastChange      time.Time `json:"last_status_change"`
	Strategy        string    `json:"strategy"`
	MaxInFlight     int       `json:"max_in_flight"`
	Droplet         string    `json:"droplet"`
	PreviousDroplet string    `json:"previous_droplet,omitempty"`
	Revision        string    `json:"revision,omitempty"`
	RevisionVersion int       `json:"revision_version,omitempty"`
	NewProcess      string    `json:"new_process,omitempty"`
	Weights         []int     `json:"weights,omitempty"` // canary steps
	HasSteps        bool      `json:"has_steps,omitempty"`
	Step            int       `json:"step,omitempty"` // the canary step under way, from 1
	Original        int       `json:"original"`       // web instances when it began
	Target          int       `json:"target"`         // web instances when it is done
	Options         Options   `json:"options"`
	Rolling         bool      `json:"rolling,omitempty"` // a canary that was continued after its last step
	Dropped         bool      `json:"dropped,omitempty"` // superseded as a canary or while it was being cancelled
}

// Options of a deployment that scale on the way; nil leaves alone.
type Options struct {
	WebInstances *int `json:"web_instances,omitempty"`
	Memory       *int `json:"memory_in_mb,omitempty"`
	Disk         *int `json:"disk_in_mb,omitempty"`
	LogRate      *int `json:"log_rate_limit,omitempty"`
}

// Size makes a process as large as the options say.
func (o Options) Size(p *Process) {
	for _, f := range []struct{ from, to *int }{{o.Memory, &p.Memory}, {o.Disk, &p.Disk}, {o.LogRate, &p.LogRate}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
}

// Deployment status.
const (
	Active     = "ACTIVE"
	Finalized  = "FINALIZED"
	Deploying  = "DEPLOYING"
	Paused     = "PAUSED"
	Canceling  = "CANCELING"
	Deployed   = "DEPLOYED"
	Canceled   = "CANCELED"
	Superseded = "SUPERSEDED"
)

// Task states.
const (
	TaskPending   = "PENDING"
	TaskRunning   = "RUNNING"
	TaskSucceeded = "SUCCEEDED"
	TaskCanceling = "CANCELING"
	TaskFailed    = "FAILED"
)
