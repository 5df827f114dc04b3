// Package world is the state of the sandbox: typed tables of records, and the things that are still to happen.
//
// It is data only. Nothing here knows HTTP, permissions or texts; no goroutine lives here and nothing is locked: the
// server around it (package cc) holds one lock for the whole world. Everything can be written as JSON and read back,
// so a sandbox survives a restart with its half-finished builds and deployments.
//
// A new kind of resource adds a file with its record and one line to World and New.
package world

import (
	"crypto/rand"
	"encoding/hex"
	"sort"
	"time"
)

// World is everything the sandbox remembers.
type World struct {
	// Now is the moment up to which time has been advanced. It is written under the write lock only.
	Now time.Time `json:"now"`

	Orgs              *Table[*Org]              `json:"organizations"`
	Spaces            *Table[*Space]            `json:"spaces"`
	Domains           *Table[*Domain]           `json:"domains"`
	Users             *Table[*User]             `json:"users"`
	Roles             *Table[*Role]             `json:"roles"`
	OrgQuotas         *Table[*OrgQuota]         `json:"organization_quotas"`
	SpaceQuotas       *Table[*SpaceQuota]       `json:"space_quotas"`
	Stacks            *Table[*Stack]            `json:"stacks"`
	SecurityGroups    *Table[*SecurityGroup]    `json:"security_groups"`
	IsolationSegments *Table[*IsolationSegment] `json:"isolation_segments"`
	RoutePolicies     *Table[*RoutePolicy]      `json:"route_policies"`
	NetworkPolicies   *Table[*NetworkPolicy]    `json:"network_policies"`
	Buildpacks        *Table[*AdminBuildpack]   `json:"buildpacks"`
	Flags             *Table[*Flag]             `json:"feature_flags"`
	EnvGroups         *Table[*EnvGroup]         `json:"environment_variable_groups"`
	Jobs              *Table[*Job]              `json:"jobs"`
	AuditEvents       *Table[*AuditEvent]       `json:"audit_events"`
	Clients           *Table[*Client]           `json:"clients"`

	Apps         *Table[*App]         `json:"apps"`
	Processes    *Table[*Process]     `json:"processes"`
	Sidecars     *Table[*Sidecar]     `json:"sidecars"`
	Packages     *Table[*Package]     `json:"packages"`
	Builds       *Table[*Build]       `json:"builds"`
	Droplets     *Table[*Droplet]     `json:"droplets"`
	Revisions    *Table[*Revision]    `json:"revisions"`
	Tasks        *Table[*Task]        `json:"tasks"`
	Deployments  *Table[*Deployment]  `json:"deployments"`
	Routes       *Table[*Route]       `json:"routes"`
	Destinations *Table[*Destination] `json:"destinations"`

	AppUsageEvents     *Table[*AppUsageEvent]     `json:"app_usage_events"`
	ServiceUsageEvents *Table[*ServiceUsageEvent] `json:"service_usage_events"`

	ServiceBrokers   *Table[*ServiceBroker]   `json:"service_brokers"`
	ServiceOfferings *Table[*ServiceOffering] `json:"service_offerings"`
	ServicePlans     *Table[*ServicePlan]     `json:"service_plans"`
	ServiceInstances *Table[*ServiceInstance] `json:"service_instances"`
	ServiceBindings  *Table[*ServiceBinding]  `json:"service_bindings"`
	RouteBindings    *Table[*RouteBinding]    `json:"route_bindings"`

	Queue Queue `json:"queue"`
}

// New returns an empty world.
func New() *World {
	return &World{
		Orgs: NewTable[*Org](nil),
		Spaces: NewTable(map[string]func(*Space) string{
			"org": func(s *Space) string { return s.Org },
		}),
		Domains: NewTable[*Domain](nil),
		Users:   NewTable[*User](nil),
		Roles: NewTable(map[string]func(*Role) string{
			"user":  func(r *Role) string { return r.User },
			"org":   func(r *Role) string { return r.Org },
			"space": func(r *Role) string { return r.Space },
		}),
		OrgQuotas: NewTable[*OrgQuota](nil),
		SpaceQuotas: NewTable(map[string]func(*SpaceQuota) string{
			"org": func(q *SpaceQuota) string { return q.Org },
		}),
		Stacks:            NewTable[*Stack](nil),
		SecurityGroups:    NewTable[*SecurityGroup](nil),
		IsolationSegments: NewTable[*IsolationSegment](nil),
		NetworkPolicies:   NewTable[*NetworkPolicy](nil),
		Buildpacks:        NewTable[*AdminBuildpack](nil),
		RoutePolicies:     NewTable(map[string]func(*RoutePolicy) string{"route": func(p *RoutePolicy) string { return p.Route }}),
		Flags:             NewTable[*Flag](nil),
		EnvGroups:         NewTable[*EnvGroup](nil),
		Jobs:              NewTable[*Job](nil),
		AuditEvents: NewTable(map[string]func(*AuditEvent) string{
			"target": func(e *AuditEvent) string { return e.Target.GUID },
		}),
		Clients: NewTable[*Client](nil),

		Apps: NewTable(map[string]func(*App) string{
			"space": func(a *App) string { return a.Space },
		}),
		Processes:   NewTable(map[string]func(*Process) string{"app": func(p *Process) string { return p.App }}),
		Sidecars:    NewTable(map[string]func(*Sidecar) string{"app": func(s *Sidecar) string { return s.App }}),
		Packages:    NewTable(map[string]func(*Package) string{"app": func(p *Package) string { return p.App }}),
		Builds:      NewTable(map[string]func(*Build) string{"app": func(b *Build) string { return b.App }}),
		Droplets:    NewTable(map[string]func(*Droplet) string{"app": func(d *Droplet) string { return d.App }}),
		Revisions:   NewTable(map[string]func(*Revision) string{"app": func(r *Revision) string { return r.App }}),
		Tasks:       NewTable(map[string]func(*Task) string{"app": func(t *Task) string { return t.App }}),
		Deployments: NewTable(map[string]func(*Deployment) string{"app": func(d *Deployment) string { return d.App }}),
		Routes: NewTable(map[string]func(*Route) string{
			"space":  func(r *Route) string { return r.Space },
			"domain": func(r *Route) string { return r.Domain },
		}),
		Destinations: NewTable(map[string]func(*Destination) string{
			"route": func(d *Destination) string { return d.Route },
			"app":   func(d *Destination) string { return d.App },
		}),
		AppUsageEvents:     NewTable[*AppUsageEvent](nil),
		ServiceUsageEvents: NewTable[*ServiceUsageEvent](nil),
		ServiceBrokers:     NewTable[*ServiceBroker](nil),
		ServiceOfferings:   NewTable(map[string]func(*ServiceOffering) string{"broker": func(o *ServiceOffering) string { return o.Broker }}),
		ServicePlans:       NewTable(map[string]func(*ServicePlan) string{"offering": func(p *ServicePlan) string { return p.Offering }}),
		ServiceInstances:   NewTable(map[string]func(*ServiceInstance) string{"space": func(s *ServiceInstance) string { return s.Space }}),
		ServiceBindings: NewTable(map[string]func(*ServiceBinding) string{
			"instance": func(b *ServiceBinding) string { return b.ServiceInstance },
			"app":      func(b *ServiceBinding) string { return b.App },
		}),
		RouteBindings: NewTable(map[string]func(*RouteBinding) string{
			"instance": func(b *RouteBinding) string { return b.ServiceInstance },
			"route":    func(b *RouteBinding) string { return b.Route },
		}),
	}
}

// Base returns the base of a record that comes into being now.
func (w *World) Base() Base {
	return Base{GUID: GUID(), Created: w.Now, Updated: w.Now}
}

// GUID makes a random (version 4) identifier.
func GUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var out [36]byte
	hex.Encode(out[:8], b[:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// Event is something that is due to happen to a record: a build finishes, a deployment takes its next step.
type Event struct {
	Due  time.Time `json:"due"`
	Seq  int64     `json:"seq"`
	Kind string    `json:"kind"`
	GUID string    `json:"guid"`
}

// Queue holds events ordered by due time, then by the order in which they were added.
type Queue struct {
	Events []Event `json:"events,omitempty"`
	Seq    int64   `json:"seq"`
}

// Add puts an event in its place.
func (q *Queue) Add(due time.Time, kind, guid string) {
	q.Seq++
	i := sort.Search(len(q.Events), func(i int) bool { return q.Events[i].Due.After(due) })
	q.Events = append(q.Events, Event{})
	copy(q.Events[i+1:], q.Events[i:])
	q.Events[i] = Event{Due: due, Seq: q.Seq, Kind: kind, GUID: guid}
}

// Next is the time of the first event; false when nothing is due ever.
func (q *Queue) Next() (time.Time, bool) {
	if len(q.Events) == 0 {
		return time.Time{}, false
	}
	return q.Events[0].Due, true
}

// Pop takes the first event out.
func (q *Queue) Pop() Event {
	e := q.Events[0]
	q.Events = q.Events[1:]
	return e
}
