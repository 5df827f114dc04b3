// Package services holds service instances and their bindings to apps and routes.
package services

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Vcap is the value of VCAP_SERVICES of an app.
func Vcap(tx *cc.Tx, a *world.App) tree.Obj {
	return tree.Obj{}
}
