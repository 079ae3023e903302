package ec2

import (
	"context"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

var _ bake.Demander = Builder{}

// Demand implements [bake.Demander]: the place is "account/region", as in
// "123456789012/eu-west-1", and the type the first of InstanceTypes, or else t3.small
// whatever the source's architecture.
func (b Builder) Demand(ctx context.Context, _ *bake.Image) (bake.Demand, error) {
	account, err := b.Cloud.Account(ctx)
	if err != nil {
		return bake.Demand{}, err
	}
	kind := string(ec2types.InstanceTypeT3Small)
	if len(b.InstanceTypes) > 0 {
		kind = b.InstanceTypes[0]
	}
	return bake.Demand{Place: account + "/" + b.place(), Type: kind}, nil
}
