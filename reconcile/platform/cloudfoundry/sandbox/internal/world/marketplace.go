package world

import "encoding/json"

// ServiceBroker offers services. Builtin ones are part of the sandbox; the others are reached under their URL.
type ServiceBroker struct {
	Base
	Name     string `json:"name"`
	URL      string `json:"url"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Space    string `json:"space,omitempty"` // for which alone it is there
	Builtin  bool   `json:"builtin,omitempty"`
	State    string `json:"state"` // see BrokerAvailable
}

// States of brokers.
const (
	BrokerAvailable     = "AVAILABLE"
	BrokerSynchronizing = "SYNCHRONIZING"
	BrokerFailed        = "SYNCHRONIZATION_FAILED"
	BrokerDeleting      = "DELETE_IN_PROGRESS"
)

// ServiceOffering is a service of a catalog.
type ServiceOffering struct {
	Base
	Broker               string          `json:"broker"`
	CatalogID            string          `json:"catalog_id"`
	Name                 string          `json:"name"`
	Description          string          `json:"description"`
	Available            bool            `json:"available"` // still in the catalog
	Tags                 []string        `json:"tags,omitempty"`
	Requires             []string        `json:"requires,omitempty"`
	Metadata             json.RawMessage `json:"catalog_metadata,omitempty"`
	Bindable             bool            `json:"bindable,omitempty"`
	PlanUpdateable       bool            `json:"plan_updateable,omitempty"`
	InstancesRetrievable bool            `json:"instances_retrievable,omitempty"`
	BindingsRetrievable  bool            `json:"bindings_retrievable,omitempty"`
	AllowContextUpdates  bool            `json:"allow_context_updates,omitempty"`
}

// ServicePlan is a plan of an offering.
type ServicePlan struct {
	Base
	Offering        string          `json:"offering"`
	CatalogID       string          `json:"catalog_id"`
	Name            string          `json:"name"`
	Description     string          `json:"description"`
	Available       bool            `json:"available"`
	Free            bool            `json:"free,omitempty"`
	Bindable        *bool           `json:"bindable,omitempty"`        // the offering's when nil
	PlanUpdateable  *bool           `json:"plan_updateable,omitempty"` // likewise
	MaxPolling      *int            `json:"maximum_polling_duration,omitempty"`
	Metadata        json.RawMessage `json:"catalog_metadata,omitempty"`
	MaintenanceInfo json.RawMessage `json:"maintenance_info,omitempty"`
	CreateSchema    json.RawMessage `json:"create_schema,omitempty"`
	UpdateSchema    json.RawMessage `json:"update_schema,omitempty"`
	BindSchema      json.RawMessage `json:"bind_schema,omitempty"`
	Public          bool            `json:"public,omitempty"`
	Orgs            []string        `json:"orgs,omitempty"` // that may use it when it is not public
}
