// Package netpolicy is what would be the policy server of container networking: which app may reach which other app
// directly, behind `cf network-policies` and `cf add-network-policy` (policy server API v1).
//
// It keeps policies and checks who may set them. There is no network whose traffic it could let pass.
package netpolicy

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

const policies = "/networking/v1/external/policies"

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET "+policies, list)
	s.Write("POST "+policies, change(add))
	s.Write("POST "+policies+"/delete", change(remove))
	s.OnDelete("app", func(tx *cc.Tx, app string) {
		for p := range tx.W.NetworkPolicies.All() {
			if p.Source == app || p.Destination == app {
				tx.W.NetworkPolicies.Delete(p.GUID)
			}
		}
	})
}

// everything reports whether the caller may set policies between any two apps.
func everything(q *cc.Req) bool { return q.Admin() || slices.Contains(q.Token.Scopes, "network.admin") }

// mine reports whether the caller develops in the space of an app.
func mine(q *cc.Req, app string) bool {
	a, ok := q.W.Apps.Get(app)
	return ok && (everything(q) || q.HasSpaceRole(a.Space, world.SpaceDeveloper))
}

func list(q *cc.Req) (*cc.Reply, error) {
	wanted := func(parameter, app string) bool { v := q.Values(parameter); return v == nil || slices.Contains(v, app) }
	out := []any{}
	for p := range q.W.NetworkPolicies.All() {
		either := wanted("id", p.Source) || wanted("id", p.Destination)
		if either && wanted("source_id", p.Source) && wanted("dest_id", p.Destination) && mine(q, p.Source) && mine(q, p.Destination) {
			out = append(out, tree.O("source", tree.O("id", p.Source), "destination", tree.O(
				"id", p.Destination, "protocol", p.Protocol, "ports", tree.O("start", p.Start, "end", p.End))))
		}
	}
	return cc.OK(tree.O("total_policies", len(out), "policies", out)), nil
}

// refused is how the policy server says no.
func refused(status int, text string) *cc.Reply {
	return &cc.Reply{Status: status, Body: tree.O("error", text)}
}

// change does something with every policy in the body, or nothing at all.
func change(each func(*cc.Req, world.NetworkPolicy)) cc.Handler {
	return func(q *cc.Req) (*cc.Reply, error) {
		var body struct {
			Policies []struct {
				Source      struct{ ID string }
				Destination struct {
					ID, Protocol string
					Ports        struct{ Start, End int }
				}
			}
		}
		if json.Unmarshal(q.Text(), &body) != nil { // nothing but this text is said about it
			return refused(http.StatusBadRequest, "invalid values passed to API"), nil //nolint:nilerr // a refusal is an answer
		}
		if len(body.Policies) == 0 {
			return refused(http.StatusBadRequest, "missing policies"), nil
		}
		var all []world.NetworkPolicy
		for _, in := range body.Policies {
			d := in.Destination
			p := world.NetworkPolicy{Source: in.Source.ID, Destination: d.ID, Protocol: strings.ToLower(d.Protocol), Start: d.Ports.Start, End: d.Ports.End}
			if problem := invalid(p); problem != "" {
				return refused(http.StatusBadRequest, problem), nil
			}
			if !mine(q, p.Source) || !mine(q, p.Destination) {
				return refused(http.StatusForbidden, "one or more applications cannot be found or accessed"), nil
			}
			all = append(all, p)
		}
		for _, p := range all {
			each(q, p)
		}
		return cc.OK(tree.Obj{}), nil
	}
}

func invalid(p world.NetworkPolicy) string {
	switch {
	case p.Source == "":
		return "missing source id"
	case p.Destination == "":
		return "missing destination id"
	case p.Protocol != "tcp" && p.Protocol != "udp":
		return "invalid destination protocol, specify either udp or tcp"
	case p.Start < 1 || p.End > 65535 || p.Start > p.End:
		return "invalid ports, they go from 1 to 65535 and start must not be above end"
	}
	return ""
}

func find(q *cc.Req, p world.NetworkPolicy) (guid string) {
	for have := range q.W.NetworkPolicies.All() {
		if have.Source == p.Source && have.Destination == p.Destination && have.Protocol == p.Protocol && have.Start == p.Start && have.End == p.End {
			return have.GUID
		}
	}
	return ""
}

// add is idempotent, like remove.
func add(q *cc.Req, p world.NetworkPolicy) {
	if find(q, p) == "" {
		p.Base = q.W.Base()
		q.W.NetworkPolicies.Insert(&p)
	}
}

func remove(q *cc.Req, p world.NetworkPolicy) { q.W.NetworkPolicies.Delete(find(q, p)) }
