// Package osb talks to service brokers in the language of the Open Service Broker API, version 2.17.
//
// A Broker is reached over HTTP, or is part of the sandbox (see Builtin). The package knows nothing of the controller:
// what an answer means for an instance or a binding is decided elsewhere.
package osb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Catalog is what a broker offers.
type Catalog struct {
	Services []Service `json:"services"`
}

// Service is an offering with its plans.
type Service struct {
	ID                   string          `json:"id"`
	Name                 string          `json:"name"`
	Description          string          `json:"description"`
	Bindable             bool            `json:"bindable"`
	PlanUpdateable       bool            `json:"plan_updateable"`
	InstancesRetrievable bool            `json:"instances_retrievable"`
	BindingsRetrievable  bool            `json:"bindings_retrievable"`
	AllowContextUpdates  bool            `json:"allow_context_updates"`
	Tags                 []string        `json:"tags"`
	Requires             []string        `json:"requires"`
	Metadata             json.RawMessage `json:"metadata"`
	Plans                []Plan          `json:"plans"`
}

// Plan is one way to have a service. Nil means what the service says, or true for Free.
type Plan struct {
	ID                     string          `json:"id"`
	Name                   string          `json:"name"`
	Description            string          `json:"description"`
	Free                   *bool           `json:"free"`
	Bindable               *bool           `json:"bindable"`
	PlanUpdateable         *bool           `json:"plan_updateable"`
	MaximumPollingDuration *int            `json:"maximum_polling_duration"`
	Metadata               json.RawMessage `json:"metadata"`
	MaintenanceInfo        json.RawMessage `json:"maintenance_info"`
	Schemas                Schemas         `json:"schemas"`
}

// Schemas are JSON schemas for the parameters of operations.
type Schemas struct {
	ServiceInstance struct {
		Create Input `json:"create"`
		Update Input `json:"update"`
	} `json:"service_instance"`
	ServiceBinding struct {
		Create Input `json:"create"`
	} `json:"service_binding"`
}

// Input holds the schema of one operation.
type Input struct {
	Parameters json.RawMessage `json:"parameters"`
}

// Action is what is asked of a broker.
type Action string

// The actions of the API. Poll asks how an asynchronous one is doing, Fetch reads an instance or a binding.
const (
	Provision   Action = "provision"
	Update      Action = "update"
	Deprovision Action = "deprovision"
	Bind        Action = "bind"
	Unbind      Action = "unbind"
	Poll        Action = "poll"
	Fetch       Action = "fetch"
)

// Request is one request about an instance, or about a binding of it when Binding is not empty.
type Request struct {
	Action        Action
	Instance      string
	Binding       string
	Service, Plan string // their ids in the catalog
	Body          any    // of Provision, Update and Bind
	Operation     string // of Poll: what the broker answered at the beginning
	Parameters    json.RawMessage
	UserID        string // who is behind it
}

// Answer is what a broker says. Async answers carry an operation, polls a state.
type Answer struct {
	Async           bool            `json:"-"`
	Operation       string          `json:"operation"`
	DashboardURL    string          `json:"dashboard_url"`
	Metadata        json.RawMessage `json:"metadata"`
	Credentials     json.RawMessage `json:"credentials"`
	SyslogDrainURL  string          `json:"syslog_drain_url"`
	RouteServiceURL string          `json:"route_service_url"`
	VolumeMounts    json.RawMessage `json:"volume_mounts"`
	Parameters      json.RawMessage `json:"parameters"`
	State           string          `json:"state"`
	Description     string          `json:"description"`
	RetryAfter      time.Duration   `json:"-"`
	Gone            bool            `json:"-"` // 410: there is nothing (any more) to delete
}

// States of an asynchronous operation.
const (
	InProgress = "in progress"
	Succeeded  = "succeeded"
	Failed     = "failed"
)

// Broker offers services.
type Broker interface {
	Catalog(ctx context.Context) (*Catalog, error)
	Do(ctx context.Context, r Request) (*Answer, error)
}

// Error is a broker's no, or an answer that makes no sense.
type Error struct {
	Status int // of the answer, 0 when there was none
	Code   string
	Text   string // what a person is told
}

func (e *Error) Error() string { return e.Text }

func malformed(format string, a ...any) *Error { return &Error{Text: fmt.Sprintf(format, a...)} }
