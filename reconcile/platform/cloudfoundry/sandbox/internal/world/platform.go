package world

import "encoding/json"

// Stack is a root file system that buildpack apps run on.
type Stack struct {
	Base
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	State       string `json:"state"`
	StateReason string `json:"state_reason,omitempty"`
	Default     bool   `json:"default,omitempty"`
}

// AdminBuildpack is a buildpack that an administrator installed for all.
type AdminBuildpack struct {
	Base
	Name      string `json:"name"`
	Stack     string `json:"stack,omitempty"`
	Lifecycle string `json:"lifecycle"`
	Filename  string `json:"filename,omitempty"` // empty until bits were uploaded
	Key       string `json:"key,omitempty"`      // of the bits
	Position  int    `json:"position"`           // within its lifecycle, from 1
	Disabled  bool   `json:"disabled,omitempty"`
	Locked    bool   `json:"locked,omitempty"`
}

// Flag is a feature flag; its guid is its name.
type Flag struct {
	Base
	Enabled bool   `json:"enabled"`
	Message string `json:"custom_error_message,omitempty"`
	Touched bool   `json:"touched,omitempty"` // updated_at is null until then
}

// EnvGroup is a group of environment variables for all apps, "running" or "staging"; its guid is its name.
type EnvGroup struct {
	Base
	Vars    map[string]string `json:"vars,omitempty"`
	Touched bool              `json:"touched,omitempty"`
}

// Actor is who does something: a user, or an OAuth client.
type Actor struct {
	GUID string `json:"guid"`
	Name string `json:"name,omitempty"` // the e-mail address of the token (observed fact), empty for clients
	User string `json:"user,omitempty"` // the user name
	Kind string `json:"kind,omitempty"` // "user" when empty; "service_broker" for what a catalog changes
}

// Target is what an audit event is about.
type Target struct {
	GUID string `json:"guid"`
	Type string `json:"type"`
	Name string `json:"name"`
}

// AuditEvent is one line of the trail. It outlives its target.
type AuditEvent struct {
	Base
	Type   string          `json:"type"`
	Actor  Actor           `json:"actor"`
	Target Target          `json:"target"`
	Space  string          `json:"space,omitempty"`
	Org    string          `json:"org,omitempty"`
	Data   json.RawMessage `json:"data"`
}

// Job states.
const (
	JobProcessing = "PROCESSING"
	JobPolling    = "POLLING"
	JobComplete   = "COMPLETE"
	JobFailed     = "FAILED"
)

// Job is work that the controller does after its answer 202.
type Job struct {
	Base
	Operation string            `json:"operation"`
	State     string            `json:"state"`
	Errors    json.RawMessage   `json:"errors,omitempty"`
	Warnings  []string          `json:"warnings,omitempty"`
	Link      string            `json:"link,omitempty"`      // name of the link to what the job is about, "space"
	LinkPath  string            `json:"link_path,omitempty"` // and its path
	Actor     Actor             `json:"actor"`
	Args      map[string]string `json:"args,omitempty"`
	Payload   json.RawMessage   `json:"payload,omitempty"`
}
