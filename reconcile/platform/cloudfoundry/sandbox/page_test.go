package sandbox_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// The root answers clients with links and people with a page.
func TestPage(t *testing.T) {
	client := quick().Client()
	get := func(path, accept string) (string, string) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", api+path, nil)
		req.Header.Set("Accept", accept)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, _ := io.ReadAll(res.Body)
		return res.Header.Get("Content-Type"), string(b)
	}
	for _, accept := range []string{"", "*/*", "application/json"} {
		if kind, body := get("/", accept); !strings.Contains(kind, "json") || !strings.Contains(body, "cloud_controller_v3") {
			t.Errorf("with Accept %q the root is %s:\n%s", accept, kind, body)
		}
	}
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, path := range []string{"/", "/sandbox"} {
		kind, body := get(path, browser)
		if !strings.Contains(kind, "html") {
			t.Fatalf("%s is %s", path, kind)
		}
		for _, want := range []string{"cf api " + api + "\n", `api_url  = "` + api + `"`, "CF_API=" + api, "apps 0 (0 started)", "Administrators: admin;"} {
			if !strings.Contains(body, want) {
				t.Errorf("%q is missing in %s:\n%s", want, path, body)
			}
		}
	}
	if kind, body := get("/v3", browser); !strings.Contains(kind, "json") {
		t.Errorf("/v3 is %s for a browser:\n%s", kind, body)
	}
}
