// Package logcache answers what cf asks of a log cache while it pushes an app, and for cf logs.
//
// Nothing writes logs here, so none are kept: the lines of an app are made up from what its records say has happened to
// it (builds, instances, tasks), each at its moment, and are the same whenever they are asked for.
package logcache

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Path is where the log cache is found below the base URL.
const Path = "/log-cache"

// Register adds the endpoints.
func Register(s *cc.Server) {
	s.Public("GET "+Path+"/api/v1/info", func(*cc.Req) (*cc.Reply, error) {
		return cc.OK(tree.O("version", "3.0.0", "vm_uptime", "0")), nil
	})
	s.Read("GET "+Path+"/api/v1/meta", meta)
	s.Read("GET "+Path+"/api/v1/read/{source}", read)
}

// line is one line of a log.
type line struct {
	at       time.Time
	source   string // STG, APP/PROC/WEB, CELL, API
	instance string
	text     string
	err      bool
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// read answers a part of the log of an app, by time. Sources that nobody knows have no lines.
func read(q *cc.Req) (*cc.Reply, error) {
	a, ok := q.W.Apps.Get(q.Var("source"))
	if ok && !q.ReadsSpace(a.Space) {
		return nil, cc.NotFound("App")
	}
	var found []line
	if ok && wantsLogs(q) {
		found = lines(&q.Tx, a)
	}
	from, to := nanos(q, "start_time", 0), nanos(q, "end_time", q.Now.UnixNano()+1)
	found = slices.DeleteFunc(found, func(l line) bool { n := l.at.UnixNano(); return n < from || n >= to || l.at.After(q.Now) })
	limit := defaultLimit
	if n, err := strconv.Atoi(q.Query.Get("limit")); err == nil && n > 0 {
		limit = min(n, maxLimit)
	}
	if q.Query.Get("descending") == "true" {
		slices.Reverse(found)
	}
	batch := []any{}
	for _, l := range found[:min(limit, len(found))] {
		kind := "OUT"
		if l.err {
			kind = "ERR"
		}
		batch = append(batch, tree.O("timestamp", strconv.FormatInt(l.at.UnixNano(), 10), "source_id", a.GUID, "instance_id", l.instance,
			"deprecated_tags", tree.Obj{}, "tags", tree.O("source_type", l.source, "app_name", a.Name),
			"log", tree.O("payload", base64.StdEncoding.EncodeToString([]byte(l.text)), "type", kind)))
	}
	return cc.OK(tree.O("envelopes", tree.O("batch", batch))), nil
}

func wantsLogs(q *cc.Req) bool {
	t := q.Query["envelope_types"]
	return len(t) == 0 || slices.Contains(t, "LOG") || slices.Contains(t, "ANY")
}

func nanos(q *cc.Req, name string, fallback int64) int64 {
	if n, err := strconv.ParseInt(q.Query.Get(name), 10, 64); err == nil {
		return n
	}
	return fallback
}

// lines makes up the log of an app, oldest first.
func lines(tx *cc.Tx, a *world.App) []line {
	var out []line
	add := func(at time.Time, source, instance, format string, args ...any) *line {
		out = append(out, line{at: at, source: source, instance: instance, text: fmt.Sprintf(format, args...)})
		return &out[len(out)-1]
	}
	for _, b := range tx.W.Builds.By("app", a.GUID) {
		staging(b, add)
	}
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		source := "APP/PROC/" + strings.ToUpper(p.Type)
		for i, in := range p.Running {
			n := strconv.Itoa(i)
			add(in.Since, "CELL", n, "Cell sandbox creating container for instance %s", in.GUID)
			state, at := runtime.State(tx, p, i)
			switch {
			case p.Fault == runtime.FaultStuck:
				add(in.Since, source, n, "Waiting for what never comes").err = true
			case state == runtime.Crashed:
				add(at, source, n, "Exit status 1").err = true
				add(at, "CELL", n, "Process has crashed with type: %q", p.Type)
			case state == runtime.Running:
				add(at, source, n, "Listening on port 8080")
				add(at, "CELL", n, "Container became healthy")
			}
		}
	}
	for _, t := range tx.W.Tasks.By("app", a.GUID) {
		source := "APP/TASK/" + t.Name
		add(t.Created, source, "0", "Running: %s", "[the command of the task]")
		if t.State == world.TaskFailed {
			add(t.Updated, source, "0", "%s", t.FailReason).err = true
		} else if t.State == world.TaskSucceeded {
			add(t.Updated, source, "0", "Exit status 0")
		}
	}
	slices.SortStableFunc(out, func(x, y line) int { return cmp.Compare(x.at.UnixNano(), y.at.UnixNano()) })
	return out
}

// staging makes up the lines of a build, spread over the time that it took.
func staging(b *world.Build, add func(at time.Time, source, instance, format string, args ...any) *line) {
	what := "app package"
	if b.Lifecycle == world.Docker {
		what = "image manifest"
	}
	add(b.Created, "STG", "0", "Downloading %s...", what)
	step := b.Updated.Sub(b.Created) / 4
	if b.State == world.Staging {
		step = 0
	}
	add(b.Created.Add(step), "STG", "0", "Downloaded %s", what)
	for _, bp := range b.Buildpacks {
		add(b.Created.Add(2*step), "STG", "0", "-----> %s", bp)
	}
	switch b.State {
	case world.Staged:
		add(b.Updated, "STG", "0", "Uploading droplet, build artifacts cache...")
		add(b.Updated, "STG", "0", "Uploading complete")
	case world.Failed:
		add(b.Updated, "STG", "0", "%s", b.Error).err = true
	}
}

// meta lists the apps that the caller sees, as sources.
func meta(q *cc.Req) (*cc.Reply, error) {
	sees, out := q.Sees(), tree.Obj{}
	for a := range q.W.Apps.All() {
		if !sees.Space(a.Space) {
			continue
		}
		if l := lines(&q.Tx, a); len(l) > 0 {
			out.Set(a.GUID, tree.O("count", strconv.Itoa(len(l)), "expired", "0",
				"oldestTimestamp", strconv.FormatInt(l[0].at.UnixNano(), 10), "newestTimestamp", strconv.FormatInt(l[len(l)-1].at.UnixNano(), 10)))
		}
	}
	return cc.OK(tree.O("meta", out)), nil
}
