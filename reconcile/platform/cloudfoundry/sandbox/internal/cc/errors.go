package cc

import (
	"fmt"
	"net/http"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// Error is an answer of the controller that says no. Any handler may return one; every other error becomes a 500.
type Error struct {
	Status int
	Code   int
	Title  string // without the prefix CF-
	Detail string
	More   []Detail // further errors of the same answer (manifests have one each)
}

// Detail is one entry of errors[].
type Detail struct {
	Code   int
	Title  string
	Detail string
}

func (e *Error) Error() string { return fmt.Sprintf("CF-%s (%d): %s", e.Title, e.Code, e.Detail) }

// Entries lists the errors of the answer.
func (e *Error) Entries() []any {
	all := append([]Detail{{e.Code, e.Title, e.Detail}}, e.More...)
	out := make([]any, len(all))
	for i, d := range all {
		if d.Title == unknownTitle { // observed fact: this one has no prefix
			out[i] = tree.O("title", d.Title, "detail", d.Detail, "code", d.Code)
			continue
		}
		out[i] = tree.O("detail", d.Detail, "title", "CF-"+d.Title, "code", d.Code)
	}
	return out
}

// Unprocessable is the usual 422: the request is understood and cannot be done.
func Unprocessable(format string, a ...any) *Error {
	return &Error{Status: http.StatusUnprocessableEntity, Code: 10008, Title: "UnprocessableEntity", Detail: text(format, a)}
}

// NotFound says that a resource does not exist, or may not be seen.
func NotFound(what string) *Error {
	return &Error{Status: http.StatusNotFound, Code: 10010, Title: "ResourceNotFound", Detail: what + " not found"}
}

// NotAuthorized is for what may be seen but not done.
func NotAuthorized() *Error {
	return &Error{Status: http.StatusForbidden, Code: 10003, Title: "NotAuthorized", Detail: "You are not authorized to perform the requested action"}
}

// OrgSuspended is for writes of ordinary users below a suspended organization.
func OrgSuspended() *Error {
	return &Error{Status: http.StatusForbidden, Code: 10017, Title: "OrgSuspended", Detail: "The organization is suspended"}
}

// BadQuery is for query parameters.
func BadQuery(detail string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: 10005, Title: "BadQueryParameter", Detail: "The query parameter is invalid: " + detail}
}

// BadRequest is a 400 that is about the request as a whole.
func BadRequest(format string, a ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: 1004, Title: "BadRequest", Detail: "Bad request: " + text(format, a)}
}

// ParseError is for bodies that cannot be read.
func ParseError() *Error {
	return &Error{Status: http.StatusBadRequest, Code: 1001, Title: "MessageParseError", Detail: "Request invalid due to parse error: invalid request body"}
}

const unknownTitle = "UnknownError"

// Unknown is the 500 that the controller answers where it breaks.
func Unknown() *Error {
	return &Error{Status: http.StatusInternalServerError, Code: 10001, Title: unknownTitle, Detail: "An unknown error occurred."}
}

// NewError builds any other error.
func NewError(status, code int, title, format string, a ...any) *Error {
	return &Error{Status: status, Code: code, Title: title, Detail: text(format, a)}
}

func unknownRequest() *Error {
	return &Error{Status: http.StatusNotFound, Code: 10000, Title: "NotFound", Detail: "Unknown request"}
}

func notAuthenticated() *Error {
	return &Error{Status: http.StatusUnauthorized, Code: 10002, Title: "NotAuthenticated", Detail: "Authentication error"}
}

func invalidToken() *Error {
	return &Error{Status: http.StatusUnauthorized, Code: 1000, Title: "InvalidAuthToken", Detail: "Invalid Auth Token"}
}

func insufficientScope() *Error {
	return &Error{Status: http.StatusForbidden, Code: 10007, Title: "InsufficientScope", Detail: "Your token lacks the necessary scopes to access this resource."}
}

func text(format string, a []any) string {
	if len(a) == 0 {
		return format
	}
	return fmt.Sprintf(format, a...)
}
