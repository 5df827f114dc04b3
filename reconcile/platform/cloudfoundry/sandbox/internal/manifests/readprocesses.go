package manifests

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

var (
	scaleKeys  = []string{"instances", "memory", "disk_quota", "log_rate_limit_per_second"}
	updateKeys = []string{
		"command", "health_check_type", "health_check_http_endpoint", "health_check_invocation_timeout", "health_check_interval",
		"readiness_health_check_type", "readiness_health_check_http_endpoint", "readiness_health_check_invocation_timeout",
		"readiness_health_check_interval", "timeout",
	}
)

func hasAny(o tree.Obj, keys []string) bool {
	return slices.ContainsFunc(o, func(f tree.Field) bool { return slices.Contains(keys, f.Key) })
}

// checkSizes notes sizes that are none.
func (e *entry) checkSizes(o tree.Obj, typ string) {
	for _, f := range []struct{ key, label string }{
		{"memory", "Memory"}, {"disk_quota", "Disk quota"}, {"log_rate_limit_per_second", "Log rate limit per second"},
	} {
		v := o.Get(f.key)
		if t := psych.Text(v); f.key == "log_rate_limit_per_second" && (t == "-1" || t == "0") {
			continue
		}
		if _, _, problem := bytesOf(v); problem != "" {
			e.add("Process %q: %s %s", typ, f.label, problem)
		}
	}
}

// checkList looks at the list of processes as such.
func (e *entry) checkList(o tree.Obj) (listed []tree.Obj) {
	v, has := o.Lookup("processes")
	l, isList := v.([]any)
	if has && !isList {
		e.add("Processes must be an array of process configurations")
	}
	untyped := false
	var order []string
	seen := map[string]int{}
	for _, item := range l {
		p, ok := item.(tree.Obj)
		if !ok {
			panic(fatal{}) //nolint:forbidigo // recovered by read
		}
		p = canonical(p)
		typ := psych.Text(p.Get("type"))
		untyped = untyped || strings.TrimSpace(typ) == ""
		if seen[typ]++; seen[typ] == 1 {
			order = append(order, typ)
		}
		listed = append(listed, p)
	}
	if untyped {
		e.add("All Processes must specify a type")
	}
	for _, t := range order {
		if seen[t] > 1 {
			e.add("Process %q may only be present once", t)
		}
	}
	for _, p := range listed {
		e.checkSizes(p, psych.Text(p.Get("type")))
	}
	return listed
}

// readProcesses reads the list of processes, and the attributes of the entry itself, which mean the web process unless the
// list has one (observed fact: then they are hidden altogether). The web process comes first.
func (e *entry) readProcesses(o tree.Obj, listed []tree.Obj) {
	i := slices.IndexFunc(listed, func(p tree.Obj) bool { return psych.Text(p.Get("type")) == "web" })
	var raw []tree.Obj
	if i >= 0 {
		raw = append(raw, listed[i])
	}
	for _, p := range listed {
		if psych.Text(p.Get("type")) != "web" {
			raw = append(raw, p)
		}
	}
	top := i < 0 && (hasAny(o, scaleKeys) || hasAny(o, updateKeys))
	if top {
		raw = slices.Insert(raw, 0, o)
	}
	for k, p := range raw {
		typ := psych.Text(p.Get("type"))
		if top && k == 0 {
			typ = "web"
		}
		e.processes = append(e.processes, e.readScale(p, typ, !top || k > 0))
	}
	for k := range e.processes {
		e.readUpdate(raw[k], &e.processes[k], !top || k > 0)
	}
}

// noted returns a function that notes problems of a process.
func (e *entry) noted(typ string) func(label, problem string) {
	return func(label, problem string) {
		if problem != "" {
			e.add("Process %q: %s %s", typ, label, problem)
		}
	}
}

func (e *entry) readScale(o tree.Obj, typ string, listed bool) process {
	p := process{typ: typ}
	note := e.noted(typ)
	var problem string
	p.scale.Instances, problem = number(o.Get("instances"), 0, 2000000)
	note("Instances", problem)
	p.scale.Memory, problem = megabytes(o.Get("memory"))
	note("Memory", problem)
	p.scale.Disk, problem = megabytes(o.Get("disk_quota"))
	note("Disk quota", problem)
	p.scale.LogRate, problem = logRate(o.Get("log_rate_limit_per_second"))
	note("Log rate limit", problem)
	p.sized = listed || len(p.scale.Request()) > 0
	return p
}

// number reads a whole number, which may be quoted; null is none.
func number(v any, lowest, highest int64) (*int, string) {
	var n int64
	switch x := v.(type) {
	case nil:
		return nil, ""
	case int64:
		n = x
	case string:
		i, err := strconv.ParseInt(x, 10, 64)
		if err != nil {
			return nil, "is not a number"
		}
		n = i
	case float64:
		return nil, "must be an integer"
	default:
		return nil, "is not a number"
	}
	if n < lowest {
		return nil, "must be greater than or equal to " + strconv.FormatInt(lowest, 10)
	}
	if n > highest {
		return nil, "must be less than or equal to " + strconv.FormatInt(highest, 10)
	}
	i := int(n)
	return &i, ""
}

var uriPath = regexp.MustCompile(`\A/[A-Za-z0-9\-._~%!$&'()*+,;=:@/?#]*\z`)

func (e *entry) readUpdate(o tree.Obj, p *process, listed bool) {
	note := e.noted(p.typ)
	given := slices.ContainsFunc(o, func(f tree.Field) bool {
		return slices.Contains(updateKeys, f.Key) || listed && (f.Key == "user" || f.Key == "health_check_timeout")
	})
	p.updates = given || listed && p.typ != "web"
	if listed && o.Has("health_check_timeout") {
		e.add("Process %q: Unknown field(s): 'health_check_timeout'", p.typ)
	}
	for _, label := range []string{"", "Readiness "} {
		prefix := strings.ToLower(strings.ReplaceAll(label, " ", "_"))
		if o.Has(prefix+"health_check_type") && o.Has(prefix+"health_check_http_endpoint") && o.Get(prefix+"health_check_type") != "http" {
			note(title(label+"health check"), `type must be "http" to set a health check HTTP endpoint`)
		}
	}
	if v, ok := o.Lookup("command"); ok {
		s, isText := v.(string)
		switch {
		case v == nil || v == false || s == "null" || s == "default":
			s = ""
			p.update.Command = &s
		case !isText:
			note("Command", "must be a string")
		case s == "" || len([]rune(s)) > 4096:
			note("Command", "must be between 1 and 4096 characters")
		default:
			p.update.Command = &s
		}
	}
	if v, ok := o.Lookup("user"); ok && listed { // observed fact: at the top level it means nothing
		s, isText := v.(string)
		switch {
		case v != nil && !isText:
			note("User", "must be a string")
		case isText && (s == "" || len([]rune(s)) > 255):
			note("User", "must be between 1 and 255 characters")
		}
		p.update.User = &s
	}
	p.update.Health = e.readHealth(o, "", "Health check", note)
	p.update.Readiness = e.readHealth(o, "readiness_", "Readiness health check", note)
	if o.Has("timeout") {
		if p.update.Health == nil {
			p.update.Health = &apps.HealthUpdate{}
		}
		n, problem := number(o.Get("timeout"), 1, math.MaxInt32)
		note("Timeout", problem)
		p.update.Health.Timeout = apps.Number{Given: true, Value: n}
	}
	p.request = updateRequest(o, p, listed)
}

func title(s string) string {
	s = strings.ToLower(s)
	return strings.ToUpper(s[:1]) + s[1:]
}

// readHealth reads a health check; nil when nothing is said about it. Null takes a number back to its default.
func (e *entry) readHealth(o tree.Obj, prefix, label string, note func(label, problem string)) *apps.HealthUpdate {
	u := &apps.HealthUpdate{}
	given := false
	if v, ok := o.Lookup(prefix + "health_check_type"); ok {
		given = true
		if u.Type, _ = v.(string); u.Type == "none" {
			u.Type = "process" // the old name (observed fact)
		}
		if !slices.Contains([]string{"port", "process", "http"}, u.Type) {
			note(label, `type must be "port", "process", or "http"`)
		}
	}
	if v, ok := o.Lookup(prefix + "health_check_http_endpoint"); ok {
		given, u.HasEndpoint = true, true
		if s, _ := v.(string); v != nil {
			if !uriPath.MatchString(s) {
				note(label, "http endpoint must be a valid URI path")
			}
			u.Endpoint = &s
		}
	}
	for _, f := range []struct {
		key, label string
		to         *apps.Number
	}{{"health_check_invocation_timeout", "invocation timeout", &u.InvocationTimeout}, {"health_check_interval", "interval", &u.Interval}} {
		v, ok := o.Lookup(prefix + f.key)
		if !ok {
			continue
		}
		given = true
		n, problem := number(v, 1, math.MaxInt32)
		note(label+" "+f.label, problem)
		*f.to = apps.Number{Given: true, Value: n}
	}
	if !given {
		return nil
	}
	return u
}

// updateRequest is what the audit event of an update by manifest says: the given attributes, and what they are called
// inside the controller (observed fact).
func updateRequest(o tree.Obj, p *process, listed bool) tree.Obj {
	r := tree.Obj{}
	for _, f := range o {
		if !slices.Contains(updateKeys, f.Key) && (f.Key != "user" || !listed) {
			continue
		}
		key, v := f.Key, f.Value
		switch {
		case key == "command":
			v = apps.Hidden
		case strings.HasSuffix(key, "health_check_type") && v == "none":
			v = "process"
		}
		r.Set(key, v)
	}
	r.Set("type", p.typ)
	for _, alias := range [][2]string{
		{"timeout", "health_check_timeout"},
		{"health_check_http_endpoint", "health_check_endpoint"},
		{"readiness_health_check_http_endpoint", "readiness_health_check_endpoint"},
	} {
		if v, ok := r.Lookup(alias[0]); ok {
			r.Set(alias[1], v)
		}
	}
	return r
}
