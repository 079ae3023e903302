package ec2test

import (
	"context"
	"net/netip"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type associateAddressInput struct {
	addressInput
	InstanceID         string `ec2:"InstanceId"`
	NetworkInterfaceID string `ec2:"NetworkInterfaceId"`
	PrivateIPAddress   string `ec2:"PrivateIpAddress"`
	AllowReassociation *bool
}

type associateAddressOutput struct {
	Association string `xml:"associationId"`
}

func (c *call) associateAddress(in *associateAddressInput) (*associateAddressOutput, *ec2query.Error) {
	e, err := c.elastic(in.AllocationID, in.PublicIP)
	if err != nil {
		return nil, err
	}
	n, err := c.associable(in)
	if err != nil {
		return nil, err
	}
	switch {
	case n.nat != nil:
		return nil, ec2query.Errorf("OperationNotPermitted", "The network interface '%s' belongs to a NAT gateway.", n.id)
	case in.PrivateIPAddress != "" && in.PrivateIPAddress != n.address.String():
		return nil, ec2query.Errorf("InvalidParameterValue", "You must specify a private IP address of the network interface '%s'.", n.id)
	case c.gatewayOf(n.subnet.vpc) == nil:
		return nil, ec2query.Errorf("Gateway.NotAttached", "Network %s is not attached to any internet gateway", n.subnet.vpc.id)
	case e.nic == n:
		return &associateAddressOutput{e.association}, nil
	case e.nic != nil && e.nic.nat != nil:
		return nil, ec2query.Errorf("AuthFailure", "You do not have permission to access the specified resource.")
	case e.nic != nil && in.AllowReassociation != nil && !*in.AllowReassociation:
		return nil, ec2query.Errorf("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", e.id, e.association)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if e.nic != nil {
		c.disassociate(e)
	}
	if other := c.elasticOf(n); other != nil {
		other.leave()
	}
	e.nic, e.association = n, newID("eipassoc-", c.server.nextSeq())
	if i := n.instance; i != nil {
		i.dropPublicIP()
		i.publicIP, i.elastic = e.address, e
		c.server.network.claim(e.address, i)
		c.alsoListen(i)
	}
	return &associateAddressOutput{e.association}, nil
}

// associable returns the interface of an association.
func (c *call) associable(in *associateAddressInput) (*eni, *ec2query.Error) {
	switch {
	case in.InstanceID == "" && in.NetworkInterfaceID == "":
		return nil, ec2query.Errorf("MissingParameter", "Either 'InstanceId' or 'NetworkInterfaceId' must be specified")
	case in.NetworkInterfaceID != "":
		return lookup(c, &c.interfaces, interfaceKind(), in.NetworkInterfaceID)
	}
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	if code := i.phase.code(c.now); code != running && code != stopped && code != stopping {
		return nil, ec2query.Errorf("InvalidInstanceID", "The %s instance '%s' is not in a valid state for this operation.", code, i.id)
	}
	return i.interfaces[0], nil
}

// leave ends the association of e with its interface.
func (e *elasticIP) leave() {
	n := e.nic
	e.nic, e.association = nil, ""
	if i := n.instance; i != nil && i.elastic == e {
		i.elastic = nil
		i.dropPublicIP() // no longer an elastic one
	}
}

// disassociate ends the association of e. A running instance that had a public
// address before gets another one.
func (c *call) disassociate(e *elasticIP) {
	i := e.nic.instance
	e.leave()
	if i != nil && i.wantsIP && (i.phase.code(c.now) == running || i.phase.code(c.now) == pending) {
		i.publicIP = c.server.network.claimPublic(i)
		c.alsoListen(i)
	}
}

// alsoListen makes a running instance listen on its new public address.
func (c *call) alsoListen(i *instance) {
	m := i.machine
	if plan := c.listening(i); m != nil && plan.addr != "" {
		c.afterwards(func(ctx context.Context) *ec2query.Error {
			m.alsoListen(ctx, plan)
			return nil
		})
	}
}

// listening returns where an instance listens: nowhere, or on its public address.
func (c *call) listening(i *instance) bootPlan {
	if !c.server.opts.Listen || !i.publicIP.IsValid() {
		return bootPlan{}
	}
	s, public := c.server, i.publicIP
	return bootPlan{addr: netip.AddrPortFrom(public, uint16(s.opts.Port)).String(), admit: func() bool { //nolint:gosec // a port
		_, allowed := i.reach(s.source(), public, s.portsOf(s.opts.Port)...)
		return allowed && i.hasPublic(public)
	}}
}

// hasPublic reports whether the instance still has a public address.
func (i *instance) hasPublic(address netip.Addr) bool {
	i.region.mu.Lock()
	defer i.region.mu.Unlock()
	return i.publicIP == address
}

type disassociateAddressInput struct {
	AssociationID string `ec2:"AssociationId"`
	PublicIP      string `ec2:"PublicIp"`
}

func (c *call) disassociateAddress(in *disassociateAddressInput) (*ec2query.Return, *ec2query.Error) {
	var found *elasticIP
	switch {
	case in.AssociationID == "" && in.PublicIP == "":
		return nil, ec2query.MissingParameter("AssociationId")
	case in.AssociationID == "":
		e, err := c.elastic("", in.PublicIP)
		if err != nil {
			return nil, err
		}
		found = e
	default:
		for e := range c.addresses.all() {
			if c.owns(&e.base) && e.association == in.AssociationID {
				found = e
			}
		}
	}
	switch {
	case found == nil:
		return nil, ec2query.Errorf("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", in.AssociationID)
	case found.nic == nil:
		return ec2query.Done(), nil
	case found.nic.nat != nil:
		return nil, ec2query.Errorf("AuthFailure", "You do not have permission to access the specified resource.")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.disassociate(found)
	return ec2query.Done(), nil
}

func elasticKind() kind {
	return kind{"eipalloc-", "elastic-ip", "InvalidAllocationID.NotFound", "InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist"}
}

// reservePublic allocates a public address to an account.
func (n *network) reservePublic() netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr := n.nextPublic()
	n.reserved[addr] = true
	return addr
}

// release returns an address of reservePublic.
func (n *network) release(addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.reserved, addr)
}

// nextPublic returns a free public address.
func (n *network) nextPublic() netip.Addr {
	for {
		n.public = n.public.Next()
		if n.public.Compare(n.last) > 0 {
			n.public = n.first
		}
		if _, taken := n.instances[n.public]; !taken && !n.reserved[n.public] {
			return n.public
		}
	}
}
