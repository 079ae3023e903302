package provision

import (
	"context"
	"errors"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// Named names the step of another provisioner. A [bake.ProvisionFunc] has its own
// Name.
type Named struct {
	// Name describes the step in the imperative: "install nginx". It is required.
	Name string

	// Provisioner does the work. It is required.
	Provisioner bake.Provisioner
}

var (
	_ bake.Provisioner               = Named{}
	_ bake.Validator                 = Named{}
	_ bake.Wrapper[bake.Provisioner] = Named{}
)

// String returns the name.
func (n Named) String() string { return n.Name }

// Unwrap returns the provisioner, which declares the inputs.
func (n Named) Unwrap() bake.Provisioner { return n.Provisioner }

// Validate reports a missing name and an invalid provisioner.
func (n Named) Validate() error {
	var name error
	if strings.TrimSpace(n.Name) == "" {
		name = bake.Invalid("Named.Name", "is required")
	}
	return errors.Join(name, checkProvisioner("Named.Provisioner", n.Provisioner), checkRedacted("Named", n))
}

// Provision runs the provisioner.
func (n Named) Provision(ctx context.Context, m bake.Machine) error {
	if err := n.Validate(); err != nil {
		return err
	}
	return n.Provisioner.Provision(ctx, m)
}
