package ec2test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// natGateway is a NAT gateway. Machines do not need one to reach others: it is what
// network set-ups create.
type natGateway struct {
	base

	nic     *eni
	elastic *elasticIP // nil if it is private
	private bool
	ready   time.Time
	deleted time.Time // zero if it exists
}

// natShown is how long a deleted NAT gateway stays visible.
const natShown = time.Hour

func natKind() kind {
	return kind{"nat-", "natgateway", "NatGatewayMalformed", "NatGatewayNotFound", "The Nat Gateway %s was not found"}
}

func (g *natGateway) state(now time.Time) string {
	switch {
	case !g.deleted.IsZero():
		return "deleted"
	case now.Before(g.ready):
		return "pending"
	}
	return "available"
}

type natAddressXML struct {
	Allocation  string `xml:"allocationId,omitempty"`
	Interface   string `xml:"networkInterfaceId"`
	Private     string `xml:"privateIp"`
	Public      string `xml:"publicIp,omitempty"`
	Association string `xml:"associationId,omitempty"`
	Primary     bool   `xml:"isPrimary"`
	Status      string `xml:"status"`
}

type natXML struct {
	ID           string                      `xml:"natGatewayId"`
	Subnet       string                      `xml:"subnetId"`
	VPC          string                      `xml:"vpcId"`
	State        string                      `xml:"state"`
	Created      string                      `xml:"createTime"`
	Deleted      string                      `xml:"deleteTime,omitempty"`
	Connectivity string                      `xml:"connectivityType"`
	Addresses    ec2query.Set[natAddressXML] `xml:"natGatewayAddressSet"`
	Tags         *ec2query.Set[tagXML]       `xml:"tagSet,omitempty"`
}

func (c *call) natXML(g *natGateway) natXML {
	out := natXML{
		ID: g.id, Subnet: g.nic.subnet.id, VPC: g.nic.subnet.vpc.id, State: g.state(c.now), Created: ec2query.FormatTime(g.created),
		Connectivity: "public", Tags: g.tags.optional(c.now),
	}
	address := natAddressXML{Interface: g.nic.id, Private: g.nic.address.String(), Primary: true, Status: "succeeded"}
	if g.private {
		out.Connectivity = "private"
	} else {
		address.Allocation, address.Public, address.Association = g.elastic.id, g.elastic.address.String(), g.elastic.association
	}
	if !g.deleted.IsZero() {
		out.Deleted = ec2query.FormatTime(g.deleted)
	}
	out.Addresses = ec2query.SetOf(address)
	return out
}

func natFilters() filters[*natGateway] {
	return filters[*natGateway]{
		"nat-gateway-id": func(_ *call, g *natGateway) []string { return one(g.id) },
		"state":          func(c *call, g *natGateway) []string { return one(g.state(c.now)) },
		"subnet-id":      func(_ *call, g *natGateway) []string { return one(g.nic.subnet.id) },
		"vpc-id":         func(_ *call, g *natGateway) []string { return one(g.nic.subnet.vpc.id) },
	}
}

type createNatInput struct {
	SubnetID         string `ec2:"SubnetId,required"`
	AllocationID     string `ec2:"AllocationId"`
	ConnectivityType string `ec2:"ConnectivityType,oneof=public|private"`
	ClientToken      string
	TagSpecification []tagSpecification
}

type createNatOutput struct {
	Token   string `xml:"clientToken,omitempty"`
	Gateway natXML `xml:"natGateway"`
}

func (c *call) createNat(in *createNatInput) (*createNatOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		if g, ok := c.nats.get(known[0]); ok {
			return &createNatOutput{in.ClientToken, c.natXML(g)}, nil
		}
	}
	net, err := lookup(c, &c.subnets, subnetKind(), in.SubnetID)
	if err != nil {
		return nil, err
	}
	specs, err := tagSpecs(in.TagSpecification, "natgateway")
	if err != nil {
		return nil, err
	}
	g := &natGateway{private: in.ConnectivityType == "private", ready: c.now.Add(c.server.opts.Latency.Running)}
	switch {
	case g.private && in.AllocationID != "":
		return nil, ec2query.InvalidCombination("A private NAT gateway has no elastic IP address")
	case g.private:
	case in.AllocationID == "":
		return nil, ec2query.MissingParameter("AllocationId")
	default:
		if g.elastic, err = lookup(c, &c.addresses, elasticKind(), in.AllocationID); err != nil {
			return nil, err
		}
		if g.elastic.nic != nil {
			return nil, ec2query.Errorf("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", g.elastic.id, g.elastic.association)
		}
		if c.gatewayOf(net.vpc) == nil {
			return nil, ec2query.Errorf("Gateway.NotAttached", "Network %s has no Internet gateway attached", net.vpc.id)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	addr, err := net.take(netip.Addr{})
	if err != nil {
		return nil, err
	}
	g.base = c.newBase(natKind(), specs["natgateway"])
	g.nic = &eni{
		base: c.newBase(interfaceKind(), nil), subnet: net, address: addr, nat: g, attachment: newID("eni-attach-", c.server.nextSeq()), attached: c.now,
		description: fmt.Sprintf("Interface for NAT Gateway %s", g.id),
	}
	g.nic.builtin = true // it goes with the gateway
	c.interfaces.put(g.nic)
	if g.elastic != nil {
		g.elastic.nic, g.elastic.association = g.nic, newID("eipassoc-", c.server.nextSeq())
	}
	c.nats.put(g)
	c.rememberToken(in.ClientToken, g.id)
	out := c.natXML(g)
	out.State = "pending"
	return &createNatOutput{in.ClientToken, out}, nil
}

type deleteNatInput struct {
	NatGatewayID string `ec2:"NatGatewayId,required"`
}

type deleteNatOutput struct {
	ID string `xml:"natGatewayId"`
}

func (c *call) deleteNat(in *deleteNatInput) (*deleteNatOutput, *ec2query.Error) {
	g, err := lookup(c, &c.nats, natKind(), in.NatGatewayID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if g.deleted.IsZero() {
		g.deleted = c.now
		if g.elastic != nil {
			g.elastic.leave()
		}
		c.interfaces.remove(g.nic.id)
		delete(g.nic.subnet.used, g.nic.address)
	}
	return &deleteNatOutput{g.id}, nil
}

type describeNatInput struct {
	Filter       []filterParam
	NatGatewayID []string `ec2:"NatGatewayId"`
	pageParams
}

type describeNatOutput struct {
	Gateways ec2query.Set[natXML] `xml:"natGatewaySet"`
	Next     string               `xml:"nextToken,omitempty"`
}

func (c *call) describeNats(in *describeNatInput) (*describeNatOutput, *ec2query.Error) {
	items, next, err := find(c, &c.nats, query[*natGateway]{
		kind: natKind(), ids: in.NatGatewayID, filters: in.Filter, known: c.server.known.nats, page: in.pageParams,
		scope: func(g *natGateway) bool {
			return c.owns(&g.base) && (g.deleted.IsZero() || c.now.Sub(g.deleted) < natShown)
		},
	})
	return &describeNatOutput{ec2query.MapSet(items, c.natXML), next}, err
}
