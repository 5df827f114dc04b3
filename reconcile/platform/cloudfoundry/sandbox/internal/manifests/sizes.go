package manifests

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
)

var size = regexp.MustCompile(`\A(-?\d+(?:\.\d+)?)(.*)\z`)

var units = map[string]float64{
	"b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
	"g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30, "t": 1 << 40, "tb": 1 << 40, "tib": 1 << 40,
}

const unitsText = "must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB"

// bytesOf reads a size. Blank ones (null, empty text) are no size at all.
func bytesOf(v any) (n int64, given bool, problem string) {
	var s string
	switch v := v.(type) {
	case nil:
		return 0, false, ""
	case string:
		if v == "" {
			return 0, false, ""
		}
		s = v
	case int64, float64:
		s = psych.Text(v)
	default:
		return 0, true, "is not a number"
	}
	m := size.FindStringSubmatch(s)
	if m == nil {
		return 0, true, "is not a number"
	}
	unit, ok := units[strings.ToLower(m[2])]
	if !ok {
		return 0, true, unitsText
	}
	f, _ := strconv.ParseFloat(m[1], 64)
	return int64(f * unit), true, ""
}

// megabytes reads a size in whole megabytes; fractions of one are cut off.
func megabytes(v any) (n *int, problem string) {
	b, given, problem := bytesOf(v)
	if !given || problem != "" {
		return nil, "" // noted elsewhere
	}
	mb := int(b >> 20)
	if b < 0 || mb < 1 {
		return nil, "must be greater than 0MB"
	}
	return &mb, ""
}

// logRate reads bytes per second: a size, or -1 or 0 without a unit.
func logRate(v any) (n *int, problem string) {
	if t := psych.Text(v); t == "-1" || t == "0" {
		i, _ := strconv.Atoi(t)
		return &i, ""
	}
	b, given, problem := bytesOf(v)
	if !given || problem != "" {
		return nil, "" // noted elsewhere
	}
	if b < -1 {
		return nil, "must be an integer greater than or equal to -1"
	}
	i := int(b)
	return &i, ""
}

// showMB is a size as generated manifests say it.
func showMB(mb int) string { return strconv.Itoa(mb) + "M" }

// showRate is a log rate in the largest unit that holds it exactly; unlimited is a number, nothing at all is 0T (observed
// facts).
func showRate(n int) any {
	if n == -1 {
		return int64(-1)
	}
	for _, u := range []struct {
		name string
		size int
	}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if n%u.size == 0 {
			return strconv.Itoa(n/u.size) + u.name
		}
	}
	return strconv.Itoa(n) + "B"
}
