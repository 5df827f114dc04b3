package diff

import (
	"fmt"
	"strings"

	"github.com/fettle-gitops/fettle/manifest"
)

// Summary counts what Changes hold.
type Summary struct {
	Changes   int                   `json:"changes"`
	Ops       map[Op]int            `json:"ops"`       // changes by operation, all three always present
	Impacts   map[Impact]int        `json:"impacts"`   // changes by impact, only those that occur
	Resources map[manifest.Kind]int `json:"resources"` // resources with a change, by kind

	// Apps by the gravest impact on them; a binding counts for its app.
	Restarts  int `json:"restarts"`
	Restages  int `json:"restages"`
	Recreates int `json:"recreates"`

	Creations  int `json:"creations"`  // whole resources
	Deletions  int `json:"deletions"`  // whole resources
	Impossible int `json:"impossible"` // changes that the API cannot make
	Unobserved int `json:"unobserved"`
	Unmanaged  int `json:"unmanaged"`
	Ignored    int `json:"ignored"` // differences that a rule leaves alone
	Expired    int `json:"expired"` // differences, counted above, that a rule no longer leaves alone
}

// Summary counts the changes.
func (c Changes) Summary() Summary {
	s := Summary{
		Changes: len(c.List), Ops: map[Op]int{Add: 0, Update: 0, Remove: 0}, Impacts: map[Impact]int{},
		Resources: map[manifest.Kind]int{}, Unobserved: len(c.Unobserved), Unmanaged: len(c.Unmanaged),
		Ignored: len(c.Ignored), Expired: len(c.Expired),
	}
	resources := map[manifest.Ref]bool{}
	gravest := map[manifest.Ref]Impact{}
	for _, ch := range c.List {
		s.Ops[ch.Op]++
		s.Impacts[ch.Impact]++
		if !resources[ch.Ref] {
			resources[ch.Ref] = true
			s.Resources[ch.Ref.Kind]++
		}
		if app := ch.App(); app != (manifest.Ref{}) && ch.Impact != ImpactImpossible {
			gravest[app] = max(gravest[app], ch.Impact)
		}
		switch {
		case ch.Impact == ImpactImpossible:
			s.Impossible++
		case ch.Path == "" && ch.Op == Add:
			s.Creations++
		case ch.Path == "" && ch.Op == Remove:
			s.Deletions++
		}
	}
	for _, impact := range gravest {
		switch impact {
		case ImpactRestart:
			s.Restarts++
		case ImpactRestage:
			s.Restages++
		case ImpactRecreate:
			s.Recreates++
		}
	}
	return s
}

// String is what people want to know before they apply: "2 apps restart (rolling), 1 restages, 0 deletions",
// followed by what else is grave or new: "; 1 creation, 1 impossible".
func (s Summary) String() string {
	text := fmt.Sprintf("%s (rolling), %s, %s", count(s.Restarts, "app restarts", "apps restart"),
		count(s.Restages, "restages", "restage"), count(s.Deletions, "deletion", "deletions"))
	var more []string
	if s.Creations > 0 {
		more = append(more, count(s.Creations, "creation", "creations"))
	}
	if s.Recreates > 0 {
		more = append(more, count(s.Recreates, "app re-created", "apps re-created"))
	}
	if s.Impossible > 0 {
		more = append(more, fmt.Sprintf("%d impossible", s.Impossible))
	}
	if n := s.Impacts[ImpactUnknown]; n > 0 {
		more = append(more, fmt.Sprintf("%d of unknown impact", n))
	}
	if len(more) > 0 {
		text += "; " + strings.Join(more, ", ")
	}
	return text
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
