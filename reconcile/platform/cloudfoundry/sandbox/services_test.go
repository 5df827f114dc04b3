package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// plan finds a plan by the name of its offering and its own.
func (u *user) plan(offering, name string) string {
	u.t.Helper()
	guid := u.do(200, "GET", "/v3/service_plans?service_offering_names="+offering+"&names="+name, "").at("resources.0.guid")
	if guid == "" {
		u.t.Fatalf("no plan %s of %s", name, offering)
	}
	return guid
}

// provision creates a managed service instance and waits for the end of its job.
func (u *user) provision(space, plan, name string) (state, detail string) {
	u.t.Helper()
	res, o := u.send("POST", "/v3/service_instances", "application/json", strings.NewReader(fmt.Sprintf(
		`{"type":"managed","name":%q,"parameters":{"size":3},"relationships":{"space":{"data":{"guid":%q}},"service_plan":{"data":{"guid":%q}}}}`, name, space, plan)))
	if res.StatusCode != 202 {
		return fmt.Sprint(res.StatusCode), o.at("errors.0.detail")
	}
	return u.job(res)
}

func (u *user) instance(name string) object {
	return u.do(200, "GET", "/v3/service_instances?names="+name, "")
}

// The built-in plans: at once, after a while, never. An asynchronous plan is done when its time has come, not before.
func TestBuiltinPlans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := login(t, sandbox.New(sandbox.Options{}), "admin", "admin")
		_, space := u.org("acme")

		if state, detail := u.provision(space, u.plan("postgresql", "small"), "now"); state != "COMPLETE" {
			t.Fatal(state, detail)
		}
		res, _ := u.send("POST", "/v3/service_instances", "application/json", strings.NewReader(fmt.Sprintf(
			`{"type":"managed","name":"slow","relationships":{"space":{"data":{"guid":%q}},"service_plan":{"data":{"guid":%q}}}}`, space, u.plan("postgresql", "large"))))
		time.Sleep(10 * time.Second)
		if s := u.instance("slow").at("resources.0.last_operation.state"); s != "in progress" {
			t.Errorf("after 10 s the large plan is %q", s)
		}
		time.Sleep(30 * time.Second)
		if s := u.instance("slow").at("resources.0.last_operation.state"); s != "succeeded" {
			t.Errorf("after 40 s the large plan is %q", s)
		}
		if s := u.do(200, "GET", strings.TrimPrefix(res.Header.Get("Location"), api), "").at("state"); s != "COMPLETE" {
			t.Errorf("its job is %s", s)
		}

		chaos := u.plan("chaos", "provision-fails")
		if state, detail := u.provision(space, chaos, "no"); state != "422" || !strings.Contains(detail, "not enabled in this organization") {
			t.Errorf("a plan that nobody has enabled: %s %s", state, detail)
		}
		u.do(200, "PATCH", "/v3/service_plans/"+chaos+"/visibility", `{"type":"public"}`)
		if state, detail := u.provision(space, chaos, "no"); state != "FAILED" || !strings.HasPrefix(detail, "provision could not be completed: ") {
			t.Errorf("a plan that refuses: %s %s", state, detail)
		}
		if s := u.instance("no").at("resources.0.last_operation.state"); s != "failed" {
			t.Errorf("and its instance is %q", s)
		}
	})
}

// broker is a small true service broker: what it was asked, and asynchronous provisioning that takes two polls.
type broker struct {
	mu    sync.Mutex
	asked []string
	polls int
	body  map[string]any // of the last PUT
}

func (b *broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if user, password, _ := r.BasicAuth(); user != "sand" || password != "box" || r.Header.Get("X-Broker-API-Version") != "2.17" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	what := r.Method + " " + r.URL.Path[strings.LastIndex(r.URL.Path, "/v2/"):]
	if i := strings.Index(what, "/service_instances/"); i > 0 {
		parts := strings.Split(what[i+1:], "/")
		what = r.Method
		for j, p := range parts {
			if j%2 == 0 {
				what += " " + p
			}
		}
	}
	b.asked = append(b.asked, what)
	if r.Method == "PUT" {
		_ = json.NewDecoder(r.Body).Decode(&b.body)
	}
	switch what {
	case "GET /v2/catalog":
		fmt.Fprint(w, `{"services":[{"id":"s","name":"cake","description":"sweet","bindable":true,"plans":[{"id":"p","name":"slice","description":"one"}]}]}`)
	case "PUT service_instances":
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"operation":"baking"}`)
	case "GET service_instances last_operation":
		if b.polls++; b.polls < 2 {
			fmt.Fprint(w, `{"state":"in progress","description":"in the oven"}`)
			return
		}
		fmt.Fprint(w, `{"state":"succeeded"}`)
	case "PUT service_instances service_bindings":
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"credentials":{"fork":"silver"}}`)
	default:
		fmt.Fprint(w, `{}`)
	}
}

// A broker that a user registers is asked over HTTP, as OSBAPI wants it: catalog, provision with polling, bind, unbind,
// deprovision. Deleting the instance unbinds first.
func TestRegisteredBroker(t *testing.T) {
	b := &broker{}
	server := httptest.NewServer(b)
	defer server.Close()
	u := login(t, quick(), "admin", "admin")
	org, space := u.org("acme")

	res, o := u.send("POST", "/v3/service_brokers", "application/json", strings.NewReader(fmt.Sprintf(
		`{"name":"bakery","url":%q,"authentication":{"type":"basic","credentials":{"username":"sand","password":"box"}}}`, server.URL)))
	if res.StatusCode != 202 {
		t.Fatal(o)
	}
	if state, detail := u.job(res); state != "COMPLETE" {
		t.Fatal(state, detail)
	}
	plan := u.plan("cake", "slice")
	u.do(200, "POST", "/v3/service_plans/"+plan+"/visibility", `{"type":"organization","organizations":[{"guid":"`+org+`"}]}`)
	if state, detail := u.provision(space, plan, "birthday"); state != "COMPLETE" {
		t.Fatal(state, detail)
	}
	guid := u.instance("birthday").at("resources.0.guid")
	res, _ = u.send("POST", "/v3/service_credential_bindings", "application/json", strings.NewReader(
		`{"type":"key","name":"k","relationships":{"service_instance":{"data":{"guid":"`+guid+`"}}}}`))
	if state, detail := u.job(res); state != "COMPLETE" {
		t.Fatal(state, detail)
	}
	key := u.do(200, "GET", "/v3/service_credential_bindings?service_instance_guids="+guid, "").at("resources.0.guid")
	if f := u.do(200, "GET", "/v3/service_credential_bindings/"+key+"/details", "").at("credentials.fork"); f != "silver" {
		t.Errorf("the key has the fork %q", f)
	}
	res, _ = u.send("DELETE", "/v3/service_instances/"+guid, "", nil)
	if state, detail := u.job(res); state != "COMPLETE" {
		t.Fatal(state, detail)
	}
	u.do(404, "GET", "/v3/service_instances/"+guid, "")

	b.mu.Lock()
	defer b.mu.Unlock()
	want := []string{
		"GET /v2/catalog", "PUT service_instances", "GET service_instances last_operation", "GET service_instances last_operation",
		"PUT service_instances service_bindings", "DELETE service_instances service_bindings", "DELETE service_instances",
	}
	if got := strings.Join(b.asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the broker was asked:\n%s", got)
	}
}

// A broker that cannot be reached: the job says so, and the broker offers nothing.
func TestUnreachableBroker(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	u := login(t, quick(), "admin", "admin")
	res, _ := u.send("POST", "/v3/service_brokers", "application/json", strings.NewReader(fmt.Sprintf(
		`{"name":"gone","url":%q,"authentication":{"type":"basic","credentials":{"username":"a","password":"b"}}}`, gone.URL)))
	state, detail := u.job(res)
	if state != "FAILED" || !strings.Contains(detail, "could not be reached") || strings.Contains(detail, "password") {
		t.Errorf("%s %s", state, detail)
	}
}
