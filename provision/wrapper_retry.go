package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Retry runs another provisioner again if it fails. The provisioner must tolerate
// running again on the same machine. It is not run again after an error that another
// attempt cannot change: a [*bake.PermanentError] or a [*bake.FieldError].
type Retry struct {
	// Provisioner does the work. It is required.
	Provisioner bake.Provisioner

	// Attempts limits the attempts, including the first. Zero means three.
	Attempts int

	// Delay is the wait before the second attempt, by the build's clock. It
	// doubles for each further attempt. Zero means one second.
	Delay time.Duration

	// MaxDelay limits the wait. Zero means one minute.
	MaxDelay time.Duration
}

var (
	_ bake.Provisioner               = Retry{}
	_ bake.Validator                 = Retry{}
	_ bake.Wrapper[bake.Provisioner] = Retry{}
)

const defaultAttempts = 3

// Unwrap returns the provisioner, which names the step and declares the inputs.
func (r Retry) Unwrap() bake.Provisioner { return r.Provisioner }

// Validate reports negative limits and an invalid provisioner.
func (r Retry) Validate() error {
	return errors.Join(checkProvisioner("Retry.Provisioner", r.Provisioner), checkRetry("Retry", r.policy()))
}

func (r Retry) policy() bake.Retry {
	if r.Attempts == 0 {
		r.Attempts = defaultAttempts
	}
	return bake.Retry{Attempts: r.Attempts, Delay: r.Delay, MaxDelay: r.MaxDelay}
}

// Provision runs the provisioner until it succeeds, the attempts are used up or
// ctx ends. It returns the error of the last attempt.
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
		case ctx.Err() != nil || isPermanent(err):
			return err
		case attempt >= policy.Attempts:
			return fmt.Errorf("failed after %d attempts: %w", attempt, err)
		}
		wait := policy.Wait(attempt)
		warn(ctx, err, "%s: attempt %d of %d failed, retrying in %v", describe(r), attempt, policy.Attempts, wait)
		if sleepErr := bake.RunFromContext(ctx).Clock.Sleep(ctx, wait); sleepErr != nil {
			return fmt.Errorf("%w: %w", sleepErr, err)
		}
	}
}

func isPermanent(err error) bool {
	_, permanent := errors.AsType[*bake.PermanentError](err)
	_, invalid := errors.AsType[*bake.FieldError](err)
	return permanent || invalid
}
