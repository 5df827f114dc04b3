package ccv3

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LogLine is a line that an app wrote, or the platform about it.
type LogLine struct {
	At      time.Time
	Source  string // STG, APP/PROC/WEB, APP/TASK/migrate, CELL, …
	Process string // guid of the process that it is about, "" where the platform does not say
	Text    string
}

// RecentLogs reads the last lines of an app from Log Cache, oldest first; none before since. It is tried once, does not
// count as a request to the controller, and gives nothing where the foundation has no Log Cache.
func (c *Client) RecentLogs(ctx context.Context, app string, since time.Time, limit int) ([]LogLine, error) {
	root, err := c.Root(ctx)
	if err != nil {
		return nil, err
	}
	address := strings.TrimRight(root.link("log_cache"), "/")
	if address == "" {
		return nil, nil
	}
	if c.base.Scheme == "https" && !strings.HasPrefix(address, "https://") {
		return nil, fmt.Errorf("the root document wants the logs over plain http: the token would travel unprotected")
	}
	token, err := c.auth.get(ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{
		"envelope_types": {"LOG"}, "descending": {"true"}, "limit": {strconv.Itoa(limit)}, "start_time": {strconv.FormatInt(since.UnixNano(), 10)},
	}
	address += "/api/v1/read/" + url.PathEscape(app) + "?" + query.Encode()
	data, err := c.plainOnce(ctx, http.MethodGet, address, func(req *http.Request) { req.Header.Set("Authorization", "bearer "+token) })
	if err != nil {
		return nil, err
	}
	var answer struct {
		Envelopes struct {
			Batch []struct {
				Timestamp int64             `json:"timestamp,string"`
				Tags      map[string]string `json:"tags"`
				Log       struct {
					Payload []byte `json:"payload"`
				} `json:"log"`
			} `json:"batch"`
		} `json:"envelopes"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("the answer of Log Cache is not the JSON that its API describes: %w", err)
	}
	var lines []LogLine
	for _, e := range answer.Envelopes.Batch {
		at := LogLine{At: time.Unix(0, e.Timestamp), Source: e.Tags["source_type"], Process: e.Tags["process_id"], Text: string(e.Log.Payload)}
		lines = append(lines, at)
	}
	slices.Reverse(lines)
	return lines, nil
}
