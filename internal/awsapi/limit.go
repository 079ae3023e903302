// Package awsapi makes the clients of one AWS account and region share what
// they may ask for: one token bucket per API action, slowed when AWS throttles,
// one layer of retries, and a limit for each attempt.
package awsapi

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Limiter holds one token bucket per API action. Sizes are those that AWS
// documents for EC2's request rate limits. A throttled call halves the rate of
// its action, and every second without one gives a tenth of it back.
type Limiter struct {
	clock bake.Clock

	mu      sync.Mutex
	buckets map[string]*bucket
}

// NewLimiter returns a Limiter with full buckets.
func NewLimiter(clock bake.Clock) *Limiter {
	return &Limiter{clock: clock, buckets: map[string]*bucket{}}
}

type bucket struct {
	size   float64 // tokens it can hold
	most   float64 // tokens per second, as documented
	rate   float64 // tokens per second, now
	tokens float64 // below zero: promised to calls that wait
	at     time.Time
}

const (
	slowdown  = 0.5  // the rate after a throttled call, as a part of it
	recovery  = 0.1  // of the documented rate, given back each second
	leastRate = 0.05 // of the documented rate
)

// documented returns the size and refill per second of an action's bucket,
// from "Request throttling for the Amazon EC2 API".
func documented(action string) (size, rate float64) {
	switch action {
	case "RunInstances":
		return 5, 2
	case "StartInstances", "StopInstances", "TerminateInstances", "RebootInstances":
		return 100, 5
	case "DeregisterImage", "DeleteSnapshot", "ModifyImageAttribute", "CreateSnapshot", "CreateImage", "CopyImage", "RegisterImage":
		return 100, 5
	case "CreateTags", "DeleteTags":
		return 100, 10
	case "GetConsoleOutput":
		return 50, 2
	}
	if strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get") {
		return 100, 20
	}
	return 50, 5
}

// Wait takes a token for one call of action, when there is one.
func (l *Limiter) Wait(ctx context.Context, action string) error {
	return l.clock.Sleep(ctx, l.reserve(action))
}

func (l *Limiter) reserve(action string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(action)
	b.tokens--
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}

// Throttled tells that AWS refused a call of action for its rate.
func (l *Limiter) Throttled(action string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(action)
	b.rate = max(b.rate*slowdown, b.most*leastRate)
	b.tokens = min(b.tokens, 0) // AWS's own bucket is empty
}

// bucket returns the bucket of action, refilled up to now. L.mu is held.
func (l *Limiter) bucket(action string) *bucket {
	now := l.clock.Now()
	b := l.buckets[action]
	if b == nil {
		size, rate := documented(action)
		b = &bucket{size: size, most: rate, rate: rate, tokens: size, at: now}
		l.buckets[action] = b
	}
	passed := max(0, now.Sub(b.at).Seconds())
	b.at = now
	b.tokens = min(b.size, b.tokens+passed*b.rate)
	b.rate = min(b.most, b.rate+passed*recovery*b.most)
	return b
}
