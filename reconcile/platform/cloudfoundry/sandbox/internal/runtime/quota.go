package runtime

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// QuotaProblems says which limits of organization and space an app that is started, or about to be, would break if a
// process became after. Stopped apps may have any size (observed fact).
func QuotaProblems(tx *cc.Tx, a *world.App, before, after *world.Process) []string {
	if !a.Started {
		before = nil // it does not count yet
	}
	return quotas.Process(tx, a.Space, before, after)
}
