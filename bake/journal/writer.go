package journal

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// WriterOptions configures a Writer. A nil *WriterOptions is the same as the zero value.
type WriterOptions struct {
	// Interval is how often events are written. Zero means 200 milliseconds.
	Interval time.Duration

	// MaxEvents limits how many events of a build this process writes. Of the later ones
	// output, commands, API calls and progress are left out. Zero means 100,000.
	MaxEvents int

	// Log receives a warning when events cannot be written. If nil, it is discarded.
	Log *slog.Logger
}

const (
	defaultInterval  = 200 * time.Millisecond
	defaultMaxEvents = 100_000
	maxPending       = 20_000 // events that wait for the store
	longestPause     = 5 * time.Second
	closeTimeout     = 5 * time.Second
)

// A Writer writes the events of builds to a Store. Its methods may be called from any
// goroutine.
type Writer struct {
	store Store
	WriterOptions

	mu      sync.Mutex
	pending map[string][]bake.Event // by build
	waiting int                     // events in pending
	counts  map[string]int          // events of each build that is running
	closing chan struct{}
	closed  chan struct{}
	close   sync.Once
	err     error // of the last attempt to write
}

// NewWriter returns a Writer to a store. The caller must Close it; the end of ctx does not
// end it, since canceled builds have events as well.
func NewWriter(ctx context.Context, store Store, o *WriterOptions) *Writer {
	w := &Writer{store: store, pending: map[string][]bake.Event{}, counts: map[string]int{}, closing: make(chan struct{}), closed: make(chan struct{})}
	if o != nil {
		w.WriterOptions = *o
	}
	w.Interval, w.MaxEvents = cmp.Or(w.Interval, defaultInterval), cmp.Or(w.MaxEvents, defaultMaxEvents)
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	go w.run(context.WithoutCancel(ctx))
	return w
}

// Observe takes an event for the journal, for [bake.Options].Observe. It does not wait for
// the store. Events that belong to no build are left out. If the store is slow or fails for
// long, output is left out, and a message in its place says so.
func (w *Writer) Observe(e bake.Event) {
	if e.Number == 0 || e.Build == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.pending[e.Build]
	if i := earlier(events, &e); i >= 0 {
		w.pending[e.Build] = append(slices.Delete(events, i, i+1), e)
		return
	}
	if detail(e) {
		full := w.waiting >= maxPending
		switch count := w.counts[e.Build]; {
		case count > w.MaxEvents:
			return
		case count == w.MaxEvents || full:
			e = bake.Event{
				Number: e.Number, Time: e.Time, Kind: bake.Message, Image: e.Image, Build: e.Build, Step: e.Step,
				Text: "the journal is full: output is left out from here on",
			}
			w.counts[e.Build] = w.MaxEvents // no more details
		}
	}
	w.counts[e.Build]++
	w.pending[e.Build] = append(events, e)
	w.waiting++
	if e.Kind == bake.BuildFinished {
		delete(w.counts, e.Build)
	}
}

// detail reports whether e can be missed.
func detail(e bake.Event) bool {
	return slices.Contains([]bake.EventKind{
		bake.OutputLine, bake.BytesMoved, bake.Progressed, bake.CommandStarted, bake.CommandFinished, bake.APICalled,
	}, e.Kind)
}

// earlier returns the index of the event whose progress e brings up to date, or -1. It
// looks at the last ones only.
func earlier(events []bake.Event, e *bake.Event) int {
	const most = 50
	if e.Kind != bake.BytesMoved && e.Kind != bake.Progressed {
		return -1
	}
	for i := len(events) - 1; i >= max(0, len(events)-most); i-- {
		if at := &events[i]; at.Kind == e.Kind && at.Step == e.Step && at.Text == e.Text && at.Resource == e.Resource {
			return i
		}
	}
	return -1
}

// run writes what is pending until the Writer is closed.
func (w *Writer) run(ctx context.Context) {
	defer close(w.closed)
	pause := w.Interval
	for {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-w.closing:
			timer.Stop()
			limited, cancel := context.WithTimeout(ctx, closeTimeout)
			defer cancel()
			w.err = w.flush(limited)
			return
		}
		limited, cancel := context.WithTimeout(ctx, longestPause)
		err := w.flush(limited)
		cancel()
		if err == nil {
			pause = w.Interval
			continue
		}
		if pause == w.Interval {
			w.Log.Warn("events cannot be written to the journal", slog.String("error", err.Error()))
		}
		pause = max(w.Interval, min(2*pause, longestPause))
	}
}

// flush writes what is pending. Events that cannot be written stay.
func (w *Writer) flush(ctx context.Context) error {
	w.mu.Lock()
	builds := w.pending
	w.pending = map[string][]bake.Event{}
	w.mu.Unlock()
	var errs []error
	for build, events := range builds {
		err := w.store.Append(ctx, build, events)
		w.mu.Lock()
		if err != nil {
			errs = append(errs, err)
			w.pending[build] = append(events, w.pending[build]...)
		} else {
			w.waiting -= len(events)
		}
		w.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Close writes the remaining events, for at most five seconds, and returns an error if it
// cannot. Later events are lost.
func (w *Writer) Close() error {
	w.close.Do(func() { close(w.closing) })
	<-w.closed
	return w.err
}
