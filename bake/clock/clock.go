// Package clock provides the clock that builds, machines and clean-ups tell time
// and sleep by, so that tests can replace it.
//
// Every option that holds a [Clock] uses the system clock when it is nil. A test
// inside testing/synctest needs no other. A test that runs an embedded cloud on
// faster time gives the same [Scaled] or [Virtual] clock to the cloud and to the
// bake.
package clock

import (
	"context"
	"time"
)

// A Clock tells time and sleeps.
type Clock interface {
	// Now returns the current time.
	Now() time.Time

	// Sleep waits until d has passed or ctx ends; if ctx ends first, it returns
	// the cause. A d of zero or less does not wait.
	Sleep(ctx context.Context, d time.Duration) error
}

// System returns the clock of package time.
func System() Clock { return system{} }

type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// OrSystem returns c, or the system clock if c is nil.
func OrSystem(c Clock) Clock {
	if c == nil {
		return System()
	}
	return c
}

// WithTimeout is context.WithTimeout on the time of c; a nil c is the system
// clock. When the time is up, the cause is context.DeadlineExceeded. The caller
// must call stop, which waits until the timer's goroutine has ended.
func WithTimeout(ctx context.Context, c Clock, d time.Duration) (limited context.Context, stop func()) {
	if c == nil || c == System() {
		return context.WithTimeout(ctx, d)
	}
	limited, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.Sleep(limited, d) == nil {
			cancel(context.DeadlineExceeded)
		}
	}()
	return limited, func() {
		cancel(context.Canceled)
		<-done
	}
}

// WaitFor calls ready at the given interval until it reports true, fails, or ctx
// ends.
func WaitFor(ctx context.Context, c Clock, interval time.Duration, ready func(context.Context) (bool, error)) error {
	for {
		ok, err := ready(ctx)
		if ok || err != nil {
			return err
		}
		if err := c.Sleep(ctx, interval); err != nil {
			return err
		}
	}
}
