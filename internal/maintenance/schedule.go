package maintenance

import (
	"math/rand/v2"
	"time"

	"github.com/adhocore/gronx"

	"github.com/bakestone-go/bakestone/bake"
)

// A Schedule tells when a service works.
type Schedule struct {
	Cron   string
	In     *time.Location // nil means UTC
	Jitter time.Duration  // the most that is added
}

// Validate reports an invalid cron expression. None is valid.
func (s Schedule) Validate() error {
	if s.Cron != "" && !gronx.IsValid(s.Cron) {
		return bake.Invalid("Service.Schedule", "invalid cron expression %q", s.Cron)
	}
	return nil
}

// Next returns when to work after now.
func (s Schedule) Next(now time.Time) (time.Time, error) {
	next, err := gronx.NextTickAfter(s.Cron, s.Local(now), false)
	if err != nil {
		return time.Time{}, bake.Invalid("Service.Schedule", "%q: %w", s.Cron, err)
	}
	if s.Jitter > 0 {
		next = next.Add(rand.N(s.Jitter)) //nolint:gosec // any spread will do
	}
	return next, nil
}

// Local returns a time in the schedule's time zone.
func (s Schedule) Local(t time.Time) time.Time {
	if s.In == nil {
		return t.UTC()
	}
	return t.In(s.In)
}
