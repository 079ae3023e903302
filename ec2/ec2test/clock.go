package ec2test

import (
	"context"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Scaled returns a clock that runs factor times faster than real time,
// beginning now: Scaled(100) makes a minute of EC2 last 0.6 seconds. A factor
// of zero or less is one. Give the same clock to the server and to the bake.
//
// Only waiting gets faster: real work counts factor times as much against the
// limits of a bake. A fleet that keeps the processor busy wants a smaller
// factor than a single image.
func Scaled(factor float64) bake.Clock {
	if factor <= 0 {
		factor = 1
	}
	return scaledClock{start: time.Now(), factor: factor}
}

type scaledClock struct {
	start  time.Time
	factor float64
}

func (c scaledClock) Now() time.Time {
	return c.start.Add(time.Duration(float64(time.Since(c.start)) * c.factor))
}

func (c scaledClock) Sleep(ctx context.Context, d time.Duration) error {
	return bake.RealTime().Sleep(ctx, time.Duration(float64(d)/c.factor))
}

// A VirtualClock stands still until Advance moves it. It may be used by any
// number of goroutines.
type VirtualClock struct {
	mu       sync.Mutex
	now      time.Time
	sleepers map[*sleeper]struct{}
	changed  chan struct{} // closed and replaced when a sleeper comes or goes
}

type sleeper struct {
	until time.Time
	wake  chan struct{}
}

// NewVirtual returns a clock that stands at start.
func NewVirtual(start time.Time) *VirtualClock {
	return &VirtualClock{
		now:      start,
		sleepers: make(map[*sleeper]struct{}),
		changed:  make(chan struct{}),
	}
}

// Now is the time the clock stands at.
func (c *VirtualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep waits until Advance has moved the clock by d, or ctx ends; then it
// returns ctx's cause. A d of zero or less does not wait.
func (c *VirtualClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	s := &sleeper{until: c.now.Add(d), wake: make(chan struct{})}
	c.sleepers[s] = struct{}{}
	c.notify()
	c.mu.Unlock()

	select {
	case <-s.wake:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.sleepers, s)
		c.notify()
		return context.Cause(ctx)
	}
}

// Advance moves the clock by d and wakes everything whose time has come. It
// does not wait for what it woke.
func (c *VirtualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for s := range c.sleepers {
		if !s.until.After(c.now) {
			delete(c.sleepers, s)
			close(s.wake)
		}
	}
	c.notify()
}

// Sleepers is how many goroutines wait in Sleep.
func (c *VirtualClock) Sleepers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sleepers)
}

// Await waits until at least n goroutines wait in Sleep, or ctx ends; then it
// returns ctx's cause.
func (c *VirtualClock) Await(ctx context.Context, n int) error {
	for {
		c.mu.Lock()
		enough, changed := len(c.sleepers) >= n, c.changed
		c.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *VirtualClock) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}
