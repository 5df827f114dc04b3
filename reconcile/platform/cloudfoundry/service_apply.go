package cloudfoundry

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// serviceRun brings a service instance, a service key or a route binding to what is declared. It begins with what the plan
// saw, and looks again whenever the controller's answer shows that it is no longer so:
//
//	         ┌────────── what is there? ◀──── await the operation under way
//	         ▼                ▲
//	create, update, delete ───┴── busy, taken, gone, or no telling what happened
//
// So it may be killed after any request: what a killed run began is awaited by the next one and not begun again; what it
// failed to create, the controller replaces.
type serviceRun struct {
	caller
	data *serviceData
	say  func(text string)

	want *manifest.Object // nil when it has to go
}

// found is what there is of a service resource.
type found struct {
	guid string
	op   *ccv3.LastOperation
	live *manifest.Object // nil unless it is established
	// seals tell of what cannot be read.
	seals map[string]diff.Sealed
}

// service is one of the kinds that a serviceRun is about.
type service interface {
	// look finds out what is there; a zero found means nothing.
	look(ctx context.Context) (found, error)
	create(ctx context.Context) error
	// update makes the changes, all or some of them; what is left is found by looking again.
	update(ctx context.Context, now found, changes []diff.Change) (done bool, err error)
	remove(ctx context.Context, now found) error
	path(guid string) string
}

func (d *Driver) applyService(ctx context.Context, s *platform.Step, data *serviceData, say func(string)) error {
	if err := impossible(s); err != nil {
		return err
	}
	r := serviceRun{caller: caller{d: d, step: s}, data: data, say: say, want: s.Desired.Get(s.Ref)}
	switch s.Ref.Kind {
	case manifest.KindServiceInstance:
		return r.run(ctx, &instanceRun{serviceRun: r})
	case manifest.KindServiceKey:
		return r.run(ctx, &keyRun{serviceRun: r})
	default:
		return r.run(ctx, &routeBindingRun{serviceRun: r})
	}
}

// lookAgain are the answers that say that things are not as they were thought to be (texts from the controller's source).
var lookAgain = regexp.MustCompile(`(?i)operations? .*in progress|is (currently )?being created|is getting deleted|name is taken|already (has a key binding|been shared|bound)`)

func (r serviceRun) run(ctx context.Context, of service) error {
	now, known := found{guid: r.data.guid, live: r.data.live, seals: r.data.seals}, r.data.guid == "" || r.data.live != nil
	p := newPace()
	for attempt := 1; ; attempt++ {
		var err error
		if !known {
			if now, err = r.settled(ctx, of); err != nil {
				return err
			}
		}
		done, err := r.bring(ctx, of, now)
		switch {
		case err == nil && done:
			return nil
		case ctx.Err() != nil, attempt == 2*attempts:
			return r.explained(r.doing(), err)
		case err != nil && !ccv3.MayHaveHappened(err) && !ccv3.IsNotFound(err) && !lookAgain.MatchString(err.Error()):
			return r.explained(r.doing(), err)
		}
		known = false
		if err != nil {
			if err := p.wait(ctx); err != nil {
				return err
			}
		}
	}
}

// bring does what is to be done about what is there.
func (r serviceRun) bring(ctx context.Context, of service, now found) (done bool, err error) {
	switch {
	case r.want == nil && now.guid == "":
		return true, nil
	case r.want == nil:
		r.say("deleting")
		return true, of.remove(ctx, now)
	case now.live == nil:
		r.say("creating")
		return r.want.Spec["maintenance_info"] == nil, of.create(ctx) // an instance is made in the newest version
	}
	want := manifest.NewSet(r.want)
	changes, err := diff.Compare(want, manifest.NewSet(now.live), nil)
	if err == nil {
		changes, err = changes.WithInputs(want, diff.Seals{r.want.Ref: now.seals})
	}
	if err != nil {
		return false, err
	}
	if changes.Empty() {
		return true, nil
	}
	return of.update(ctx, now, changes.List)
}

// settled looks, and waits until nobody is at work.
func (r serviceRun) settled(ctx context.Context, of service) (found, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, operationTimeout, fmt.Errorf("an operation of somebody else did not end within %s", operationTimeout))
	defer cancel()
	p := newPace()
	for told := ""; ; {
		now, err := of.look(ctx)
		if err != nil {
			return now, r.explained("looking what there is", err)
		}
		if !underWay(now.op) {
			return now, nil
		}
		if text := fmt.Sprintf("waiting for the operation under way (%s)%s", now.op.Type, words(now.op)); text != told {
			r.say(text)
			told = text
		}
		if err := p.wait(ctx); err != nil {
			return now, r.explained("waiting for the operation under way", err)
		}
	}
}

// words are what the service broker says of an operation.
func words(op *ccv3.LastOperation) string {
	if text := deref(op.Description); text != "" {
		return ": " + text
	}
	return ""
}

// doing names in errors what the step is about.
func (r serviceRun) doing() string {
	switch {
	case r.want == nil:
		return "deleting it"
	case r.data.live == nil:
		return "creating it"
	}
	return "updating it"
}

// request makes a request that changes something, and waits for the job that it may start: a service broker at work.
func (r serviceRun) request(ctx context.Context, method, path string, in any) error {
	var resp *ccv3.Response
	err := r.write(ctx, func(ctx context.Context) (err error) {
		resp, err = r.d.client.Do(ctx, method, path, in, nil)
		return err
	})
	if method == http.MethodDelete && ccv3.IsNotFound(err) {
		return nil
	}
	if err != nil || resp.Location() == "" || resp.Status != http.StatusAccepted {
		return err
	}
	r.say("waiting for the service broker")
	return r.d.client.Job(ctx, resp.Location())
}

// describe sets labels and annotations, in one request if there is anything to say.
func (r serviceRun) describe(ctx context.Context, path string, changes []diff.Change) error {
	if m, changed := described(r.want, changes); changed {
		return r.request(ctx, http.MethodPatch, path, map[string]any{"metadata": m})
	}
	return nil
}

// explained says with which class of error a service broker, or the controller in its stead, refused.
func (r serviceRun) explained(doing string, err error) error {
	if err == nil {
		return nil
	}
	failed := r.fail(doing, err)
	e, ok := failed.(*platform.Error) //nolint:errorlint // one that was just made, not a cause
	if !ok {
		return failed
	}
	if strings.Contains(e.Message, "maintenance_info.version requested is invalid") {
		e.Origin = r.want.FieldOrigin("/maintenance_info/version")
		e.Hint = "declare the version that the plan has by now: `cf curl '/v3/service_plans?names=PLAN'` shows it as maintenance_info"
	}
	for _, known := range brokerTrouble {
		if slices.ContainsFunc(known.titles, func(title string) bool { return ccv3.Is(err, title) }) {
			e.Class, e.Hint = known.class, known.hint
		}
	}
	return e
}

// brokerTrouble are the errors (config/v3.yml and errors/v2.yml of the controller) of which something better is known than
// that the request was refused.
var brokerTrouble = []struct {
	titles []string
	class  platform.ErrorClass
	hint   string
}{
	{
		[]string{"CF-ServiceBrokerApiUnreachable", "CF-ServiceBrokerApiTimeout", "CF-ServiceBrokerBadResponse", "CF-ServiceBrokerResponseMalformed", "CF-HttpClientTimeout"},
		platform.Unavailable, "the service broker has trouble: apply again, and if it lasts, tell its operators",
	},
	{
		[]string{"CF-AsyncServiceInstanceOperationInProgress", "CF-AsyncServiceBindingOperationInProgress", "CF-ConcurrencyError", "CF-JobTimeout"},
		platform.Unavailable, "the service broker is still at work: apply again, and the next run waits for it",
	},
	{[]string{"CF-ServiceBrokerRateLimitExceeded"}, platform.RateLimited, "too many requests to service brokers at a time: apply again later"},
	{[]string{"CF-UnableToPerform"}, platform.Invalid, "the service broker said no; its words are all that the platform knows"},
}
