package manifests

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// change is one difference, in the form of JSON Patch with the former value.
type change struct {
	op, path, from string
	was, value     any
}

func (c change) present(prefix string) tree.Obj {
	o := tree.O("op", c.op)
	if c.op == "move" {
		o.Set("from", c.from) // observed fact: without the rest of the path
	}
	o.Set("path", prefix+c.path)
	switch c.op {
	case "remove":
		o.Set("was", c.was)
	case "replace":
		o.Set("was", c.was)
		o.Set("value", c.value)
	case "add":
		o.Set("value", c.value)
	}
	return o
}

func pointer(path, key string) string {
	return path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// compare lists the changes from one tree to another: of objects first what is gone, then what is new, then what both
// have; of lists by similarity.
func compare(before, after any, path string) []change {
	switch b := before.(type) {
	case tree.Obj:
		a, ok := after.(tree.Obj)
		if !ok {
			break
		}
		var out []change
		for _, f := range b {
			if !a.Has(f.Key) {
				out = append(out, change{op: "remove", path: pointer(path, f.Key), was: f.Value})
			}
		}
		for _, f := range a {
			if !b.Has(f.Key) {
				out = append(out, change{op: "add", path: pointer(path, f.Key), value: f.Value})
			}
		}
		for _, f := range b {
			if v, ok := a.Lookup(f.Key); ok {
				out = append(out, compare(f.Value, v, pointer(path, f.Key))...)
			}
		}
		return out
	case []any:
		a, ok := after.([]any)
		if !ok {
			break
		}
		return compareLists(b, a, path)
	}
	if equal(before, after) {
		return nil
	}
	if before == nil {
		return []change{{op: "add", path: path, value: after}}
	}
	return []change{{op: "replace", path: path, was: before, value: after}}
}

func equal(a, b any) bool { return bytes.Equal(tree.JSON(a), tree.JSON(b)) }

func compareLists(before, after []any, path string) []change {
	var out []change
	at := func(i int) string { return path + "/" + strconv.Itoa(i) }
	switch {
	case len(before) == 0:
		for i, v := range after {
			out = append(out, change{op: "add", path: at(i), value: v})
		}
		return out
	case len(after) == 0:
		for _, v := range before {
			out = append(out, change{op: "remove", path: at(0), was: v})
		}
		return out
	}
	pairs := pair(before, after) // before → after, -1 for none
	var kept []int
	for i := range before {
		if pairs[i] >= 0 {
			kept = append(kept, i)
			out = append(out, compare(before[i], after[pairs[i]], at(i))...)
		}
	}
	gone := 0
	for i, v := range before {
		if pairs[i] < 0 {
			out = append(out, change{op: "remove", path: at(i - gone), was: v})
			gone++
		}
	}
	out = append(out, moves(kept, pairs, at)...)
	for i, v := range after {
		if !slices.Contains(pairs, i) {
			out = append(out, change{op: "add", path: at(i), value: v})
		}
	}
	return out
}

// moves brings what is kept into its new order.
func moves(kept, pairs []int, at func(int) string) []change {
	var out []change
	cur := slices.Clone(kept)
	goal := slices.Clone(kept)
	slices.SortFunc(goal, func(a, b int) int { return pairs[a] - pairs[b] })
	for _, i := range kept {
		from, to := slices.Index(cur, i), slices.Index(goal, i)
		if from == to {
			continue
		}
		cur = slices.Insert(slices.Delete(cur, from, from+1), to, i)
		out = append(out, change{op: "move", from: "/" + strconv.Itoa(from), path: at(to)})
	}
	return out
}

// pair matches elements greedily, the most similar first; what is less than half alike is not matched.
func pair(before, after []any) []int {
	type match struct {
		b, a int
		s    float64
	}
	var all []match
	for i := range before {
		for j := range after {
			all = append(all, match{i, j, similarity(before[i], after[j])})
		}
	}
	slices.SortStableFunc(all, func(x, y match) int {
		switch {
		case x.s > y.s:
			return -1
		case x.s < y.s:
			return 1
		}
		return 0
	})
	out := make([]int, len(before))
	for i := range out {
		out[i] = -1
	}
	used := map[int]bool{}
	for _, m := range all {
		if m.s >= 0.5 && out[m.b] < 0 && !used[m.a] {
			out[m.b], used[m.a] = m.a, true
		}
	}
	return out
}

// similarity of objects that have a type or a name is whether these are the same; of others the mean over their values,
// and over whether they have the same keys.
func similarity(before, after any) float64 {
	b, isObj := before.(tree.Obj)
	a, isObj2 := after.(tree.Obj)
	if !isObj || !isObj2 {
		if equal(before, after) {
			return 1
		}
		return 0
	}
	for _, id := range []string{"type", "name"} {
		if b.Has(id) && a.Has(id) {
			if equal(b.Get(id), a.Get(id)) {
				return 1
			}
			return 0
		}
	}
	if len(b) == 0 {
		if len(a) == 0 {
			return 1
		}
		return 0
	}
	total, same := 0.0, len(a) == len(b)
	for _, f := range b {
		v, ok := a.Lookup(f.Key)
		if !ok {
			same = false
			continue
		}
		total += similarity(f.Value, v)
	}
	if same {
		total++
	}
	return total / float64(len(b)+1)
}
