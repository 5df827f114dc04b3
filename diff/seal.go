package diff

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"

	"github.com/fettle-gitops/fettle/manifest"
)

// Some inputs the API takes and never gives back: the parameters of a service binding, a registry password. Whether they are as
// Git says, nobody can tell; whether Git has changed them since Fettle applied them, a seal can. A driver that
// applies such an input writes [Sealer.Seal] of it as an annotation on the resource. When it observes the resource, it notes
//
//	observation.Seals[ref] = map[string]diff.Sealed{"parameters": {Text: annotation, By: sealer}}
//
// (with an empty Text where there is no annotation), and [Changes.WithInputs] does the rest: Git's value is another than
// the sealed one: an Update of "/parameters", secret, with Git's value; anything else: the field is Unobserved, and why. It
// is never called equal.
//
// # What a seal gives away
//
// Everybody who may read the resource can read its annotations, and what people choose as passwords can be guessed by the
// million. So a seal must be of no help to who guesses. With a key (of the agent, never of the foundation) it is an
// HMAC-SHA256 under it: without the key no guess can be tested. Without a key it is the output of scrypt, at a tenth of
// a second and 32 MB for each guess: enough for what is random, not for a word; whoever seals weak secrets shall use a key. In
// both cases a salt of its own keeps equal values from showing as equal seals.
//
// As text: "1k:SALT:DIGEST" with a key, "1s:SALT:DIGEST" without, both parts in hexadecimal; 100 characters.

// Sealer makes and checks seals. The zero Sealer has no key.
type Sealer struct{ Key []byte }

// Sealed stands for an input that cannot be read back.
type Sealed struct {
	Text string // "" where there is none
	By   Sealer
}

// Seals are those of the live resources, by the name of the input.
type Seals map[manifest.Ref]map[string]Sealed

const (
	keyedSeal, slowSeal = "1k", "1s"
	sealSalt            = 16
)

// Seal is the text that stands for the input of that name.
func (s Sealer) Seal(name string, v any) (string, error) {
	salt := make([]byte, sealSalt)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	kind := keyedSeal
	if len(s.Key) == 0 {
		kind = slowSeal
	}
	digest, err := s.digest(kind, salt, name, v)
	if err != nil {
		return "", err
	}
	return kind + ":" + hex.EncodeToString(salt) + ":" + hex.EncodeToString(digest), nil
}

func (s Sealer) digest(kind string, salt []byte, name string, v any) ([]byte, error) {
	text, err := json.Marshal(v) // keys of maps come sorted
	if err != nil {
		return nil, fmt.Errorf("the input %s cannot be written as JSON", name) // the cause could quote it
	}
	text = append([]byte(name+"\x00"), text...)
	if kind == slowSeal {
		return scrypt.Key(text, salt, 1<<15, 8, 1, sha256.Size)
	}
	mac := hmac.New(sha256.New, s.Key)
	mac.Write(salt)
	mac.Write(text)
	return mac.Sum(nil), nil
}

// changed reports whether v is another value than the sealed one. Where that cannot be told, why says so.
func (s Sealed) changed(name string, v any) (changed bool, why string, err error) {
	kind, rest, _ := strings.Cut(s.Text, ":")
	saltText, digestText, ok := strings.Cut(rest, ":")
	salt, saltErr := hex.DecodeString(saltText)
	sealed, digestErr := hex.DecodeString(digestText)
	switch {
	case s.Text == "":
		return false, "the API does not return it, and nothing on the resource tells what it was made with", nil
	case kind == keyedSeal && len(s.By.Key) == 0:
		return false, "the API does not return it, and its seal was made with a key that is not given here", nil
	case !ok || saltErr != nil || digestErr != nil || len(salt) != sealSalt || len(sealed) != sha256.Size || kind != keyedSeal && kind != slowSeal:
		return false, "the API does not return it, and its seal is damaged or of a later version", nil
	}
	digest, err := s.By.digest(kind, salt, name, v)
	if err != nil || !bytes.Equal(digest, sealed) {
		return err == nil, "", err
	}
	return false, "the API does not return it; Git declares what was applied last", nil
}

// WithInputs adds what the seals tell of the declared inputs: that Git has changed them, or that nobody can know.
func (c Changes) WithInputs(desired manifest.Set, seals Seals) (Changes, error) {
	if len(seals) == 0 {
		return c, nil
	}
	c.List, c.Unobserved = slices.Clone(c.List), slices.Clone(c.Unobserved)
	for ref, inputs := range seals {
		want := desired.Get(ref)
		for name, seal := range inputs {
			if want == nil || want.Inputs[name] == nil {
				continue
			}
			pointer := manifest.Pointer(name)
			changed, why, err := seal.changed(name, want.Inputs[name])
			switch {
			case err != nil:
				return Changes{}, fmt.Errorf("comparing %s: %w", ref, err)
			case changed:
				c.List = append(c.List, Change{
					Ref: ref, Op: Update, Path: pointer, Was: Hidden, Value: want.Inputs[name], Secret: true, Origin: want.FieldOrigin(pointer),
				})
			default:
				c.Unobserved = append(c.Unobserved, Unobserved{Ref: ref, Path: pointer, Why: why, Origin: want.FieldOrigin(pointer)})
			}
		}
	}
	slices.SortStableFunc(c.List, Change.Compare)
	slices.SortStableFunc(c.Unobserved, func(a, b Unobserved) int {
		return Change{Ref: a.Ref, Path: a.Path}.Compare(Change{Ref: b.Ref, Path: b.Path})
	})
	return c, nil
}
