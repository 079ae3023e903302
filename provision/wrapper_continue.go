package provision

import (
	"context"

	"github.com/bakestone-go/bakestone/bake"
)

// A ContinueOnError lets the build go on when another provisioner fails. The
// failure is among the events of the build, as a warning.
type ContinueOnError struct {
	// Provisioner is what may fail. It is required.
	Provisioner bake.Provisioner
}

// Unwrap returns the provisioner, which names the step.
func (c ContinueOnError) Unwrap() bake.Provisioner { return c.Provisioner }

// Validate reports what is wrong with the provisioner.
func (c ContinueOnError) Validate() error {
	return checkInner("ContinueOnError.Provisioner", c.Provisioner)
}

// DeclareInputs declares those of the provisioner.
func (c ContinueOnError) DeclareInputs(in *bake.Inputs) error {
	return in.Of("provisioner", c.Provisioner)
}

// Provision runs the provisioner. Only the end of ctx, and a definition that is
// wrong, are errors.
func (c ContinueOnError) Provision(ctx context.Context, m bake.Machine) error {
	if err := c.Validate(); err != nil {
		return err
	}
	err := c.Provisioner.Provision(ctx, m)
	if err == nil || ctx.Err() != nil {
		return err
	}
	warn(ctx, err, "%s failed, the build goes on: %v", describe(c), err)
	return nil
}
