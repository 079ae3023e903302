package bake

import (
	"context"
	"errors"
	"sync"
)

// A cover lets the lease of one build of a Bake cover those that wait for their turn, so
// that a thousand of them cost one renewal, not a thousand. A covered record names the
// build that covers it. Other processes then take the record for owned as long as the
// same owner renews that one's lease.
type cover struct {
	mu   sync.Mutex
	hold *hold // whose lease covers the others
}

// set makes h the hold that covers the others.
func (c *cover) set(h *hold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = h
}

// of returns the hold that covers h: h itself if there is no other, or nil if it does not
// have a lease of its own yet.
func (c *cover) of(h *hold) *hold {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold == nil || c.hold.over() {
		c.hold = h
	}
	if c.hold != h && c.hold.coveredBy() != nil {
		return nil
	}
	return c.hold
}

// over reports whether the lease is not renewed any more.
func (h *hold) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stopped || h.lost != nil
}

// coveredBy returns the hold whose lease covers this one, or nil if it has its own.
func (h *hold) coveredBy() *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.under
}

// wait tells that the build waits for its turn, or no longer.
func (h *hold) wait(waits bool) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waits = waits
}

// nextCover returns the hold that is to cover this one, or nil.
func (h *hold) nextCover() *hold {
	h.mu.Lock()
	waits := h.waits
	h.mu.Unlock()
	if !waits {
		return nil
	}
	if by := h.covers.of(h); by != h {
		return by
	}
	return nil
}

// keep renews the lease. One that another covers is not renewed: keep only looks whether
// another process has changed the record.
func (h *hold) keep(ctx context.Context) error {
	by := h.coveredBy()
	if by == nil || by != h.nextCover() {
		return h.try(ctx, h.saved, false)
	}
	now := h.now()
	if err := h.adopt(ctx, &h.saved); !errors.Is(err, errAdopted) {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = now
	return nil
}

// due reports whether a third of the lease has passed since the record was saved or
// looked at, or the hold that covers this one has changed.
func (h *hold) due() bool {
	if by := h.coveredBy(); by != nil && by != h.nextCover() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looked.Since(h.now()) >= h.Lease/renewAt
}
