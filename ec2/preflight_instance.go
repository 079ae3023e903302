package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// checkInstanceTypes checks that the instance types exist in the region and run the
// source's architecture.
func (s *session) checkInstanceTypes(ctx context.Context) error {
	const field = "Builder.InstanceTypes"
	types := slices.Sorted(slices.Values(s.builder.InstanceTypes))
	known, err := s.region.lookups.types.get(ctx, strings.Join(types, " "), func(ctx context.Context) (map[string][]string, error) {
		return s.region.architectures(ctx, types)
	})
	if err != nil || ctx.Err() != nil {
		return s.unchecked(ctx, field, err)
	}
	for _, kind := range s.builder.InstanceTypes {
		has, found := known[kind]
		switch wanted := s.Source.Architecture; {
		case !found:
			return bake.Invalid(field, "instance type %q not found in %s", kind, s.region.name)
		case wanted != "" && !slices.Contains(has, wanted): // in a plan, Image.From's is unknown
			return bake.Invalid(field, "%s runs %s, but %s is for %s: choose another type or source", kind, strings.Join(has, " and "), s.Source.ID, wanted)
		}
	}
	return nil
}

// architectures returns the architectures of those instance types that the region has.
func (r *region) architectures(ctx context.Context, types []string) (map[string][]string, error) {
	known := make(map[string][]string, len(types))
	pages := awsec2.NewDescribeInstanceTypesPaginator(r.client, &awsec2.DescribeInstanceTypesInput{
		Filters: []ec2types.Filter{filter("instance-type", types...)}, // unlike a list of ids, does not fail if one is unknown
	})
	err := eachPage(ctx, pages, func(page *awsec2.DescribeInstanceTypesOutput) {
		for _, t := range page.InstanceTypes {
			if t.ProcessorInfo == nil {
				continue
			}
			for _, a := range t.ProcessorInfo.SupportedArchitectures {
				known[string(t.InstanceType)] = append(known[string(t.InstanceType)], string(a))
			}
		}
	})
	return known, err
}

// checkDefaultType checks that the default instance type runs the source's
// architecture.
func (s *session) checkDefaultType() error {
	switch a := ec2types.ArchitectureValues(s.Source.Architecture); a {
	case "", ec2types.ArchitectureValuesX8664, ec2types.ArchitectureValuesArm64:
		return nil
	default:
		return bake.Invalid("Builder.InstanceTypes", "is required: %s is for %s, which the default type does not run", s.Source.ID, a)
	}
}

// choosesZones reports whether the Network restricts the instance to some of the zones
// of its VPC.
func (n Network) choosesZones() bool {
	return n.AvailabilityZone != "" || !n.Subnet.isZero() || n.PrivateIP.IsValid()
}

// checkZones checks that a zone of the matching subnets offers an instance type. Most
// zones offer most types, so this is checked only if the caller restricts the zones.
func (s *session) checkZones(ctx context.Context) error {
	types := slices.Sorted(slices.Values(s.instanceTypes()))
	offered, err := s.region.lookups.types.get(ctx, "zones of "+strings.Join(types, " "), func(ctx context.Context) (map[string][]string, error) {
		return s.region.offerings(ctx, types)
	})
	if err != nil || ctx.Err() != nil {
		return s.unchecked(ctx, "the zones of Builder.InstanceTypes", err)
	}
	var zones, elsewhere []string
	for _, at := range s.Network.Locations {
		for _, kind := range types {
			if slices.Contains(offered[kind], at.Zone) {
				return nil
			}
		}
		zones = append(zones, at.Zone)
	}
	for _, kind := range types {
		if len(offered[kind]) > 0 {
			elsewhere = append(elsewhere, kind+" in "+strings.Join(offered[kind], ", "))
		}
	}
	slices.Sort(zones)
	remedy := "choose another type"
	if len(elsewhere) > 0 {
		remedy += ", or another subnet: EC2 offers " + strings.Join(elsewhere, "; ")
	}
	return bake.Invalid("Builder.InstanceTypes", "EC2 does not offer %s in %s, where the matching subnets are: %s",
		strings.Join(types, ", "), strings.Join(slices.Compact(zones), ", "), remedy)
}

// offerings returns the zones that offer each of the instance types.
func (r *region) offerings(ctx context.Context, types []string) (map[string][]string, error) {
	zones := make(map[string][]string, len(types))
	pages := awsec2.NewDescribeInstanceTypeOfferingsPaginator(r.client, &awsec2.DescribeInstanceTypeOfferingsInput{
		LocationType: ec2types.LocationTypeAvailabilityZone, Filters: []ec2types.Filter{filter("instance-type", types...)},
	})
	err := eachPage(ctx, pages, func(page *awsec2.DescribeInstanceTypeOfferingsOutput) {
		for _, o := range page.InstanceTypeOfferings {
			zones[string(o.InstanceType)] = append(zones[string(o.InstanceType)], aws.ToString(o.Location))
		}
	})
	for _, of := range zones {
		slices.Sort(of)
	}
	return zones, err
}

// checkKeyPair checks that the key pair exists.
func (s *session) checkKeyPair(ctx context.Context) error {
	name := s.builder.SSH.KeyPair
	exists, err := s.region.lookups.answers.get(ctx, "key pair "+name, func(ctx context.Context) (bool, error) {
		out, err := s.region.client.DescribeKeyPairs(ctx, &awsec2.DescribeKeyPairsInput{Filters: []ec2types.Filter{filter("key-name", name)}})
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(out.KeyPairs, func(k ec2types.KeyPairInfo) bool { return aws.ToString(k.KeyName) == name }), nil
	})
	switch {
	case err != nil || ctx.Err() != nil:
		return s.unchecked(ctx, "Builder.SSH.KeyPair "+name, err)
	case !exists:
		return bake.Invalid("Builder.SSH.KeyPair", "%q not found in %s: import it there, or choose another", name, s.region.name)
	}
	return nil
}
