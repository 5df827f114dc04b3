package ccv3

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Warnings gathers what the controller warns of while requests are made with one context.
type Warnings struct {
	mu  sync.Mutex
	all []string
}

type warningsKey struct{}

// CollectWarnings gives a context whose requests and jobs leave their warnings in the returned Warnings.
func CollectWarnings(ctx context.Context) (context.Context, *Warnings) {
	w := &Warnings{}
	return context.WithValue(ctx, warningsKey{}, w), w
}

// All lists the distinct warnings in the order of their coming.
func (w *Warnings) All() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func collect(ctx context.Context, found []string) {
	w, ok := ctx.Value(warningsKey{}).(*Warnings)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range found {
		if !slices.Contains(w.all, s) {
			w.all = append(w.all, s)
		}
	}
}

// warnings decodes X-Cf-Warnings: a list joined by commas, each element percent-encoded.
func warnings(h http.Header) []string {
	var all []string
	for _, line := range h.Values("X-Cf-Warnings") {
		for part := range strings.SplitSeq(line, ",") {
			if text, err := url.QueryUnescape(part); err == nil {
				part = text
			}
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
	}
	return all
}
