package manifest

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fettle-gitops/fettle/schemas"
)

// One app in both versions, with every setting.
const everySettingV1 = `
applications:
- name: db
- name: shop
  metadata:
    annotations: &all
      contact: shop@example.com
      fettle-gitops.github.io/strategy: canary
      fettle-gitops.github.io/max-in-flight: 2
      fettle-gitops.github.io/canary-steps: 10, 50%
      fettle-gitops.github.io/canary-pause: manual
      fettle-gitops.github.io/rollout-timeout: 5m
      fettle-gitops.github.io/settle: 0s
      fettle-gitops.github.io/health-url: /health?deep=yes
      fettle-gitops.github.io/health-status: 204
      fettle-gitops.github.io/before-rollout: bin/migrate --to "$VERSION"
      fettle-gitops.github.io/after-rollout: bin/smoke
      fettle-gitops.github.io/hook-timeout: 90s
      fettle-gitops.github.io/depends-on: db
      fettle-gitops.github.io/wave: 3
      fettle-gitops.github.io/ignore: |
        /processes/web/instances
        /environment_variables/*
`

func TestSettingsAreReadAndKeptOutOfTheSpec(t *testing.T) {
	set := mustLoad(t, everySettingV1)
	shop := set.Get(Ref{KindApp, "acme/dev/shop"})
	pause, settle := Manual, time.Duration(0)
	want := &Settings{
		Strategy: "canary", MaxInFlight: 2, CanarySteps: []int{10, 50}, CanaryPause: &pause,
		RolloutTimeout: 5 * time.Minute, Settle: &settle, HealthURL: "/health?deep=yes", HealthStatus: [2]int{204, 204},
		BeforeRollout: `bin/migrate --to "$VERSION"`, AfterRollout: "bin/smoke", HookTimeout: 90 * time.Second,
		DependsOn: []string{"db"}, Wave: 3, Ignore: []string{"/processes/web/instances", "/environment_variables/*"},
	}
	if diff := cmp.Diff(want, shop.Settings, cmpopts.IgnoreUnexported(Settings{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"annotations": map[string]any{"contact": "shop@example.com"}}, shop.Spec["metadata"]); diff != "" {
		t.Errorf("metadata of the spec (-want +got):\n%s", diff)
	}
	if got := shop.Settings.Dependencies(shop.Ref); len(got) != 1 || got[0] != (Ref{KindApp, "acme/dev/db"}) {
		t.Errorf("it depends on %v", got)
	}
	if at := shop.Settings.Origin("wave").String(); at != "manifest.yml:20:37" {
		t.Errorf("wave stands at %s", at)
	}
}

// An app that has settings and no other annotations does not speak about annotations: version 2 would remove all others.
func TestSettingsAloneAreNoAnnotations(t *testing.T) {
	for _, text := range []string{
		"applications: [{name: a, metadata: {annotations: {fettle-gitops.github.io/wave: 1}}}]",
		"version: 2\napps: [{name: a, metadata: {annotations: {fettle-gitops.github.io/wave: 1}}}]",
	} {
		a := mustLoad(t, text).Get(Ref{KindApp, "acme/dev/a"})
		if _, there := Lookup(a.Spec, "/metadata/annotations"); there || a.Settings.Wave != 1 || a.Ownership["/metadata/annotations"] == Exact {
			t.Errorf("%s\nspec %v, ownership %v, settings %+v", text, a.Spec, a.Ownership, a.Settings)
		}
	}
}

func TestSettingsSurviveWritingAndReading(t *testing.T) {
	shop := mustLoad(t, everySettingV1).Get(Ref{KindApp, "acme/dev/shop"})
	shop.Settings.texts["depends-on"] = "shop2" // each version writes one app
	for name, marshal := range map[string]func([]*Object) ([]byte, error){"1": MarshalV1, "2": MarshalV2} {
		text, err := marshal([]*Object{shop})
		if err != nil {
			t.Fatal(err)
		}
		set, _ := Load(fstest.MapFS{"manifest.yml": {Data: text}}, "manifest.yml", Options{Org: "acme", Space: "dev"})
		got := set.Get(shop.Ref)
		if diff := cmp.Diff(shop.Settings.Texts(), got.Settings.Texts()); diff != "" {
			t.Errorf("version %s (-before +after):\n%s\n%s", name, diff, text)
		}
	}
}

func TestSettingsHaveDefaults(t *testing.T) {
	defaults, err := NewSettings(map[string]string{"strategy": "canary", "settle": "1m", "wave": "7"})
	if err != nil {
		t.Fatal(err)
	}
	own := mustLoad(t, "applications: [{name: a, metadata: {annotations: {fettle-gitops.github.io/settle: 0s}}}]").Get(Ref{KindApp, "acme/dev/a"}).Settings
	both := own.Or(defaults)
	if both.Strategy != "canary" || *both.Settle != 0 || both.Wave != 7 || both.Origin("settle").IsZero() {
		t.Errorf("got %+v", both)
	}
	if *defaults.Settle != time.Minute || own.Strategy != "" {
		t.Errorf("the parts were changed: %+v, %+v", defaults, own)
	}
	var none *Settings
	if got := none.Or(nil); got.Strategy != "" {
		t.Errorf("got %+v", got)
	}
	if _, err := NewSettings(map[string]string{"strategy": "blue"}); err == nil || err.Error() != `the setting strategy: expected rolling, canary or recreate, got "blue"` {
		t.Errorf("got %v", err)
	}
}

func TestTheSchemasKnowEverySetting(t *testing.T) {
	for _, pointer := range []string{
		"manifest-v1.schema.json#/$defs/application/properties/metadata/properties/annotations/properties",
		"manifest-v2.schema.json#/$defs/app_metadata/properties/annotations/properties",
	} {
		value, _, _ := schemas.Keyword(pointer)
		properties, _ := value.(map[string]any)
		if len(properties) != len(settings) {
			t.Errorf("%s has %d settings, expected %d", pointer, len(properties), len(settings))
		}
		for _, name := range SettingNames() {
			if properties[MetadataPrefix+name] == nil {
				t.Errorf("%s lacks %s", pointer, name)
			}
		}
	}
}
