// Package poll lets any number of waits share one request per interval.
//
// A Poller belongs to one kind of thing in one place, such as the instances of
// a region. Whoever waits first does the asking for all; when he is done, one
// of those still waiting takes over. So nothing runs while nobody waits, there
// is no goroutine to stop, and the number of requests does not depend on the
// number of waits.
package poll

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Poller asks for the state of things of type T by their ids.
type Poller[T any] struct {
	// Fetch returns the state of those of the ids that exist. Others are left
	// out: an unknown id must not spoil the answer for the rest.
	Fetch func(ctx context.Context, ids []string) (map[string]T, error)

	// Clock is the time to live by.
	Clock clock.Clock

	// Interval is the time between two requests.
	Interval time.Duration

	// Gap is the least time between two requests when a new wait begins and does
	// not want to wait for the interval to pass. It is for crowds: with fewer
	// than 50 waits it is as much shorter. Where new waits begin all the time,
	// most of them wait for the interval: then requests do not grow with them.
	Gap time.Duration

	mu      sync.Mutex
	waits   map[*wait[T]]bool
	leader  *wait[T]
	asked   time.Time          // when the last request began
	early   float64            // how many futile requests more may come before their interval has passed
	hurry   context.CancelFunc // ends the leader's sleep
	failing int                // requests that failed, one after the other
}

// crowd is how many waits make new ones keep the whole Gap.
const crowd = 50

// Early requests that found nothing ready are a token bucket: so many at once,
// and so many for each interval that passes. Those that do are free: things
// become ready at once there.
const (
	earlyBurst       = 5
	earlyPerInterval = 0.4
)

// mostFailures is how many requests in a row may fail before the waits do. The
// requests are retried underneath already; this outlasts an outage of a minute.
const mostFailures = 5

type wait[T any] struct {
	id    string
	from  time.Time // after its first look it needs no other before this
	ready func(state T, found bool) (bool, error)
	ended chan error    // buffered: the answer
	lead  chan struct{} // buffered: it is this wait's turn to ask
	asked bool          // at least one request was about it
}

// Wait returns when ready says true or an error for the state of id, or ctx
// ends. Ready is called with found false while the thing is not to be seen; it
// must return quickly. A state is looked at once at least.
func (p *Poller[T]) Wait(ctx context.Context, id string, ready func(state T, found bool) (bool, error)) error {
	return p.WaitQuiet(ctx, id, 0, ready)
}

// WaitQuiet is Wait for what surely takes longer than quiet, unless it is ready
// at once: after its first look it asks for no other before that time. It still
// learns from the looks of others.
func (p *Poller[T]) WaitQuiet(ctx context.Context, id string, quiet time.Duration, ready func(state T, found bool) (bool, error)) error {
	w := &wait[T]{
		id: id, from: p.Clock.Now().Add(quiet), ready: ready,
		ended: make(chan error, 1), lead: make(chan struct{}, 1),
	}
	p.join(w)
	defer p.leave(w)
	for {
		select {
		case err := <-w.ended:
			return err
		default:
		}
		select {
		case err := <-w.ended:
			return err
		case <-w.lead:
			if err := p.round(ctx, w); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *Poller[T]) join(w *wait[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waits == nil {
		p.waits = map[*wait[T]]bool{}
	}
	p.waits[w] = true
	if p.leader == nil {
		p.leader = w
		w.lead <- struct{}{}
	} else if p.hurry != nil {
		p.hurry()
	}
}

// leave removes w and, if it did the asking, hands that on.
func (p *Poller[T]) leave(w *wait[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waits, w)
	if p.leader != w {
		return
	}
	p.leader = nil
	for next := range p.waits {
		p.leader = next
		next.lead <- struct{}{}
		return
	}
}

// round waits for its time, asks once and tells everybody. It then keeps the
// lead unless w itself has its answer.
func (p *Poller[T]) round(ctx context.Context, w *wait[T]) error {
	if err := p.pause(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	early := p.asks(p.Clock.Now())
	asking := slices.Collect(maps.Keys(p.waits))
	ids := map[string]bool{}
	var fresh []*wait[T]
	for _, w := range asking {
		if !w.asked {
			fresh = append(fresh, w)
		}
		ids[w.id], w.asked = true, true
	}
	p.mu.Unlock()

	states, err := p.Fetch(ctx, slices.Sorted(maps.Keys(ids)))
	if ctx.Err() != nil {
		return context.Cause(ctx) // only this wait ends; the next one asks again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failing++
	if err == nil {
		p.failing = 0
	}
	for _, w := range asking {
		p.tell(w, states, err)
	}
	if early && !slices.ContainsFunc(fresh, func(w *wait[T]) bool { return !p.waits[w] }) {
		p.early--
	}
	if p.waits[w] {
		w.lead <- struct{}{}
	}
	return nil
}

// tell gives w its answer, if there is one. P.mu is held.
func (p *Poller[T]) tell(w *wait[T], states map[string]T, err error) {
	if !p.waits[w] {
		return
	}
	if err != nil {
		if p.failing >= mostFailures {
			p.end(w, fmt.Errorf("asking for its state failed %d times: %w", p.failing, err))
		}
		return
	}
	state, found := states[w.id]
	if done, err := w.ready(state, found); done || err != nil {
		p.end(w, err)
	}
}

func (p *Poller[T]) end(w *wait[T], err error) {
	delete(p.waits, w)
	w.ended <- err
}

// pause waits until the next request is due: an interval after the last one,
// or only the gap if there is a wait that has not seen an answer yet.
func (p *Poller[T]) pause(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := p.due().Sub(p.Clock.Now())
		sleep, hurry := context.WithCancel(ctx)
		p.hurry = hurry
		p.mu.Unlock()
		if left > 0 {
			_ = p.Clock.Sleep(sleep, left) // an end by hurry is no error, one by ctx shows below
		}
		hurry()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if left <= 0 {
			return nil
		}
	}
}

// asks notes that a request begins, and tells whether it comes before its
// interval has passed. P.mu is held.
func (p *Poller[T]) asks(now time.Time) (early bool) {
	if p.asked.IsZero() {
		p.asked, p.early = now, earlyBurst
		return false
	}
	passed := now.Sub(p.asked)
	p.asked = now
	p.early = min(earlyBurst, p.early+earlyPerInterval*float64(passed)/float64(p.Interval))
	return passed < p.Interval
}

// due is when to ask again. P.mu is held.
func (p *Poller[T]) due() time.Time {
	if p.asked.IsZero() {
		return p.asked
	}
	var first time.Time
	for w := range p.waits {
		if !w.asked && p.early >= 1 {
			return p.asked.Add(min(p.Gap, time.Duration(len(p.waits))*p.Gap/crowd))
		}
		if !w.asked {
			return p.asked.Add(p.Interval)
		}
		if first.IsZero() || w.from.Before(first) {
			first = w.from
		}
	}
	if next := p.asked.Add(p.Interval); next.After(first) {
		return next
	}
	return first
}
