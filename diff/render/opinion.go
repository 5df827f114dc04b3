package render

import (
	"fmt"

	"github.com/fettle-gitops/fettle/diff"
)

const noReason = "for no reason that is known: look at both, and report it, please"

// opinionTitle is the headline over what the platform's own comparison says.
func opinionTitle(o *diff.Opinion) string {
	if len(o.Disagreements) == 0 {
		return fmt.Sprintf("The controller's own diff says the same (%s).", plural(o.Agreed, "difference"))
	}
	agreed := "sees nothing else"
	if o.Agreed > 0 {
		agreed = "agrees in " + plural(o.Agreed, "difference")
	}
	return fmt.Sprintf("The controller's own diff says otherwise in %s, and %s:", plural(len(o.Disagreements), "place"), agreed)
}

// disagreement says who sees a difference and who does not.
func disagreement(d diff.Disagreement) (what, why string) {
	at := d.Ref.String()
	if d.Path != "" {
		at += " " + d.Path
	}
	what = fmt.Sprintf("%s: only the controller sees a difference (%s)", at, d.Platform)
	if d.Platform == "" {
		what = fmt.Sprintf("%s: only Fettle sees the difference (%s)", at, d.Fettle)
	}
	if d.Why == "" {
		return what, noReason
	}
	return what, "because " + d.Why
}

func (t *terminal) opinion(o *diff.Opinion) {
	if o == nil {
		return
	}
	t.line(t.paint(bold, opinionTitle(o)))
	item := func(what, why string, known bool) {
		mark := t.paint(faint, "·")
		if !known {
			mark = t.paint(grave, "?")
		}
		for i, l := range wrap(visible(what), t.width-4) {
			if i > 0 {
				mark = " "
			}
			t.line("  " + mark + " " + l)
		}
		for _, l := range wrap(visible(why), t.width-6) {
			t.line("      " + t.paint(faint, l))
		}
	}
	for _, d := range o.Disagreements {
		what, why := disagreement(d)
		item(what, why, d.Why != "")
	}
	for _, u := range o.Unasked {
		item(u.Ref.String()+": could not be asked about", u.Why, true)
	}
	t.line("")
}

func (m *markdown) opinion(o *diff.Opinion) {
	if o == nil {
		return
	}
	m.must("\n**" + opinionTitle(o) + "**\n\n")
	total := len(o.Disagreements) + len(o.Unasked)
	for i := range total {
		var what, why string
		if i < len(o.Disagreements) {
			what, why = disagreement(o.Disagreements[i])
		} else {
			u := o.Unasked[i-len(o.Disagreements)]
			what, why = u.Ref.String()+": could not be asked about", u.Why
		}
		if !m.add("- " + escape(cut(what)) + "<br>" + escape(cut(why)) + "\n") {
			m.must(fmt.Sprintf("- … and %d more\n", total-i))
			break
		}
	}
}

// The opinion in the JSON document; refs are written as everywhere in it.
type opinion struct {
	Agreed        int            `json:"agreed"`
	Disagreements []disagreeing  `json:"disagreements"`
	Unasked       []unaskedField `json:"unasked"`
}

type disagreeing struct {
	Ref      ref     `json:"ref"`
	Path     string  `json:"path"`
	Platform string  `json:"platform,omitempty"`
	Fettle   diff.Op `json:"fettle,omitempty"`
	Why      string  `json:"why,omitempty"`
}

type unaskedField struct {
	Ref ref    `json:"ref"`
	Why string `json:"why"`
}

func opinionDocument(o *diff.Opinion) *opinion {
	if o == nil {
		return nil
	}
	doc := &opinion{Agreed: o.Agreed, Disagreements: []disagreeing{}, Unasked: []unaskedField{}}
	for _, d := range o.Disagreements {
		doc.Disagreements = append(doc.Disagreements, disagreeing{ref(d.Ref), d.Path, d.Platform, d.Fettle, d.Why})
	}
	for _, u := range o.Unasked {
		doc.Unasked = append(doc.Unasked, unaskedField{ref(u.Ref), u.Why})
	}
	return doc
}
