// Package manifests applies, generates and compares app manifests, with the controller's semantics, quirks included.
//
// A request to apply is checked as a whole, makes the apps that do not exist, and leaves the rest to a job. The job takes
// the apps one by one, each in the same order: features, processes, sidecars, app, routes, environment, services. It stops
// at the first failure and undoes nothing.
package manifests

import (
	"errors"
	"mime"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/services"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Write("POST /v3/spaces/{guid}/actions/apply_manifest", apply)
	s.Read("POST /v3/spaces/{guid}/manifest_diff", diff)
	s.Read("GET /v3/apps/{guid}/manifest", generate)
	s.Job("space.apply_manifest", work)
}

const noApplications = "Cannot parse manifest with no 'applications' field."

// parse reads the body as a manifest: the raw entries of its applications.
func parse(q *cc.Req) ([]tree.Obj, error) {
	ct, _, _ := mime.ParseMediaType(q.HTTP.Header.Get("Content-Type"))
	switch ct {
	case "application/x-yaml", "text/yaml":
	case "application/json", "":
		return nil, cc.ParseError()
	default:
		return nil, cc.BadRequest("Content-Type must be yaml")
	}
	v, err := psych.Parse(q.Text())
	switch {
	case errors.Is(err, psych.ErrAlias):
		return nil, cc.BadRequest("Manifest does not support Anchors and Aliases")
	case errors.Is(err, psych.ErrEmpty):
		return nil, cc.ParseError()
	case err != nil:
		return nil, cc.Unknown() // observed fact: what is no YAML breaks the controller
	}
	o, ok := v.(tree.Obj)
	if !ok {
		return nil, cc.ParseError()
	}
	switch o.Get("version") {
	case nil, false, int64(1), 1.0:
	default:
		return nil, cc.Unprocessable("Unsupported manifest schema version. Currently supported versions: [1].")
	}
	list := o.Get("applications")
	if blank(list) {
		return nil, cc.Unprocessable(noApplications)
	}
	l, ok := list.([]any)
	if !ok {
		return nil, cc.Unknown()
	}
	out := make([]tree.Obj, len(l))
	for i := range l {
		if out[i], ok = l[i].(tree.Obj); !ok {
			return nil, cc.Unknown()
		}
	}
	return out, nil
}

// blank is what Ruby on Rails calls so.
func blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		return len(v) == 0
	case tree.Obj:
		return len(v) == 0
	}
	return false
}

// readAll understands all entries; what is wrong with any of them stops everything, one error each.
func readAll(q *cc.Req, raw []tree.Obj) ([]*entry, error) {
	var out []*entry
	var texts []string
	for i, o := range raw {
		e, err := read(&q.Tx, o, i)
		if err != nil {
			return nil, cc.Unknown()
		}
		for _, p := range e.problems {
			texts = append(texts, e.label()+p)
		}
		out = append(out, e)
	}
	return out, many(texts)
}

func many(texts []string) error {
	if texts == nil {
		return nil
	}
	err := cc.Unprocessable("%s", texts[0])
	for _, t := range texts[1:] {
		err.More = append(err.More, cc.Detail{Code: err.Code, Title: err.Title, Detail: t})
	}
	return err
}

// clashes says why the entry is not for an app of that kind, "" when it is.
func (e *entry) clashes(a *world.App) string {
	o := canonical(e.raw)
	set := func(key string) bool { v := o.Get(key); return v != nil && v != false }
	switch {
	case a.Lifecycle == world.Docker && set("buildpacks"):
		return "Buildpacks cannot be configured for a docker lifecycle app."
	case a.Lifecycle == world.Docker && set("buildpack"):
		return "Buildpack cannot be configured for a docker lifecycle app."
	case a.Lifecycle == world.Buildpack && set("docker"):
		return "Docker cannot be configured for a buildpack lifecycle app."
	}
	return ""
}

// cannotCreate says why the app cannot be created, "" when it can.
func (e *entry) cannotCreate(tx *cc.Tx) string {
	if e.lifecycle == nil {
		return ""
	}
	var names []string
	if e.lifecycle.Buildpacks != nil {
		names = *e.lifecycle.Buildpacks
	}
	for _, b := range names {
		if apps.BuildpackProblem(tx, b, "") != "" {
			return `Specified unknown buildpack name: "` + b + `"`
		}
	}
	if s := e.lifecycle.Stack; s != nil {
		if p := apps.StackProblem(tx, *s, true); p != "" {
			return p
		}
	}
	for _, b := range names {
		if apps.Unready(tx, b) {
			return `"` + b + `" must be in ready state`
		}
	}
	return ""
}

func apply(q *cc.Req) (*cc.Reply, error) {
	space, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(space.GUID); err != nil {
		return nil, err
	}
	raw, err := parse(q)
	if err != nil {
		return nil, err
	}
	entries, err := readAll(q, raw)
	if err != nil {
		return nil, err
	}
	// The same app twice: it is applied once, as the last entry says.
	var order []string
	last := map[string]*entry{}
	for _, e := range entries {
		a := apps.ByName(&q.Tx, space.GUID, e.name)
		if a == nil {
			if p := e.cannotCreate(&q.Tx); p != "" {
				return nil, cc.Unprocessable("%s%s", e.label(), p)
			}
			a = e.create(&q.Tx, space)
		}
		if p := e.clashes(a); p != "" {
			return nil, cc.Unprocessable("%s%s", e.label(), p)
		}
		if last[a.GUID] == nil {
			order = append(order, a.GUID)
		}
		last[a.GUID] = e
	}
	payload := tree.Obj{}
	for _, guid := range order {
		a, _ := q.W.Apps.Get(guid)
		payload = append(payload, tree.Field{Key: guid, Value: last[guid].raw})
		shown := last[guid].raw.Clone()
		if shown.Has("env") {
			shown.Set("env", apps.Hidden)
		}
		text := psych.Emit(tree.O("applications", []any{shown}))
		runtime.Audit(&q.Tx, a, "audit.app.apply_manifest", tree.O("request", tree.O("manifest", text)))
	}
	j := q.StartJob(cc.JobSpec{
		Operation: "space.apply_manifest", Link: "space", LinkPath: "/v3/spaces/" + space.GUID,
		Args: map[string]string{"admin": boolText(q.Admin())}, Payload: tree.JSON(payload),
	})
	return cc.AcceptedJob(j), nil
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return ""
}

// create makes a bare app with name, labels and lifecycle. Its stack is not checked (observed fact): the job does that.
func (e *entry) create(tx *cc.Tx, space *world.Space) *world.App {
	request := tree.O("name", e.name, "relationships", tree.O("space", cc.One(space.GUID)))
	l := e.lifecycle
	if l == nil {
		l = &apps.Lifecycle{}
	}
	if e.docker {
		l = &apps.Lifecycle{Type: world.Docker}
	}
	if lc := e.lifecycleRequest(); lc != nil {
		request.Set("lifecycle", lc)
	}
	if e.hasMeta {
		request.Set("metadata", e.raw.Get("metadata"))
	}
	return apps.Create(tx, apps.New{Name: e.name, Space: space.GUID, Lifecycle: l, Meta: e.meta}, tree.O("request", request))
}

// lifecycleRequest is the lifecycle as events say it: the given parts only.
func (e *entry) lifecycleRequest() tree.Obj {
	l := e.lifecycle
	if l == nil {
		return nil
	}
	if e.docker {
		return tree.O("type", world.Docker)
	}
	o := tree.Obj{}
	if l.Type != "" {
		o.Set("type", l.Type)
	}
	data := tree.Obj{}
	if l.Buildpacks != nil {
		data.Set("buildpacks", *l.Buildpacks)
	}
	if l.Stack != nil {
		data.Set("stack", *l.Stack)
	}
	if len(data) == 0 && l.Type == "" {
		return nil
	}
	if len(data) > 0 || l.Type != "" {
		o.Set("data", data)
	}
	return o
}

// work is the job.
func work(tx *cc.Tx, j *world.Job) error {
	v, err := tree.Parse(j.Payload)
	if err != nil {
		return err
	}
	todo, _ := v.(tree.Obj)
	for i, f := range todo {
		a, ok := tx.W.Apps.Get(f.Key)
		raw, _ := f.Value.(tree.Obj)
		if !ok {
			continue
		}
		e, err := read(tx, raw, i)
		if err != nil {
			return cc.Unknown()
		}
		if err := e.apply(tx, a); err != nil {
			return e.named(err)
		}
	}
	return nil
}

// named puts the name of the app before the text of an error, save for those that say nothing of their own.
func (e *entry) named(err error) error {
	var x *cc.Error
	if !errors.As(err, &x) || x.Code == 10003 || x.Code == 10001 {
		return err
	}
	n := *x
	n.Detail = e.label() + n.Detail
	return &n
}

func (e *entry) apply(tx *cc.Tx, a *world.App) error {
	for _, step := range []func(*cc.Tx, *world.App) error{
		e.applyFeatures, e.applyProcesses, e.applySidecars, e.applyApp, e.applyRoutes, e.applyEnv, e.applyServices,
	} {
		if err := step(tx, a); err != nil {
			return err
		}
	}
	return nil
}

func (e *entry) applyFeatures(tx *cc.Tx, a *world.App) error {
	after := *a
	for _, f := range e.features {
		if x, err := apps.FindFeature(f.Key); err == nil {
			on, _ := f.Value.(bool)
			x.Set(&after, on)
		}
	}
	if after.BindingK8s && after.FileBased {
		return cc.Unprocessable("'file-based-vcap-services' and 'service-binding-k8s' features cannot be enabled at the same time.")
	}
	for _, f := range e.features {
		if x, err := apps.FindFeature(f.Key); err == nil {
			on, _ := f.Value.(bool)
			x.Set(a, on)
		}
	}
	if len(e.features) > 0 {
		tx.Touch(&a.Base)
	}
	return nil
}

func (e *entry) applyProcesses(tx *cc.Tx, a *world.App) error {
	for _, p := range e.processes {
		if !p.updates {
			continue
		}
		target := runtime.Process(tx, a.GUID, p.typ)
		if target == nil {
			target = runtime.NewProcess(tx, a, p.typ)
			runtime.Audit(tx, a, "audit.app.process.create", apps.Triggered(tree.O("process_guid", target.GUID, "process_type", p.typ), true))
		}
		if err := p.update.Check(tx, target); err != nil {
			return err
		}
		p.update.Apply(tx, a, target, p.request, true)
	}
	for _, p := range e.processes {
		if !p.sized {
			continue
		}
		target := runtime.Process(tx, a.GUID, p.typ)
		if target == nil {
			target = runtime.NewProcess(tx, a, p.typ)
			runtime.Audit(tx, a, "audit.app.process.create", apps.Triggered(tree.O("process_guid", target.GUID, "process_type", p.typ), true))
		}
		if err := p.scale.Check(tx, a, target); err != nil {
			return err
		}
		p.scale.Apply(tx, a, target, true)
	}
	return nil
}

func (e *entry) applySidecars(tx *cc.Tx, a *world.App) error {
	for _, s := range e.sidecars {
		var have *world.Sidecar
		for _, x := range tx.W.Sidecars.By("app", a.GUID) {
			if x.Name == s.name {
				have = x
			}
		}
		want := world.Sidecar{Base: tx.W.Base(), App: a.GUID, Name: s.name, Origin: "user"}
		if have != nil {
			want = *have
		}
		want.Command, want.ProcessTypes = s.command, s.types
		if s.memory != nil {
			want.Memory = s.memory
		}
		if err := apps.CheckSidecar(tx, &want); err != nil {
			return err
		}
		if have != nil {
			*have = want
			tx.Touch(&have.Base)
			continue
		}
		tx.W.Sidecars.Insert(&want)
	}
	return nil
}

func (e *entry) applyApp(tx *cc.Tx, a *world.App) error {
	l := e.lifecycle
	if e.docker || a.Lifecycle == world.Docker {
		l = nil
	}
	if l != nil {
		l = &apps.Lifecycle{Buildpacks: l.Buildpacks, Stack: l.Stack}
		stack := a.Stack
		if stack == "" {
			stack = apps.DefaultStack(tx)
		}
		if err := l.Check(tx, stack); err != nil {
			return err
		}
	}
	if err := e.meta.Check(&a.Base); err != nil {
		return err
	}
	request := tree.Obj{}
	if lc := e.lifecycleRequest(); lc != nil {
		request.Set("lifecycle", lc)
	}
	if e.hasMeta {
		request.Set("metadata", e.raw.Get("metadata"))
	}
	apps.Update(tx, a, l, e.meta, apps.Triggered(tree.O("request", request), true))
	return nil
}

func (e *entry) applyEnv(tx *cc.Tx, a *world.App) error {
	apps.SetVars(tx, a, e.env, true) // the event is left even without variables (observed fact)
	return nil
}

func (e *entry) applyServices(tx *cc.Tx, a *world.App) error {
	for _, s := range e.services {
		si := services.ByName(tx, a.Space, s.name)
		if si == nil {
			return cc.NotFound("Service instance '" + strings.TrimSpace(s.name) + "'")
		}
		if err := services.BindApp(tx, si, a, s.binding, s.parameters, true); err != nil {
			text := err.Error()
			if x, ok := errors.AsType[*cc.Error](err); ok {
				text = x.Detail
			}
			return cc.Unprocessable("For service '%s': %s", si.Name, text)
		}
	}
	return nil
}
