package ec2test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// network allocates addresses across all regions, and maps them to instances.
type network struct {
	mu        sync.Mutex
	instances map[netip.Addr][]*instance // private addresses can be in several VPCs
	reserved  map[netip.Addr]bool        // elastic addresses
	private   int                        // networks allocated to accounts so far
	first     netip.Addr                 // public address
	last      netip.Addr
	public    netip.Addr // latest public address allocated
}

// reserve chooses the range of public addresses: loopback addresses if the
// server listens on them, otherwise the range that RFC 2544 reserves for tests.
func (n *network) reserve(listen bool) {
	n.instances = make(map[netip.Addr][]*instance)
	n.reserved = make(map[netip.Addr]bool)
	n.first, n.last = netip.AddrFrom4([4]byte{198, 18, 0, 1}), netip.AddrFrom4([4]byte{198, 19, 255, 254})
	if listen {
		n.first, n.last = netip.AddrFrom4([4]byte{127, 1, 0, 1}), netip.AddrFrom4([4]byte{127, 254, 255, 254})
	}
	n.public = n.last
}

// nextPrivate allocates the network of a VPC. The first is 172.31.0.0/16, as in
// AWS, and the next 271 differ from it, so that private addresses are unique in
// the server.
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

// ipv6Of returns the IPv6 address that corresponds to a private address, in the
// range 2001:db8::/32 that RFC 3849 reserves for documentation.
func ipv6Of(private netip.Addr) netip.Addr {
	four := private.As4()
	sixteen := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	copy(sixteen[12:], four[:])
	return netip.AddrFrom16(sixteen)
}

// claim assigns addr to an instance.
func (n *network) claim(addr netip.Addr, i *instance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.instances[addr] = append(n.instances[addr], i)
}

// claimPublic assigns a free public address to an instance.
func (n *network) claimPublic(i *instance) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr := n.nextPublic()
	n.instances[addr] = []*instance{i}
	return addr
}

// free releases addr if it is still the instance's.
func (n *network) free(addr netip.Addr, i *instance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.instances[addr] = slices.DeleteFunc(n.instances[addr], func(have *instance) bool { return have == i }); len(n.instances[addr]) == 0 {
		delete(n.instances, addr)
	}
}

// at returns the instance with an address, or with a DNS name that contains
// one, and the address. Among several it prefers one in the VPC of near, which
// may be nil.
func (n *network) at(host string, near *instance) (*instance, netip.Addr) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		label, _, _ := strings.Cut(host, ".")
		_, dashed, _ := strings.Cut(label, "-") // ec2-1-2-3-4 and ip-1-2-3-4
		if addr, err = netip.ParseAddr(strings.ReplaceAll(dashed, "-", ".")); err != nil {
			return nil, addr
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.instances[addr]
	if len(list) == 0 {
		return nil, addr
	}
	for _, i := range list {
		if near != nil && i.subnet.vpc == near.subnet.vpc {
			return i, addr
		}
	}
	return list[0], addr
}

// privateName returns the private DNS name of an address.
func (r *region) privateName(addr netip.Addr) string {
	domain := r.name + ".compute.internal"
	if r.name == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(addr.String(), ".", "-") + "." + domain
}

// publicName returns the public DNS name of an instance, or "" if it has none.
func (i *instance) publicName() string {
	if !i.publicIP.IsValid() || !i.subnet.vpc.dnsHostnames {
		return ""
	}
	domain := i.region.name + ".compute.amazonaws.com"
	if i.region.name == "us-east-1" {
		domain = "compute-1.amazonaws.com"
	}
	return "ec2-" + strings.ReplaceAll(i.publicIP.String(), ".", "-") + "." + domain
}

// arn returns the ARN of an EC2 resource of the caller.
func (c *call) arn(resource, id string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", c.name, c.account, resource, id)
}
