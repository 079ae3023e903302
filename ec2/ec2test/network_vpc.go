package ec2test

import (
	"cmp"
	"net/netip"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type vpc struct {
	base

	cidrs        []vpcBlock // the first is the primary one
	isDefault    bool
	tenancy      string // empty means default
	noDNS        bool   // EnableDnsSupport is false
	dnsHostnames bool
	usageMetrics bool
	main         *routeTable
}

// vpcBlock is a range of addresses of a VPC.
type vpcBlock struct {
	id   string // of the association
	cidr netip.Prefix
}

func (c *call) newBlock(cidr netip.Prefix) vpcBlock {
	return vpcBlock{newID("vpc-cidr-assoc-", c.server.nextSeq()), cidr}
}

func (v *vpc) cidr() netip.Prefix { return v.cidrs[0].cidr }

// contains reports whether the VPC has all addresses of a range.
func (v *vpc) contains(cidr netip.Prefix) bool {
	for _, b := range v.cidrs {
		if b.cidr.Bits() <= cidr.Bits() && b.cidr.Contains(cidr.Addr()) {
			return true
		}
	}
	return false
}

// defaultVPC returns the caller's default VPC, or nil.
func (c *call) defaultVPC() *vpc {
	for v := range c.vpcs.all() {
		if v.isDefault && c.owns(&v.base) {
			return v
		}
	}
	return nil
}

type blockStateXML struct {
	State string `xml:"state"`
}

type vpcBlockXML struct {
	ID    string        `xml:"associationId"`
	CIDR  string        `xml:"cidrBlock"`
	State blockStateXML `xml:"cidrBlockState"`
}

func (b vpcBlock) xml(state string) vpcBlockXML {
	return vpcBlockXML{b.id, b.cidr.String(), blockStateXML{state}}
}

type vpcXML struct {
	ID        string                    `xml:"vpcId"`
	Owner     string                    `xml:"ownerId"`
	State     string                    `xml:"state"`
	CIDR      string                    `xml:"cidrBlock"`
	Blocks    ec2query.Set[vpcBlockXML] `xml:"cidrBlockAssociationSet"`
	DHCP      string                    `xml:"dhcpOptionsId"`
	Tenancy   string                    `xml:"instanceTenancy"`
	IsDefault bool                      `xml:"isDefault"`
	Tags      *ec2query.Set[tagXML]     `xml:"tagSet,omitempty"`
}

func (c *call) vpcXML(v *vpc) vpcXML {
	return vpcXML{
		ID: v.id, Owner: v.owner, State: "available", CIDR: v.cidr().String(), DHCP: "default",
		Tenancy: cmp.Or(v.tenancy, "default"), IsDefault: v.isDefault, Tags: v.tags.optional(c.now),
		Blocks: ec2query.MapSet(v.cidrs, func(b vpcBlock) vpcBlockXML { return b.xml("associated") }),
	}
}

func vpcFilters() filters[*vpc] {
	cidr := func(_ *call, v *vpc) []string { return one(v.cidr().String()) }
	blocks := func(get func(vpcBlock) string) func(*call, *vpc) []string {
		return func(_ *call, v *vpc) []string {
			out := make([]string, 0, len(v.cidrs))
			for _, b := range v.cidrs {
				out = append(out, get(b))
			}
			return out
		}
	}
	return filters[*vpc]{
		"vpc-id":                                func(_ *call, v *vpc) []string { return one(v.id) },
		"cidr":                                  cidr,
		"cidr-block":                            cidr,
		"cidrBlock":                             cidr,
		"cidr-block-association.cidr-block":     blocks(func(b vpcBlock) string { return b.cidr.String() }),
		"cidr-block-association.association-id": blocks(func(b vpcBlock) string { return b.id }),
		"cidr-block-association.state":          blocks(func(vpcBlock) string { return "associated" }),
		"dhcp-options-id":                       func(*call, *vpc) []string { return one("default") },
		"is-default":                            func(_ *call, v *vpc) []string { return truth(v.isDefault) },
		"isDefault":                             func(_ *call, v *vpc) []string { return truth(v.isDefault) },
		"owner-id":                              func(_ *call, v *vpc) []string { return one(v.owner) },
		"state":                                 func(*call, *vpc) []string { return one("available") },
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
	return &describeVpcsOutput{Next: next, Vpcs: ec2query.MapSet(items, c.vpcXML)}, err
}

type vpcIDInput struct {
	VpcID string `ec2:"VpcId,required"`
}

type describeVpcAttributeInput struct {
	vpcIDInput
	Attribute string `ec2:"Attribute,required,oneof=enableDnsSupport|enableDnsHostnames|enableNetworkAddressUsageMetrics"`
}

type vpcAttributeOutput struct {
	ID        string                `xml:"vpcId"`
	DNS       *ec2query.Value[bool] `xml:"enableDnsSupport,omitempty"`
	Hostnames *ec2query.Value[bool] `xml:"enableDnsHostnames,omitempty"`
	Metrics   *ec2query.Value[bool] `xml:"enableNetworkAddressUsageMetrics,omitempty"`
}

func (c *call) describeVpcAttribute(in *describeVpcAttributeInput) (*vpcAttributeOutput, *ec2query.Error) {
	v, err := lookup(c, &c.vpcs, vpcKind(), in.VpcID)
	if err != nil {
		return nil, err
	}
	out := &vpcAttributeOutput{ID: v.id}
	switch in.Attribute {
	case "enableDnsSupport":
		out.DNS = ec2query.ValueOf(!v.noDNS)
	case "enableDnsHostnames":
		out.Hostnames = ec2query.ValueOf(v.dnsHostnames)
	default:
		out.Metrics = ec2query.ValueOf(v.usageMetrics)
	}
	return out, nil
}

type modifyVpcAttributeInput struct {
	vpcIDInput
	EnableDNSSupport                 *boolParam `ec2:"EnableDnsSupport"`
	EnableDNSHostnames               *boolParam `ec2:"EnableDnsHostnames"`
	EnableNetworkAddressUsageMetrics *boolParam
}

func (c *call) modifyVpcAttribute(in *modifyVpcAttributeInput) (*ec2query.Return, *ec2query.Error) {
	v, err := lookup(c, &c.vpcs, vpcKind(), in.VpcID)
	if err != nil {
		return nil, err
	}
	if err := exactlyOne(in.EnableDNSSupport != nil, in.EnableDNSHostnames != nil, in.EnableNetworkAddressUsageMetrics != nil); err != nil {
		return nil, err
	}
	if v.noDNS && in.EnableDNSHostnames != nil && in.EnableDNSHostnames.Value {
		return nil, ec2query.InvalidCombination("DNS hostnames of %s require DNS support to be enabled", v.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	switch {
	case in.EnableDNSSupport != nil:
		v.noDNS = !in.EnableDNSSupport.Value
	case in.EnableDNSHostnames != nil:
		v.dnsHostnames = in.EnableDNSHostnames.Value
	default:
		v.usageMetrics = in.EnableNetworkAddressUsageMetrics.Value
	}
	return ec2query.Done(), nil
}

// exactlyOne rejects a call that modifies no attribute or several.
func exactlyOne(given ...bool) *ec2query.Error {
	n := 0
	for _, set := range given {
		if set {
			n++
		}
	}
	if n != 1 {
		return ec2query.InvalidCombination("Exactly one attribute must be specified, not %d", n)
	}
	return nil
}
