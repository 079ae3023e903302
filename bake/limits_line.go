package bake

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
)

// A line admits builds while there are seats, in the order of their priorities, fairly
// between callers. The zero value is ready to use.
type line struct {
	mu      sync.Mutex
	arrived int
	taken   map[string]int // by seat.key
	callers map[string]int // admitted, by caller
	turns   map[string]int // when each caller was admitted last, in admissions
	turn    int
	waiting []*party
}

// A seat is one of several that there are of a kind.
type seat struct {
	key  string
	most int
	text string // what there are so many of: "machines in eu-west-1"
}

// A party is a build that needs one seat of each of several kinds.
type party struct {
	priority int
	caller   string
	again    bool // it had seats before
	seats    []seat

	number   int           // in order of arrival
	rank     int           // machines that its caller has before it
	admitted chan struct{} // closed when it has its seats
	moved    chan struct{} // has a value when its place has changed
}

// enter waits until there is a seat of each kind. It calls report when p begins to wait
// and whenever only half as many are before it, with its place among those that wait
// for the same, from 1, and the limit that is reached. The caller must call leave. If
// suspended is closed before, the error is ErrSuspended.
func (l *line) enter(ctx context.Context, p *party, suspended <-chan struct{}, report func(place int, reached string)) (leave func(), err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	l.arrive(p)
	leave = sync.OnceFunc(func() { l.leave(p) })
	for reported := 0; ; {
		if place, reached := l.place(p); report != nil && place > 0 && (reported == 0 || place <= reported/2) {
			reported = place
			report(place, reached)
		}
		select {
		case <-p.admitted:
			if ctx.Err() == nil && !closed(suspended) {
				return leave, nil
			}
			leave()
			return nil, cmp.Or(context.Cause(ctx), ErrSuspended)
		case <-p.moved:
		case <-suspended:
			leave()
			return nil, ErrSuspended
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		}
	}
}

// force admits p although there may be no seats.
func (l *line) force(p *party) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(p)
	l.admit(p)
	return sync.OnceFunc(func() { l.leave(p) })
}

// change lets p, which was admitted, have other seats, although there may be none.
func (l *line) change(p *party, seats []seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range seats {
		l.taken[s.key]++
	}
	for _, s := range p.seats {
		release(l.taken, s.key)
	}
	p.seats = seats
	l.serve()
}

// begin prepares p. The caller holds the lock.
func (l *line) begin(p *party) {
	if l.taken == nil {
		l.taken, l.callers, l.turns = map[string]int{}, map[string]int{}, map[string]int{}
	}
	l.arrived++
	p.number, p.admitted, p.moved = l.arrived, make(chan struct{}), make(chan struct{}, 1)
}

// admit gives p its seats. The caller holds the lock.
func (l *line) admit(p *party) {
	for _, s := range p.seats {
		l.taken[s.key]++
	}
	l.callers[p.caller]++
	l.turn++
	l.turns[p.caller] = l.turn
	close(p.admitted)
}

func (l *line) arrive(p *party) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(p)
	l.waiting = append(l.waiting, p)
	l.serve()
}

// leave returns the seats of p, or ends its wait.
func (l *line) leave(p *party) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-p.admitted:
		for _, s := range p.seats {
			release(l.taken, s.key)
		}
		release(l.callers, p.caller)
	default:
		l.waiting = slices.DeleteFunc(l.waiting, func(w *party) bool { return w == p })
	}
	l.serve()
	if l.callers[p.caller] == 0 && !slices.ContainsFunc(l.waiting, func(w *party) bool { return w.caller == p.caller }) {
		delete(l.turns, p.caller)
	}
}

func release(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// serve admits those for whom there are seats, and tells the others that their places
// have changed. The caller holds the lock.
func (l *line) serve() {
	for {
		l.sort()
		next := slices.IndexFunc(l.waiting, func(p *party) bool { return l.reached(p) == nil })
		if next < 0 {
			break
		}
		p := l.waiting[next]
		l.waiting = slices.Delete(l.waiting, next, next+1)
		l.admit(p)
	}
	for _, p := range l.waiting {
		select {
		case p.moved <- struct{}{}:
		default:
		}
	}
}

// first compares two parties by whether they had seats before.
func first(a, b *party) int {
	switch {
	case a.again == b.again:
		return 0
	case a.again:
		return -1
	}
	return 1
}

// sort puts the waiting in the order of their admission: those that had seats before,
// then by priority, then in turns of the callers, beginning with those that have the
// least and whose last turn is longest ago, then by arrival.
func (l *line) sort() {
	slices.SortFunc(l.waiting, func(a, b *party) int {
		return cmp.Or(first(a, b), cmp.Compare(b.priority, a.priority), cmp.Compare(a.number, b.number))
	})
	has := map[string]int{}
	for _, p := range l.waiting {
		p.rank = l.callers[p.caller] + has[p.caller]
		has[p.caller]++
	}
	slices.SortFunc(l.waiting, func(a, b *party) int {
		return cmp.Or(
			first(a, b), cmp.Compare(b.priority, a.priority), cmp.Compare(a.rank, b.rank),
			cmp.Compare(l.turns[a.caller], l.turns[b.caller]), cmp.Compare(a.number, b.number),
		)
	})
}

// reached returns the first kind of p's seats of which all are taken, or nil.
func (l *line) reached(p *party) *seat {
	for i := range p.seats {
		if s := &p.seats[i]; l.taken[s.key] >= s.most {
			return s
		}
	}
	return nil
}

// place returns the place of p among those that wait for the same, from 1, and the limit
// that is reached. It returns 0 if p does not wait.
func (l *line) place(p *party) (place int, reached string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.reached(p)
	if full == nil || !slices.Contains(l.waiting, p) {
		return 0, ""
	}
	for _, w := range l.waiting {
		if slices.ContainsFunc(w.seats, func(s seat) bool { return s.key == full.key }) {
			place++
		}
		if w == p {
			break
		}
	}
	return place, fmt.Sprintf("all %d %s are in use", full.most, full.text)
}
