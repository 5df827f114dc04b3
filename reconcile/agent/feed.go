package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fettle-gitops/fettle/source"
)

// Feed is a source that several targets read: it is polled once for all of them, and serves the newest good snapshot.
// While the source cannot be read, the last good snapshot goes on being served.
type Feed struct {
	src      source.Source
	interval time.Duration

	mu   sync.Mutex
	last *source.Snapshot
	err  error // of the last look, nil when it went well
	subs []chan struct{}
}

// NewFeed polls src every interval (plus a little jitter, so that many agents do not ask at the same moment).
func NewFeed(src source.Source, interval time.Duration) *Feed {
	return &Feed{src: src, interval: interval}
}

// String names the source.
func (f *Feed) String() string { return f.src.String() }

// Snapshot implements source.Source: the newest good snapshot. Only if there never was one does it look itself, so that
// a first run fails with the source's own reason.
func (f *Feed) Snapshot(ctx context.Context, _ *source.Snapshot) (*source.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil {
		return f.last, nil
	}
	snap, err := f.src.Snapshot(ctx, nil)
	if err != nil {
		f.err = err
		return nil, err
	}
	f.last, f.err = snap, nil
	return snap, nil
}

// Err says why the last look at the source failed; nil when it went well.
func (f *Feed) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// subscribe returns a channel that receives when a new revision is there. A signal that nobody has taken yet is not
// doubled: what matters is that something moved, not how often.
func (f *Feed) subscribe() <-chan struct{} {
	ch := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs = append(f.subs, ch)
	return ch
}

func (f *Feed) poll(ctx context.Context, log *slog.Logger) {
	for {
		wait := f.interval + rand.N(f.interval/10+1)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		f.look(ctx, log)
	}
}

// look asks the source once and tells the subscribers when it moved.
func (f *Feed) look(ctx context.Context, log *slog.Logger) {
	f.mu.Lock()
	known := f.last
	f.mu.Unlock()
	snap, err := f.src.Snapshot(ctx, known)
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if f.err == nil || f.err.Error() != err.Error() {
			log.Error("the source cannot be read; the last good revision goes on being enforced", "source", f.src.String(), "error", err)
		}
		f.err = err
		return
	}
	if f.err != nil {
		log.Info("the source can be read again", "source", f.src.String())
	}
	f.err = nil
	if known != nil && snap.Revision == known.Revision {
		return
	}
	f.last = snap
	for _, sub := range f.subs {
		select {
		case sub <- struct{}{}:
		default:
		}
	}
}
