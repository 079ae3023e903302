package provision

import (
	"context"
	"errors"

	"github.com/bakestone-go/bakestone/bake"
)

// A Named gives another provisioner a name for its step. For a func,
// bake.ProvisionFunc has a name.
type Named struct {
	// Name says what the provisioner does, in the imperative: "install nginx". It
	// is required.
	Name string

	// Provisioner does the work. It is required.
	Provisioner bake.Provisioner
}

// String returns the name.
func (n Named) String() string { return n.Name }

// Unwrap returns the provisioner.
func (n Named) Unwrap() bake.Provisioner { return n.Provisioner }

// Validate reports a missing name and an invalid provisioner.
func (n Named) Validate() error {
	var name error
	if n.Name == "" {
		name = bake.Invalid("Named.Name", "is required")
	}
	return errors.Join(name, checkInner("Named.Provisioner", n.Provisioner))
}

// Provision runs the provisioner.
func (n Named) Provision(ctx context.Context, m bake.Machine) error {
	if err := n.Validate(); err != nil {
		return err
	}
	return n.Provisioner.Provision(ctx, m)
}
