// Package front answers what belongs to no resource: the root documents, info, jobs and the audit trail.
package front

import (
	"fmt"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// APIVersion is the version of the Cloud Controller V3 API that the sandbox speaks.
const APIVersion = "3.228.0"

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Public("GET /{$}", root)
	s.Public("GET /v3", rootV3)
	s.Public("GET /v3/info", info)
	s.Read("GET /v3/jobs/{guid}", showJob)
	s.Read("GET /v3/audit_events", events.list)
	s.Read("GET /v3/audit_events/{guid}", showEvent)
}

func root(q *cc.Req) (*cc.Reply, error) {
	uaa := q.Link(q.S.UAAPath)
	return cc.OK(tree.O("links", tree.O(
		"self", q.Link(""),
		"cloud_controller_v2", nil,
		"cloud_controller_v3", tree.O("href", q.Base+"/v3", "meta", tree.O("version", APIVersion)),
		"network_policy_v0", q.Link("/networking/v0/external"),
		"network_policy_v1", q.Link("/networking/v1/external"),
		"login", uaa,
		"uaa", uaa,
		"credhub", nil,
		"routing", nil,
		"logging", nil,
		"log_cache", q.Link(""),
		"log_stream", nil,
		"app_ssh", tree.O("href", q.HTTP.Host, "meta", tree.O("host_key_fingerprint", "", "oauth_client", "ssh-proxy")),
	))), nil
}

// collections in the order in which /v3 lists them.
var collections = []string{
	"app_usage_events", "apps", "audit_events", "buildpacks", "builds", "deployments", "domains", "droplets",
	"environment_variable_groups", "feature_flags", "info", "isolation_segments", "organizations", "organization_quotas", "packages",
	"processes", "resource_matches", "roles", "routes", "security_groups", "service_brokers", "service_instances",
	"service_credential_bindings", "service_offerings", "service_plans", "service_route_bindings", "service_usage_events", "spaces",
	"space_quotas", "stacks", "tasks", "users",
}

func rootV3(q *cc.Req) (*cc.Reply, error) {
	links := tree.O("self", q.Link("/v3"))
	for _, c := range collections {
		links = append(links, tree.Field{Key: c, Value: q.Link("/v3/" + c)})
	}
	return cc.OK(tree.O("links", links)), nil
}

func info(q *cc.Req) (*cc.Reply, error) {
	return cc.OK(tree.O(
		"build", "sandbox", "cli_version", tree.O("minimum", "", "recommended", ""), "custom", tree.Obj{}, "description", "Fettle sandbox",
		"name", "fettle-sandbox", "version", 0, "osbapi_version", "2.17", "rate_limits", tree.O("enabled", false, "general_limit", nil, "reset_interval_in_minutes", nil),
		"links", tree.O("self", q.Link("/v3/info"), "support", tree.O("href", "")),
	)), nil
}

func showJob(q *cc.Req) (*cc.Reply, error) {
	j, ok := q.W.Jobs.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Job")
	}
	warnings := []any{}
	for _, w := range j.Warnings {
		warnings = append(warnings, tree.O("detail", w))
	}
	errs := j.Errors
	if errs == nil {
		errs = tree.Raw("[]")
	}
	links := tree.O("self", q.Link("/v3/jobs/"+j.GUID))
	if j.Link != "" {
		links.Set(j.Link, q.Link(j.LinkPath))
	}
	return cc.OK(cc.Head(&j.Base, "operation", j.Operation, "state", j.State, "errors", errs, "warnings", warnings, "links", links)), nil
}

type eventList struct{ *cc.List[*world.AuditEvent] }

var events = eventList{&cc.List[*world.AuditEvent]{
	Filters: []cc.Filter[*world.AuditEvent]{
		cc.In("types", func(_ *cc.Req, e *world.AuditEvent) string { return e.Type }),
		not(cc.In("target_guids", func(_ *cc.Req, e *world.AuditEvent) string { return e.Target.GUID })),
		cc.In("space_guids", func(_ *cc.Req, e *world.AuditEvent) string { return e.Space }),
		cc.In("organization_guids", func(_ *cc.Req, e *world.AuditEvent) string { return e.Org }),
	},
	Show: presentEvent,
}}

func not[R world.Row](f cc.Filter[R]) cc.Filter[R] {
	f.Not = true
	return f
}

// list shows a user the events of spaces in which the user is developer, supporter or auditor, and those of organizations
// in which the user is auditor (observed fact: managers do not see them).
func (l eventList) list(q *cc.Req) (*cc.Reply, error) {
	return l.Answer(q, q.W.AuditEvents.All(), eventSight(q))
}

func eventSight(q *cc.Req) func(*world.AuditEvent) bool {
	if q.ReadsAll() {
		return nil
	}
	return func(e *world.AuditEvent) bool {
		return e.Space != "" && q.HasSpaceRole(e.Space, world.SpaceAuditor, world.SpaceDeveloper, world.SpaceSupporter) ||
			e.Org != "" && q.HasOrgRole(e.Org, world.OrgAuditor)
	}
}

func showEvent(q *cc.Req) (*cc.Reply, error) {
	e, ok := q.W.AuditEvents.Get(q.Var("guid"))
	if see := eventSight(q); !ok || see != nil && !see(e) {
		return nil, cc.NotFound("Event")
	}
	return cc.OK(presentEvent(q, e)), nil
}

func presentEvent(q *cc.Req, e *world.AuditEvent) any {
	ref := func(guid string) any {
		if guid == "" {
			return nil
		}
		return tree.O("guid", guid)
	}
	kind := "user"
	if e.Actor.Kind != "" {
		kind = e.Actor.Kind
	}
	return cc.Head(&e.Base,
		"type", e.Type,
		"actor", tree.O("guid", e.Actor.GUID, "type", kind, "name", cc.OrNil(e.Actor.Name)),
		"target", tree.O("guid", e.Target.GUID, "type", e.Target.Type, "name", e.Target.Name),
		"data", e.Data, "space", ref(e.Space), "organization", ref(e.Org),
		"links", tree.O("self", q.Link(fmt.Sprintf("/v3/audit_events/%s", e.GUID))),
	)
}
