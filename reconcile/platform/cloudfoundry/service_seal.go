package cloudfoundry

import (
	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// Parameters of service instances, bindings and keys are sealed (package diff says how) in an annotation on the resource, in the
// very request that hands them to the service broker. Some brokers give them back (instances_retrievable,
// bindings_retrievable); that is not used: what a broker returns is what it made of them, with defaults added and secrets
// left out, each look is a request to the broker, and to take the answer for a difference would be to bind anew at every run.

const parametersInput = "parameters"

// sealer seals parameters.
type sealer struct{ diff.Sealer }

// seal notes in m with which parameters the resource is made.
func (s sealer) seal(m *ccv3.Metadata, o *manifest.Object) error {
	text, parameters := diff.NoInput, o.Inputs[parametersInput]
	if parameters != nil {
		var err error
		if text, err = s.Seal(parametersInput, parameters); err != nil {
			return err
		}
	}
	if m.Annotations == nil {
		m.Annotations = map[string]*string{}
	}
	m.Annotations[parametersAnnotation] = &text
	return nil
}

// of reads what a live resource says.
func (s sealer) of(r ccv3.Resource) map[string]diff.Sealed {
	return map[string]diff.Sealed{parametersInput: {Text: r.Metadata.Annotation(parametersAnnotation), By: s.Sealer}}
}
