package planfile_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/planfile"
	"github.com/fettle-gitops/fettle/reconcile/platform"
)

var (
	web    = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/web"}
	worker = manifest.Ref{Kind: manifest.KindApp, Path: "acme/dev/worker"}
	key    = []byte("0123456789abcdef0123456789abcdef")
)

// computed is a plan for two apps: web gets another password, worker more instances.
func computed() planfile.Content {
	password := diff.Change{
		Ref: web, Op: diff.Update, Path: "/environment_variables/PASSWORD", Was: "old-secret", Value: "new-secret", Secret: true, Impact: diff.ImpactRestart,
	}
	scale := diff.Change{Ref: worker, Op: diff.Update, Path: "/processes/web/instances", Was: int64(1), Value: int64(2), Impact: diff.ImpactInPlace}
	return planfile.Content{
		API: "https://api.example.com", Revision: strings.Repeat("a", 40),
		Desired: manifest.NewSet(&manifest.Object{Ref: web}, &manifest.Object{Ref: worker}),
		Live:    platform.Observation{IDs: map[manifest.Ref]string{web: "guid-web", worker: "guid-worker"}},
		Changes: diff.Changes{List: []diff.Change{password, scale}},
		Plan: platform.Plan{Steps: []platform.Step{
			{ID: web.String(), Ref: web, Changes: []diff.Change{password}, Impact: diff.ImpactRestart},
			{ID: worker.String(), Ref: worker, Changes: []diff.Change{scale}, Impact: diff.ImpactInPlace},
		}},
		Values: []planfile.Value{{Name: "variable password", Data: []byte(`"new-secret"`)}},
	}
}

func made(t *testing.T, c planfile.Content, key []byte) (*planfile.Plan, []byte) {
	t.Helper()
	about := planfile.Plan{Fettle: "test", CreatedAt: time.Unix(0, 0), Source: planfile.Source{Git: "https://git.example.com/shop.git"}}
	plan, err := planfile.New(about, c, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := plan.Write()
	if err != nil {
		t.Fatal(err)
	}
	return plan, text
}

func TestWhatMovedIsNamed(t *testing.T) {
	change := func(i int, edit func(*diff.Change)) func(*planfile.Content) {
		return func(c *planfile.Content) {
			edit(&c.Changes.List[i])
			c.Plan.Steps[i].Changes = []diff.Change{c.Changes.List[i]}
		}
	}
	keys := map[string][]byte{"signed": key, "unsigned": nil}
	plans := map[string]*planfile.Plan{}
	for kind, key := range keys {
		_, text := made(t, computed(), key)
		var err error
		if plans[kind], err = planfile.Read("plan.json", text, key); err != nil {
			t.Fatal(err)
		}
	}
	done := func(i int) func(*planfile.Content) {
		return func(c *planfile.Content) {
			c.Changes.List = append(c.Changes.List[:i:i], c.Changes.List[i+1:]...)
			c.Plan.Steps = append(c.Plan.Steps[:i:i], c.Plan.Steps[i+1:]...)
		}
	}
	for name, test := range map[string]struct {
		edit  func(*planfile.Content)
		moved string // "" if the plan still fits
	}{
		"nothing":                      {func(*planfile.Content) {}, ""},
		"its place in the manifest":    {change(1, func(c *diff.Change) { c.Origin = manifest.Origin{File: "manifest.yml", Line: 9} }), ""},
		"a step is done already":       {done(1), ""},
		"the step with the secret is":  {done(0), ""},
		"the revision":                 {func(c *planfile.Content) { c.Revision = strings.Repeat("b", 40) }, "revision: aaaa"},
		"the foundation":               {func(c *planfile.Content) { c.API = "https://api.other.example.com" }, "foundation: https://api.example.com → https://api.other.example.com"},
		"a live value":                 {change(1, func(c *diff.Change) { c.Was = int64(3) }), "app acme/dev/worker /processes/web/instances: the live value was 1, is 3"},
		"a declared value":             {change(1, func(c *diff.Change) { c.Value = int64(4) }), "the declared value was 2, is 4"},
		"an impact":                    {change(1, func(c *diff.Change) { c.Impact = diff.ImpactRestart }), "its impact was in place, is restart"},
		"a live secret":                {change(0, func(c *diff.Change) { c.Was = "by hand" }), "app acme/dev/web /environment_variables/PASSWORD"},
		"a variable":                   {func(c *planfile.Content) { c.Values[0].Data = []byte(`"another"`) }, "variable password: has another value"},
		"a variable that is gone":      {func(c *planfile.Content) { c.Values = nil }, "variable password: is missing now"},
		"an app that was made anew":    {func(c *planfile.Content) { c.Live.IDs[worker] = "another" }, "app acme/dev/worker: was deleted and created again"},
		"an app that is gone":          {func(c *planfile.Content) { delete(c.Live.IDs, worker) }, "app acme/dev/worker: was deleted"},
		"a change that nobody planned": {func(c *planfile.Content) { more(c) }, "app acme/dev/worker /metadata/labels/team: was as declared, and now differs (live \"a\", declared \"b\")"},
		"a part of a step is done": {func(c *planfile.Content) {
			more(c)
			c.Changes.List = append(c.Changes.List[:1:1], c.Changes.List[2])
			c.Plan.Steps[1].Changes = c.Plan.Steps[1].Changes[1:]
		}, "app acme/dev/worker /processes/web/instances: was to be changed, and is as declared now"},
	} {
		for kind := range keys {
			t.Run(name+"/"+kind, func(t *testing.T) {
				now := computed()
				test.edit(&now)
				err := plans[kind].Compare(now)
				var moved *planfile.MovedError
				switch {
				case test.moved == "" && err != nil:
					t.Errorf("nothing that matters moved, and yet: %v", err)
				case test.moved != "" && !errors.As(err, &moved):
					t.Errorf("%s moved, and the error is %v", name, err)
				case test.moved != "" && !strings.Contains(err.Error(), test.moved):
					t.Errorf("the error does not say %q: %v", test.moved, err)
				}
				if err != nil && strings.Contains(err.Error(), "secret\"") && !strings.Contains(err.Error(), "(secret)") {
					t.Errorf("a secret is shown: %v", err)
				}
			})
		}
	}
}

// more adds a second change to the step of worker.
func more(c *planfile.Content) {
	label := diff.Change{Ref: worker, Op: diff.Update, Path: "/metadata/labels/team", Was: "a", Value: "b", Impact: diff.ImpactNone}
	c.Changes.List = append(c.Changes.List, label)
	for i := range c.Plan.Steps {
		if c.Plan.Steps[i].Ref == worker {
			c.Plan.Steps[i].Changes = append(c.Plan.Steps[i].Changes, label)
		}
	}
}

// TestAPlanHoldsNoSecret: neither in clear nor as anything that is the same in two plans, which a table could be made of.
func TestAPlanHoldsNoSecret(t *testing.T) {
	for kind, key := range map[string][]byte{"signed": key, "unsigned": nil} {
		one, first := made(t, computed(), key)
		two, second := made(t, computed(), key)
		for _, secret := range []string{"old-secret", "new-secret"} {
			if bytes.Contains(first, []byte(secret)) {
				t.Errorf("%s: the plan holds %s", kind, secret)
			}
		}
		if one.Steps[0].Secrets.Digest == two.Steps[0].Secrets.Digest || one.Inputs.Values.Digest == two.Inputs.Values.Digest || one.Fingerprint == two.Fingerprint {
			t.Errorf("%s: two plans have the same digests:\n%s\n%s", kind, first, second)
		}
		if each := one.Steps[0].Secrets.Each; key == nil && each != nil {
			t.Errorf("without a key values must not be digested one by one: %v", each)
		}
	}
}

// TestEveryEditIsNoticed changes each single line of a plan.
func TestEveryEditIsNoticed(t *testing.T) {
	_, text := made(t, computed(), key)
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		at := strings.IndexAny(line, "abcdef0123456789")
		if at < 0 {
			continue
		}
		edited := append([]string{}, lines...)
		edited[i] = line[:at] + "7" + line[at:]
		if _, err := planfile.Read("plan.json", []byte(strings.Join(edited, "")), key); err == nil {
			t.Errorf("nobody noticed the edit of %q", line)
		}
	}
}

func TestSignature(t *testing.T) {
	_, signed := made(t, computed(), key)
	_, unsigned := made(t, computed(), nil)
	other := bytes.Repeat([]byte("x"), 32)
	for name, test := range map[string]struct {
		text []byte
		key  []byte
		want string // of the error; "" for none
	}{
		"signed, the key":         {signed, key, ""},
		"signed, no key":          {signed, nil, "is signed: give the key"},
		"signed, another key":     {signed, other, "is not good"},
		"signed, a short key":     {signed, []byte("short"), "at least 16"},
		"unsigned, no key":        {unsigned, nil, ""},
		"unsigned, a key":         {unsigned, key, "is not signed"},
		"the signature cut off":   {cut(signed, `  "signature"`), key, "is not signed"},
		"something else":          {[]byte("applications: []"), nil, "a plan is a JSON document"},
		"another JSON document":   {[]byte(`{"version": 1}`), nil, "is not a plan"},
		"two documents":           {append(bytes.Clone(unsigned), unsigned...), nil, "something follows"},
		"a later format":          {bytes.Replace(unsigned, []byte(`"version": 1`), []byte(`"version": 2`), 1), nil, "format 2, and this Fettle reads format 1"},
		"a field nobody knows of": {bytes.Replace(unsigned, []byte(`"seal": {`), []byte(`"seals": {`), 1), nil, "plan.json:"},
	} {
		_, err := planfile.Read("plan.json", test.text, test.key)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: expected %q, got %v", name, test.want, err)
		}
	}
}

// cut removes the last field of a document, which begins with the line.
func cut(text []byte, line string) []byte {
	at := bytes.LastIndex(text, []byte(line))
	before := bytes.TrimRight(text[:at], ", \n")
	return append(bytes.Clone(before), "\n}\n"...)
}

// TestFingerprint: the same for the same plan, whenever it is computed; another one for whatever applying would do otherwise.
func TestFingerprint(t *testing.T) {
	of := func(edit func(*planfile.Content), key []byte) string {
		c := computed()
		edit(&c)
		sum, err := planfile.Fingerprint(key, c)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	same := of(func(*planfile.Content) {}, key)
	if again := of(func(*planfile.Content) {}, key); again != same {
		t.Errorf("the same plan has the fingerprints %s and %s", same, again)
	}
	if other := of(func(*planfile.Content) {}, []byte("another key")); other == same {
		t.Error("the key makes no difference")
	}
	for name, edit := range map[string]func(*planfile.Content){
		"secret":   func(c *planfile.Content) { c.Changes.List[0].Value = "another" },
		"revision": func(c *planfile.Content) { c.Revision = "b" },
		"step":     func(c *planfile.Content) { c.Plan.Steps = c.Plan.Steps[:1] },
		"resource": func(c *planfile.Content) { c.Live.IDs[web] = "another" },
	} {
		if of(edit, key) == same {
			t.Errorf("another %s, and the fingerprint is the same", name)
		}
	}
}
