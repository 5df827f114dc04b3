package apps

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerProcesses(s *cc.Server) {
	s.Read("GET /v3/processes", listProcesses)
	s.Read("GET /v3/apps/{guid}/processes", appProcesses)
	both := func(register func(string, cc.Handler), method, tail string, h func(*cc.Req, *world.App, *world.Process) (*cc.Reply, error), roles ...string) {
		do := func(find func(*cc.Req) (*world.App, *world.Process, error)) cc.Handler {
			return func(q *cc.Req) (*cc.Reply, error) {
				a, p, err := find(q)
				if err != nil {
					return nil, err
				}
				if roles != nil {
					if err := q.MayWriteSpace(a.Space, roles...); err != nil {
						return nil, err
					}
				}
				return h(q, a, p)
			}
		}
		register(method+" /v3/processes/{guid}"+tail, do(processByGUID))
		register(method+" /v3/apps/{guid}/processes/{type}"+tail, do(processByType))
	}
	dev := []string{world.SpaceDeveloper, world.SpaceSupporter}
	both(s.Read, "GET", "", showProcess)
	both(s.Read, "GET", "/stats", showStats)
	both(s.Read, "GET", "/process_instances", showInstances)
	both(s.Write, "PATCH", "", updateProcess, dev...)
	both(s.Write, "POST", "/actions/scale", scaleProcess, dev...)
	both(s.Write, "DELETE", "/instances/{index}", terminateInstance, dev...)
	s.Read("GET /v3/processes/{guid}/sidecars", processSidecars)
}

func processByGUID(q *cc.Req) (*world.App, *world.Process, error) {
	p, ok := q.W.Processes.Get(q.Var("guid"))
	if ok {
		if a, err := Visible(q, p.App); err == nil {
			return a, p, nil
		}
	}
	return nil, nil, cc.NotFound("Process")
}

func processByType(q *cc.Req) (*world.App, *world.Process, error) {
	a, err := Find(q)
	if err != nil {
		return nil, nil, err
	}
	p := runtime.Process(&q.Tx, a.GUID, q.Var("type"))
	if p == nil {
		return nil, nil, cc.NotFound("Process")
	}
	return a, p, nil
}

func spaceOf(q *cc.Req, app string) string {
	if a, ok := q.W.Apps.Get(app); ok {
		return a.Space
	}
	return ""
}

var processes = &cc.List[*world.Process]{
	Filters: []cc.Filter[*world.Process]{
		cc.In("app_guid", func(_ *cc.Req, p *world.Process) string { return p.App }),
		cc.In("types", func(_ *cc.Req, p *world.Process) string { return p.Type }),
		cc.In("space_guids", func(q *cc.Req, p *world.Process) string { return spaceOf(q, p.App) }),
		cc.In("organization_guids", func(q *cc.Req, p *world.Process) string { return OrgOf(&q.Tx, spaceOf(q, p.App)) }),
		cc.In("app_guids", func(_ *cc.Req, p *world.Process) string { return p.App }),
		{Name: "embed", Make: func(_ *cc.Req, values []string) (func(*world.Process) bool, string) {
			if slices.Equal(values, []string{"process_instances"}) {
				return nil, ""
			}
			return nil, "Invalid embed: '" + strings.Join(values, "', '") + "'. Valid embeds are: 'process_instances'"
		}},
		cc.Labels[*world.Process](),
	},
	Show: func(q *cc.Req, p *world.Process) any {
		// Observed fact: lists hide every command.
		o := PresentProcess(q, p, "[PRIVATE DATA HIDDEN IN LISTS]")
		if q.Query.Get("embed") == "process_instances" {
			var out tree.Obj
			for _, f := range o {
				out = append(out, f)
				if f.Key == "readiness_health_check" {
					out = append(out, tree.Field{Key: "process_instances", Value: instances(q, p)})
				}
			}
			return out
		}
		return o
	},
}

func listProcesses(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return processes.Answer(q, q.W.Processes.All(), func(p *world.Process) bool { return sees.Space(spaceOf(q, p.App)) })
}

func appProcesses(q *cc.Req) (*cc.Reply, error) {
	a, err := Find(q)
	if err != nil {
		return nil, err
	}
	return processes.Answer(q, slices.Values(q.W.Processes.By("app", a.GUID)), nil)
}

func presentHealth(h world.HealthCheck, readiness bool) tree.Obj {
	data := tree.Obj{}
	if !readiness {
		data.Set("timeout", h.Timeout)
	}
	data.Set("invocation_timeout", h.InvocationTimeout)
	data.Set("interval", h.Interval)
	if h.Type == "http" {
		data.Set("endpoint", h.Endpoint)
	}
	return tree.O("type", h.Type, "data", data)
}

// PresentProcess shows a process with the given text for its command.
func PresentProcess(q *cc.Req, p *world.Process, command string) tree.Obj {
	self := "/v3/processes/" + p.GUID
	var revision any
	if p.Revision != "" {
		revision = cc.One(p.Revision)
	}
	return cc.Head(&p.Base,
		"version", p.Version, "type", p.Type, "command", command, "user", userOf(q, p), "instances", p.Instances,
		"memory_in_mb", p.Memory, "disk_in_mb", p.Disk, "log_rate_limit_in_bytes_per_second", p.LogRate,
		"health_check", presentHealth(p.Health, false), "readiness_health_check", presentHealth(p.Readiness, true),
		"relationships", tree.O("app", cc.One(p.App), "revision", revision),
		"metadata", cc.Meta(&p.Base),
		"links", tree.O("self", q.Link(self), "scale", q.Action(self+"/actions/scale", "POST"), "app", q.Link("/v3/apps/"+p.App),
			"space", q.Link("/v3/spaces/"+spaceOf(q, p.App)), "stats", q.Link(self+"/stats"), "process_instances", q.Link(self+"/process_instances")))
}

func userOf(_ *cc.Req, p *world.Process) string {
	if p.User != "" {
		return p.User
	}
	return "vcap"
}

func present(q *cc.Req, a *world.App, p *world.Process) tree.Obj {
	command := Hidden
	if q.Secrets(a.Space) {
		command = runtime.Command(&q.Tx, p)
	}
	return PresentProcess(q, p, command)
}

func showProcess(q *cc.Req, a *world.App, p *world.Process) (*cc.Reply, error) {
	return cc.OK(present(q, a, p)), nil
}

// ProcessUpdate is a change of a process other than its size. Nil leaves alone.
type ProcessUpdate struct {
	Command   *string // "" goes back to the detected one
	User      *string
	Health    *HealthUpdate
	Readiness *HealthUpdate
	Meta      cc.Metadata
}

// HealthUpdate is a change of a health check.
type HealthUpdate struct {
	Type                                 string // "" leaves alone
	Endpoint                             *string
	HasEndpoint                          bool
	Timeout, InvocationTimeout, Interval Number
}

// Number is a number that a change may set, or take back to its default with null.
type Number struct {
	Given bool
	Value *int
}

func (n Number) set(to **int) {
	if n.Given {
		*to = n.Value
	}
}

var (
	uriPath      = regexp.MustCompile(`\A/[A-Za-z0-9\-._~%!$&'()*+,;=:@/?#]*\z`)
	allowedUsers = []string{"vcap", "ContainerUser", "TestUser"}
)

// ReadHealth reads a health check of a body; label is "Health check" or "Readiness health check".
func ReadHealth(b *cc.Body, key, label string) *HealthUpdate {
	v, ok := b.Lookup(key)
	if !ok || v == nil {
		return nil
	}
	o, ok := v.(tree.Obj)
	if !ok {
		b.Add("%s must be an object", label)
		return nil
	}
	u := &HealthUpdate{}
	if t, ok := o.Lookup("type"); ok {
		u.Type, _ = t.(string)
		if !slices.Contains([]string{"port", "process", "http"}, u.Type) {
			b.Add(`%s type must be "port", "process", or "http"`, label)
		}
	}
	d, ok := o.Lookup("data")
	if !ok || d == nil {
		return u
	}
	data, ok := d.(tree.Obj)
	if !ok {
		b.Add("%s data must be an object", label)
		return nil
	}
	u.Timeout = positive(b, data, "timeout", label+" timeout")
	u.InvocationTimeout = positive(b, data, "invocation_timeout", label+" invocation timeout")
	u.Interval = positive(b, data, "interval", label+" interval")
	if e, ok := data.Lookup("endpoint"); ok {
		u.HasEndpoint = true
		s, isText := e.(string)
		if len([]rune(s)) > 255 {
			b.Add("%s endpoint is too long (maximum is 255 characters)", label)
		}
		if e != nil && (!isText || !uriPath.MatchString(s)) {
			b.Add("%s endpoint must be a valid URI path", label)
		}
		if isText {
			u.Endpoint = &s
		}
	}
	return u
}

func positive(b *cc.Body, data tree.Obj, key, label string) Number {
	v, ok := data.Lookup(key)
	if !ok || v == nil {
		return Number{Given: ok}
	}
	return Number{true, whole(b, v, label, 1, "greater than or equal to 1", math.MaxInt32)}
}

// whole checks a number in the words of the controller's framework.
func whole(b *cc.Body, v any, label string, lowest int, bound string, highest int64) *int {
	switch n := v.(type) {
	case int64:
		if n < int64(lowest) {
			b.Add("%s must be %s", label, bound)
			return nil
		}
		if n > highest {
			b.Add("%s must be less than or equal to %d", label, highest)
			return nil
		}
		i := int(n)
		return &i
	case float64:
		b.Add("%s must be an integer", label)
	default:
		b.Add("%s is not a number", label)
	}
	return nil
}

func updateProcess(q *cc.Req, a *world.App, p *world.Process) (*cc.Reply, error) {
	b, err := q.Body("command", "user", "health_check", "readiness_health_check", "metadata")
	if err != nil {
		return nil, err
	}
	var u ProcessUpdate
	if v, ok := b.Lookup("command"); ok {
		s, isText := v.(string)
		switch {
		case v != nil && !isText:
			b.Add("Command must be a string")
		case isText && (s == "" || len([]rune(s)) > 4096):
			b.Add("Command must be between 1 and 4096 characters")
		default:
			u.Command = &s
		}
	}
	if v, ok := b.Lookup("user"); ok {
		s, isText := v.(string)
		switch {
		case v != nil && !isText:
			b.Add("User must be a string")
		case isText && (s == "" || len([]rune(s)) > 255):
			b.Add("User must be between 1 and 255 characters")
		}
		u.User = &s
	}
	u.Health = ReadHealth(b, "health_check", "Health check")
	u.Readiness = ReadHealth(b, "readiness_health_check", "Readiness health check")
	u.Meta = b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	request := b.Clone()
	if request.Has("command") {
		request.Set("command", Hidden)
	}
	if err := u.Check(&q.Tx, p); err != nil {
		return nil, err
	}
	if err := u.Meta.Check(&p.Base); err != nil {
		return nil, err
	}
	u.Apply(&q.Tx, a, p, request, false)
	return cc.OK(PresentProcess(q, p, runtime.Command(&q.Tx, p))), nil
}

// Check looks at what only the process itself can tell: limits of the platform, a deployment in flight.
func (u *ProcessUpdate) Check(tx *cc.Tx, p *world.Process) error {
	if p.Type == "web" && runtime.Deploying(tx, p.App) != nil {
		return cc.Unprocessable("Cannot update this process while a deployment is in flight.")
	}
	var problems []string
	if u.Health != nil {
		h := u.Health.applied(p.Health)
		if h.Timeout != nil && *h.Timeout > runtime.MaxTimeout {
			problems = append(problems, "health_check_timeout Maximum exceeded: max 180s")
		}
		if h.Type == "http" && h.Endpoint == "" {
			problems = append(problems, "health_check_http_endpoint HTTP health check endpoint is not a valid URI path: ")
		}
	}
	if u.Readiness != nil {
		if h := u.Readiness.applied(p.Readiness); h.Type == "http" && h.Endpoint == "" {
			problems = append(problems, "readiness_health_check_http_endpoint HTTP readiness health check endpoint is not a valid URI path: ")
		}
	}
	if u.User != nil && *u.User != "" && !slices.Contains(allowedUsers, *u.User) {
		problems = append(problems, "user invalid (requested user '"+*u.User+"' not allowed, permitted users are: 'vcap', 'ContainerUser', 'TestUser')")
	}
	if problems != nil {
		return cc.Unprocessable("%s", strings.Join(problems, ", "))
	}
	return nil
}

// applied is a health check after the change.
func (u *HealthUpdate) applied(h world.HealthCheck) world.HealthCheck {
	if u.Type != "" {
		h.Type = u.Type
	}
	u.Timeout.set(&h.Timeout)
	u.InvocationTimeout.set(&h.InvocationTimeout)
	u.Interval.set(&h.Interval)
	switch {
	case u.Type != "" && u.Type != "http":
		h.Endpoint = ""
	case u.HasEndpoint && u.Endpoint == nil:
		h.Endpoint = ""
	case u.HasEndpoint:
		h.Endpoint = *u.Endpoint
	}
	return h
}

// Apply makes the change and leaves its event; request is what the event says about it. Running instances stay as they
// are, and so does the version of the process (reference: Updating Actual State).
func (u *ProcessUpdate) Apply(tx *cc.Tx, a *world.App, p *world.Process, request tree.Obj, manifest bool) {
	if u.Command != nil {
		p.Command = *u.Command
	}
	if u.User != nil {
		p.User = *u.User
	}
	if u.Health != nil {
		p.Health = u.Health.applied(p.Health)
	}
	if u.Readiness != nil {
		p.Readiness = u.Readiness.applied(p.Readiness)
	}
	u.Meta.Apply(&p.Base)
	tx.Touch(&p.Base)
	runtime.Audit(tx, a, "audit.app.process.update", Triggered(tree.O("process_guid", p.GUID, "process_type", p.Type, "request", request), manifest))
}

// Scale is a change of the size of a process. Nil leaves alone.
type Scale struct {
	Instances, Memory, Disk, LogRate *int
}

const (
	maxInt32 = math.MaxInt32
	maxInt64 = math.MaxInt64
)

// ReadScale reads the fields of a scale request.
func ReadScale(b *cc.Body) Scale {
	read := func(key string, lowest int, bound string, highest int64) *int {
		v, ok := b.Lookup(key)
		if !ok || v == nil {
			return nil
		}
		return whole(b, v, cc.Human(key), lowest, bound, highest)
	}
	return Scale{
		Instances: read("instances", 0, "greater than or equal to 0", maxInt32),
		Memory:    read("memory_in_mb", 1, "greater than 0", maxInt32),
		Disk:      read("disk_in_mb", 1, "greater than 0", maxInt32),
		LogRate:   read("log_rate_limit_in_bytes_per_second", -1, "greater than or equal to -1", maxInt64),
	}
}

// Request is the scale as events say it: the given fields only.
func (s Scale) Request() tree.Obj {
	o := tree.Obj{}
	for _, f := range []struct {
		key string
		v   *int
	}{{"instances", s.Instances}, {"memory_in_mb", s.Memory}, {"disk_in_mb", s.Disk}, {"log_rate_limit_in_bytes_per_second", s.LogRate}} {
		if f.v != nil {
			o.Set(f.key, *f.v)
		}
	}
	return o
}

func scaleProcess(q *cc.Req, a *world.App, p *world.Process) (*cc.Reply, error) {
	b, err := q.Body("instances", "memory_in_mb", "disk_in_mb", "log_rate_limit_in_bytes_per_second")
	if err != nil {
		return nil, err
	}
	if err := q.Feature("app_scaling"); err != nil {
		return nil, err
	}
	s := ReadScale(b)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := s.Check(&q.Tx, a, p); err != nil {
		return nil, err
	}
	s.Apply(&q.Tx, a, p, false)
	// Observed fact: who may scale sees the command in the answer, even a supporter, who does not see it elsewhere.
	return &cc.Reply{Status: 202, Body: PresentProcess(q, p, runtime.Command(&q.Tx, p))}, nil
}

// Check looks at a deployment in flight and the limits of the platform and of quotas.
func (s Scale) Check(tx *cc.Tx, a *world.App, p *world.Process) error {
	if p.Type == "web" && runtime.Deploying(tx, p.App) != nil {
		return cc.Unprocessable("Cannot scale this process while a deployment is in flight.")
	}
	if s.Memory != nil && *s.Memory != p.Memory && *s.Memory <= sidecarMemory(tx, p) {
		return cc.Unprocessable("The requested memory allocation is not large enough to run all of your sidecar processes")
	}
	problems := s.diskProblems()
	if a.Started {
		after := *p
		s.set(&after)
		problems = append(problems, runtime.QuotaProblems(tx, a, p, &after)...)
	}
	if problems != nil {
		return cc.Unprocessable("%s", strings.Join(problems, ", "))
	}
	return nil
}

func (s Scale) diskProblems() (problems []string) {
	if s.Disk != nil && *s.Disk > runtime.MaxDisk {
		problems = append(problems, "disk_quota too much disk requested (requested "+string(tree.JSON(*s.Disk))+" MB - must be less than 10240 MB)")
	}
	return problems
}

// Limits says which limits of the platform a process would break, quotas apart.
func (s Scale) Limits(tx *cc.Tx, p *world.Process) []string {
	problems := s.diskProblems()
	if s.Memory != nil && *s.Memory != p.Memory && *s.Memory <= sidecarMemory(tx, p) {
		problems = append(problems, "memory process_memory_insufficient_for_sidecars")
	}
	return problems
}

// sidecarMemory is what the sidecars of a process take of its memory.
func sidecarMemory(tx *cc.Tx, p *world.Process) (sum int) {
	for _, s := range tx.W.Sidecars.By("app", p.App) {
		if s.Memory != nil && slices.Contains(s.ProcessTypes, p.Type) {
			sum += *s.Memory
		}
	}
	return sum
}

func (s Scale) set(p *world.Process) {
	if s.Instances != nil {
		p.Instances = *s.Instances
	}
	if s.Memory != nil {
		p.Memory = *s.Memory
	}
	if s.Disk != nil {
		p.Disk = *s.Disk
	}
	if s.LogRate != nil {
		p.LogRate = *s.LogRate
	}
}

// Apply makes the change and leaves its event. Another number alone adds or removes instances at once. With anything else the
// running instances stay as they are, and the change takes effect, the number included, when the app is restarted
// (reference: Updating Actual State).
func (s Scale) Apply(tx *cc.Tx, a *world.App, p *world.Process, manifest bool) {
	memory, disk, logs := p.Memory, p.Disk, p.LogRate
	s.set(p)
	tx.Touch(&p.Base)
	if p.Memory != memory {
		runtime.Changed(tx, a, p)
	}
	if a.Started && p.Memory == memory && p.Disk == disk && p.LogRate == logs {
		runtime.Resize(tx, a, p)
	}
	runtime.Audit(tx, a, "audit.app.process.scale", Triggered(tree.O("process_guid", p.GUID, "process_type", p.Type, "request", s.Request()), manifest))
}

// Whole reads a number of a body; a missing one or null is nil.
func Whole(b *cc.Body, key string, lowest int, bound string, highest int64) *int {
	v, ok := b.Lookup(key)
	if !ok || v == nil {
		return nil
	}
	return whole(b, v, cc.Human(key), lowest, bound, highest)
}
