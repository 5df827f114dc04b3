package ccv3

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CFSession is what `cf login` remembers in its config.json. We read it and never write it: the cf CLI may
// be writing it at the same moment, and a lost session is worse than one more refresh.
type CFSession struct {
	Target               string // the API's address
	AccessToken          string // "bearer …"
	RefreshToken         string
	SSLDisabled          bool
	UAAOAuthClient       string
	UAAOAuthClientSecret string
	OrganizationFields   struct{ GUID, Name string }
	SpaceFields          struct{ GUID, Name string }
}

// LoadCFSession reads .cf/config.json below home, or where it is empty below $CF_HOME, or the user's home
// folder, as the cf CLI does.
func LoadCFSession(home string) (*CFSession, error) {
	if home == "" {
		home = os.Getenv("CF_HOME")
	}
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return nil, fmt.Errorf("looking for the session of `cf login`: %w", err)
		}
	}
	file := filepath.Join(home, ".cf", "config.json")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no session of `cf login` at %s: %w", file, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the session of `cf login`: %w", err)
	}
	var s CFSession
	if err := json.Unmarshal(data, &s); err != nil {
		// The cause may quote the file, which holds tokens.
		return nil, fmt.Errorf("%s is not the JSON that `cf login` writes: log in again with it", file)
	}
	if s.Target == "" {
		return nil, fmt.Errorf("%s names no API endpoint: run `cf api` and `cf login`", file)
	}
	if s.AccessToken == "" && s.RefreshToken == "" {
		return nil, fmt.Errorf("%s holds no session: run `cf login`", file)
	}
	return &s, nil
}
