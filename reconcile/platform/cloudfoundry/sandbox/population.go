package sandbox

import (
	"fmt"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/routing"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// How a population is laid out: 10,000 apps fill 500 spaces of 10 organizations.
const (
	appsInSpace = 20
	spacesInOrg = 50
)

// Populate makes n started apps (org-0001/space-0001/app-00001 …), each with a package, a droplet, a revision, a route and
// the events that making it leaves, as if somebody had pushed them all. It is for measuring what a large foundation costs.
func (s *Sandbox) Populate(n int) {
	s.cc.Update(func(tx *cc.Tx) {
		var org *world.Org
		var space *world.Space
		var quota, domain string
		for q := range tx.W.OrgQuotas.All() {
			if q.Name == "default" {
				unlimited := *q // 10,000 apps do not fit into 100 GB
				unlimited.Base, unlimited.Name = tx.W.Base(), "unlimited"
				unlimited.TotalMemory = nil
				tx.W.OrgQuotas.Insert(&unlimited)
				quota = unlimited.GUID
				break
			}
		}
		for i := range n {
			if i%(appsInSpace*spacesInOrg) == 0 {
				org = &world.Org{Base: tx.W.Base(), Name: fmt.Sprintf("org-%04d", i/(appsInSpace*spacesInOrg)+1), Quota: quota}
				tx.W.Orgs.Insert(org)
				domain = ""
				if d := tenancy.DefaultDomain(tx, org.GUID); d != nil {
					domain = d.GUID
				}
			}
			if i%appsInSpace == 0 {
				space = &world.Space{Base: tx.W.Base(), Name: fmt.Sprintf("space-%04d", i/appsInSpace+1), Org: org.GUID}
				tx.W.Spaces.Insert(space)
			}
			populateApp(tx, space, domain, i)
		}
	})
}

func populateApp(tx *cc.Tx, space *world.Space, domain string, i int) {
	name := fmt.Sprintf("app-%05d", i+1)
	a := apps.Create(tx, apps.New{Name: name, Space: space.GUID}, nil)
	a.Env = map[string]string{"LOG_LEVEL": "info", "TEAM": fmt.Sprintf("team-%02d", i%50)}
	a.Labels = map[string]string{"team": fmt.Sprintf("team-%02d", i%50)}
	pkg := &world.Package{Base: tx.W.Base(), App: a.GUID, Type: "bits", State: world.Ready}
	tx.W.Packages.Insert(pkg)
	d := &world.Droplet{
		Base: tx.W.Base(), App: a.GUID, Package: pkg.GUID, State: world.Staged, Lifecycle: world.Buildpack, Stack: a.Stack,
		Buildpacks: []string{"binary_buildpack"}, ProcessTypes: map[string]string{"web": "./serve"},
	}
	tx.W.Droplets.Insert(d)
	runtime.AssignDroplet(tx, a, d)
	runtime.StartNow(tx, a)
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		usage.Process(tx, a, p)
	}
	if domain == "" {
		return // there is no shared domain any more
	}
	r := &world.Route{Base: tx.W.Base(), Space: space.GUID, Domain: domain, Host: name}
	tx.W.Routes.Insert(r)
	routing.MapWeb(tx, r, a, "")
}
