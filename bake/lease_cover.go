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
	turns chan struct{} // has a value for each call of the Store for a build that waits

	mu   sync.Mutex
	hold *hold // whose lease covers the others
}

func newCover() *cover { return &cover{turns: make(chan struct{}, saveAtOnce)} }

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

func (h *hold) waiting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waits
}

// nextCover returns the hold that is to cover this one, or nil.
func (h *hold) nextCover() *hold {
	if !h.waiting() {
		return nil
	}
	if by := h.covers.of(h); by != h {
		return by
	}
	return nil
}

// keep renews the lease. One that another covers is not renewed: keep only looks whether
// another process has changed the record. Builds that wait take turns, so that they leave
// room for those at work.
func (h *hold) keep(ctx context.Context) error {
	if h.waiting() {
		select {
		case h.covers.turns <- struct{}{}:
			defer func() { <-h.covers.turns }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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
// looked at, or the hold that covers this one has changed. For a build that waits it is a
// little less, so that a thousand of them do not act at once.
func (h *hold) due() bool {
	if by := h.coveredBy(); by != nil && by != h.nextCover() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	after := h.Lease / renewAt
	if h.waits {
		after -= h.early
	}
	return h.looked.Since(h.now()) >= after
}
