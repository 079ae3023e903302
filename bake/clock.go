package bake

import (
	"context"
	"time"
)

// A Clock is the time that a build lives by: its waits, pauses, limits and
// stamps. The zero value of every option that holds one is the real time. A
// test that runs inside testing/synctest needs no other; one that runs an
// embedded cloud on scaled time gives the same Clock to both.
type Clock interface {
	// Now is the present.
	Now() time.Time

	// Sleep waits until d has passed or ctx ends, and then returns ctx's cause.
	Sleep(ctx context.Context, d time.Duration) error
}

// RealTime returns the Clock of package time.
func RealTime() Clock { return realTime{} }

type realTime struct{}

func (realTime) Now() time.Time { return time.Now() }

func (realTime) Sleep(ctx context.Context, d time.Duration) error {
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

// WithTimeout is context.WithTimeout on clock's time. A nil clock is the real
// time. The cause of the end is context.DeadlineExceeded. The returned stop
// must be called; it waits until nothing of the timer is left.
func WithTimeout(ctx context.Context, clock Clock, d time.Duration) (limited context.Context, stop func()) {
	if _, real := clock.(realTime); real || clock == nil {
		limited, cancel := context.WithTimeout(ctx, d)
		return limited, cancel
	}
	limited, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if clock.Sleep(limited, d) == nil {
			cancel(context.DeadlineExceeded)
		}
	}()
	return limited, func() {
		cancel(context.Canceled)
		<-done
	}
}
