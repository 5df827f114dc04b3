package render_test

import (
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
)

// TestADisagreementThatNothingExplainsIsShown in every format that has the section.
func TestADisagreementThatNothingExplainsIsShown(t *testing.T) {
	web := manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	in := render.Input{Opinion: &diff.Opinion{
		Disagreements: []diff.Disagreement{{Ref: web, Path: "/stack", Platform: "replace"}},
		Unasked:       []diff.Unasked{{Ref: web.Child(manifest.KindServiceInstance, "db"), Why: "no words for it"}},
	}}
	for format, want := range map[string][]string{
		"text":     {"app acme/dev/web /stack: only the controller sees a difference (replace)", "for no reason that is known", "db: could not be asked about"},
		"markdown": {"only the controller sees a difference", "for no reason that is known", "could not be asked about"},
		"json":     {`"server_side": {`, `"platform": "replace"`, `"why": "no words for it"`},
	} {
		var b strings.Builder
		if err := render.Write(&b, format, in, render.Options{Width: 200}); err != nil {
			t.Fatal(err)
		}
		for _, s := range want {
			if !strings.Contains(b.String(), s) {
				t.Errorf("%s does not say %q:\n%s", format, s, b.String())
			}
		}
	}
}
