package ec2test

import (
	"net/netip"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// elasticIP is a public address of an account. Its id is the allocation's.
type elasticIP struct {
	base

	address     netip.Addr
	nic         *eni // nil if not associated
	association string
}

// elasticOf returns the elastic address of an interface, or nil.
func (r *region) elasticOf(n *eni) *elasticIP {
	for e := range r.addresses.all() {
		if e.nic == n {
			return e
		}
	}
	return nil
}

type elasticXML struct {
	Address     string                `xml:"publicIp"`
	Allocation  string                `xml:"allocationId"`
	Association string                `xml:"associationId,omitempty"`
	Domain      string                `xml:"domain"`
	Instance    string                `xml:"instanceId,omitempty"`
	Interface   string                `xml:"networkInterfaceId,omitempty"`
	Owner       string                `xml:"networkInterfaceOwnerId,omitempty"`
	Private     string                `xml:"privateIpAddress,omitempty"`
	Pool        string                `xml:"publicIpv4Pool"`
	Border      string                `xml:"networkBorderGroup"`
	Tags        *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func (c *call) elasticXML(e *elasticIP) elasticXML {
	out := elasticXML{
		Address: e.address.String(), Allocation: e.id, Association: e.association, Domain: "vpc", Pool: "amazon", Border: c.name, Tags: e.tags.optional(c.now),
	}
	if e.nic != nil {
		out.Interface, out.Owner, out.Private = e.nic.id, e.nic.owner, e.nic.address.String()
		if e.nic.instance != nil {
			out.Instance = e.nic.instance.id
		}
	}
	return out
}

func elasticFilters() filters[*elasticIP] {
	shown := func(get func(elasticXML) string) func(*call, *elasticIP) []string {
		return func(c *call, e *elasticIP) []string { return one(get(c.elasticXML(e))) }
	}
	return filters[*elasticIP]{
		"allocation-id":              shown(func(x elasticXML) string { return x.Allocation }),
		"association-id":             shown(func(x elasticXML) string { return x.Association }),
		"domain":                     shown(func(x elasticXML) string { return x.Domain }),
		"instance-id":                shown(func(x elasticXML) string { return x.Instance }),
		"network-border-group":       shown(func(x elasticXML) string { return x.Border }),
		"network-interface-id":       shown(func(x elasticXML) string { return x.Interface }),
		"network-interface-owner-id": shown(func(x elasticXML) string { return x.Owner }),
		"private-ip-address":         shown(func(x elasticXML) string { return x.Private }),
		"public-ip":                  shown(func(x elasticXML) string { return x.Address }),
	}
}

type allocateAddressInput struct {
	Domain             string `ec2:"Domain,oneof=vpc|standard"`
	NetworkBorderGroup string
	TagSpecification   []tagSpecification
}

type allocateAddressOutput struct {
	Address    string `xml:"publicIp"`
	Allocation string `xml:"allocationId"`
	Domain     string `xml:"domain"`
	Pool       string `xml:"publicIpv4Pool"`
	Border     string `xml:"networkBorderGroup"`
}

func (c *call) allocateAddress(in *allocateAddressInput) (*allocateAddressOutput, *ec2query.Error) {
	specs, err := tagSpecs(in.TagSpecification, "elastic-ip")
	if err != nil {
		return nil, err
	}
	if in.NetworkBorderGroup != "" && in.NetworkBorderGroup != c.name {
		return nil, ec2query.InvalidValue("networkBorderGroup", in.NetworkBorderGroup, "The only group here is "+c.name+".")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	e := &elasticIP{base: c.newBase(elasticKind(), specs["elastic-ip"]), address: c.server.network.reservePublic()}
	c.addresses.put(e)
	return &allocateAddressOutput{e.address.String(), e.id, "vpc", "amazon", c.name}, nil
}

// elastic returns the caller's elastic address by one of its names.
func (c *call) elastic(allocation, address string) (*elasticIP, *ec2query.Error) {
	switch {
	case allocation != "" && address != "":
		return nil, ec2query.InvalidCombination("You may specify public IP or allocation id, but not both in the same call")
	case allocation != "":
		return lookup(c, &c.addresses, elasticKind(), allocation)
	case address == "":
		return nil, ec2query.MissingParameter("AllocationId")
	}
	for e := range c.addresses.all() {
		if c.owns(&e.base) && e.address.String() == address {
			return e, nil
		}
	}
	return nil, ec2query.Errorf("InvalidAddress.NotFound", "Address '%s' not found.", address)
}

type addressInput struct {
	AllocationID string `ec2:"AllocationId"`
	PublicIP     string `ec2:"PublicIp"`
}

// releaseAddress releases an address. As in AWS, it leaves an instance of the default VPC
// by itself, but no other interface.
func (c *call) releaseAddress(in *addressInput) (*ec2query.Return, *ec2query.Error) {
	e, err := c.elastic(in.AllocationID, in.PublicIP)
	if err != nil {
		return nil, err
	}
	if e.nic != nil && (e.nic.instance == nil || !e.nic.subnet.vpc.isDefault) {
		return nil, ec2query.Errorf("InvalidIPAddress.InUse", "Address %s is in use.", e.address)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if e.nic != nil {
		c.disassociate(e)
	}
	c.addresses.remove(e.id)
	c.server.network.release(e.address)
	return ec2query.Done(), nil
}

type describeAddressesInput struct {
	Filter       []filterParam
	AllocationID []string `ec2:"AllocationId"`
	PublicIP     []string `ec2:"PublicIp"`
}

type describeAddressesOutput struct {
	Addresses ec2query.Set[elasticXML] `xml:"addressesSet"`
}

func (c *call) describeAddresses(in *describeAddressesInput) (*describeAddressesOutput, *ec2query.Error) {
	ids := in.AllocationID
	for _, address := range in.PublicIP {
		e, err := c.elastic("", address)
		if err != nil {
			return nil, err
		}
		ids = append(ids, e.id)
	}
	items, _, err := find(c, &c.addresses, query[*elasticIP]{kind: elasticKind(), ids: ids, filters: in.Filter, known: c.server.known.addresses})
	return &describeAddressesOutput{ec2query.MapSet(items, c.elasticXML)}, err
}
