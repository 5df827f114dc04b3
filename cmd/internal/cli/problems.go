package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/fettle-gitops/fettle/diff/render"
	"github.com/fettle-gitops/fettle/manifest"
)

// printProblems tells every problem with its excerpt, errors and warnings alike, and a count.
func printProblems(env Env, problems manifest.Problems) {
	_ = render.Validation{Problems: problems}.Write(env.Err, "text", render.Options{Color: env.colourErr()})
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
