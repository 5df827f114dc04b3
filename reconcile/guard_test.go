package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

// TestGuard: what a plan deletes, and why it is not.
func TestGuard(t *testing.T) {
	refOf := func(text string) manifest.Ref {
		r, err := manifest.ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var crowd []string
	for i := range 12 {
		crowd = append(crowd, fmt.Sprintf("route acme/dev/r%d.example.com", i))
	}
	for _, tt := range []struct {
		name    string
		prune   Pruning
		deletes []string
		kept    string // apps that are declared
		traffic string // an app that is started and mapped
		want    string // of the refusals, "" for none
		refused int
	}{
		{name: "an app that is stopped", deletes: []string{"app acme/dev/old"}, kept: "app acme/dev/web"},
		{name: "an app with traffic", deletes: []string{"app acme/dev/old"}, kept: "app acme/dev/web", traffic: "app acme/dev/old", want: "may have traffic", refused: 1},
		{name: "an app with traffic that is named", prune: Pruning{Confirm: []manifest.Ref{refOf("app acme/dev/old")}}, deletes: []string{"app acme/dev/old"}, kept: "app acme/dev/web", traffic: "app acme/dev/old"},
		{name: "a service instance", deletes: []string{"service_instance acme/dev/db", "route acme/dev/a.example.com"}, kept: "app acme/dev/web", want: "its data goes", refused: 1},
		{name: "a space that lost its apps", deletes: []string{"app acme/dev/old", "route acme/dev/a.example.com"}, want: "a folder that went missing", refused: 2},
		{name: "another space has apps", deletes: []string{"app acme/dev/old"}, kept: "app acme/prod/web", want: "a folder that went missing", refused: 1},
		{name: "a space that never had one", deletes: []string{"route acme/dev/a.example.com"}},
		{name: "more than usual", deletes: crowd, kept: "app acme/dev/web", want: "would delete 12 resources, and 10 (the limit of 10) is the most", refused: 12},
		{name: "more than usual, and meant", prune: Pruning{Limit: PruneLimit{Count: 12}}, deletes: crowd, kept: "app acme/dev/web"},
		{name: "more than the share", prune: Pruning{Limit: PruneLimit{Percent: 50}}, deletes: crowd, kept: "app acme/dev/web", want: "12 resources, and 6 (the limit of 50%)", refused: 12},
		{name: "what is named does not count", prune: Pruning{Limit: PruneLimit{Count: 1}, Confirm: []manifest.Ref{refOf(crowd[0])}}, deletes: crowd[:2], kept: "app acme/dev/web"},
		{name: "unbinding is no deletion", prune: Pruning{Limit: PruneLimit{Count: 1}}, deletes: []string{"service_binding acme/dev/web/a", "service_binding acme/dev/web/b"}, kept: "app acme/dev/web"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := &Run{Target: &Target{Prune: tt.prune}}
			if tt.kept != "" {
				run.Desired.Put(&manifest.Object{Ref: refOf(tt.kept)})
				run.Live.Live.Put(&manifest.Object{Ref: refOf(tt.kept)})
			}
			for _, text := range tt.deletes {
				ref := refOf(text)
				run.Live.Live.Put(&manifest.Object{Ref: ref, Spec: map[string]any{"state": "STARTED", "routed": text == tt.traffic}})
				run.Plan.Steps = append(run.Plan.Steps, platform.Step{ID: text, Ref: ref, Changes: []diff.Change{{Ref: ref, Op: diff.Remove}}})
			}
			found := guard(run)
			if len(found) != tt.refused {
				t.Fatalf("%d refused, want %d: %v", len(found), tt.refused, found)
			}
			for _, p := range found {
				if !strings.Contains(p.Message, tt.want) || !strings.Contains(p.Hint, "--confirm-prune") || !slices.Contains(tt.deletes, p.Step) {
					t.Errorf("%+v, want %q", p, tt.want)
				}
			}
		})
	}
}

func TestParsePruneLimit(t *testing.T) {
	for text, want := range map[string]PruneLimit{"10": {Count: 10}, " 25% ": {Percent: 25}, "100%": {Percent: 100}} {
		if got, err := ParsePruneLimit(text); err != nil || got != want || !strings.Contains(text, got.String()) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "101%", "half", "%"} {
		if _, err := ParsePruneLimit(text); err == nil {
			t.Errorf("%q is a limit", text)
		}
	}
}
