package amicleanup

import (
	"errors"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Hours are a span of each day, on some days of the week.
type Hours struct {
	// From and To are times of the day, since midnight; To is after From, and
	// up to 24 hours: 9*time.Hour and 17*time.Hour.
	From time.Duration
	To   time.Duration

	// Days are the days of the week. Empty is Monday to Friday.
	Days []time.Weekday
}

const wholeDay = 24 * time.Hour

// Validate reports what is wrong with the hours.
func (h *Hours) Validate() error {
	var errs []error
	if h.From < 0 || h.To <= h.From || h.To > wholeDay {
		errs = append(errs, bake.Invalid("Hours", "from %s to %s is no span of a day", h.From, h.To))
	}
	for _, d := range h.Days {
		if d < time.Sunday || d > time.Saturday {
			errs = append(errs, bake.Invalid("Hours.Days", "%d is no day", int(d)))
		}
	}
	return errors.Join(errs...)
}

// left is how much is left of the hours at a time, in its time zone; zero or
// less is outside of them.
func (h *Hours) left(at time.Time) time.Duration {
	days := h.Days
	if len(days) == 0 {
		days = []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	}
	if !slices.Contains(days, at.Weekday()) {
		return 0
	}
	// By the clock on the wall: on the day of a change of time, too.
	y, m, d := at.Date()
	on := func(since time.Duration) time.Time {
		return time.Date(y, m, d, 0, 0, int(since/time.Second), 0, at.Location())
	}
	if at.Before(on(h.From)) {
		return 0
	}
	return on(h.To).Sub(at)
}
