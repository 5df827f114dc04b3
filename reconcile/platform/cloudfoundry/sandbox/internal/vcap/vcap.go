// Package vcap makes the value of VCAP_SERVICES: what an app is told about the services bound to it.
//
// It stands apart from package services, which needs package apps, which needs this.
package vcap

import (
	"encoding/json"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Services is VCAP_SERVICES of an app. User-provided instances stand under "user-provided", managed ones under the name of
// their offering.
func Services(w *world.World, app string) tree.Obj {
	out := tree.Obj{}
	for _, b := range w.ServiceBindings.By("app", app) {
		si, ok := w.ServiceInstances.Get(b.ServiceInstance)
		if !ok || b.LastOperation.Type == "create" && b.LastOperation.State != "succeeded" {
			continue // a binding that is not there yet is not told of
		}
		label, entry := entryOf(w, si, b)
		list, _ := out.Get(label).([]any)
		out.Set(label, append(list, entry))
	}
	return out
}

func entryOf(w *world.World, si *world.ServiceInstance, b *world.ServiceBinding) (string, tree.Obj) {
	name := b.Name
	if name == "" {
		name = si.Name
	}
	label, head, tags := "user-provided", tree.O("label", "user-provided"), slices.Clone(si.Tags)
	credentials, drain := si.Credentials, si.SyslogDrainURL
	if p, ok := w.ServicePlans.Get(si.Plan); ok {
		credentials, drain = b.Credentials, b.SyslogDrainURL
		if o, ok := w.ServiceOfferings.Get(p.Offering); ok {
			label = o.Name
			tags = append(slices.Clone(o.Tags), tags...)
		}
		head = tree.O("label", label, "provider", nil, "plan", p.Name)
	}
	unique := []string{}
	for _, t := range tags {
		if !slices.Contains(unique, t) {
			unique = append(unique, t)
		}
	}
	return label, append(head, tree.O("name", name, "tags", unique, "instance_guid", si.GUID, "instance_name", si.Name,
		"binding_guid", b.GUID, "binding_name", orNil(b.Name), "credentials", Credentials(credentials), "syslog_drain_url", orNil(drain),
		"volume_mounts", []any{})...)
}

// Credentials are those of an instance or binding, an empty object when there are none.
func Credentials(c json.RawMessage) any {
	if len(c) == 0 {
		return tree.Obj{}
	}
	return c
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
