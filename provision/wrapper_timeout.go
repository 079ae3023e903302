package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Timeout bounds another provisioner. When the time is over its context ends,
// and so does what it runs on the machine.
type Timeout struct {
	// Provisioner is what is bounded. It is required.
	Provisioner bake.Provisioner

	// After is how long it may take, by the build's clock. It is required.
	After time.Duration
}

// Unwrap returns the provisioner, which names the step and declares the inputs.
func (t Timeout) Unwrap() bake.Provisioner { return t.Provisioner }

// Validate reports what is wrong with the provisioner, and a limit that is none.
func (t Timeout) Validate() error {
	var after error
	if t.After <= 0 {
		after = bake.Invalid("Timeout.After", "must be more than 0")
	}
	return errors.Join(checkInner("Timeout.Provisioner", t.Provisioner), after)
}

// Provision runs the provisioner. One that was not done in time is an error
// that wraps context.DeadlineExceeded.
func (t Timeout) Provision(ctx context.Context, m bake.Machine) error {
	if err := t.Validate(); err != nil {
		return err
	}
	limited, stop := clock.WithTimeout(ctx, bake.RunFromContext(ctx).Clock, t.After)
	defer stop()
	err := t.Provisioner.Provision(limited, m)
	if err == nil || ctx.Err() != nil || limited.Err() == nil {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not done after %v: %w", t.After, err)
	}
	return fmt.Errorf("not done after %v: %w: %w", t.After, context.DeadlineExceeded, err)
}
