package cloudfoundry

import (
	"context"
	"net/http"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// caller makes the requests of one step, in a way that leaves no doubt about what happened: whatever kind of resource
// the step is about.
type caller struct {
	d    *Driver
	step *platform.Step
}

// attempts bounds how often something is done again after it failed in a way that leaves its effect open.
const attempts = 4

// write makes a request that changes something. Told to stop, it makes none; told to stop meanwhile, it
// still waits a moment for the answer.
func (c caller) write(ctx context.Context, request func(context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, release := finishing(ctx)
	defer release()
	return request(ctx)
}

// do makes one request that changes something and may be repeated.
func (c caller) do(ctx context.Context, doing, method, path string, in any) error {
	err := c.write(ctx, func(ctx context.Context) error {
		_, err := c.d.client.Do(ctx, method, path, in, nil)
		return err
	})
	if method == http.MethodDelete && ccv3.IsNotFound(err) {
		return nil
	}
	return c.fail(doing, err)
}

// remove deletes a resource and waits until it is gone. One that is gone already is as good.
func (c caller) remove(ctx context.Context, doing, path string) error {
	var resp *ccv3.Response
	err := c.write(ctx, func(ctx context.Context) (err error) {
		resp, err = c.d.client.Do(ctx, http.MethodDelete, path, nil, nil)
		return err
	})
	switch {
	case ccv3.IsNotFound(err):
		return nil
	case err == nil && resp.Location() != "":
		err = c.d.client.Job(ctx, resp.Location())
	}
	return c.fail(doing, err)
}

// once makes a request that must not be made twice. When its effect is in doubt (503 while the change was stored, a
// cut connection), look finds out before it is repeated.
func (c caller) once(ctx context.Context, doing string, post func(context.Context) error, look func(context.Context) (found bool, err error)) error {
	p := newPace()
	for attempt := 1; ; attempt++ {
		err := c.write(ctx, post)
		if err == nil || !ccv3.MayHaveHappened(err) || attempt == attempts {
			return c.fail(doing, err)
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
		if look == nil {
			continue // doing it twice does no harm
		}
		if found, lookErr := look(ctx); lookErr != nil {
			return c.fail(doing, lookErr)
		} else if found {
			return nil
		}
	}
}

// get reads one resource.
func (c caller) get(ctx context.Context, doing, path string, out any) error {
	_, err := c.d.client.Do(ctx, http.MethodGet, path, nil, out)
	return c.fail(doing, err)
}

// fail makes of err what a person can work with: which resource, where it is declared, what was attempted, the
// controller's reason, and what to do. Being told to stop stays what it is.
func (c caller) fail(doing string, err error) error {
	return failure(c.step, doing, err)
}
