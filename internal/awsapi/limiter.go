// Package awsapi controls the API calls of AWS clients. A [Schedule] applied to
// an [aws.Config] adds token buckets per region and action that slow down when
// AWS throttles, retries with backoff, and a timeout for each attempt. All
// clients of an account share one [Limiter]. All waiting uses one clock.
package awsapi

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Limiter holds the token buckets of an account: for each action in each
// region one for its requests and one for the resources they change. Actions
// never wait for each other, so many describes do not delay a create or an undo.
// A throttled call halves the rate of its action; every second without one
// restores a tenth of the documented rate.
type Limiter struct {
	clock  clock.Clock
	limits map[string]Limit

	mu      sync.Mutex
	buckets map[bucketKey]*bucket
}

// NewLimiter returns a Limiter with full buckets. Limits, by action name,
// replace the documented ones.
func NewLimiter(clock clock.Clock, limits map[string]Limit) *Limiter {
	return &Limiter{clock: clock, limits: limits, buckets: map[bucketKey]*bucket{}}
}

// A Call describes an API call to a Limiter.
type Call struct {
	Region, Service, Action string

	Resources int // number of instances it changes
}

// Reads reports whether the call changes nothing, as far as its name tells.
func (c Call) Reads() bool {
	return c.Service == "STS" || slices.ContainsFunc([]string{"Describe", "Get", "List", "Search"}, func(verb string) bool {
		return strings.HasPrefix(c.Action, verb)
	})
}

type bucketKey struct {
	region, service, action string
	resources               bool
}

type bucket struct {
	turn chan struct{} // a mutex: full while a waiter is first in line

	size    float64 // maximum number of tokens
	maxRate float64 // tokens per second, as documented
	rate    float64 // current tokens per second
	tokens  float64
	updated time.Time // when tokens and rate were computed
	slowed  time.Time // when the rate was last reduced
}

const (
	// reserve is the unused fraction of a documented bucket. Calls do not arrive
	// at the pace they were sent at, and other programs use the bucket.
	reserve = 0.1

	slowdown = 0.5  // factor applied to the rate after a throttled call
	recovery = 0.1  // fraction of the documented rate restored per second
	minRate  = 0.05 // fraction of the documented rate

	// burstWindow is the time in which several throttled calls reduce the rate
	// only once, since they belong to one burst.
	burstWindow = time.Second

	// maxSleep bounds how long the first in line sleeps before it checks again,
	// since the rate may have changed.
	maxSleep = time.Second
)

// Wait waits for the tokens of a call, first come, first served. If ctx ends
// first, it takes none.
func (l *Limiter) Wait(ctx context.Context, c Call) error {
	if err := l.take(ctx, l.bucket(c, false), 1); err != nil {
		return err
	}
	if c.Resources == 0 {
		return nil
	}
	return l.take(ctx, l.bucket(c, true), float64(c.Resources))
}

func (l *Limiter) take(ctx context.Context, b *bucket, n float64) error {
	if b == nil {
		return context.Cause(ctx)
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		missing := l.tryTake(b, n)
		if err := l.clock.Sleep(ctx, missing); err != nil {
			return err
		}
		if missing == 0 {
			return nil
		}
	}
}

// tryTake takes n tokens, or returns how long to wait before trying again.
func (l *Limiter) tryTake(b *bucket, n float64) time.Duration {
	const rounding = 1e-6
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill(b)
	n = min(n, b.size)
	if b.tokens >= n-rounding {
		b.tokens -= n
		return 0
	}
	return min(maxSleep, time.Duration(math.Ceil((n-b.tokens)/b.rate*float64(time.Second))))
}

// Throttled records that AWS throttled a call and slows down its action.
func (l *Limiter) Throttled(c Call) {
	b := l.bucket(c, false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill(b)
	b.tokens = 0 // AWS's own bucket is empty
	if b.updated.Sub(b.slowed) >= burstWindow {
		b.rate, b.slowed = max(b.rate*slowdown, b.maxRate*minRate), b.updated
	}
}

// bucket returns the bucket for the requests or resources of c. It returns nil
// if EC2 does not limit the resources of c's action.
func (l *Limiter) bucket(c Call, resources bool) *bucket {
	if c.Service == "IAM" {
		c.Region = "" // IAM is a global service
	}
	key := bucketKey{c.Region, c.Service, c.Action, resources}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[key]
	if !ok {
		b = l.newBucket(key)
		l.buckets[key] = b
	}
	return b
}

func (l *Limiter) newBucket(key bucketKey) *bucket {
	documented, custom := documentedFor(key.service, key.action), l.limits[key.action]
	rate, override := documented.Requests, custom.Requests
	if key.resources {
		rate, override = documented.Resources, custom.Resources
	}
	if override != (Rate{}) {
		rate = override
	}
	if rate == (Rate{}) {
		return nil
	}
	size := max(1, math.Floor(rate.Burst*(1-reserve)))
	return &bucket{
		turn: make(chan struct{}, 1),
		size: size, tokens: size, maxRate: rate.PerSecond, rate: rate.PerSecond, updated: l.clock.Now(),
	}
}

// refill brings the tokens and rate of b up to date. The caller holds l.mu.
func (l *Limiter) refill(b *bucket) {
	now := l.clock.Now()
	passed := max(0, now.Sub(b.updated).Seconds())
	b.updated = now
	b.tokens = min(b.size, b.tokens+passed*b.rate)
	b.rate = min(b.maxRate, b.rate+passed*recovery*b.maxRate)
}
