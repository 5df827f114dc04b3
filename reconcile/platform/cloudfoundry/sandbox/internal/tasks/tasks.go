// Package tasks holds tasks: commands that run once with a droplet of an app.
//
// A task runs for a while and succeeds, unless its command, its app or its image asks for a failure. Nothing is executed.
package tasks

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Read("GET /v3/tasks", listTasks)
	s.Read("GET /v3/tasks/{guid}", showTask)
	s.Write("PATCH /v3/tasks/{guid}", updateTask)
	s.Write("POST /v3/tasks/{guid}/actions/cancel", cancelTask)
	s.Write("PUT /v3/tasks/{guid}/cancel", cancelTask)
	s.Read("GET /v3/apps/{guid}/tasks", appTasks)
	s.Write("POST /v3/apps/{guid}/tasks", createTask)
	s.When("task.done", taskDone)
	s.When("task.cancelled", func(tx *cc.Tx, guid string) {
		if t, ok := tx.W.Tasks.Get(guid); ok && t.State == world.TaskCanceling {
			finish(tx, t, world.TaskFailed, "task was cancelled")
		}
	})
}

func spaceOf(q *cc.Req, app string) string {
	if a, ok := q.W.Apps.Get(app); ok {
		return a.Space
	}
	return ""
}

func list(global bool) *cc.List[*world.Task] {
	l := &cc.List[*world.Task]{Filters: []cc.Filter[*world.Task]{
		cc.In("names", func(_ *cc.Req, t *world.Task) string { return t.Name }),
		cc.In("states", func(_ *cc.Req, t *world.Task) string { return t.State }),
		cc.In("app_guids", func(_ *cc.Req, t *world.Task) string { return t.App }),
		cc.In("organization_guids", func(q *cc.Req, t *world.Task) string { return apps.OrgOf(&q.Tx, spaceOf(q, t.App)) }),
		cc.In("space_guids", func(q *cc.Req, t *world.Task) string { return spaceOf(q, t.App) }),
		cc.In("app_guid", func(_ *cc.Req, t *world.Task) string { return t.App }),
		cc.In("sequence_ids", func(_ *cc.Req, t *world.Task) string { return strconv.Itoa(t.Sequence) }),
		cc.Labels[*world.Task](),
	}}
	l.Show = func(q *cc.Req, t *world.Task) any { return present(q, t, !global && q.Secrets(spaceOf(q, t.App))) }
	return l
}

var (
	everywhere = list(true) // observed fact: this list leaves the commands out
	ofApp      = list(false)
)

func listTasks(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return everywhere.Answer(q, q.W.Tasks.All(), func(t *world.Task) bool { return sees.Space(spaceOf(q, t.App)) })
}

func appTasks(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.Find(q)
	if err != nil {
		return nil, err
	}
	return ofApp.Answer(q, slices.Values(q.W.Tasks.By("app", a.GUID)), nil)
}

func present(q *cc.Req, t *world.Task, command bool) tree.Obj {
	self := "/v3/tasks/" + t.GUID
	o := cc.Head(&t.Base, "sequence_id", t.Sequence, "name", t.Name)
	if command {
		o.Set("command", t.Command)
	}
	user := t.User
	if user == "" {
		user = "vcap"
	}
	return append(o, tree.O("user", user, "state", t.State, "memory_in_mb", t.Memory, "disk_in_mb", t.Disk, "log_rate_limit_in_bytes_per_second", t.LogRate,
		"result", tree.O("failure_reason", cc.OrNil(t.FailReason)), "droplet_guid", t.Droplet, "relationships", tree.O("app", cc.One(t.App)),
		"metadata", cc.Meta(&t.Base), "links", tree.O("self", q.Link(self), "app", q.Link("/v3/apps/"+t.App),
			"cancel", q.Action(self+"/actions/cancel", "POST"), "droplet", q.Link("/v3/droplets/"+t.Droplet)))...)
}

func find(q *cc.Req) (*world.Task, *world.App, error) {
	if t, ok := q.W.Tasks.Get(q.Var("guid")); ok {
		if a, err := apps.Visible(q, t.App); err == nil {
			return t, a, nil
		}
	}
	return nil, nil, cc.NotFound("Task")
}

func showTask(q *cc.Req) (*cc.Reply, error) {
	t, a, err := find(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(present(q, t, q.Secrets(a.Space))), nil
}

func updateTask(q *cc.Req) (*cc.Reply, error) {
	t, a, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	b, err := q.Body("metadata")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := m.Check(&t.Base); err != nil {
		return nil, err
	}
	m.Apply(&t.Base)
	q.Touch(&t.Base)
	return cc.OK(present(q, t, true)), nil
}

// read checks the body of a new task. A command that is no text is taken as text (observed fact).
func read(b *cc.Body, t *world.Task) (template string) {
	t.Command = psych.Text(b.Get("command"))
	template, _ = b.Path("template", "process", "guid").(string)
	if b.Get("template") != nil && template == "" {
		b.Add("Template process guid must be provided")
	}
	if t.Command == "" && b.Get("template") == nil {
		b.Add("Command No command or template provided")
	}
	set := func(to *int, key string, lowest int, bound string, highest int64) {
		if n := apps.Whole(b, key, lowest, bound, highest); n != nil {
			*to = *n
		}
	}
	set(&t.Memory, "memory_in_mb", 1, "greater than 0", math.MaxInt32)
	set(&t.Disk, "disk_in_mb", 1, "greater than 0", math.MaxInt32)
	set(&t.LogRate, "log_rate_limit_in_bytes_per_second", -1, "greater than or equal to -1", math.MaxInt64)
	t.Name = psych.Text(b.Get("name"))
	t.User, _ = b.Str("user")
	return template
}

func createTask(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.FindForWrite(q)
	if err != nil {
		return nil, err
	}
	if err := q.Feature("task_creation"); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "command", "disk_in_mb", "memory_in_mb", "log_rate_limit_in_bytes_per_second", "droplet_guid", "template", "metadata", "user")
	if err != nil {
		return nil, err
	}
	t := &world.Task{Base: q.W.Base(), App: a.GUID, State: world.TaskRunning, Memory: runtime.DefaultMemory, Disk: runtime.DefaultDisk, LogRate: runtime.DefaultLogRate}
	template := read(b, t)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	if template != "" {
		p, ok := q.W.Processes.Get(template)
		if !ok || p.App != a.GUID {
			return nil, cc.NewError(404, 350003, "ProcessNotFound", "The process could not be found: %s", template)
		}
		fromTemplate(q, b, t, p)
	}
	d := runtime.Droplet(&q.Tx, a)
	if guid, ok := b.Str("droplet_guid"); ok {
		if d, ok = q.W.Droplets.Get(guid); !ok || d.App != a.GUID {
			return nil, cc.NotFound("Droplet")
		}
	}
	if d == nil {
		return nil, cc.Unprocessable("Task must have a droplet. Specify droplet or assign current droplet to app.")
	}
	if err := quotas.Err(quotas.Task(&q.Tx, a.Space, t.Memory, t.LogRate)); err != nil {
		return nil, err
	}
	if err := m.Check(&t.Base); err != nil {
		return nil, err
	}
	m.Apply(&t.Base)
	t.Droplet = d.GUID
	if t.Name == "" {
		t.Name = hex.EncodeToString([]byte(t.GUID)[:4])
	}
	if all := q.W.Tasks.By("app", a.GUID); len(all) > 0 {
		t.Sequence = all[len(all)-1].Sequence
	}
	t.Sequence++
	t.Fails = runtime.Mentions(a.Env, runtime.FaultTaskFail, append([]string{t.Command, d.Image}, d.Faults...)...) || q.S.Fails("TASK", a.Name)
	if err := quotas.Err(quotas.Task(&q.Tx, a.Space, t.Memory, t.LogRate)); err != nil {
		return nil, err
	}
	q.W.Tasks.Insert(t)
	usage.Task(&q.Tx, t, "TASK_STARTED")
	q.After(q.S.Task, "task.done", t.GUID)
	audit(&q.Tx, a, t, "create")
	return &cc.Reply{Status: 202, Body: present(q, t, true)}, nil
}

// fromTemplate takes from a process what the request does not say.
func fromTemplate(q *cc.Req, b *cc.Body, t *world.Task, p *world.Process) {
	if t.Command == "" {
		t.Command = runtime.Command(&q.Tx, p)
	}
	if b.Get("memory_in_mb") == nil {
		t.Memory = p.Memory
	}
	if b.Get("disk_in_mb") == nil {
		t.Disk = p.Disk
	}
	if b.Get("log_rate_limit_in_bytes_per_second") == nil {
		t.LogRate = p.LogRate
	}
}

func audit(tx *cc.Tx, a *world.App, t *world.Task, what string) {
	runtime.Audit(tx, a, "audit.app.task."+what, tree.O("task_guid", t.GUID, "request",
		tree.O("name", t.Name, "memory_in_mb", t.Memory, "command", apps.Hidden)))
}

func finish(tx *cc.Tx, t *world.Task, state, reason string) {
	t.State, t.FailReason = state, reason
	tx.Touch(&t.Base)
	usage.Task(tx, t, "TASK_STOPPED")
}

func taskDone(tx *cc.Tx, guid string) {
	t, ok := tx.W.Tasks.Get(guid)
	switch {
	case !ok || t.State != world.TaskRunning:
	case t.Fails:
		finish(tx, t, world.TaskFailed, "Exited with status 222")
	default:
		finish(tx, t, world.TaskSucceeded, "")
	}
}

func cancelTask(q *cc.Req) (*cc.Reply, error) {
	t, a, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space, world.SpaceDeveloper, world.SpaceSupporter); err != nil {
		return nil, err
	}
	if t.State == world.TaskSucceeded || t.State == world.TaskFailed {
		return nil, cc.Unprocessable("Task state is %s and therefore cannot be canceled", t.State)
	}
	t.State = world.TaskCanceling
	q.Touch(&t.Base)
	q.After(q.S.Config.Job, "task.cancelled", t.GUID)
	audit(&q.Tx, a, t, "cancel")
	return &cc.Reply{Status: 202, Body: present(q, t, true)}, nil
}
