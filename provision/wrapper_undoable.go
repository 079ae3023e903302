package provision

import (
	"context"
	"errors"

	"github.com/bakestone-go/bakestone/bake"
)

// Undoable pairs a provisioner with a func that removes what the provisioner
// leaves outside of the machine, such as a registration at a server.
type Undoable struct {
	// Provisioner does the work. It is required.
	Provisioner bake.Provisioner

	// UndoFunc is called when the build ends, without a machine, under the rules of
	// Undo in [bake.Step]: it may be called although Provisioner failed or never
	// began, and must tolerate being called again. It is required.
	UndoFunc func(ctx context.Context, outcome bake.Outcome) error
}

var (
	_ bake.Provisioner               = Undoable{}
	_ bake.Validator                 = Undoable{}
	_ bake.Wrapper[bake.Provisioner] = Undoable{}
	_ bake.Undoer                    = Undoable{}
)

// Unwrap returns the provisioner, which names the step and declares the inputs.
func (u Undoable) Unwrap() bake.Provisioner { return u.Provisioner }

// Validate reports a missing func and an invalid provisioner.
func (u Undoable) Validate() error {
	var undo error
	if u.UndoFunc == nil {
		undo = bake.Invalid("Undoable.UndoFunc", "is required")
	}
	return errors.Join(checkProvisioner("Undoable.Provisioner", u.Provisioner), undo)
}

// Provision runs the provisioner.
func (u Undoable) Provision(ctx context.Context, m bake.Machine) error {
	if err := u.Validate(); err != nil {
		return err
	}
	return u.Provisioner.Provision(ctx, m)
}

// Undo calls UndoFunc.
func (u Undoable) Undo(ctx context.Context, outcome bake.Outcome) error {
	return u.UndoFunc(ctx, outcome)
}
