package ccv3_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// handlerTransport reaches a handler without a socket, so that pauses of minutes pass at once under synctest.
type handlerTransport struct{ http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	rec := httptest.NewRecorder()
	t.ServeHTTP(rec, in)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

// foundation is the smallest controller with a UAA that the client can log in to. Requests with a token
// that is not the newest are refused.
type foundation struct {
	mux      http.ServeMux
	tokens   atomic.Int64 // given out so far
	lifetime int          // seconds
	grants   []url.Values // as they came in
	basic    []string
	refuse   func(form url.Values) bool // the UAA refuses such a grant
	mu       sync.Mutex
}

func newFoundation() *foundation {
	f := &foundation{lifetime: 600}
	f.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"links":{"uaa":{"href":"%s/uaa"},"cloud_controller_v3":{"href":"x","meta":{"version":"3.228.0"}}}}`, base(r))
	})
	f.mux.HandleFunc("POST /uaa/oauth/token", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = r.ParseForm()
		f.grants = append(f.grants, r.PostForm)
		user, password, _ := r.BasicAuth()
		f.basic = append(f.basic, user+":"+password)
		if f.refuse != nil && f.refuse(r.PostForm) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"unauthorized","error_description":"Bad credentials"}`)
			return
		}
		n := f.tokens.Add(1)
		fmt.Fprintf(w, `{"access_token":"token-%d","refresh_token":"refresh-%d","expires_in":%d,"token_type":"bearer"}`, n, n, f.lifetime)
	})
	return f
}

func base(r *http.Request) string {
	if r.URL.Host != "" {
		return r.URL.Scheme + "://" + r.URL.Host
	}
	return "http://" + r.Host
}

// api answers requests for pattern that bear the newest token.
func (f *foundation) api(pattern string, h http.HandlerFunc) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprintf("bearer token-%d", f.tokens.Load()) {
			refuse(w, http.StatusUnauthorized, 1000, "CF-InvalidAuthToken", "Invalid Auth Token")
			return
		}
		h(w, r)
	})
}

func refuse(w http.ResponseWriter, status, code int, title, detail string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]any{"code": code, "title": title, "detail": detail}}})
}

func (f *foundation) client(t *testing.T, change ...func(*ccv3.Config)) *ccv3.Client {
	t.Helper()
	cfg := ccv3.Config{API: "https://api.test", Username: "ada", Password: "s3cret", HTTP: handlerTransport{&f.mux}}
	for _, c := range change {
		c(&cfg)
	}
	c, err := ccv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// failing answers with the given statuses one after the other, and then with success.
func failing(header http.Header, statuses ...int) (http.HandlerFunc, *int) {
	calls := new(int)
	return func(w http.ResponseWriter, _ *http.Request) {
		*calls++
		if *calls <= len(statuses) {
			for k, v := range header {
				w.Header()[k] = v
			}
			refuse(w, statuses[*calls-1], 10001, "CF-Trouble", "trouble")
			return
		}
		fmt.Fprint(w, `{}`)
	}, calls
}

func TestTrouble(t *testing.T) {
	tests := []struct {
		name     string
		method   string
		statuses []int
		header   http.Header
		in       any

		calls  int
		err    string
		pause  time.Duration // at least
		within time.Duration
		maybe  bool // MayHaveHappened
	}{
		{name: "503 and then an answer", method: "GET", statuses: []int{503, 502}, calls: 3, pause: 500 * time.Millisecond, within: 4 * time.Second},
		{name: "trouble that does not end", method: "GET", statuses: []int{500, 502, 503, 504, 500, 500}, calls: 5, err: "GET /v3/x: 500 CF-Trouble: trouble", pause: time.Second, within: time.Minute},
		{name: "a PATCH sets what it sets, however often", method: "PATCH", statuses: []int{503}, calls: 2, within: time.Minute},
		{name: "a POST may have happened, so nobody repeats it blindly", method: "POST", statuses: []int{503}, calls: 1, err: "POST /v3/x: 503 CF-Trouble: trouble", maybe: true},
		{name: "a POST that may be repeated", method: "POST", in: ccv3.Body{ContentType: "application/x-yaml", Data: []byte("a: 1"), Repeatable: true}, statuses: []int{503}, calls: 2, within: time.Minute},
		{name: "a mistake of ours", method: "GET", statuses: []int{422}, calls: 1, err: "GET /v3/x: 422 CF-Trouble: trouble"},
		{name: "Retry-After of a 503", method: "GET", statuses: []int{503}, header: http.Header{"Retry-After": {"20"}}, calls: 2, pause: 20 * time.Second, within: 21 * time.Second},
		{name: "429 is waited out, for a POST too", method: "POST", statuses: []int{429, 429}, header: http.Header{"Retry-After": {"30"}}, calls: 3, pause: time.Minute, within: 65 * time.Second},
		{name: "429 with nothing but the reset time", method: "GET", statuses: []int{429}, header: http.Header{"X-Ratelimit-Reset": {"946684850"}}, calls: 2, pause: 49 * time.Second, within: 52 * time.Second}, // synctest begins at 946684800
		{name: "429 for too long", method: "GET", statuses: []int{429}, header: http.Header{"Retry-After": {"3600"}}, calls: 1, err: "GET /v3/x: 429 CF-Trouble: trouble (the platform asks to wait 1h0m0s)"},
		{name: "429 without end", method: "GET", statuses: []int{429, 429, 429, 429, 429, 429, 429, 429, 429}, calls: 8, err: "GET /v3/x: 429 CF-Trouble: trouble", within: 5 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation()
				handler, calls := failing(tt.header, tt.statuses...)
				f.api("/v3/x", handler)
				began := time.Now()
				_, err := f.client(t).Do(t.Context(), tt.method, "/v3/x?secret=1", tt.in, nil)
				took := time.Since(began)
				if text := fmt.Sprint(err); err != nil && text != tt.err || err == nil && tt.err != "" {
					t.Errorf("error %v\nwant  %s", err, tt.err)
				}
				if *calls != tt.calls {
					t.Errorf("%d requests, want %d", *calls, tt.calls)
				}
				if took < tt.pause || took > tt.within {
					t.Errorf("it took %s, want %s to %s", took, tt.pause, tt.within)
				}
				if ccv3.MayHaveHappened(err) != tt.maybe {
					t.Errorf("MayHaveHappened is %v", ccv3.MayHaveHappened(err))
				}
			})
		})
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation()
		handler, calls := failing(http.Header{"Retry-After": {"60"}}, 429)
		f.api("/v3/x", handler)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, err := f.client(t).Do(ctx, "GET", "/v3/x", nil, nil)
		if !ccv3.HasStatus(err, 429) || *calls != 1 || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %s and %d calls", err, time.Since(began), *calls)
		}
	})
}

func TestLogin(t *testing.T) {
	tests := []struct {
		name   string
		config func(*ccv3.Config)
		grant  url.Values
		basic  string
	}{
		{
			"a user, through the client of the cf CLI", func(*ccv3.Config) {},
			url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {"s3cret"}},
			"cf:",
		},
		{
			"client credentials", func(c *ccv3.Config) { c.Username, c.Password, c.ClientID, c.ClientSecret = "", "", "ci", "p:w" },
			url.Values{"grant_type": {"client_credentials"}},
			"ci:p%3Aw",
		},
		{
			"the session of cf login", func(c *ccv3.Config) {
				*c = ccv3.Config{HTTP: c.HTTP, Session: &ccv3.CFSession{Target: "https://api.test", AccessToken: "bearer " + jwt(`{"exp":1}`), RefreshToken: "R"}}
			},
			url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"R"}},
			"cf:",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFoundation()
			f.api("GET /v3/x", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) })
			if _, err := f.client(t, tt.config).Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]url.Values{tt.grant}, f.grants); d != "" {
				t.Error(d)
			}
			if f.basic[0] != tt.basic {
				t.Errorf("the OAuth client is %q, want %q", f.basic[0], tt.basic)
			}
		})
	}
}

func jwt(claims string) string {
	return "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s"
}

func TestATokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation()
		f.api("GET /v3/x", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) })
		c := f.client(t)
		get := func(why string, tokens int64) {
			t.Helper()
			if _, err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil {
				t.Fatal(why, err)
			}
			if f.tokens.Load() != tokens {
				t.Errorf("%s: %d tokens were given out, want %d", why, f.tokens.Load(), tokens)
			}
		}
		get("the first time", 1)
		time.Sleep(9 * time.Minute)
		get("while it is good", 1)
		time.Sleep(45 * time.Second)
		get("shortly before it expires", 2)
		f.tokens.Add(1) // the UAA forgot all tokens
		get("when it is refused", 4)
		if last := f.grants[len(f.grants)-1]; last.Get("grant_type") != "refresh_token" {
			t.Errorf("renewed by %v", last)
		}
		f.refuse = func(form url.Values) bool { return form.Get("grant_type") == "refresh_token" }
		f.tokens.Add(1)
		get("with the password when the refresh token is refused", 6)
	})
}

func TestManyRequestsShareOneLogin(t *testing.T) {
	f := newFoundation()
	f.api("GET /v3/x", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) })
	server := httptest.NewServer(&f.mux)
	defer server.Close()
	c := f.client(t, func(c *ccv3.Config) { c.API, c.HTTP = server.URL, nil })
	all := func() {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	all()
	if n := f.tokens.Load(); n != 1 {
		t.Errorf("%d logins", n)
	}
	f.tokens.Store(10)
	all() // all are refused at first
	if n := f.tokens.Load(); n != 11 {
		t.Errorf("%d logins after the tokens were lost", n-10)
	}
}

func TestLoginFailures(t *testing.T) {
	f := newFoundation()
	f.refuse = func(url.Values) bool { return true }
	_, err := f.client(t).Do(t.Context(), "POST", "/v3/apps", map[string]string{"env": "topsecret"}, nil)
	want := "POST https://api.test/uaa/oauth/token: 401 unauthorized: Bad credentials"
	if err == nil || err.Error() != want || len(f.grants) != 1 {
		t.Errorf("%v after %d tries\nwant %s", err, len(f.grants), want)
	}
	c := f.client(t, func(c *ccv3.Config) {
		*c = ccv3.Config{HTTP: c.HTTP, Session: &ccv3.CFSession{Target: "https://api.test", AccessToken: "bearer " + jwt(`{"exp":1}`)}}
	})
	_, err = c.Do(t.Context(), "GET", "/v3/apps", nil, nil)
	if want := "POST /oauth/token: 401 invalid_token: the session of `cf login` has expired"; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	f := newFoundation()
	f.api("/v3/html", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hunter2") })
	f.api("/v3/env", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, 422, 10008, "CF-UnprocessableEntity", "Non-string value in environment variable for key 'A', value 'hunter2'")
	})
	for _, path := range []string{"/v3/html", "/v3/env"} {
		_, err := f.client(t).Do(t.Context(), "PATCH", path+"?q=hunter2", map[string]string{"x": "hunter2"}, &struct{}{})
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "token-1") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	user := func(c ccv3.Config) ccv3.Config { c.Username, c.Password = "u", "p"; return c }
	for _, tt := range []struct {
		cfg  ccv3.Config
		want string
	}{
		{ccv3.Config{}, "no API endpoint given"},
		{user(ccv3.Config{API: "ftp://x"}), `the API endpoint "ftp://x" is not a URL`},
		{user(ccv3.Config{API: "https://u:hunter2@api.test"}), "the API endpoint https://u:xxxxx@api.test carries a user name"},
		{ccv3.Config{API: "api.test"}, "no credentials given"},
		{ccv3.Config{API: "api.test", Username: "u"}, "no password given for the user u"},
		{user(ccv3.Config{API: "api.test", CA: []byte("x")}), "the CA file holds no certificate"},
	} {
		if _, err := ccv3.New(tt.cfg); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v\nwant %s…", err, tt.want)
		}
	}
}

// resources are those of a paged list.
type resource struct {
	ccv3.Resource
	Name string `json:"name"`
}

func paged(names func(page int) []string, pages, total int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		page = max(1, page)
		var resources []any
		for _, n := range names(page) {
			resources = append(resources, map[string]any{"guid": "g-" + n, "name": n})
		}
		answer := map[string]any{
			"pagination": map[string]any{"total_results": total, "total_pages": pages, "next": nil},
			"resources":  resources,
			"included":   map[string]any{"spaces": []any{map[string]any{"guid": "s", "name": "dev"}}},
		}
		if page < pages {
			q := r.URL.Query()
			q.Set("page", strconv.Itoa(page+1))
			q.Set("per_page", "2") // this server's pages are short
			answer["pagination"].(map[string]any)["next"] = map[string]string{"href": "https://elsewhere.test/v3/things?" + q.Encode()}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func TestList(t *testing.T) {
	f := newFoundation()
	all := []string{"a", "b", "c", "d", "e"}
	var queries []string
	handler := paged(func(page int) []string { return all[2*page-2 : min(len(all), 2*page)] }, 3, 5)
	var mu sync.Mutex
	f.api("GET /v3/things", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		queries = append(queries, r.URL.RawQuery)
		mu.Unlock()
		handler(w, r)
	})
	c := f.client(t)
	got, included, err := ccv3.List[resource](t.Context(), c, "/v3/things", url.Values{"order_by": {"name"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range got {
		names = append(names, g.Name)
	}
	if d := cmp.Diff(all, names); d != "" {
		t.Error(d)
	}
	if len(included.Spaces) != 1 {
		t.Errorf("%d included spaces, want the one, once", len(included.Spaces))
	}
	slices.Sort(queries)
	if d := cmp.Diff([]string{"order_by=name&page=2&per_page=2", "order_by=name&page=3&per_page=2", "order_by=name&per_page=5000"}, queries); d != "" {
		t.Error(d)
	}
	if c.Requests() != 4 { // with the root document
		t.Errorf("%d requests counted", c.Requests())
	}
}

func TestAListThatMovesWhileItIsRead(t *testing.T) {
	f := newFoundation()
	var round atomic.Int64
	f.api("GET /v3/things", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "" {
			round.Add(1)
		}
		// In the first round "b" is deleted between the pages: "c" moves to page 1 unseen.
		if round.Load() == 1 && r.URL.Query().Get("page") == "2" {
			paged(func(int) []string { return []string{"d"} }, 2, 3)(w, r)
			return
		}
		if round.Load() == 1 {
			paged(func(int) []string { return []string{"a", "b"} }, 2, 4)(w, r)
			return
		}
		paged(func(page int) []string { return [][]string{{"a", "c"}, {"c", "d"}}[page-1] }, 2, 3)(w, r)
	})
	got, _, err := ccv3.List[resource](t.Context(), f.client(t), "/v3/things", nil)
	var names []string
	for _, g := range got {
		names = append(names, g.Name)
	}
	if d := cmp.Diff([]string{"a", "c", "d"}, names); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestListByManyValues(t *testing.T) {
	f := newFoundation()
	var asked atomic.Int64
	f.api("GET /v3/things", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(int64(len(strings.Split(r.URL.Query().Get("names"), ","))))
		paged(func(int) []string { return []string{r.URL.Query().Get("names")[:4]} }, 1, 1)(w, r)
	})
	c := f.client(t)
	names := make([]string, 450)
	for i := range names {
		names[i] = fmt.Sprintf("n%03d", i)
	}
	got, _, err := ccv3.ListBy[resource](t.Context(), c, "/v3/things", nil, "names", names)
	if err != nil || len(got) != 3 || got[2].Name != "n400" || asked.Load() != 450 {
		t.Errorf("%d results, %d names asked, %v", len(got), asked.Load(), err)
	}
	before := c.Requests()
	if none, _, err := ccv3.ListBy[resource](t.Context(), c, "/v3/things", nil, "names", nil); len(none) != 0 || err != nil || c.Requests() != before {
		t.Errorf("no names: %v %v", none, err)
	}
	if got := ccv3.Filter("a,b", "50%"); got != "a%2Cb,50%25" {
		t.Error(got)
	}
}

func TestJob(t *testing.T) {
	tests := []struct {
		name   string
		states []string
		err    string
		within time.Duration
	}{
		{"done at once, with a warning", []string{`{"state":"COMPLETE","warnings":[{"detail":"mind the gap"}]}`}, "", 0},
		{"done after a while", []string{`{"state":"PROCESSING"}`, `{"state":"POLLING"}`, `{"state":"COMPLETE"}`}, "", time.Second},
		{
			"failed, with all errors",
			[]string{`{"state":"FAILED","operation":"space.apply_manifest","errors":[{"code":10008,"title":"CF-UnprocessableEntity","detail":"one"},{"code":10008,"title":"CF-UnprocessableEntity","detail":"two"}]}`},
			"GET /v3/jobs/1: CF-UnprocessableEntity: one; CF-UnprocessableEntity: two", 0,
		},
		{"failed without a word", []string{`{"state":"FAILED","operation":"app.delete"}`}, "GET /v3/jobs/1: the job app.delete failed without saying why", 0},
		{"never done", []string{`{"state":"PROCESSING"}`}, "GET /v3/jobs/1: the job did not end within 30m0s", time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation()
				polls := 0
				f.api("GET /v3/jobs/1", func(w http.ResponseWriter, _ *http.Request) {
					fmt.Fprint(w, tt.states[min(polls, len(tt.states)-1)])
					polls++
				})
				ctx, warnings := ccv3.CollectWarnings(t.Context())
				began := time.Now()
				err := f.client(t).Job(ctx, "https://api.test/v3/jobs/1")
				if text := fmt.Sprint(err); err != nil && text != tt.err || err == nil && tt.err != "" {
					t.Errorf("error %v\nwant  %s", err, tt.err)
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("it took %s", took)
				}
				if polls > 500 {
					t.Errorf("%d polls", polls)
				}
				if strings.Contains(tt.states[0], "mind the gap") != slices.Contains(warnings.All(), "mind the gap") {
					t.Errorf("warnings %q", warnings.All())
				}
			})
		})
	}
}

func TestWarnings(t *testing.T) {
	f := newFoundation()
	f.api("GET /v3/x", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Cf-Warnings", "Stats+server+temporarily+unavailable.,again%2C%20later")
		fmt.Fprint(w, `{}`)
	})
	ctx, warnings := ccv3.CollectWarnings(t.Context())
	c := f.client(t)
	for range 2 {
		if _, err := c.Do(ctx, "GET", "/v3/x", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"Stats server temporarily unavailable.", "again, later"}, warnings.All()); d != "" {
		t.Error(d)
	}
}

// TestUpload sends 64 MB over a real connection, twice: the first time the controller is too busy to read it.
func TestUpload(t *testing.T) {
	const size = 64 << 20
	f := newFoundation()
	attempts := 0
	f.api("POST /v3/packages/1/upload", func(w http.ResponseWriter, r *http.Request) {
		attempts++
		if attempts == 1 {
			w.Header().Set("Retry-After", "0")
			refuse(w, 429, 10013, "CF-RateLimitExceeded", "later")
			return
		}
		if attempts > 2 { // the upload that breaks off on our side
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		form, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		got := map[string]string{}
		for {
			part, err := form.NextPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
			if part.FileName() != "" {
				n, _ := io.Copy(io.Discard, part)
				got[part.FormName()+"/"+part.FileName()] = strconv.FormatInt(n, 10)
				continue
			}
			text, _ := io.ReadAll(part)
			got[part.FormName()] = string(text)
		}
		if d := cmp.Diff(map[string]string{"bits/app.zip": strconv.Itoa(size), "resources": "[]"}, got); d != "" {
			t.Error(d)
		}
		fmt.Fprint(w, `{"state":"PROCESSING_UPLOAD"}`)
	})
	server := httptest.NewServer(&f.mux)
	defer server.Close()
	c := f.client(t, func(c *ccv3.Config) { c.API, c.HTTP = server.URL, nil })
	var running atomic.Int64
	var pkg ccv3.Package
	_, err := c.Upload(t.Context(), "/v3/packages/1/upload", "bits", "app.zip", func(w io.Writer) error {
		running.Add(1)
		defer running.Add(-1)
		block := make([]byte, 1<<20)
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	}, map[string]string{"resources": "[]"}, &pkg)
	if err != nil || pkg.State != "PROCESSING_UPLOAD" || attempts != 2 || running.Load() != 0 {
		t.Errorf("%v, state %q, %d attempts, %d still writing", err, pkg.State, attempts, running.Load())
	}

	_, err = c.Upload(t.Context(), "/v3/packages/1/upload", "bits", "app.zip", func(io.Writer) error { return errors.New("the disk is gone") }, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Error(err)
	}
}

func TestACutConnection(t *testing.T) {
	f := newFoundation()
	var calls atomic.Int64
	f.api("/v3/x", func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{}`)
	})
	server := httptest.NewServer(&f.mux)
	defer server.Close()
	c := f.client(t, func(c *ccv3.Config) { c.API, c.HTTP = server.URL, nil })
	if _, err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil || calls.Load() != 2 {
		t.Errorf("GET: %v after %d calls", err, calls.Load())
	}
	calls.Store(0)
	_, err := c.Do(t.Context(), "POST", "/v3/x", nil, nil)
	if !ccv3.MayHaveHappened(err) || !ccv3.Retryable(err) || calls.Load() != 1 {
		t.Errorf("POST: %v after %d calls", err, calls.Load())
	}
}

func TestNobodyIsThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := ccv3.New(ccv3.Config{API: server.URL, Username: "u", Password: "p", Budget: ccv3.Budget{MaxWait: time.Nanosecond}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(t.Context(), "POST", "/v3/x", nil, nil)
	if ccv3.MayHaveHappened(err) || !ccv3.Retryable(err) {
		t.Error(err)
	}
}

func TestTheReserveIsLeftToPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation()
		remaining := 300
		f.api("GET /v3/x", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Limit", "1000")
			w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10))
			remaining -= 100
			fmt.Fprint(w, `{}`)
		})
		c := f.client(t, func(c *ccv3.Config) { c.Budget = ccv3.Budget{Reserve: 0.25} })
		var pauses []time.Duration
		for range 3 {
			began := time.Now()
			if _, err := c.Do(t.Context(), "GET", "/v3/x", nil, nil); err != nil {
				t.Fatal(err)
			}
			pauses = append(pauses, time.Since(began))
		}
		if d := cmp.Diff([]time.Duration{0, 0, time.Minute}, pauses); d != "" {
			t.Error(d)
		}
	})
}

func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c, err := ccv3.New(ccv3.Config{API: "https://api.test", Username: "u", Password: "p", HTTP: hang, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(t.Context(), "GET", "/v3/x", nil, nil)
		if want := "GET https://api.test/: no answer within 10s"; err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
