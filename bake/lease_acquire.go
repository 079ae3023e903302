package bake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// sightings remember since when a process has seen records unchanged.
type sightings struct {
	mu   sync.Mutex
	seen map[string]sighting // by build
}

type sighting struct {
	sign  lifeSign
	since time.Time
}

// A lifeSign changes as long as the owner of a record lives.
type lifeSign struct {
	revision int64
	cover    int64 // the revision of the record that covers it, if it has the same owner
}

// sign returns the life sign of rec, of which load loads the record that covers it.
func sign(rec *Record, load func(build string) (*Record, error)) (lifeSign, error) {
	now := lifeSign{revision: rec.Revision}
	if rec.Lease.Under == "" {
		return now, nil
	}
	by, err := load(rec.Lease.Under)
	switch {
	case errors.Is(err, ErrNoRecord):
	case err != nil:
		return now, err
	case by.Lease.Owner == rec.Lease.Owner && by.Lease.Under == "":
		now.cover = by.Revision
	}
	return now, nil
}

// of returns since when the life sign of rec is unchanged, as far as this process has
// seen.
func (s *sightings) of(rec *Record, sign lifeSign, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]sighting{}
	}
	if at, ok := s.seen[rec.Build]; !ok || at.sign != sign {
		s.seen[rec.Build] = sighting{sign, now}
	}
	return s.seen[rec.Build].since
}

// forget drops the builds that keep does not report.
func (s *sightings) forget(keep func(build string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for build := range s.seen {
		if !keep(build) {
			delete(s.seen, build)
		}
	}
}

// remaining returns how long another process may still own rec: zero if it is free. Load
// loads the record that covers it.
func (s *settings) remaining(rec *Record, load func(build string) (*Record, error)) (time.Duration, error) {
	if rec.Lease.Owner == "" {
		return 0, nil
	}
	now := s.time().Now()
	seen, err := sign(rec, load)
	return max(0, rec.Lease.Length-now.Sub(s.sightings.of(rec, seen, now))), err
}

// acquire takes the lease of the build of rec. If another process has it, acquire waits
// until it is released or has expired. It returns ErrLeased if the other process renews it.
// It returns the record as the store has it now. A record that is not in the store is
// stored, unless it was before.
func (s *settings) acquire(ctx context.Context, rec *Record) (*hold, *Record, error) {
	if s.Store == nil {
		return nil, rec, nil
	}
	var until time.Time // the end of the wait
	for {
		if err := context.Cause(ctx); errors.Is(err, ErrSuspended) {
			return nil, nil, err
		}
		now, err := s.load(ctx, rec.Build)
		if errors.Is(err, ErrNoRecord) && rec.Revision == 0 {
			first := *rec
			now, err = &first, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("load the record: %w", err)
		}
		left, err := s.remaining(now, func(build string) (*Record, error) { return s.load(ctx, build) })
		if err != nil {
			return nil, nil, fmt.Errorf("load the record that covers it: %w", err)
		}
		if left > 0 {
			at := s.time().Now()
			if s.impatient || !until.IsZero() && !at.Before(until) {
				return nil, nil, fmt.Errorf("%w: %s", ErrLeased, now.Lease.Owner)
			}
			if until.IsZero() {
				until = at.Add(left)
				s.emit(Event{
					Kind: Message, Time: s.Clock.Now(), Image: now.Image, Build: now.Build, Delay: left,
					Text: fmt.Sprintf("waiting %v to see whether %s still works on this build", left.Round(time.Millisecond), now.Lease.Owner),
				})
			}
			if err := s.time().Sleep(ctx, min(until.Sub(at), releaseInterval)); err != nil {
				return nil, nil, err
			}
			continue
		}
		h, err := s.take(ctx, now) // also if ctx has ended: the build must be cleaned up
		if !errors.Is(err, ErrConflict) {
			return h, now, err
		}
	}
}

// releaseInterval is the time between looks whether another process has released a lease.
const releaseInterval = time.Second

// storeTimeout bounds the calls of a store while there is no lease.
const storeTimeout = time.Minute

// load loads a record, even if ctx has ended.
func (s *settings) load(ctx context.Context, build string) (*Record, error) {
	limited, stop := clock.WithTimeout(context.WithoutCancel(ctx), s.time(), storeTimeout)
	defer stop()
	return s.Store.Load(limited, build)
}

// take takes the lease of rec, which is free or has expired.
func (s *settings) take(ctx context.Context, rec *Record) (*hold, error) {
	sent, from := s.now(), rec.Lease.Owner
	rec.Lease = s.lease(s.owner, rec.Lease.Token+1)
	rec.Revision++
	limited, stop := clock.WithTimeout(context.WithoutCancel(ctx), s.time(), storeTimeout)
	defer stop()
	if err := s.Store.Save(limited, rec); err != nil {
		return nil, fmt.Errorf("take the lease: %w", err)
	}
	if from != "" {
		s.emit(Event{Kind: BuildTaken, Time: s.Clock.Now(), Image: rec.Image, Build: rec.Build, Text: from})
	}
	return s.hold(ctx, rec, sent), nil
}

// acquireAll takes the leases of the records of Options.Resume, all or none. It returns
// the holds by build, and updates Options.Resume.
func (s *settings) acquireAll(ctx context.Context) (map[string]*hold, error) {
	holds := map[string]*hold{}
	if s.Store == nil {
		return holds, nil
	}
	records := make([]*Record, len(s.Resume))
	errs := make([]error, len(s.Resume))
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, rec := range s.Resume {
		all.Go(func() {
			h, now, err := s.acquire(ctx, rec)
			if err != nil {
				errs[i] = &Error{Image: rec.Image, Err: fmt.Errorf("build %s: %w", rec.Build, err), mask: s.mask}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			records[i], holds[rec.Build] = now, h
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, h := range holds {
			_ = h.abandon(context.WithoutCancel(ctx)) // else it expires
		}
		return nil, err
	}
	s.Resume = records
	return holds, nil
}
