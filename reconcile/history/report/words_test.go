package report_test

import (
	"testing"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/report"
)

// A destination of a route is told in words.
func TestDestinationInWords(t *testing.T) {
	d := history.Drift{Ref: manifest.Ref{Kind: manifest.KindRoute, Path: "acme/dev/a.example.com"}, Path: "/destinations/web~1web"}
	for value, want := range map[string]string{
		"":                                 "not mapped",
		"{}":                               "mapped",
		`{"protocol":"http2"}`:             "mapped with http2",
		`{"port":9090,"protocol":"http1"}`: "mapped with http1 to port 9090",
		`{"port":null}`:                    "mapped",
	} {
		if got := report.Value(d, value); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}
