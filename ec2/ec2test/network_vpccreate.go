package ec2test

import (
	"net/netip"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// block parses a range of IPv4 addresses of a VPC or subnet, which has between
// 16 and 65,536 addresses, and clears its host bits.
func block(param, text, outOfRange string) (netip.Prefix, *ec2query.Error) {
	if text == "" {
		return netip.Prefix{}, ec2query.MissingParameter(param)
	}
	cidr, err := netip.ParsePrefix(text)
	if err != nil || !cidr.Addr().Is4() {
		return cidr, ec2query.InvalidValue(param, text, "This is not a valid CIDR block.")
	}
	if cidr.Bits() < 16 || cidr.Bits() > 28 {
		return cidr, ec2query.Errorf(outOfRange, "The CIDR '%s' is invalid.", text)
	}
	return cidr.Masked(), nil
}

// vpcRange parses a range of addresses of a VPC.
func vpcRange(text string) (netip.Prefix, *ec2query.Error) {
	const outOfRange = "InvalidVpc.Range"
	cidr, err := block("cidrBlock", text, outOfRange)
	if a := cidr.Addr(); err == nil && (a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.As4()[0] == 0) {
		err = ec2query.Errorf(outOfRange, "The CIDR '%s' is invalid.", text)
	}
	return cidr, err
}

type createVpcInput struct {
	CidrBlock        string
	InstanceTenancy  string `ec2:"InstanceTenancy,oneof=default|dedicated|host"`
	TagSpecification []tagSpecification
}

type vpcOutput struct {
	Vpc vpcXML `xml:"vpc"`
}

func (c *call) createVpc(in *createVpcInput) (*vpcOutput, *ec2query.Error) {
	cidr, err := vpcRange(in.CidrBlock)
	if err != nil {
		return nil, err
	}
	if in.InstanceTenancy == "host" {
		return nil, ec2query.InvalidValue("instanceTenancy", in.InstanceTenancy, "It must be default or dedicated.")
	}
	specs, err := tagSpecs(in.TagSpecification, "vpc")
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	v := &vpc{base: c.newBase(vpcKind(), specs["vpc"]), cidrs: []vpcBlock{c.newBlock(cidr)}, tenancy: in.InstanceTenancy}
	c.putVPC(v, func(k kind) base { return c.newBase(k, nil) })
	out := &vpcOutput{c.vpcXML(v)}
	out.Vpc.State = "pending"
	return out, nil
}

// putVPC adds a VPC with its main route table and default security group.
func (r *region) putVPC(v *vpc, begin func(kind) base) {
	r.vpcs.put(v)
	v.main = r.putRouteTable(begin(routeTableKind()), v)
	v.main.associate(nil, r.server.nextSeq())
	r.defaultGroup(begin(groupKind()), v)
}

type createDefaultVpcInput struct{}

// createDefaultVpc creates what a new account has: a VPC with a subnet in each
// zone and a route to the internet.
func (c *call) createDefaultVpc(*createDefaultVpcInput) (*vpcOutput, *ec2query.Error) {
	if v := c.defaultVPC(); v != nil {
		return nil, ec2query.Errorf("DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region.")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	b := c.newBase(vpcKind(), nil)
	b.builtin = true
	v := &vpc{base: b, isDefault: true, dnsHostnames: true}
	c.addVPC(v, c.server.network.nextPrivate(), true, v.id)
	return &vpcOutput{c.vpcXML(v)}, nil
}

func (c *call) deleteVpc(in *vpcIDInput) (*ec2query.Return, *ec2query.Error) {
	v, err := lookup(c, &c.vpcs, vpcKind(), in.VpcID)
	if err != nil {
		return nil, err
	}
	if c.inUse(v) {
		return nil, ec2query.Errorf("DependencyViolation", "The vpc '%s' has dependencies and cannot be deleted.", v.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for g := range c.groups.all() {
		if g.vpc == v {
			c.dropGroup(g)
		}
	}
	c.routeTables.remove(v.main.id)
	c.vpcs.remove(v.id)
	return ec2query.Done(), nil
}

// inUse reports whether a VPC contains anything but what it was created with.
func (r *region) inUse(v *vpc) bool {
	for s := range r.subnets.all() {
		if s.vpc == v {
			return true
		}
	}
	for g := range r.groups.all() {
		if g.vpc == v && g.name != "default" {
			return true
		}
	}
	for t := range r.routeTables.all() {
		if t.vpc == v && t != v.main {
			return true
		}
	}
	return r.gatewayOf(v) != nil
}

type associateBlockInput struct {
	vpcIDInput
	CidrBlock string
}

type associateBlockOutput struct {
	VPC   string      `xml:"vpcId"`
	Block vpcBlockXML `xml:"cidrBlockAssociation"`
}

func (c *call) associateBlock(in *associateBlockInput) (*associateBlockOutput, *ec2query.Error) {
	const most = 5
	v, err := lookup(c, &c.vpcs, vpcKind(), in.VpcID)
	if err != nil {
		return nil, err
	}
	cidr, err := vpcRange(in.CidrBlock)
	if err != nil {
		return nil, err
	}
	switch {
	case slices.ContainsFunc(v.cidrs, func(b vpcBlock) bool { return b.cidr.Overlaps(cidr) }):
		return nil, ec2query.Errorf("InvalidVpc.Range", "The CIDR '%s' overlaps with a CIDR block of the VPC %s.", in.CidrBlock, v.id)
	case len(v.cidrs) >= most:
		return nil, ec2query.Errorf("CidrLimitExceeded", "This network '%s' has met its maximum number of allowed CIDRs: %d", v.id, most)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	made := c.newBlock(cidr)
	v.cidrs = append(v.cidrs, made)
	return &associateBlockOutput{v.id, made.xml("associating")}, nil
}

type associationIDInput struct {
	AssociationID string `ec2:"AssociationId,required"`
}

func (c *call) disassociateBlock(in *associationIDInput) (*associateBlockOutput, *ec2query.Error) {
	for v := range c.vpcs.all() {
		at := slices.IndexFunc(v.cidrs, func(b vpcBlock) bool { return b.id == in.AssociationID })
		if at < 0 || !c.owns(&v.base) {
			continue
		}
		gone := v.cidrs[at]
		if at == 0 {
			return nil, ec2query.Errorf("OperationNotPermitted", "The vpc CIDR block with association ID %s may not be disassociated. It is the primary IPv4 CIDR block of the VPC", gone.id)
		}
		for s := range c.subnets.all() {
			if s.vpc == v && gone.cidr.Overlaps(s.cidr) {
				return nil, ec2query.Errorf("DependencyViolation", "The CIDR block %s of the VPC %s is in use by the subnet %s.", gone.cidr, v.id, s.id)
			}
		}
		if err := c.checkDryRun(); err != nil {
			return nil, err
		}
		v.cidrs = slices.Delete(v.cidrs, at, at+1)
		return &associateBlockOutput{v.id, gone.xml("disassociating")}, nil
	}
	return nil, ec2query.Errorf("InvalidVpcCidrBlockAssociationID.NotFound", "The vpc CIDR block association ID '%s' does not exist", in.AssociationID)
}
