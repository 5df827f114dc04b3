package diff

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"
	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/manifest"
)

// Some inputs the API takes and never gives back: the parameters of a service binding, a registry password. Whether they are as
// Git says, nobody can tell; whether Git has changed them since Fettle applied them, a seal can. A driver that
// applies such an input writes [Sealer.Seal] of it as an annotation on the resource. When it observes the resource, it notes
//
//	observation.Seals[ref] = map[string]diff.Sealed{"parameters": {Text: annotation, By: sealer}}
//
// (with an empty Text where there is no annotation, and [NoInput] where it was made without such an input), and
// [Changes.WithInputs] does the rest: Git's value is another than the sealed one: an Update of "/parameters", secret, with
// Git's value; anything else: the field is Unobserved, and why. It is never called equal.
//
// # What a seal gives away
//
// Everybody who may read the resource can read its annotations, and what people choose as passwords can be guessed by the
// million. So a seal must be of no help to who guesses. With a key (of the agent, never of the foundation) it is an
// HMAC-SHA256 under it: without the key no guess can be tested. Without a key it is the output of scrypt, at some 50
// ms and 16 MB for each guess: enough for what is random, not for a word; whoever seals weak secrets shall use a key. In
// both cases a salt of its own keeps equal values from showing as equal seals. That price is ours too: a comparison pays it
// for each seal that was made without a key, on all processors and at most 256 times; what comes after is reported as
// unobserved. A thousand seals with a key take some milliseconds (BenchmarkSeals).
//
// A seal says which key it was made with, so that nobody who has another one, or none, takes what he cannot check for a change.
//
// As text: "1k:SALT:KEY:DIGEST" with a key, "1s:SALT:DIGEST" without, all parts in hexadecimal; at most 117 characters. KEY are the first
// 8 bytes of the HMAC of the salt.

// Sealer makes and checks seals. The zero Sealer has no key. A key has to be random, of 32 bytes: a word could be guessed from any seal.
type Sealer struct{ Key []byte }

// Sealed stands for an input that cannot be read back.
type Sealed struct {
	Text string // "" where there is none
	By   Sealer
}

// NoInput is the text of what was made without the input.
const NoInput = "none"

// Seals are those of the live resources, by the name of the input.
type Seals map[manifest.Ref]map[string]Sealed

const (
	keyedSeal, slowSeal = "1k", "1s"
	sealSalt, keyName   = 16, 8
	maxSlow             = 256
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
	parts := []string{kind, hex.EncodeToString(salt)}
	if kind == keyedSeal {
		parts = append(parts, s.keyName(salt))
	}
	return strings.Join(append(parts, hex.EncodeToString(digest)), ":"), nil
}

// keyName tells the key from others.
func (s Sealer) keyName(salt []byte) string {
	mac := hmac.New(sha256.New, s.Key)
	mac.Write(salt)
	return hex.EncodeToString(mac.Sum(nil)[:keyName])
}

func (s Sealer) digest(kind string, salt []byte, name string, v any) ([]byte, error) {
	text, err := json.Marshal(v) // keys of maps come sorted
	if err != nil {
		return nil, fmt.Errorf("the input %s cannot be written as JSON", name) // the cause could quote it
	}
	text = append([]byte(name+"\x00"), text...)
	if kind == slowSeal {
		return scrypt.Key(text, salt, 1<<14, 8, 1, sha256.Size)
	}
	mac := hmac.New(sha256.New, s.Key)
	mac.Write(salt)
	mac.Write(text)
	return mac.Sum(nil), nil
}

// parse takes a seal apart; ok is false where it is none that this version understands.
func (s Sealed) parse() (kind string, salt []byte, key string, digest []byte, ok bool) {
	parts := strings.Split(s.Text, ":")
	switch {
	case len(parts) == 3 && parts[0] == slowSeal:
	case len(parts) == 4 && parts[0] == keyedSeal:
		key = parts[2]
	default:
		return "", nil, "", nil, false
	}
	salt, saltErr := hex.DecodeString(parts[1])
	digest, digestErr := hex.DecodeString(parts[len(parts)-1])
	return parts[0], salt, key, digest, saltErr == nil && digestErr == nil && len(salt) == sealSalt && len(digest) == sha256.Size
}

// changed reports whether v is another value than the sealed one. Where that cannot be told, why says so.
func (s Sealed) changed(name string, v any) (changed bool, why string, err error) {
	kind, salt, key, sealed, ok := s.parse()
	switch {
	case s.Text == NoInput:
		return true, "", nil
	case s.Text == "":
		return false, "the API does not return it, and nothing on the resource tells what it was made with", nil
	case !ok:
		return false, "the API does not return it, and its seal is damaged or of a later version", nil
	case kind == keyedSeal && len(s.By.Key) == 0:
		return false, "the API does not return it, and its seal was made with a key that is not given here", nil
	case kind == keyedSeal && key != s.By.keyName(salt):
		return false, "the API does not return it, and its seal was made with another key than the one given here", nil
	}
	digest, err := s.By.digest(kind, salt, name, v)
	if err != nil || !bytes.Equal(digest, sealed) {
		return err == nil, "", err
	}
	return false, "the API does not return it; Git declares what was applied last", nil
}

// WithInputs adds what the seals tell of the declared inputs: that Git has changed them, or that nobody can know.
func (c Changes) WithInputs(desired manifest.Set, seals Seals) (Changes, error) {
	type input struct {
		want    *manifest.Object
		name    string
		seal    Sealed
		changed bool
		why     string
	}
	var inputs []*input
	for ref, sealed := range seals {
		want := desired.Get(ref)
		for name, seal := range sealed {
			if want != nil && want.Inputs[name] != nil {
				inputs = append(inputs, &input{want: want, name: name, seal: seal})
			}
		}
	}
	if len(inputs) == 0 {
		return c, nil
	}
	slices.SortFunc(inputs, func(a, b *input) int { return cmp.Or(a.want.Ref.Compare(b.want.Ref), strings.Compare(a.name, b.name)) })
	slow := 0
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0)) // of 16 MB each
	for _, in := range inputs {
		if strings.HasPrefix(in.seal.Text, slowSeal) {
			if slow++; slow > maxSlow {
				in.why = fmt.Sprintf("the API does not return it, and more than %d seals that were made without a key take too long to check; give a key", maxSlow)
				continue
			}
		}
		group.Go(func() (err error) {
			if in.changed, in.why, err = in.seal.changed(in.name, in.want.Inputs[in.name]); err != nil {
				return fmt.Errorf("comparing %s: %w", in.want.Ref, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Changes{}, err
	}
	c.List, c.Unobserved = slices.Clone(c.List), slices.Clone(c.Unobserved)
	for _, in := range inputs {
		pointer := manifest.Pointer(in.name)
		if in.changed {
			c.List = append(c.List, Change{
				Ref: in.want.Ref, Op: Update, Path: pointer, Was: Hidden, Value: in.want.Inputs[in.name], Secret: true, Origin: in.want.FieldOrigin(pointer),
			})
			continue
		}
		c.Unobserved = append(c.Unobserved, Unobserved{Ref: in.want.Ref, Path: pointer, Why: in.why, Origin: in.want.FieldOrigin(pointer)})
	}
	slices.SortStableFunc(c.List, Change.Compare)
	slices.SortStableFunc(c.Unobserved, func(a, b Unobserved) int {
		return Change{Ref: a.Ref, Path: a.Path}.Compare(Change{Ref: b.Ref, Path: b.Path})
	})
	return c, nil
}
