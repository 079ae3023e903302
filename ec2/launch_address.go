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

// An Address selects one of an instance's addresses.
type Address int

// The addresses to connect to.
const (
	PublicElsePrivate Address = iota // the public IPv4 address, or the private one if there is none
	PublicAddress                    // the public IPv4 address
	PrivateAddress                   // the private IPv4 address
	IPv6Address                      // the IPv6 address; needs Network.IPv6
	PublicDNS                        // the public DNS name, which resolves to the private address within the VPC
	PrivateDNS                       // the private DNS name
)

func (b Builder) validateAddress(invalid func(field, format string, args ...any)) {
	switch a := b.SSH.Address; {
	case a < PublicElsePrivate || a > PrivateDNS:
		invalid("Address", "unknown value %d", a)
	case b.Network.PublicIP == Disabled && (a == PublicAddress || a == PublicDNS):
		invalid("Address", "public addresses need Network.PublicIP, which is Disabled")
	case !b.Network.IPv6 && a == IPv6Address:
		invalid("Address", "IPv6Address needs Network.IPv6")
	}
}

// addNetwork sets the subnet, the addresses and the security groups. Setting the
// public address requires a network interface specification.
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

// subnetContains reports whether the subnet contains the address, or there is none.
func subnetContains(subnet ec2types.Subnet, addr netip.Addr) bool {
	network, err := netip.ParsePrefix(aws.ToString(subnet.CidrBlock))
	return !addr.IsValid() || err != nil || network.Contains(addr)
}

// waitRunning waits until the instance runs and has the address to connect to.
func (s *session) waitRunning(ctx context.Context) error {
	err := s.waitInstance(ctx, func(i ec2types.Instance) (bool, error) {
		if err := notRunning(i); err != nil {
			return false, err
		}
		if i.State.Name != ec2types.InstanceStateNameRunning {
			return false, nil
		}
		var missing string
		switch public := aws.ToString(i.PublicIpAddress); s.builder.SSH.Address {
		case PublicElsePrivate:
			s.Instance.Address = cmp.Or(public, aws.ToString(i.PrivateIpAddress))
		case PublicAddress:
			s.Instance.Address, missing = public, "public address; its subnet assigns none unless Builder.Network.PublicIP is Enabled"
		case PrivateAddress:
			s.Instance.Address = aws.ToString(i.PrivateIpAddress)
		case IPv6Address:
			s.Instance.Address, missing = aws.ToString(i.Ipv6Address), "IPv6 address"
		case PublicDNS:
			s.Instance.Address, missing = aws.ToString(i.PublicDnsName), "public DNS name; its VPC must have DNS hostnames enabled"
		case PrivateDNS:
			s.Instance.Address, missing = aws.ToString(i.PrivateDnsName), "private DNS name"
		}
		if s.Instance.Address == "" {
			return false, fmt.Errorf("instance has no %s", cmp.Or(missing, "address"))
		}
		return true, nil
	})
	if err != nil && isLaunchFailure(s.Instance.Cause) {
		s.Failed = append(s.Failed, s.Instance.candidate)
	}
	return err
}
