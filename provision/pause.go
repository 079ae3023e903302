package provision

import (
	"context"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Pause waits. To wait for something, a Func that asks for it with
// clock.WaitFor is better.
type Pause struct {
	// For is how long, by the build's clock.
	For time.Duration
}

// String is "pause" and how long.
func (p Pause) String() string { return "pause " + p.For.String() }

// Validate reports a pause that is none.
func (p Pause) Validate() error {
	if p.For <= 0 {
		return bake.Invalid("Pause.For", "must be more than 0")
	}
	return nil
}

// DeclareInputs declares how long it is.
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
