// Package maintenance has what scheduled services share: their windows and locks.
package maintenance

import (
	"errors"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Window is a span of each day, on some days of the week.
type Window struct {
	// From and To are times of the day, since midnight. To is after From, and at
	// most 24 hours: 9*time.Hour and 17*time.Hour.
	From time.Duration
	To   time.Duration

	// Days are the days of the week. Empty means Monday to Friday.
	Days []time.Weekday
}

const wholeDay = 24 * time.Hour

// Validate returns the joined errors of the window.
func (w *Window) Validate() error {
	var errs []error
	if w.From < 0 || w.To <= w.From || w.To > wholeDay {
		errs = append(errs, bake.Invalid("Window", "invalid span of a day from %s to %s", w.From, w.To))
	}
	for _, d := range w.Days {
		if d < time.Sunday || d > time.Saturday {
			errs = append(errs, bake.Invalid("Window.Days", "invalid day %d", int(d)))
		}
	}
	return errors.Join(errs...)
}

// Left returns how long the window is open after a time, in its time zone. Outside
// of the window it is zero or less.
func (w *Window) Left(at time.Time) time.Duration {
	days := w.Days
	if len(days) == 0 {
		days = []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	}
	if !slices.Contains(days, at.Weekday()) {
		return 0
	}
	// In local time, also on days when the clocks change.
	y, m, d := at.Date()
	on := func(since time.Duration) time.Time {
		return time.Date(y, m, d, 0, 0, int(since/time.Second), 0, at.Location())
	}
	if at.Before(on(w.From)) {
		return 0
	}
	return on(w.To).Sub(at)
}
