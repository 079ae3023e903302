package ec2

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A network is where the instance may go.
type network struct {
	VPC       string     `json:"vpc"`
	Locations []location `json:"locations"` // the one with most free addresses first
}

// A Match selects a VPC or subnet by its id or by filters, as in
// DescribeSubnets. The zero value is the default one.
type Match struct {
	ID      string
	Filters Filters
}

// Filters are EC2's filters by name: "tag:tier", "is-default". A value may hold
// the wildcards * and ?.
type Filters map[string][]string

// ID matches what has this id.
func ID(id string) Match { return Match{ID: id} }

// Where matches what passes the filters.
func Where(f Filters) Match { return Match{Filters: f} }

func (b Builder) validateNetwork() []error {
	var errs []error
	for field, m := range map[string]Match{"VPC": b.VPC, "Subnet": b.Subnet} {
		if m.ID != "" && len(m.Filters) > 0 {
			errs = append(errs, bake.Invalid("Builder."+field, "takes an ID or Filters, not both"))
		}
	}
	return errs
}

// chooseNetwork finds the subnets that match, all of one VPC: that of the one
// with most free addresses.
func (s *session) chooseNetwork(ctx context.Context) error {
	b := s.builder
	question := fmt.Sprintf("%#v %#v %q", b.VPC, b.Subnet, b.AvailabilityZone)
	subnets, err := s.region.lookups.subnets.get(ctx, question, s.findSubnets)
	if err != nil {
		return err
	}
	s.Network = network{VPC: aws.ToString(subnets[0].VpcId)}
	for _, subnet := range subnets {
		if aws.ToString(subnet.VpcId) == s.Network.VPC && within(subnet, b.PrivateIP) {
			s.Network.Locations = append(s.Network.Locations, location{aws.ToString(subnet.SubnetId), aws.ToString(subnet.AvailabilityZone)})
		}
	}
	if len(s.Network.Locations) == 0 {
		return bake.Invalid("Builder.PrivateIP", "no subnet that matches has %v", b.PrivateIP)
	}
	return nil
}

// findSubnets returns the subnets that match, the one with most free addresses
// first. There is one at least.
func (s *session) findSubnets(ctx context.Context) ([]ec2types.Subnet, error) {
	b := s.builder
	filters := b.Subnet.Filters.list()
	if b.Subnet.ID != "" {
		filters = append(filters, filter("subnet-id", b.Subnet.ID))
	}
	if b.AvailabilityZone != "" {
		filters = append(filters, filter("availability-zone", b.AvailabilityZone))
	}
	switch {
	case !b.VPC.isZero():
		vpc, err := s.findVPC(ctx)
		if err != nil {
			return nil, err
		}
		filters = append(filters, filter("vpc-id", vpc))
	case b.Subnet.isZero():
		filters = append(filters, filter("default-for-az", "true"))
	}
	var subnets []ec2types.Subnet
	pages := awsec2.NewDescribeSubnetsPaginator(s.region.client, &awsec2.DescribeSubnetsInput{
		Filters: filters, MaxResults: aws.Int32(pageSize),
	})
	err := eachPage(ctx, pages, func(page *awsec2.DescribeSubnetsOutput) {
		subnets = append(subnets, page.Subnets...)
	})
	if err != nil {
		return nil, err
	}
	if len(subnets) == 0 {
		field := "Builder.Subnet"
		if b.Subnet.isZero() && b.AvailabilityZone != "" {
			field = "Builder.AvailabilityZone"
		}
		return nil, bake.Invalid(field, "no subnet of %s matches %s", s.region.name, describeFilters(filters))
	}
	slices.SortFunc(subnets, func(x, y ec2types.Subnet) int {
		free := cmp.Compare(aws.ToInt32(y.AvailableIpAddressCount), aws.ToInt32(x.AvailableIpAddressCount))
		// Of equals the first by zone and id, so that the choice does not vary.
		return cmp.Or(free, cmp.Compare(aws.ToString(x.AvailabilityZone), aws.ToString(y.AvailabilityZone)),
			cmp.Compare(aws.ToString(x.SubnetId), aws.ToString(y.SubnetId)))
	})
	return subnets, nil
}

func (m Match) isZero() bool { return m.ID == "" && len(m.Filters) == 0 }

// findVPC returns the one VPC that matches.
func (s *session) findVPC(ctx context.Context) (string, error) {
	filters := s.builder.VPC.Filters.list()
	if s.builder.VPC.ID != "" {
		filters = append(filters, filter("vpc-id", s.builder.VPC.ID))
	}
	var ids []string
	pages := awsec2.NewDescribeVpcsPaginator(s.region.client, &awsec2.DescribeVpcsInput{
		Filters: filters, MaxResults: aws.Int32(pageSize),
	})
	err := eachPage(ctx, pages, func(page *awsec2.DescribeVpcsOutput) {
		for _, v := range page.Vpcs {
			ids = append(ids, aws.ToString(v.VpcId))
		}
	})
	if err != nil {
		return "", err
	}
	if len(ids) != 1 {
		return "", bake.Invalid("Builder.VPC", "%d VPCs of %s match %s, want one", len(ids), s.region.name, describeFilters(filters))
	}
	return ids[0], nil
}

func describeFilters(filters []ec2types.Filter) string {
	text := make([]string, 0, len(filters))
	for _, f := range filters {
		text = append(text, fmt.Sprintf("%s=%v", *f.Name, f.Values))
	}
	return fmt.Sprint(text)
}
