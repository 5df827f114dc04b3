package manifest

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// What a controller made of sizes (observed).
func TestParseMegabytes(t *testing.T) {
	for _, c := range []struct {
		text string
		mb   int64
		err  error
	}{
		{"1G", 1024, nil},
		{"1g", 1024, nil},
		{"1GB", 1024, nil},
		{"1GiB", 1024, nil},
		{"1gib", 1024, nil},
		{"1.7M", 1, nil},
		{"1.5G", 1536, nil},
		{"0.5GB", 512, nil},
		{"1TB", 1 << 20, nil},
		{"2t", 2 << 20, nil},
		{"1048576K", 1024, nil},
		{"1024KB", 1, nil},
		{"2097152B", 2, nil},
		{"1G ", 1024, nil},
		{"512KB", 0, ErrSizeSmall},
		{"1023K", 0, ErrSizeSmall},
		{"100B", 0, ErrSizeSmall},
		{"0M", 0, ErrSizeSmall},
		{"-1M", 0, ErrSizeSmall},
		{"1", 0, ErrSizeUnit},
		{"1.5", 0, ErrSizeUnit},
		{"1 G", 0, ErrSizeUnit},
		{"1e3M", 0, ErrSizeUnit},
		{"1,5G", 0, ErrSizeUnit},
		{"1.G", 0, ErrSizeUnit},
		{"1KiBB", 0, ErrSizeUnit},
		{"1i", 0, ErrSizeUnit},
		{" 1G ", 0, ErrSizeNumber},
		{"abc", 0, ErrSizeNumber},
		{"M", 0, ErrSizeNumber},
		{"true", 0, ErrSizeNumber},
		{"", 0, ErrSizeNumber},
		{".5G", 0, ErrSizeNumber},
		{"+1G", 0, ErrSizeNumber},
		{"99999999999999999999T", 0, ErrSizeLarge},
	} {
		if mb, err := ParseMegabytes(c.text); mb != c.mb || !errors.Is(err, c.err) {
			t.Errorf("%q: got %d, %v, expected %d, %v", c.text, mb, err, c.mb, c.err)
		}
	}
}

func TestParseLogRate(t *testing.T) {
	for text, want := range map[string]int64{"1M": 1 << 20, "1K": 1024, "10B": 10, "0": 0, "-1": -1, "1.5K": 1536, "2GB": 2 << 30, "0K": 0} {
		if got, err := ParseLogRate(text); got != want || err != nil {
			t.Errorf("%q: got %d, %v, expected %d", text, got, err, want)
		}
	}
	for _, text := range []string{"-2", "16", "x", "-1K", ""} {
		if got, err := ParseLogRate(text); err == nil {
			t.Errorf("%q: got %d, expected an error", text, got)
		}
	}
}

func TestSizesSurviveBeingWritten(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.Int64Range(1, 1<<42).Draw(r, "n")
		if got, err := ParseMegabytes(FormatMegabytes(n)); got != n || err != nil {
			r.Fatalf("%d MB as %s is %d, %v", n, FormatMegabytes(n), got, err)
		}
		rate := rapid.Int64Range(-1, 1<<52).Draw(r, "rate")
		if got, err := ParseLogRate(FormatLogRate(rate)); got != rate || err != nil {
			r.Fatalf("%d bytes as %s is %d, %v", rate, FormatLogRate(rate), got, err)
		}
	})
	for bytes, want := range map[int64]string{1 << 20: "1M", 16384: "16K", 1536: "1536B", 0: "0", -1: "-1", 1 << 50: "1024T"} {
		if got := FormatLogRate(bytes); got != want {
			t.Errorf("%d: got %s, expected %s", bytes, got, want)
		}
	}
}
