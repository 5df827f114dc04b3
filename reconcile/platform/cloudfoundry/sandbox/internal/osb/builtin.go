package osb

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Builtin is a broker that the sandbox has by itself, so that services can be tried without one. It remembers nothing: an
// asynchronous operation is the moment at which it will be done.
type Builtin struct {
	Name  string
	Now   func() time.Time
	Scale func(time.Duration) time.Duration // to the speed of the sandbox
}

// Behaviour of a plan; the zero value does everything at once and well.
type behaviour struct {
	takes      time.Duration // instances take that long
	bindTakes  time.Duration // and bindings that long
	fails      Action        // this action is refused
	failsLater Action        // this one begins, and fails
}

// Durations of asynchronous plans at speed 1.
const (
	usual = 2 * time.Second
	slow  = 30 * time.Second
)

// behaviours by plan id.
var behaviours = map[string]behaviour{
	"postgres-small": {}, "postgres-medium": {takes: usual}, "postgres-large": {takes: slow},
	"redis-cache": {}, "redis-cluster": {takes: usual},
	"rabbit-shared": {takes: usual, bindTakes: usual},
	"gate-standard": {}, "drain-standard": {}, "licence-standard": {},
	"chaos-provision-fails": {fails: Provision}, "chaos-provision-fails-later": {takes: usual, failsLater: Provision},
	"chaos-update-fails": {takes: usual, failsLater: Update}, "chaos-deprovision-fails": {fails: Deprovision},
	"chaos-bind-fails": {fails: Bind}, "chaos-bind-fails-later": {bindTakes: usual, failsLater: Bind}, "chaos-unbind-fails": {fails: Unbind},
}

// BuiltinNames lists the built-in brokers.
func BuiltinNames() []string { return []string{"sandbox-data", "sandbox-edge", "sandbox-chaos"} }

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

func about(display string, costs float64, shareable bool) json.RawMessage {
	m := map[string]any{"displayName": display, "documentationUrl": "https://docs.sandbox.test/" + strings.ToLower(strings.ReplaceAll(display, " ", "-"))}
	if costs > 0 {
		m["costs"] = []any{map[string]any{"amount": map[string]any{"usd": costs}, "unit": "MONTHLY"}}
	}
	if shareable {
		m["shareable"] = true
	}
	b, _ := json.Marshal(m)
	return b
}

const sizeSchema = `{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","additionalProperties":false,` +
	`"properties":{"storage_gb":{"type":"integer","minimum":1,"maximum":100},"version":{"type":"string"}}}`

func withSchema(p Plan) Plan {
	p.Schemas.ServiceInstance.Create.Parameters = json.RawMessage(sizeSchema)
	p.Schemas.ServiceInstance.Update.Parameters = json.RawMessage(sizeSchema)
	return p
}

// Catalog is fixed.
func (b *Builtin) Catalog(context.Context) (*Catalog, error) {
	switch b.Name {
	case "sandbox-data":
		return &Catalog{Services: []Service{
			{
				ID: "postgres", Name: "postgresql", Description: "A relational database", Bindable: true, PlanUpdateable: true,
				InstancesRetrievable: true, BindingsRetrievable: true, AllowContextUpdates: true, Tags: []string{"postgresql", "relational", "sql"},
				Metadata: about("PostgreSQL", 0, true),
				Plans: []Plan{
					withSchema(Plan{ID: "postgres-small", Name: "small", Description: "There at once", Free: yes(), MaintenanceInfo: json.RawMessage(`{"version":"15.4.0","description":"PostgreSQL 15.4"}`)}),
					withSchema(Plan{ID: "postgres-medium", Name: "medium", Description: "Takes two seconds", Free: no(), Metadata: about("Medium", 25, false)}),
					withSchema(Plan{ID: "postgres-large", Name: "large", Description: "Takes half a minute", Free: no(), Metadata: about("Large", 99.5, false)}),
				},
			},
			{
				ID: "redis", Name: "redis", Description: "A key-value store", Bindable: true, InstancesRetrievable: true,
				Tags: []string{"redis", "key-value"}, Metadata: about("Redis", 0, true),
				Plans: []Plan{
					{ID: "redis-cache", Name: "cache", Description: "There at once", Free: yes()},
					{ID: "redis-cluster", Name: "cluster", Description: "Takes two seconds", Free: no(), Metadata: about("Cluster", 50, false)},
				},
			},
			{
				ID: "rabbit", Name: "rabbitmq", Description: "A message broker whose bindings take their time, too", Bindable: true,
				InstancesRetrievable: true, BindingsRetrievable: true, Tags: []string{"amqp", "messaging"}, Metadata: about("RabbitMQ", 0, true),
				Plans: []Plan{{ID: "rabbit-shared", Name: "shared", Description: "Takes two seconds", Free: yes()}},
			},
		}}, nil
	case "sandbox-edge":
		return &Catalog{Services: []Service{
			{
				ID: "gate", Name: "gatekeeper", Description: "A route service", Bindable: true, Requires: []string{"route_forwarding"}, Metadata: about("Gatekeeper", 0, false),
				Plans: []Plan{{ID: "gate-standard", Name: "standard", Description: "There at once", Free: yes()}},
			},
			{
				ID: "drain", Name: "log-drain", Description: "A place for logs", Bindable: true, Requires: []string{"syslog_drain"}, Metadata: about("Log drain", 0, false),
				Plans: []Plan{{ID: "drain-standard", Name: "standard", Description: "There at once", Free: yes()}},
			},
			{
				ID: "licence", Name: "licence", Description: "Something that no app can be bound to", Metadata: about("Licence", 0, false),
				Plans: []Plan{{ID: "licence-standard", Name: "standard", Description: "There at once", Free: yes()}},
			},
		}}, nil
	}
	chaos := func(name, text string) Plan {
		return Plan{ID: "chaos-" + name, Name: name, Description: text, Free: yes(), PlanUpdateable: yes()}
	}
	return &Catalog{Services: []Service{{
		ID: "chaos", Name: "chaos", Description: "A service on which no reliance is", Bindable: true, PlanUpdateable: true, InstancesRetrievable: true, BindingsRetrievable: true,
		Metadata: about("Chaos", 0, false),
		Plans: []Plan{
			chaos("provision-fails", "Creating is refused"), chaos("provision-fails-later", "Creating begins, and fails"),
			chaos("update-fails", "Updates begin, and fail"), chaos("deprovision-fails", "Deleting is refused"),
			chaos("bind-fails", "Binding is refused"), chaos("bind-fails-later", "Binding begins, and fails"), chaos("unbind-fails", "Unbinding is refused"),
		},
	}}}, nil
}

// Do answers as the behaviour of the plan says.
func (b *Builtin) Do(_ context.Context, r Request) (*Answer, error) {
	how, known := behaviours[r.Plan]
	if !known {
		return nil, &Error{Status: 400, Text: "Service broker error: there is no plan " + r.Plan}
	}
	switch r.Action {
	case Poll:
		return b.poll(r.Operation), nil
	case Fetch:
		a := &Answer{Parameters: r.Parameters}
		if r.Binding != "" {
			b.credentials(r, a)
		}
		return a, nil
	}
	if how.fails == r.Action {
		return nil, &Error{Status: 500, Text: fmt.Sprintf("Service broker error: the sandbox refuses to %s, as the plan %s says", r.Action, r.Plan)}
	}
	takes := how.takes
	if r.Binding != "" {
		takes = how.bindTakes
	}
	if how.failsLater == r.Action || takes > 0 && (how.failsLater == "" || r.Action != Deprovision && r.Action != Unbind) {
		return &Answer{Async: true, Operation: b.operation(r.Action, takes, how.failsLater == r.Action), DashboardURL: b.dashboard(r)}, nil
	}
	a := &Answer{DashboardURL: b.dashboard(r)}
	if r.Action == Bind {
		b.credentials(r, a)
	}
	return a, nil
}

func (b *Builtin) dashboard(r Request) string {
	if r.Action == Provision && strings.HasPrefix(r.Plan, "postgres") {
		return "https://dashboard.sandbox.test/" + r.Instance
	}
	return ""
}

// operation is the moment at which it will be done, and how.
func (b *Builtin) operation(a Action, takes time.Duration, fails bool) string {
	end := Succeeded
	if fails {
		end = Failed
	}
	return fmt.Sprintf("%s %d %s", end, b.Now().Add(b.Scale(takes)).UnixNano(), a)
}

func (b *Builtin) poll(operation string) *Answer {
	state, rest, _ := strings.Cut(operation, " ")
	at, what, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseInt(at, 10, 64)
	if b.Now().UnixNano() < n {
		return &Answer{State: InProgress, Description: "the sandbox is about to " + what}
	}
	if state == Failed {
		return &Answer{State: Failed, Description: "the sandbox could not " + what + ", as the plan says"}
	}
	return &Answer{State: Succeeded}
}

func (b *Builtin) credentials(r Request, a *Answer) {
	short := r.Binding[:min(8, len(r.Binding))]
	switch r.Service {
	case "gate":
		a.RouteServiceURL = "https://gatekeeper.sandbox.test/" + r.Instance
		return
	case "drain":
		a.SyslogDrainURL = "syslog-tls://logs.sandbox.test:6514"
		a.Credentials = json.RawMessage("{}")
		return
	}
	scheme, port := map[string]string{"postgres": "postgres", "redis": "redis", "rabbit": "amqp"}[r.Service], map[string]int{"postgres": 5432, "redis": 6379, "rabbit": 5672}[r.Service]
	if scheme == "" {
		scheme, port = "chaos", 666
	}
	host, user, password := "q-"+r.Instance+".sandbox.test", "u-"+short, "p-"+short
	a.Credentials, _ = json.Marshal(map[string]any{
		"hostname": host, "port": port, "username": user, "password": password, "name": "db-" + short,
		"uri": fmt.Sprintf("%s://%s:%s@%s:%d/db-%s", scheme, user, password, host, port, short),
	})
}
