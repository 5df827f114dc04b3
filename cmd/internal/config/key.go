package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keySize = 32

// digestKey reads the key with which the history's digests of secrets, and the seals of what cannot be read back
// (diff.Sealer), are made, and makes one the first time. It lies
// beside the history, not in it, so that a copy of the history alone lets nobody try out guesses.
func digestKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	switch {
	case err == nil && len(key) == keySize:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("%s is no key: it should have %d bytes and has %d; restore it, or remove it to begin anew", file, keySize, len(key))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the key of the history: %w", err)
	}
	key = make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	// Written beside and linked into place, so that a killed process leaves no half key and two processes agree on one.
	tmp, err := os.CreateTemp(filepath.Dir(file), ".fettle-key-*")
	if err != nil {
		return nil, fmt.Errorf("the key of the history: %w", err)
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(key); err != nil {
		tmp.Close()
		return nil, err
	}
	if err := tmp.Close(); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), file); errors.Is(err, fs.ErrExist) {
		return digestKey(file)
	} else if err != nil {
		return nil, fmt.Errorf("the key of the history: %w", err)
	}
	return key, nil
}
