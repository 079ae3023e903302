package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Timeout limits how long another provisioner may take. After that its context
// ends, and so do its commands on the machine.
type Timeout struct {
	// Provisioner does the work. It is required.
	Provisioner bake.Provisioner

	// After is the limit, by the build's clock. It is required.
	After time.Duration
}

var (
	_ bake.Provisioner               = Timeout{}
	_ bake.Validator                 = Timeout{}
	_ bake.Wrapper[bake.Provisioner] = Timeout{}
)

// Unwrap returns the provisioner, which names the step and declares the inputs.
func (t Timeout) Unwrap() bake.Provisioner { return t.Provisioner }

// Validate reports a missing limit and an invalid provisioner.
func (t Timeout) Validate() error {
	var after error
	if t.After <= 0 {
		after = bake.Invalid("Timeout.After", "must be positive")
	}
	return errors.Join(checkProvisioner("Timeout.Provisioner", t.Provisioner), after)
}

// Provision runs the provisioner. The error wraps [context.DeadlineExceeded] if
// the time is up.
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
		return fmt.Errorf("timed out after %v: %w", t.After, err)
	}
	return fmt.Errorf("timed out after %v: %w: %w", t.After, context.DeadlineExceeded, err)
}
