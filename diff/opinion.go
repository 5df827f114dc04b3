package diff

import "github.com/fettle-gitops/fettle/manifest"

// Opinion is what the platform's own comparison says of the same desired state, seen from here.
type Opinion struct {
	Agreed        int // differences that both see
	Disagreements []Disagreement
	Unasked       []Unasked
}

// Disagreement is a difference that only one of the two sees. It holds no values: those of the platform are not
// known to be free of secrets.
type Disagreement struct {
	Ref      manifest.Ref
	Path     string // as far as the platform's answer tells
	Platform string // the operation that the platform sees; "" is none
	Fettle   Op     // the operation that Compare sees; "" is none
	Why      string // by the known rules of the platform; "" if none of them explains it
}

// Unasked is what the platform's own comparison has no words for.
type Unasked struct {
	Ref manifest.Ref
	Why string
}
