package bake

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A ProvisionFunc adapts a func to a Provisioner.
type ProvisionFunc struct {
	// Name says what Do does, in the imperative: "warm cache". If empty, the step
	// has only its number.
	Name string

	// Version identifies Do among the [Inputs] of an image, since a func has no
	// digest: change it whenever Do changes. If empty, the image has no inputs.
	Version string

	// Do changes the machine. It is required.
	Do func(ctx context.Context, m Machine) error
}

var (
	_ Provisioner   = ProvisionFunc{}
	_ Validator     = ProvisionFunc{}
	_ InputDeclarer = ProvisionFunc{}
)

// String returns Name without surrounding spaces.
func (f ProvisionFunc) String() string { return strings.TrimSpace(f.Name) }

// Validate reports a missing Do and a Name that contains "[redacted]".
func (f ProvisionFunc) Validate() error {
	return errors.Join(required("ProvisionFunc.Do", f.Do == nil), rejectRedacted("ProvisionFunc.Name", "a name must not contain secrets", f.Name))
}

// DeclareInputs declares the version. It fails if there is none.
func (f ProvisionFunc) DeclareInputs(in *Inputs) error {
	if f.Version == "" {
		return Invalid("ProvisionFunc.Version", "is required to declare inputs, since a func has no digest")
	}
	in.Value("name", f.Name)
	in.Value("version", f.Version)
	return nil
}

// Provision calls Do.
func (f ProvisionFunc) Provision(ctx context.Context, m Machine) error {
	if err := f.Validate(); err != nil {
		return err
	}
	return unnamed(ctx, "ProvisionFunc.Name", f.String(), f.Do(ctx, m))
}

// A CheckFunc adapts a func to a Check.
type CheckFunc struct {
	// Name says what must hold: "page is served". If empty, the step has only its
	// number.
	Name string

	// Do returns an error if the machine is not as it must be. It is required.
	Do func(ctx context.Context, m Machine) error
}

var (
	_ Check     = CheckFunc{}
	_ Validator = CheckFunc{}
)

// String returns Name without surrounding spaces.
func (f CheckFunc) String() string { return strings.TrimSpace(f.Name) }

// Validate reports a missing Do and a Name that contains "[redacted]".
func (f CheckFunc) Validate() error {
	return errors.Join(required("CheckFunc.Do", f.Do == nil), rejectRedacted("CheckFunc.Name", "a name must not contain secrets", f.Name))
}

// Check calls Do.
func (f CheckFunc) Check(ctx context.Context, m Machine) error {
	if err := f.Validate(); err != nil {
		return err
	}
	return unnamed(ctx, "CheckFunc.Name", f.String(), f.Do(ctx, m))
}

// A PublisherFunc adapts a func to a Publisher.
type PublisherFunc struct {
	// Name says what Do does, in the imperative: "notify team". If empty, the step
	// has only its number.
	Name string

	// Do makes the artifact known. It is required.
	Do func(ctx context.Context, a Artifact) error
}

var (
	_ Publisher = PublisherFunc{}
	_ Validator = PublisherFunc{}
)

// String returns Name without surrounding spaces.
func (f PublisherFunc) String() string { return strings.TrimSpace(f.Name) }

// Validate reports a missing Do and a Name that contains "[redacted]".
func (f PublisherFunc) Validate() error {
	return errors.Join(required("PublisherFunc.Do", f.Do == nil), rejectRedacted("PublisherFunc.Name", "a name must not contain secrets", f.Name))
}

// Publish calls Do.
func (f PublisherFunc) Publish(ctx context.Context, a Artifact) error {
	if err := f.Validate(); err != nil {
		return err
	}
	return unnamed(ctx, "PublisherFunc.Name", f.String(), f.Do(ctx, a))
}

// unnamed adds to the error of a func without a name how to give it one: the number of
// its step tells a reader little. It leaves errors alone that are not the func's own.
func unnamed(ctx context.Context, field, name string, err error) error {
	if err == nil || name != "" || ctx.Err() != nil || errors.Is(err, ErrDisconnected) {
		return err
	}
	return fmt.Errorf("%w\n\tset %s to say what this func does", err, field)
}

func required(field string, missing bool) error {
	if missing {
		return Invalid(field, "is required")
	}
	return nil
}
