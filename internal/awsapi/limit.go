// Package awsapi makes the clients of one AWS account share what they may ask
// for: token buckets per region and API action, slowed when AWS throttles, one
// layer of retries, and a limit for each attempt. All waiting is on one Clock.
package awsapi

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Limiter holds the token buckets of an account: one for the requests of each
// action in each region, and one for the resources they change. Actions never
// wait for each other, so a crowd of describes does not hold up a create or an
// undo. A throttled call halves the rate of its action, and every second
// without one gives a tenth of it back.
type Limiter struct {
	clock  clock.Clock
	limits map[string]Limit

	mu      sync.Mutex
	buckets map[bucketKey]*bucket
}

// NewLimiter returns a Limiter with full buckets. Limits replace the documented
// ones of actions by their names.
func NewLimiter(clock clock.Clock, limits map[string]Limit) *Limiter {
	return &Limiter{clock: clock, limits: limits, buckets: map[bucketKey]*bucket{}}
}

// A Call is what a Limiter needs to know of an API call.
type Call struct {
	Region, Service, Action string

	Resources int // how many instances it changes
}

type bucketKey struct {
	region, service, action string
	resources               bool
}

type bucket struct {
	turn chan struct{} // holds one while somebody is first in line

	size   float64 // tokens it can hold
	most   float64 // tokens per second, as documented
	rate   float64 // tokens per second, now
	tokens float64
	at     time.Time // when the tokens were counted
	slowed time.Time // when the rate was last cut
}

const (
	// spare is the part of a documented bucket that is left alone: calls do not
	// arrive in the rhythm in which they were sent, and others have some too.
	spare = 0.1

	slowdown  = 0.5  // the rate after a throttled call, as a part of it
	recovery  = 0.1  // of the documented rate, given back each second
	leastRate = 0.05 // of the documented rate

	// oneBurst is the time in which throttled calls count as one: all those of a
	// burst say the same.
	oneBurst = time.Second

	// longestNap bounds how long the first in line sleeps before it looks
	// again: the rate may have changed.
	longestNap = time.Second
)

// Wait takes the tokens of a call when there are some; first come, first
// served. A wait that ctx ends takes none.
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
	return min(longestNap, time.Duration(math.Ceil((n-b.tokens)/b.rate*float64(time.Second))))
}

// Throttled tells that AWS refused a call for its rate.
func (l *Limiter) Throttled(c Call) {
	b := l.bucket(c, false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill(b)
	b.tokens = 0 // AWS's own bucket is empty
	if b.at.Sub(b.slowed) >= oneBurst {
		b.rate, b.slowed = max(b.rate*slowdown, b.most*leastRate), b.at
	}
}

// bucket returns a bucket of c; nil when EC2 counts no resources of its action.
func (l *Limiter) bucket(c Call, resources bool) *bucket {
	if c.Service == "IAM" {
		c.Region = "" // it is one for all regions
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
	documented, given := documentedFor(key.service, key.action), l.limits[key.action]
	rate, own := documented.Requests, given.Requests
	if key.resources {
		rate, own = documented.Resources, given.Resources
	}
	if own != (Rate{}) {
		rate = own
	}
	if rate == (Rate{}) {
		return nil
	}
	size := max(1, math.Floor(rate.Burst*(1-spare)))
	return &bucket{
		turn: make(chan struct{}, 1),
		size: size, tokens: size, most: rate.PerSecond, rate: rate.PerSecond, at: l.clock.Now(),
	}
}

// refill counts the tokens of b up to now. L.mu is held.
func (l *Limiter) refill(b *bucket) {
	now := l.clock.Now()
	passed := max(0, now.Sub(b.at).Seconds())
	b.at = now
	b.tokens = min(b.size, b.tokens+passed*b.rate)
	b.rate = min(b.most, b.rate+passed*recovery*b.most)
}
