package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is a rule: what goes wrong, with which requests or which work, how often.
//
//	GET /v3/apps status=503 p=0.1            one in ten lists of apps is refused
//	POST /v3/apps/*/actions/start status=503 after times=2   the first two starts are refused, yet happen
//	* /v3/** latency=2s                      everything takes two seconds longer
//	* /v3/** cut p=0.01                      the connection breaks off; after: when the work is done
//	GET /v3/** stale=10s                     answers are up to ten seconds old
//	GET /v3/** page=2                        no page has more than two entries
//	JOB space.apply_manifest p=0.5           half of such jobs fail
//	STAGE web*                               apps with such a name cannot be staged
//	CRASH web*, STUCK web*, FLAP web*        their instances crash, never get up, or come and go
//	SICK web*                                they run, and answer 500 to every request
//	TASK *                                   tasks of apps with such a name fail
//
// In a path * is one part and ** any number of them.
type Fault struct {
	Text        string        // as it was written
	Method      string        // an HTTP method, * for all, or one of Kinds
	Pattern     string        // of the path, the operation or the name of the app
	Probability float64       // 1 when nothing is said
	Times       int           // how often at most; 0 is no limit
	Status      int           // answer with it
	Latency     time.Duration // wait before anything else
	Cut         bool          // break the connection off
	After       bool          // status and cut only after the request has had its effect
	Stale       time.Duration // answer what was answered before, if it is not older
	Page        int           // no more entries on a page
}

// Kinds of faults that are about work rather than requests.
var Kinds = []string{"JOB", "STAGE", "CRASH", "STUCK", "FLAP", "SICK", "TASK"}

// ParseFault reads a rule.
func ParseFault(text string) (Fault, error) {
	f := Fault{Text: strings.Join(strings.Fields(text), " "), Probability: 1}
	words := strings.Fields(text)
	if len(words) < 2 {
		return f, fmt.Errorf("fault %q: write METHOD PATH and what goes wrong, as in %q", text, "GET /v3/apps status=503 p=0.1")
	}
	f.Method, f.Pattern = strings.ToUpper(words[0]), words[1]
	work := slices.Contains(Kinds, f.Method)
	if !work && !strings.HasPrefix(f.Pattern, "/") {
		return f, fmt.Errorf("fault %q: the path %q does not begin with a slash", text, f.Pattern)
	}
	for _, part := range strings.Split(f.Pattern, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return f, fmt.Errorf("fault %q: the pattern %q is malformed", text, f.Pattern)
		}
	}
	does := 0
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "p":
			f.Probability, err = strconv.ParseFloat(value, 64)
			if err == nil && (f.Probability < 0 || f.Probability > 1) {
				err = fmt.Errorf("%s is not between 0 and 1", value)
			}
		case "times":
			f.Times, err = strconv.Atoi(value)
		case "status":
			f.Status, err = strconv.Atoi(value)
			if err == nil && (f.Status < 400 || f.Status > 599) {
				err = fmt.Errorf("%s is not between 400 and 599", value)
			}
			does++
		case "latency":
			f.Latency, err = time.ParseDuration(value)
			does++
		case "stale":
			f.Stale, err = time.ParseDuration(value)
			does++
		case "page":
			f.Page, err = strconv.Atoi(value)
			if err == nil && f.Page < 1 {
				err = fmt.Errorf("%s is not above 0", value)
			}
			does++
		case "cut":
			f.Cut = true
			does++
		case "after":
			f.After = true
		default:
			err = fmt.Errorf("known are p, times, status, latency, stale, page, cut and after")
		}
		if err != nil {
			return f, fmt.Errorf("fault %q: %s: %w", text, w, err)
		}
	}
	switch {
	case work && does > 0:
		return f, fmt.Errorf("fault %q: %s takes only p and times", text, f.Method)
	case !work && does == 0:
		return f, fmt.Errorf("fault %q does nothing: add status=…, latency=…, stale=…, page=… or cut", text)
	}
	return f, nil
}

// matches compares part by part; ** stands for any number of parts.
func matches(pattern, name string) bool {
	return matchParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchParts(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(name) + 1 {
				if matchParts(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, _ := path.Match(pattern[0], name[0]); !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}

// errorBody is an answer in the form of the controller.
func errorBody(code int, title, detail string) []byte {
	type entry struct {
		Detail string `json:"detail"`
		Title  string `json:"title"`
		Code   int    `json:"code"`
	}
	b, _ := json.Marshal(map[string][]entry{"errors": {{detail, title, code}}})
	return b
}

// refuse answers with a status that a rule asks for, as the controller, or what stands before it, would.
func refuse(w http.ResponseWriter, status int) {
	code, title, text := 10001, "CF-UnknownError", "An unknown error occurred."
	switch status {
	case http.StatusTooManyRequests:
		code, title, text = 10013, "CF-RateLimitExceeded", "Rate Limit Exceeded"
		w.Header().Set("Retry-After", "1")
	case http.StatusServiceUnavailable:
		code, title, text = 10015, "CF-ServiceUnavailable", "The service is currently unavailable"
	case http.StatusBadGateway:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("502 Bad Gateway: Registered endpoint failed to handle the request.\n"))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(errorBody(code, title, text))
}
