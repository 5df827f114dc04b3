package ccv3

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Budget bounds what we ask of the controller.
type Budget struct {
	// MaxWait is the longest single pause because of a rate limit; if the platform asks for more, the
	// request fails with RetryAfter set. Default 2 minutes: a scheduled run comes back by itself.
	MaxWait time.Duration
	// Reserve is the share of our rate limit that we leave unused, for whoever shares our user: 0.2 stops at
	// 20 % remaining. Default 0. The controller tells the remainder in steps of 10 % of the limit.
	Reserve float64
	// PerSecond limits requests a second over time. Default: no limit.
	PerSecond float64
}

type budget struct {
	Budget
	pace *rate.Limiter

	mu    sync.Mutex
	until time.Time // our allowance is used up (to the reserve) until then
}

func newBudget(b Budget) *budget {
	if b.MaxWait <= 0 {
		b.MaxWait = 2 * time.Minute
	}
	limited := &budget{Budget: b}
	if b.PerSecond > 0 {
		limited.pace = rate.NewLimiter(rate.Limit(b.PerSecond), max(1, int(b.PerSecond)))
	}
	return limited
}

// wait holds a request back while the allowance is used up.
func (b *budget) wait(ctx context.Context) error {
	if b.pace != nil {
		if err := b.pace.Wait(ctx); err != nil {
			return err
		}
	}
	b.mu.Lock()
	left := time.Until(b.until)
	b.mu.Unlock()
	if left <= 0 {
		return nil
	}
	if left > b.MaxWait {
		return &Error{
			Status: http.StatusTooManyRequests, RetryAfter: left,
			Errors: []Detail{{Title: "fettle-Budget", Detail: "the share of the rate limit that is not reserved is used up"}},
		}
	}
	return sleep(ctx, left)
}

// note remembers what an answer says about the allowance.
func (b *budget) note(h http.Header) {
	if b.Reserve <= 0 {
		return
	}
	limit, err1 := strconv.ParseFloat(h.Get("X-RateLimit-Limit"), 64)
	remaining, err2 := strconv.ParseFloat(h.Get("X-RateLimit-Remaining"), 64)
	reset := resetTime(h)
	if err1 != nil || err2 != nil || limit <= 0 || reset.IsZero() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if remaining < limit*b.Reserve {
		b.until = reset
	} else {
		b.until = time.Time{}
	}
}

// retryAfter is the pause that an answer asks for: Retry-After (seconds or a date, RFC 9110 section 10.2.3), for a 429
// also X-RateLimit-Reset. 0 if it asks for none.
func (b *budget) retryAfter(resp *http.Response) time.Duration {
	if v := resp.Header.Get("Retry-After"); v != "" {
		if seconds, err := strconv.Atoi(v); err == nil && seconds >= 0 {
			return time.Duration(seconds) * time.Second
		}
		if at, err := http.ParseTime(v); err == nil {
			return max(0, time.Until(at))
		}
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		if at := resetTime(resp.Header); !at.IsZero() {
			return max(0, time.Until(at))
		}
	}
	return 0
}

func resetTime(h http.Header) time.Time {
	epoch, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || epoch <= 0 {
		return time.Time{}
	}
	return time.Unix(epoch, 0)
}
