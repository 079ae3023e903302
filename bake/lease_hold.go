package bake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/boottime"
)

// A hold is the ownership of a record by this process. It saves the record, and renews
// the lease in the background until it is released or lost. The methods of a nil hold,
// of a build without a Store, do nothing.
type hold struct {
	*settings
	build string
	owner string
	token int64

	saving chan struct{} // holds a value during a Save; who waits is idle for testing/synctest
	saved  Record        // as the store has it

	mu       sync.Mutex
	sent     boottime.Moment // when the last successful Save was sent: the lease counts from then
	looked   boottime.Moment // when the record was last saved or loaded
	under    *hold           // covers this one, or nil
	waits    bool            // for the build's turn, so that another hold may cover it
	early    time.Duration   // random; see due
	stopped  bool            // it is not renewed any more
	lost     error
	canceled *CanceledError // a request of another process
	watchers map[int]func() // are told that one of the two is set

	watched int // number of the last watcher

	stop func() // ends the renewal
}

// The lease is renewed at a third of its length. No step begins in its last quarter.
const (
	renewAt    = 3
	marginPart = 4
	tickPart   = 12
)

// hold starts to hold rec, which the caller has just saved with the lease of owner.
func (s *settings) hold(ctx context.Context, rec *Record, sent boottime.Moment) *hold {
	h := &hold{settings: s, saving: make(chan struct{}, 1), build: rec.Build, owner: rec.Lease.Owner, token: rec.Lease.Token, saved: *rec, sent: sent, looked: sent}
	h.early = rand.N(s.Lease/renewAt/2 + 1) //nolint:gosec // not a secret
	h.saved.Steps = slices.Clone(rec.Steps)
	if rec.Cancel != "" {
		h.canceled = &CanceledError{rec.Cancel}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.renew(ctx)
	}()
	h.stop = func() {
		h.mu.Lock()
		h.stopped = true
		h.mu.Unlock()
		cancel()
		<-done
	}
	return h
}

// time returns the clock of leases: that of the system, since processes and stores do
// not run faster with Options.Clock.
func (s *settings) time() clock.Clock { return clock.System() }

// lease returns the lease of an owner that saves now.
func (s *settings) lease(owner string, token int64) Lease {
	return Lease{Owner: owner, Token: token, Until: s.time().Now().Add(s.Lease).UTC().Round(0), Length: s.Lease}
}

// now returns the current moment, for the length of a lease.
func (s *settings) now() boottime.Moment { return boottime.At(s.time().Now()) }

// left returns how long the lease still lasts.
func (h *hold) left() time.Duration {
	if by := h.coveredBy(); by != nil {
		return by.left()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Lease - h.sent.Since(h.now())
}

// renew renews the lease whenever a third of it has passed. It ends when
// ctx does or the lease is lost. A Save that hangs does not keep it from noticing the
// end of the lease.
func (h *hold) renew(ctx context.Context) {
	var renewals sync.WaitGroup
	defer renewals.Wait()
	turn := make(chan struct{}, 1)
	for h.time().Sleep(ctx, h.Lease/tickPart) == nil {
		switch left := h.left(); {
		case h.lostError() != nil:
			return
		case left <= 0:
			_ = h.lose(errors.New("it could not be renewed in time"))
			return
		case !h.due():
			continue
		}
		select {
		case turn <- struct{}{}:
			renewals.Go(func() {
				defer func() { <-turn }()
				h.saving <- struct{}{}
				defer func() { <-h.saving }()
				// A failure is tried again at the next tick.
				_ = h.keep(ctx)
			})
		default:
		}
	}
}

// save saves rec with the lease. While the lease lasts, it retries a failure that may
// pass.
func (h *hold) save(ctx context.Context, rec Record) error {
	if h == nil {
		return nil
	}
	return h.store(ctx, rec, false)
}

func (h *hold) store(ctx context.Context, rec Record, release bool) error {
	h.saving <- struct{}{}
	defer func() { <-h.saving }()
	for try := 1; ; try++ {
		err := h.try(ctx, rec, release)
		if err == nil || h.lostError() != nil {
			return err
		}
		if _, permanent := errors.AsType[*PermanentError](err); permanent {
			return err
		}
		wait := Retry{Delay: h.Lease / tickPart / renewAt, MaxDelay: h.Lease / tickPart}.Wait(try)
		if h.left()-wait <= h.Lease/marginPart || h.time().Sleep(ctx, wait) != nil {
			return err
		}
	}
}

// release saves rec without a lease and ends the renewal.
func (h *hold) release(ctx context.Context, rec Record) error {
	if h == nil {
		return nil
	}
	h.stop()
	return h.store(ctx, rec, true)
}

// abandon releases the record as it was last saved.
func (h *hold) abandon(ctx context.Context) error {
	if h == nil {
		return nil
	}
	h.stop()
	return h.store(ctx, h.saved, true)
}

// try saves rec with the next revision, and without a lease if it is to be released.
func (h *hold) try(ctx context.Context, rec Record, release bool) error {
	for {
		if err := h.lostError(); err != nil {
			return err
		}
		left := h.left()
		if left <= 0 {
			return h.lose(errors.New("it could not be renewed in time"))
		}
		now := h.now()
		lease := h.lease(h.owner, h.saved.Lease.Token)
		if release {
			lease = Lease{Token: h.saved.Lease.Token}
		}
		under := h.nextCover()
		if under != nil && !release {
			lease.Under = under.build
		}
		rec.Lease, rec.Revision, rec.Cancel = lease, h.saved.Revision+1, h.saved.Cancel
		limited, stop := clock.WithTimeout(ctx, h.time(), left)
		err := h.Store.Save(limited, &rec)
		if errors.Is(err, ErrConflict) {
			err = h.adopt(limited, &rec)
		}
		stop()
		switch {
		case err == nil:
			h.saved = rec
			h.saved.Steps = slices.Clone(rec.Steps)
			h.mu.Lock()
			h.sent, h.looked, h.under = now, now, under
			h.mu.Unlock()
			return nil
		case !errors.Is(err, errAdopted):
			return err
		}
	}
}

// errAdopted tells that another revision was adopted and the record can be saved again.
var errAdopted = errors.New("record of this process was changed")

// adopt finds out why rec was a conflict. It returns nil if rec was saved before, and
// its response lost, errAdopted if another process requested a cancellation, and
// ErrLeaseLost if another process owns the record now.
func (h *hold) adopt(ctx context.Context, rec *Record) error {
	stored, err := h.Store.Load(ctx, rec.Build)
	switch {
	case errors.Is(err, ErrNoRecord):
		return h.lose(err)
	case err != nil:
		return err
	}
	released := rec.Lease.Owner == "" && stored.Lease.Owner == "" && stored.Revision == rec.Revision
	if stored.Lease.Token != rec.Lease.Token || stored.Lease.Owner != h.owner && !released {
		return h.lose(fmt.Errorf("%w: taken over by %s", ErrConflict, stored.Lease.Owner))
	}
	if released {
		return nil
	}
	h.saved.Revision, h.saved.Cancel = stored.Revision, stored.Cancel
	if stored.Cancel != "" {
		h.ask(stored.Cancel)
	}
	return errAdopted
}

// lose marks the lease as lost.
func (h *hold) lose(cause error) error {
	h.mu.Lock()
	if h.lost == nil {
		h.lost = fmt.Errorf("%w: %w", ErrLeaseLost, cause)
	}
	err := h.lost
	h.mu.Unlock()
	h.tell()
	return err
}

// ask records a request to cancel the build.
func (h *hold) ask(reason string) {
	h.mu.Lock()
	if h.canceled == nil {
		h.canceled = &CanceledError{reason}
	}
	h.mu.Unlock()
	h.tell()
}

func (h *hold) tell() {
	h.mu.Lock()
	watchers := slices.Collect(maps.Values(h.watchers))
	h.mu.Unlock()
	for _, changed := range watchers {
		changed()
	}
}

// watch calls changed now, and when the lease is lost or a cancellation is requested,
// until stop is called.
func (h *hold) watch(changed func()) (stop func()) {
	if h == nil {
		return func() {}
	}
	h.mu.Lock()
	if h.watchers == nil {
		h.watchers = map[int]func(){}
	}
	h.watched++
	number := h.watched
	h.watchers[number] = changed
	h.mu.Unlock()
	changed()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, number)
	}
}

// lostError returns why the lease is lost, or nil.
func (h *hold) lostError() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// canceledError returns the requested cancellation, or nil.
func (h *hold) canceledError() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.canceled == nil {
		return nil
	}
	return h.canceled
}

// ended returns an error if the lease has ended by the clock, even if the renewal has
// not noticed it: the process may have been stopped.
func (h *hold) ended() error {
	if h == nil {
		return nil
	}
	if err := h.lostError(); err != nil {
		return err
	}
	if h.left() <= 0 {
		return h.lose(errors.New("it could not be renewed in time"))
	}
	return nil
}
