package diff_test

import (
	"fmt"
	"testing"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// foundation has n apps with 30 environment variables, 3 routes and 2 processes each. The values depend on version.
func foundation(n, version int) manifest.Set {
	var set manifest.Set
	for i := range n {
		app := manifest.Ref{Kind: manifest.KindApp, Path: fmt.Sprintf("acme/prod/app-%05d", i)}
		env := tree{}
		for j := range 30 {
			env[fmt.Sprintf("SETTING_%02d", j)] = fmt.Sprintf("value %d of app %d, version %d", j, i, version)
		}
		processes := tree{}
		for _, p := range []string{"web", "worker"} {
			processes[p] = tree{
				"command": "bundle exec " + p, "instances": int64(2), "memory_in_mb": int64(256 + version), "disk_in_mb": int64(1024),
				"log_rate_limit_in_bytes_per_second": int64(-1), "health_check": tree{"type": "http", "http_endpoint": "/up", "timeout": int64(60)},
			}
		}
		set.Put(&manifest.Object{
			Ref: app, Spec: tree{
				"lifecycle":             tree{"type": "buildpack", "buildpacks": []any{"ruby_buildpack"}, "stack": "cflinuxfs4"},
				"environment_variables": env, "processes": processes, "metadata": tree{"labels": tree{"team": "shop"}}, "state": "STARTED",
			},
			Ownership: map[string]manifest.Ownership{"/environment_variables": manifest.ThreeWay, "/metadata/labels": manifest.ThreeWay, "/processes": manifest.ThreeWay},
		})
		for r := range 3 {
			set.Put(&manifest.Object{
				Ref:       app.Child(manifest.KindRoute, fmt.Sprintf("app-%05d-%d.example.com", i, r)),
				Spec:      tree{"destinations": tree{app.Name() + "/web": tree{"port": int64(8080 + version), "protocol": "http1"}}},
				Ownership: map[string]manifest.Ownership{"/destinations": manifest.ThreeWay},
			})
		}
	}
	return set
}

// The budget for 1,000 apps: 50 ms when nothing changed, 150 ms when every value did, 100 MB.
//
// Baseline (2 cores of an AMD EPYC shared with other work, Go 1.26, November 2026; allocation is in all, not at a time):
//
//	 1,000 apps  unchanged     23 ms    2.8 MB
//	 1,000 apps  changed      146 ms     81 MB   43,000 changes: each variable, memory and port
//	10,000 apps  unchanged    280 ms     28 MB
//	10,000 apps  changed    1,680 ms    819 MB
//
// A sixth of the changed case is manifest.LooksSecret, an eighth the engine, a quarter the garbage collector.
func BenchmarkCompare(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		desired, same, old := foundation(n, 1), foundation(n, 1), foundation(n, 0)
		for name, live := range map[string]manifest.Set{"unchanged": same, "changed": old} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					changes, err := diff.Compare(desired, live, nil)
					if err != nil {
						b.Fatal(err)
					}
					if changes.Empty() != (name == "unchanged") {
						b.Fatalf("%d changes", len(changes.List))
					}
				}
			})
		}
	}
}
