package cloudfoundry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

const (
	defaultRolloutTimeout = 10 * time.Minute
	defaultSettle         = 2 * time.Second
)

// Values of the Spec key "rollout".
const (
	rolloutComplete   = "complete"
	rolloutInProgress = "in progress"
	rolloutPending    = "pending restart"
)

// rollOut makes the app run what was configured and staged: by starting it, by a deployment, or not at all where
// the platform has done so by itself.
func (r *appRun) rollOut(ctx context.Context) error {
	switch {
	case !r.wantsStarted():
		if r.droplet == "" {
			return nil
		}
		return r.setDroplet(ctx, r.droplet) // there for when it starts again
	case !r.started:
		return r.start(ctx)
	case !r.rollsOut():
		return nil
	case r.settings.Strategy == "recreate":
		return r.recreate(ctx)
	}
	return r.deploy(ctx)
}

// rollsOut reports whether new instances will come up.
func (r *appRun) rollsOut() bool {
	return r.wantsStarted() && (!r.started || r.droplet != "" || r.wantsRestart())
}

// stop is for apps that Git wants stopped. They stay so whatever fails afterwards.
func (r *appRun) stop(ctx context.Context) error {
	if r.wantsStarted() || !r.started {
		return nil
	}
	r.say("stopping")
	return r.action(ctx, "stopping", "/v3/apps/"+r.guid+"/actions/stop")
}

// start sets the droplet of an app that does not run, starts it, and waits for its instances.
func (r *appRun) start(ctx context.Context) error {
	if r.droplet != "" {
		current, err := r.currentDroplet(ctx)
		if err != nil {
			return err
		}
		if r.previous == "" { // else a killed run got as far as setting the new one, perhaps
			r.previous = current
		}
		if r.droplet != current {
			if err := r.setDroplet(ctx, r.droplet); err != nil {
				return err
			}
		}
	}
	r.say("starting")
	if err := r.action(ctx, "starting", "/v3/apps/"+r.guid+"/actions/start"); err != nil {
		return err
	}
	return r.awaitStart(ctx)
}

// currentDroplet is the guid of the droplet that the app is set to, "" if there is none.
func (r *appRun) currentDroplet(ctx context.Context) (string, error) {
	if r.live == nil {
		return "", nil
	}
	var current ccv3.ToOne
	err := r.get(ctx, "looking for the current droplet", "/v3/apps/"+r.guid+"/relationships/current_droplet", &current)
	if err != nil && !ccv3.IsNotFound(err) { // 404: none was ever set
		return "", err
	}
	return current.GUID(), nil
}

// awaitStart waits until every instance of the started app runs; an app that does not come up is stopped again.
func (r *appRun) awaitStart(ctx context.Context) error {
	v := r.newVigil("starting")
	err := v.comesUp(ctx)
	if err == nil {
		err = v.stays(ctx, r.processPaths(""), "")
	}
	if err != nil {
		return r.notStarted(ctx, err)
	}
	return nil
}

// comesUp waits until every instance of an app that was just started runs.
func (v *vigil) comesUp(ctx context.Context) error {
	for {
		ok, err := v.look(ctx, v.r.processPaths(""))
		if err != nil || ok {
			return err
		}
		v.r.say(fmt.Sprintf("%s: %s", v.doing, v.count("run")))
		if err := v.wait(ctx); err != nil {
			return err
		}
	}
}

func (r *appRun) setDroplet(ctx context.Context, guid string) error {
	return r.do(ctx, "setting the droplet", http.MethodPatch, "/v3/apps/"+r.guid+"/relationships/current_droplet", ccv3.To(guid))
}

// action posts to an action that may be repeated. A runtime that cannot be reached answers 503 after a minute,
// though the change is stored (observed); asked again, the answer is the same as if nothing had happened.
func (r *appRun) action(ctx context.Context, doing, path string) error {
	return r.do(ctx, doing, http.MethodPost, path, ccv3.Body{ContentType: "application/json", Repeatable: true})
}

// deploy rolls out the droplet, or the changed configuration with the current one, and watches it.
func (r *appRun) deploy(ctx context.Context) error {
	body := r.belonging(r.strategy())
	if r.droplet != "" {
		body["droplet"] = map[string]any{"guid": r.droplet}
	}
	r.note(body, map[string]string{pendingAnnotation: r.pending})
	var dep ccv3.Deployment
	err := r.once(ctx, "starting the rollout", func(ctx context.Context) error {
		_, err := r.d.client.Do(ctx, http.MethodPost, "/v3/deployments", body, &dep)
		return err
	}, func(ctx context.Context) (bool, error) {
		found, err := r.deployment(ctx, func(d *ccv3.Deployment) bool { return r.isOurs(d) })
		if found != nil {
			dep = *found
		}
		return found != nil, err
	})
	if err != nil {
		return r.refused(err)
	}
	return r.supervise(ctx, &dep)
}

// refused tells in what state an app is left whose deployment the controller did not take: the change stays, marked as pending.
func (r *appRun) refused(err error) error {
	var e *platform.Error
	if errors.As(err, &e) && r.changed {
		e.Message += "; the new configuration is stored, and no instance runs it yet: the next run completes it"
	}
	return err
}

// isOurs reports whether d delivers the change that is pending.
func (r *appRun) isOurs(d *ccv3.Deployment) bool {
	return r.pending != "" && d.Metadata.Annotation(pendingAnnotation) == r.pending
}

// deployment finds the newest deployment that matches, or nil.
func (r *appRun) deployment(ctx context.Context, match func(*ccv3.Deployment) bool) (*ccv3.Deployment, error) {
	all, _, err := ccv3.List[ccv3.Deployment](ctx, r.d.client, "/v3/deployments", url.Values{"app_guids": {r.guid}, "order_by": {"-created_at"}})
	for i := range all {
		if match(&all[i]) {
			return &all[i], err
		}
	}
	return nil, err
}

// supervise watches a deployment of ours to its good end, or takes it back.
func (r *appRun) supervise(ctx context.Context, dep *ccv3.Deployment) error {
	r.deployed = dep
	err := r.watch(ctx, dep)
	var e *platform.Error
	if errors.As(err, &e) && e.Class == platform.Rollout {
		return r.rollBack(ctx, dep, e)
	}
	return err
}

// watch follows a deployment until it is done and its instances have run for a moment. The controller never gives
// up a deployment by itself (observed), so the verdict is ours: instances that crash twice, or no progress
// within the limit.
func (r *appRun) watch(ctx context.Context, dep *ccv3.Deployment) error {
	const doing = "rolling out"
	v := r.newVigil(doing)
	for {
		web := newWeb(dep)
		v.web = web
		switch {
		case dep.Status.Value == "FINALIZED" && dep.Status.Reason == "DEPLOYED":
			return v.stays(ctx, r.processPaths(web), web)
		case dep.Status.Value == "FINALIZED" && dep.Status.Reason == "SUPERSEDED":
			return &platform.Error{
				Class: platform.Unavailable, Ref: r.step.Ref, Origin: r.app.Origin, Doing: doing,
				Message: "another deployment of the app took the place of this one", Hint: "see who deploys it besides Fettle; the next run looks again",
			}
		case dep.Status.Value == "FINALIZED":
			return &platform.Error{
				Class: platform.Rollout, Ref: r.step.Ref, Origin: r.app.Origin, Doing: doing,
				Message: "the deployment was cancelled by somebody else", Hint: fmt.Sprintf("the app's events say by whom: cf events %s", r.step.Ref.Name()),
			}
		}
		if dep.Status.Reason == "PAUSED" {
			if err := r.atStep(ctx, v, dep); err != nil {
				return err
			}
			continue
		}
		if web != "" && dep.Status.Reason != "CANCELING" {
			if _, err := v.look(ctx, []string{"/v3/processes/" + web}); err != nil && !ccv3.IsNotFound(err) {
				return err
			}
			r.say(fmt.Sprintf("rolling out: %s", v.count("run the new version")))
		}
		if err := v.wait(ctx); err != nil {
			return err
		}
		if err := r.get(ctx, doing, "/v3/deployments/"+dep.GUID, dep); err != nil {
			return err
		}
	}
}

// newWeb is the guid of the process that a deployment brings up.
func newWeb(dep *ccv3.Deployment) string {
	for _, p := range dep.NewProcesses {
		if p.Type == "web" {
			return p.GUID
		}
	}
	return ""
}

// processPaths are the processes that have to run in the end: web, under its own guid where it is known, and every
// other one that has instances.
func (r *appRun) processPaths(web string) []string {
	counts := r.instances()
	paths := []string{"/v3/apps/" + r.guid + "/processes/web"}
	if web != "" {
		paths[0] = "/v3/processes/" + web
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if name != "web" && counts[name] > 0 {
			paths = append(paths, "/v3/apps/"+r.guid+"/processes/"+url.PathEscape(name))
		}
	}
	return paths
}

// instances says how many instances each process type is to have.
func (r *appRun) instances() map[string]int64 {
	counts := map[string]int64{"web": 1}
	for _, o := range []*manifest.Object{r.live, r.app} { // what is declared wins
		if o == nil {
			continue
		}
		processes, _ := o.Spec["processes"].(map[string]any)
		for name, p := range processes {
			m, _ := p.(map[string]any)
			if n, ok := m["instances"].(int64); ok {
				counts[name] = n
			}
		}
	}
	for _, c := range r.changesBelow("processes") {
		if keys := manifest.SplitPointer(c.Path); len(keys) == 2 && c.Value == nil {
			counts[keys[1]] = 0
		}
	}
	return counts
}

// vigil watches instances come up.
type vigil struct {
	r        *appRun
	doing    string
	limit    time.Duration
	deadline time.Time
	pace     pace

	running, total, best int
	want                 int // instances of the web process in the end
	crashes              int
	last                 string // what is known of the instance that fares worst
	web, worst           string // guid of the new web process, where it is known; type of the process of that instance
}

func (r *appRun) newVigil(doing string) *vigil {
	limit := r.limit()
	return &vigil{
		r: r, doing: doing, limit: limit, deadline: time.Now().Add(limit), pace: newPace(),
		want: int(r.instances()["web"]),
	}
}

// look reads the state of every instance once. It reports whether all of them run, and gives the verdict when one
// was seen crashed for the second time.
func (v *vigil) look(ctx context.Context, processes []string) (bool, error) {
	v.running, v.total, v.last, v.worst = 0, 0, "", ""
	for _, p := range processes {
		var stats struct {
			Resources []ccv3.InstanceStats `json:"resources"`
		}
		if err := v.r.get(ctx, v.doing, p+"/stats", &stats); err != nil {
			return false, err
		}
		for _, i := range stats.Resources {
			v.total++
			switch i.State {
			case "RUNNING":
				v.running++
				continue
			case "CRASHED":
				v.crashes++
			}
			if v.last == "" || i.State == "CRASHED" {
				v.worst = cmp.Or(i.Type, "web")
				v.last = fmt.Sprintf("instance %d of process %s is %s", i.Index, v.worst, i.State)
				if i.Details != "" {
					v.last += ": " + i.Details
				}
			}
		}
	}
	if v.running > v.best {
		v.best, v.deadline = v.running, time.Now().Add(v.limit)
	}
	if v.crashes >= 2 && strings.Contains(v.last, "CRASHED") {
		return false, v.verdict(ctx, v.last)
	}
	return v.running == v.total, nil
}

// stays looks once more after a moment, for an app may start well and fall over right away; then it asks the app itself,
// where Git says how. web is the guid of the new web process where it is known.
func (v *vigil) stays(ctx context.Context, processes []string, web string) error {
	settle := v.r.settle()
	v.r.say(fmt.Sprintf("%s: every instance runs; watching for %s whether they stay", v.doing, settle))
	if err := sleepFor(ctx, settle); err != nil {
		return err
	}
	for {
		ok, err := v.look(ctx, processes)
		if err != nil {
			return err
		}
		if ok {
			return v.probe(ctx, web)
		}
		if err := v.wait(ctx); err != nil {
			return err
		}
	}
}

// wait until it is time to look again; the verdict when the limit is over.
func (v *vigil) wait(ctx context.Context) error {
	if time.Now().After(v.deadline) {
		return v.verdict(ctx, cmp.Or(v.last, v.count("run"))+fmt.Sprintf("; no progress within %s", v.limit))
	}
	return v.pace.wait(ctx)
}

// count reads "1 of 2 instances run the new version".
func (v *vigil) count(verb string) string {
	total := max(v.total, v.want)
	return fmt.Sprintf("%d of %d %s %s", v.running, total, plural(total, "instance", "instances"), verb)
}

func (v *vigil) verdict(ctx context.Context, why string) *platform.Error {
	kind := cmp.Or(v.worst, "web")
	t := tail{since: v.r.began, sources: []string{"APP/PROC/" + strings.ToUpper(kind), "HEALTH"}}
	if kind == "web" {
		t.process = v.web
	}
	return v.r.addTail(ctx, &platform.Error{
		Class: platform.Rollout, Ref: v.r.step.Ref, Origin: v.r.app.Origin, Doing: v.doing, Message: why,
		Hint: fmt.Sprintf("the app's log says why: cf logs %s --recent", v.r.step.Ref.Name()),
	}, t)
}

func sleepFor(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	p := pace{next: d, longest: d}
	return p.wait(ctx)
}
