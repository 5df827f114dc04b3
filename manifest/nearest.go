package manifest

import "strings"

// Nearest finds the known name that a person most likely meant, or "". Drivers use it for what only they know.
func Nearest(name string, known []string) string { return nearest(name, known) }

var foldKey = strings.NewReplacer("-", "", "_", "")

// nearest finds the known name that a person most likely meant, or "".
func nearest(name string, known []string) string {
	fold := func(s string) string { return foldKey.Replace(strings.ToLower(s)) }
	best, bestDistance := "", 3
	switch { // a short name is soon another name
	case len(name) < 3:
		bestDistance = 1
	case len(name) < 5:
		bestDistance = 2
	}
	for _, k := range known {
		if d := distance(fold(name), fold(k), bestDistance); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between a and b
// (optimal string alignment); anything above limit is returned as limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > 64 {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
