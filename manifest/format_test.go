package manifest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What a hand-written manifest looks like before and after.
func TestFormatGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/format.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, scene := range strings.Split(string(data), "══ ")[1:] {
		title, text, _ := strings.Cut(scene, "\n")
		formatted, problems := Format("manifest.yml", []byte(text))
		out.WriteString("══ " + title + "\n" + string(formatted))
		for _, p := range problems {
			out.WriteString(string(p.Severity) + ": " + p.Error() + "\n")
		}
	}
	golden(t, "format.golden", out.String())
}

// checkFormat holds Format to its promises by means of its own.
func checkFormat(t interface{ Fatalf(string, ...any) }, text string) {
	formatted, problems := Format("manifest.yml", []byte(text))
	if len(problems) > 0 {
		if string(formatted) != text {
			t.Fatalf("changed in spite of %v:\n%s\n── is now\n%s", problems, text, formatted)
		}
		return
	}
	again, problems := Format("manifest.yml", formatted)
	if len(problems) > 0 || string(again) != string(formatted) {
		t.Fatalf("not settled (%v):\n%s\n── formatted\n%s\n── again\n%s", problems, text, formatted, again)
	}
	words := func(s string) []string {
		all := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(s, "\uFEFF"), "- ", " "))
		all = slices.DeleteFunc(all, func(w string) bool { return w == "-" })
		slices.Sort(all)
		return all
	}
	if !slices.Equal(words(text), words(string(formatted))) {
		t.Fatalf("words came or went:\n%s\n── formatted\n%s", text, formatted)
	}
	_, before := Load(fakeFiles(text), "manifest.yml", Options{Org: "acme", Space: "dev"})
	_, after := Load(fakeFiles(string(formatted)), "manifest.yml", Options{Org: "acme", Space: "dev"})
	if before.Errors() != after.Errors() {
		t.Fatalf("%d errors became %d:\n%s\n── formatted\n%s", before.Errors(), after.Errors(), text, formatted)
	}
}

// Whatever order and indentation a manifest is written in, and wherever its comments stand, it can be laid out, and
// then it says the same.
func TestFormatKeepsWhatIsSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		note := func(indent int) {
			switch rapid.IntRange(0, 6).Draw(t, "note") {
			case 0:
				b.WriteString("\n")
			case 1:
				b.WriteString(strings.Repeat(" ", indent) + "# note\n")
			}
		}
		dash := rapid.SampledFrom([]int{0, 2, 4}).Draw(t, "indentation of lists")
		step := rapid.SampledFrom([]int{2, 3, 4}).Draw(t, "indentation of maps")
		b.WriteString("applications:\n")
		for range rapid.IntRange(1, 3).Draw(t, "apps") {
			inner := dash + 2
			pad := strings.Repeat(" ", inner)
			parts := rapid.Permutation([]string{
				pad + "name: shop-" + rapid.StringMatching(`[a-z]{8}`).Draw(t, "name") + "  # the shop\n",
				pad + "memory: \"512M\"\n", pad + "instances: 2\n", pad + "stack: 'cflinuxfs4'\n",
				pad + "command: |\n" + pad + "   run #1\n\n" + pad + "     indented\n",
				pad + "env:\n" + pad + strings.Repeat(" ", step) + "ZEBRA: 1\n" + pad + strings.Repeat(" ", step) + "# why\n" + pad + strings.Repeat(" ", step) + "ANT: \"yes\"\n",
				pad + "services: [a, b]\n",
				pad + "processes:\n" + pad + "- memory: 1G\n" + pad + "  type: worker\n",
			}).Draw(t, "order")
			for i, part := range parts[:rapid.IntRange(1, len(parts)).Draw(t, "keys")] {
				if i == 0 {
					note(dash)
					part = strings.Repeat(" ", dash) + "- " + part[inner:]
				} else {
					note(inner)
				}
				b.WriteString(part)
			}
		}
		text := b.String()
		if _, problems := Format("manifest.yml", []byte(text)); len(problems) > 0 {
			t.Fatalf("%v:\n%s", problems, text)
		}
		checkFormat(t, text)
	})
}

func FuzzFormat(f *testing.F) {
	for _, e := range exchanges(f) {
		f.Add(e.Manifest)
	}
	data, err := os.ReadFile("testdata/format.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, scene := range strings.Split(string(data), "══ ")[1:] {
		_, text, _ := strings.Cut(scene, "\n")
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkFormat(t, text) })
}
