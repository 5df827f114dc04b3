// Package render draws the outcome of a comparison: as text for a terminal, Markdown for a pull request, JSON
// for programs, the diff object of the V3 API, JUnit and SARIF for CI systems. In the same ways, and with GitHub's
// annotations, it draws the problems of manifests ([Validation]).
//
// Everything was computed before; a renderer only draws. It shows every change exactly once or says how many
// it left out, never shows a secret, and takes no character from a manifest or a platform at its word: each
// output is escaped for what reads it, a terminal included.
package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// Input is what all renderers draw.
type Input struct {
	Title    string                // "Plan for shop"
	Target   string                // where: "production (https://api.prod.example.com)"
	Revision string                // the commit that desired state was read from
	Desired  map[manifest.Kind]int // how many resources Git declares, see CountKinds
	Changes  diff.Changes
	Opinion  *diff.Opinion     // what the platform's own comparison says; nil where it was not asked
	Problems manifest.Problems // why part of it cannot be applied, or may not work, known before anything is tried
}

// CountKinds counts the declared resources for Input.Desired.
func CountKinds(set manifest.Set) map[manifest.Kind]int {
	counts := map[manifest.Kind]int{}
	for _, o := range set.Objects() {
		counts[o.Ref.Kind]++
	}
	return counts
}

// Options say how, and how much. JSON always has everything.
type Options struct {
	Color     bool // ANSI colours
	Width     int  // columns of the terminal; 0 means 100
	Unmanaged bool // list what Git does not declare instead of only counting it
	Ignored   bool // list the differences that a rule leaves alone instead of only counting them
}

// Formats are the names that Write knows.
func Formats() []string { return []string{"text", "markdown", "json", "v3", "junit", "sarif"} }

// Write draws in the format of the given name.
func Write(w io.Writer, format string, in Input, opts Options) error {
	switch format {
	case "text", "":
		return Text(w, in, opts)
	case "markdown":
		return Markdown(w, in, opts)
	case "json":
		return JSON(w, in)
	case "v3":
		return V3(w, in, opts)
	case "junit":
		return JUnit(w, in, opts)
	case "sarif":
		return SARIF(w, in, opts)
	}
	return fmt.Errorf("unknown format %q: use one of %s", format, strings.Join(Formats(), ", "))
}

// changes is what a renderer may see of the list: in order, and without secrets.
func (in Input) changes() []diff.Change {
	all := slices.Clone(in.Changes.List)
	slices.SortStableFunc(all, diff.Change.Compare)
	for i := range all {
		all[i] = all[i].Masked()
	}
	return all
}

func (in Input) unobserved() []diff.Unobserved {
	return slices.SortedStableFunc(slices.Values(in.Changes.Unobserved), func(a, b diff.Unobserved) int {
		return diff.Change{Ref: a.Ref, Path: a.Path}.Compare(diff.Change{Ref: b.Ref, Path: b.Path})
	})
}

// problemList is a part of the problems under one title.
type problemList struct {
	title string
	list  manifest.Problems
}

// problems are what is certain to fail, and what may.
func (in Input) problems() []problemList {
	errors := problemList{title: "Cannot be applied, known before anything is tried:"}
	warnings := problemList{title: "Warnings:"}
	for _, p := range in.Problems {
		if isError(p) {
			errors.list = append(errors.list, p)
		} else {
			warnings.list = append(warnings.list, p)
		}
	}
	return slices.DeleteFunc([]problemList{errors, warnings}, func(l problemList) bool { return len(l.list) == 0 })
}

func (in Input) unmanaged() []manifest.Ref {
	return slices.SortedFunc(slices.Values(in.Changes.Unmanaged), manifest.Ref.Compare)
}

func (in Input) ignored() []diff.Ignored { return masked(in.Changes.Ignored) }

func (in Input) expired() []diff.Ignored { return masked(in.Changes.Expired) }

// masked is in order, and without secrets.
func masked(all []diff.Ignored) []diff.Ignored {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b diff.Ignored) int { return a.Change.Compare(b.Change) })
	for i := range all {
		all[i].Change = all[i].Change.Masked()
	}
	return all
}

// ruleNote says of a rule what a person wants to know of it: until when, whose it is, why, and where it stands.
func ruleNote(r diff.IgnoreRule) string {
	var parts []string
	if !r.Until.IsZero() {
		parts = append(parts, "until "+r.Until.String())
	}
	switch owner, reason := visible(cut(r.Owner)), visible(cut(r.Reason)); {
	case owner != "" && reason != "":
		parts = append(parts, owner+": "+reason)
	case owner+reason != "":
		parts = append(parts, owner+reason)
	}
	if at := place(r.Origin); at != "" {
		parts = append(parts, at)
	}
	return strings.Join(parts, " · ")
}

// alarm tells of a rule that no longer holds.
func alarm(e diff.Ignored) string {
	return fmt.Sprintf("%s is no longer ignored: the rule “%s” has expired%s.",
		cut(fieldOf(e.Change.Ref, e.Change.Path)), visible(cut(e.Rule.String())), inBrackets(ruleNote(e.Rule)))
}

// idle tells of a rule without effect.
func idle(r diff.IdleRule) string {
	return fmt.Sprintf("The ignore rule “%s”%s: %s.", visible(cut(r.Rule.String())), inBrackets(place(r.Rule.Origin)), visible(r.Why))
}

// ignoredLine counts what rules leave alone, or is empty.
func (in Input) ignoredLine() string {
	if n := len(in.Changes.Ignored); n > 0 {
		return "Ignored by rule, and left alone: " + plural(n, "difference") + "."
	}
	return ""
}

// verdict is the last word: what applying would mean, or that there is nothing to do.
func (in Input) verdict() string {
	s := in.Changes.Summary()
	if s.Changes > 0 {
		return fmt.Sprintf("%s in %s (%s).\n%s.", plural(s.Changes, "difference"), kindCounts(s.Resources), opCounts(s), s)
	}
	others := ""
	if s.Ignored > 0 {
		others = " but " + plural(s.Ignored, "ignored one")
	}
	switch declared := kindCounts(in.Desired); {
	case s.Unobserved > 0:
		return fmt.Sprintf("No differences%s in what could be read of %s; %s could not be.", others, declared, plural(s.Unobserved, "field"))
	default:
		return fmt.Sprintf("No differences%s: %s match.", others, declared)
	}
}

func opCounts(s diff.Summary) string {
	return fmt.Sprintf("%d to add, %d to change, %d to remove", s.Ops[diff.Add], s.Ops[diff.Update], s.Ops[diff.Remove])
}

// unmanagedLine counts what nobody declares, or is empty.
func (in Input) unmanagedLine() string {
	counts := map[manifest.Kind]int{}
	for _, ref := range in.Changes.Unmanaged {
		counts[ref.Kind]++
	}
	if len(counts) == 0 {
		return ""
	}
	return "Unmanaged (live here, declared nowhere, left alone): " + kindCounts(counts) + "."
}

// fieldOf names a field for people: "app acme/dev/web processes.web.instances".
func fieldOf(r manifest.Ref, path string) string {
	return strings.TrimSpace(visible(r.String()) + " " + label(path))
}

// kindCounts reads "3 apps, 4 routes".
func kindCounts(counts map[manifest.Kind]int) string {
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b manifest.Kind) int {
		return manifest.Ref{Kind: a}.Compare(manifest.Ref{Kind: b})
	})
	var parts []string
	for _, kind := range kinds {
		if counts[kind] > 0 {
			parts = append(parts, plural(counts[kind], strings.ReplaceAll(string(kind), "_", " ")))
		}
	}
	if len(parts) == 0 {
		return "0 resources"
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// consequence is an impact in plain words.
func consequence(c diff.Change) string {
	words := map[diff.Impact]string{
		diff.ImpactUnknown:    "",
		diff.ImpactNone:       "metadata only",
		diff.ImpactInPlace:    "no restart",
		diff.ImpactRestart:    "rolling restart",
		diff.ImpactRestage:    "restage, rolling restart",
		diff.ImpactRecreate:   "deleted and made anew",
		diff.ImpactImpossible: "not possible through the API",
	}[c.Impact]
	if c.Reason == "" {
		return words
	}
	if words == "" {
		return c.Reason
	}
	return words + ": " + c.Reason
}
