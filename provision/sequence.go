package provision

import (
	"context"
	"errors"
	"fmt"
	"reflect"
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
		names = append(names, nameOf(p))
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
			return fmt.Errorf("%s (%d of %d): %w", nameOf(p), i+1, len(s), err)
		}
	}
	return nil
}

// nameOf is what p calls itself, or the name of its type.
func nameOf(p bake.Provisioner) string {
	if named, ok := p.(fmt.Stringer); ok {
		return named.String()
	}
	if p == nil {
		return "nil"
	}
	name := reflect.TypeOf(p).String()
	name = name[strings.LastIndexByte(name, '.')+1:]
	return strings.ToLower(strings.TrimSuffix(name, "Func"))
}
