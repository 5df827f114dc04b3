package cloudfoundry_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Who writes http for https, or the reverse, is told so.
func TestTheWrongScheme(t *testing.T) {
	nothing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	plain, secure := httptest.NewServer(nothing), httptest.NewTLSServer(nothing)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs what this test is about
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for api, want := range map[string]string{
		strings.Replace(plain.URL, "http:", "https:", 1):  "write http:// in the API address",
		strings.Replace(secure.URL, "https:", "http:", 1): "write https:// in the API address",
	} {
		d, err := cloudfoundry.New(cloudfoundry.Config{Client: ccv3.Config{API: api, Username: "u", Password: "p"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Check(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %s", api, err, want)
		}
	}
}
