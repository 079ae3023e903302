package ec2test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
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

// arn is the name of one of the caller's EC2 resources across AWS.
func (c *call) arn(resource, id string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", c.name, c.account, resource, id)
}
