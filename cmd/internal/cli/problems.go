package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/fettle-gitops/fettle/manifest"
)

// printProblems writes every problem with its excerpt, errors and warnings alike, and a count.
func printProblems(w io.Writer, problems manifest.Problems) {
	errs, warnings := 0, 0
	for _, p := range problems {
		at := p.Origin.String()
		if at != "" {
			at += ": "
		}
		fmt.Fprintf(w, "%s%s: %s\n", at, p.Severity, p.Message)
		if p.Excerpt != "" {
			fmt.Fprintln(w, p.Excerpt)
		}
		if p.Hint != "" {
			fmt.Fprintf(w, "  hint: %s\n", p.Hint)
		}
		if p.Severity == manifest.SeverityError {
			errs++
		} else {
			warnings++
		}
	}
	fmt.Fprintf(w, "%s\n", countProblems(errs, warnings))
}

func countProblems(errs, warnings int) string {
	s := plural(errs, "error")
	if warnings > 0 {
		s += ", " + plural(warnings, "warning")
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
