package psych_test

import (
	"errors"
	"testing"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/psych"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

// What a value in a manifest becomes as an environment variable (observed facts, and the rules of YAML 1.1 behind them).
func TestTextOfScalars(t *testing.T) {
	for yaml, want := range map[string]string{
		"010": "8", "0x1F": "31", "1_000": "1000", "12:30:45": "45045", "12:30": "45000", "no": "false", "Off": "false", "yes": "true", "~": "", "": "",
		"1e3": "1e3", "1.0": "1.0", "1.5": "1.5", "-1": "-1", "'010'": "010", `"no"`: "no", "text": "text", "1.2.3": "1.2.3", "0o17": "0o17", "+5": "5",
		"{b: [1, 2]}": `{"b"=>[1, 2]}`, "1,000": "1000", "y": "y", "0.5.": "0.5.", "v1": "v1",
	} {
		v, err := psych.Parse([]byte("k: " + yaml))
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		if got := psych.Text(v.(tree.Obj).Get("k")); got != want {
			t.Errorf("%s becomes %q, want %q", yaml, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, yaml := range []string{"d: 2020-01-02", "d: 2020-01-02T03:04:05Z", "s: :symbol", "a:\n\t- tab", ": : :"} {
		if v, err := psych.Parse([]byte(yaml)); err == nil {
			t.Errorf("%q was read as %v", yaml, v)
		}
	}
	if _, err := psych.Parse([]byte("a: &x 1\nb: *x")); !errors.Is(err, psych.ErrAlias) {
		t.Errorf("aliases: %v", err)
	}
	if _, err := psych.Parse([]byte("# nothing")); !errors.Is(err, psych.ErrEmpty) {
		t.Errorf("no document: %v", err)
	}
}

// What is written is read back as the same.
func TestEmitIsReadBack(t *testing.T) {
	for _, v := range []any{
		tree.O("a", "1", "b", int64(1), "c", nil, "d", true, "e", "true", "f", "", "g", "a: b", "h", "x #y", "i", "line\nbreak", "j", "- x", "k", "ünï \"q\" \\n"),
		tree.O("l", []any{"x", int64(2), tree.O("m", []any{}, "n", tree.Obj{}), []any{"y"}}, "010", "010", "k: v", "@at"),
		[]any{tree.O("name", "web", "routes", []any{tree.O("route", "https://a.b/c?d=e")}, "t", "12:30", "u", "*", "w", "&x", "z", "%")},
	} {
		text := psych.Emit(v)
		back, err := psych.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		if got, want := string(tree.JSON(back)), string(tree.JSON(v)); got != want {
			t.Errorf("%s\nis read back as %s\nwant %s", text, got, want)
		}
	}
}
