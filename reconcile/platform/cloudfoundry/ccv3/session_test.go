package ccv3_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

func TestLoadCFSession(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"a session", `{"Target":"https://api.test","AccessToken":"bearer x","RefreshToken":"r","SSLDisabled":true}`, ""},
		{"none", "", "there is no session of `cf login` at "},
		{"not JSON", `{"AccessToken": "hunter2`, "is not the JSON that `cf login` writes"},
		{"no endpoint", `{"AccessToken":"bearer x"}`, "names no API endpoint: run `cf api` and `cf login`"},
		{"logged out", `{"Target":"https://api.test"}`, "holds no session: run `cf login`"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("CF_HOME", home)
			if tt.file != "" {
				file := filepath.Join(home, ".cf", "config.json")
				if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(tt.file), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			s, err := ccv3.LoadCFSession("")
			if tt.want == "" {
				if err != nil || s.Target != "https://api.test" || !s.SSLDisabled {
					t.Errorf("%+v %v", s, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v\nwant …%s…", err, tt.want)
			}
		})
	}
}
