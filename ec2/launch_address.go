package ec2

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Address is one of an instance's addresses: PublicAddress, PrivateAddress,
// IPv6Address, PublicDNS, PrivateDNS, or PublicElsePrivate, the zero value.
type Address int

// The addresses to connect to.
const (
	PublicElsePrivate Address = iota // the public IPv4 address, or the private one of an instance without
	PublicAddress                    // the public IPv4 address
	PrivateAddress                   // the private IPv4 address
	IPv6Address                      // the IPv6 address; the instance must have one
	PublicDNS                        // the public DNS name, which is the private address within the VPC
	PrivateDNS                       // the private DNS name
)

func (b Builder) validateAddress(wrong func(field, format string, args ...any)) {
	switch a := b.SSH.Address; {
	case a < PublicElsePrivate || a > PrivateDNS:
		wrong("Address", "unknown value %d", a)
	case b.Network.PublicIP == Disabled && (a == PublicAddress || a == PublicDNS):
		wrong("Address", "there is no public address when Network.PublicIP is Disabled")
	case !b.Network.IPv6 && a == IPv6Address:
		wrong("Address", "there is no IPv6 address unless Network.IPv6 is set")
	}
}

// addNetwork says where the instance goes and which addresses it gets: as a
// network interface, if anything is said of the public address.
func (s *session) addNetwork(in *awsec2.RunInstancesInput, c candidate) {
	n := s.builder.Network
	var v6 *int32
	if n.IPv6 {
		v6 = aws.Int32(1)
	}
	var private *string
	if n.PrivateIP.IsValid() {
		private = aws.String(n.PrivateIP.String())
	}
	if n.PublicIP == Inherit {
		in.SubnetId, in.SecurityGroupIds = aws.String(c.Subnet), s.SecurityGroup.IDs
		in.PrivateIpAddress, in.Ipv6AddressCount = private, v6
		return
	}
	in.NetworkInterfaces = []ec2types.InstanceNetworkInterfaceSpecification{{
		DeviceIndex: aws.Int32(0), SubnetId: aws.String(c.Subnet), Groups: s.SecurityGroup.IDs,
		PrivateIpAddress: private, Ipv6AddressCount: v6,
		AssociatePublicIpAddress: aws.Bool(n.PublicIP == Enabled), DeleteOnTermination: aws.Bool(true),
	}}
}

// within leaves out the subnets that do not have the address.
func subnetContains(subnet ec2types.Subnet, addr netip.Addr) bool {
	network, err := netip.ParsePrefix(aws.ToString(subnet.CidrBlock))
	return !addr.IsValid() || err != nil || network.Contains(addr)
}

// waitRunning waits until the instance runs and has the address to connect to.
func (s *session) waitRunning(ctx context.Context) error {
	err := s.waitInstance(ctx, func(i ec2types.Instance) (bool, error) {
		if i.State.Name != ec2types.InstanceStateNameRunning {
			return false, nil
		}
		var missing string
		switch public := aws.ToString(i.PublicIpAddress); s.builder.SSH.Address {
		case PublicElsePrivate:
			s.Instance.Address = cmp.Or(public, aws.ToString(i.PrivateIpAddress))
		case PublicAddress:
			s.Instance.Address, missing = public, "public address; its subnet gives none unless Builder.Network.PublicIP is Enabled"
		case PrivateAddress:
			s.Instance.Address = aws.ToString(i.PrivateIpAddress)
		case IPv6Address:
			s.Instance.Address, missing = aws.ToString(i.Ipv6Address), "IPv6 address"
		case PublicDNS:
			s.Instance.Address, missing = aws.ToString(i.PublicDnsName), "public DNS name; its VPC must give DNS hostnames"
		case PrivateDNS:
			s.Instance.Address, missing = aws.ToString(i.PrivateDnsName), "private DNS name"
		}
		if s.Instance.Address == "" {
			return false, fmt.Errorf("the instance has no %s", cmp.Or(missing, "address"))
		}
		return true, nil
	})
	if err != nil && isLaunchFailure(s.Instance.Cause) {
		s.Failed = append(s.Failed, s.Instance.candidate)
	}
	return err
}
