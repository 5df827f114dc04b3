package manifest

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Why a size cannot be read. The controller distinguishes the same cases.
var (
	ErrSizeNumber = errors.New("expected a number with a unit, such as 512M or 1G")
	ErrSizeUnit   = errors.New("expected one of the units B, K, M, G, T (also KB, MiB, lower case) right behind the number, such as 512M or 1G")
	ErrSizeSmall  = errors.New("expected at least 1M")
	ErrSizeLarge  = errors.New("the size is too large")
)

var (
	sizeNumber = regexp.MustCompile(`^-?\d+(?:\.\d+)?`)
	sizeWhole  = regexp.MustCompile(`(?i)^(-?\d+(?:\.\d+)?)(?:([KMGT])i?B?|B)$`)
)

// ParseBytes reads a size as the Cloud Controller does: a number and a unit, where K, KB and KiB are all 1024
// bytes and case does not matter. Fractions of a byte are cut off.
func ParseBytes(s string) (int64, error) {
	if !sizeNumber.MatchString(s) { // a space in front is no number, one behind is fine
		return 0, ErrSizeNumber
	}
	m := sizeWhole.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, ErrSizeUnit
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, ErrSizeLarge
	}
	f *= math.Pow(1024, float64(strings.Index("_KMGT", strings.ToUpper(m[2] + "_")[:1])))
	if math.Abs(f) >= math.MaxInt64 {
		return 0, ErrSizeLarge
	}
	return int64(f), nil
}

// ParseMegabytes reads a memory or disk limit in whole megabytes; fractions are cut off, and less than one is
// an error.
func ParseMegabytes(s string) (int64, error) {
	bytes, err := ParseBytes(s)
	if err != nil {
		return 0, err
	}
	if bytes < 1<<20 {
		return 0, ErrSizeSmall
	}
	return bytes >> 20, nil
}

// ParseLogRate reads a log rate limit in bytes per second: a size, 0, or -1 for unlimited.
func ParseLogRate(s string) (int64, error) {
	switch s {
	case "-1":
		return -1, nil
	case "0":
		return 0, nil
	}
	bytes, err := ParseBytes(s)
	if err == nil && bytes < 0 {
		return 0, fmt.Errorf("expected -1 (unlimited), 0 or a positive size")
	}
	return bytes, err
}

// FormatMegabytes is the inverse of ParseMegabytes, in the form the controller writes: "1024M".
func FormatMegabytes(mb int64) string { return strconv.FormatInt(mb, 10) + "M" }

// FormatLogRate is the inverse of ParseLogRate, in the largest unit that divides it: "16K", "-1".
func FormatLogRate(bytes int64) string {
	if bytes <= 0 {
		return strconv.FormatInt(bytes, 10)
	}
	unit := "BKMGT"
	for len(unit) > 1 && bytes%1024 == 0 {
		bytes, unit = bytes/1024, unit[1:]
	}
	return strconv.FormatInt(bytes, 10) + unit[:1]
}
