package planfile

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// Seal says how the values that a plan does not show are represented; the package comment says why.
type Seal struct {
	Salt  string `json:"salt"`
	Keyed bool   `json:"keyed"`
}

// Sealed stands for values that must not be shown.
type Sealed struct {
	Names  []string          `json:"names"`
	Digest string            `json:"digest"`         // of all together
	Each   map[string]string `json:"each,omitempty"` // by name; only with a key
}

// MinKey is the least length of a key: it is worth no more than what it takes to guess it.
const MinKey = 16

// The cost of scrypt: 32 MB and about a tenth of a second.
const (
	scryptN = 1 << 15
	scryptR = 8
	scryptP = 1
)

// sealer makes the digests of one plan.
type sealer struct {
	salt            []byte
	values, signing []byte // keys; nil without a key
}

func newSealer(seal Seal, key []byte) (*sealer, error) {
	salt, err := hex.DecodeString(seal.Salt)
	if err != nil {
		return nil, fmt.Errorf("the plan's salt: %w", err)
	}
	s := &sealer{salt: salt}
	if !seal.Keyed {
		return s, nil
	}
	if len(key) < MinKey {
		return nil, fmt.Errorf("the plan key has %d characters, and at least %d are needed: make one with `openssl rand -hex 32`", len(key), MinKey)
	}
	derived := stretch(key, salt, 64)
	s.values, s.signing = derived[:32], derived[32:]
	return s, nil
}

// stretch makes guessing slow. Its parameters are constants that scrypt accepts.
func stretch(secret, salt []byte, size int) []byte {
	out, err := scrypt.Key(secret, salt, scryptN, scryptR, scryptP, size)
	if err != nil {
		panic("planfile: scrypt refuses its own parameters: " + err.Error()) //nolint:forbidigo // they are constants: a power of two above 1, and a product below 2^30
	}
	return out
}

func (s *sealer) sign(body []byte) string {
	return "hmac-sha256:" + hex.EncodeToString(mac(s.signing, body))
}

// seal digests the values, which belong to one thing called about.
func (s *sealer) seal(about string, values []Value) Sealed {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b Value) int { return strings.Compare(a.Name, b.Name) })
	sealed := Sealed{Names: []string{}}
	all := [][]byte{[]byte(about)}
	for _, v := range values {
		sealed.Names = append(sealed.Names, v.Name)
		all = append(all, []byte(v.Name), v.Data)
		if s.values != nil {
			if sealed.Each == nil {
				sealed.Each = map[string]string{}
			}
			sealed.Each[v.Name] = hex.EncodeToString(mac(s.values, []byte(about), []byte(v.Name), v.Data))
		}
	}
	if len(values) == 0 {
		return sealed // there is nothing to hide, and nothing to wait for
	}
	if s.values != nil {
		sealed.Digest = hex.EncodeToString(mac(s.values, all...))
		return sealed
	}
	var together []byte
	for _, part := range all {
		together = append(binary.BigEndian.AppendUint64(together, uint64(len(part))), part...)
	}
	sealed.Digest = hex.EncodeToString(stretch(together, s.salt, 32))
	return sealed
}

// fingerprint is Fingerprint with the plan's own key. Without one the secrets are left out of it, and the digests that stand
// for them are in it.
func (s *sealer) fingerprint(c Content, revision string, steps []Step) (string, error) {
	c.Revision = revision
	if s.values != nil {
		return Fingerprint(s.values, c)
	}
	c.Changes.List = slices.Clone(c.Changes.List)
	for i, change := range c.Changes.List {
		c.Changes.List[i] = change.Masked()
	}
	open, err := Fingerprint(s.salt, c)
	parts := [][]byte{[]byte(open)}
	for _, step := range steps {
		if step.Secrets != nil {
			parts = append(parts, []byte(step.Secrets.Digest))
		}
	}
	return hex.EncodeToString(mac(s.salt, parts...)), err
}

// Fingerprint identifies what applying would do: to which foundation, from which revision, every change with its true
// values and its impact, the steps and the resources that they touch. Two computations have the same fingerprint exactly when
// applying them would do the same. The values are in it, so key must be a secret where the fingerprint is kept or shown.
func Fingerprint(key []byte, c Content) (string, error) {
	type plain diff.Change // with its true values
	type step struct {
		ID, Live string
		Impact   diff.Impact
		Requires []string
	}
	var changes []plain
	for _, change := range c.Changes.List {
		change.Origin, change.Reason = manifest.Origin{}, "" // where it is written and how it is explained changes nothing
		changes = append(changes, plain(change))
	}
	var steps []step
	for _, s := range c.Plan.Steps {
		steps = append(steps, step{s.ID, c.Live.IDs[s.Ref], s.Impact, s.Requires})
	}
	data, err := json.Marshal([]any{c.API, c.Revision, changes, steps})
	if err != nil {
		return "", fmt.Errorf("the plan has no fingerprint: %T", err) // the cause could quote a value
	}
	return hex.EncodeToString(mac(key, data)), nil
}

// mac joins the parts so that no two lists of parts give the same.
func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		writeLength(h, len(part))
		h.Write(part)
	}
	return h.Sum(nil)
}

func writeLength(h hash.Hash, n int) {
	_ = binary.Write(h, binary.BigEndian, uint64(n)) // a hash never fails
}
