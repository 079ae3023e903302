package ec2

import (
	"context"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

var (
	_ bake.Demander     = Builder{}
	_ bake.MachineTyper = (*session)(nil)
)

// Demand implements [bake.Demander]: the place is "account/region", as in
// "123456789012/eu-west-1", and the types are InstanceTypes or else the two of which the
// source's architecture, which is not known yet, selects one.
func (b Builder) Demand(ctx context.Context, _ *bake.Image) (bake.Demand, error) {
	account, err := b.Cloud.Account(ctx)
	if err != nil {
		return bake.Demand{}, err
	}
	types := b.InstanceTypes
	if len(types) == 0 {
		types = []string{string(ec2types.InstanceTypeT3Small), string(ec2types.InstanceTypeT4gSmall)}
	}
	return bake.Demand{Place: account + "/" + b.place(), Types: types}, nil
}

// MachineType implements [bake.MachineTyper].
func (s *session) MachineType() string {
	if s.Instance.ID == "" || s.Instance.Ended {
		return ""
	}
	return s.Instance.Type
}
