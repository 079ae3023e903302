package ec2test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// network hands out addresses and knows whose they are, across all regions.
type network struct {
	mu        sync.Mutex
	instances map[netip.Addr]*instance
	private   int        // networks given to accounts so far
	first     netip.Addr // of the public addresses
	last      netip.Addr
	public    netip.Addr // given last
}

// reserve chooses the public addresses: loopback ones when they are to be
// listened on, else those that RFC 2544 keeps for tests.
func (n *network) reserve(listen bool) {
	n.instances = make(map[netip.Addr]*instance)
	n.first, n.last = netip.AddrFrom4([4]byte{198, 18, 0, 1}), netip.AddrFrom4([4]byte{198, 19, 255, 254})
	if listen {
		n.first, n.last = netip.AddrFrom4([4]byte{127, 1, 0, 1}), netip.AddrFrom4([4]byte{127, 254, 255, 254})
	}
	n.public = n.last
}

// nextPrivate is the network of an account in a region: 172.31.0.0/16 for the
// first as in AWS, others after it, so that a private address has one owner in
// the server. After 272 they repeat.
func (n *network) nextPrivate() netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.private % 272
	n.private++
	octets := [4]byte{172, byte(31 - i), 0, 0} //nolint:gosec // i is below 16 where it is used
	if i >= 16 {
		octets = [4]byte{10, byte(i - 16), 0, 0}
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 16)
}

// ipv6Of is the IPv6 address that belongs to a private one: in 2001:db8::/32,
// which RFC 3849 keeps for documentation.
func ipv6Of(private netip.Addr) netip.Addr {
	four := private.As4()
	sixteen := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	copy(sixteen[12:], four[:])
	return netip.AddrFrom16(sixteen)
}

// claim makes addr the instance's.
func (n *network) claim(addr netip.Addr, i *instance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.instances[addr] = i
}

// claimPublic finds a free public address for i.
func (n *network) claimPublic(i *instance) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		n.public = n.public.Next()
		if n.public.Compare(n.last) > 0 {
			n.public = n.first
		}
		if _, taken := n.instances[n.public]; !taken {
			n.instances[n.public] = i
			return n.public
		}
	}
}

// free gives addr up, if it is still the instance's.
func (n *network) free(addr netip.Addr, i *instance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.instances[addr] == i {
		delete(n.instances, addr)
	}
}

// at is the instance with an address or a DNS name made from one.
func (n *network) at(host string) *instance {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		label, _, _ := strings.Cut(host, ".")
		_, dashed, _ := strings.Cut(label, "-") // ec2-1-2-3-4 and ip-1-2-3-4
		if addr, err = netip.ParseAddr(strings.ReplaceAll(dashed, "-", ".")); err != nil {
			return nil
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.instances[addr]
}

// privateName and publicName are the DNS names of addresses.
func (r *region) privateName(addr netip.Addr) string {
	domain := r.name + ".compute.internal"
	if r.name == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(addr.String(), ".", "-") + "." + domain
}

func (r *region) publicName(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	domain := r.name + ".compute.amazonaws.com"
	if r.name == "us-east-1" {
		domain = "compute-1.amazonaws.com"
	}
	return "ec2-" + strings.ReplaceAll(addr.String(), ".", "-") + "." + domain
}

type vpc struct {
	base

	cidr      netip.Prefix
	isDefault bool
}

type vpcXML struct {
	ID        string               `xml:"vpcId"`
	Owner     string               `xml:"ownerId"`
	State     string               `xml:"state"`
	CIDR      string               `xml:"cidrBlock"`
	DHCP      string               `xml:"dhcpOptionsId"`
	Tenancy   string               `xml:"instanceTenancy"`
	IsDefault bool                 `xml:"isDefault"`
	Tags      ec2query.Set[tagXML] `xml:"tagSet"`
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
			Tenancy: "default", IsDefault: v.isDefault, Tags: v.tags.set(c.now),
		}
	})}, err
}

type subnet struct {
	base

	vpc       *vpc
	zone      string
	cidr      netip.Prefix
	isDefault bool
	mapPublic bool // its instances get a public address unless they refuse it
	used      map[netip.Addr]bool
	last      netip.Addr
}

// subnetHosts is how many addresses a /20 has without the five that AWS keeps.
const subnetHosts = 4096 - 5

// take finds a free address, or takes the one that is wanted.
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
	ID        string               `xml:"subnetId"`
	ARN       string               `xml:"subnetArn"`
	State     string               `xml:"state"`
	Owner     string               `xml:"ownerId"`
	VPC       string               `xml:"vpcId"`
	CIDR      string               `xml:"cidrBlock"`
	Available int                  `xml:"availableIpAddressCount"`
	Zone      string               `xml:"availabilityZone"`
	ZoneID    string               `xml:"availabilityZoneId"`
	IsDefault bool                 `xml:"defaultForAz"`
	MapPublic bool                 `xml:"mapPublicIpOnLaunch"`
	Tags      ec2query.Set[tagXML] `xml:"tagSet"`
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
			IsDefault: s.isDefault, MapPublic: s.mapPublic, Tags: s.tags.set(c.now),
		}
	})}, err
}

// arn is the name of one of the caller's EC2 resources across AWS.
func (c *call) arn(resource, id string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", c.name, c.account, resource, id)
}
