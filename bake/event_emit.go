package bake

import (
	"sync/atomic"
	"time"

	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// clean returns e without secrets and, unless raw, with printable text only.
func (e Event) clean(m *mask.Masker, raw bool) Event {
	for _, text := range []*string{&e.Image, &e.Step, &e.Err, &e.Resource.Kind, &e.Resource.ID, &e.Artifact} {
		*text = visible.Text(m.Mask(*text))
	}
	if e.Text = m.Mask(e.Text); !raw || e.Kind != OutputLine {
		e.Text = visible.Text(e.Text)
	}
	return e
}

// emit passes e, cleaned, to the observer and the log.
func (s *settings) emit(e Event) { s.emitNumbered(e, nil) }

// emitNumbered is emit for an event that gets the number after *last, if that is not
// nil.
func (s *settings) emitNumbered(e Event, last *int64) {
	shown := e.clean(s.mask, s.RawOutput)
	s.observing.call(func() {
		if last != nil {
			*last++
			shown.Number = *last
		}
		if s.Observe != nil {
			s.Observe(shown)
		}
		if s.RawOutput { // for the observer only
			shown.Text = visible.Text(shown.Text)
		}
		shown.logTo(s.Log)
	})
}

// A queue calls funcs one at a time. While the build runs, callers wait for their
// func. Once it is canceled, a func that blocks no longer delays them.
type queue struct {
	turn     chan struct{} // holds a value while a func runs
	canceled <-chan struct{}
	stuck    atomic.Bool // a func blocked for too long and has not returned
}

// patience is how long a canceled build waits for an observer or log handler.
const patience = time.Second

func newQueue() *queue { return &queue{turn: make(chan struct{}, 1)} }

// call calls f, or drops it if an earlier func is stuck.
func (q *queue) call(f func()) {
	if !q.wait(q.turn, nil) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer func() {
			q.stuck.Store(false)
			<-q.turn
			close(done)
		}()
		f()
	}()
	q.wait(nil, done)
}

// wait waits until it can send to turn or done is closed. Once the build is canceled,
// it waits no longer than patience, and not at all for a func that is stuck.
func (q *queue) wait(turn chan<- struct{}, done <-chan struct{}) bool {
	select {
	case turn <- struct{}{}:
		return true
	case <-done:
		return true
	case <-q.canceled:
	}
	limit := patience
	if q.stuck.Load() {
		limit = 0
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case turn <- struct{}{}:
		return true
	case <-done:
		return true
	case <-timeout.C:
		q.stuck.Store(true)
		return false
	}
}
