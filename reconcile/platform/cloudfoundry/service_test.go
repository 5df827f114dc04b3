package cloudfoundry_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Everything that a manifest of version 2 can say of services.
const services = `
version: 2
apps: [{name: web, package: {path: web}}]
routes: [{url: web.apps.sandbox.test, destinations: [{app: {name: web}}]}]
service_instances:
- name: db
  service_offering: {name: postgresql}
  service_plan: {name: medium}
  tags: [relational, eu]
  parameters: {storage_gb: 5}
  share_to: [{org: acme, space: test}]
  metadata: {labels: {team: shop}, annotations: {contact: a b}}
- name: audit
  type: user-provided
  credentials: {password: first, port: 514, more: {hosts: [a, b], gone: soon}}
  tags: [log]
  syslog_drain: {url: 'syslog-tls://logs.example.com:6514'}
  metadata: {labels: {team: shop}}
- name: gate
  type: user-provided
  route_service: {url: 'https://gate.example.com'}
service_bindings:
- {type: app, service_instance: {name: db}, app: {name: web}, name: main, parameters: {role: reader}, metadata: {labels: {team: shop}}}
- {type: app, service_instance: {name: audit}, app: {name: web}}
- {type: key, service_instance: {name: db}, name: backup, metadata: {labels: {team: shop}}}
- {type: route, service_instance: {name: gate}, route: {url: web.apps.sandbox.test}, metadata: {annotations: {why: login}}}
`

// newServices is a foundation with a second space, test.
func newServices(t *testing.T) *foundation {
	f := newFoundation(t)
	f.newSpace("test")
	f.do(http.MethodPatch, "/v3/feature_flags/service_instance_sharing", map[string]any{"enabled": true}, nil)
	return f
}

func (f *foundation) newSpace(name string) string {
	f.t.Helper()
	var space ccv3.Resource
	org := list[ccv3.Org](f, "/v3/organizations")[0].GUID
	f.do(http.MethodPost, "/v3/spaces", map[string]any{"name": name, "relationships": map[string]any{"organization": ccv3.To(org)}}, &space)
	return space.GUID
}

// byName finds the one service instance of a name.
func (f *foundation) byName(name string) ccv3.ServiceInstance {
	f.t.Helper()
	for _, i := range list[ccv3.ServiceInstance](f, "/v3/service_instances") {
		if i.Name == name {
			return i
		}
	}
	f.t.Fatalf("there is no service instance %s", name)
	return ccv3.ServiceInstance{}
}

// job is do for what a service broker has to be asked about.
func (f *foundation) job(method, path string, in any) {
	f.t.Helper()
	resp, err := f.admin.Do(f.t.Context(), method, path, in, nil)
	if err == nil && resp.Location() != "" {
		err = f.admin.Job(f.t.Context(), resp.Location())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *foundation) deployments() int { return len(list[ccv3.Deployment](f, "/v3/deployments")) }

// TestServices creates every kind, changes every attribute, and has hand edits put right.
func TestServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServices(t)
		p := f.mustRun(services)
		t.Logf("what people see:\n%s", strings.Join(p.events, "\n"))
		f.converged(services)

		key := slices.DeleteFunc(list[ccv3.Binding](f, "/v3/service_credential_bindings"), func(b ccv3.Binding) bool { return b.Type != "key" })
		if len(key) != 1 || *key[0].Name != "backup" || *key[0].Metadata.Labels["team"] != "shop" {
			t.Errorf("service keys %s", dump(key))
		}
		text := services
		for _, change := range []struct {
			was, is  string
			restarts int // rollouts of the app
		}{
			{"service_plan: {name: medium}", "service_plan: {name: large}", 0},
			{"storage_gb: 5", "storage_gb: 6", 0},
			{"service_plan: {name: large}", "service_plan: {name: small}\n  maintenance_info: {version: 15.4.0}", 0},
			{"tags: [relational, eu]", "tags: [eu]", 1},
			{"{labels: {team: shop}, annotations: {contact: a b}}", "{labels: {team: cart}, annotations: {}}", 0},
			{"space: test}]", "space: test}, {org: acme, space: prod}]", 0},
			{"space: test}, {org: acme, space: prod}]", "space: prod}]", 0},
			{"password: first", "password: second", 1},
			{", gone: soon", "", 1},
			{"tags: [log]", "tags: []", 1},
			{"logs.example.com:6514", "logs.example.com:6515", 0},
			{"https://gate.example.com", "https://door.example.com", 0},
			{"{labels: {team: shop}}}\n- {type: app, service_instance: {name: audit}", "{labels: {team: cart}}}\n- {type: app, service_instance: {name: audit}", 0},
			{"name: main, ", "name: primary, ", 1},
			{"name: backup, metadata: {labels: {team: shop}}", "name: backup, metadata: {labels: {}, annotations: {a: b}}", 0},
			{"{annotations: {why: login}}", "{annotations: {why: single sign-on}}", 0},
		} {
			if strings.Contains(change.is, "space: test}, {org") {
				f.newSpace("prod")
			}
			changed := strings.Replace(text, change.was, change.is, 1)
			if changed == text {
				t.Fatalf("%q is not in the manifest", change.was)
			}
			text = changed
			before := f.deployments()
			f.mustRun(text)
			f.converged(text)
			if n := f.deployments() - before; n != change.restarts {
				t.Errorf("%s → %s: %d rollouts, want %d", change.was, change.is, n, change.restarts)
			}
		}

		db, audit := f.byName("db"), f.byName("audit")
		for what, edit := range map[string]func(){
			"/tags": func() { f.job("PATCH", "/v3/service_instances/"+db.GUID, map[string]any{"tags": []string{"x"}}) },
			"/service_plan": func() {
				f.job("PATCH", "/v3/service_instances/"+db.GUID, map[string]any{"relationships": map[string]any{"service_plan": ccv3.To(f.plan("medium"))}})
			},
			"/metadata/labels/team": func() {
				f.job("PATCH", "/v3/service_instances/"+db.GUID, map[string]any{"metadata": map[string]any{"labels": map[string]any{"team": "x"}}})
			},
			"/share_to/acme~1test": func() {
				f.job("POST", "/v3/service_instances/"+db.GUID+"/relationships/shared_spaces", map[string]any{"data": []any{map[string]any{"guid": f.spaceOf("test")}}})
			},
			"/credentials/password": func() {
				f.job("PATCH", "/v3/service_instances/"+audit.GUID, map[string]any{"credentials": map[string]any{"password": "leaked", "port": 514, "more": map[string]any{"hosts": []string{"a", "b"}}}})
			},
			"/syslog_drain_url": func() { f.job("PATCH", "/v3/service_instances/"+audit.GUID, map[string]any{"syslog_drain_url": nil}) },
			"":                  func() { f.job("DELETE", "/v3/service_credential_bindings/"+key[0].GUID, nil) },
		} {
			edit()
			p := f.mustRun(text)
			if !slices.ContainsFunc(p.changes.List, func(c diff.Change) bool { return c.Path == what }) {
				t.Errorf("the hand edit of %q was not seen: %v", what, p.changes.List)
			}
			f.converged(text)
		}
	})
}

func (f *foundation) plan(name string) string {
	for _, p := range list[ccv3.ServicePlan](f, "/v3/service_plans") {
		if p.Name == name {
			return p.GUID
		}
	}
	f.t.Fatalf("there is no plan %s", name)
	return ""
}

func (f *foundation) spaceOf(name string) string {
	for _, s := range list[ccv3.Space](f, "/v3/spaces") {
		if s.Name == name {
			return s.GUID
		}
	}
	f.t.Fatalf("there is no space %s", name)
	return ""
}

// Secrets are nowhere in what people see, and apps are given the new ones by a restart.
func TestCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServices(t)
		f.mustRun(services)
		text := strings.Replace(services, "password: first", "password: s3cr3t", 1)
		p := f.mustRun(text)
		shown, err := json.Marshal(p.changes.List)
		if err != nil {
			t.Fatal(err)
		}
		if all := string(shown) + strings.Join(p.events, "\n"); strings.Contains(all, "s3cr3t") || strings.Contains(all, "first") {
			t.Errorf("a secret is shown:\n%s", all)
		}
	})
}

// An auditor may not read credentials; that is said, and nothing is guessed.
func TestCredentialsOfAnAuditor(t *testing.T) {
	inTown(t, func(t *testing.T, f *town) {
		f.do(f.client("dev"), "POST", "/v3/service_instances", body{"type": "user-provided", "name": "audit", "credentials": body{"a": "b"}, "relationships": body{"space": related(f.spaces["acme/dev"])}})
		ref := manifest.Ref{Kind: manifest.KindServiceInstance, Path: "acme/dev/audit"}
		o := &manifest.Object{Ref: ref, Spec: map[string]any{"credentials": map[string]any{"a": "b"}}}
		live := f.observe("aud", manifest.NewSet(o)).Live.Get(ref)
		if live.Unobservable["/credentials"] == "" || live.Spec["credentials"] != nil {
			t.Errorf("%+v", live)
		}
		if live := f.observe("dev", manifest.NewSet(o)).Live.Get(ref); live.Unobservable["/credentials"] != "" || live.Spec["credentials"].(map[string]any)["a"] != "b" || !live.IsSecret("/credentials/a") {
			t.Errorf("%+v", live)
		}
	})
}

// What a service broker refuses is told in its words, with what to do.
func TestBrokerRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		for _, p := range list[ccv3.ServicePlan](f, "/v3/service_plans") {
			if !strings.Contains(p.Name, "-fails") {
				continue
			}
			f.do(http.MethodPatch, "/v3/service_plans/"+p.GUID+"/visibility", map[string]any{"type": "public"}, nil)
		}
		instance := func(name, offering, plan string) string {
			return "version: 2\nservice_instances: [{name: " + name + ", service_offering: {name: " + offering + "}, service_plan: {name: " + plan + "}}]\n"
		}
		for _, tt := range []struct {
			text, says, hint string
			class            platform.ErrorClass
		}{
			{instance("a", "chaos", "provision-fails"), "the sandbox refuses to provision", "its words", platform.Invalid},
			{instance("b", "chaos", "provision-fails-later"), "the sandbox could not provision", "its words", platform.Invalid},
			{instance("c", "postgresql", "smal"), "has no plan smal in acme/dev", `did you mean "small"`, platform.Missing},
			{instance("d", "postgres", "small"), "there is no service offering postgres", "cf marketplace", platform.Missing},
			{instance("e", "chaos", "bind-fails") + "service_bindings: [{type: key, service_instance: {name: e}, name: k}]\n", "the sandbox refuses to bind", "its words", platform.Invalid},
			{strings.Replace(instance("h", "postgresql", "small"), "}}]", "}, maintenance_info: {version: 16.0.0}}]", 1), "maintenance_info.version requested is invalid", "by now", platform.Invalid},
			{instance("g", "licence", "standard") + "service_bindings: [{type: key, service_instance: {name: g}, name: k}]\n", "does not allow bindings", "", platform.Invalid},
		} {
			err := f.run(t.Context(), tt.text).outcome.Err()
			var e *platform.Error
			if !errors.As(err, &e) || e.Class != tt.class || !strings.Contains(e.Message, tt.says) || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("%s\n%v (%+v)", tt.text, err, e)
			}
		}
		// What failed to come into being makes room, even for something of another type.
		f.mustRun(instance("a", "postgresql", "small"))
		f.mustRun("version: 2\nservice_instances: [{name: b, type: user-provided}]\n")
	})
}
