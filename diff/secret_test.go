package diff_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// A change carries secrets for the driver; printing or marshalling it does not.
func TestSecretsStayInside(t *testing.T) {
	desired := manifest.NewSet(
		&manifest.Object{
			Ref: web, Secrets: map[string]bool{"/environment_variables/TOKEN": true},
			Spec: tree{"environment_variables": tree{"TOKEN": "s3cret-new", "PLAIN": "new"}},
		},
		&manifest.Object{
			Ref: other, Secrets: map[string]bool{"/environment_variables/TOKEN": true},
			Spec: tree{"environment_variables": tree{"TOKEN": "s3cret-other", "PLAIN": "shown"}},
		},
	)
	live := manifest.NewSet(&manifest.Object{
		Ref: web, Secrets: map[string]bool{"/environment_variables/PLAIN": true},
		Spec: tree{"environment_variables": tree{"TOKEN": "s3cret-old", "PLAIN": "s3cret-live"}},
	})
	changes, err := diff.Compare(desired, live, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes.List {
		for _, shown := range []string{text(c), fmt.Sprint(c), fmt.Sprintf("%+v", c), text(c.Masked())} {
			if strings.Contains(shown, "s3cret") {
				t.Errorf("a secret shows in %s", shown)
			}
		}
	}
	created, plain, token := changes.List[0], changes.List[1], changes.List[2]
	if created.Secret || len(created.Secrets) != 1 || created.Secrets[0] != "/environment_variables/TOKEN" {
		t.Errorf("the new app marks %v", created.Secrets)
	}
	if !strings.Contains(text(created), "shown") {
		t.Errorf("what is no secret is hidden too: %s", text(created))
	}
	if !plain.Secret || !token.Secret {
		t.Error("a value that is secret on either side is secret")
	}
	if v, _ := manifest.Lookup(created.Value.(tree), "/environment_variables/TOKEN"); v != "s3cret-other" || token.Value != "s3cret-new" {
		t.Error("the driver does not get the true values")
	}
}

// Nobody has to mark what gives itself away, by its name or by its content.
func TestSecretsAreRecognised(t *testing.T) {
	env := tree{"API_TOKEN": "a", "AUDIT_URL": "https://jo:pw@example.com/", "TOKEN_ENABLED": "true", "COLOUR": "blue"}
	changes, err := diff.Compare(manifest.NewSet(&manifest.Object{Ref: web, Spec: tree{"environment_variables": env}}),
		manifest.NewSet(&manifest.Object{Ref: web, Spec: tree{}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"API_TOKEN": true, "AUDIT_URL": true}
	for _, c := range changes.List {
		if name := strings.TrimPrefix(c.Path, "/environment_variables/"); c.Secret != want[name] {
			t.Errorf("%s: secret is %t", name, c.Secret)
		}
	}
}
