// Package boottime measures time that also passes while the computer sleeps, unlike Go's
// monotonic clock on most systems, and that setting the clock does not change.
package boottime

import "time"

// A Moment is a point in time on this computer.
type Moment struct {
	at   time.Time     // by the wall clock and the monotonic clock
	boot time.Duration // since the start of the system; zero if it is unknown
}

// At returns the current moment. Now is the time by the caller's clock.
func At(now time.Time) Moment { return Moment{now, sinceBoot()} }

// Since returns the time between m and now, by the clock that shows most: the monotonic
// clock may stand still while the computer sleeps, and the wall clock may be set back.
func (m Moment) Since(now Moment) time.Duration {
	return max(now.at.Sub(m.at), now.at.Round(0).Sub(m.at.Round(0)), now.boot-m.boot)
}
