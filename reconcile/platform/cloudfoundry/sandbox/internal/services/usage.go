package services

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// usage leaves a service usage event.
func usage(tx *cc.Tx, si *world.ServiceInstance, state string) {
}
