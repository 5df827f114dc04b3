package render

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/url"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// The part of SARIF 2.1.0 (OASIS standard, sections in brackets) that we write.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool      `json:"tool"`
		ColumnKind string         `json:"columnKind"`
		Results    []sarifResult  `json:"results"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`

		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI       string `json:"uri"`
		URIBaseID string `json:"uriBaseId"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

// The rules in the order of their ruleIndex [3.27.6].
var sarifRules = []sarifRule{
	{"missing", sarifText{"Git declares it, and it is absent from the platform."}},
	{"different", sarifText{"The live value is not the one that Git declares."}},
	{"surplus", sarifText{"It lives on the platform, and Git no longer declares it."}},
	{"unreadable", sarifText{"Git declares it, and its live value cannot be read."}},
	{"refused", sarifText{"It cannot be applied: known before anything is tried."}},
	{"expired", sarifText{"A rule left the difference alone until it expired."}},
	{"unmanaged", sarifText{"It lives on the platform, and is declared nowhere."}},
}

// SARIF writes the changes as results of a static analysis, so that a code host shows each one beside the
// line of the manifest that it contradicts.
//
// What is ignored or unmanaged is there when asked for: ignored differences as suppressed results [3.27.23], because
// not every host passes over those.
func SARIF(w io.Writer, in Input, opts Options) error {
	run := newSarifRun(sarifRules)
	if in.Target != "" || in.Revision != "" {
		run.Properties = map[string]any{"target": in.Target, "revision": in.Revision}
	}
	put := func(rule int, level, message string, ref manifest.Ref, path string, at manifest.Origin) {
		// The fingerprint survives a moved line and a changed value: the finding is the field.
		run.put(rule, level, message, visible(ref.String()+path), at, ref.String(), path)
	}
	found := func(c diff.Change) {
		rule, level, message := 1, "warning", sentence(c)
		switch c.Op {
		case diff.Add:
			rule = 0
		case diff.Remove:
			rule = 2
		}
		if c.Impact == diff.ImpactImpossible {
			level = "error"
		}
		if c.Path != "" {
			message = visible(c.Ref.String()) + ": " + message
		}
		if words := consequence(c); words != "" {
			message += " (" + visible(words) + ")"
		}
		put(rule, level, message+".", c.Ref, c.Path, c.Origin)
	}
	for _, c := range in.changes() {
		found(c)
	}
	for _, e := range in.expired() {
		put(5, "warning", alarm(e), e.Change.Ref, e.Change.Path, e.Change.Origin)
	}
	if opts.Ignored {
		for _, i := range in.ignored() {
			found(i.Change)
			run.Results[len(run.Results)-1].Suppressions = []sarifSuppression{{"external", ruleNote(i.Rule)}}
		}
	}
	if opts.Unmanaged {
		for _, r := range in.unmanaged() {
			put(6, "note", visible(r.String())+" lives here and is declared nowhere.", r, "", manifest.Origin{})
		}
	}
	for _, u := range in.unobserved() {
		put(3, "note", visible(u.Ref.String())+": "+or(label(u.Path), "it")+" cannot be read: "+visible(u.Why)+".", u.Ref, u.Path, u.Origin)
	}
	for _, p := range in.Problems {
		level, message := "warning", withHint(p)
		if isError(p) {
			level = "error"
		}
		if p.Ref != nil {
			message = subject(p) + ": " + message
		}
		run.put(4, level, message, subject(p), p.Origin, subject(p), p.Message)
	}
	return run.write(w)
}

func newSarifRun(rules []sarifRule) *sarifRun {
	run := &sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "Fettle", InformationURI: "https://github.com/fettle-gitops/fettle", Rules: rules}
	return run
}

// put adds a result. What identifies it, next to its rule, from one analysis to the next is hashed.
func (run *sarifRun) put(rule int, level, message, resource string, at manifest.Origin, identity ...string) {
	id := run.Tool.Driver.Rules[rule].ID
	sum := sha256.Sum256([]byte(id + "\x00" + strings.Join(identity, "\x00")))
	var location sarifLocation
	if resource != "" {
		location.Logical = []sarifLogical{{Name: resource, Kind: "resource"}}
	}
	if at.File != "" {
		location.Physical = &sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: at.File}).String(), URIBaseID: "%SRCROOT%"}}
		if at.Line > 0 {
			location.Physical.Region = &sarifRegion{at.Line, at.Column}
		}
	}
	result := sarifResult{
		RuleID: id, RuleIndex: rule, Level: level, Message: sarifText{message},
		Fingerprints: map[string]string{"fettle/v1": hex.EncodeToString(sum[:16])},
	}
	if location.Physical != nil || location.Logical != nil {
		result.Locations = []sarifLocation{location}
	}
	run.Results = append(run.Results, result)
}

func (run *sarifRun) write(w io.Writer) error {
	return writeJSON(w, sarifLog{
		Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{*run},
	})
}
