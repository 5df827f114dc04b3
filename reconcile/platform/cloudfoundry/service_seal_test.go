package cloudfoundry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

const parameterized = `
version: 2
apps: [{name: web, package: {path: web}}]
service_instances:
- {name: db, service_offering: {name: postgresql}, service_plan: {name: medium}, parameters: {storage_gb: 5}}
service_bindings:
- {type: app, service_instance: {name: db}, app: {name: web}, parameters: {role: reader}}
- {type: key, service_instance: {name: db}, name: backup, parameters: {role: backup}}
`

// bindings are the guids of the bindings, by type.
func (f *foundation) bindings() map[string]ccv3.Binding {
	all := map[string]ccv3.Binding{}
	for _, b := range list[ccv3.Binding](f, "/v3/service_credential_bindings") {
		all[b.Type] = b
	}
	return all
}

func unobserved(c diff.Changes) map[string]string {
	all := map[string]string{}
	for _, u := range c.Unobserved {
		all[u.Ref.String()+" "+u.Path] = u.Why
	}
	return all
}

// Parameters cannot be read back. Where Git changes them, that is seen, and done: to an instance in place, to a binding and a
// key by making them anew.
func TestParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServices(t)
		f.mustRun(parameterized)
		f.converged(parameterized)
		const app, key, db = "service_binding acme/dev/web/db", "service_key acme/dev/db/backup", "service_instance acme/dev/db"
		text := parameterized
		for _, change := range []struct {
			was, is  string
			ref      string
			impact   diff.Impact
			restarts int
			anew     string // the type of the binding that is another one
		}{
			{"storage_gb: 5", "storage_gb: 6", db, diff.ImpactInPlace, 0, ""},
			{"role: reader", "role: writer", app, diff.ImpactRecreate, 1, "app"},
			{"{role: backup}", "{role: dump}", key, diff.ImpactRecreate, 0, "key"},
		} {
			text = strings.Replace(text, change.was, change.is, 1)
			before, rollouts := f.bindings(), f.deployments()
			p := f.mustRun(text)
			if l := p.changes.List; len(l) != 1 || l[0].Ref.String() != change.ref || l[0].Path != "/parameters" || !l[0].Secret || l[0].Was != diff.Hidden {
				t.Errorf("%s: %v", change.is, l)
			}
			if s := p.plan.Steps; len(s) != 1 || s[0].Impact != change.impact {
				t.Errorf("%s: %+v", change.is, s)
			}
			f.converged(text)
			for kind, b := range f.bindings() {
				if anew := b.GUID != before[kind].GUID; anew != (kind == change.anew) {
					t.Errorf("%s: the binding of type %s is another one: %t", change.is, kind, anew)
				}
			}
			if n := f.deployments() - rollouts; n != change.restarts {
				t.Errorf("%s: %d rollouts", change.is, n)
			}
		}
		// In sync is not what it is called.
		p := f.mustRun(text)
		if u := unobserved(p.changes); len(u) != 3 || !strings.Contains(u[app+" /parameters"], "Git declares what was applied last") {
			t.Errorf("%v", u)
		}

		// Without the key nothing can be said, and nothing is done. With another one neither.
		for _, sealer := range []diff.Sealer{{}, {Key: []byte("another")}} {
			f.sealer = &sealer
			p = f.mustRun(strings.Replace(text, "writer", "owner", 1))
			if u := unobserved(p.changes); len(p.changes.List) != 0 || len(u) != 3 || !strings.Contains(u[app+" /parameters"], "key") {
				t.Errorf("%v %v", p.changes.List, u)
			}
		}
		f.sealer = nil

		// What somebody else bound, nobody knows.
		f.job(http.MethodDelete, "/v3/service_credential_bindings/"+f.bindings()["key"].GUID, nil)
		f.job(http.MethodPost, "/v3/service_credential_bindings", map[string]any{
			"type": "key", "name": "backup", "relationships": map[string]any{"service_instance": ccv3.To(f.byName("db").GUID)},
		})
		p = f.mustRun(text)
		if u := unobserved(p.changes); len(p.changes.List) != 0 || !strings.Contains(u[key+" /parameters"], "nothing on the resource tells") {
			t.Errorf("%v %v", p.changes.List, u)
		}
	})
}

// What Fettle made without parameters gets them when Git begins to declare some.
func TestParametersAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServices(t)
		f.mustRun(strings.NewReplacer(", parameters: {storage_gb: 5}", "", ", parameters: {role: backup}", "").Replace(parameterized))
		p := f.mustRun(parameterized)
		if n := len(p.changes.List); n != 2 {
			t.Errorf("%v", p.changes.List)
		}
		f.converged(parameterized)
	})
}
