package osb

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HTTP is a broker that somebody runs and has registered.
type HTTP struct {
	URL, Username, Password string
	Client                  *http.Client
}

const (
	apiVersion = "2.17"
	timeout    = 60 * time.Second // broker_client_timeout_seconds as shipped
	maxAnswer  = 8 << 20
)

// Catalog reads what the broker offers.
func (h *HTTP) Catalog(ctx context.Context) (*Catalog, error) {
	status, _, body, err := h.send(ctx, http.MethodGet, "/v2/catalog", nil, nil, "")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, h.rejected(status, body, "/v2/catalog")
	}
	var c Catalog
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, malformed("The service broker returned an invalid response: expected valid JSON object in body. Please check that the URL points to a valid service broker.")
	}
	return &c, nil
}

// Do sends one request and reads its answer by the rules of the API: 200 and 201 are done, 202 is under way, 410 means
// that there is nothing to delete.
func (h *HTTP) Do(ctx context.Context, r Request) (*Answer, error) {
	path := "/v2/service_instances/" + url.PathEscape(r.Instance)
	if r.Binding != "" {
		path += "/service_bindings/" + url.PathEscape(r.Binding)
	}
	q := url.Values{}
	method, body := http.MethodGet, r.Body
	switch r.Action {
	case Provision, Bind:
		method = http.MethodPut
		q.Set("accepts_incomplete", "true")
	case Update:
		method = http.MethodPatch
		q.Set("accepts_incomplete", "true")
	case Deprovision, Unbind:
		method = http.MethodDelete
		q.Set("accepts_incomplete", "true")
		q.Set("service_id", r.Service)
		q.Set("plan_id", r.Plan)
	case Poll:
		path += "/last_operation"
		fallthrough
	case Fetch:
		q.Set("service_id", r.Service)
		q.Set("plan_id", r.Plan)
	}
	if r.Operation != "" && r.Action == Poll {
		q.Set("operation", r.Operation)
	}
	status, header, text, err := h.send(ctx, method, path, q, body, r.UserID)
	if err != nil {
		return nil, err
	}
	deletes := r.Action == Deprovision || r.Action == Unbind || r.Action == Poll
	a := &Answer{Async: status == http.StatusAccepted, Gone: status == http.StatusGone && deletes}
	switch {
	case a.Gone:
		a.State = Succeeded
		return a, nil
	case status != http.StatusOK && status != http.StatusCreated && status != http.StatusAccepted:
		return nil, h.rejected(status, text, path)
	}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, malformed("The service broker returned an invalid response for the request to %s%s. Status Code: %d %s, Body: %s",
			h.URL, path, status, http.StatusText(status), short(text))
	}
	if s, err := strconv.Atoi(header.Get("Retry-After")); err == nil && s > 0 {
		a.RetryAfter = time.Duration(s) * time.Second
	}
	return a, nil
}

func (h *HTTP) send(ctx context.Context, method, path string, q url.Values, body any, user string) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, nil, err
		}
		in = bytes.NewReader(b)
	}
	u := strings.TrimSuffix(h.URL, "/") + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, u, in)
	if err != nil {
		return 0, nil, nil, malformed("The service broker could not be reached: %s", h.URL)
	}
	r.Header.Set("X-Broker-API-Version", apiVersion)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		who, _ := json.Marshal(map[string]string{"user_id": user})
		r.Header.Set("X-Broker-API-Originating-Identity", "cloudfoundry "+base64.StdEncoding.EncodeToString(who))
	}
	r.SetBasicAuth(h.Username, h.Password)
	client := h.Client
	if client == nil {
		client = http.DefaultClient //nolint:forbidigo // the request carries a context with a time limit
	}
	resp, err := client.Do(r)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return 0, nil, nil, malformed("The request to the service broker timed out: %s%s", h.URL, path)
		}
		return 0, nil, nil, malformed("The service broker could not be reached: %s%s", h.URL, path)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, nil, malformed("The service broker could not be reached: %s%s", h.URL, path)
	}
	return resp.StatusCode, resp.Header, text, nil
}

// rejected says in the controller's words why a broker's answer is an error. Brokers describe it themselves if they can.
func (h *HTTP) rejected(status int, body []byte, path string) *Error {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"description"`
	}
	_ = json.Unmarshal(body, &e)
	out := &Error{Status: status, Code: e.Error}
	switch {
	case status == http.StatusUnauthorized:
		out.Text = fmt.Sprintf("Authentication with the service broker failed. Double-check that the username and password are correct: %s%s", h.URL, path)
	case status == http.StatusUnprocessableEntity && e.Error == "AsyncRequired":
		out.Text = "This service plan requires client support for asynchronous service operations."
	case status == http.StatusUnprocessableEntity && e.Error == "ConcurrencyError":
		out.Text = "The service broker could not perform this operation in parallel with other running operations"
	case e.Description != "":
		out.Text = "Service broker error: " + e.Description
	case status == http.StatusConflict:
		out.Text = fmt.Sprintf("Resource conflict: %s%s", h.URL, path)
	case status >= 500:
		out.Text = fmt.Sprintf("The service broker returned an invalid response. Status Code: %d %s, Body: %s", status, http.StatusText(status), short(body))
	default:
		out.Text = fmt.Sprintf("The service broker rejected the request. Status Code: %d %s, Body: %s", status, http.StatusText(status), short(body))
	}
	return out
}

func short(b []byte) string {
	if len(b) > 200 {
		b = b[:200]
	}
	return string(b)
}
