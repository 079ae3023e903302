package bake

import (
	"context"
	"errors"
)

// work returns a context for the builds that does not end at once when ctx is canceled
// with ErrSuspended, but after SuspendWait. The caller must call stop. Without a Store
// nothing could resume the builds, so it is ctx.
func (s *settings) work(ctx context.Context) (work context.Context, stop func()) {
	if s.Store == nil {
		return ctx, func() {}
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	end := func() {}
	if deadline, ok := ctx.Deadline(); ok {
		work, end = context.WithDeadline(work, deadline)
	}
	suspended, acted, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	unregister := context.AfterFunc(ctx, func() {
		defer close(ended)
		cause := context.Cause(ctx)
		if !errors.Is(cause, ErrSuspended) {
			cancel(cause)
			close(acted)
			return
		}
		close(suspended)
		close(acted)
		if s.time().Sleep(work, s.SuspendWait) == nil {
			cancel(ErrSuspended)
		}
	})
	s.suspended = suspended
	s.settle = func() {
		if ctx.Err() != nil {
			<-acted
		}
	}
	return work, func() {
		cancel(nil)
		end()
		if !unregister() {
			<-ended
		}
	}
}

// suspending reports whether the builds are to end after their running step.
func (s *settings) suspending() bool {
	s.settle()
	return closed(s.suspended)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
