package sandbox

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/front"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/logs"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/manifests"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/netpolicy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/rollout"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/routing"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/services"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/settings"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/staging"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tasks"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
)

// areas registers every part of the API. The order matters only for cascades: what is named first goes first when a
// space goes.
var areas = []func(*cc.Server){
	front.Register,
	tenancy.Register,
	settings.Register,
	quotas.Register,
	apps.Register,
	services.Register,
	routing.Register,
	staging.Register,
	rollout.Register,
	tasks.Register,
	manifests.Register,
	logs.Register,
	netpolicy.Register,
}
