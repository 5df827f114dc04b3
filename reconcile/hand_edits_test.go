package reconcile_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/byhand"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// moment is when the last run looked, in a note.
var moment = regexp.MustCompile(` since \S+`)

var update = flag.Bool("update", false, "write the tables of testdata anew")

// TestHandEdits goes through testdata/hand-edits.md, which tells what it does.
func TestHandEdits(t *testing.T) {
	const file = "testdata/hand-edits.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	declared, err := os.ReadFile("testdata/hand-edits.yml")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.alsoServices()
		f.write("manifest.yml", string(declared))
		f.write("web/package.json", "{}")
		f.run(history.Changed)
		f.run(history.InSync)
		who := []string{"alex", "sam"}
		for i, line := range lines {
			cells := strings.Split(strings.Trim(line, "| "), " | ")
			if !strings.HasPrefix(line, "| ") || cells[0] == "what" || len(cells) < 2 {
				continue
			}
			time.Sleep(time.Minute) // events are told apart by the second
			slices.Reverse(who)
			records, by := f.edited(cells[0], who[0], strings.Split(strings.TrimSuffix(cells[1], " |"), " // "))
			lines[i] = "| " + strings.Join([]string{cells[0], strings.TrimSuffix(cells[1], " |"), records, by}, " | ") + " |"
		}
	})
	if *update {
		err = os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(text), "\n"), lines); d != "" && !*update {
		t.Errorf("%s says something else (-want +got); if it is right as it is now, run it with -update:\n%s", file, d)
	}
}

// edited makes an edit and a run that heals it, and tells what the record says of it.
func (f *foundation) edited(what, user string, edits []string) (records, by string) {
	f.t.Helper()
	c, err := ccv3.New(f.config(user))
	if err != nil {
		f.t.Fatal(err)
	}
	known := len(f.drift())
	if err := byhand.Edit(f.t.Context(), c, edits...); err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
	time.Sleep(time.Minute)
	run, err := f.rec.Run(f.t.Context(), f.target, history.ByHand, nil)
	if err != nil {
		f.t.Errorf("%s: the run ended as %s: %v", what, run.Record.Result, err)
	}
	var fields, actors []string
	all := f.drift()
	for _, d := range all[:len(all)-known] { // the latest come first
		fields = append(fields, d.Ref.String()+" "+either(d.Path, "whole"))
		actor := either(d.By.Actor, "nobody")
		if d.By.Note != "" {
			actor += " ? " + d.By.Note
		}
		if actor = moment.ReplaceAllString(actor, ""); !slices.Contains(actors, actor) {
			actors = append(actors, actor)
		}
		if d.Resolution != history.Healed {
			f.t.Errorf("%s: %s %s is %q, not healed", what, d.Ref, d.Path, d.Resolution)
		}
		if strings.Contains(d.Live+d.Declared, "s3cr3t") || strings.Contains(d.Live, "leaked") {
			f.t.Errorf("%s: the record of %s %s shows a secret", what, d.Ref, d.Path)
		}
	}
	if len(fields) == 0 && len(run.Changes.List) > 0 {
		f.t.Errorf("%s: differences without a record: %v", what, run.Changes.List)
	}
	f.run(history.InSync)
	slices.Sort(fields)
	slices.Sort(actors)
	return strings.ReplaceAll(either(strings.Join(fields, ", "), "(none)"), "acme/dev/", ""), either(strings.Join(actors, ", "), "·")
}

func either(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// alsoServices makes what testdata/hand-edits.yml refers to: two more spaces, another stack, and a route of somebody else.
func (f *foundation) alsoServices() {
	f.t.Helper()
	admin, err := ccv3.New(f.config("admin"))
	if err != nil {
		f.t.Fatal(err)
	}
	orgs, _, err := ccv3.List[ccv3.Org](f.t.Context(), admin, "/v3/organizations", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	acme := orgs[slices.IndexFunc(orgs, func(o ccv3.Org) bool { return o.Name == "acme" })].GUID
	edits := []string{
		"PATCH /v3/feature_flags/service_instance_sharing {enabled: true}",
		"POST /v3/stacks {name: cflinuxfs5}",
		"POST /v3/routes {host: spare, relationships: {space: {data: {guid: $space:dev}}, domain: {data: {guid: $domain:apps.sandbox.test}}}}",
	}
	for _, space := range []string{"test", "prod"} {
		edits = append(edits, "POST /v3/spaces {name: "+space+", relationships: {organization: {data: {guid: "+acme+"}}}}")
		for _, user := range []string{"fettle", "alex", "sam"} {
			edits = append(edits, "POST /v3/roles {type: space_developer, relationships: {user: {data: {username: "+user+", origin: uaa}}, space: {data: {guid: $space:"+space+"}}}}")
		}
	}
	for _, plan := range []string{"small", "medium"} {
		edits = append(edits, "POST plan:"+plan+"/visibility {type: public}")
	}
	if err := byhand.Edit(f.t.Context(), admin, edits...); err != nil {
		f.t.Fatal(err)
	}
}
