// Package apps holds applications and what belongs to them directly: environment variables, features, processes, sidecars,
// revisions, starting and stopping.
//
// What it does is also offered as functions, for manifests do the same things without a request of their own. It never
// stages (package staging) nor deploys (package rollout).
package apps

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tenancy"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/apps", listApps)
	s.Write("POST /v3/apps", createApp)
	s.Read("GET /v3/apps/{guid}", showApp)
	s.Write("PATCH /v3/apps/{guid}", updateApp)
	s.Write("DELETE /v3/apps/{guid}", deleteApp)
	s.Job("app.delete", func(tx *cc.Tx, j *world.Job) error {
		Remove(tx, j.Args["guid"])
		return nil
	})
	s.OnDelete("space", func(tx *cc.Tx, space string) {
		for _, a := range tx.W.Apps.By("space", space) {
			Remove(tx, a.GUID)
		}
	})
	registerEnv(s)
	registerFeatures(s)
	registerActions(s)
	registerProcesses(s)
	registerStats(s)
	registerSidecars(s)
	registerRevisions(s)
}

// Find is the app of the path, if the caller may see it.
func Find(q *cc.Req) (*world.App, error) { return Visible(q, q.Var("guid")) }

// Visible finds an app that the caller may see.
func Visible(q *cc.Req, guid string) (*world.App, error) {
	a, ok := q.W.Apps.Get(guid)
	if !ok || !q.ReadsSpace(a.Space) {
		return nil, cc.NotFound("App")
	}
	return a, nil
}

// FindForWrite is the app of the path, if the caller may change it with one of these roles.
func FindForWrite(q *cc.Req, roles ...string) (*world.App, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	return a, q.MayWriteSpace(a.Space, roles...)
}

var list = &cc.List[*world.App]{
	Filters: []cc.Filter[*world.App]{
		cc.Fold("names", func(_ *cc.Req, a *world.App) string { return a.Name }),
		cc.In("organization_guids", func(q *cc.Req, a *world.App) string { return OrgOf(&q.Tx, a.Space) }),
		cc.In("space_guids", func(_ *cc.Req, a *world.App) string { return a.Space }),
		cc.In("stacks", func(_ *cc.Req, a *world.App) string { return a.Stack }),
		cc.Include[*world.App]("space", "org", "space.organization"),
		{Name: "lifecycle_type", Make: byLifecycle},
		cc.Labels[*world.App](),
	},
	Orders: []cc.Order[*world.App]{
		{Name: "name", Compare: func(a, b *world.App) int { return strings.Compare(a.Name, b.Name) }},
		{Name: "state", Compare: func(a, b *world.App) int { return cmp.Compare(state(a), state(b)) }},
	},
	Show: func(q *cc.Req, a *world.App) any { return Present(q, a) },
	Included: func(q *cc.Req, include []string, rows []*world.App) tree.Obj {
		guids := make([]string, len(rows))
		for i, a := range rows {
			guids[i] = a.Space
		}
		return tenancy.SpacesAndOrgs(q, include, guids)
	},
}

// Answer lists those apps that the caller sees and that keep lets pass, under a path of another area.
func Answer(q *cc.Req, keep func(*world.App) bool) (*cc.Reply, error) {
	sees := q.Sees()
	return list.Answer(q, q.W.Apps.All(), func(a *world.App) bool { return sees.Space(a.Space) && keep(a) })
}

// OrgOf is the organization of a space.
func OrgOf(tx *cc.Tx, space string) string {
	if s, ok := tx.W.Spaces.Get(space); ok {
		return s.Org
	}
	return ""
}

func listApps(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return list.Answer(q, q.W.Apps.All(), func(a *world.App) bool { return sees.Space(a.Space) })
}

func state(a *world.App) string {
	if a.Started {
		return "STARTED"
	}
	return "STOPPED"
}

// PresentLifecycle shows how something is staged.
func PresentLifecycle(typ string, buildpacks []string, stack string) tree.Obj {
	if typ == world.Docker {
		return tree.O("type", typ, "data", tree.Obj{})
	}
	if buildpacks == nil {
		buildpacks = []string{}
	}
	shown := make([]string, len(buildpacks))
	for i, b := range buildpacks {
		shown[i] = BuildpackName(b)
	}
	return tree.O("type", typ, "data", tree.O("buildpacks", shown, "stack", cc.OrNil(stack)))
}

// BuildpackName is how a buildpack is shown: who may log in to where it comes from, and how, stays secret.
func BuildpackName(name string) string {
	u, err := url.Parse(name)
	if err != nil || u.User == nil {
		return name
	}
	_, rest, _ := strings.Cut(name, "://")
	_, rest, _ = strings.Cut(rest, "@")
	return u.Scheme + "://***:***@" + rest
}

// byLifecycle takes one type, not a list of them.
func byLifecycle(q *cc.Req, _ []string) (func(*world.App) bool, string) {
	typ := q.Query.Get("lifecycle_type")
	if !slices.Contains([]string{world.Buildpack, world.Docker, world.CNB}, typ) {
		return nil, "Invalid lifecycle_type: '" + typ + "'"
	}
	return func(a *world.App) bool { return a.Lifecycle == typ }, ""
}

// Present shows an app.
func Present(q *cc.Req, a *world.App) tree.Obj {
	self := "/v3/apps/" + a.GUID
	return cc.Head(&a.Base,
		"name", a.Name, "state", state(a), "lifecycle", PresentLifecycle(a.Lifecycle, a.Buildpacks, a.Stack),
		// Observed fact: without a droplet the relationship is {"guid": null}, not null.
		"relationships", tree.O("space", cc.One(a.Space), "current_droplet", tree.O("data", tree.O("guid", cc.OrNil(a.Droplet)))),
		"metadata", cc.Meta(&a.Base),
		"links", tree.O(
			"self", q.Link(self), "environment_variables", q.Link(self+"/environment_variables"), "space", q.Link("/v3/spaces/"+a.Space),
			"processes", q.Link(self+"/processes"), "packages", q.Link(self+"/packages"), "current_droplet", q.Link(self+"/droplets/current"),
			"droplets", q.Link(self+"/droplets"), "tasks", q.Link(self+"/tasks"),
			"start", q.Action(self+"/actions/start", "POST"), "stop", q.Action(self+"/actions/stop", "POST"),
			"clear_buildpack_cache", q.Action(self+"/actions/clear_buildpack_cache", "POST"),
			"revisions", q.Link(self+"/revisions"), "deployed_revisions", q.Link(self+"/revisions/deployed"), "features", q.Link(self+"/features")))
}

func showApp(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	inc := q.Included()
	if p := cc.IncludeProblem(inc, "space", "org", "space.organization"); p != "" {
		return nil, cc.BadQuery(p)
	}
	o := Present(q, a)
	if inc != nil {
		o.Set("included", tenancy.SpacesAndOrgs(q, inc, []string{a.Space}))
	}
	return cc.OK(o), nil
}

// ByName finds an app in a space without regard to case.
func ByName(tx *cc.Tx, space, name string) *world.App {
	for _, a := range tx.W.Apps.By("space", space) {
		if strings.EqualFold(a.Name, name) {
			return a
		}
	}
	return nil
}

// NameTaken is the error for a name that another app of the space has.
func NameTaken(name string) *cc.Error {
	return cc.NewError(422, 10016, "UniquenessError", "App with the name '%s' already exists.", name)
}

func createApp(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("name", "environment_variables", "relationships", "lifecycle", "metadata")
	if err != nil {
		return nil, err
	}
	rel := b.Relationships([]string{"space"})
	l := ReadLifecycle(b, world.Buildpack)
	name := readName(b)
	var env tree.Obj
	if v := b.Get("environment_variables"); v != nil {
		var ok bool
		if env, ok = v.(tree.Obj); !ok {
			b.Add("Environment variables must be an object")
		}
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	sp, err := q.BodySpace(cc.RelGUID(rel, "space"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(sp.GUID); err != nil {
		return nil, err
	}
	if l != nil && l.Type == world.Docker {
		if err := q.FeatureForAll("diego_docker"); err != nil {
			return nil, err
		}
	}
	if l != nil && l.Type == world.CNB {
		if err := q.FeatureForAll("diego_cnb"); err != nil {
			return nil, err
		}
	}
	if err := l.Check(&q.Tx, DefaultStack(&q.Tx)); err != nil {
		return nil, err
	}
	if p := l.Admit(&q.Tx); p != "" {
		return nil, cc.Unprocessable("%s", p)
	}
	if p := ReservedEnv(env); p != nil {
		for i := range p {
			p[i] = `environment_variables {:message=>"` + p[i] + `"}`
		}
		return nil, cc.Unprocessable("%s", strings.Join(p, ", "))
	}
	if name == "" {
		return nil, cc.Unprocessable("name presence, name format")
	}
	if ByName(&q.Tx, sp.GUID, name) != nil {
		return nil, NameTaken(name)
	}
	if err := m.Check(&world.Base{}); err != nil {
		return nil, err
	}
	request := b.Clone()
	if request.Has("environment_variables") {
		request.Set("environment_variables", Hidden)
	}
	a := Create(&q.Tx, New{Name: name, Space: sp.GUID, Lifecycle: l, Meta: m}, tree.O("request", request))
	if b.Get("environment_variables") != nil {
		a.Env = MergeVars(nil, env)
	}
	return cc.Created(Present(q, a)), nil
}

func readName(b *cc.Body) string {
	name, ok := b.Str("name")
	if !ok {
		b.Add("Name must be a string")
	}
	if len([]rune(name)) > 255 {
		b.Add("Name is too long (maximum is 255 characters)")
	}
	return name
}

// New is what a new app begins with.
type New struct {
	Name, Space string
	Lifecycle   *Lifecycle
	Meta        cc.Metadata
}

// Create makes an app with its web process. Everything must have been checked; data is that of audit.app.create.
func Create(tx *cc.Tx, n New, data tree.Obj) *world.App {
	a := &world.App{Base: tx.W.Base(), Name: n.Name, Space: n.Space, Lifecycle: world.Buildpack}
	a.Created, a.Updated = tx.Now, tx.Now
	if n.Lifecycle != nil && n.Lifecycle.Type != "" {
		a.Lifecycle = n.Lifecycle.Type
	}
	if a.Lifecycle != world.Docker {
		a.Stack = DefaultStack(tx)
	}
	n.Lifecycle.apply(a)
	n.Meta.Apply(&a.Base)
	tx.W.Apps.Insert(a)
	p := runtime.NewProcess(tx, a, "web")
	event := tree.O("process_guid", p.GUID, "process_type", "web")
	runtime.Audit(tx, a, "audit.app.process.create", event)
	runtime.Audit(tx, a, "audit.app.create", data)
	return a
}

func (l *Lifecycle) apply(a *world.App) {
	if l == nil || a.Lifecycle == world.Docker {
		return
	}
	if l.Buildpacks != nil {
		a.Buildpacks = *l.Buildpacks
	}
	if l.Stack != nil {
		a.Stack = *l.Stack
	}
}

// CheckType refuses another lifecycle type than the app has.
func (l *Lifecycle) CheckType(a *world.App) error {
	if l != nil && l.Type != "" && l.Type != a.Lifecycle {
		return cc.Unprocessable("Lifecycle type cannot be changed from %s to %s", a.Lifecycle, l.Type)
	}
	return nil
}

func updateApp(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("name", "lifecycle", "metadata")
	if err != nil {
		return nil, err
	}
	// The shape of the body is checked before the app is looked up, as the controller does.
	l := ReadLifecycle(b, world.Buildpack)
	name, hasName := "", b.Has("name")
	if b.Get("name") != nil {
		name = readName(b)
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	a, err := FindForWrite(q)
	if err != nil {
		return nil, err
	}
	if err := l.CheckType(a); err != nil {
		return nil, err
	}
	if err := l.Check(&q.Tx, a.Stack); err != nil {
		return nil, err
	}
	if hasName {
		if name == "" {
			return nil, cc.Unprocessable("name presence, name format")
		}
		if other := ByName(&q.Tx, a.Space, name); other != nil && other != a {
			e := NameTaken(name)
			e.Code, e.Title = 10008, "UnprocessableEntity" // observed fact: not the code of a creation
			return nil, e
		}
	}
	if err := m.Check(&a.Base); err != nil {
		return nil, err
	}
	if hasName {
		a.Name = name
	}
	Update(&q.Tx, a, l, m, tree.O("request", b.Obj))
	return cc.OK(Present(q, a)), nil
}

// Update changes lifecycle and metadata, which must have been checked. The event is left even if nothing differs.
func Update(tx *cc.Tx, a *world.App, l *Lifecycle, m cc.Metadata, data tree.Obj) {
	l.apply(a)
	m.Apply(&a.Base)
	tx.Touch(&a.Base)
	runtime.Audit(tx, a, "audit.app.update", data)
}

func deleteApp(q *cc.Req) (*cc.Reply, error) {
	a, err := FindForWrite(q)
	if err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "app.delete", Args: map[string]string{"guid": a.GUID}})), nil
}

// Remove takes an app away with all that belongs to it; its routes stay.
func Remove(tx *cc.Tx, guid string) {
	a, ok := tx.W.Apps.Get(guid)
	if !ok {
		return
	}
	tx.Gone("app", guid) // bindings and destinations, each with its event
	runtime.Audit(tx, a, "audit.app.delete-request", nil)
	drop(tx.W.Processes, guid)
	drop(tx.W.Sidecars, guid)
	drop(tx.W.Packages, guid)
	drop(tx.W.Builds, guid)
	drop(tx.W.Droplets, guid)
	drop(tx.W.Revisions, guid)
	drop(tx.W.Tasks, guid)
	drop(tx.W.Deployments, guid)
	tx.W.Apps.Delete(guid)
}

func drop[R world.Row](t *world.Table[R], app string) {
	for _, r := range t.By("app", app) {
		t.Delete(r.Head().GUID)
	}
}
