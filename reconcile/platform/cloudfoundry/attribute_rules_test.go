package cloudfoundry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// The events are written as the controller writes them; guids are short. Each is "TYPE by ACTOR on TARGET DATA", one
// second after the other.
func eventsOf(t *testing.T, lines ...[4]string) []*event {
	t.Helper()
	var all []*event
	for i, l := range lines {
		data := l[3]
		if data == "" {
			data = "{}"
		}
		target, name, ok := strings.Cut(l[2], ":")
		if !ok {
			name = target
		}
		text := fmt.Sprintf(`{"guid":"e%d","created_at":"2026-01-02T03:04:%02dZ","type":%q,"actor":{"guid":"g-%s","type":"user","name":"%s@x"},"target":{"guid":%q,"type":"app","name":%q},"data":%s,"space":{"guid":"space"}}`,
			i+1, i+1, l[0], l[1], l[1], target, name, data)
		var e ccv3.AuditEvent
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err, text)
		}
		all = append(all, newEvent(e))
	}
	return all
}

func TestWhichEventExplainsAChange(t *testing.T) {
	space := manifest.Ref{Kind: manifest.KindSpace, Path: "acme/dev"}
	web := manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	route := web.Child(manifest.KindRoute, "shop.example.com")
	binding := web.Child(manifest.KindServiceBinding, "web/db")
	obs := platform.Observation{IDs: map[manifest.Ref]string{
		space: "space", web: "app", route: "route", binding: "binding", web.Child(manifest.KindServiceInstance, "db"): "si",
	}}
	gone := web.Child(manifest.KindApp, "gone")
	live := func(path string, was any) diff.Change {
		return diff.Change{Ref: web, Op: diff.Update, Path: path, Was: was}
	}
	type events = [][4]string

	tests := []struct {
		name   string
		change diff.Change
		events events
		want   string // "ACTOR EVENT: NOTE"
	}{
		{
			name: "memory, by who set it to what it is", change: live("/processes/web/memory_in_mb", int64(256)),
			events: events{
				{processScale, "eve", "app", `{"process_type":"web","request":{"memory_in_mb":256}}`},
				{processScale, "bob", "app", `{"process_type":"web","request":{"memory_in_mb":300}}`},
				{processScale, "joe", "app", `{"process_type":"web","request":{"instances":9}}`},
				{processScale, "kim", "app", `{"process_type":"worker","request":{"memory_in_mb":256}}`},
				{processScale, "max", "other", `{"process_type":"web","request":{"memory_in_mb":256}}`},
			},
			want: "eve@x e1: ",
		},
		{
			name: "memory, on the way of a deployment", change: live("/processes/web/memory_in_mb", int64(96)),
			events: events{{deployment, "eve", "app", `{"type":null,"request":{"options":{"web_instances":1,"memory_in_mb":96}}}`}},
			want:   "eve@x e1: ",
		},
		{
			name: "an environment variable: the controller hides which", change: live("/environment_variables/LOG", "debug"),
			events: events{
				{appUpdate, "ann", "app", `{"request":{"name":"web"}}`},
				{appUpdate, "eve", "app", `{"request":{"environment_variables":"[PRIVATE DATA HIDDEN]"}}`},
				{appUpdate, "bob", "app", `{"request":{"environment_variables":"[PRIVATE DATA HIDDEN]"}}`},
				{appUpdate, "me", "app", `{"request":{"environment_variables":"[PRIVATE DATA HIDDEN]"}}`},
			},
			want: "bob@x e3: the event does not name the variable; eve@x may have done it too (audit.app.update at 2026-01-02T03:04:02Z)",
		},
		{
			name: "a manifest with variables", change: live("/environment_variables/LOG", "debug"),
			events: events{
				{applyManifest, "eve", "app", `{"request":{"manifest":"---\napplications:\n- name: web\n  env: '[PRIVATE DATA HIDDEN]'\n"}}`},
				{applyManifest, "bob", "app", `{"request":{"manifest":"---\napplications:\n- name: web\n"}}`},
				{appUpdate, "bob", "app", `{"request":{"environment_variables":"[PRIVATE DATA HIDDEN]"},"manifest_triggered":true}`},
			},
			want: "eve@x e1: the event does not name the variable",
		},
		{
			name: "nobody but us", change: live("/processes/web/instances", int64(7)),
			events: events{{processScale, "me", "app", `{"process_type":"web","request":{"instances":7}}`}},
			want:   "me@x e1: made as the user that Fettle runs as",
		},
		{
			name: "we healed it once, and somebody did it again in another way", change: live("/processes/web/instances", int64(7)),
			events: events{
				{processScale, "eve", "app", `{"process_type":"web","request":{"instances":5}}`},
				{processScale, "me", "app", `{"process_type":"web","request":{"instances":3}}`},
			},
			want: "eve@x e1: ",
		},
		{
			name: "a label that was removed", change: diff.Change{Ref: web, Op: diff.Add, Path: "/metadata/labels/team", Value: "x"},
			events: events{
				{appUpdate, "eve", "app", `{"request":{"metadata":{"labels":{"team":null}}}}`},
				{appUpdate, "bob", "app", `{"request":{"metadata":{"labels":{"tier":"1"}}}}`},
			},
			want: "eve@x e1: ",
		},
		{
			name: "buildpacks", change: live("/lifecycle/buildpacks", []any{"go_buildpack"}),
			events: events{{appUpdate, "eve", "app", `{"request":{"lifecycle":{"type":"buildpack","data":{"buildpacks":["go_buildpack"]}}}}`}},
			want:   "eve@x e1: ",
		},
		{
			name: "a health check set by itself or by a manifest", change: live("/processes/web/health_check/type", "process"),
			events: events{
				{processUpdate, "eve", "app", `{"process_type":"web","request":{"health_check":{"type":"process"}}}`},
				{processUpdate, "bob", "app", `{"process_type":"web","request":{"command":"[PRIVATE DATA HIDDEN]","health_check_type":"port","type":"web"},"manifest_triggered":true}`},
				{processUpdate, "joe", "app", `{"process_type":"web","request":{"readiness_health_check":{"type":"http"}}}`},
			},
			want: "bob@x e2: eve@x may have done it too (audit.app.process.update at 2026-01-02T03:04:01Z)",
		},
		{
			name: "a feature switched by hand", change: live("/features/ssh", false),
			events: events{{appUpdate, "eve", "app", `{"request":{"name":"web"}}`}},
			want:   ": no audit event since 2026-01-01T00:00:00Z explains it: switching a feature leaves no audit event",
		},
		{
			name: "a feature switched by a manifest", change: live("/features/ssh", false),
			events: events{{applyManifest, "eve", "app", `{"request":{"manifest":"---\napplications:\n- name: web\n  features:\n    ssh: false\n"}}`}},
			want:   "eve@x e1: ",
		},
		{
			name: "a sidecar", change: live("/sidecars/proxy/command", "x"),
			events: events{{applyManifest, "eve", "app", `{"request":{"manifest":"---\napplications:\n- name: web\n  sidecars:\n  - name: proxy\n"}}`}},
			want:   "eve@x e1: ",
		},
		{
			name: "stopped", change: live("/state", "STOPPED"),
			events: events{{"audit.app.stop", "eve", "app", ""}, {"audit.app.start", "bob", "app", ""}},
			want:   "eve@x e1: ",
		},
		{
			name: "a rollback", change: live("/processes/web/command", "old"),
			events: events{{deployment, "eve", "app", `{"type":"rollback","request":{}}`}, {deployment, "bob", "app", `{"type":null,"request":{}}`}},
			want:   "eve@x e1: the app was rolled back to an earlier revision, which resets this too",
		},
		{
			name: "an app that is gone", change: diff.Change{Ref: gone, Op: diff.Add},
			events: events{{"audit.app.delete-request", "eve", "GONE", ""}, {"audit.app.delete-request", "bob", "other", ""}},
			want:   "eve@x e1: ",
		},
		{
			name: "a route unmapped", change: diff.Change{Ref: route, Op: diff.Add, Path: "/destinations/web~1web"},
			events: events{
				{mapRoute, "joe", "app", `{"route_guid":"route","process_type":"web"}`},
				{unmapRoute, "eve", "app", `{"route_guid":"route","process_type":"web"}`},
				{unmapRoute, "bob", "app", `{"route_guid":"route","process_type":"worker"}`},
				{unmapRoute, "kim", "app", `{"route_guid":"another","process_type":"web"}`},
			},
			want: "eve@x e2: ",
		},
		{
			name: "a route deleted", change: diff.Change{Ref: web.Child(manifest.KindRoute, "old.example.com/x"), Op: diff.Add},
			events: events{{"audit.route.delete-request", "eve", "old", `{"request":{"recursive":true}}`}},
			want:   "eve@x e1: the event names the host and not the domain",
		},
		{
			name: "a binding deleted", change: diff.Change{Ref: binding, Op: diff.Add},
			events: events{
				{"audit.service_binding.delete", "eve", "b", `{"request":{"app_guid":"app","route_guid":null,"service_instance_guid":"si"}}`},
				{"audit.service_binding.delete", "bob", "b", `{"request":{"app_guid":"app","route_guid":null,"service_instance_guid":"other"}}`},
			},
			want: "eve@x e1: ",
		},
		{
			name: "a binding that went with its app", change: diff.Change{Ref: binding, Op: diff.Add},
			events: events{{"audit.app.delete-request", "eve", "an earlier one:web", ""}, {"audit.app.delete-request", "bob", "other", ""}},
			want:   "eve@x e1: ",
		},
		{
			name: "a binding made by hand", change: diff.Change{Ref: binding, Op: diff.Remove},
			events: events{{"audit.service_binding.create", "eve", "binding", `{"request":{}}`}},
			want:   "eve@x e1: ",
		},
		{
			name: "nothing happened", change: live("/processes/web/instances", int64(1)),
			want: ": no audit event since 2026-01-01T00:00:00Z explains it",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := explanationOf(tt.change, obs)
			at := x.judge(eventsOf(t, tt.events...), "g-me", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			got := at.Actor
			if at.EventID != "" {
				got += " " + at.EventID
			}
			if d := cmp.Diff(tt.want, got+": "+at.Note); d != "" {
				t.Error(d)
			}
		})
	}
}
