package services

import (
	"context"
	"fmt"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/marketplace"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// An operation is a job whose work a broker does. It is an errand (see cc.Server.Errand): the request is made up with the
// lock held, sent without it, and what the broker said is then written down:
//
//	startOperation ──▶ call ──┬─ done ──────────────▶ finish: the record, the event, the job
//	                          ├─ refused ───────────▶ fail
//	                          └─ under way ─▶ poll ─┬─ done, refused ─▶ as above
//	                                     ▲──────────┘
//
// The arguments of the job say what is done to what; its payload is the request of the user.

const (
	callEvent = "service.call"
	pollEvent = "service.poll"
	// pollInterval is short beside that of a real controller (60 s): people wait for it.
	pollInterval = 500 * time.Millisecond
	// maxPolling bounds how long a broker may take, unless its plan says so (broker_client_max_async_poll_duration as shipped).
	maxPolling = 7 * 24 * time.Hour
)

func registerOperations(s *cc.Server) {
	s.Errand(callEvent, func(tx *cc.Tx, job string) func() func(*cc.Tx) { return runOperation(tx, job, false) })
	s.Errand(pollEvent, func(tx *cc.Tx, job string) func() func(*cc.Tx) { return runOperation(tx, job, true) })
}

// verbs of jobs, last operations and events.
var verbs = map[osb.Action]string{
	osb.Provision: "create", osb.Update: "update", osb.Deprovision: "delete", osb.Bind: "create", osb.Unbind: "delete",
}

// startOperation begins an operation on an instance, or on a binding of it.
func startOperation(tx *cc.Tx, a osb.Action, si *world.ServiceInstance, b binding, request tree.Obj) *world.Job {
	spec := cc.JobSpec{
		Operation: "service_instance." + verbs[a], Link: "service_instances", LinkPath: "/v3/service_instances/" + si.GUID,
		Args: map[string]string{"action": string(a), "instance": si.GUID, "since": tx.Now.Format(time.RFC3339Nano)}, Payload: tree.JSON(request), Errand: callEvent,
	}
	if b != nil {
		spec.Operation = b.kind().jobs + "." + verbs[a]
		spec.Link, spec.LinkPath = b.kind().link, b.kind().path+b.base().GUID
		spec.Args["binding"] = b.base().GUID
		spec.Args["kind"] = b.kind().jobs
	}
	if verbs[a] == "delete" {
		spec.Link, spec.LinkPath = "", "" // it will be gone
	}
	return tx.StartJob(spec)
}

// operation is a job under way with what it is about.
type operation struct {
	job     *world.Job
	action  osb.Action
	si      *world.ServiceInstance
	b       binding // nil when it is about the instance
	request tree.Obj
	actor   world.Actor
}

// load finds what a job is about; false when it is gone, and the job with it.
func load(tx *cc.Tx, guid string) (op operation, ok bool) {
	if op.job, ok = tx.W.Jobs.Get(guid); !ok {
		return op, false
	}
	op.action, op.actor = osb.Action(op.job.Args["action"]), op.job.Actor
	tx.Actor = op.actor
	v, _ := tree.Parse(op.job.Payload)
	op.request, _ = v.(tree.Obj)
	if op.si, ok = tx.W.ServiceInstances.Get(op.job.Args["instance"]); ok && op.job.Args["binding"] != "" {
		op.b, ok = findAny(tx, op.job.Args["kind"], op.job.Args["binding"])
	}
	if ok {
		return op, true
	}
	if verbs[op.action] == "delete" {
		tx.Finish(op.job, nil)
	} else {
		tx.Finish(op.job, cc.NotFound("The service instance could not be found: "+op.job.Args["instance"]+"."))
	}
	return op, false
}

func (op operation) last() *world.LastOperation {
	if op.b != nil {
		return op.b.last()
	}
	return &op.si.LastOperation
}

// runOperation makes up what is to be asked, and says what becomes of the answers.
func runOperation(tx *cc.Tx, job string, poll bool) func() func(*cc.Tx) {
	op, ok := load(tx, job)
	if !ok {
		return nil
	}
	if !poll && op.action == osb.Deprovision {
		moved(tx, &op.si.LastOperation, "delete", osb.InProgress, "")
	}
	plan := planOf(tx, op.si)
	offering, record := marketplace.Of(tx, plan)
	broker := marketplace.Broker(tx, record)
	asks := op.asks(tx, offering, plan, poll)
	fetch := op.fetchesAfter(offering, poll)
	return func() func(*cc.Tx) {
		answers := make([]*osb.Answer, len(asks))
		errs := make([]error, len(asks))
		for i, r := range asks {
			answers[i], errs[i] = broker.Do(context.Background(), r) // it bounds its time itself
			if fetch && errs[i] == nil && answers[i].State == osb.Succeeded {
				r.Action = osb.Fetch
				answers[i], errs[i] = broker.Do(context.Background(), r)
			}
			if errs[i] != nil || answers[i].Async {
				break // of the bindings of an instance that goes, the first that does not go stops it
			}
		}
		return func(tx *cc.Tx) {
			op, ok := load(tx, job)
			if ok {
				op.conclude(tx, asks, answers, errs, poll)
			}
		}
	}
}

// fetchesAfter reports whether a poll that ends well is followed by reading what came of it: the credentials of a binding.
func (op operation) fetchesAfter(o *world.ServiceOffering, poll bool) bool {
	return poll && op.action == osb.Bind && o.BindingsRetrievable
}

// asks are the requests of an operation. Only deleting an instance takes more than one: its bindings go first.
func (op operation) asks(tx *cc.Tx, o *world.ServiceOffering, p *world.ServicePlan, poll bool) []osb.Request {
	r := osb.Request{
		Action: op.action, Instance: op.si.GUID, Service: o.CatalogID, Plan: p.CatalogID, UserID: op.actor.GUID, Parameters: op.si.Parameters,
	}
	if op.b != nil {
		r.Binding = op.b.base().GUID
		r.Parameters = op.b.parameters()
	}
	if poll {
		r.Action, r.Operation = osb.Poll, op.last().Operation
		return []osb.Request{r}
	}
	var out []osb.Request
	switch op.action {
	case osb.Provision:
		r.Body = provisionBody(tx, op, o, p)
	case osb.Update:
		r.Body = updateBody(tx, op, o, p)
	case osb.Bind:
		r.Body = bindBody(tx, op, o, p)
	case osb.Deprovision:
		for _, b := range allBindings(tx, op.si) {
			u := r
			u.Action, u.Binding = osb.Unbind, b.base().GUID
			out = append(out, u)
		}
	}
	return append(out, r)
}

// conclude writes down what a broker said.
func (op operation) conclude(tx *cc.Tx, asks []osb.Request, answers []*osb.Answer, errs []error, poll bool) {
	for i, r := range asks {
		a, err := answers[i], errs[i]
		if a == nil && err == nil {
			return // the broker was not asked any more
		}
		if r.Action == osb.Unbind && op.b == nil {
			if !op.unboundOnTheWay(tx, r.Binding, a, err) {
				return
			}
			continue
		}
		switch {
		case err != nil && poll:
			op.again(tx, a) // the broker cannot be reached just now
		case err != nil:
			op.fail(tx, err.Error(), err)
		case a.Async && !poll:
			op.underWay(tx, a)
		case poll && a.State == osb.InProgress:
			moved(tx, op.last(), verbs[op.action], osb.InProgress, a.Description)
			op.again(tx, a)
		case poll && a.State == osb.Failed:
			op.fail(tx, a.Description, nil)
		default:
			op.done(tx, a)
		}
	}
}

// unboundOnTheWay takes a binding of an instance that goes; false when that stops the deletion of the instance.
func (op operation) unboundOnTheWay(tx *cc.Tx, guid string, a *osb.Answer, err error) bool {
	var b binding
	for _, x := range allBindings(tx, op.si) {
		if x.base().GUID == guid {
			b = x
		}
	}
	switch {
	case b == nil:
		return true
	case err != nil:
		op.fail(tx, err.Error(), err)
		return false
	case a.Async:
		own := operation{job: startOperation(tx, osb.Unbind, op.si, b, tree.Obj{}), action: osb.Unbind, si: op.si, b: b, actor: op.actor}
		moved(tx, b.last(), "delete", osb.InProgress, "")
		b.last().Operation = a.Operation
		own.audit(tx, "start_delete")
		op.fail(tx, fmt.Sprintf("An operation for the service binding between app %s and service instance %s is in progress.", b.boundTo(tx), op.si.Name), nil)
		return false
	}
	b.remove(tx)
	return true
}

// underWay notes that the broker will take its time.
func (op operation) underWay(tx *cc.Tx, a *osb.Answer) {
	moved(tx, op.last(), verbs[op.action], osb.InProgress, "")
	op.last().Operation = a.Operation
	if a.DashboardURL != "" && op.b == nil {
		op.si.DashboardURL = a.DashboardURL
	}
	if op.action == osb.Bind && !offeringOf(tx, op.si).BindingsRetrievable {
		text := "The broker responded asynchronously but does not support fetching binding data"
		moved(tx, op.last(), "create", osb.Failed, text)
		tx.Finish(op.job, cc.NewError(400, 90001, "ServiceBindingInvalid", "The service binding is invalid: %s", text))
		return
	}
	op.audit(tx, "start_"+verbs[op.action])
	op.again(tx, a)
}

// again asks the broker later, unless it has taken too long already.
func (op operation) again(tx *cc.Tx, a *osb.Answer) {
	tx.Polling(op.job)
	limit := maxPolling
	if p := planOf(tx, op.si); p.MaxPolling != nil {
		limit = tx.Scaled(time.Duration(*p.MaxPolling) * time.Second)
	}
	if since, err := time.Parse(time.RFC3339Nano, op.job.Args["since"]); err == nil && tx.Now.Sub(since) > limit {
		text := fmt.Sprintf("Service Broker failed to %s within the required time.", op.action)
		moved(tx, op.last(), verbs[op.action], osb.Failed, text)
		tx.Finish(op.job, cc.NewError(422, 290006, "JobTimeout", "The job execution has timed out."))
		return
	}
	wait := pollInterval
	if a != nil && a.RetryAfter > 0 {
		wait = a.RetryAfter
	}
	tx.After(wait, pollEvent, op.job.GUID)
}

// fail ends an operation that did not work. A broker's own no is told as it is.
func (op operation) fail(tx *cc.Tx, text string, err error) {
	moved(tx, op.last(), verbs[op.action], osb.Failed, text)
	what := string(op.action)
	if err == nil {
		what = verbs[op.action]
	}
	if op.action == osb.Deprovision {
		what = "delete"
	}
	tx.Finish(op.job, cc.NewError(400, 10009, "UnableToPerform", "%s could not be completed: %s", what, text))
}

// done ends an operation that worked.
func (op operation) done(tx *cc.Tx, a *osb.Answer) {
	switch op.action {
	case osb.Provision:
		moved(tx, op.last(), "create", osb.Succeeded, a.Description)
		if a.DashboardURL != "" {
			op.si.DashboardURL = a.DashboardURL
		}
		op.si.BrokerMetadata = a.Metadata
		tx.Touch(&op.si.Base)
		op.audit(tx, "create")
	case osb.Update:
		op.audit(tx, "update")
		op.finishUpdate(tx, a)
	case osb.Deprovision:
		for _, s := range op.si.SharedSpaces {
			auditShare(tx, op.si, "unshare", tree.O("target_space_guid", s))
		}
		tx.W.ServiceInstances.Delete(op.si.GUID)
		op.audit(tx, "delete")
		usage.Service(tx, op.si, "DELETED")
	case osb.Bind:
		moved(tx, op.last(), "create", osb.Succeeded, a.Description)
		op.b.bound(a)
		tx.Touch(op.b.base())
		op.audit(tx, "create")
	case osb.Unbind:
		op.b.remove(tx)
	}
	tx.Finish(op.job, nil)
}

// finishUpdate makes the change that the request asked for, now that the broker has agreed.
func (op operation) finishUpdate(tx *cc.Tx, a *osb.Answer) {
	u := &managedUpdate{body: cc.NewBody(op.request, "name", "tags", "parameters", "relationships", "maintenance_info", "metadata")}
	u.name, _ = op.request.Get("name").(string)
	var into world.ServiceInstance
	readTags(u.body, &into)
	u.tags = into.Tags
	if v := op.request.Get("metadata"); v != nil {
		u.meta, _ = cc.ReadMetadata(v)
	}
	before := *op.si
	u.apply(op.si)
	if plan, ok := tx.W.ServicePlans.Get(cc.RelGUID(relationships(op.request), "service_plan")); ok && plan.GUID != op.si.Plan {
		op.si.Plan = plan.GUID
		op.si.MaintenanceInfo = versionOnly(plan.MaintenanceInfo)
	}
	if v, ok := op.request.Path("maintenance_info", "version").(string); ok {
		op.si.MaintenanceInfo = tree.JSON(tree.O("version", v))
	}
	if p := op.request.Get("parameters"); p != nil {
		op.si.Parameters = tree.JSON(p)
	}
	if a.DashboardURL != "" {
		op.si.DashboardURL = a.DashboardURL
	}
	moved(tx, op.last(), "update", osb.Succeeded, a.Description)
	tx.Touch(&op.si.Base)
	if before.Name != op.si.Name || before.Plan != op.si.Plan {
		usage.Service(tx, op.si, "UPDATED")
	}
}

func relationships(o tree.Obj) tree.Obj {
	rel, _ := o.Get("relationships").(tree.Obj)
	return rel
}

func versionOnly(info tree.Raw) tree.Raw {
	if v := versionOf(info); v != "" {
		return tree.JSON(tree.O("version", v))
	}
	return nil
}

// audit leaves the event of an operation on an instance or a binding.
func (op operation) audit(tx *cc.Tx, what string) {
	var request any = hideParameters(op.request)
	if op.b != nil {
		if what == "start_delete" {
			request = op.b.ids()
		}
		op.b.audit(tx, what, request)
		return
	}
	if op.action == osb.Deprovision {
		request = nil
	}
	auditInstance(tx, op.si, what, request)
}

// deprovisionAll asks the brokers of the managed instances in a space that is about to go, and says which instances stay
// for now. Built-in brokers answer at once; for others an operation begins, and the space has to be deleted again.
func deprovisionAll(tx *cc.Tx, space string) (why []string) {
	for _, si := range tx.W.ServiceInstances.By("space", space) {
		if si.Type != Managed {
			continue
		}
		underWay := "An operation for service instance " + si.Name + " is in progress."
		if busy(si.LastOperation) {
			why = append(why, underWay)
			continue
		}
		p := planOf(tx, si)
		o, record := marketplace.Of(tx, p)
		op := operation{job: &world.Job{}, action: osb.Deprovision, si: si, actor: tx.Actor}
		if !record.Builtin {
			startOperation(tx, osb.Deprovision, si, nil, tree.Obj{})
			why = append(why, underWay)
			continue
		}
		for _, r := range op.asks(tx, o, p, false) {
			a, err := marketplace.Broker(tx, record).Do(context.Background(), r)
			if err == nil && !a.Async {
				continue
			}
			if err != nil {
				moved(tx, &si.LastOperation, "delete", osb.Failed, err.Error())
				why = append(why, err.Error())
			} else {
				startOperation(tx, osb.Deprovision, si, nil, tree.Obj{})
				why = append(why, underWay)
			}
			break
		}
	}
	return why
}
