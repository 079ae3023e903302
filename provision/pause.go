package provision

import (
	"context"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Pause waits for a fixed time. To wait for a condition, use a
// [bake.ProvisionFunc] that calls [clock.WaitFor].
type Pause struct {
	// For is how long to wait, by the build's clock. It is required.
	For time.Duration
}

var (
	_ bake.Provisioner   = Pause{}
	_ bake.Validator     = Pause{}
	_ bake.InputDeclarer = Pause{}
)

// String returns "pause" and the duration.
func (p Pause) String() string { return "pause " + p.For.String() }

// Validate reports a duration that is not positive.
func (p Pause) Validate() error {
	if p.For <= 0 {
		return bake.Invalid("Pause.For", "must be positive")
	}
	return nil
}

// DeclareInputs declares the duration.
func (p Pause) DeclareInputs(in *bake.Inputs) error {
	in.Value("for", p.For)
	return nil
}

// Provision waits until the time has passed or ctx ends.
func (p Pause) Provision(ctx context.Context, _ bake.Machine) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return bake.RunFromContext(ctx).Clock.Sleep(ctx, p.For)
}
