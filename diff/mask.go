package diff

import (
	"encoding/json"
	"maps"

	"github.com/fettle-gitops/fettle/manifest"
)

// Hidden stands in the place of a secret value wherever people or files could see it.
const Hidden = "(secret)"

// Masked is the change with every secret replaced by Hidden; c itself stays as it is.
func (c Change) Masked() Change {
	if c.Secret {
		c.Was, c.Value = hide(c.Was), hide(c.Value)
		return c
	}
	for _, pointer := range c.Secrets {
		keys := manifest.SplitPointer(pointer)
		c.Was, c.Value = hideAt(c.Was, keys), hideAt(c.Value, keys)
	}
	return c
}

func hide(v any) any {
	if v == nil {
		return nil
	}
	return Hidden
}

// hideAt copies the maps on the way down to the secret and shares the rest.
func hideAt(v any, keys []string) any {
	if len(keys) == 0 {
		return hide(v)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	child, ok := m[keys[0]]
	if !ok {
		return v
	}
	m = maps.Clone(m)
	m[keys[0]] = hideAt(child, keys[1:])
	return m
}

// MarshalJSON writes the masked change, so that a secret cannot reach a file, a log or a database by accident.
func (c Change) MarshalJSON() ([]byte, error) {
	type plain Change // without the methods
	return json.Marshal(plain(c.Masked()))
}
