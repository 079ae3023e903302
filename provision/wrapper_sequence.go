package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A Sequence runs provisioners in order, as a single step of the build, and stops
// at the first that fails. To get a step for each provisioner, list them in the
// image instead.
type Sequence []bake.Provisioner

var (
	_ bake.Provisioner   = Sequence{}
	_ bake.Validator     = Sequence{}
	_ bake.HostValidator = Sequence{}
	_ bake.InputDeclarer = Sequence{}
	_ bake.Undoer        = Sequence{}
)

// String returns the names of the provisioners, separated by commas.
func (s Sequence) String() string {
	names := make([]string, 0, len(s))
	for _, p := range s {
		names = append(names, describe(p))
	}
	return strings.Join(names, ", ")
}

// Validate reports an empty sequence and invalid provisioners.
func (s Sequence) Validate() error {
	var errs []error
	if len(s) == 0 {
		errs = append(errs, bake.Invalid("Sequence", "is empty"))
	}
	for i, p := range s {
		errs = append(errs, checkProvisioner(fmt.Sprintf("Sequence[%d]", i), p))
	}
	return errors.Join(errs...)
}

// ValidateHost reports what every [bake.HostValidator] lacks on the baking host.
func (s Sequence) ValidateHost() error {
	var errs []error
	for i, p := range s {
		if v, ok := bake.As[bake.HostValidator](p); ok {
			if err := v.ValidateHost(); err != nil {
				errs = append(errs, bake.Invalid(fmt.Sprintf("Sequence[%d]", i), "%w", err))
			}
		}
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the inputs of every provisioner, in order.
func (s Sequence) DeclareInputs(in *bake.Inputs) error {
	errs := make([]error, 0, len(s))
	for i, p := range s {
		errs = append(errs, in.Of(strconv.Itoa(i+1), p))
	}
	return errors.Join(errs...)
}

// Provision runs the provisioners in order. Its error names the provisioner that
// failed.
func (s Sequence) Provision(ctx context.Context, m bake.Machine) error {
	if err := s.Validate(); err != nil {
		return err
	}
	for i, p := range s {
		err := context.Cause(ctx)
		if err == nil {
			err = p.Provision(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("%s (%d of %d): %w", describe(p), i+1, len(s), err)
		}
	}
	return nil
}

// Undo calls every provisioner that is a [bake.Undoer], in reverse order.
func (s Sequence) Undo(ctx context.Context, outcome bake.Outcome) error {
	var errs []error
	for _, p := range slices.Backward(s) {
		if u, ok := bake.As[bake.Undoer](p); ok {
			errs = append(errs, u.Undo(ctx, outcome))
		}
	}
	return errors.Join(errs...)
}
