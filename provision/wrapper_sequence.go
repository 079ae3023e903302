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

// A Sequence is several provisioners as one, in their order. The first that
// fails ends it. In a build it is a single step; to make a step of each, put
// them into the image one by one.
type Sequence []bake.Provisioner

// String names all of it.
func (s Sequence) String() string {
	names := make([]string, 0, len(s))
	for _, p := range s {
		names = append(names, describe(p))
	}
	return strings.Join(names, ", ")
}

// Validate reports what is wrong with any of the provisioners.
func (s Sequence) Validate() error {
	var errs []error
	if len(s) == 0 {
		errs = append(errs, bake.Invalid("Sequence", "is empty"))
	}
	for i, p := range s {
		errs = append(errs, checkInner(fmt.Sprintf("Sequence[%d]", i), p))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares those of every provisioner, in their order.
func (s Sequence) DeclareInputs(in *bake.Inputs) error {
	errs := make([]error, 0, len(s))
	for i, p := range s {
		errs = append(errs, in.Of(strconv.Itoa(i+1), p))
	}
	return errors.Join(errs...)
}

// Provision runs one after the other. Its error names the one that failed.
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

// Undo undoes those of the provisioners that can be, in reverse order.
func (s Sequence) Undo(ctx context.Context, outcome bake.Outcome) error {
	var errs []error
	for _, p := range slices.Backward(s) {
		if u, ok := bake.As[bake.Undoer](p); ok {
			errs = append(errs, u.Undo(ctx, outcome))
		}
	}
	return errors.Join(errs...)
}
