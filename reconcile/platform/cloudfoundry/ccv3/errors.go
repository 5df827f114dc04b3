package ccv3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Error is a request that did not succeed: refused by the controller or the UAA (Status and Errors), never
// answered (Err), or a job that failed (Status 200, Errors of the job).
type Error struct {
	Method    string
	URL       string // without the query
	Status    int    // 0 when there was no answer
	Errors    []Detail
	RequestID string // X-Vcap-Request-Id, what an operator searches the controller's log for
	// RetryAfter is how long the platform asked us to stay away, where it did.
	RetryAfter time.Duration
	// Err is the cause where there is no answer, or none that makes sense.
	Err error

	sent bool // the platform may have seen the request
}

// Detail is one of the errors that an answer lists.
type Detail struct {
	Code   int    `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// Error reads "POST /v3/apps: 422 CF-UniquenessError: App with the name 'x' already exists.".
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.URL)
	if e.Status != 0 && e.Status != http.StatusOK {
		fmt.Fprintf(&b, "%d ", e.Status)
	}
	switch {
	case len(e.Errors) > 0:
		b.WriteString(e.Message())
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString(http.StatusText(e.Status))
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, " (the platform asks to wait %s)", e.RetryAfter.Round(time.Second))
	}
	if e.RequestID != "" && e.Status >= 500 {
		fmt.Fprintf(&b, " [request %s]", e.RequestID)
	}
	return b.String()
}

// Message is what the platform said, without method and URL: "TITLE: DETAIL", several joined by "; ".
func (e *Error) Message() string {
	if len(e.Errors) == 0 {
		if e.Err != nil {
			return e.Err.Error()
		}
		return http.StatusText(e.Status)
	}
	parts := make([]string, len(e.Errors))
	for i, d := range e.Errors {
		parts[i] = strings.TrimPrefix(d.Title+": "+d.Detail, ": ")
	}
	return strings.Join(parts, "; ")
}

// Unwrap gives the cause, so that errors.Is(err, context.Canceled) works.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same request may succeed later without anybody changing anything.
func (e *Error) Retryable() bool {
	if e.Status == 0 {
		return !errors.Is(e.Err, context.Canceled) && !isCertificateError(e.Err)
	}
	return e.Status == http.StatusTooManyRequests || retryableStatus(e.Status)
}

// MayHaveHappened reports whether the change may be in effect in spite of the error. Then look before
// asking again: "503, while the change is already stored" was observed for start, stop and scale.
func (e *Error) MayHaveHappened() bool {
	if e.Method == http.MethodGet || e.Method == http.MethodHead {
		return false
	}
	return e.sent && (e.Status == 0 || e.Status >= 500)
}

// Is reports whether err is an *Error of which one detail has the title ("CF-UniquenessError").
// Match titles, not codes: 10016 means two different things.
func Is(err error, title string) bool {
	var e *Error
	return errors.As(err, &e) && slices.ContainsFunc(e.Errors, func(d Detail) bool { return d.Title == title })
}

// HasStatus reports whether err is an *Error with that HTTP status.
func HasStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// IsNotFound reports whether the resource does not exist, or the user may not see it (the controller does
// not tell the two apart).
func IsNotFound(err error) bool { return HasStatus(err, http.StatusNotFound) }

// IsForbidden reports whether the user sees the resource but may not do this with it.
func IsForbidden(err error) bool { return HasStatus(err, http.StatusForbidden) }

// Retryable reports whether err is an *Error that says so of itself.
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Retryable()
}

// MayHaveHappened reports whether err is an *Error that says so of itself.
func MayHaveHappened(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.MayHaveHappened()
}

func retryableStatus(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// envValue finds the one place where the controller repeats a value that may be secret: "Non-string value
// in environment variable for key 'A', value '1'" (observed).
var envValue = regexp.MustCompile(`(environment variable for key '[^']*'), value '.*'`)

// answerError makes an *Error of an answer that is no success. The body is read as the controller's error
// list, as the UAA's {"error", "error_description"}, or not at all: a router in between answers in HTML.
// Rate-limit answers are JSON that calls itself text/plain (observed), so the content type is not asked.
func answerError(method, path string, resp *http.Response, body []byte) *Error {
	e := &Error{
		Method: method, URL: path, Status: resp.StatusCode, sent: true,
		RequestID: resp.Header.Get("X-Vcap-Request-Id"),
	}
	var answer struct {
		Errors           []Detail `json:"errors"`
		Error            string   `json:"error"`
		ErrorDescription string   `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) == nil {
		e.Errors = answer.Errors
		if answer.Error != "" {
			e.Errors = append(e.Errors, Detail{Title: answer.Error, Detail: answer.ErrorDescription})
		}
	}
	scrub(e.Errors)
	return e
}

func scrub(details []Detail) {
	for i := range details {
		details[i].Detail = envValue.ReplaceAllString(details[i].Detail, "$1")
	}
}
