package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
)

// account asks the UAA as a client would, name and password in the Authorization header.
func account(t *testing.T, s *sandbox.Sandbox, method, path, name, password string, form url.Values) (int, object) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, api+"/uaa"+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(name, password)
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	o := object{}
	if err := json.NewDecoder(res.Body).Decode(&o); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, o
}

// The grants that cf login and cf auth use. All but client_credentials speak for a user, and say so in their scopes.
func TestGrants(t *testing.T) {
	s := sandbox.New(sandbox.Options{
		Users:   []sandbox.User{{Name: "ann", Password: "pw", Origin: "ldap"}},
		Clients: []sandbox.Client{{Name: "ci", Secret: "s3", Scopes: []string{"cloud_controller.read"}}},
	})
	_, code := account(t, s, "GET", "/passcode", "ann", "pw", nil)
	_, token := account(t, s, "POST", "/oauth/token", "cf", "", url.Values{"grant_type": {"password"}, "username": {"ann"}, "password": {"pw"}})

	for _, tc := range []struct {
		name, client, secret string
		form                 url.Values
		status               int
		scope                string
	}{
		{"password", "cf", "", url.Values{"grant_type": {"password"}, "username": {"ANN"}, "password": {"pw"}}, 200, "cloud_controller.write"},
		{"wrong password", "cf", "", url.Values{"grant_type": {"password"}, "username": {"ann"}, "password": {"no"}}, 401, ""},
		{"her provider", "cf", "", url.Values{"grant_type": {"password"}, "username": {"ann"}, "password": {"pw"}, "login_hint": {`{"origin":"ldap"}`}}, 200, "openid"},
		{"another provider", "cf", "", url.Values{"grant_type": {"password"}, "username": {"ann"}, "password": {"pw"}, "login_hint": {`{"origin":"uaa"}`}}, 401, ""},
		{"passcode", "cf", "", url.Values{"grant_type": {"password"}, "passcode": {code.at("passcode")}}, 200, "cloud_controller.write"},
		{"a passcode is good once", "cf", "", url.Values{"grant_type": {"password"}, "passcode": {code.at("passcode")}}, 401, ""},
		{"refresh", "cf", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.at("refresh_token")}}, 200, "cloud_controller.write"},
		{"an access token refreshes nothing", "cf", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.at("access_token")}}, 401, ""},
		{"assertion", "cf", "", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {token.at("access_token")}}, 200, "cloud_controller.write"},
		{"client", "ci", "s3", url.Values{"grant_type": {"client_credentials"}}, 200, "cloud_controller.read"},
		{"wrong secret", "ci", "no", url.Values{"grant_type": {"client_credentials"}}, 401, ""},
		{"a grant that the client has not", "ci", "s3", url.Values{"grant_type": {"password"}, "username": {"ann"}, "password": {"pw"}}, 401, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, o := account(t, s, "POST", "/oauth/token", tc.client, tc.secret, tc.form)
			if status != tc.status || !strings.Contains(o.at("scope"), tc.scope) {
				t.Errorf("%d %v", status, o)
			}
		})
	}
}

// A user that cf create-user makes can log in at once, and the controller knows the name of whom it gave a role.
func TestCreateUser(t *testing.T) {
	s := quick()
	admin := login(t, s, "admin", "admin")
	admin.do(201, "POST", "/uaa/Users", `{"userName":"eve","password":"pw","origin":"uaa","name":{"familyName":"eve","givenName":"eve"},"emails":[{"value":"eve"}]}`)
	again := admin.do(http.StatusConflict, "POST", "/uaa/Users", `{"userName":"Eve","password":"pw","origin":"uaa","emails":[{"value":"eve"}]}`)
	if again.at("error") != "scim_resource_already_exists" {
		t.Errorf("a name twice: %v", again)
	}
	org, _ := admin.org("acme")
	role := admin.do(201, "POST", "/v3/roles", `{"type":"organization_user","relationships":{"user":{"data":{"username":"eve"}},"organization":{"data":{"guid":"`+org+`"}}}}`)
	eve := login(t, s, "eve", "pw")
	seen := eve.do(200, "GET", "/v3/users/"+role.at("relationships.user.data.guid"), "")
	if seen.at("presentation_name") != "eve" {
		t.Errorf("the controller calls her %v", seen.at("presentation_name"))
	}
	eve.do(403, "GET", "/uaa/Users", "")
}

// A group is a scope: a member has it in the next token, and no longer when out of the group.
func TestGroups(t *testing.T) {
	s := quick()
	admin := login(t, s, "admin", "admin")
	eve := admin.do(201, "POST", "/uaa/Users", `{"userName":"eve","password":"pw","name":{"givenName":"Eve"},"emails":[{"value":"eve"}]}`)
	if eve.at("name.givenName") != "Eve" || eve.at("name.familyName") != "" {
		t.Errorf("her name is %v", eve["name"])
	}
	found := admin.do(200, "GET", "/uaa/Groups?filter="+url.QueryEscape(`displayName eq "scim.read"`), "")
	list, _ := found["resources"].([]any)
	if len(list) != 1 {
		t.Fatalf("one group has the name, found %v", found)
	}
	group, _ := list[0].(map[string]any)
	members := "/uaa/Groups/" + group["id"].(string) + "/members"
	login(t, s, "eve", "pw").do(403, "GET", "/uaa/Groups", "")

	member := `{"origin":"uaa","type":"USER","value":"` + eve.at("id") + `"}`
	admin.do(201, "POST", members, member)
	if again := admin.do(409, "POST", members, member); again.at("error") != "member_already_exists" {
		t.Errorf("twice: %v", again)
	}
	login(t, s, "eve", "pw").do(200, "GET", "/uaa/Groups", "")
	login(t, s, "eve", "pw").do(403, "POST", members, member)

	admin.do(200, "DELETE", members+"/"+eve.at("id"), "")
	if again := admin.do(404, "DELETE", members+"/"+eve.at("id"), ""); again.at("error") != "member_not_found" {
		t.Errorf("out twice: %v", again)
	}
	login(t, s, "eve", "pw").do(403, "GET", "/uaa/Groups", "")
	admin.do(404, "GET", "/uaa/Groups/none", "")
}
