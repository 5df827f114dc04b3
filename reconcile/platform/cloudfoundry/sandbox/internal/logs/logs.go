// Package logs is what would be log-cache: it answers `cf logs --recent` and the staging output of `cf push` with the log
// lines of an app, in the envelopes and with the parameters of the log-cache API (api/v1).
//
// Nothing is stored. What a foundation would have logged follows from what the world remembers anyway: the audit trail
// says what the controller did, builds when they staged, processes and tasks when their instances came up or crashed. So
// logs cost no memory, survive a restart of the sandbox, and appear in their own time. The price: of instances that were
// replaced only the controller's own lines remain, and apps say nothing beyond one line per instance, since none runs.
package logs

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Version of log-cache that the sandbox speaks like; cf looks for the API below /v1 in versions before 2.
const Version = "3.1.0"

// Limits of one read (log-cache's own).
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Register adds the endpoints. Clients replace the path of the link log_cache in the root document, so they have to be
// right below the host.
func Register(s *cc.Server) {
	s.Public("GET /api/v1/info", info)
	s.Read("GET /api/v1/read/{guid}", read)
	s.Read("GET /api/v1/meta", meta)
}

// info tells the version. Numbers of 64 bits are texts everywhere in this API (the JSON form of protocol buffers).
func info(*cc.Req) (*cc.Reply, error) {
	return cc.OK(tree.O("version", Version, "vm_uptime", "3600")), nil
}

// Line is one log line.
type Line struct {
	At       time.Time
	Source   string // source_type: API, STG, CELL, APP/PROC/WEB …
	Instance string
	Text     string
	Err      bool

	Process *world.Process // that the line is about, where it is about one
}

// read answers with the lines of one source in a window of time. Sources that may not be read do not exist.
func read(q *cc.Req) (*cc.Reply, error) {
	a, ok := q.W.Apps.Get(q.Var("guid"))
	if !ok || !q.ReadsSpace(a.Space) {
		return nil, cc.NotFound("Source")
	}
	v := window{q: q.Query, limit: defaultLimit, from: -1 << 63, to: 1<<63 - 1}
	if err := v.parse(); err != nil {
		return nil, err
	}
	batch := []any{}
	if v.wantsLogs() {
		lines := slices.DeleteFunc(Of(&q.Tx, a), func(l Line) bool { return l.At.UnixNano() < v.from || l.At.UnixNano() >= v.to })
		if v.descending {
			slices.Reverse(lines)
		}
		for _, l := range lines[:min(v.limit, len(lines))] {
			batch = append(batch, envelope(a, l))
		}
	}
	return cc.OK(tree.O("envelopes", tree.O("batch", batch))), nil
}

// window is what a read asks for: from is included, to is not.
type window struct {
	q          map[string][]string
	from, to   int64
	limit      int
	descending bool
}

func (v *window) parse() error {
	for name, set := range map[string]func(int64){
		"start_time": func(n int64) { v.from = n },
		"end_time":   func(n int64) { v.to = n },
		"limit":      func(n int64) { v.limit = int(n) },
	} {
		if v.q[name] == nil {
			continue
		}
		n, err := strconv.ParseInt(v.q[name][0], 10, 64)
		if err != nil {
			return cc.BadRequest("%s must be a whole number", name)
		}
		set(n)
	}
	switch {
	case v.from > v.to:
		return cc.BadRequest("StartTime (%d) must be before EndTime (%d)", v.from, v.to)
	case v.limit > maxLimit:
		return cc.BadRequest("Limit (%d) must be %d or less", v.limit, maxLimit)
	case v.limit < 0:
		return cc.BadRequest("Limit (%d) must be greater than zero", v.limit)
	case v.limit == 0:
		v.limit = defaultLimit
	}
	v.descending = v.q["descending"] != nil && v.q["descending"][0] == "true"
	return nil
}

// wantsLogs is false for reads of metrics only: the sandbox has none.
func (v *window) wantsLogs() bool {
	types := v.q["envelope_types"]
	return len(types) == 0 || slices.Contains(types, "LOG") || slices.Contains(types, "ANY")
}

func envelope(a *world.App, l Line) tree.Obj {
	kind := "OUT"
	if l.Err {
		kind = "ERR"
	}
	tags := tree.O("app_id", a.GUID, "app_name", a.Name, "instance_id", l.Instance, "origin", origin(l), "source_type", l.Source)
	if l.Process != nil {
		tags = append(tags, tree.O("process_id", l.Process.GUID, "process_type", l.Process.Type)...)
	}
	return tree.O(
		"timestamp", strconv.FormatInt(l.At.UnixNano(), 10), "source_id", a.GUID, "instance_id", l.Instance,
		"deprecated_tags", tree.Obj{}, "tags", tags,
		"log", tree.O("payload", base64.StdEncoding.EncodeToString([]byte(l.Text)), "type", kind))
}

// origin is the component that a line comes from.
func origin(l Line) string {
	if l.Source == "API" {
		return "cloud_controller"
	}
	return "rep"
}

// meta counts the envelopes of every app that the caller may read.
func meta(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	sources := tree.Obj{}
	for a := range q.W.Apps.All() {
		if !sees.Space(a.Space) {
			continue
		}
		if l := Of(&q.Tx, a); len(l) > 0 {
			ns := func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
			sources = append(sources, tree.Field{Key: a.GUID, Value: tree.O("count", strconv.Itoa(len(l)), "expired", "0",
				"oldest_timestamp", ns(l[0].At), "newest_timestamp", ns(l[len(l)-1].At))})
		}
	}
	return &cc.Reply{Status: http.StatusOK, Body: tree.O("meta", sources)}, nil
}

// Of tells all lines of an app until now, oldest first. No two have the same time: clients that page go on one
// nanosecond after the last line they got.
func Of(tx *cc.Tx, a *world.App) []Line {
	w := &writer{tx: tx, app: a}
	w.controller()
	w.staging()
	w.instances()
	w.tasks()
	slices.SortStableFunc(w.lines, func(x, y Line) int { return x.At.Compare(y.At) })
	for i := 1; i < len(w.lines); i++ {
		if before := w.lines[i-1].At; !w.lines[i].At.After(before) {
			w.lines[i].At = before.Add(1)
		}
	}
	return w.lines
}

// writer collects lines; those of the future are dropped.
type writer struct {
	tx    *cc.Tx
	app   *world.App
	lines []Line
}

func (w *writer) add(l Line) {
	if !l.At.After(w.tx.Now) {
		w.lines = append(w.lines, l)
	}
}

// processSource is the source_type of a process: web is APP/PROC/WEB.
func processSource(typ string) string { return "APP/PROC/" + strings.ToUpper(typ) }
