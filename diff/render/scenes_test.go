package render_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
)

type tree = map[string]any

func ref(kind manifest.Kind, name string) manifest.Ref {
	return manifest.Ref{Kind: kind, Path: "acme/prod/" + name}
}

func at(line, column int) manifest.Origin {
	return manifest.Origin{File: "apps/manifest.yml", Line: line, Column: column}
}

// scene is what a golden file shows: desired and live state, compared for real.
type scene struct {
	title         string
	desired, live []*manifest.Object
	ledger        diff.Ledger
	problems      manifest.Problems
	rules         []diff.IgnoreRule
}

// today is when the rules of the scenes are judged.
var today = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

func until(day string) diff.Deadline {
	d, err := diff.ParseDeadline(day)
	if err != nil {
		panic(err)
	}
	return d
}

// Impacts as a driver would judge them, by the end of the path.
var impacts = map[string]diff.Impact{
	"instances": diff.ImpactInPlace, "labels": diff.ImpactNone, "annotations": diff.ImpactNone, "ssh": diff.ImpactInPlace,
	"buildpacks": diff.ImpactRestage, "stack": diff.ImpactRestage, "destinations": diff.ImpactInPlace,
	"digest": diff.ImpactRestage, "rollout": diff.ImpactRestart,
}

func (s scene) input(t testing.TB) render.Input {
	t.Helper()
	desired, live := manifest.NewSet(s.desired...), manifest.NewSet(s.live...)
	changes, err := diff.Compare(desired, live, s.ledger)
	if err != nil {
		t.Fatal(err)
	}
	changes = changes.Ignoring(s.rules, desired, live, today)
	for i := range changes.List {
		c := &changes.List[i]
		c.Impact = diff.ImpactRestart
		if c.Path == "" || c.Ref.Kind == manifest.KindRoute {
			c.Impact = diff.ImpactInPlace
		}
		for _, key := range manifest.SplitPointer(c.Path) {
			if impact, ok := impacts[key]; ok {
				c.Impact = impact
			}
		}
		if c.Path == "/lifecycle/type" {
			c.Impact, c.Reason = diff.ImpactImpossible, "the lifecycle type of an app is fixed when it is made; delete the app or declare another name"
		}
	}
	return render.Input{
		Title: s.title, Target: "production (https://api.prod.example.com)", Revision: "3f2a9c1",
		Desired: render.CountKinds(desired), Changes: changes, Problems: s.problems,
	}
}

const motdBefore = "Welcome to the shop.\n\nOpening hours:\n  Monday to Friday: 9 to 17\n  Saturday: closed\n\nCall us: 555 0100\nMail us: shop@example.com\n"

var scenes = map[string]scene{
	"everything": {
		title: "Plan for the shop",
		desired: []*manifest.Object{
			{
				Ref: ref(manifest.KindApp, "web"), Origin: at(3, 5),
				Spec: tree{
					"lifecycle": tree{"buildpacks": []any{"nodejs_buildpack", "https://github.com/example/metrics-buildpack#v2"}, "stack": "cflinuxfs4"},
					"processes": tree{
						"web": tree{
							"instances": int64(4), "memory_in_mb": int64(512), "disk_in_mb": int64(1536), "log_rate_limit_in_bytes_per_second": int64(1 << 20),
							"command": nil, "health_check": tree{"type": "http", "http_endpoint": "/healthz"},
						},
						"worker": tree{"command": "node worker.js --queue orders --concurrency 8", "instances": int64(2), "memory_in_mb": int64(1024)},
					},
					"sidecars":              tree{"envoy": tree{"process_types": []any{"web"}, "memory_in_mb": int64(64)}},
					"environment_variables": tree{"LOG_LEVEL": "debug", "DATABASE_PASSWORD": "hunter2-new", "FEATURES": "8", "JAVA_OPTS": "-Xmx384m -Xss256k -XX:+UseG1GC -XX:MaxGCPauseMillis=200 -Dapp.region=eu-central -Dapp.mode=live", "MOTD": strings.NewReplacer("17", "18", "closed", "10 to 14").Replace(motdBefore), "SESSION_KEY": "((session_key))"},
					"features":              tree{"ssh": false},
					"metadata":              tree{"labels": tree{"team": "shop", "example.com/cost-center": "42"}, "annotations": tree{"old-contact": nil}},
					"rollout":               "complete",
				},
				Fields: map[string]manifest.Origin{
					"/lifecycle/buildpacks": at(5, 5), "/processes/web/memory_in_mb": at(9, 7), "/processes/web/instances": at(10, 7),
					"/environment_variables": at(20, 5), "/environment_variables/LOG_LEVEL": at(21, 7), "/environment_variables/MOTD": at(25, 7),
					"/environment_variables/DATABASE_PASSWORD": at(22, 7), "/processes/worker": at(15, 5), "/metadata/labels": at(32, 5),
				},
				Secrets:   map[string]bool{"/environment_variables/DATABASE_PASSWORD": true, "/environment_variables/SESSION_KEY": true, "/environment_variables/OLD_API_TOKEN": true},
				Ownership: map[string]manifest.Ownership{"/environment_variables": manifest.Exact},
			},
			{
				Ref: ref(manifest.KindApp, "billing"), Origin: at(40, 5),
				Spec:    tree{"lifecycle": tree{"type": "docker"}, "package": tree{"type": "docker", "image": "registry.example.com/billing:2.1"}, "state": "STARTED", "environment_variables": tree{"PORT_RANGE": "9000-9100", "STRIPE_SECRET": "sk-live-1"}, "processes": tree{"web": tree{"instances": int64(2), "memory_in_mb": int64(2048)}}},
				Secrets: map[string]bool{"/environment_variables/STRIPE_SECRET": true},
			},
			{Ref: ref(manifest.KindApp, "legacy"), Origin: at(55, 5), Spec: tree{"lifecycle": tree{"type": "docker"}}, Fields: map[string]manifest.Origin{"/lifecycle/type": at(56, 7)}},
			{Ref: ref(manifest.KindApp, "mailer"), Origin: at(60, 5), Spec: tree{"state": "STARTED", "processes": tree{"web": tree{"memory_in_mb": int64(128)}}}},
			{Ref: ref(manifest.KindApp, "search"), Origin: at(70, 5), Spec: tree{"state": "STARTED"}},
			{Ref: ref(manifest.KindRoute, "shop.example.com"), Origin: at(35, 7), Spec: tree{"destinations": tree{"web/web": tree{"port": int64(8080), "protocol": "http2"}}}, Ownership: map[string]manifest.Ownership{"/destinations": manifest.ThreeWay}},
			{Ref: ref(manifest.KindRoute, "billing.example.com/api"), Origin: at(44, 7), Spec: tree{"destinations": tree{"billing/web": tree{"protocol": "http1"}}}},
			{Ref: ref(manifest.KindServiceBinding, "web/orders-db"), Origin: at(37, 7), Spec: tree{"app": "web", "service_instance": "orders-db"}, Requires: []manifest.Ref{ref(manifest.KindServiceInstance, "orders-db")}},
		},
		live: []*manifest.Object{
			{
				Ref: ref(manifest.KindApp, "web"),
				Spec: tree{
					"lifecycle": tree{"type": "buildpack", "buildpacks": []any{"nodejs_buildpack"}, "stack": "cflinuxfs4"},
					"processes": tree{"web": tree{
						"instances": int64(2), "memory_in_mb": int64(256), "disk_in_mb": int64(1024), "log_rate_limit_in_bytes_per_second": int64(-1),
						"command": "node server.js --debug", "health_check": tree{"type": "port"},
					}},
					"sidecars":              tree{"envoy": tree{"process_types": []any{"web"}, "memory_in_mb": int64(64), "command": "./envoy"}},
					"environment_variables": tree{"DATABASE_PASSWORD": "hunter2-old", "FEATURES": int64(8), "JAVA_OPTS": "-Xmx256m -Xss256k -XX:+UseG1GC -XX:MaxGCPauseMillis=500 -Dapp.region=eu-central -Dapp.mode=live", "MOTD": motdBefore, "DEBUG_BY_HAND": "true", "OLD_API_TOKEN": "tok-1"},
					"features":              tree{"ssh": true, "revisions": true},
					"metadata":              tree{"labels": tree{"team": "checkout"}, "annotations": tree{"old-contact": "jo@example.com"}},
					"rollout":               "pending restart",
				},
			},
			{Ref: ref(manifest.KindApp, "legacy"), Spec: tree{"lifecycle": tree{"type": "buildpack"}}},
			{Ref: ref(manifest.KindApp, "mailer"), Spec: tree{"state": "STARTED", "processes": tree{"web": tree{"memory_in_mb": int64(64)}}}},
			{Ref: ref(manifest.KindApp, "search"), Spec: tree{"state": "STARTED"}},
			{Ref: ref(manifest.KindApp, "nobody-knows"), Spec: tree{"state": "STOPPED"}},
			{Ref: ref(manifest.KindServiceInstance, "orders-db")},
			{Ref: ref(manifest.KindRoute, "shop.example.com"), Spec: tree{"destinations": tree{"web/web": tree{"port": int64(8080), "protocol": "http1"}, "web/worker": tree{"port": int64(8080), "protocol": "http1"}}}},
			{Ref: ref(manifest.KindRoute, "old.example.com"), Spec: tree{"destinations": tree{"web/web": tree{"port": int64(8080), "protocol": "http1"}}}},
			{Ref: ref(manifest.KindServiceBinding, "web/cache"), Spec: tree{"app": "web", "service_instance": "cache"}},
		},
		ledger: diff.Ledger{
			ref(manifest.KindRoute, "shop.example.com"):       {"/destinations/web~1worker": true},
			ref(manifest.KindRoute, "old.example.com"):        {"/destinations/web~1web": true},
			ref(manifest.KindServiceBinding, "web/cache"):     {"": true},
			ref(manifest.KindServiceBinding, "web/orders-db"): {"": true},
		},
	},

	"nothing": {
		title:   "Plan for the shop",
		desired: calm(),
		live:    calm(),
	},

	"unreadable": {
		title: "Plan for the shop",
		desired: []*manifest.Object{{
			Ref: ref(manifest.KindApp, "web"), Origin: at(3, 5), Fields: map[string]manifest.Origin{"/environment_variables": at(8, 5)},
			Spec: tree{"environment_variables": tree{"A": "1"}, "processes": tree{"web": tree{"command": "run", "instances": int64(2)}}},
		}},
		live: []*manifest.Object{
			{
				Ref: ref(manifest.KindApp, "web"), Spec: tree{"processes": tree{"web": tree{"instances": int64(2)}}},
				Unobservable: map[string]string{
					"/environment_variables": "the role space_supporter may not read environment variables; space_developer may",
					"/processes/web/command": "hidden",
				},
			},
			{Ref: ref(manifest.KindApp, "other")},
		},
	},

	"refused": {
		title: "Plan for the shop",
		desired: []*manifest.Object{
			{Ref: ref(manifest.KindApp, "web"), Origin: at(3, 5), Spec: tree{"lifecycle": tree{"stack": "cflinuxfs5"}, "processes": tree{"web": tree{"memory_in_mb": int64(512)}}}},
			{Ref: ref(manifest.KindApp, "worker"), Origin: at(9, 5), Spec: tree{"state": "STARTED"}},
		},
		live: []*manifest.Object{
			{Ref: ref(manifest.KindApp, "web"), Spec: tree{"lifecycle": tree{"stack": "cflinuxfs4"}, "processes": tree{"web": tree{"memory_in_mb": int64(256)}}}},
			{Ref: ref(manifest.KindApp, "worker"), Spec: tree{"state": "STARTED"}},
		},
		problems: manifest.Problems{
			{Ref: &manifest.Ref{Kind: manifest.KindApp, Path: "acme/prod/web"}, Origin: at(4, 10), Severity: manifest.SeverityError, Rule: "refused", Message: "there is no stack cflinuxfs5", Hint: "did you mean cflinuxfs4?"},
			{Ref: &manifest.Ref{Kind: manifest.KindApp, Path: "acme/prod/web"}, Origin: at(5, 13), Severity: manifest.SeverityError, Rule: "refused", Message: "it needs 512M more while it rolls; the organization quota small has 256M left (4096M in all, 3840M in use)", Hint: "ask for less, stop something else, or have the quota raised"},
			{Severity: manifest.SeverityWarning, Rule: "refused", Message: "the space quotas of acme could not be read: \x1b[31mnobody", Hint: "grant this user space_developer"},
		},
	},

	"tolerated": {
		title: "Plan for the shop",
		desired: []*manifest.Object{
			{
				Ref: ref(manifest.KindApp, "web"), Origin: at(3, 5), Fields: map[string]manifest.Origin{"/processes/web/instances": at(10, 7), "/environment_variables": at(20, 5)},
				Spec:    tree{"processes": tree{"web": tree{"instances": int64(2), "memory_in_mb": int64(512)}}, "environment_variables": tree{"LOG_LEVEL": "info", "TOKEN": "s1"}, "metadata": tree{"labels": tree{"team": "shop"}}},
				Secrets: map[string]bool{"/environment_variables/TOKEN": true},
			},
			{Ref: ref(manifest.KindRoute, "shop.example.com"), Origin: at(35, 7), Spec: tree{"destinations": tree{"web/web": tree{"protocol": "http2"}}}},
		},
		live: []*manifest.Object{
			{Ref: ref(manifest.KindApp, "web"), Spec: tree{"processes": tree{"web": tree{"instances": int64(7), "memory_in_mb": int64(256)}}, "environment_variables": tree{"LOG_LEVEL": "debug", "TOKEN": "s2"}, "metadata": tree{"labels": tree{"team": "shop"}}}},
			{Ref: ref(manifest.KindApp, "nobody-knows"), Spec: tree{"state": "STOPPED"}},
		},
		rules: []diff.IgnoreRule{
			{Kind: manifest.KindApp, Path: "/processes/*/instances", Owner: "platform team", Reason: "the autoscaler moves them", Origin: manifest.Origin{File: "fettle.yml", Line: 31, Column: 9}},
			{Kind: manifest.KindApp, Name: "web", Path: "/environment_variables/TOKEN", Until: until("2026-12-31")},
			{Kind: manifest.KindRoute, Name: "shop.*"},
			{Kind: manifest.KindApp, Name: "web", Path: "/environment_variables/LOG_LEVEL", Until: until("2026-11-15"), Owner: "jo@example.com", Reason: "hunting a bug", Origin: manifest.Origin{File: "fettle.yml", Line: 38, Column: 9}},
			{Kind: manifest.KindApp, Name: "wbe", Path: "/environment_variables/LOG_LEVEL", Origin: manifest.Origin{File: "fettle.yml", Line: 44, Column: 9}},
			{Kind: manifest.KindApp, Path: "/metadata/labels/team", Until: until("2026-01-31")},
		},
	},

	"hostile": {
		title: "Plan for \x1b]0;owned\x07 <script>alert(1)</script> | @everyone",
		desired: []*manifest.Object{{
			Ref: ref(manifest.KindApp, "</details><img src=x>`|\x1b[2J"), Origin: manifest.Origin{File: "a b/ma\nnifest.yml", Line: 1, Column: 1},
			Spec: tree{
				"environment_variables": tree{
					"CLEAR": "\x1b[2J\x1b[H", "RTL": "abc\u202edef", "PIPE": "a|b", "HTML": "<b>&amp;</b>", "FENCE": "```\n</code></pre>\n@admin #1", "MD": "__init__ *x* [y](http://z) www.z.org",
					"BYTES": "\xff\xfe", "CR": "fine\rEVIL", "FAKE": "a → b", "CDATA": "]]>", "C1": "\u009b31m", "BACKSLASH": `\x1b`, "EMPTY": "", "SPACES": " x ",
				},
				"metadata": tree{"labels": tree{"a.b/c~d\"e": "\u2028"}},
			},
		}},
		live: []*manifest.Object{{Ref: ref(manifest.KindApp, "</details><img src=x>`|\x1b[2J"), Spec: tree{"environment_variables": tree{"FENCE": "```\nold"}}}},
	},
}

func calm() []*manifest.Object {
	var all []*manifest.Object
	for _, name := range []string{"web", "worker", "api"} {
		all = append(all, &manifest.Object{Ref: ref(manifest.KindApp, name), Spec: tree{"state": "STARTED"}})
	}
	for _, name := range []string{"shop.example.com", "www.example.com", "api.example.com", "example.com"} {
		all = append(all, &manifest.Object{Ref: ref(manifest.KindRoute, name), Spec: tree{"destinations": tree{}}})
	}
	return all
}
