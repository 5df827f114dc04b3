package manifests

import (
	"slices"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// compared are the keys that a comparison looks at. Observed fact: memory and disk_quota are not among them.
var compared = []string{
	"name", "instances", "log-rate-limit-per-second", "buildpack", "buildpacks", "docker", "env", "features", "lifecycle", "metadata", "no-route",
	"processes", "random-route", "default-route", "routes", "services", "sidecars", "stack",
	"command", "health-check-type", "health-check-http-endpoint", "health-check-invocation-timeout", "health-check-interval",
	"readiness-health-check-type", "readiness-health-check-http-endpoint", "readiness-health-check-invocation-timeout",
	"readiness-health-check-interval", "timeout",
}

func diff(q *cc.Req) (*cc.Reply, error) {
	space, err := q.Space(q.Var("guid"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(space.GUID); err != nil {
		return nil, err
	}
	raw, err := parse(q)
	if err != nil {
		return nil, err
	}
	if _, err := readAll(q, raw); err != nil {
		return nil, err
	}
	out := []any{}
	for i, o := range raw {
		var a *world.App
		for _, x := range q.W.Apps.By("space", space.GUID) {
			if x.Name == o.Get("name") { // observed fact: here case does matter
				a = x
			}
		}
		live := tree.Obj{}
		if a != nil {
			live = of(&q.Tx, a)
			if p := runtime.Process(&q.Tx, a.GUID, "web"); p != nil {
				for _, f := range processOf(p) {
					live.Set(f.Key, f.Value)
				}
			}
		}
		for _, f := range o {
			if !slices.Contains(compared, f.Key) {
				continue
			}
			path := "/applications/" + string(tree.JSON(i)) + "/" + f.Key
			if f.Value = known(f.Key, f.Value); f.Value == nil && nested[f.Key] != nil {
				continue
			}
			for _, c := range differences(live.Get(f.Key), normal(f.Key, f.Value), f.Key) {
				out = append(out, c.present(path))
			}
		}
	}
	return &cc.Reply{Status: 201, Body: tree.O("diff", out)}, nil
}

// nested are the keys that a comparison looks at within others.
var nested = map[string][]string{
	"sidecars": {"name", "command", "process_types", "memory"},
	"processes": {
		"type", "command", "user", "disk_quota", "log-rate-limit-per-second", "health-check-http-endpoint", "health-check-invocation-timeout",
		"health-check-interval", "health-check-type", "readiness-health-check-http-endpoint", "readiness-health-check-invocation-timeout",
		"readiness-health-check-interval", "readiness-health-check-type", "instances", "memory", "timeout",
	},
	"services": {"name", "parameters"},
	"metadata": {"labels", "annotations"},
}

// known leaves out of a value what a comparison does not look at; nil when nothing else is in it.
func known(key string, v any) any {
	keys := nested[key]
	if keys == nil {
		return v
	}
	slice := func(o tree.Obj) tree.Obj {
		out := tree.Obj{}
		for _, f := range o {
			if slices.Contains(keys, f.Key) {
				out = append(out, f)
			}
		}
		return out
	}
	switch v := v.(type) {
	case tree.Obj:
		if o := slice(v); len(o) > 0 {
			return o
		}
		return nil
	case []any:
		out := slices.Clone(v)
		for i, e := range out {
			if o, ok := e.(tree.Obj); ok {
				out[i] = slice(o)
			}
		}
		if len(out) == 1 {
			if o, ok := out[0].(tree.Obj); ok && len(o) == 0 {
				return nil
			}
		}
		return out
	}
	return v
}

// normal converts sizes to the units in which they are generated.
func normal(key string, v any) any {
	switch key {
	case "log-rate-limit-per-second":
		return rateText(v)
	case "processes", "sidecars":
		l, _ := v.([]any)
		out := []any{}
		for _, e := range l {
			o, ok := e.(tree.Obj)
			if !ok {
				continue
			}
			o = o.Clone()
			for j := range o {
				switch o[j].Key {
				case "memory", "disk_quota", "disk-quota":
					if n, problem := megabytes(o[j].Value); n != nil && problem == "" {
						o[j].Value = showMB(*n)
					}
				case "log-rate-limit-per-second":
					o[j].Value = rateText(o[j].Value)
				}
			}
			out = append(out, o)
		}
		return out
	}
	return v
}

// rateText is a log rate as text. Unlimited is text too, and so differs from the generated number (observed fact).
func rateText(v any) any {
	n, problem := logRate(v)
	if n == nil || problem != "" {
		return v
	}
	if t := psych.Text(v); t == "-1" || t == "0" {
		return t
	}
	return showRate(*n)
}

// differences compares one top-level key.
func differences(live, want any, key string) []change {
	id := map[string]string{"processes": "type", "sidecars": "name", "routes": "route"}[key]
	if l, ok := live.([]any); ok && id != "" {
		if w, ok := want.([]any); ok {
			live = trim(l, w, id)
		}
	}
	if o, ok := live.(tree.Obj); ok && key == "features" {
		named, _ := want.(tree.Obj)
		kept := tree.Obj{}
		for _, f := range o {
			if named.Has(f.Key) {
				kept = append(kept, f)
			}
		}
		live = kept
	}
	if live == nil {
		return []change{{op: "add", value: want}}
	}
	return compare(live, want, "")
}

// trim takes out of the live list what the manifest does not name. It does so while walking along the list, so that the
// element after a removed one is overlooked: that is the controller's fault, and clients see its effects.
func trim(live, want []any, id string) []any {
	out := slices.Clone(live)
	for i := 0; i < len(out); i++ {
		have, ok := out[i].(tree.Obj)
		if !ok {
			continue
		}
		var named tree.Obj
		for _, w := range want {
			if o, ok := w.(tree.Obj); ok && o.Get(id) == have.Get(id) {
				named = o
			}
		}
		if named == nil {
			out = slices.Delete(out, i, i+1)
			continue
		}
		kept := tree.Obj{}
		for _, f := range have {
			if named.Get(f.Key) != nil {
				kept = append(kept, f)
			}
		}
		out[i] = kept
	}
	return out
}
