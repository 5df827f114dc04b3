package world

// AppUsageEvent says that an app, a task or a build began or ceased to use something. It outlives what it is about.
type AppUsageEvent struct {
	Base
	State         string  `json:"state"`
	Previous      *string `json:"previous_state"`
	App           string  `json:"app"`
	AppName       string  `json:"app_name"`
	Process       string  `json:"process,omitempty"`
	ProcessType   string  `json:"process_type,omitempty"`
	Space         string  `json:"space"`
	SpaceName     string  `json:"space_name"`
	Org           string  `json:"org"`
	Buildpack     string  `json:"buildpack,omitempty"`
	BuildpackName string  `json:"buildpack_name,omitempty"`
	Task          string  `json:"task,omitempty"`
	TaskName      string  `json:"task_name,omitempty"`
	Memory        int     `json:"memory"`
	MemoryWas     *int    `json:"memory_was"`
	Instances     int     `json:"instances"`
	InstancesWas  *int    `json:"instances_was"`
}

// ServiceUsageEvent says that a service instance came, changed its name or plan, or went.
type ServiceUsageEvent struct {
	Base
	State        string `json:"state"`
	Space        string `json:"space"`
	SpaceName    string `json:"space_name"`
	Org          string `json:"org"`
	Instance     string `json:"instance"`
	InstanceName string `json:"instance_name"`
	InstanceType string `json:"instance_type"`
	Plan         string `json:"plan,omitempty"`
	PlanName     string `json:"plan_name,omitempty"`
	Offering     string `json:"offering,omitempty"`
	OfferingName string `json:"offering_name,omitempty"`
	Broker       string `json:"broker,omitempty"`
	BrokerName   string `json:"broker_name,omitempty"`
}

// Billed is what the last usage event of a process said.
type Billed struct {
	Started   bool `json:"started,omitempty"`
	Memory    int  `json:"memory,omitempty"`
	Instances int  `json:"instances,omitempty"`
}
