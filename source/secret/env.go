package secret

import (
	"context"
	"strings"
)

// DefaultEnvPrefix is what the environment variables begin with that `fettle` itself looks at.
const DefaultEnvPrefix = "FETTLE_VAR_"

// Env takes values from environment variables. Every value is a text, and one that is empty counts as not set, because
// that is how a CI system hands over a secret that does not exist.
type Env struct {
	// Prefix: the variable NAME is taken from Prefix+NAME or, since few shells can export a name with a dash or a
	// small letter, from the same in capitals with _ for everything else: db-password from FETTLE_VAR_DB_PASSWORD.
	Prefix string
	// Names: the variable NAME is taken from Names[NAME], which must be set if a manifest mentions NAME.
	Names map[string]string

	Getenv func(string) string
}

// String reads "environment FETTLE_VAR_*".
func (e Env) String() string {
	if e.Prefix == "" {
		return "environment"
	}
	return "environment " + e.Prefix + "*"
}

// Lookup makes no request and never waits.
func (e Env) Lookup(_ context.Context, names []string) (Variables, error) {
	found := Variables{}
	for _, name := range names {
		if variable, mapped := e.Names[name]; mapped {
			value := e.Getenv(variable)
			if value == "" {
				return nil, &Error{
					Place: e.String(), Message: "the variable " + name + " is to come from " + variable + ", which is not set",
					Hint: "set " + variable + " where fettle runs",
				}
			}
			found[name] = value
			continue
		}
		if e.Prefix == "" {
			continue
		}
		for _, variable := range []string{e.Prefix + name, e.Prefix + capitals(name)} {
			if value := e.Getenv(variable); value != "" {
				found[name] = value
				break
			}
		}
	}
	return found, nil
}

func capitals(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}
