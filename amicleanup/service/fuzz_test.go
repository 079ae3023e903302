package service

import (
	"testing"
	"time"
)

// FuzzSchedule checks that a valid cron expression has a next time, or none at all.
func FuzzSchedule(f *testing.F) {
	for _, seed := range []string{"17 3 * * *", "@daily", "0 0 31 2 *", "*/7 1-5 1,15 * 1-5", "0 0 L * *", "* * * * * *", "59-0 * * * *", "*/0 * * * *"} {
		f.Add(seed, int64(1_700_000_000))
	}
	f.Fuzz(func(t *testing.T, schedule string, at int64) {
		s := &Service{Schedule: schedule}
		now := time.Unix(at%(1<<34), 0)
		next, err := s.schedule().Next(now)
		if err == nil && !next.After(now) {
			t.Errorf("next(%v) of %q = %v, want a later time", now, schedule, next)
		}
	})
}
