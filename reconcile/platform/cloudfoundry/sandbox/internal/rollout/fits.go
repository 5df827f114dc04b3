package rollout

import (
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// fits asks the quotas. A started app is asked twice: whether its web process may become what the options say, and
// whether the first new instances fit beside the old ones. A stopped app is asked as it will be started.
func fits(tx *cc.Tx, a *world.App, d *world.Deployment) error {
	old := runtime.Process(tx, a.GUID, "web")
	if old == nil {
		return nil
	}
	o := d.Options
	after := *old
	o.Size(&after)
	if o.WebInstances != nil {
		after.Instances = *o.WebInstances
	}
	limits := apps.Scale{Memory: o.Memory, Disk: o.Disk}
	if !a.Started {
		problems := limits.Limits(tx, old)
		for _, p := range tx.W.Processes.By("app", a.GUID) {
			if problems != nil {
				break
			}
			if p == old {
				p = &after
			}
			problems = runtime.QuotaProblems(tx, a, nil, p)
		}
		return refuse(tx, a, problems)
	}
	if o.WebInstances != nil || o.Memory != nil || o.LogRate != nil {
		if problems := append(limits.Limits(tx, old), runtime.QuotaProblems(tx, a, old, &after)...); problems != nil {
			return refuse(tx, a, problems)
		}
	}
	if problems := limits.Limits(tx, old); problems != nil {
		return refuse(tx, a, problems)
	}
	original := tx.W.Processes.By("app", a.GUID)
	first := *old
	o.Size(&first)
	first.Instances = old.Instances
	for _, p := range original {
		if p.Type == "web" {
			first.Instances = p.Instances
			break
		}
	}
	if before := runtime.Deploying(tx, a.GUID); before != nil {
		first.Instances = before.Original
	}
	d.Original, d.Target = first.Instances, first.Instances
	if o.WebInstances != nil {
		d.Target = *o.WebInstances
	}
	if d.Strategy == "canary" {
		d.Step = 1
	}
	first.Instances = min(d.MaxInFlight, goal(d))
	return refuse(tx, a, runtime.QuotaProblems(tx, a, nil, &first))
}

// refuse says which quota is to blame.
func refuse(tx *cc.Tx, a *world.App, problems []string) error {
	if problems == nil {
		return nil
	}
	text := strings.Join(problems, ", ")
	var kind, name string
	s, _ := tx.W.Spaces.Get(a.Space)
	switch {
	case strings.Contains(text, "space_quota_exceeded"), strings.Contains(text, "space_app_instance_limit_exceeded"):
		kind, name = "space", s.Name
	case strings.Contains(text, "quota_exceeded"), strings.Contains(text, "app_instance_limit_exceeded"):
		kind = "organization"
		if o, ok := tx.W.Orgs.Get(s.Org); ok {
			name = o.Name
		}
	default:
		return cc.Unprocessable("%s", text)
	}
	return cc.Unprocessable("%s for %s %s. This %s's quota may not be large enough to support rolling deployments or your configured max-in-flight.",
		text, kind, name, kind)
}
