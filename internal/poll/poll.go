// Package poll lets any number of waits share one request per interval.
//
// A [Poller] watches the resources of one kind in one region or account, such
// as the instances of a region. The first waiter polls on behalf of all; when it
// leaves, another takes over. There is no background goroutine to stop, and the
// number of requests does not depend on the number of waits.
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

// A Poller polls the state T of resources identified by their ids.
type Poller[T any] struct {
	// Fetch returns the states of the resources that exist. It omits unknown ids
	// rather than failing, so that one does not fail the request for the rest.
	Fetch func(ctx context.Context, ids []string) (map[string]T, error)

	// Clock tells time and sleeps.
	Clock clock.Clock

	// Interval is the time between two requests.
	Interval time.Duration

	// Gap is the minimum time between two requests when a new wait requests one
	// before the interval has passed. It applies in full from 50 concurrent waits
	// on and is proportionally shorter with fewer. The rate of such early requests
	// is limited: when new waits keep arriving, most wait for the interval.
	Gap time.Duration

	mu       sync.Mutex
	waits    map[*wait[T]]bool
	leader   *wait[T]
	last     time.Time          // when the last request began
	early    float64            // tokens left for early requests
	wake     context.CancelFunc // ends the leader's sleep
	until    time.Time          // the planned end of the leader's sleep
	failures int                // consecutive failed requests
}

// fullGap is the number of waits from which the whole Gap applies.
const fullGap = 50

// Early requests that complete no new wait take a token from a bucket with this
// burst and refill. Those that do complete one are free: resources that become
// ready immediately are not worth waiting an interval for.
const (
	earlyBurst       = 5
	earlyPerInterval = 0.4
)

// maxFailures is the number of consecutive failed requests after which all
// waits fail. The requests are already retried; this outlasts an outage of a
// minute.
const maxFailures = 5

type wait[T any] struct {
	id      string
	every   time.Duration // of a watch; zero for a wait
	from    time.Time     // no request is due before this, except a wait's first
	ready   func(state T, found bool) (bool, error)
	done    chan error    // buffered: receives the result
	lead    chan struct{} // buffered: receives when this wait becomes the leader
	fetched bool          // at least one request has included id
}

// Wait waits until ready returns true or an error for the state of id, or ctx
// ends. It calls ready at least once, with found false as long as the resource
// is not visible. Ready must return quickly.
func (p *Poller[T]) Wait(ctx context.Context, id string, ready func(state T, found bool) (bool, error)) error {
	return p.WaitQuiet(ctx, id, 0, ready)
}

// WaitQuiet is like Wait, but after the first request makes no other until the
// quiet period has passed, unless another wait causes one. It suits resources
// that are either ready immediately or not before that time.
func (p *Poller[T]) WaitQuiet(ctx context.Context, id string, quiet time.Duration, ready func(state T, found bool) (bool, error)) error {
	return p.wait(ctx, &wait[T]{id: id, from: p.Clock.Now().Add(quiet), ready: ready})
}

// Watch calls check with the state of id until it returns an error or ctx ends. A
// watch joins the requests that waits cause, and causes one itself only if id was
// in none for the given time, which is also the time before its first.
func (p *Poller[T]) Watch(ctx context.Context, id string, every time.Duration, check func(state T, found bool) error) error {
	return p.wait(ctx, &wait[T]{
		id: id, every: every, from: p.Clock.Now().Add(every), fetched: true,
		ready: func(state T, found bool) (bool, error) { return false, check(state, found) },
	})
}

// wait takes part in polling until w is done or ctx ends.
func (p *Poller[T]) wait(ctx context.Context, w *wait[T]) error {
	w.done, w.lead = make(chan error, 1), make(chan struct{}, 1)
	p.join(w)
	defer p.leave(w)
	for {
		select {
		case err := <-w.done:
			return err
		default:
		}
		select {
		case err := <-w.done:
			return err
		case <-w.lead:
			if err := p.poll(ctx, w); err != nil {
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
	} else if p.wake != nil && (w.every == 0 || w.from.Before(p.until)) {
		p.wake()
	}
}

// leave removes w. If it was the leader, another wait becomes it.
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

// poll waits until a request is due, makes it and delivers its result to all
// waits. The leader w keeps the lead unless it is done.
func (p *Poller[T]) poll(ctx context.Context, w *wait[T]) error {
	if err := p.sleep(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	now := p.Clock.Now()
	early := p.beginRequest(now)
	var waits, fresh []*wait[T]
	ids := map[string]bool{}
	for w := range p.waits {
		if !w.joins(now) {
			continue
		}
		if !w.fetched {
			fresh = append(fresh, w)
		}
		ids[w.id], w.fetched = true, true
		if w.every > 0 {
			w.from = now.Add(w.every)
		}
		waits = append(waits, w)
	}
	p.mu.Unlock()

	states, err := p.Fetch(ctx, slices.Sorted(maps.Keys(ids)))
	if ctx.Err() != nil {
		return context.Cause(ctx) // only this wait ends; the next leader repeats the request
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures++
	if err == nil {
		p.failures = 0
	}
	for _, w := range waits {
		p.deliver(w, states, err)
	}
	if early && !slices.ContainsFunc(fresh, func(w *wait[T]) bool { return !p.waits[w] }) {
		p.early--
	}
	if p.waits[w] {
		w.lead <- struct{}{}
	}
	return nil
}

// joins reports whether w takes part in a request. A watch does not if it took part
// in a recent one, so that the requests for few waits stay small beside many watches.
func (w *wait[T]) joins(now time.Time) bool {
	return w.every == 0 || !now.Before(w.from.Add(-w.every/2))
}

// deliver ends w if the result of a request completes it. The caller holds p.mu.
func (p *Poller[T]) deliver(w *wait[T], states map[string]T, err error) {
	if !p.waits[w] {
		return
	}
	if err != nil {
		if p.failures >= maxFailures {
			p.end(w, fmt.Errorf("poll state: %d consecutive failures: %w", p.failures, err))
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
	w.done <- err
}

// sleep waits until the next request is due.
func (p *Poller[T]) sleep(ctx context.Context) error {
	for {
		p.mu.Lock()
		p.until = p.due()
		left := p.until.Sub(p.Clock.Now())
		wakeable, wake := context.WithCancel(ctx)
		p.wake = wake
		p.mu.Unlock()
		if left > 0 {
			_ = p.Clock.Sleep(wakeable, left) // being woken is not an error; ctx is checked below
		}
		wake()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if left <= 0 {
			return nil
		}
	}
}

// beginRequest records that a request begins and reports whether the interval
// since the last one has not yet passed. The caller holds p.mu.
func (p *Poller[T]) beginRequest(now time.Time) (early bool) {
	if p.last.IsZero() {
		p.last, p.early = now, earlyBurst
		return false
	}
	passed := now.Sub(p.last)
	p.last = now
	p.early = min(earlyBurst, p.early+earlyPerInterval*float64(passed)/float64(p.Interval))
	return passed < p.Interval
}

// due returns when the next request is due: immediately if it is the first for a
// wait, else an interval after the last one, or only the gap if there is a new wait
// and a token for an early request. The caller holds p.mu.
func (p *Poller[T]) due() time.Time {
	var first time.Time
	waiting, fresh := 0, false
	for w := range p.waits {
		if w.every == 0 {
			waiting++
		}
		fresh = fresh || !w.fetched
		if first.IsZero() || w.from.Before(first) {
			first = w.from
		}
	}
	next := p.last.Add(p.Interval)
	switch {
	case fresh && p.early >= 1:
		return p.last.Add(min(p.Gap, time.Duration(waiting)*p.Gap/fullGap))
	case fresh || next.After(first):
		return next
	}
	return first
}
