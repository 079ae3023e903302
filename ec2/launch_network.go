package ec2

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A Network selects the instance's subnet, its addresses and its security groups.
// The zero value uses the default VPC and creates a temporary security group that
// admits only the baking host.
type Network struct {
	// VPC and Subnet select where to launch. The zero values are the default VPC
	// and all of its subnets. If several subnets match, the one with the most
	// free addresses is tried first, and the others if EC2 has no capacity there.
	VPC    Selector
	Subnet Selector

	// AvailabilityZone, such as "eu-west-1a", restricts the subnets.
	AvailabilityZone string

	// PublicIP assigns a public address. The zero value leaves it to the subnet.
	PublicIP Setting

	// IPv6 assigns an IPv6 address from the subnet.
	IPv6 bool

	// PrivateIP is the private IPv4 address to assign; only its subnet is then
	// tried. The zero value leaves it to EC2.
	PrivateIP netip.Addr

	// SecurityGroups are ids ("sg-…") or names of existing groups. If there are
	// none, the build creates a temporary group that admits SSH from SSH.From and
	// nothing else.
	SecurityGroups []string

	// SecurityGroupFilters select all matching groups of the instance's VPC. They
	// cannot be set together with SecurityGroups.
	SecurityGroupFilters Filters
}

// A Selector selects a VPC or subnets by id or by filters, as in DescribeSubnets. The
// zero value selects the default ones.
type Selector struct {
	ID      string
	Filters Filters
}

// Filters are EC2 filters by name: "tag:tier", "is-default". Values may contain
// the wildcards * and ?.
type Filters map[string][]string

// ByID returns a Selector of the VPC or subnet with the id.
func ByID(id string) Selector { return Selector{ID: id} }

// ByFilter returns a Selector of the VPC or subnets that pass the filters.
func ByFilter(f Filters) Selector { return Selector{Filters: f} }

// A networkRecord lists the subnets that the instance may be launched in.
type networkRecord struct {
	VPC       string     `json:"vpc"`
	Locations []location `json:"locations"` // the one with the most free addresses first
}

// ownGroups reports whether the caller's security groups are used.
func (n Network) ownGroups() bool { return len(n.SecurityGroups)+len(n.SecurityGroupFilters) > 0 }

func (b Builder) validateNetwork() []error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.Network."+field, format, args...))
	}
	n := b.Network
	for field, m := range map[string]Selector{"VPC": n.VPC, "Subnet": n.Subnet} {
		if m.ID != "" && len(m.Filters) > 0 {
			invalid(field, "takes an ID or Filters, not both")
		}
	}
	if n.PrivateIP.IsValid() && !n.PrivateIP.Is4() {
		invalid("PrivateIP", "%v is not an IPv4 address", n.PrivateIP)
	}
	if len(n.SecurityGroups) > 0 && len(n.SecurityGroupFilters) > 0 {
		invalid("SecurityGroupFilters", "cannot be set together with SecurityGroups")
	}
	return errs
}

// chooseNetwork records the matching subnets of one VPC: the VPC of the subnet with
// the most free addresses.
func (s *session) chooseNetwork(ctx context.Context) error {
	b := s.builder
	question := fmt.Sprintf("%#v %#v %q", b.Network.VPC, b.Network.Subnet, b.Network.AvailabilityZone)
	subnets, err := s.region.lookups.subnets.get(ctx, question, s.findSubnets)
	if err != nil {
		return err
	}
	s.Network = networkRecord{VPC: aws.ToString(subnets[0].VpcId)}
	for _, subnet := range subnets {
		if aws.ToString(subnet.VpcId) == s.Network.VPC && subnetContains(subnet, b.Network.PrivateIP) {
			s.Network.Locations = append(s.Network.Locations, location{aws.ToString(subnet.SubnetId), aws.ToString(subnet.AvailabilityZone)})
		}
	}
	if len(s.Network.Locations) == 0 {
		return bake.Invalid("Builder.Network.PrivateIP", "no matching subnet contains %v", b.Network.PrivateIP)
	}
	known := len(b.InstanceTypes) > 0 || s.Source.ID != "" // not in a plan with Image.From
	if b.Network.choosesZones() && known && !s.run.Checks {
		return s.checkZones(ctx)
	}
	return nil
}

// findSubnets returns the matching subnets, the one with the most free addresses
// first. If there is none, it returns an error.
func (s *session) findSubnets(ctx context.Context) ([]ec2types.Subnet, error) {
	b := s.builder
	filters := b.Network.Subnet.Filters.list()
	if b.Network.Subnet.ID != "" {
		filters = append(filters, filter("subnet-id", b.Network.Subnet.ID))
	}
	if b.Network.AvailabilityZone != "" {
		filters = append(filters, filter("availability-zone", b.Network.AvailabilityZone))
	}
	switch {
	case !b.Network.VPC.isZero():
		vpc, err := s.findVPC(ctx)
		if err != nil {
			return nil, err
		}
		filters = append(filters, filter("vpc-id", vpc))
	case b.Network.Subnet.isZero():
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
	if len(subnets) == 0 && b.Network.VPC.isZero() && b.Network.Subnet.isZero() {
		return nil, s.explainNoDefault(ctx)
	}
	if len(subnets) == 0 {
		field := "Builder.Network.Subnet"
		switch {
		case !b.Network.Subnet.isZero():
		case b.Network.AvailabilityZone != "":
			field = "Builder.Network.AvailabilityZone"
		default:
			field = "Builder.Network.VPC"
		}
		return nil, bake.Invalid(field, "no subnet of %s matches %s", s.region.name, describeFilters(filters))
	}
	slices.SortFunc(subnets, func(x, y ec2types.Subnet) int {
		free := cmp.Compare(aws.ToInt32(y.AvailableIpAddressCount), aws.ToInt32(x.AvailableIpAddressCount))
		// The zone and the id break ties, so that the choice is stable.
		return cmp.Or(free, cmp.Compare(aws.ToString(x.AvailabilityZone), aws.ToString(y.AvailabilityZone)),
			cmp.Compare(aws.ToString(x.SubnetId), aws.ToString(y.SubnetId)))
	})
	return subnets, nil
}

// explainNoDefault returns an error for missing default subnets.
func (s *session) explainNoDefault(ctx context.Context) error {
	zone := s.builder.Network.AvailabilityZone
	out, err := s.region.client.DescribeVpcs(ctx, &awsec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("is-default", "true")}})
	switch {
	case err != nil: // a launch does not need permission to describe them
		return bake.Invalid("Builder.Network", "no default subnet found in %s, perhaps for lack of a default VPC: set VPC or Subnet", cmp.Or(zone, s.region.name))
	case len(out.Vpcs) == 0:
		return bake.Invalid("Builder.Network", "%s has no default VPC: set VPC or Subnet", s.region.name)
	case zone != "":
		return bake.Invalid("Builder.Network.AvailabilityZone", "the default VPC of %s has no default subnet in %s: choose another zone, or set VPC or Subnet", s.region.name, zone)
	default:
		return bake.Invalid("Builder.Network", "the default VPC of %s has no default subnet: set VPC or Subnet", s.region.name)
	}
}

func (m Selector) isZero() bool { return m.ID == "" && len(m.Filters) == 0 }

// findVPC returns the id of the only matching VPC.
func (s *session) findVPC(ctx context.Context) (string, error) {
	filters := s.builder.Network.VPC.Filters.list()
	if s.builder.Network.VPC.ID != "" {
		filters = append(filters, filter("vpc-id", s.builder.Network.VPC.ID))
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
		return "", bake.Invalid("Builder.Network.VPC", "%d VPCs of %s match %s, want one", len(ids), s.region.name, describeFilters(filters))
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
