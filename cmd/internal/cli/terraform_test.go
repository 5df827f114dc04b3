package cli_test

import (
	"archive/zip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTerraform drives the sandbox with Terraform and its official provider for Cloud Foundry: testdata/terraform/*.txtar,
// a configuration for each area with all of the provider's resource types and data sources in it, but those of MTA. It runs
// where terraform is on the PATH and FETTLE_TF_PROVIDER names the folder in which the provider
// (terraform-provider-cloudfoundry) lies. The commands beside those of testscript; TestScripts and TestCF tell what
// sandbox, api, broker and keep do:
//
//	converge [changed]   applies main.tf, with the variable changed true if said so; a plan after it must have nothing to do
//	destroy              destroys everything again
func TestTerraform(t *testing.T) {
	provider := os.Getenv("FETTLE_TF_PROVIDER")
	if provider == "" {
		t.Skip("FETTLE_TF_PROVIDER is not set: with the folder of a terraform-provider-cloudfoundry in it, this test drives the sandbox by Terraform")
	}
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("no terraform on the PATH: with it, this test drives the sandbox")
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/terraform",
		Setup: func(e *testscript.Env) error {
			config := filepath.Join(e.WorkDir, "terraformrc")
			overrides := fmt.Sprintf("provider_installation {\n  dev_overrides { %q = %q }\n}\n", "cloudfoundry/cloudfoundry", provider)
			if err := os.WriteFile(config, []byte(overrides), 0o600); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "provider.tf"), []byte(providerTF), 0o600); err != nil {
				return err
			}
			for name, version := range map[string]string{"first.zip": "1", "second.zip": "2"} {
				if err := writeZip(filepath.Join(e.WorkDir, name), "shop", "#!/bin/sh\necho "+version+"\n"); err != nil {
					return err
				}
			}
			for k, v := range map[string]string{"HOME": e.WorkDir, "TF_CLI_CONFIG_FILE": config, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"} {
				e.Setenv(k, v)
			}
			w := &world{}
			e.Values["world"] = w
			e.Defer(w.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sandbox": cmdSandbox, "api": cmdAPI, "broker": cmdBroker, "keep": cmdKeep, "converge": cmdConverge, "destroy": cmdDestroy,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// Every configuration begins with this.
const providerTF = `terraform {
  required_providers {
    cloudfoundry = { source = "cloudfoundry/cloudfoundry" }
  }
}

provider "cloudfoundry" {}

variable "changed" {
  type    = bool
  default = false
}
`

func writeZip(path, name, content string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	w, err := z.Create(name)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(content)); err != nil {
		return err
	}
	return z.Close()
}

func terraform(ts *testscript.TestScript, args ...string) {
	ts.Setenv("CF_API_URL", ts.Getenv("CF_API"))
	ts.Setenv("CF_USER", "admin")
	ts.Setenv("CF_PASSWORD", "admin")
	ts.Check(ts.Exec("terraform", append(args, "-no-color", "-input=false")...))
}

func cmdConverge(ts *testscript.TestScript, neg bool, args []string) {
	variable := fmt.Sprintf("-var=changed=%t", len(args) == 1 && args[0] == "changed")
	terraform(ts, "apply", "-auto-approve", variable)
	terraform(ts, "plan", "-detailed-exitcode", variable) // exit code 2: something is left to do
}

func cmdDestroy(ts *testscript.TestScript, neg bool, args []string) {
	terraform(ts, "destroy", "-auto-approve", "-var=changed=true")
}
