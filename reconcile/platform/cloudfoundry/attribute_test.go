package cloudfoundry_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// TestAttribute: "dev" is Fettle; "eve" changes things by hand, and each difference leads back to her.
func TestAttribute(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		desired := declared("app acme/dev/shop", "app acme/dev/bystander", "service_binding acme/dev/shop/db")
		before := f.observe("dev", desired)
		app, route := f.app("acme/dev", "shop"), before.IDs[ref("route acme/dev/shop.apps.sandbox.test")]
		binding := before.IDs[ref("service_binding acme/dev/shop/db")]
		time.Sleep(2 * time.Second)
		since := time.Now()

		eve := f.client("eve")
		f.do(eve, "POST", "/v3/processes/"+app+"/actions/scale", body{"memory_in_mb": 256})
		f.do(eve, "PATCH", "/v3/processes/"+app, body{"command": "rm -rf /"})
		f.do(eve, "PATCH", "/v3/apps/"+app+"/environment_variables", body{"var": body{"GREETING": "bye"}})
		f.do(eve, "PATCH", "/v3/apps/"+app, body{"metadata": body{"labels": body{"team": "y"}}})
		f.do(eve, "PATCH", "/v3/apps/"+app+"/features/ssh", body{"enabled": true})
		f.do(eve, "PATCH", "/v3/routes/"+route+"/destinations", body{"destinations": []body{{"app": body{"guid": f.app("acme/dev", "bystander")}}}})
		f.do(eve, "DELETE", "/v3/service_credential_bindings/"+binding, nil)
		f.do(eve, "DELETE", "/v3/apps/"+f.app("acme/dev", "bystander"), nil)

		after := f.observe("dev", desired)
		changes, err := diff.Compare(before.Live, after.Live, diff.Ledger{})
		if err != nil {
			t.Fatal(err)
		}
		found, err := f.driver("dev").Attribute(t.Context(), after, changes.List, since)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for i, c := range changes.List {
			a := found[i]
			got[c.Ref.String()+" "+c.Path] = a.Actor + " " + a.Event + " " + a.Note
			if a.Known() && (a.ActorID == "" || a.EventID == "" || a.At.Before(since.Truncate(time.Second))) {
				t.Errorf("%s: %+v", c, a)
			}
		}
		want := map[string]string{
			"app acme/dev/shop /processes/web/memory_in_mb":                      "eve@acme.test audit.app.process.scale ",
			"app acme/dev/shop /processes/web/command":                           "eve@acme.test audit.app.process.update ",
			"app acme/dev/shop /environment_variables/GREETING":                  "eve@acme.test audit.app.update the event does not name the variable",
			"app acme/dev/shop /metadata/labels/team":                            "eve@acme.test audit.app.update ",
			"app acme/dev/shop /features/ssh":                                    "  no audit event since " + since.UTC().Format(time.RFC3339) + " explains it: switching a feature leaves no audit event",
			"app acme/dev/bystander ":                                            "eve@acme.test audit.app.delete-request ",
			"route acme/dev/shop.apps.sandbox.test /destinations/shop~1web":      "eve@acme.test audit.app.unmap-route ",
			"route acme/dev/shop.apps.sandbox.test /destinations/bystander~1web": "eve@acme.test audit.app.unmap-route ",
			"service_binding acme/dev/shop/db ":                                  "eve@acme.test audit.service_binding.delete ",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// TestAttributeIsOneRequest, however many changes there are.
func TestAttributeIsOneRequest(t *testing.T) {
	inShop(t, func(t *testing.T, f *town) {
		d := f.driver("dev")
		obs, err := d.Observe(t.Context(), declared("app acme/dev/shop"))
		if err != nil {
			t.Fatal(err)
		}
		web := ref("app acme/dev/shop")
		changes := make([]diff.Change, 100)
		for i := range changes {
			changes[i] = diff.Change{Ref: web, Op: diff.Update, Path: "/processes/web/instances", Was: int64(i)}
		}
		before := d.Requests()
		found, err := d.Attribute(t.Context(), obs, changes, time.Time{})
		if err != nil || len(found) != len(changes) || d.Requests()-before != 1 {
			t.Errorf("%d attributions, %d requests, %v", len(found), d.Requests()-before, err)
		}
	})
}

func ref(text string) manifest.Ref {
	r, err := manifest.ParseRef(text)
	if err != nil {
		panic(err)
	}
	return r
}
