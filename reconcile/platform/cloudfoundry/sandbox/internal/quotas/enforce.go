package quotas

import (
	"fmt"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// scope is an organization or a space with its quota and what is used of it.
type scope struct {
	kind, name string
	limits     *world.Limits // nil when there is no quota
	used       usage
}

func orgLimits(tx *cc.Tx, org string) *world.Limits {
	if o, ok := tx.W.Orgs.Get(org); ok {
		if q, ok := tx.W.OrgQuotas.Get(o.Quota); ok {
			return &q.Limits
		}
	}
	return nil
}

// scopes are what limits things in a space. Nothing is counted where there is nothing to keep.
func scopes(tx *cc.Tx, space string) (org, sp scope) {
	s, ok := tx.W.Spaces.Get(space)
	if !ok {
		return org, sp
	}
	sp = scope{kind: "space", name: s.Name}
	if q, ok := tx.W.SpaceQuotas.Get(s.Quota); ok {
		sp.limits = &q.Limits
		sp.used = used(tx, []*world.Space{s})
	}
	org = scope{kind: "organization"}
	if o, ok := tx.W.Orgs.Get(s.Org); ok {
		org.name = o.Name
	}
	if l := orgLimits(tx, s.Org); l != nil && (*l != world.Limits{PaidServices: true}) {
		org.limits = l
		org.used = used(tx, tx.W.Spaces.By("org", s.Org))
	}
	return org, sp
}

func over(limit *int, n int) bool { return limit != nil && n > *limit }

// problems are texts by the field that they are about, which come out in the order of the fields.
type problems struct {
	fields []string
	texts  map[string][]string
}

func (p *problems) add(field, text string) {
	if p.texts == nil {
		p.texts = map[string][]string{}
	}
	if p.texts[field] == nil {
		p.fields = append(p.fields, field)
	}
	p.texts[field] = append(p.texts[field], field+" "+text)
}

func (p *problems) list() (out []string) {
	for _, f := range p.fields {
		out = append(out, p.texts[f]...)
	}
	return out
}

// Process says which limits a process of a started app would break if it became after. Before is the process as it
// counts now, nil when it does not count yet (its app is being started).
func Process(tx *cc.Tx, space string, before, after *world.Process) []string {
	org, sp := scopes(tx, space)
	was := world.Process{}
	if before != nil {
		was = *before
	}
	memory := after.Instances*after.Memory - was.Instances*was.Memory
	instances := after.Instances - was.Instances
	logs := after.Instances*max(after.LogRate, 0) - was.Instances*max(was.LogRate, 0)
	logsChange := before == nil || before.Instances != after.Instances || before.LogRate != after.LogRate

	var p problems
	tooMuch := func(s scope, text string) {
		if s.limits != nil && over(s.limits.TotalMemory, s.used.memory+memory) {
			p.add("memory", text)
		}
	}
	tooLarge := func(s scope, text string) {
		if s.limits != nil && over(s.limits.PerProcessMemory, after.Memory) {
			p.add("memory", text)
		}
	}
	tooMany := func(s scope, text string) {
		if s.limits != nil && over(s.limits.TotalInstances, s.used.instances+instances) {
			p.add("app_instance_limit", text)
		}
	}
	tooLoud := func(s scope) {
		if logsChange {
			loud(&p, s, after.LogRate, logs)
		}
	}
	tooMuch(sp, "space_quota_exceeded")
	tooMuch(org, "quota_exceeded")
	tooLarge(org, "instance_memory_limit_exceeded")
	tooLarge(sp, "space_instance_memory_limit_exceeded")
	tooMany(org, "app_instance_limit_exceeded")
	tooMany(sp, "space_app_instance_limit_exceeded")
	tooLoud(sp)
	tooLoud(org)
	return p.list()
}

func loud(p *problems, s scope, rate, more int) {
	switch {
	case s.limits == nil || s.limits.LogRateLimit == nil:
	case rate == -1:
		p.add("log_rate_limit", fmt.Sprintf("cannot be unlimited in %s '%s'.", s.kind, s.name))
		if s.used.logRate-1 > *s.limits.LogRateLimit { // -1 is also what is compared with the rest (sic)
			p.add("log_rate_limit", "exceeds "+s.kind+" log rate quota")
		}
	case s.used.logRate+more > *s.limits.LogRateLimit:
		p.add("log_rate_limit", "exceeds "+s.kind+" log rate quota")
	}
}

// Task says which limits one more task of that size would break.
func Task(tx *cc.Tx, space string, memory, logRate int) []string {
	org, sp := scopes(tx, space)
	var p problems
	for _, s := range []scope{org, sp} {
		if s.limits == nil {
			continue
		}
		if over(s.limits.TotalMemory, s.used.memory+memory) {
			p.add("memory_in_mb", "exceeds "+s.kind+" memory quota")
		}
		if over(s.limits.PerProcessMemory, memory) {
			p.add("memory_in_mb", "exceeds "+s.kind+" instance memory quota")
		}
		loud(&p, s, logRate, max(logRate, 0))
		if over(s.limits.PerAppTasks, s.used.tasks+1) {
			p.add("app_task_limit", "quota exceeded")
		}
	}
	return p.list()
}

// Staging says which limit a build of that size would break, "" for none; nil memory is the minimum, which every build is
// given. The requests of a build that is under way count
// for nothing (QuotaValidatingStagingMemoryCalculator and its sibling for log rates).
func Staging(tx *cc.Tx, space string, memory *int, logRate int) string {
	org, sp := scopes(tx, space)
	for _, s := range []scope{sp, org} {
		if s.limits != nil && memory != nil && over(s.limits.TotalMemory, s.used.memory+*memory) {
			return fmt.Sprintf("%s's memory limit exceeded: staging requires %dM memory", s.kind, *memory)
		}
	}
	for _, s := range []scope{sp, org} {
		if s.limits != nil && over(s.limits.LogRateLimit, s.used.logRate+logRate) {
			return fmt.Sprintf("%s's log rate limit exceeded: staging requires %d bytes per second", s.kind, logRate)
		}
	}
	return ""
}

// Route says why there may not be one more route in a space, "" when there may.
func Route(tx *cc.Tx, space string, port bool) string {
	org, sp := scopes(tx, space)
	for _, s := range []scope{sp, org} {
		if s.limits != nil && over(s.limits.TotalRoutes, s.used.routes+1) {
			return fmt.Sprintf("Routes quota exceeded for %s '%s'.", s.kind, s.name)
		}
		if s.limits != nil && port && over(s.limits.TotalReservedPorts, s.used.ports+1) {
			return fmt.Sprintf("Reserved route ports quota exceeded for %s '%s'.", s.kind, s.name)
		}
	}
	return ""
}

// Domain says why an organization may not have one more private domain, "" when it may.
func Domain(tx *cc.Tx, org string) string {
	l := orgLimits(tx, org)
	if l == nil || !over(l.TotalDomains, ownedDomains(tx, org)+1) {
		return ""
	}
	o, _ := tx.W.Orgs.Get(org)
	return fmt.Sprintf("The number of private domains exceeds the quota for organization %q", o.Name)
}

// ServiceInstance says why there may not be one more managed service instance of such a plan, "" when there may.
func ServiceInstance(tx *cc.Tx, space string, free bool) string {
	org, sp := scopes(tx, space)
	if sp.limits != nil && over(sp.limits.TotalServiceInstances, sp.used.services+1) {
		return "You have exceeded your space's services limit."
	}
	if org.limits != nil && over(org.limits.TotalServiceInstances, org.used.services+1) {
		return "You have exceeded your organization's services limit."
	}
	return PaidPlan(tx, space, free)
}

// PaidPlan says why a plan that costs something may not be used, "" when it may.
func PaidPlan(tx *cc.Tx, space string, free bool) string {
	org, sp := scopes(tx, space)
	switch {
	case free:
	case sp.limits != nil && !sp.limits.PaidServices:
		return "The service instance cannot be created because paid service plans are not allowed for your space."
	case org.limits != nil && !org.limits.PaidServices:
		return "The service instance cannot be created because paid service plans are not allowed."
	}
	return ""
}

// ServiceKey says why there may not be one more service key in a space, "" when there may.
func ServiceKey(tx *cc.Tx, space string) string {
	org, sp := scopes(tx, space)
	switch {
	case sp.limits != nil && over(sp.limits.TotalServiceKeys, sp.used.keys+1):
		return "You have exceeded your space's limit for service binding of type key."
	case org.limits != nil && over(org.limits.TotalServiceKeys, org.used.keys+1):
		return "You have exceeded your organization's limit for service binding of type key."
	}
	return ""
}

// Err is the 422 for some problems, nil for none.
func Err(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return cc.Unprocessable("%s", strings.Join(problems, ", "))
}
