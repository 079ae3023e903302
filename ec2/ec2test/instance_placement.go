package ec2test

import (
	"cmp"
	"net/netip"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// planNetwork chooses the subnet, security groups and addresses.
func (c *call) planNetwork(p *launchPlan) *ec2query.Error {
	in := p.in
	subnetID, groupIDs, wanted := in.SubnetID, in.SecurityGroupID, in.PrivateIPAddress
	var public *bool
	ipv6 := in.IPv6AddressCount
	if len(in.NetworkInterface) > 1 {
		return ec2query.Errorf("Unsupported", "More than one network interface is not supported by ec2test")
	}
	for _, nic := range in.NetworkInterface {
		switch {
		case subnetID != "" || len(groupIDs) > 0 || len(in.SecurityGroup) > 0:
			return ec2query.InvalidCombination("Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request")
		case in.IPv6AddressCount > 0 || in.PrivateIPAddress != "":
			return ec2query.InvalidCombination("Network interfaces and an instance-level address may not be specified on the same request")
		case nic.DeviceIndex == nil || *nic.DeviceIndex != 0:
			return ec2query.Errorf("InvalidParameterValue", "Invalid value for parameter DeviceIndex: the first network interface must have the device index 0")
		}
		subnetID, groupIDs, wanted = nic.SubnetID, nic.SecurityGroupID, cmp.Or(nic.PrivateIPAddress, wanted)
		public = nic.AssociatePublicIPAddress
		if nic.DeleteOnTermination != nil {
			p.nicDelete = *nic.DeleteOnTermination
		}
		p.nicText, ipv6 = nic.Description, nic.IPv6AddressCount
	}
	zone := ""
	if in.Placement != nil {
		zone = in.Placement.AvailabilityZone
		if err := inSet("availabilityZone", zone, c.zones()...); err != nil {
			return err
		}
	}
	if subnetID != "" && len(in.SecurityGroup) > 0 {
		return ec2query.InvalidCombination("The parameter groupName cannot be used with the parameter subnet")
	}
	var err *ec2query.Error
	if p.subnet, err = c.chooseSubnet(subnetID, zone, p.kind, p.market); err != nil {
		return err
	}
	p.publicIP = p.subnet.mapPublic
	if public != nil {
		p.publicIP = *public
	}
	if p.groups, err = c.chooseGroups(groupIDs, in.SecurityGroup, p.subnet); err != nil {
		return err
	}
	if p.subnet.free() < in.MaxCount {
		return ec2query.Errorf("InsufficientFreeAddressesInSubnet", "Insufficient free addresses in subnet '%s'.", p.subnet.id)
	}
	switch {
	case ipv6 > 1:
		return ec2query.Errorf("Unsupported", "More than one IPv6 address is not supported by ec2test")
	case ipv6 == 1 && !c.server.opts.IPv6:
		return ec2query.Errorf("InvalidParameterValue", "The subnet '%s' has no IPv6 CIDR block", p.subnet.id)
	}
	p.ipv6 = ipv6 == 1 || p.subnet.mapIPv6
	if wanted != "" {
		addr, parseErr := netip.ParseAddr(wanted)
		if parseErr != nil || in.MaxCount > 1 {
			return ec2query.InvalidValue("PrivateIpAddress", wanted, "It must be an IPv4 address for one instance.")
		}
		p.wanted = addr
	}
	return nil
}

func (c *call) chooseSubnet(id, zone string, kind instanceType, in Market) (*subnet, *ec2query.Error) {
	if id != "" {
		s, err := lookup(c, &c.subnets, subnetKind(), id)
		if err == nil && zone != "" && s.zone != zone {
			err = ec2query.InvalidCombination("The zone %s is not that of the subnet %s", zone, id)
		}
		return s, err
	}
	v := c.defaultVPC()
	if v == nil {
		return nil, ec2query.Errorf("VPCIdNotSpecified", "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
	}
	// Without a subnet or zone, EC2 chooses a zone with capacity.
	var first *subnet
	for s := range c.subnets.all() {
		if s.vpc != v || !s.isDefault {
			continue
		}
		if first == nil {
			first = s
		}
		if zone == s.zone || zone == "" && c.server.capacity(c.name, kind.name, s.zone, in, true) == nil && c.freeCapacity(kind.name, s.zone) > 0 {
			return s, nil
		}
	}
	switch {
	case first == nil:
		return nil, ec2query.Errorf("MissingInput", "No subnets found for the default VPC '%s'. Please specify a subnet.", v.id)
	case zone != "":
		return nil, ec2query.Errorf("MissingInput", "No default subnet for availability zone: '%s'.", zone)
	}
	return first, nil
}
