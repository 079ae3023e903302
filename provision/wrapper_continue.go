package provision

import (
	"context"

	"github.com/bakestone-go/bakestone/bake"
)

// ContinueOnError lets the build continue if another provisioner fails. An event
// of the build reports the failure.
type ContinueOnError struct {
	// Provisioner is the provisioner that may fail. It is required.
	Provisioner bake.Provisioner
}

var (
	_ bake.Provisioner               = ContinueOnError{}
	_ bake.Validator                 = ContinueOnError{}
	_ bake.Wrapper[bake.Provisioner] = ContinueOnError{}
	_ bake.InputDeclarer             = ContinueOnError{}
)

// Unwrap returns the provisioner, which names the step.
func (c ContinueOnError) Unwrap() bake.Provisioner { return c.Provisioner }

// Validate reports an invalid provisioner.
func (c ContinueOnError) Validate() error {
	return checkProvisioner("ContinueOnError.Provisioner", c.Provisioner)
}

// DeclareInputs declares the provisioner's inputs.
func (c ContinueOnError) DeclareInputs(in *bake.Inputs) error {
	return in.Of("provisioner", c.Provisioner)
}

// Provision runs the provisioner. It fails only if a field is invalid or ctx ends.
func (c ContinueOnError) Provision(ctx context.Context, m bake.Machine) error {
	if err := c.Validate(); err != nil {
		return err
	}
	err := c.Provisioner.Provision(ctx, m)
	if err == nil || ctx.Err() != nil {
		return err
	}
	warn(ctx, err, "%s failed, continuing: %v", describe(c), err)
	return nil
}
