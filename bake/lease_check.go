package bake

import "context"

// CheckLease returns nil if this process may work on the build that ctx belongs to, and
// an error that wraps ErrLeaseLost if another process may have taken it over. It waits
// while the renewal of the lease is overdue.
//
// A process may be stopped at any moment, by a signal or because its computer sleeps,
// for longer than its lease lasts. So a Builder calls CheckLease immediately before each
// request or program that changes anything, without I/O in between. Machines need not:
// the engine checks the lease before each of their methods.
//
// Outside of a build, and in one without a Store, CheckLease returns nil.
func CheckLease(ctx context.Context) error {
	if run := RunFromContext(ctx); run.lease != nil {
		return run.lease(ctx)
	}
	return nil
}

// current returns nil if the lease lasts for more than its last quarter. Before that, it
// tries to renew the lease until that has succeeded, the lease is lost or ctx ends: what
// begins now must not end after the lease.
func (h *hold) current(ctx context.Context) error {
	for h != nil {
		if err := h.ended(); err != nil || h.left() > h.Lease/marginPart {
			return err
		}
		if err := h.renewNow(ctx); err == nil {
			continue
		}
		if err := h.ended(); err != nil {
			return err
		}
		if err := h.time().Sleep(ctx, h.Lease/tickPart/renewAt); err != nil {
			return err
		}
	}
	return nil
}

// renewNow renews the lease, unless a save has done so meanwhile.
func (h *hold) renewNow(ctx context.Context) error {
	select {
	case h.saving <- struct{}{}:
		defer func() { <-h.saving }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.left() > h.Lease/marginPart {
		return nil
	}
	return h.try(ctx, h.saved, false)
}
