package clock

import (
	"context"
	"math"
	"time"
)

// Scaled returns a clock that runs factor times faster than the system clock,
// starting now: under Scaled(100) a minute of EC2 lasts 0.6 seconds. A factor of
// zero or less is one.
//
// Only waiting gets faster: work counts factor times as much against the limits
// of a bake, so a fleet that keeps the processor busy needs a smaller factor than
// a single image.
func Scaled(factor float64) Clock {
	if factor <= 0 {
		factor = 1
	}
	return scaled{start: time.Now(), factor: factor}
}

type scaled struct {
	start  time.Time
	factor float64
}

func (c scaled) Now() time.Time {
	return c.start.Add(time.Duration(math.Round(float64(time.Since(c.start)) * c.factor)))
}

// Sleep rounds up: a wait for a time that ended before it would be begun again, for no
// time at all, and inside testing/synctest none would ever pass.
func (c scaled) Sleep(ctx context.Context, d time.Duration) error {
	return System().Sleep(ctx, time.Duration(math.Ceil(float64(d)/c.factor)))
}
