package ec2test

import (
	"net/netip"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type vpc struct {
	base

	cidr      netip.Prefix
	isDefault bool
}

type vpcXML struct {
	ID        string                `xml:"vpcId"`
	Owner     string                `xml:"ownerId"`
	State     string                `xml:"state"`
	CIDR      string                `xml:"cidrBlock"`
	DHCP      string                `xml:"dhcpOptionsId"`
	Tenancy   string                `xml:"instanceTenancy"`
	IsDefault bool                  `xml:"isDefault"`
	Tags      *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func vpcFilters() filters[*vpc] {
	return filters[*vpc]{
		"vpc-id":     func(_ *call, v *vpc) []string { return one(v.id) },
		"cidr":       func(_ *call, v *vpc) []string { return one(v.cidr.String()) },
		"is-default": func(_ *call, v *vpc) []string { return truth(v.isDefault) },
		"isDefault":  func(_ *call, v *vpc) []string { return truth(v.isDefault) },
		"owner-id":   func(_ *call, v *vpc) []string { return one(v.owner) },
		"state":      func(*call, *vpc) []string { return one("available") },
	}
}

type describeVpcsInput struct {
	Filter []filterParam
	VpcID  []string `ec2:"VpcId"`
	pageParams
}

type describeVpcsOutput struct {
	Vpcs ec2query.Set[vpcXML] `xml:"vpcSet"`
	Next string               `xml:"nextToken,omitempty"`
}

func (c *call) describeVpcs(in *describeVpcsInput) (*describeVpcsOutput, *ec2query.Error) {
	items, next, err := find(c, &c.vpcs, query[*vpc]{
		kind: vpcKind(), ids: in.VpcID, filters: in.Filter, known: c.server.known.vpcs, page: in.pageParams,
	})
	return &describeVpcsOutput{Next: next, Vpcs: ec2query.MapSet(items, func(v *vpc) vpcXML {
		return vpcXML{
			ID: v.id, Owner: v.owner, State: "available", CIDR: v.cidr.String(), DHCP: "default",
			Tenancy: "default", IsDefault: v.isDefault, Tags: v.tags.optional(c.now),
		}
	})}, err
}

type subnet struct {
	base

	vpc       *vpc
	zone      string
	cidr      netip.Prefix
	isDefault bool
	mapPublic bool // instances get a public address by default
	used      map[netip.Addr]bool
	last      netip.Addr
}

// subnetHosts is the number of addresses in a /20, less the five that AWS
// reserves.
const subnetHosts = 4096 - 5

// take allocates the wanted address, or any free one.
func (s *subnet) take(wanted netip.Addr) (netip.Addr, *ec2query.Error) {
	if wanted.IsValid() {
		if !s.cidr.Contains(wanted) {
			return wanted, ec2query.Errorf("InvalidParameterValue", "Address does not fall within the subnet's address range")
		}
		if s.used[wanted] {
			return wanted, ec2query.Errorf("InvalidIPAddress.InUse", "Address %s is in use.", wanted)
		}
		s.used[wanted] = true
		return wanted, nil
	}
	if len(s.used) >= subnetHosts {
		return wanted, ec2query.Errorf("InsufficientFreeAddressesInSubnet", "Insufficient free addresses in subnet '%s'.", s.id)
	}
	for {
		if !s.last.IsValid() || !s.cidr.Contains(s.last.Next().Next()) {
			s.last = s.cidr.Addr().Next().Next().Next()
		}
		if s.last = s.last.Next(); !s.used[s.last] {
			s.used[s.last] = true
			return s.last, nil
		}
	}
}

type subnetXML struct {
	ID        string                `xml:"subnetId"`
	ARN       string                `xml:"subnetArn"`
	State     string                `xml:"state"`
	Owner     string                `xml:"ownerId"`
	VPC       string                `xml:"vpcId"`
	CIDR      string                `xml:"cidrBlock"`
	Available int                   `xml:"availableIpAddressCount"`
	Zone      string                `xml:"availabilityZone"`
	ZoneID    string                `xml:"availabilityZoneId"`
	IsDefault bool                  `xml:"defaultForAz"`
	MapPublic bool                  `xml:"mapPublicIpOnLaunch"`
	Tags      *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func subnetFilters() filters[*subnet] {
	zone := func(_ *call, s *subnet) []string { return one(s.zone) }
	byDefault := func(_ *call, s *subnet) []string { return truth(s.isDefault) }
	return filters[*subnet]{
		"subnet-id":               func(_ *call, s *subnet) []string { return one(s.id) },
		"vpc-id":                  func(_ *call, s *subnet) []string { return one(s.vpc.id) },
		"cidr-block":              func(_ *call, s *subnet) []string { return one(s.cidr.String()) },
		"availability-zone":       zone,
		"availabilityZone":        zone,
		"availability-zone-id":    func(c *call, s *subnet) []string { return one(c.zoneID(s.zone)) },
		"default-for-az":          byDefault,
		"defaultForAz":            byDefault,
		"map-public-ip-on-launch": func(_ *call, s *subnet) []string { return truth(s.mapPublic) },
		"owner-id":                func(_ *call, s *subnet) []string { return one(s.owner) },
		"state":                   func(*call, *subnet) []string { return one("available") },
		"available-ip-address-count": func(_ *call, s *subnet) []string {
			return one(strconv.Itoa(subnetHosts - len(s.used)))
		},
	}
}

type describeSubnetsInput struct {
	Filter   []filterParam
	SubnetID []string `ec2:"SubnetId"`
	pageParams
}

type describeSubnetsOutput struct {
	Subnets ec2query.Set[subnetXML] `xml:"subnetSet"`
	Next    string                  `xml:"nextToken,omitempty"`
}

func (c *call) describeSubnets(in *describeSubnetsInput) (*describeSubnetsOutput, *ec2query.Error) {
	items, next, err := find(c, &c.subnets, query[*subnet]{
		kind: subnetKind(), ids: in.SubnetID, filters: in.Filter, known: c.server.known.subnets, page: in.pageParams,
	})
	return &describeSubnetsOutput{Next: next, Subnets: ec2query.MapSet(items, func(s *subnet) subnetXML {
		return subnetXML{
			ID: s.id, ARN: c.arn("subnet", s.id), State: "available", Owner: s.owner, VPC: s.vpc.id, CIDR: s.cidr.String(),
			Available: subnetHosts - len(s.used), Zone: s.zone, ZoneID: c.zoneID(s.zone),
			IsDefault: s.isDefault, MapPublic: s.mapPublic, Tags: s.tags.optional(c.now),
		}
	})}, err
}
