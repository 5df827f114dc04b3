// Package planfile writes a plan down and reads it back, so that what one person looked at is exactly what is applied
// later, by somebody else or by a pipeline.
//
// A plan file is a promise, not a program: nothing in it is carried out. Whoever applies it computes the plan anew,
// from the revision that the file names, and [Plan.Compare] says whether anything that matters has moved in between. Only
// a plan that comes out the same is applied.
//
// # Format
//
// One JSON document, described by schemas/plan.schema.json. It says how the manifests were found (Source, Inputs), for
// which spaces of which foundation (Target), who computed it, when, and with which Fettle; the difference as `fettle
// diff --format json` gives it; and the steps. [Fingerprint] is one digest over what would be done.
//
// # Values that must not be shown
//
// A plan is read by many: it is attached to a pull request, kept as a build artifact. So it holds no secret; but it must
// notice when one moves. A plain hash of a secret is no protection, because what people choose as passwords can be guessed
// and hashed by the million. Therefore:
//
//   - With a key (FETTLE_PLAN_KEY) every such value is represented by an HMAC-SHA256 of its own under a key derived from
//     that one and the plan's salt. Without the key nothing can be tested against it, and what moved is named exactly.
//   - Without a key all such values of one step, and all variables, are digested together by scrypt with the plan's salt.
//     A guess must then be right about all of them at once and costs a tenth of a second. That is slow, not impossible: a plan
//     whose only hidden value is a weak password should be made with a key. What moved can only be narrowed down.
//
// # Threats
//
// The digest tells a damaged or edited file; anybody can compute it. Only the signature (HMAC-SHA256 over the canonical
// JSON, with the key) tells who made the file: where a key is set, a plan without a good signature is refused. Who
// can write an unsigned plan decides which repository is read, so it deserves the care of the manifests themselves; the
// foundation and the credentials always come from the one who applies, and are never taken from the file.
package planfile

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/schemas"
)

// Version of the format that this package writes, and the only one that it reads.
const Version = 1

// Plan is a plan file.
type Plan struct {
	Version   int       `json:"version"`
	Fettle    string    `json:"fettle"` // the version that computed the plan
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by,omitempty"` // as the foundation calls the user
	Target    Target    `json:"target"`
	Source    Source    `json:"source"`
	Inputs    Inputs    `json:"inputs"`
	Seal      Seal      `json:"seal"`

	Diff  json.RawMessage `json:"diff"` // as package render writes it
	Steps []Step          `json:"steps"`

	Fingerprint string `json:"fingerprint"`
	Digest      string `json:"digest"`
	Signature   string `json:"signature,omitempty"`

	sealer *sealer // what the plan was made or read with
}

// Target is where the plan applies.
type Target struct {
	API    string   `json:"api"`
	Org    string   `json:"org,omitempty"`   // of manifests that name none
	Space  string   `json:"space,omitempty"` // of manifests that name none
	Spaces []string `json:"spaces"`          // that the manifests speak of, as ORG/SPACE
}

// Source is how the manifests were found: in a file or folder, or in a repository.
type Source struct {
	File     string  `json:"file,omitempty"`
	Git      string  `json:"git,omitempty"` // without credentials
	Branch   string  `json:"branch,omitempty"`
	Path     string  `json:"path,omitempty"`
	Revision string  `json:"revision"`        // the commit; for a file the digest of Files
	Files    *Sealed `json:"files,omitempty"` // what was read of a folder: the manifests and the digests of the apps' code
}

// Inputs are the values that came from beside the manifests. Their names are here, the values only as a digest.
type Inputs struct {
	Vars      []string `json:"vars,omitempty"`       // names given by --var
	VarsFiles []string `json:"vars_files,omitempty"` // files, as they were named
	Patches   []string `json:"patches,omitempty"`    // files, as they were named
	Values    Sealed   `json:"values"`               // of all variables, wherever they came from, and of the patches

	Ignore  []diff.IgnoreRule `json:"ignore,omitempty"`  // rules given by --ignore
	Rollout map[string]string `json:"rollout,omitempty"` // settings given by flags such as --strategy, for apps whose manifest does not say it

	Prune        []string `json:"prune,omitempty"`         // kinds given by --prune
	PruneLimit   string   `json:"prune_limit,omitempty"`   // given by --prune-limit
	ConfirmPrune []string `json:"confirm_prune,omitempty"` // resources given by --confirm-prune
}

// Step is one step of the plan.
type Step struct {
	Resource string      `json:"resource"`
	LiveID   string      `json:"live_id,omitempty"` // the platform's identifier; none for what is to be created
	Impact   diff.Impact `json:"impact"`
	Requires []string    `json:"requires,omitempty"`
	Changes  []string    `json:"changes"` // as in diff: "update app acme/dev/web /processes/web/instances"
	Secrets  *Sealed     `json:"secrets,omitempty"`
}

// Content is one computation: what a plan is made of, and what it is compared with.
type Content struct {
	API      string // of the foundation
	Revision string // the commit; "" where the source has none
	Desired  manifest.Set
	Live     platform.Observation
	Changes  diff.Changes
	Plan     platform.Plan
	Problems manifest.Problems // of the plan, as people get to see them
	Values   []Value           // of the variables
	Files    []Value           // what was read, where there is no commit to name it
}

// Value is something that must not stand in a plan, under a name that may.
type Value struct {
	Name string
	Data []byte
}

// New makes the plan of a computation. about carries what only the caller knows: Fettle, CreatedAt, CreatedBy, Source
// (without Revision and Files), Inputs (without Values) and the Target's Org and Space. The other fields are filled in. An
// empty key makes an unsigned plan.
func New(about Plan, c Content, key []byte) (*Plan, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	about.Seal = Seal{Salt: hex.EncodeToString(salt), Keyed: len(key) > 0}
	var err error
	if about.sealer, err = newSealer(about.Seal, key); err != nil {
		return nil, err
	}
	return build(about, c)
}

func build(p Plan, c Content) (*Plan, error) {
	s := p.sealer
	p.Version = Version
	p.CreatedAt = p.CreatedAt.UTC().Truncate(time.Second)
	p.Target.API, p.Target.Spaces = c.API, c.Desired.Spaces()
	p.Inputs.Values = s.seal("inputs", c.Values)
	p.Source.Revision = c.Revision
	if c.Revision == "" {
		files := s.seal("files", c.Files)
		p.Source.Files, p.Source.Revision = &files, files.Digest
	}
	var err error
	if p.Steps, err = steps(c, s); err != nil {
		return nil, err
	}
	if p.Fingerprint, err = s.fingerprint(c, p.Source.Revision, p.Steps); err != nil {
		return nil, err
	}
	var doc bytes.Buffer
	in := render.Input{Revision: p.Source.Revision, Target: c.API, Desired: render.CountKinds(c.Desired), Changes: c.Changes, Problems: c.Problems}
	if err := render.JSON(&doc, in); err != nil {
		return nil, err
	}
	p.Diff = doc.Bytes()
	body, err := p.body()
	if err != nil {
		return nil, err
	}
	p.Digest = digest(body)
	if p.Seal.Keyed {
		p.Signature = s.sign(body)
	}
	return &p, nil
}

func steps(c Content, s *sealer) ([]Step, error) {
	all := []Step{}
	for _, from := range c.Plan.Steps {
		step := Step{Resource: from.Ref.String(), LiveID: c.Live.IDs[from.Ref], Impact: from.Impact, Requires: from.Requires, Changes: []string{}}
		var hidden []Value
		for _, change := range from.Changes {
			step.Changes = append(step.Changes, change.String())
			values, err := secretsOf(change)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", change, err)
			}
			hidden = append(hidden, values...)
		}
		if len(hidden) > 0 {
			sealed := s.seal(from.ID, hidden)
			step.Secrets = &sealed
		}
		all = append(all, step)
	}
	return all, nil
}

// secretsOf lists what Masked hides of a change.
func secretsOf(c diff.Change) ([]Value, error) {
	pointers := c.Secrets
	if c.Secret {
		pointers = []string{""}
	}
	var all []Value
	for _, pointer := range pointers {
		for side, tree := range map[string]any{"live value": c.Was, "declared value": c.Value} {
			v := tree
			if pointer != "" {
				m, _ := tree.(map[string]any)
				v, _ = manifest.Lookup(m, pointer)
			}
			if v == nil {
				continue
			}
			data, err := json.Marshal(v)
			if err != nil {
				return nil, errors.New("a secret value cannot be written as JSON") // the cause could quote it
			}
			all = append(all, Value{Name: fmt.Sprintf("%s %s%s (%s)", c.Ref, c.Path, pointer, side), Data: data})
		}
	}
	return all, nil
}

// Write gives the file's text.
func (p *Plan) Write() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(p)
	return b.Bytes(), err
}

// Summary is the difference in one line: "2 apps restart (rolling), 1 restages, 0 deletions".
func (p *Plan) Summary() string {
	var doc struct{ Summary struct{ Text string } }
	_ = json.Unmarshal(p.Diff, &doc) // it is what render wrote, or what the schema has checked
	return doc.Summary.Text
}

// Read reads and checks a plan file: its form, its digest, and with a key its signature. name is for messages.
func Read(name string, data, key []byte) (*Plan, error) {
	doc, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	version, known := doc["version"]
	if _, plan := doc["fingerprint"]; !plan || !known {
		return nil, fmt.Errorf("%s is not a plan: make one with `fettle diff --out FILE`", name)
	}
	if fmt.Sprint(version) != strconv.Itoa(Version) {
		return nil, fmt.Errorf("%s is a plan of format %v, and this Fettle reads format %d: apply it with the Fettle that made it (%v), or make it anew",
			name, version, Version, doc["fettle"])
	}
	if err := validate(name, doc, data); err != nil {
		return nil, err
	}
	body, claims, err := canonical(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !hmac.Equal([]byte(digest(body)), []byte(claims.Digest)) {
		return nil, fmt.Errorf("%s was edited or damaged after it was made: its digest does not match its content. Make the plan anew", name)
	}
	p := &Plan{}
	if err := json.Unmarshal(body, p); err != nil { // the very bytes that the digest is of
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.Digest, p.Signature = claims.Digest, claims.Signature
	return p, p.verify(name, body, key)
}

// validate checks the form, and says at which line and column it is wrong.
func validate(name string, doc map[string]any, data []byte) error {
	schema, err := schemas.Compile("plan")
	if err != nil {
		return err
	}
	invalid := schema.Validate(doc)
	if invalid == nil {
		return nil
	}
	if docs, problems := manifest.ParseYAML(name, data); problems.Err() == nil && len(docs) == 1 { // most JSON is YAML
		if err := manifest.ValidateSchema(name, docs[0], schema).Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s does not have the form of a plan: %w", name, invalid)
}

func (p *Plan) verify(name string, body, key []byte) error {
	switch {
	case len(key) == 0 && p.Seal.Keyed:
		return fmt.Errorf("%s is signed: give the key that it was made with, in FETTLE_PLAN_KEY or with --plan-key-file", name)
	case len(key) > 0 && (!p.Seal.Keyed || p.Signature == ""):
		return fmt.Errorf("%s is not signed, and a key is set, so that it cannot be trusted: make the plan where the key is set, too", name)
	}
	var err error
	if p.sealer, err = newSealer(p.Seal, key); err != nil {
		return err
	}
	if p.Seal.Keyed && !hmac.Equal([]byte(p.sealer.sign(body)), []byte(p.Signature)) {
		return fmt.Errorf("the signature of %s is not good: it was made with another key, or somebody without the key changed it", name)
	}
	return nil
}

// claims are the fields that the digest cannot cover.
type claims struct{ Digest, Signature string }

// body is the canonical JSON of the plan without its claims.
func (p *Plan) body() ([]byte, error) {
	bare := *p
	bare.Digest, bare.Signature = "", ""
	data, err := json.Marshal(bare)
	if err != nil {
		return nil, err
	}
	doc, err := decode(data)
	if err != nil {
		return nil, err
	}
	body, _, err := canonical(doc)
	return body, err
}

// canonical writes a document in the one way that is digested: keys sorted, no white space, numbers as they stand, and
// without the claims, which it returns.
func canonical(doc map[string]any) ([]byte, claims, error) {
	var found claims
	found.Digest, _ = doc["digest"].(string)
	found.Signature, _ = doc["signature"].(string)
	doc = maps.Clone(doc)
	delete(doc, "digest")
	delete(doc, "signature")
	body, err := json.Marshal(doc)
	return body, found, err
}

func decode(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("a plan is a JSON document: %w", err)
	}
	if d.More() {
		return nil, errors.New("something follows the JSON document")
	}
	return doc, nil
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}
