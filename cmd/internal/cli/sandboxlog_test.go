package cli

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
)

// A line says who asked for what, and what it cost; passwords that came in the query of the account server are not in it.
func TestRequestLog(t *testing.T) {
	token := func(claims string) string {
		return "bearer h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s"
	}
	for _, test := range []struct{ method, path, authorization, want string }{
		{"GET", "/v3/apps?names=web", token(`{"user_name":"robin","client_id":"cf"}`), `^[\d:.]{12} 200 robin GET /v3/apps\?names=web \S+ 5B\n$`},
		{"GET", "/v3/apps", token(`{"client_id":"ci"}`), ` 200 ci GET `},
		{"GET", "/v3/apps", "", ` 200 - GET `},
		{"GET", "/v3/apps", "bearer nonsense", ` 200 - GET `},
		{"GET", "/v3/apps", token(`{"user_name":"a\n00:00:00.000 200 admin"}`), ` 200 a\\n00`},
		{"POST", "/uaa/oauth/token?username=robin&password=secret", "", ` 200 - POST /uaa/oauth/token \S+ 5B\n$`},
		{"DELETE", "/gone", "", ` 404 - DELETE /gone `},
		{"GET", "/cut", "", ` cut - GET /cut `},
	} {
		var out bytes.Buffer
		h := &requestLog{out: &out, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/gone":
				w.WriteHeader(http.StatusNotFound)
			case "/cut":
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, "hello")
		})}
		r := httptest.NewRequest(test.method, test.path, nil)
		if test.authorization != "" {
			r.Header.Set("Authorization", test.authorization)
		}
		func() {
			defer func() { _ = recover() }()
			h.ServeHTTP(httptest.NewRecorder(), r)
		}()
		if !regexp.MustCompile(test.want).MatchString(out.String()) {
			t.Errorf("%s %s: %q does not match %s", test.method, test.path, out.String(), test.want)
		}
	}
}
