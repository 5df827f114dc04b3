package staging

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerBuilds(s *cc.Server) {
	s.Read("GET /v3/builds", listBuilds)
	s.Write("POST /v3/builds", createBuild)
	s.Read("GET /v3/builds/{guid}", showBuild)
	s.Write("PATCH /v3/builds/{guid}", updateBuild)
	s.Read("GET /v3/apps/{guid}/builds", appBuilds)
	s.When("build.done", buildDone)
}

func buildList(extra ...cc.Filter[*world.Build]) *cc.List[*world.Build] {
	return &cc.List[*world.Build]{
		Filters: append(extra,
			cc.In("states", func(_ *cc.Req, b *world.Build) string { return b.State }),
			cc.Labels[*world.Build]()),
		Show: func(q *cc.Req, b *world.Build) any { return presentBuild(q, b) },
	}
}

var (
	builds = buildList(
		cc.In("app_guids", func(_ *cc.Req, b *world.Build) string { return b.App }),
		cc.In("package_guids", func(_ *cc.Req, b *world.Build) string { return b.Package }))
	buildsOfApp = buildList()
)

func listBuilds(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return builds.Answer(q, q.W.Builds.All(), func(b *world.Build) bool { return sees.Space(spaceOf(q, b.App)) })
}

func appBuilds(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.Find(q)
	if err != nil {
		return nil, err
	}
	return buildsOfApp.Answer(q, slices.Values(q.W.Builds.By("app", a.GUID)), nil)
}

func presentBuild(q *cc.Req, b *world.Build) tree.Obj {
	self := "/v3/builds/" + b.GUID
	links := tree.O("self", q.Link(self), "app", q.Link("/v3/apps/"+b.App))
	var droplet any
	if b.Droplet != "" {
		droplet = tree.O("guid", b.Droplet)
		links.Set("droplet", q.Link("/v3/droplets/"+b.Droplet))
	}
	return cc.Head(&b.Base,
		"state", b.State, "staging_memory_in_mb", b.Memory, "staging_disk_in_mb", b.Disk, "staging_log_rate_limit_bytes_per_second", b.LogRate,
		"error", cc.OrNil(b.Error), "lifecycle", apps.PresentLifecycle(b.Lifecycle, b.Buildpacks, b.Stack),
		"package", tree.O("guid", b.Package), "droplet", droplet,
		"created_by", tree.O("guid", b.Actor.GUID, "name", cc.OrNil(b.Actor.User), "email", cc.OrNil(b.Actor.Name)),
		"relationships", tree.O("app", cc.One(b.App)), "metadata", cc.Meta(&b.Base), "links", links)
}

func findBuild(q *cc.Req) (*world.Build, error) {
	if b, ok := q.W.Builds.Get(q.Var("guid")); ok && appOf(q, b.App) != nil {
		return b, nil
	}
	return nil, cc.NotFound("Build")
}

func showBuild(q *cc.Req) (*cc.Reply, error) {
	b, err := findBuild(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentBuild(q, b)), nil
}

func updateBuild(q *cc.Req) (*cc.Reply, error) {
	b, err := findBuild(q)
	if err != nil {
		return nil, err
	}
	if err := patchMeta(q, &b.Base, b.App); err != nil {
		return nil, err
	}
	return cc.OK(presentBuild(q, b)), nil
}

func createBuild(q *cc.Req) (*cc.Reply, error) {
	o, err := q.JSON()
	if err != nil {
		return nil, err
	}
	b := &cc.Body{Obj: o} // the checks in the controller's order
	disk := apps.Whole(b, "staging_disk_in_mb", 1, "greater than 0", math.MaxInt64)
	memory := apps.Whole(b, "staging_memory_in_mb", 1, "greater than 0", math.MaxInt64)
	logs := apps.Whole(b, "staging_log_rate_limit_bytes_per_second", -1, "greater than or equal to -1", math.MaxInt64)
	if u := cc.UnknownFields(o, "package", "lifecycle", "environment_variables", "staging_memory_in_mb", "staging_disk_in_mb",
		"staging_log_rate_limit_bytes_per_second", "metadata"); u != "" {
		b.Add("%s", u)
	}
	l := apps.ReadBuildLifecycle(b)
	guid, isText := b.Path("package", "guid").(string)
	if guid == "" {
		b.Add("Package guid can't be blank")
	}
	if !isText {
		b.Add("Package guid must be a string")
	}
	if n := len(guid); n < 1 || n > 200 {
		b.Add("Package guid must be between 1 and 200 characters")
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	p, ok := q.W.Packages.Get(guid)
	var a *world.App
	if ok {
		a = appOf(q, p.App)
	}
	var suspended *cc.Error
	if a == nil {
		err = cc.NotAuthorized()
	} else {
		err = q.MayWriteSpace(a.Space, world.SpaceDeveloper, world.SpaceSupporter)
	}
	switch {
	case err == nil:
	case errors.As(err, &suspended) && suspended.Title == cc.OrgSuspended().Title:
		return nil, err
	default:
		return nil, cc.Unprocessable("Unable to use package. Ensure that the package exists and you have access to it.")
	}
	if p.State != world.Ready {
		return nil, cc.BadRequest("Cannot stage package whose state is not ready.")
	}
	if a.Lifecycle == world.Docker {
		if err := q.FeatureForAll("diego_docker"); err != nil {
			return nil, err
		}
	}
	if err := l.Check(&q.Tx, a.Stack); err != nil {
		return nil, err
	}
	for _, other := range q.W.Builds.By("app", a.GUID) {
		if other.State == world.Staging {
			return nil, cc.NewError(422, 170017, "StagingInProgress", "Only one build can be STAGING at a time per application.")
		}
	}
	if err := m.Check(&world.Base{}); err != nil {
		return nil, err
	}
	build := &world.Build{
		Base: q.W.Base(), App: a.GUID, Package: p.GUID, State: world.Staging, Lifecycle: a.Lifecycle, Buildpacks: a.Buildpacks, Stack: a.Stack,
		Actor: q.Actor,
	}
	web := runtime.Process(&q.Tx, a.GUID, "web") // what nothing is asked of, the web process tells (BuildCreate#get_staging_details)
	if web != nil {
		memory, disk, logs = cmp.Or(memory, &web.Memory), cmp.Or(disk, &web.Disk), cmp.Or(logs, &web.LogRate)
	}
	build.Memory, build.Disk, build.LogRate = atLeast(memory, runtime.StagingMemory), atLeast(disk, runtime.StagingDisk), -1
	if logs != nil {
		build.LogRate = *logs
	}
	if memory != nil && *memory < runtime.StagingMemory {
		memory = nil
	}
	if why := quotas.Staging(&q.Tx, a.Space, memory, build.LogRate); why != "" {
		return nil, cc.Unprocessable("%s", why)
	}
	hangs := false
	if l != nil {
		if l.Buildpacks != nil {
			build.Buildpacks = *l.Buildpacks
		}
		if l.Stack != nil && *l.Stack != "" {
			build.Stack = *l.Stack
		}
		if l.Type == world.Docker && p.Type == "bits" { // observed fact: accepted, and never finished
			build.Buildpacks, build.Stack, hangs = nil, "", true
		}
	}
	build.Fails = runtime.Mentions(a.Env, runtime.FaultStageFail, append([]string{p.Image}, p.Faults...)...) || q.S.Fails("STAGE", a.Name)
	m.Apply(&build.Base)
	q.W.Builds.Insert(build)
	usage.Build(&q.Tx, build, "STAGING_STARTED")
	if !hangs {
		q.After(q.S.Staging, "build.done", build.GUID)
	}
	runtime.Audit(&q.Tx, a, "audit.app.build.create", tree.O("build_guid", build.GUID, "package_guid", p.GUID))
	return cc.Created(presentBuild(q, build)), nil
}

// atLeast is a requested size, but never less than the platform's minimum (observed fact).
func atLeast(v *int, lowest int) int {
	if v == nil {
		return lowest
	}
	return max(*v, lowest)
}

// buildDone finishes a build: with a droplet, or in failure.
func buildDone(tx *cc.Tx, guid string) {
	b, ok := tx.W.Builds.Get(guid)
	if !ok || b.State != world.Staging {
		return
	}
	a, ok := tx.W.Apps.Get(b.App)
	if !ok {
		return
	}
	tx.Actor = b.Actor
	tx.Touch(&b.Base)
	data := tree.O("build_guid", b.GUID, "package_guid", b.Package)
	if b.Fails {
		b.State, b.Error = world.Failed, "NoAppDetectedError - An app was not successfully detected by any available buildpack"
		data.Set("error_id", "NoAppDetectedError")
		data.Set("error_message", "staging failed")
		runtime.Audit(tx, a, "audit.app.build.failed", data)
		usage.Build(tx, b, "STAGING_STOPPED")
		return
	}
	d := stage(tx, b)
	b.State, b.Droplet = world.Staged, d.GUID
	var found any
	if b.Lifecycle != world.Docker {
		b.Buildpacks = d.Buildpacks
		found = presentBuildpacks(d)
	}
	runtime.Audit(tx, a, "audit.app.droplet.create", tree.O("droplet_guid", d.GUID, "package_guid", b.Package))
	data.Set("droplet_guid", d.GUID)
	data.Set("buildpacks", found)
	runtime.Audit(tx, a, "audit.app.build.staged", data)
	usage.Build(tx, b, "BUILDPACK_SET")
	usage.Build(tx, b, "STAGING_STOPPED")
}

// stage makes the droplet of a build.
func stage(tx *cc.Tx, b *world.Build) *world.Droplet {
	d := &world.Droplet{Base: tx.W.Base(), App: b.App, Package: b.Package, State: world.Staged, Lifecycle: b.Lifecycle, ProcessTypes: map[string]string{}}
	p, ok := tx.W.Packages.Get(b.Package)
	if !ok {
		p = &world.Package{}
	}
	if b.Lifecycle == world.Docker {
		d.Image, d.Username, d.Password = p.Image, p.Username, p.Password
		d.ProcessTypes["web"] = "/docker-cmd"
	} else {
		d.Stack, d.Buildpacks, d.Checksum, d.Bits, d.Faults = b.Stack, b.Buildpacks, p.Checksum, p.Bits, p.Faults
		if len(d.Buildpacks) == 0 {
			d.Buildpacks = []string{"sandbox_buildpack"}
		}
		d.ProcessTypes["web"] = "./start"
		for _, line := range p.Procfile {
			d.ProcessTypes[line[0]] = line[1]
		}
	}
	tx.W.Droplets.Insert(d)
	return d
}
