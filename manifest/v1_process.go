package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const web = "web"

// processKeys are the settings of a process that may stand at the app for the process web.
var processKeys = []string{
	"command", "memory", "disk_quota", "instances", "log_rate_limit_per_second", "timeout",
	"health_check_type", "health_check_http_endpoint", "health_check_invocation_timeout", "health_check_interval",
	"readiness_health_check_type", "readiness_health_check_http_endpoint", "readiness_health_check_invocation_timeout", "readiness_health_check_interval",
}

// Limits that nearly every foundation has, though an operator can change them.
const (
	usualTimeout = 180   // seconds, maximum_health_check_timeout
	usualDisk    = 10240 // MB, maximum_app_disk_in_mb
	usualMemory  = 1024  // MB, default_app_memory
)

// processes reads the process settings: those of the app itself are the process web's, unless there is an
// entry for web, which hides every one of them, even if the entry says nothing but its type (observed).
func (a *v1App) processes() {
	entries := map[string]*yaml.Node{}
	if list := a.fields.get("processes"); list != nil && list.Kind == yaml.SequenceNode {
		entries = a.entries(list, func(name string, entry *yaml.Node) { a.process(name, entry, a.document.fields(entry)) })
	}
	var given []string
	for _, key := range processKeys {
		if v, ok := a.fields[key]; ok {
			given = append(given, v.key.Value)
		}
	}
	switch {
	case len(given) == 0:
	case entries[web] == nil:
		own := fields{}
		for _, key := range processKeys {
			if v, ok := a.fields[key]; ok {
				own[key] = v
			}
		}
		a.process(web, a.node, own)
	default:
		first := slices.MinFunc(given, func(x, y string) int {
			return a.fields[strings.ReplaceAll(x, "-", "_")].key.Line - a.fields[strings.ReplaceAll(y, "-", "_")].key.Line
		})
		a.warn(a.fields[strings.ReplaceAll(first, "-", "_")].key, "hidden-by-process",
			fmt.Sprintf("%s %s no effect, because the entry for web under processes hides all process settings of the app", strings.Join(given, ", "), plural(len(given), "has", "have")),
			fmt.Sprintf("move %s into that entry (%s)", plural(len(given), "it", "them"), a.lineOf(entries[web])))
	}
}

// entries goes through a list of processes and returns them by their types.
func (a *v1App) entries(list *yaml.Node, read func(name string, entry *yaml.Node)) map[string]*yaml.Node {
	entries := map[string]*yaml.Node{}
	a.collection(list, "processes")
	for _, entry := range list.Content {
		if entry.Kind != yaml.MappingNode {
			continue
		}
		name, ok := a.text(childOf(entry, "type"))
		if !ok || strings.TrimSpace(name) == "" {
			continue
		}
		if first := entries[name]; first != nil {
			a.bad(childOf(entry, "type"), "duplicate-process", fmt.Sprintf("the process %s is declared twice", shorten(name)), fmt.Sprintf("it is first declared in line %d", first.Line))
			continue
		}
		entries[name] = entry
		read(name, entry)
	}
	return entries
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// process reads the settings of one process. A null changes nothing and is left out, except for the command.
func (a *v1App) process(name string, at *yaml.Node, f fields) {
	put := func(value any, at *yaml.Node, keys ...string) {
		a.put(value, at, append([]string{"processes", name}, keys...)...)
	}
	a.collection(at, "processes", name)

	if n := f.get("command"); n != nil && n.Kind == yaml.ScalarNode {
		switch text, ok := a.text(n); {
		case n.Tag == tagNull, text == "null", text == "default":
			put(nil, n, "command")
		case ok:
			put(text, n, "command")
		}
	}
	if n := f.get("user"); n != nil {
		if text, ok := a.text(n); ok {
			put(text, n, "user")
		}
	}
	if i, ok := a.integer(f.get("instances")); ok {
		put(i, f.get("instances"), "instances")
	}
	if mb, ok := a.megabytes("memory", f.get("memory")); ok {
		put(mb, f.get("memory"), "memory_in_mb")
	}
	if mb, ok := a.megabytes(f.written("disk_quota"), f.get("disk_quota")); ok {
		put(mb, f.get("disk_quota"), "disk_in_mb")
		if mb > usualDisk {
			a.warn(f.get("disk_quota"), "unusual-limit", fmt.Sprintf("process %s: a disk of %d MB; most foundations allow at most %d", name, mb, usualDisk), "")
		}
	}
	a.logRate(name, f.get("log_rate_limit_per_second"), put)
	a.healthCheck(name, f, "health_check", put)
	a.healthCheck(name, f, "readiness_health_check", put)
	if i, ok := a.integer(f.get("timeout")); ok {
		put(i, f.get("timeout"), "health_check", "timeout")
		if i > usualTimeout {
			a.warn(f.get("timeout"), "unusual-limit", fmt.Sprintf("process %s: a timeout of %d s; most foundations allow at most %d", name, i, usualTimeout), "")
		}
	}
}

// megabytes reads a memory or disk limit. The schema has refused what is no size at all.
func (a *v1App) megabytes(key string, n *yaml.Node) (int64, bool) {
	text, ok := a.text(n)
	if !ok || strings.TrimSpace(text) == "" {
		return 0, false
	}
	mb, err := ParseMegabytes(text)
	if errors.Is(err, ErrSizeSmall) && !strings.HasPrefix(text, "-") || errors.Is(err, ErrSizeLarge) { // the schema says what it thinks of a minus
		a.bad(n, "size", fmt.Sprintf("%s: %v, got %s", key, err, a.quote(n)), "")
	}
	return mb, err == nil
}

// quote shows a value in a message unless it is secret.
func (d *document) quote(n *yaml.Node) string {
	if d.secret[n] {
		return "a secret value"
	}
	return describe(n)
}

func (a *v1App) logRate(name string, n *yaml.Node, put func(any, *yaml.Node, ...string)) {
	if n == nil || n.Kind != yaml.ScalarNode || a.open[n] || n.Tag == tagNull || strings.TrimSpace(n.Value) == "" {
		return
	}
	rate, err := ParseLogRate(n.Value)
	if errors.Is(err, ErrSizeLarge) {
		a.bad(n, "size", fmt.Sprintf("process %s: %v, got %s", name, err, a.quote(n)), "")
	}
	if err == nil {
		put(rate, n, "log_rate_limit_in_bytes_per_second")
	}
}

// healthCheck reads the settings of one of the two health checks, whose keys begin with prefix.
func (a *v1App) healthCheck(name string, f fields, prefix string, put func(any, *yaml.Node, ...string)) {
	kind, hasKind := a.text(f.get(prefix + "_type"))
	if hasKind {
		if kind == "none" { // an old name for process
			kind = "process"
		}
		put(kind, f.get(prefix+"_type"), prefix, "type")
	}
	for _, key := range []string{"invocation_timeout", "interval"} {
		if i, ok := a.integer(f.get(prefix + "_" + key)); ok {
			put(i, f.get(prefix+"_"+key), prefix, key)
		}
	}
	endpoint := f.get(prefix + "_http_endpoint")
	if text, ok := a.text(endpoint); ok {
		put(text, endpoint, prefix, "http_endpoint")
	}
	if endpoint != nil && (kind == "port" || kind == "process") {
		a.bad(endpoint, "health-check", fmt.Sprintf("process %s: %s needs %s: http, got %s", name, f.written(prefix+"_http_endpoint"), f.written(prefix+"_type"), a.quote(f.get(prefix+"_type"))), "")
	}
}

// sidecars reads the sidecars and checks that their memory fits into the processes they run beside.
func (a *v1App) sidecars() {
	list := a.fields.get("sidecars")
	if list == nil || list.Kind != yaml.SequenceNode {
		return
	}
	a.collection(list, "sidecars")
	lines := map[string]int{}
	beside := map[string]int64{} // process type → memory of its sidecars
	for _, n := range list.Content {
		if n.Kind != yaml.MappingNode {
			continue
		}
		name, ok := a.text(childOf(n, "name"))
		if !ok || name == "" {
			continue
		}
		if lines[name] != 0 {
			a.bad(childOf(n, "name"), "duplicate-sidecar", fmt.Sprintf("the sidecar %s is declared twice", shorten(name)), fmt.Sprintf("it is first declared in line %d", lines[name]))
			continue
		}
		lines[name] = n.Line
		a.collection(n, "sidecars", name)
		if command, ok := a.text(childOf(n, "command")); ok {
			a.put(command, childOf(n, "command"), "sidecars", name, "command")
		}
		var types []string
		if t := childOf(n, "process_types"); t != nil && t.Kind == yaml.SequenceNode {
			for _, e := range t.Content {
				if text, ok := a.text(e); ok && !slices.Contains(types, text) {
					types = append(types, text)
				}
			}
			slices.Sort(types)
			sorted := make([]any, len(types))
			for i, t := range types {
				sorted[i] = t
			}
			a.put(sorted, t, "sidecars", name, "process_types")
		}
		memory := childOf(n, "memory")
		mb, ok := a.integer(memory) // a plain number means megabytes here, and only here
		if !ok {
			mb, ok = a.megabytes("memory", memory)
		}
		if ok {
			a.put(mb, memory, "sidecars", name, "memory_in_mb")
			for _, t := range types {
				beside[t] += mb
			}
		}
	}
	for _, t := range slices.Sorted(maps.Keys(beside)) {
		if v, ok := Lookup(a.object.Spec, Pointer("processes", t, "memory_in_mb")); ok && beside[t] >= v.(int64) {
			a.bad(list, "sidecar-memory", fmt.Sprintf("the sidecars of process %s take %d MB, but the process has only %d MB in all", t, beside[t], v), "give the process more memory than its sidecars")
		} else if !ok && beside[t] >= usualMemory {
			a.warn(list, "sidecar-memory", fmt.Sprintf("the sidecars of process %s take %d MB; without memory: a process has %d MB on most foundations", t, beside[t], usualMemory), "say how much memory the process has")
		}
	}
}
