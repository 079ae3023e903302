package journal

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Follower returns the events of a build as they are written, by whatever process. Its
// fields must not change once Next is called. It must be used by one goroutine at a time.
type Follower struct {
	Events  Store
	Records bake.Store
	Build   string

	// After is the number of the last event that is known. Zero means none. Next updates
	// it.
	After int64

	// Poll is how often to look for events. Zero means 500 milliseconds.
	Poll time.Duration

	finished bool      // the end of the build was returned
	looked   time.Time // at the record
	ended    time.Time // when the record was first seen to have ended
}

const (
	defaultPoll = 500 * time.Millisecond
	mostEvents  = 250
	recordPoll  = 2 * time.Second // records are larger than the next events
	lateEvents  = 2 * time.Second // after the end of a build, until its last events are written
)

// Next waits for events and returns them. After the last event of a build that has ended,
// it returns io.EOF. If ctx ends first, it returns the cause, and can be called again. If
// there is no such build, the error wraps bake.ErrNoRecord.
func (f *Follower) Next(ctx context.Context) ([]bake.Event, error) {
	for {
		events, err := f.Events.Read(ctx, f.Build, f.After, mostEvents)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			f.After = e.Number
			if f.finished = e.Kind == bake.BuildFinished; f.finished {
				f.looked = time.Time{}
			}
		}
		if len(events) > 0 {
			return events, nil
		}
		if done, err := f.done(ctx); err != nil {
			return nil, err
		} else if done {
			return nil, io.EOF
		}
		timer := time.NewTimer(cmp.Or(f.Poll, defaultPoll))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// done reports whether the build has ended and no event of it is missing.
func (f *Follower) done(ctx context.Context) (bool, error) {
	if !f.ended.IsZero() {
		return time.Since(f.ended) >= lateEvents, nil
	}
	if time.Since(f.looked) < recordPoll {
		return false, nil
	}
	f.looked = time.Now()
	rec, err := f.Records.Load(ctx, f.Build)
	switch {
	case errors.Is(err, bake.ErrNoRecord) && f.finished:
		return true, nil
	case err != nil:
		return false, err
	case !rec.Ended() || rec.Lease.Owner != "":
		return false, nil
	case f.finished:
		return true, nil
	}
	f.ended = time.Now()
	return false, nil
}
