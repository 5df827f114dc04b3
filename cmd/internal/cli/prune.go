package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
)

// pruneFlags say what a one-shot command may delete.
type pruneFlags struct {
	kinds, confirm []string
	limit          string
}

func (f *pruneFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringSliceVar(&f.kinds, "prune", nil, "delete what Fettle made and the manifests no longer declare, of these kinds: "+strings.Join(manifest.PrunedWords(), ", "))
	fl.StringVar(&f.limit, "prune-limit", "", fmt.Sprintf("delete nothing if it would be more than this many, or than this share, as in 25%% (default %s)", reconcile.DefaultPruneLimit))
	fl.StringArrayVar(&f.confirm, "confirm-prune", nil, `delete this one, as in "app acme/dev/web", though it has traffic, holds data, or is beyond the limit; may be repeated`)
}

func (f *pruneFlags) isZero() bool { return len(f.kinds)+len(f.confirm) == 0 && f.limit == "" }

func (f *pruneFlags) pruning() (reconcile.Pruning, error) {
	var p reconcile.Pruning
	for _, word := range f.kinds {
		kinds := manifest.PrunedKinds(word)
		if kinds == nil {
			return p, fmt.Errorf("--prune %q is not known: use %s", word, strings.Join(manifest.PrunedWords(), ", "))
		}
		p.Kinds = append(p.Kinds, kinds...)
	}
	if f.limit != "" {
		limit, err := reconcile.ParsePruneLimit(f.limit)
		if err != nil {
			return p, fmt.Errorf("--prune-limit: %w", err)
		}
		p.Limit = limit
	}
	for _, name := range f.confirm {
		ref, err := manifest.ParseRef(name)
		if err != nil {
			return p, fmt.Errorf("--confirm-prune: %w", err)
		}
		p.Confirm = append(p.Confirm, ref)
	}
	return p, nil
}
