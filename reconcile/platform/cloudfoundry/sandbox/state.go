package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/uaa"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// stateFormat is the first thing in a state, so that any other JSON file is recognized as such.
const stateFormat = "fettle-sandbox-1"

// state is everything that outlives a process. It holds passwords: its file is for its owner only.
type state struct {
	Format     string          `json:"format"`
	SigningKey []byte          `json:"signing_key"` // so that sessions of cf go on
	World      json.RawMessage `json:"world"`
}

// Dump writes the whole state as JSON, with what is still to happen. Faults, rate limits and counters are no part of it.
func (s *Sandbox) Dump() ([]byte, error) {
	key, err := s.uaa.Key()
	if err != nil {
		return nil, err
	}
	w, err := s.cc.Dump()
	if err != nil {
		return nil, err
	}
	return json.Marshal(state{stateFormat, key, w})
}

// Restore replaces the state by one that Dump wrote; what cannot be read leaves everything as it is. Users and clients
// that the options name are there afterwards too, with the passwords of the options.
func (s *Sandbox) Restore(b []byte) error {
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return fmt.Errorf("this is not the state of a sandbox: %w", err)
	}
	if st.Format != stateFormat {
		return fmt.Errorf("this is not the state of a sandbox: its format is %q, not %q", st.Format, stateFormat)
	}
	if err := s.cc.Restore(st.World); err != nil {
		return fmt.Errorf("the state cannot be read: %w", err)
	}
	if err := s.uaa.SetKey(st.SigningKey); err != nil {
		return fmt.Errorf("the signing key of the state cannot be read: %w", err)
	}
	s.cc.Update(s.addLogins)
	return nil
}

// addLogins sees to it that those whom the options name can log in.
func (s *Sandbox) addLogins(tx *cc.Tx) {
	for _, u := range s.logins {
		have := findUser(tx, u)
		fresh := uaa.AddUser(tx, u.Name, u.Password, u.Email, u.Origin, u.Scopes)
		if have != nil { // who keeps the guid that roles refer to
			have.Password, have.Email, have.Scopes = fresh.Password, fresh.Email, fresh.Scopes
			tx.W.Users.Delete(fresh.GUID)
		}
	}
	for _, c := range s.clients {
		for have := range tx.W.Clients.All() {
			if have.Name == c.Name {
				tx.W.Clients.Delete(have.GUID)
			}
		}
		uaa.AddClient(tx, c.Name, c.Secret, []string{"client_credentials", uaa.JWTBearer}, c.Scopes)
	}
}

func findUser(tx *cc.Tx, u User) *world.User {
	for have := range tx.W.Users.All() {
		if have.Username == u.Name && have.Origin == or(u.Origin, "uaa") {
			return have
		}
	}
	return nil
}

// Load restores the state that a file holds.
func (s *Sandbox) Load(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err // names the file
	}
	if err := s.Restore(b); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Save writes the state to a file: beside it, down to the disk, and then in its place. So there is a whole state at any
// moment, the old or the new one.
func (s *Sandbox) Save(file string) (err error) {
	b, err := s.Dump()
	if err != nil {
		return fmt.Errorf("%s: the state cannot be written: %w", file, err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Keep saves the state to a file whenever it has changed, until ctx ends, and then once more. It waits every time between
// two saves, and ten times as long as the last one took, so that a large state does not keep the machine busy. A failure
// to save is handed to failed, and tried again; the last one is returned.
func (s *Sandbox) Keep(ctx context.Context, file string, every time.Duration, failed func(error)) error {
	saved := int64(-1)
	pause := every
	for {
		select {
		case <-ctx.Done():
			return s.Save(file)
		case <-time.After(pause):
		}
		now := s.cc.Changes()
		if now == saved {
			continue
		}
		began := time.Now()
		if err := s.Save(file); err != nil {
			failed(err)
		} else {
			saved = now
		}
		pause = max(every, 10*time.Since(began))
	}
}
