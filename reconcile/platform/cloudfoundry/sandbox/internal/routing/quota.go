package routing

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
)

// quota refuses a route beyond what organization and space may have. TCP routes are refused before, so no port is asked
// for.
func quota(tx *cc.Tx, space, _ string) error {
	if p := quotas.Route(tx, space, false); p != "" {
		return cc.Unprocessable("%s", p)
	}
	return nil
}
