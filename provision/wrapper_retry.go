package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Retry tries another provisioner again when it fails. The provisioner must
// tolerate being run again on the same machine.
type Retry struct {
	// Provisioner is what is tried. It is required.
	Provisioner bake.Provisioner

	// Attempts is how often it is tried in all. Zero is three times.
	Attempts int

	// Delay is the wait before the second attempt, by the build's clock; it
	// doubles for each further one. Zero is one second.
	Delay time.Duration

	// MaxDelay bounds the wait. Zero is one minute.
	MaxDelay time.Duration
}

const defaultAttempts = 3

// Unwrap returns the provisioner, which names the step and declares the inputs.
func (r Retry) Unwrap() bake.Provisioner { return r.Provisioner }

// Validate reports what is wrong with the provisioner and with the numbers.
func (r Retry) Validate() error {
	return errors.Join(checkInner("Retry.Provisioner", r.Provisioner), checkRetry("Retry", r.policy()))
}

func (r Retry) policy() bake.Retry {
	if r.Attempts == 0 {
		r.Attempts = defaultAttempts
	}
	return bake.Retry{Attempts: r.Attempts, Delay: r.Delay, MaxDelay: r.MaxDelay}
}

// Provision tries until it succeeds, the attempts are used up or ctx ends. The
// error is that of the last attempt.
func (r Retry) Provision(ctx context.Context, m bake.Machine) error {
	if err := r.Validate(); err != nil {
		return err
	}
	policy := r.policy()
	for attempt := 1; ; attempt++ {
		err := r.Provisioner.Provision(ctx, m)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return err
		case attempt >= policy.Attempts:
			return fmt.Errorf("%d attempts, the last: %w", attempt, err)
		}
		wait := policy.Wait(attempt)
		warn(ctx, err, "%s: attempt %d of %d failed, next in %v", describe(r), attempt, policy.Attempts, wait)
		if sleepErr := bake.RunFromContext(ctx).Clock.Sleep(ctx, wait); sleepErr != nil {
			return fmt.Errorf("%w: %w", sleepErr, err)
		}
	}
}
