package ccv3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	firstPoll   = 200 * time.Millisecond
	longestPoll = 5 * time.Second
	longestJob  = 30 * time.Minute
)

// Job waits until the job at location (Response.Location) is done. A job that failed is an *Error with all
// errors that it lists. Without an earlier deadline in ctx, a job is given half an hour.
func (c *Client) Job(ctx context.Context, location string) error {
	if location == "" {
		return errors.New("the answer named no job to wait for (no Location header)")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, longestJob, fmt.Errorf("the job did not end within %s", longestJob))
	defer cancel()
	target, err := c.resolve(location)
	if err != nil {
		return err
	}
	pauses := growing(firstPoll, longestPoll)
	for {
		var job struct {
			Operation string   `json:"operation"`
			State     string   `json:"state"`
			Errors    []Detail `json:"errors"`
			Warnings  []struct {
				Detail string `json:"detail"`
			} `json:"warnings"`
		}
		if _, err := c.Do(ctx, http.MethodGet, location, nil, &job); err != nil {
			return err
		}
		switch job.State {
		case "COMPLETE", "FAILED":
			for _, w := range job.Warnings {
				collect(ctx, []string{w.Detail})
			}
			if job.State == "COMPLETE" {
				return nil
			}
			scrub(job.Errors)
			e := &Error{Method: http.MethodGet, URL: target.Path, Status: http.StatusOK, Errors: job.Errors}
			if len(e.Errors) == 0 {
				e.Err = fmt.Errorf("the job %s failed without saying why", job.Operation)
			}
			return e
		}
		if sleep(ctx, pauses.NextBackOff()) != nil {
			return &Error{Method: http.MethodGet, URL: target.Path, Err: context.Cause(ctx)}
		}
	}
}
