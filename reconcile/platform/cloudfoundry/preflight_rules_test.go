package cloudfoundry_test

import (
	"fmt"
	"testing"
)

func switched(name string) func(*town) {
	return func(f *town) { f.do(f.root, "PATCH", "/v3/feature_flags/"+name, body{"enabled": false}) }
}

func limited(limits body) func(*town) { return func(f *town) { f.spaceQuota("acme/dev", limits) } }

// Service offerings, their plans, what these say of parameters, and the quotas of instances and keys.
func TestPreflightServices(t *testing.T) {
	database := func(offering, plan, rest string) string {
		return fmt.Sprintf("version: 2\nservice_instances:\n- name: db\n  service_offering: {name: %s}\n  service_plan: {name: %s}\n%s", offering, plan, rest)
	}
	const key = "service_bindings: [{type: key, service_instance: {name: db}, name: reader}]\n"
	plan := func(f *town, name string) string {
		return "/v3/service_plans/" + f.only("/v3/service_plans", map[string][]string{"names": {name}, "service_offering_names": {"postgresql"}})
	}
	preflightTests{
		{name: "offering and plan exist", manifest: database("postgresql", "small", "")},
		{name: "no such offering", manifest: database("postgresq", "small", ""), want: []string{
			"db: manifest.yml:4:28: there is no service offering postgresq that the organization acme can use (did you mean postgresql?)",
		}},
		{name: "no such plan", manifest: database("postgresql", "smal", ""), want: []string{
			"db: manifest.yml:5:24: the service offering postgresql has no plan smal that the organization acme can use (did you mean small?)",
		}},
		{name: "no such plan to change to", before: database("postgresql", "small", ""), manifest: database("postgresql", "larg", ""), want: []string{
			"db: manifest.yml:5:24: the service offering postgresql has no plan larg that the organization acme can use (did you mean large?)",
		}},
		{name: "a plan of administrators", setup: func(f *town) { f.do(f.root, "PATCH", plan(f, "small")+"/visibility", body{"type": "admin"}) }, manifest: database("postgresql", "small", ""), want: []string{
			"db: manifest.yml:5:24: the service offering postgresql has no plan small that the organization acme can use (there are large, medium)",
		}},
		{name: "a plan that is free", setup: limited(body{"services": body{"paid_services_allowed": false}}), manifest: database("postgresql", "small", "")},
		{name: "a plan that costs", setup: limited(body{"services": body{"paid_services_allowed": false}}), manifest: database("postgresql", "medium", ""), want: []string{
			"db: manifest.yml:5:24: the plan medium costs something, and the space quota small allows only free ones (choose a free plan, or have the quota changed)",
		}},
		{name: "a plan that costs, for what there is", before: database("postgresql", "small", ""), setup: limited(body{"services": body{"paid_services_allowed": false}}), manifest: database("postgresql", "medium", ""), want: []string{
			"db: manifest.yml:5:24: the plan medium costs something, and the space quota small allows only free ones (choose a free plan, or have the quota changed)",
		}},
		{name: "as many instances as allowed", setup: limited(body{"services": body{"total_service_instances": 1}}), manifest: database("postgresql", "small", "")},
		{name: "more instances than allowed", setup: limited(body{"services": body{"total_service_instances": 0}}), manifest: database("postgresql", "small", ""), want: []string{
			"db: manifest.yml:5:24: the space quota small allows 0 service instances, of which 0 are in use; with this plan there would be 1 (delete one that nothing uses, or have the quota raised)",
		}},
		{name: "another plan is no other instance", before: database("postgresql", "small", ""), setup: limited(body{"services": body{"total_service_instances": 1}}), manifest: database("postgresql", "medium", "")},
		{name: "as many keys as allowed", setup: limited(body{"services": body{"total_service_keys": 1}}), manifest: database("postgresql", "small", key)},
		{name: "more keys than allowed", setup: limited(body{"services": body{"total_service_keys": 0}}), manifest: database("postgresql", "small", key), want: []string{
			"reader: manifest.yml:6:20: the space quota small allows 0 service keys, of which 0 are in use; with this plan there would be 1 (delete one that nothing uses, or have the quota raised)",
		}},

		// The platform leaves parameters to the service broker, and that of the sandbox takes all.
		{name: "parameters that fit", manifest: database("postgresql", "small", "  parameters: {storage_gb: 5, version: '15'}\n")},
		{name: "parameters that do not fit", manifest: database("postgresql", "small", "  parameters:\n    storage_gb: 500\n    version: 15\n    storag: 3\n"), want: []string{
			"warning: db: manifest.yml:7:17: the parameter storage_gb: must be <= 100 but found 500 (so says the schema of the plan small)",
			"warning: db: manifest.yml:8:14: the parameter version: expected string, but got number (so says the schema of the plan small)",
			"warning: db: manifest.yml:9:13: there is no parameter storag (there are storage_gb, version; so says the schema of the plan small)",
		}},
		{name: "a plan without a schema", manifest: database("redis", "cache", "  parameters: {any: thing}\n")},
	}.run(t)
}

// Features that are switched off, organizations that are suspended, domains of others, staging.
func TestPreflightPlaces(t *testing.T) {
	const app = "applications:\n- name: web\n  path: app\n  no-route: true\n"
	routed := func(route string) string {
		return "applications:\n- name: web\n  path: app\n  routes: [{route: " + route + "}]\n"
	}
	const instance = "version: 2\nservice_instances: [{name: db, service_offering: {name: postgresql}, service_plan: {name: small}}]\n"
	worker := func(n string) string {
		return "version: 2\napps:\n- name: web\n  package: {path: app}\n  processes: [{type: web}" + n + "]\n"
	}
	preflightTests{
		{name: "services switched off", setup: switched("service_instance_creation"), manifest: instance, want: []string{
			"db: manifest.yml:2:21: this foundation does not allow to create service instances (operators allow it with the feature flag service_instance_creation (cf enable-feature-flag service_instance_creation))",
		}},
		{name: "services switched off, for others than administrators", user: "root", setup: switched("service_instance_creation"), manifest: instance},
		{name: "services switched off, and there is none to create", before: instance, setup: switched("service_instance_creation"), manifest: instance},
		{name: "cloud native buildpacks allowed", setup: func(f *town) { f.do(f.root, "PATCH", "/v3/feature_flags/diego_cnb", body{"enabled": true}) }, manifest: app + "  lifecycle: cnb\n  buildpacks: ['https://example.com/go.cnb']\n"},
		{name: "cloud native buildpacks switched off", setup: switched("diego_cnb"), manifest: app + "  lifecycle: cnb\n  buildpacks: ['https://example.com/go.cnb']\n", want: []string{
			"web: manifest.yml:5:14: this foundation does not allow cloud native buildpacks (operators allow it with the feature flag diego_cnb (cf enable-feature-flag diego_cnb))",
		}},
		{name: "scaling switched off", before: worker(", {type: worker, scale: {instances: 1}}"), setup: switched("app_scaling"), manifest: worker(""), want: []string{
			"web: manifest.yml:5:14: this foundation does not allow to scale a process (operators allow it with the feature flag app_scaling (cf enable-feature-flag app_scaling))",
		}},
		{name: "the organization is suspended", setup: func(f *town) { f.do(f.root, "PATCH", "/v3/organizations/"+f.orgs["acme"], body{"suspended": true}) }, manifest: app, want: []string{
			"warning: web: manifest.yml:2:3: the organization is suspended (ask the platform's operators)",
		}, fails: true},
		{name: "a domain of another organization", setup: func(f *town) {
			f.hidden("other/secret")
			f.do(f.root, "POST", "/v3/domains", body{"name": "other.test", "relationships": body{"organization": related(f.orgs["other"])}})
		}, manifest: routed("shop.other.test"), want: []string{
			"web: manifest.yml:4:12: route acme/dev/shop.other.test: there is no domain for it that the organization acme can use (there are apps.internal, apps.sandbox.test)",
		}},
		{name: "a domain of its own", setup: func(f *town) {
			f.do(f.root, "POST", "/v3/domains", body{"name": "acme.test", "relationships": body{"organization": related(f.orgs["acme"])}})
		}, manifest: routed("acme.test")},
		{name: "staging fits", setup: limited(body{"apps": body{"total_memory_in_mb": 2048}}), manifest: "version: 2\napps: [{name: web, state: STOPPED, package: {path: app}, processes: [{type: web, scale: {memory: 2G}}]}]\n"},
		{name: "staging does not fit", setup: limited(body{"apps": body{"total_memory_in_mb": 2047}}), manifest: "version: 2\napps: [{name: web, state: STOPPED, package: {path: app}, processes: [{type: web, scale: {memory: 2G}}]}]\n", want: []string{
			"warning: web: manifest.yml:2:98: to stage its code needs as much as a web instance, 2G; the space quota small has 2047M left (ask for less, stop something else, or have the quota raised)",
		}, fails: true},
		{name: "a small app is staged all the same", setup: limited(body{"apps": body{"total_memory_in_mb": 100}}), manifest: "version: 2\napps: [{name: web, state: STOPPED, package: {path: app}, processes: [{type: web, scale: {memory: 512M}}]}]\n"},
	}.run(t)
}
