// Package services holds service instances and their bindings to apps and routes.
//
// User-provided instances are here in full: everything about them is synchronous. Managed ones, which have plans and
// brokers behind them, add to the same records.
package services

import (
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// UserProvided is the type of instances without a broker.
const UserProvided = "user-provided"

// Redacted stands in audit events for credentials.
const Redacted = "[REDACTED]"

// Register adds the endpoints.
func Register(s *cc.Server) {
	registerInstances(s)
	registerBindings(s)
	registerRouteBindings(s)
	registerSharing(s)
	registerOperations(s)
}

// ByName finds a service instance in a space, or one that is shared with it.
func ByName(tx *cc.Tx, space, name string) *world.ServiceInstance {
	for _, si := range tx.W.ServiceInstances.By("space", space) {
		if si.Name == name {
			return si
		}
	}
	for si := range tx.W.ServiceInstances.All() {
		if si.Name == name && slices.Contains(si.SharedSpaces, space) {
			return si
		}
	}
	return nil
}

func succeeded(tx *cc.Tx, typ, text string) world.LastOperation {
	b := world.Base{Created: tx.Now, Updated: tx.Now}
	return world.LastOperation{Type: typ, State: "succeeded", Description: text, Updated: b}
}

func presentOperation(o world.LastOperation, instance bool) tree.Obj {
	if o.State == "initial" && instance {
		return tree.O("type", o.Type, "state", o.State, "description", nil, "updated_at", cc.Stamp(o.Updated.Updated), "created_at", cc.Stamp(o.Updated.Created))
	}
	times := []any{"updated_at", cc.Stamp(o.Updated.Updated), "created_at", cc.Stamp(o.Updated.Created)}
	if instance {
		return tree.O(append([]any{"type", o.Type, "state", o.State, "description", o.Description}, times...)...)
	}
	return tree.O(append([]any{"state", o.State, "description", cc.OrNil(o.Description), "type", o.Type}, times...)...)
}

// compact drops null values from lists, as the controller does with credentials (observed fact).
func compact(v any) any {
	switch v := v.(type) {
	case tree.Obj:
		out := tree.Obj{}
		for _, f := range v {
			out = append(out, tree.Field{Key: f.Key, Value: compact(f.Value)})
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			if e != nil {
				out = append(out, compact(e))
			}
		}
		return out
	}
	return v
}

func auditInstance(tx *cc.Tx, si *world.ServiceInstance, what string, request any) {
	kind := "user_provided_service_instance"
	if si.Type != UserProvided {
		kind = "service_instance"
	}
	tx.Audit("audit."+kind+"."+what, world.Target{GUID: si.GUID, Type: kind, Name: si.Name}, si.Space, "", tree.O("request", request))
}

func lower(s string) string { return strings.ToLower(s) }
