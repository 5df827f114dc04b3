package cloudfoundry

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// quota is the part of an organization's or a space's quota that a plan can meet. Null is unlimited.
type quota struct {
	ccv3.Resource
	Name string `json:"name"`
	Apps struct {
		TotalMemory      *int64 `json:"total_memory_in_mb"`
		PerProcessMemory *int64 `json:"per_process_memory_in_mb"`
		TotalInstances   *int64 `json:"total_instances"`
		LogRateLimit     *int64 `json:"log_rate_limit_in_bytes_per_second"`
	} `json:"apps"`
	Services struct {
		Paid           *bool  `json:"paid_services_allowed"`
		TotalInstances *int64 `json:"total_service_instances"`
		TotalKeys      *int64 `json:"total_service_keys"`
	} `json:"services"`
	Routes struct {
		Total         *int64 `json:"total_routes"`
		ReservedPorts *int64 `json:"total_reserved_ports"`
	} `json:"routes"`
}

// usage is what counts against a quota: of apps those that are started, and tasks (org.memory_used of the controller).
type usage struct {
	Memory    int64 `json:"memory_in_mb"`
	Instances int64 `json:"started_instances"`
	Routes    int64 `json:"routes"`
	Ports     int64 `json:"reserved_ports"`
	Services  int64 `json:"service_instances"`
	Keys      int64 `json:"service_keys"`
}

// limit is a quota, and what is used of it.
type limit struct {
	kind string // "organization", "space"
	path string // "ORG", "ORG/SPACE"
	quota
	used usage
	logs int64 // what is seen of it: the API does not add it up
}

func (l *limit) String() string { return fmt.Sprintf("the %s quota %s", l.kind, l.Name) }

// readQuotas reads the quotas that the plan can meet, and what is used of those that limit anything of it. There are none
// where the user may not read them.
func (c *checks) readQuotas(ctx context.Context) error {
	c.limits = nil
	paths := map[string]place{}
	for _, l := range c.loads {
		paths[l.name] = c.where[l.name]
	}
	for _, list := range [][]ask{c.routes, c.keys} {
		for _, a := range list {
			paths[a.object.Ref.Space()] = c.where[a.object.Ref.Space()]
		}
	}
	for _, x := range c.services {
		if x.chosen {
			paths[x.object.Ref.Space()] = c.where[x.object.Ref.Space()]
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	seen := map[string]bool{}
	read := func(kind, path, guid, owner string) {
		if guid == "" || seen[owner] {
			return
		}
		seen[owner] = true
		group.Go(func() error {
			q, old, err := recall(c.driver, "/v3/"+kind+"_quotas/"+guid, func() (q quota, err error) {
				_, err = c.driver.client.Do(ctx, "GET", "/v3/"+kind+"_quotas/"+guid, nil, &q)
				return q, err
			})
			if unreadable(err) {
				return nil
			} else if err != nil {
				return err
			}
			l := &limit{kind: kind, path: path, quota: q}
			if !c.meets(l) {
				return nil
			}
			var answer struct {
				Usage usage `json:"usage_summary"`
			}
			if _, err = c.driver.client.Do(ctx, "GET", "/v3/"+kind+"s/"+owner+"/usage_summary", nil, &answer); unreadable(err) {
				return nil
			} else if err != nil {
				return err
			}
			l.used, l.logs = answer.Usage, c.logsIn(path)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.remembered = c.remembered || old
			c.limits = append(c.limits, l)
			return nil
		})
	}
	for path, p := range paths {
		org, _, _ := strings.Cut(path, "/")
		read("space", path, p.spaceQuota, p.space)
		read("organization", org, p.orgQuota, p.org)
	}
	err := group.Wait()
	slices.SortFunc(c.limits, func(a, b *limit) int { return cmp.Or(cmp.Compare(b.kind, a.kind), cmp.Compare(a.path, b.path)) })
	return err
}

// meets reports whether the plan can come against a limit of the quota.
func (c *checks) meets(l *limit) bool {
	apps := l.Apps.TotalMemory != nil || l.Apps.PerProcessMemory != nil || l.Apps.TotalInstances != nil || l.Apps.LogRateLimit != nil
	routes := l.Routes.Total != nil || l.Routes.ReservedPorts != nil
	services := l.Services.TotalInstances != nil || l.Services.Paid != nil && !*l.Services.Paid
	return apps && slices.ContainsFunc(c.loads, func(x load) bool { return l.holds(x.name) }) ||
		routes && slices.ContainsFunc(c.routes, func(a ask) bool { return l.holds(a.object.Ref.Space()) }) ||
		services && slices.ContainsFunc(c.services, func(x planAsk) bool { return x.chosen && l.holds(x.object.Ref.Space()) }) ||
		l.Services.TotalKeys != nil && slices.ContainsFunc(c.keys, func(a ask) bool { return l.holds(a.object.Ref.Space()) })
}

// holds reports whether the limit is one of that space.
func (l *limit) holds(space string) bool {
	return strings.EqualFold(l.path, space) || l.kind == "organization" && strings.HasPrefix(strings.ToLower(space), strings.ToLower(l.path)+"/")
}

// logsIn adds up the log rates of the started apps that were observed there: at least this much is used.
func (c *checks) logsIn(path string) (sum int64) {
	for _, o := range c.live.Live.Of(manifest.KindApp) {
		at := strings.ToLower(o.Ref.Path)
		if o.Spec["state"] == "STARTED" && strings.HasPrefix(at, strings.ToLower(path)+"/") {
			sum += total(processesOf(o))[logBytes]
		}
	}
	return sum
}

// key tells steps apart, and where there are none the objects.
func (a ask) key() string {
	if a.object == nil {
		return ""
	}
	return cmp.Or(a.step, a.object.Ref.String())
}

const askForLess = "ask for less, stop something else, or have the quota raised"

// checkQuotas comes after the other checks: what fails anyway takes nothing.
func (c *checks) checkQuotas() {
	refused := maps.Clone(c.doomed)
	if refused == nil {
		refused = map[string]bool{}
	}
	for _, f := range c.found {
		refused[f.key()] = refused[f.key()] || !f.warning
	}
	refuse := func(f finding) {
		refused[f.key()] = true
		f.rule = "quota"
		c.add(f)
	}
	for _, l := range c.limits {
		c.checkSizes(l, refused, refuse)
	}
	for _, l := range c.limits {
		c.checkPaid(l, refuse)
		ports := slices.DeleteFunc(slices.Clone(c.routes), func(a ask) bool { return routeOf(a.object).Port == 0 })
		const fewer = "remove routes that nothing uses (cf delete-orphaned-routes), or have the quota raised"
		const delete1 = "delete one that nothing uses, or have the quota raised"
		routes, instances, keys := c.gone[manifest.KindRoute], c.gone[manifest.KindServiceInstance], c.gone[manifest.KindServiceKey]
		count(l, c.routes, "route", l.Routes.Total, l.used.Routes, routes, fewer, refused, refuse)
		count(l, ports, "reserved port", l.Routes.ReservedPorts, l.used.Ports, routes, fewer, refused, refuse)
		count(l, c.created, "service instance", l.Services.TotalInstances, l.used.Services, instances, delete1, refused, refuse)
		count(l, c.keys, "service key", l.Services.TotalKeys, l.used.Keys, keys, delete1, refused, refuse)
	}
	for _, l := range c.limits {
		for which, most := range []*int64{l.Apps.TotalMemory, l.Apps.TotalInstances, l.Apps.LogRateLimit} {
			if most != nil {
				c.checkAmounts(l, which, *most, refused, refuse)
			}
		}
		c.warnOfStaging(l, refused)
	}
}

// checkSizes looks at single processes: how large one may be, and whether it may write as much to the log as it likes.
func (c *checks) checkSizes(l *limit, refused map[string]bool, refuse func(finding)) {
	for _, x := range c.loads {
		if refused[x.key()] || !l.holds(x.name) {
			continue
		}
		for _, p := range x.sizes {
			at := x.ask
			if most := l.Apps.PerProcessMemory; most != nil && p.memory != nil && *p.memory > *most {
				at.pointer = manifest.Pointer("processes", p.process, "memory_in_mb")
				refuse(finding{
					ask: at, message: fmt.Sprintf("an instance of the process %s needs %s; %s allows %s", p.process, megabytes(*p.memory), l, megabytes(*most)),
					hint: "ask for less, or have the quota raised",
				})
			}
			if most := l.Apps.LogRateLimit; most != nil && p.logRate != nil && *p.logRate == -1 {
				at.pointer = manifest.Pointer("processes", p.process, "log_rate_limit_in_bytes_per_second")
				refuse(finding{
					ask: at, message: fmt.Sprintf("the log rate of the process %s is unlimited, which %s does not allow", p.process, l),
					hint: "declare log-rate-limit-per-second",
				})
			}
		}
	}
}

// count looks whether all that is to be created fits, once all is deleted that the plan may delete. What comes later in
// the plan is what does not.
func count(l *limit, asked []ask, what string, most *int64, used int64, gone int, hint string, refused map[string]bool, refuse func(finding)) {
	if most == nil {
		return
	}
	counted := map[manifest.Ref]bool{}
	for _, a := range asked {
		if !l.holds(a.object.Ref.Space()) || refused[a.key()] {
			continue
		}
		counted[a.object.Ref] = true // apps that share a route create it once
		if n := max(0, used-int64(gone)) + int64(len(counted)); n > *most {
			refuse(finding{ask: a, hint: hint, message: fmt.Sprintf("%s allows %d %s, of which %d %s in use; with this plan there would be %d",
				l, *most, plural(int(*most), what, what+"s"), used, plural(int(used), "is", "are"), n)})
			delete(counted, a.object.Ref)
		}
	}
}

// checkAmounts looks whether the apps of the plan fit, all of them together. It goes through them in the order in which
// they fit best: what is stopped or shrinks first, then what grows, those with the largest surge at the beginning. A
// step that does not fit even so cannot be applied in any order; it is left out, and the others are looked at again.
func (c *checks) checkAmounts(l *limit, which int, most int64, refused map[string]bool, refuse func(finding)) {
	var loads []load
	for _, x := range c.loads {
		if !refused[x.key()] && l.holds(x.name) && (x.was[which] != x.will[which] || x.surge[which] != 0) {
			loads = append(loads, x)
		}
	}
	grows := func(x load) int64 { return x.will[which] - x.was[which] }
	phase := func(x load) int {
		switch {
		case x.stops:
			return 0
		case grows(x) <= 0:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(loads, func(a, b load) int {
		by := cmp.Compare(phase(a), phase(b))
		if by == 0 && phase(a) == 1 {
			by = cmp.Compare(grows(a), grows(b)) // the largest release first
		}
		return cmp.Or(by, cmp.Compare(b.surge[which], a.surge[which]), a.object.Ref.Compare(b.object.Ref))
	})
	used := []int64{l.used.Memory, l.used.Instances, l.logs}[which]
	for again := true; again; {
		again = false
		left, settled := most-used, int64(0)
		for _, x := range loads {
			if phase(x) < 2 {
				left -= grows(x)
			}
		}
		for i, x := range loads {
			need := x.surge[which]
			if phase(x) == 2 {
				need += grows(x)
			}
			if phase(x) == 0 || need <= left {
				if phase(x) == 2 {
					left, settled = left-grows(x), settled+grows(x)
				}
				continue
			}
			refuse(finding{ask: pointed(x, which), message: tooMuch(l, which, x, need, left, most, used), hint: askForLess})
			loads, again = slices.Delete(loads, i, i+1), true
			break
		}
	}
	c.warnOfOrder(l, which, most-used, loads)
}

// warnOfStaging tells of builds that find no room although the app itself may: it is not started, or stopped before its
// new instances come up.
func (c *checks) warnOfStaging(l *limit, refused map[string]bool) {
	if l.Apps.TotalMemory == nil {
		return
	}
	left := *l.Apps.TotalMemory - l.used.Memory
	for _, x := range c.loads {
		if l.holds(x.name) {
			left += max(0, x.was[memoryMB]-x.will[memoryMB])
		}
	}
	for _, x := range c.loads {
		if x.staging > left && l.holds(x.name) && !refused[x.key()] {
			c.add(finding{
				ask: pointed(x, memoryMB), rule: "quota", warning: true, hint: askForLess,
				message: fmt.Sprintf("to stage its code needs as much as a web instance, %s; %s has %s left", megabytes(x.staging), l, megabytes(left)),
			})
		}
	}
}

// warnOfOrder tells of a plan that fits only if its steps come in a good order: as far as is known beforehand, several
// roll at a time, and nothing has shrunk yet.
func (c *checks) warnOfOrder(l *limit, which int, left int64, loads []load) {
	var surges []int64
	worst := int64(0)
	for _, x := range loads {
		worst += max(x.will[which]-x.was[which], 0)
		surges = append(surges, x.surge[which])
	}
	slices.Sort(surges)
	for i := max(0, len(surges)-defaultParallel); i < len(surges); i++ {
		worst += surges[i]
	}
	if len(loads) > 1 && worst > left {
		c.add(finding{
			rule: "quota", warning: true, message: fmt.Sprintf("%s has %s left, and at the worst moment this plan may need %s more", l, inWords(which, left), inWords(which, worst)),
			hint: "if a step fails for that, apply again: what has shrunk by then makes room",
		})
	}
}

func inWords(which int, n int64) string {
	switch which {
	case memoryMB:
		return megabytes(n)
	case logBytes:
		return fmt.Sprintf("%d B/s", n)
	}
	return fmt.Sprintf("%d %s", n, plural(int(n), "instance", "instances"))
}

// tooMuch says with numbers why a load does not fit.
func tooMuch(l *limit, which int, x load, need, left, most, used int64) string {
	words := func(n int64) string { return inWords(which, n) }
	text := "it needs " + words(need) + " more"
	if which == logBytes {
		text = "its log needs " + words(need) + " more"
	}
	if x.surge[which] > 0 {
		text += " while it rolls"
	}
	rest := ""
	if others := most - used - left; others > 0 {
		rest = ", " + words(others) + " for the rest of this plan"
	} else if others < 0 {
		rest = ", " + words(-others) + " given back by this plan"
	}
	return fmt.Sprintf("%s; %s has %s left (%s in all, %s in use%s)", text, l, words(left), words(most), words(used), rest)
}

// pointed is where the load is declared: the field that changes it, or the amount that does not fit, or the app.
func pointed(x load, which int) ask {
	at := x.ask
	field := []string{"memory_in_mb", "instances", "log_rate_limit_in_bytes_per_second"}[which]
	for _, name := range []string{field, "instances"} {
		pointer := manifest.Pointer("processes", "web", name)
		declared := !x.object.Fields[pointer].IsZero()
		if declared && (at.pointer == "" || !slices.Contains(x.changed, at.pointer) && slices.Contains(x.changed, pointer)) {
			at.pointer = pointer
		}
	}
	return at
}

// megabytes reads 512M or 2G, as in a manifest.
func megabytes(n int64) string {
	if n != 0 && n%1024 == 0 {
		return fmt.Sprintf("%dG", n/1024)
	}
	return fmt.Sprintf("%dM", n)
}
