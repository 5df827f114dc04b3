package apps

import (
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerActions(s *cc.Server) {
	s.Write("POST /v3/apps/{guid}/actions/start", start)
	s.Write("POST /v3/apps/{guid}/actions/stop", stop)
	s.Write("POST /v3/apps/{guid}/actions/restart", restart)
	s.Write("POST /v3/apps/{guid}/actions/clear_buildpack_cache", clearCache)
	s.Read("GET /v3/apps/{guid}/relationships/current_droplet", currentDroplet)
	s.Write("PATCH /v3/apps/{guid}/relationships/current_droplet", setDroplet)
	s.Job("app.clear_buildpack_cache", func(*cc.Tx, *world.Job) error { return nil })
}

func startable(q *cc.Req) (*world.App, error) {
	a, err := FindForWrite(q, world.SpaceDeveloper, world.SpaceSupporter)
	if err != nil {
		return nil, err
	}
	if a.Droplet == "" {
		return nil, cc.Unprocessable("Assign a droplet before starting this app.")
	}
	if a.Lifecycle == world.Docker {
		if err := q.FeatureForAll("diego_docker"); err != nil {
			return nil, err
		}
	}
	if a.Started {
		return a, nil
	}
	// The limits that a stopped app does not feel are felt when it starts (observed fact).
	for _, p := range q.W.Processes.By("app", a.GUID) {
		if problems := runtime.QuotaProblems(&q.Tx, a, nil, p); problems != nil {
			return nil, cc.Unprocessable("%s", strings.Join(problems, ", "))
		}
	}
	return a, nil
}

func start(q *cc.Req) (*cc.Reply, error) {
	a, err := startable(q)
	if err != nil {
		return nil, err
	}
	runtime.StartNow(&q.Tx, a)
	runtime.Audit(&q.Tx, a, "audit.app.start", nil)
	return cc.OK(Present(q, a)), nil
}

func stop(q *cc.Req) (*cc.Reply, error) {
	a, err := FindForWrite(q, world.SpaceDeveloper, world.SpaceSupporter)
	if err != nil {
		return nil, err
	}
	runtime.Stop(&q.Tx, a)
	runtime.Audit(&q.Tx, a, "audit.app.stop", nil)
	return cc.OK(Present(q, a)), nil
}

func restart(q *cc.Req) (*cc.Reply, error) {
	a, err := startable(q)
	if err != nil {
		return nil, err
	}
	was, moved := a.Updated, a.Started
	runtime.Stop(&q.Tx, a)
	runtime.StartNow(&q.Tx, a)
	if moved {
		a.Updated = was // observed fact: a restart does not move updated_at
	}
	runtime.Audit(&q.Tx, a, "audit.app.restart", nil)
	return cc.OK(Present(q, a)), nil
}

func clearCache(q *cc.Req) (*cc.Reply, error) {
	a, err := FindForWrite(q)
	if err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "app.clear_buildpack_cache", Args: map[string]string{"guid": a.GUID}})), nil
}

func presentCurrent(q *cc.Req, a *world.App) tree.Obj {
	self := "/v3/apps/" + a.GUID
	return tree.O("data", tree.O("guid", a.Droplet), "links", tree.O(
		"self", q.Link(self+"/relationships/current_droplet"), "related", q.Link(self+"/droplets/current")))
}

func currentDroplet(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	if a.Droplet == "" {
		return nil, cc.NotFound("Droplet")
	}
	return cc.OK(presentCurrent(q, a)), nil
}

func setDroplet(q *cc.Req) (*cc.Reply, error) {
	a, err := FindForWrite(q, world.SpaceDeveloper, world.SpaceSupporter)
	if err != nil {
		return nil, err
	}
	o, err := q.JSON()
	if err != nil {
		return nil, err
	}
	if v, ok := o.Lookup("data"); ok && v == nil {
		return nil, cc.Unprocessable("Current droplet cannot be removed. Replace it with a preferred droplet.")
	}
	guid, _ := o.Path("data", "guid").(string)
	d, ok := q.W.Droplets.Get(guid)
	if !ok || d.App != a.GUID || d.State != world.Staged {
		return nil, cc.Unprocessable("Unable to assign current droplet. Ensure the droplet exists and belongs to this app.")
	}
	if runtime.Deploying(&q.Tx, a.GUID) != nil {
		return nil, cc.Unprocessable("Unable to assign current droplet while the app has a deployment in progress. Wait for the deployment to complete or cancel it.")
	}
	runtime.AssignDroplet(&q.Tx, a, d)
	return cc.OK(presentCurrent(q, a)), nil
}
