package ec2test

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type subnet struct {
	base

	vpc       *vpc
	zone      string
	cidr      netip.Prefix
	isDefault bool
	mapPublic bool // instances get a public address by default
	mapIPv6   bool // instances get an IPv6 address by default
	used      map[netip.Addr]bool
	last      netip.Addr
}

// hosts returns the number of addresses of the subnet, less the five that AWS
// reserves.
func (s *subnet) hosts() int { return 1<<(32-s.cidr.Bits()) - 5 }

func (s *subnet) free() int { return s.hosts() - len(s.used) }

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
	if s.free() < 1 {
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
	MapIPv6   bool                  `xml:"assignIpv6AddressOnCreation"`
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
			return one(strconv.Itoa(s.free()))
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
	return &describeSubnetsOutput{Next: next, Subnets: ec2query.MapSet(items, c.subnetXML)}, err
}

func (c *call) subnetXML(s *subnet) subnetXML {
	return subnetXML{
		ID: s.id, ARN: c.arn("subnet", s.id), State: "available", Owner: s.owner, VPC: s.vpc.id, CIDR: s.cidr.String(),
		Available: s.free(), Zone: s.zone, ZoneID: c.zoneID(s.zone),
		IsDefault: s.isDefault, MapPublic: s.mapPublic, MapIPv6: s.mapIPv6, Tags: s.tags.optional(c.now),
	}
}

type createSubnetInput struct {
	VpcID              string `ec2:"VpcId,required"`
	CidrBlock          string
	AvailabilityZone   string
	AvailabilityZoneID string `ec2:"AvailabilityZoneId"`
	TagSpecification   []tagSpecification
}

type subnetOutput struct {
	Subnet subnetXML `xml:"subnet"`
}

func (c *call) createSubnet(in *createSubnetInput) (*subnetOutput, *ec2query.Error) {
	v, err := lookup(c, &c.vpcs, vpcKind(), in.VpcID)
	if err != nil {
		return nil, err
	}
	const outOfRange = "InvalidSubnet.Range"
	cidr, err := block("cidrBlock", in.CidrBlock, outOfRange)
	if err != nil {
		return nil, err
	}
	if !v.contains(cidr) {
		return nil, ec2query.Errorf(outOfRange, "The CIDR '%s' is invalid.", in.CidrBlock)
	}
	for s := range c.subnets.all() {
		if s.vpc == v && s.cidr.Overlaps(cidr) {
			return nil, ec2query.Errorf("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", in.CidrBlock)
		}
	}
	zone, err := c.zoneOf(in.AvailabilityZone, in.AvailabilityZoneID)
	if err != nil {
		return nil, err
	}
	specs, err := tagSpecs(in.TagSpecification, "subnet")
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	s := &subnet{base: c.newBase(subnetKind(), specs["subnet"]), vpc: v, zone: zone, cidr: cidr, used: make(map[netip.Addr]bool)}
	c.subnets.put(s)
	return &subnetOutput{c.subnetXML(s)}, nil
}

// zoneOf returns the zone with a name or an id, or else the first one.
func (c *call) zoneOf(name, id string) (string, *ec2query.Error) {
	zones := c.zones()
	if name == "" && id == "" {
		return zones[0], nil
	}
	for _, zone := range zones {
		if (name == "" || zone == name) && (id == "" || c.zoneID(zone) == id) {
			return zone, nil
		}
	}
	return "", ec2query.InvalidValue("availabilityZone", cmp.Or(name, id), "Subnets can currently only be created in the following availability zones: "+strings.Join(zones, ", ")+".")
}

type createDefaultSubnetInput struct {
	AvailabilityZone string `ec2:"AvailabilityZone,required"`
}

func (c *call) createDefaultSubnet(in *createDefaultSubnetInput) (*subnetOutput, *ec2query.Error) {
	v := c.defaultVPC()
	if v == nil {
		return nil, ec2query.Errorf("DefaultVpcDoesNotExist", "No default VPC exists for this account in this region.")
	}
	zone, err := c.zoneOf(in.AvailabilityZone, "")
	if err != nil {
		return nil, err
	}
	taken := make(map[netip.Prefix]bool)
	for s := range c.subnets.all() {
		if s.vpc == v && s.isDefault && s.zone == zone {
			return nil, ec2query.Errorf("DefaultSubnetAlreadyExistsInAvailabilityZone", "'%s' already has a default subnet in '%s'", v.id, zone)
		}
		if s.vpc == v {
			taken[s.cidr] = true
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for i := range 16 {
		cidr := twentieth(v.cidr(), i)
		overlaps := false
		for have := range taken {
			overlaps = overlaps || have.Overlaps(cidr)
		}
		if overlaps {
			continue
		}
		b := c.newBase(subnetKind(), nil)
		b.builtin = true
		s := &subnet{base: b, vpc: v, zone: zone, cidr: cidr, isDefault: true, mapPublic: true, used: make(map[netip.Addr]bool)}
		c.subnets.put(s)
		return &subnetOutput{c.subnetXML(s)}, nil
	}
	return nil, ec2query.Errorf("InsufficientCidrBlocks", "The VPC '%s' has no free /20 block.", v.id)
}

// twentieth returns a /20 of the sixteen in a /16.
func twentieth(cidr netip.Prefix, i int) netip.Prefix {
	octets := cidr.Addr().As4()
	octets[2] = byte(i * 16) //nolint:gosec // i is below 16
	return netip.PrefixFrom(netip.AddrFrom4(octets), 20)
}

type subnetIDInput struct {
	SubnetID string `ec2:"SubnetId,required"`
}

func (c *call) deleteSubnet(in *subnetIDInput) (*ec2query.Return, *ec2query.Error) {
	s, err := lookup(c, &c.subnets, subnetKind(), in.SubnetID)
	if err != nil {
		return nil, err
	}
	for nic := range c.interfaces.all() {
		if nic.subnet == s {
			return nil, ec2query.Errorf("DependencyViolation", "The subnet '%s' has dependencies and cannot be deleted.", s.id)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for t := range c.routeTables.all() {
		t.dissociate(s)
	}
	c.subnets.remove(s.id)
	return ec2query.Done(), nil
}

type modifySubnetAttributeInput struct {
	subnetIDInput
	MapPublicIPOnLaunch         *boolParam `ec2:"MapPublicIpOnLaunch"`
	AssignIPv6AddressOnCreation *boolParam `ec2:"AssignIpv6AddressOnCreation"`
}

func (c *call) modifySubnetAttribute(in *modifySubnetAttributeInput) (*ec2query.Return, *ec2query.Error) {
	s, err := lookup(c, &c.subnets, subnetKind(), in.SubnetID)
	if err != nil {
		return nil, err
	}
	if err := exactlyOne(in.MapPublicIPOnLaunch != nil, in.AssignIPv6AddressOnCreation != nil); err != nil {
		return nil, err
	}
	if six := in.AssignIPv6AddressOnCreation; six != nil && six.Value && !c.server.opts.IPv6 {
		return nil, ec2query.Errorf("InvalidParameterValue", "The subnet '%s' has no IPv6 CIDR block", s.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if in.MapPublicIPOnLaunch != nil {
		s.mapPublic = in.MapPublicIPOnLaunch.Value
	} else {
		s.mapIPv6 = in.AssignIPv6AddressOnCreation.Value
	}
	return ec2query.Done(), nil
}
