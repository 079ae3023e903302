package clock

import (
	"context"
	"sync"
	"time"
)

// A Virtual is a Clock that stands still until Advance moves it. It is safe for
// concurrent use.
type Virtual struct {
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
func NewVirtual(start time.Time) *Virtual {
	return &Virtual{
		now:      start,
		sleepers: make(map[*sleeper]struct{}),
		changed:  make(chan struct{}),
	}
}

// Now returns the time the clock stands at.
func (c *Virtual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep waits until Advance has moved the clock by d, or ctx ends; then it
// returns ctx's cause. A d of zero or less does not wait.
func (c *Virtual) Sleep(ctx context.Context, d time.Duration) error {
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
func (c *Virtual) Advance(d time.Duration) {
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

// Sleepers returns the number of goroutines waiting in Sleep.
func (c *Virtual) Sleepers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sleepers)
}

// Await waits until at least n goroutines wait in Sleep, or ctx ends; then it
// returns ctx's cause.
func (c *Virtual) Await(ctx context.Context, n int) error {
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

func (c *Virtual) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}
