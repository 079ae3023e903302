package ec2test

import (
	"net/netip"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type internetGateway struct {
	base

	vpc *vpc // nil if not attached
}

// gatewayOf returns the internet gateway of a VPC, or nil.
func (r *region) gatewayOf(v *vpc) *internetGateway {
	for g := range r.gateways.all() {
		if g.vpc == v {
			return g
		}
	}
	return nil
}

// isPublic reports whether the internet at an address can reach the subnet.
func (r *region) isPublic(s *subnet, from netip.Addr) bool {
	for _, rt := range r.routeTableOf(s).routes {
		if rt.gateway != nil && rt.destination.Contains(from) && r.stateOf(rt, s.vpc) == "active" {
			return true
		}
	}
	return false
}

type gatewayAttachmentXML struct {
	State string `xml:"state"`
	VPC   string `xml:"vpcId"`
}

type gatewayXML struct {
	ID          string                             `xml:"internetGatewayId"`
	Owner       string                             `xml:"ownerId"`
	Attachments ec2query.Set[gatewayAttachmentXML] `xml:"attachmentSet"`
	Tags        ec2query.Set[tagXML]               `xml:"tagSet"`
}

func (c *call) gatewayXML(g *internetGateway) gatewayXML {
	out := gatewayXML{ID: g.id, Owner: g.owner, Tags: g.tags.set(c.now)}
	if g.vpc != nil {
		out.Attachments = ec2query.SetOf(gatewayAttachmentXML{"available", g.vpc.id})
	}
	return out
}

func gatewayFilters() filters[*internetGateway] {
	attached := func(get func(*vpc) string) func(*call, *internetGateway) []string {
		return func(_ *call, g *internetGateway) []string {
			if g.vpc == nil {
				return nil
			}
			return one(get(g.vpc))
		}
	}
	return filters[*internetGateway]{
		"internet-gateway-id": func(_ *call, g *internetGateway) []string { return one(g.id) },
		"owner-id":            func(_ *call, g *internetGateway) []string { return one(g.owner) },
		"attachment.vpc-id":   attached(func(v *vpc) string { return v.id }),
		"attachment.state":    attached(func(*vpc) string { return "available" }),
	}
}

type describeGatewaysInput struct {
	Filter            []filterParam
	InternetGatewayID []string `ec2:"InternetGatewayId"`
	pageParams
}

type describeGatewaysOutput struct {
	Gateways ec2query.Set[gatewayXML] `xml:"internetGatewaySet"`
	Next     string                   `xml:"nextToken,omitempty"`
}

func (c *call) describeGateways(in *describeGatewaysInput) (*describeGatewaysOutput, *ec2query.Error) {
	items, next, err := find(c, &c.gateways, query[*internetGateway]{
		kind: gatewayKind(), ids: in.InternetGatewayID, filters: in.Filter, known: c.server.known.gateways, page: in.pageParams,
	})
	return &describeGatewaysOutput{ec2query.MapSet(items, c.gatewayXML), next}, err
}

type createGatewayInput struct {
	TagSpecification []tagSpecification
}

type gatewayOutput struct {
	Gateway gatewayXML `xml:"internetGateway"`
}

func (c *call) createGateway(in *createGatewayInput) (*gatewayOutput, *ec2query.Error) {
	specs, err := tagSpecs(in.TagSpecification, "internet-gateway")
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	g := &internetGateway{base: c.newBase(gatewayKind(), specs["internet-gateway"])}
	c.gateways.put(g)
	return &gatewayOutput{c.gatewayXML(g)}, nil
}

type gatewayIDInput struct {
	InternetGatewayID string `ec2:"InternetGatewayId,required"`
}

type attachGatewayInput struct {
	gatewayIDInput
	vpcIDInput
}

// gatewayAndVPC returns the resources of a call that attaches or detaches.
func (c *call) gatewayAndVPC(in *attachGatewayInput) (*internetGateway, *vpc, *ec2query.Error) {
	g, err := lookup(c, &c.gateways, gatewayKind(), in.InternetGatewayID)
	if err != nil {
		return nil, nil, err
	}
	v, err := lookup(c, &c.vpcs, vpcKind(), in.VpcID)
	return g, v, err
}

func (c *call) attachGateway(in *attachGatewayInput) (*ec2query.Return, *ec2query.Error) {
	g, v, err := c.gatewayAndVPC(in)
	switch {
	case err != nil:
		return nil, err
	case g.vpc != nil:
		return nil, ec2query.Errorf("Resource.AlreadyAssociated", "resource %s is already attached to network %s", g.id, g.vpc.id)
	case c.gatewayOf(v) != nil:
		return nil, ec2query.Errorf("InvalidParameterValue", "Network %s already has an internet gateway attached", v.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	g.vpc = v
	return ec2query.Done(), nil
}

func (c *call) detachGateway(in *attachGatewayInput) (*ec2query.Return, *ec2query.Error) {
	g, v, err := c.gatewayAndVPC(in)
	switch {
	case err != nil:
		return nil, err
	case g.vpc != v:
		return nil, ec2query.Errorf("Gateway.NotAttached", "resource %s is not attached to network %s", g.id, v.id)
	}
	for i := range c.instances.all() {
		if i.subnet.vpc == v && i.publicIP.IsValid() {
			return nil, ec2query.Errorf("DependencyViolation", "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", v.id)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	g.vpc = nil
	return ec2query.Done(), nil
}

func (c *call) deleteGateway(in *gatewayIDInput) (*ec2query.Return, *ec2query.Error) {
	g, err := lookup(c, &c.gateways, gatewayKind(), in.InternetGatewayID)
	if err != nil {
		return nil, err
	}
	if g.vpc != nil {
		return nil, ec2query.Errorf("DependencyViolation", "The internetGateway '%s' has dependencies and cannot be deleted.", g.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.gateways.remove(g.id)
	return ec2query.Done(), nil
}
