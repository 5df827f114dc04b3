package config

import (
	"fmt"
	"os"
	"time"

	"github.com/fettle-gitops/fettle/cmd/internal/values"
	"github.com/fettle-gitops/fettle/reconcile"
	secrets "github.com/fettle-gitops/fettle/source/secret"
	"github.com/fettle-gitops/fettle/source/secret/credhub"
	"github.com/fettle-gitops/fettle/source/secret/encrypted"
	"github.com/fettle-gitops/fettle/source/secret/vault"
)

// SecretVars is one place from which secret values come; the schema sees to it that exactly one is named.
type SecretVars struct {
	SOPS      string            `yaml:"sops"`
	Age       string            `yaml:"age"`
	Identity  secret            `yaml:"identity"`
	Vault     *Vault            `yaml:"vault"`
	CredHub   *CredHub          `yaml:"credhub"`
	EnvPrefix string            `yaml:"env_prefix"`
	Env       map[string]string `yaml:"env"`
	Dir       string            `yaml:"dir"`
}

// Vault is a KV engine of version 2.
type Vault struct {
	Address   string   `yaml:"address"`
	Namespace string   `yaml:"namespace"`
	Mount     string   `yaml:"mount"`
	Path      string   `yaml:"path"`
	Folder    string   `yaml:"folder"`
	Token     secret   `yaml:"token"`
	AppRole   *AppRole `yaml:"app_role"`
	CAFile    string   `yaml:"ca_file"`
	Timeout   duration `yaml:"timeout"`
}

// AppRole is how a machine logs in to Vault.
type AppRole struct {
	Mount    string `yaml:"mount"`
	RoleID   string `yaml:"role_id"`
	SecretID secret `yaml:"secret_id"`
}

// CredHub is a folder of credentials.
type CredHub struct {
	Address         string   `yaml:"address"`
	Folder          string   `yaml:"folder"`
	ClientID        string   `yaml:"client_id"`
	ClientSecret    secret   `yaml:"client_secret"`
	CertificateFile string   `yaml:"certificate_file"`
	KeyFile         string   `yaml:"key_file"`
	CAFile          string   `yaml:"ca_file"`
	Timeout         duration `yaml:"timeout"`
}

// secretVars gives the target what it needs to open encrypted vars files and to ask the places of secret_vars.
func (c *Config) secretVars(name string, t Target, into *reconcile.Target) error {
	at := "target " + name + ": "
	into.Open = values.Open(c.opener(t.AgeIdentity, at+"age_identity", "set age_identity for target "+name))
	if len(t.SecretVars) == 0 {
		return nil
	}
	var places []values.Place
	for i, s := range t.SecretVars {
		place, err := c.place(s, t, fmt.Sprintf("%ssecret_vars[%d]", at, i))
		if err != nil {
			return err
		}
		places = append(places, place)
	}
	into.Values = values.From(places)
	return nil
}

func (c *Config) place(s SecretVars, t Target, at string) (values.Place, error) {
	var provider secrets.Provider
	var err error
	switch {
	case s.SOPS != "":
		return values.Place{File: s.SOPS, Format: encrypted.SOPS}, nil
	case s.Age != "":
		identity := s.Identity
		if !identity.set() {
			identity = t.AgeIdentity
		}
		return values.Place{File: s.Age, Format: encrypted.Age, Opener: c.opener(identity, at+": identity", "add identity beside age, or age_identity to the target")}, nil
	case s.Vault != nil:
		provider, err = c.vault(*s.Vault, at+": vault")
	case s.CredHub != nil:
		provider, err = c.credHub(*s.CredHub, at+": credhub")
	case s.Dir != "":
		provider = secrets.Dir{Path: c.path(s.Dir)}
	default:
		provider = secrets.Env{Prefix: s.EnvPrefix, Names: s.Env, Getenv: os.Getenv}
	}
	return values.Place{Provider: provider}, err
}

// later reads a secret whenever it is needed, because another process may renew it.
func (c *Config) later(s secret, what string) func() (string, error) {
	if !s.set() {
		return nil
	}
	return func() (string, error) { return c.read(s, what) }
}

func (c *Config) opener(identity secret, what, hint string) encrypted.Opener {
	o := encrypted.Opener{IdentityHint: hint}
	if read := c.later(identity, what); read != nil {
		o.Identities = func() ([]byte, error) {
			text, err := read()
			return []byte(text), err
		}
	}
	return o
}

func (c *Config) vault(v Vault, at string) (secrets.Provider, error) {
	ca, err := c.readFile(v.CAFile, at+": ca_file")
	if err != nil {
		return nil, err
	}
	o := vault.Options{
		Address: v.Address, Namespace: v.Namespace, Mount: v.Mount, Path: v.Path, Folder: v.Folder,
		Token: c.later(v.Token, at+": token"), CA: ca, Timeout: time.Duration(v.Timeout),
	}
	if r := v.AppRole; r != nil {
		o.AppRole = &vault.AppRole{Mount: r.Mount, RoleID: r.RoleID, SecretID: c.later(r.SecretID, at+": app_role: secret_id")}
	}
	p, err := vault.New(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return p, nil
}

func (c *Config) credHub(h CredHub, at string) (secrets.Provider, error) {
	o := credhub.Options{
		Address: h.Address, Folder: h.Folder, ClientID: h.ClientID, ClientSecret: c.later(h.ClientSecret, at+": client_secret"), Timeout: time.Duration(h.Timeout),
	}
	for _, f := range []struct {
		path, key string
		into      *[]byte
	}{{h.CAFile, "ca_file", &o.CA}, {h.CertificateFile, "certificate_file", &o.Certificate}, {h.KeyFile, "key_file", &o.Key}} {
		data, err := c.readFile(f.path, at+": "+f.key)
		if err != nil {
			return nil, err
		}
		*f.into = data
	}
	p, err := credhub.New(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return p, nil
}
