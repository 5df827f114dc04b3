package sandbox

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/isolation"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/routepolicies"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/secgroups"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
)

// platformAreas are those parts of the API that are about the platform rather than about apps.
var platformAreas = []func(*cc.Server){
	isolation.Register,
	secgroups.Register,
	marketplace.Register,
	usage.Register,
	routepolicies.Register,
}

// seedPlatform fills a new world with what a platform comes with.
func seedPlatform(tx *cc.Tx) {
	isolation.Seed(tx)
	secgroups.Seed(tx)
	marketplace.Seed(tx)
}
