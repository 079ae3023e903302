package provision

import (
	"context"

	"github.com/bakestone-go/bakestone/bake"
)

// A Func is a func as a provisioner, with a name for its step. Without a name
// bake.ProvisionFunc will do.
type Func struct {
	// Name says what it does, in the imperative: "warm cache".
	Name string

	// Version stands for Do among the inputs of an image, since nobody can tell
	// whether a func has changed: whoever changes Do changes it, too. Without
	// one the image has no inputs.
	Version string

	// Do does it. It is required.
	Do func(ctx context.Context, m bake.Machine) error
}

// String is the name.
func (f Func) String() string {
	if f.Name == "" {
		return "func"
	}
	return f.Name
}

// Validate reports that there is no Do.
func (f Func) Validate() error {
	if f.Do == nil {
		return bake.Invalid("Func.Do", "is required")
	}
	return nil
}

// Provision calls Do.
func (f Func) Provision(ctx context.Context, m bake.Machine) error {
	if err := f.Validate(); err != nil {
		return err
	}
	return f.Do(ctx, m)
}
